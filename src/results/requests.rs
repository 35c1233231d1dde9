//! `requests.jsonl.zst`: what is known of every request, one JSON line each, one zstd frame per
//! scenario and run.
//!
//! Times are nanoseconds from the scenario's start. `chunk_kinds` has one letter per stream
//! event: `c` content, `r` reasoning, `o` other; a capital letter came in the same read as the
//! event before it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{Limits, ResultsError, files::failed, json};
use crate::{
    load::{ChunkArrival, ChunkKind, Outcome, RequestTrace, Usage},
    measure::Measurement,
};

/// The file's name in a results directory.
pub(super) const NAME: &str = "requests.jsonl.zst";

/// Per-request quantities: the key in a line, and the quantity of `Measurement::per_request`.
const QUANTITIES: [(&str, &str); 4] = [
    ("ttft_ms", "ttft_ms"),
    ("tpot_ms", "tpot_ms"),
    ("itl_mean_ms", "itl_ms"),
    ("e2e_ms", "e2e_ms"),
];

/// A frame wants at most this much memory of its reader: 2^23 bytes. Ours want 2^21.
const WINDOW_LOG_MAX: u32 = 23;

/// The longest line: 16 MiB are two million chunks.
const LINE_BYTES: u64 = 16 << 20;

/// One line, as it is written.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    run: u32,
    scenario: &'a str,
    index: u32,
    outcome: Outcome,
    scheduled_ns: u64,
    sent_ns: u64,
    finished_ns: u64,
    chunk_ns: Vec<u64>,
    chunk_kinds: String,
    usage: Option<Usage>,
    finish_reason: Option<&'a str>,
    error: Option<&'a str>,
    #[serde(flatten)]
    times: BTreeMap<&'static str, Option<f64>>,
}

/// The lines of one scenario of one run.
pub(super) fn lines<'a>(
    run: u32,
    scenario: &'a str,
    measurement: &'a Measurement,
    traces: &'a [RequestTrace],
) -> impl Iterator<Item = Line<'a>> {
    traces.iter().map(move |trace| Line {
        run,
        scenario,
        index: trace.index,
        outcome: trace.outcome,
        scheduled_ns: nanos(trace.scheduled_at),
        sent_ns: nanos(trace.sent_at),
        finished_ns: nanos(trace.finished_at),
        chunk_ns: trace.chunks.iter().map(|chunk| nanos(chunk.at)).collect(),
        chunk_kinds: trace.chunks.iter().map(letter).collect(),
        usage: trace.usage,
        finish_reason: trace.finish_reason.as_deref(),
        error: trace.error.as_deref(),
        times: QUANTITIES
            .iter()
            .map(|(key, quantity)| (*key, time(measurement, quantity, trace.index)))
            .collect(),
    })
}

fn time(measurement: &Measurement, quantity: &str, index: u32) -> Option<f64> {
    let values = measurement.per_request.get(quantity)?;
    let value = values.get(usize::try_from(index).ok()?)?;
    value.filter(|value| value.is_finite())
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

/// Saturates after 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Per-request values by quantity, by run and scenario.
pub(super) type PerRequest = BTreeMap<(u32, String), BTreeMap<String, Vec<Option<f64>>>>;

/// The part of a line that a comparison needs.
#[derive(Debug, Deserialize)]
struct Times {
    run: u32,
    scenario: String,
    index: u32,
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
    itl_mean_ms: Option<f64>,
    e2e_ms: Option<f64>,
}

impl Times {
    fn values(&self) -> [Option<f64>; 4] {
        [self.ttft_ms, self.tpot_ms, self.itl_mean_ms, self.e2e_ms]
    }
}

/// Reads the whole frames of a file. One that is absent, or no regular file, is empty; one that
/// was cut off gives what lies before the cut.
///
/// # Errors
/// A whole frame holds what kitt never writes, or the file unpacks to more than the limits.
pub(super) fn read(path: &Path, limits: &Limits) -> Result<PerRequest, ResultsError> {
    // A link could lead out of a downloaded artifact, a pipe would block.
    if !fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return Ok(PerRequest::new());
    }
    let file = fs::File::open(path).map_err(failed("read", path))?;
    let mut input = BufReader::new(file);
    let mut reader = Reader {
        path,
        limits,
        unpacked: 0,
        line: 0,
        cells: 0,
        found: PerRequest::new(),
    };
    loop {
        if input.fill_buf().map_err(failed("read", path))?.is_empty() {
            break;
        }
        match reader.frame(input)? {
            Some(rest) => input = rest,
            None => break,
        }
    }
    // A quantity that no request has was not measured.
    for quantities in reader.found.values_mut() {
        quantities.retain(|_, values| values.iter().any(Option::is_some));
    }
    Ok(reader.found)
}

