//! A request trace to one line of JSON.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    load::{Asked, ChunkArrival, ChunkKind, Outcome, Phases, RequestTrace, StampSource, Usage},
    measure::RequestTimes,
};

/// What is derived from a trace and stands beside it, in milliseconds: a comparison needs it for
/// its bootstrap, and reads nothing else of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct LoggedTimes {
    /// Time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// Time per output token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot_ms: Option<f64>,
    /// Mean gap between output chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub itl_mean_ms: Option<f64>,
    /// End-to-end latency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub e2e_ms: Option<f64>,
}

impl LoggedTimes {
    /// Numbers only; JSON has no others.
    fn finite(self) -> Self {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        Self {
            ttft_ms: finite(self.ttft_ms),
            tpot_ms: finite(self.tpot_ms),
            itl_mean_ms: finite(self.itl_mean_ms),
            e2e_ms: finite(self.e2e_ms),
        }
    }
}

impl From<&RequestTimes> for LoggedTimes {
    fn from(times: &RequestTimes) -> Self {
        Self {
            ttft_ms: times.certain_ttft_ms(),
            tpot_ms: times.tpot_ms,
            itl_mean_ms: times.itl_mean_ms(),
            e2e_ms: Some(times.e2e_ms),
        }
    }
}

/// A line, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    run: u32,
    scenario: &'a str,
    index: u32,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    scheduled_ns: i64,
    sent_ns: i64,
    finished_ns: i64,
    stamps: StampSource,
    #[serde(skip_serializing_if = "is_default")]
    asked: AskedNumbers,
    #[serde(skip_serializing_if = "is_default")]
    phases: PhaseTimes,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    times: LoggedTimes,
    #[serde(flatten)]
    chunks: Chunks<'a>,
}

/// The columns, or why there are none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Chunks<'a> {
    Columns {
        chunk_kinds: String,
        chunk_delta_ns: Deltas<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        chunk_slack_us: Vec<u64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        chunk_tokens: Vec<Option<i64>>,
    },
    LeftOut {
        chunks_left_out: usize,
    },
}

impl<'a> Line<'a> {
    /// The line of a trace.
    pub(super) fn new(
        run: u32,
        scenario: &'a str,
        trace: &'a RequestTrace,
        times: LoggedTimes,
    ) -> Self {
        Self {
            run,
            scenario,
            index: trace.index,
            outcome: trace.outcome,
            status: trace.status,
            scheduled_ns: nanos(trace.scheduled_at),
            sent_ns: nanos(trace.sent_at),
            finished_ns: nanos(trace.finished_at),
            stamps: trace.stamps,
            asked: trace.asked.into(),
            phases: trace.phases.into(),
            usage: trace.usage,
            finish_reason: trace.finish_reason.as_deref(),
            error: trace.error.as_deref(),
            times: times.finite(),
            chunks: Chunks::Columns {
                chunk_kinds: trace.chunks.iter().map(letter).collect(),
                chunk_delta_ns: Deltas(trace),
                chunk_slack_us: slack(&trace.chunks),
                chunk_tokens: tokens(&trace.chunks),
            },
        }
    }

    /// The line without its stream events, of which only the number is said.
    pub(super) fn without_chunks(mut self, chunks_left_out: usize) -> Self {
        self.chunks = Chunks::LeftOut { chunks_left_out };
        self
    }
}

/// Serialised straight from the trace: no second copy of a long list.
#[derive(Debug)]
struct Deltas<'a>(&'a RequestTrace);

impl Serialize for Deltas<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut before = nanos(self.0.sent_at);
        out.collect_seq(self.0.chunks.iter().map(|chunk| {
            let at = nanos(chunk.at);
            // Both are at least 0, so the difference fits.
            let delta = at - before;
            before = at;
            delta
        }))
    }
}

fn slack(chunks: &[ChunkArrival]) -> Vec<u64> {
    let some = chunks
        .iter()
        .zip(0_u64..)
        .filter(|(chunk, _)| chunk.slack_us > 0);
    some.flat_map(|(chunk, place)| [place, u64::from(chunk.slack_us)])
        .collect()
}

fn tokens(chunks: &[ChunkArrival]) -> Vec<Option<i64>> {
    if chunks.iter().all(|chunk| chunk.tokens.is_none()) {
        return Vec::new();
    }
    let mut before = 0_i64;
    let added = |chunk: &ChunkArrival| {
        let count = i64::from(chunk.tokens?.get());
        let added = count - before;
        before = count;
        Some(added)
    };
    chunks.iter().map(added).collect()
}

fn letter(chunk: &ChunkArrival) -> char {
    let letter = match chunk.kind {
        ChunkKind::Content => 'c',
        ChunkKind::Reasoning => 'r',
        ChunkKind::Other => 'o',
    };
    if chunk.coalesced {
        letter.to_ascii_uppercase()
    } else {
        letter
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Saturates after 292 years.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// [`Asked`] without its empty keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct AskedNumbers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_tokens: Option<NonZeroU32>,
}

impl From<Asked> for AskedNumbers {
    fn from(asked: Asked) -> Self {
        Self {
            input_tokens: asked.input_tokens,
            output_tokens: asked.output_tokens,
        }
    }
}

/// [`Phases`] in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "they are the file's keys")]
pub(super) struct PhaseTimes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dns_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connect_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) write_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_byte_ns: Option<u64>,
}

impl From<Phases> for PhaseTimes {
    fn from(phases: Phases) -> Self {
        let nanos = |time: Option<Duration>| time.map(|time| nanos(time).unsigned_abs());
        Self {
            dns_ns: nanos(phases.dns),
            connect_ns: nanos(phases.connect),
            tls_ns: nanos(phases.tls),
            write_ns: nanos(phases.write),
            first_byte_ns: nanos(phases.first_byte),
        }
    }
}
