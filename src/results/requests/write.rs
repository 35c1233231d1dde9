//! Requests to their log, one at a time while the load runs.

use super::{LINE_BYTES, LoggedTimes, line::Line};
use crate::{
    ids::ScenarioId,
    load::RequestTrace,
    results::{ResultsError, files::Frames},
};

/// Takes the finished requests of one scenario of one run. It owns all it needs, so that the
/// thread that records them may have it. What is not closed when this is dropped is written
/// then; a kill loses at most the last 1024 requests or 4 MiB.
#[derive(Debug)]
pub struct RequestLog {
    run: u32,
    scenario: ScenarioId,
    frames: Frames,
    written: u64,
}

impl RequestLog {
    pub(in crate::results) fn new(run: u32, scenario: &ScenarioId, frames: Frames) -> Self {
        Self {
            run,
            scenario: scenario.clone(),
            frames,
            written: 0,
        }
    }

    /// Adds a request: its trace, and the latencies made of it where it has some.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn record(&mut self, trace: &RequestTrace, times: LoggedTimes) -> Result<(), ResultsError> {
        let line = || Line::new(self.run, self.scenario.as_str(), trace, times);
        // Nobody would read a longer line, so a monster keeps its outcome and latencies only.
        let short = || line().without_chunks(trace.chunks.len());
        self.frames.bounded(&line(), LINE_BYTES, short)?;
        self.written += 1;
        Ok(())
    }

    /// Writes what is left, syncs it, and says how many requests there were.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn close(self) -> Result<u64, ResultsError> {
        self.frames.close()?;
        Ok(self.written)
    }
}