struct Reader<'a> {
    path: &'a Path,
    limits: &'a Limits,
    unpacked: u64,
    line: usize,
    cells: usize,
    found: PerRequest,
}

impl Reader<'_> {
    /// Takes in one frame and gives back what follows it; `None` when the frame is cut off.
    fn frame<R: BufRead>(&mut self, input: R) -> Result<Option<R>, ResultsError> {
        let cut = |error: std::io::Error| {
            tracing::warn!(path = %self.path.display(), %error, "request traces end early");
        };
        let decoder = zstd::Decoder::with_buffer(input).and_then(|mut decoder| {
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Ok(decoder.single_frame())
        });
        let decoder = match decoder {
            Ok(decoder) => decoder,
            Err(error) => {
                cut(error);
                return Ok(None);
            }
        };
        let mut unpacked = BufReader::new(decoder);
        let mut frame = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut part = (&mut unpacked).take(LINE_BYTES);
            match part.read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => frame.push(self.line(&line)?),
                Err(error) => {
                    cut(error);
                    return Ok(None);
                }
            }
        }
        for times in frame {
            self.store(&times)?;
        }
        Ok(Some(unpacked.into_inner().finish()))
    }

    fn line(&mut self, line: &[u8]) -> Result<Times, ResultsError> {
        self.line += 1;
        self.unpacked = self.unpacked.saturating_add(line.len() as u64);
        if self.unpacked > self.limits.unpacked_bytes {
            let limit = self.limits.unpacked_bytes;
            return Err(self.wrong(".", format!("it unpacks to more than {limit} bytes")));
        }
        if self.line > self.limits.entries {
            return Err(self.too_many());
        }
        json::check(self.path, line, self.limits)?;
        let times: Times = json::parse(self.path, line, self.line)?;
        let values = times.values();
        for ((key, _), value) in QUANTITIES.iter().zip(values) {
            if value.is_some_and(|value| value < 0.0) {
                let key = format!("line {}, {key}", self.line);
                return Err(self.wrong(&key, "a time cannot be negative".to_owned()));
            }
        }
        Ok(times)
    }

    fn store(&mut self, times: &Times) -> Result<(), ResultsError> {
        let index = usize::try_from(times.index).unwrap_or(usize::MAX);
        let place = (times.run, times.scenario.clone());
        for ((_, quantity), value) in QUANTITIES.iter().zip(times.values()) {
            let values = self
                .found
                .entry(place.clone())
                .or_default()
                .entry((*quantity).to_owned())
                .or_default();
            let missing = index.saturating_add(1).saturating_sub(values.len());
            // Four cells a request; an index far beyond the requests costs memory, too.
            self.cells = self.cells.saturating_add(missing);
            if self.cells / QUANTITIES.len() > self.limits.entries {
                return Err(self.too_many());
            }
            if missing > 0 {
                values.resize(index.saturating_add(1), None);
            }
            if let Some(cell) = values.get_mut(index) {
                *cell = value;
            }
        }
        Ok(())
    }

    fn too_many(&self) -> ResultsError {
        let limit = self.limits.entries;
        self.wrong(".", format!("it speaks of more than {limit} requests"))
    }

    fn wrong(&self, key: &str, detail: String) -> ResultsError {
        ResultsError::Value {
            path: self.path.to_owned(),
            key: key.to_owned(),
            detail,
        }
    }
}
