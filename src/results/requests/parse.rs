//! One line of JSON back to the request trace it was made of.
//!
//! The file may come from a pull request: columns that do not fit each other are an error.

use std::{num::NonZeroU32, time::Duration};

use serde::Deserialize;

use super::line::{AskedNumbers, PhaseTimes};
use crate::load::{
    Asked, ChunkArrival, ChunkKind, Outcome, Phases, RequestTrace, StampSource, Usage,
};

/// A line, as it is read: of this form or an older one.
#[derive(Debug, Deserialize)]
pub(super) struct ReadLine {
    pub(super) run: u32,
    pub(super) scenario: String,
    index: u32,
    outcome: Outcome,
    status: Option<u16>,
    scheduled_ns: u64,
    sent_ns: u64,
    finished_ns: u64,
    stamps: Option<StampSource>,
    asked: Option<AskedNumbers>,
    phases: Option<PhaseTimes>,
    usage: Option<Usage>,
    finish_reason: Option<String>,
    error: Option<String>,
    #[serde(default)]
    chunk_kinds: String,
    chunk_delta_ns: Option<Vec<i64>>,
    chunk_ns: Option<Vec<u64>>,
    #[serde(default)]
    chunk_slack_us: Vec<u32>,
    #[serde(default)]
    chunk_tokens: Vec<Option<i64>>,
    chunks_left_out: Option<u64>,
}

/// A column that does not fit the others: its key, and what is wrong.
pub(super) type Misfit = (&'static str, String);

impl ReadLine {
    /// How many stream events were left out because there were too many for a line.
    pub(super) const fn left_out(&self) -> Option<u64> {
        self.chunks_left_out
    }

    /// The trace it was made of.
    pub(super) fn into_trace(self) -> Result<RequestTrace, Misfit> {
        let chunks = self.chunks()?;
        let asked = self.asked.unwrap_or_default();
        Ok(RequestTrace {
            index: self.index,
            scheduled_at: Duration::from_nanos(self.scheduled_ns),
            sent_at: Duration::from_nanos(self.sent_ns),
            chunks,
            finished_at: Duration::from_nanos(self.finished_ns),
            outcome: self.outcome,
            usage: self.usage,
            finish_reason: self.finish_reason,
            error: self.error,
            status: self.status,
            asked: Asked {
                input_tokens: asked.input_tokens,
                output_tokens: asked.output_tokens,
            },
            phases: self.phases.unwrap_or_default().into(),
            stamps: self.stamps.unwrap_or_default(),
        })
    }

    fn chunks(&self) -> Result<Vec<ChunkArrival>, Misfit> {
        let (key, times) = self.arrivals()?;
        if times.len() != self.chunk_kinds.len() {
            let counts = (times.len(), self.chunk_kinds.len());
            let detail = format!("{} entries for {} chunk_kinds", counts.0, counts.1);
            return Err((key, detail));
        }
        let mut chunks = Vec::with_capacity(times.len());
        for (at, letter) in times.into_iter().zip(self.chunk_kinds.bytes()) {
            let Some(kind) = kind(letter) else {
                let detail = "a letter that is none of c, r, o".to_owned();
                return Err(("chunk_kinds", detail));
            };
            chunks.push(ChunkArrival {
                coalesced: letter.is_ascii_uppercase(),
                ..ChunkArrival::new(at, kind)
            });
        }
        self.put_slack(&mut chunks)?;
        self.put_tokens(&mut chunks)?;
        Ok(chunks)
    }

    /// When the events arrived, and the key that says so.
    fn arrivals(&self) -> Result<(&'static str, Vec<Duration>), Misfit> {
        const KEY: &str = "chunk_delta_ns";
        let Some(deltas) = &self.chunk_delta_ns else {
            let times = self.chunk_ns.iter().flatten();
            return Ok((
                "chunk_ns",
                times.map(|ns| Duration::from_nanos(*ns)).collect(),
            ));
        };
        let mut at = self.sent_ns;
        let mut times = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let Some(next) = at.checked_add_signed(*delta) else {
                return Err((KEY, "a time before the scenario's start".to_owned()));
            };
            at = next;
            times.push(Duration::from_nanos(at));
        }
        Ok((KEY, times))
    }

    fn put_slack(&self, chunks: &mut [ChunkArrival]) -> Result<(), Misfit> {
        const KEY: &str = "chunk_slack_us";
        for pair in self.chunk_slack_us.chunks(2) {
            let &[place, slack] = pair else {
                return Err((KEY, "a position without its microseconds".to_owned()));
            };
            let chunk = usize::try_from(place)
                .ok()
                .and_then(|place| chunks.get_mut(place));
            let Some(chunk) = chunk else {
                return Err((KEY, format!("there is no event {place}")));
            };
            chunk.slack_us = slack;
        }
        Ok(())
    }

    fn put_tokens(&self, chunks: &mut [ChunkArrival]) -> Result<(), Misfit> {
        const KEY: &str = "chunk_tokens";
        if self.chunk_tokens.is_empty() {
            return Ok(());
        }
        if self.chunk_tokens.len() != chunks.len() {
            let counts = (self.chunk_tokens.len(), chunks.len());
            return Err((KEY, format!("{} entries for {} events", counts.0, counts.1)));
        }
        let mut count = 0_i64;
        for (chunk, added) in chunks.iter_mut().zip(&self.chunk_tokens) {
            let Some(added) = added else {
                continue;
            };
            count = count.saturating_add(*added);
            chunk.tokens = u32::try_from(count).ok().and_then(NonZeroU32::new);
            if chunk.tokens.is_none() {
                return Err((KEY, format!("a count of {count} tokens")));
            }
        }
        Ok(())
    }
}

fn kind(letter: u8) -> Option<ChunkKind> {
    match letter.to_ascii_lowercase() {
        b'c' => Some(ChunkKind::Content),
        b'r' => Some(ChunkKind::Reasoning),
        b'o' => Some(ChunkKind::Other),
        _ => None,
    }
}

impl From<PhaseTimes> for Phases {
    fn from(times: PhaseTimes) -> Self {
        let duration = |nanos: Option<u64>| nanos.map(Duration::from_nanos);
        Self {
            dns: duration(times.dns_ns),
            connect: duration(times.connect_ns),
            tls: duration(times.tls_ns),
            write: duration(times.write_ns),
            first_byte: duration(times.first_byte_ns),
        }
    }
}
