//! The latencies of a log, by run, scenario and request: what a comparison's bootstrap needs.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::lines::{Lines, Piece};
use crate::results::{Limits, ResultsError};

/// Per-request quantities: the key in a line, and the quantity of `Measurement::per_request`.
const QUANTITIES: [(&str, &str); 4] = [
    ("ttft_ms", "ttft_ms"),
    ("tpot_ms", "tpot_ms"),
    ("itl_mean_ms", "itl_ms"),
    ("e2e_ms", "e2e_ms"),
];

/// Per-request values by quantity, by run and scenario.
pub(in crate::results) type PerRequest =
    BTreeMap<(u32, String), BTreeMap<String, Vec<Option<f64>>>>;

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
    const fn values(&self) -> [Option<f64>; 4] {
        [self.ttft_ms, self.tpot_ms, self.itl_mean_ms, self.e2e_ms]
    }
}

/// Reads the whole frames of a log. One that is absent, or no regular file, is empty; one that
/// was cut off gives what lies before the cut.
///
/// # Errors
/// A whole frame holds what kitt never writes, or the file unpacks to more than the limits.
pub(in crate::results) fn read(path: &Path, limits: &Limits) -> Result<PerRequest, ResultsError> {
    let mut lines = Lines::open(path, limits)?;
    let mut columns = Columns {
        requests: limits.entries,
        cells: 0,
        found: PerRequest::new(),
    };
    // A frame that was cut off may be damaged as well, so its lines wait for its end.
    let mut frame = Vec::new();
    loop {
        match lines.advance(limits.entries)? {
            Piece::Line => frame.push(times(&lines)?),
            Piece::FrameEnd => {
                for times in frame.drain(..) {
                    if !columns.put(&times) {
                        return Err(lines.too_many(limits.entries));
                    }
                }
            }
            Piece::End => break,
        }
    }
    // A quantity that no request has was not measured.
    for quantities in columns.found.values_mut() {
        quantities.retain(|_, values| values.iter().any(Option::is_some));
    }
    Ok(columns.found)
}

fn times(lines: &Lines) -> Result<Times, ResultsError> {
    let times: Times = lines.parse()?;
    for ((key, _), value) in QUANTITIES.iter().zip(times.values()) {
        if value.is_some_and(|value| value < 0.0) {
            return Err(lines.wrong_line(key, "a time cannot be negative".to_owned()));
        }
    }
    Ok(times)
}

struct Columns {
    /// The most requests that are taken.
    requests: usize,
    cells: usize,
    found: PerRequest,
}

impl Columns {
    /// `false`: there are too many requests.
    fn put(&mut self, times: &Times) -> bool {
        let index = usize::try_from(times.index).unwrap_or(usize::MAX);
        let place = (times.run, times.scenario.clone());
        let quantities = self.found.entry(place).or_default();
        for ((_, quantity), value) in QUANTITIES.iter().zip(times.values()) {
            let values = quantities.entry((*quantity).to_owned()).or_default();
            let missing = index.saturating_add(1).saturating_sub(values.len());
            // Four cells a request; an index far beyond the requests costs memory, too.
            self.cells = self.cells.saturating_add(missing);
            if self.cells / QUANTITIES.len() > self.requests {
                return false;
            }
            if missing > 0 {
                values.resize(index.saturating_add(1), None);
            }
            if let Some(cell) = values.get_mut(index) {
                *cell = value;
            }
        }
        true
    }
}
