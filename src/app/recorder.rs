//! What happens to a finished request: it is measured, logged and counted, on the driver's own
//! recorder thread.

use std::ops::ControlFlow;

use super::progress::Progress;
use crate::{
    load::{self, Outcome, RequestTrace},
    measure::{Accumulator, DialectAccumulator, MeasureSpec},
    results::{LoggedTimes, RequestLog, ResultsError},
};

/// Takes the measured requests of one scenario.
pub(super) struct Recorder {
    pub(super) accumulator: Accumulator,
    pub(super) dialects: Vec<DialectAccumulator>,
    log: Option<RequestLog>,
    progress: Progress,
    ended: u64,
    failure: Option<ResultsError>,
}

impl Recorder {
    pub(super) fn new(
        spec: MeasureSpec,
        dialects: Vec<DialectAccumulator>,
        log: RequestLog,
        progress: Progress,
    ) -> Self {
        Self {
            accumulator: Accumulator::new(spec),
            dialects,
            log: Some(log),
            progress,
            ended: 0,
            failure: None,
        }
    }

    /// Writes the rest of the log.
    ///
    /// # Errors
    /// The log could not be written, now or before.
    pub(super) fn close(&mut self) -> Result<(), ResultsError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        match self.log.take() {
            Some(log) => log.close().map(|_requests| ()),
            None => Ok(()),
        }
    }

    fn log(&mut self, trace: &RequestTrace, times: LoggedTimes) -> Result<(), ResultsError> {
        match &mut self.log {
            Some(log) => log.record(trace, times),
            None => Ok(()),
        }
    }
}

impl load::Receiver for Recorder {
    fn receive(&mut self, trace: RequestTrace) -> ControlFlow<String> {
        let times = self.accumulator.add(&trace);
        for dialect in &mut self.dialects {
            dialect.add(&trace);
        }
        self.ended += 1;
        self.progress.done(self.ended);
        let times = times.as_ref().map(LoggedTimes::from).unwrap_or_default();
        if let Err(error) = self.log(&trace, times) {
            // Measuring on would leave numbers without their evidence.
            self.log = None;
            self.failure = Some(error);
            return ControlFlow::Break("the request log cannot be written".to_owned());
        }
        self.accumulator
            .should_stop()
            .map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

/// Takes discarded requests: how long the good ones took, in seconds, and what went wrong last.
#[derive(Debug, Default)]
pub(super) struct Discard {
    pub(super) took_s: Vec<f64>,
    pub(super) last_error: Option<String>,
}

impl load::Receiver for Discard {
    fn receive(&mut self, trace: RequestTrace) -> ControlFlow<String> {
        if trace.outcome == Outcome::Ok {
            let took = trace.finished_at.saturating_sub(trace.sent_at);
            self.took_s.push(took.as_secs_f64());
        } else if trace.error.is_some() {
            self.last_error = trace.error;
        }
        ControlFlow::Continue(())
    }
}
