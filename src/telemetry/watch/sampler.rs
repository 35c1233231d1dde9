//! The thread that asks the source.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    cost::Pace,
    state::{Shared, Task},
};
use crate::telemetry::{EventKind, GpuSample, GpuSource, GpuStatusSample, TelemetryError};

/// Processes and the `PCIe` link change slowly and are dear to ask for.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// How soon a source that had nothing new is asked again when somebody waits.
const NEWS: Duration = Duration::from_millis(20);

pub(super) struct Sampler {
    source: Box<dyn GpuSource>,
    shared: Arc<Shared>,
    pace: Pace,
    status_due: Instant,
}

impl Sampler {
    pub(super) fn new(source: Box<dyn GpuSource>, shared: Arc<Shared>) -> Self {
        let (interval, started) = (shared.lock().interval, shared.started);
        Self {
            source,
            shared,
            pace: Pace::new(interval),
            status_due: started,
        }
    }

    /// Asks until the watch ends or the source is gone.
    pub(super) fn run(mut self) {
        let mut due = Instant::now() + self.pace.interval();
        while self.shared.lock().lost.is_none() {
            match self.shared.next(due) {
                Task::Stop => return,
                Task::Edge(asked) if self.tick() => {
                    self.counters();
                    self.shared.serve(asked);
                }
                // Some sources have news only now and then.
                Task::Edge(_) => thread::sleep(NEWS),
                Task::Tick => {
                    self.tick();
                    let (next, missed) = next_due(due, Instant::now(), self.pace.interval());
                    due = next;
                    if missed > 0 {
                        let mut state = self.shared.lock();
                        state.each_section(|gathered| gathered.missed += missed);
                    }
                }
            }
        }
        // Nobody is to wait for what will not come.
        self.shared.serve(u64::MAX);
    }

    /// One reading, and the slow ones when they are due. Whether there was anything new.
    pub(super) fn tick(&mut self) -> bool {
        let asked = Instant::now();
        let at = asked.duration_since(self.shared.started);
        let answer = self.source.sample();
        let cost = asked.elapsed();
        let news = matches!(answer, Ok(Some(_)));
        match answer {
            Ok(Some(readings)) => {
                let interval = self.pace.took(cost);
                let mut state = self.shared.lock();
                state.interval = interval;
                state.push(GpuSample { at, readings }, cost);
            }
            Ok(None) => {}
            Err(error) => self.gone(&error),
        }
        if asked >= self.status_due {
            self.status_due = asked + STATUS_EVERY;
            self.status();
        }
        news
    }

    fn status(&mut self) {
        let at = self.shared.started.elapsed();
        match self.source.status() {
            Ok(gpus) if gpus.is_empty() => {}
            Ok(gpus) => self.shared.lock().push_status(GpuStatusSample { at, gpus }),
            Err(error) => self.gone(&error),
        }
    }

    /// Counters for the sections that wait for some: a new one its first, an ending one its last.
    fn counters(&mut self) {
        match self.source.counters() {
            Ok(counters) => self.shared.lock().each_section(|gathered| {
                if gathered.first.is_empty() {
                    gathered.first.clone_from(&counters);
                }
                gathered.last.clone_from(&counters);
            }),
            Err(error) => self.gone(&error),
        }
    }

    fn gone(&self, error: &TelemetryError) {
        if let TelemetryError::Lost { index, detail } = error {
            let detail = detail.clone();
            self.shared.report(Some(*index), EventKind::Lost { detail });
        }
        self.shared.lock().end(error.to_string());
    }
}

/// The first deadline after `now`, a whole number of intervals after `due`, and how many lie
/// between.
fn next_due(due: Instant, now: Instant, interval: Duration) -> (Instant, u64) {
    let late = now.saturating_duration_since(due).as_nanos();
    let missed = u32::try_from(late / interval.as_nanos().max(1)).unwrap_or(u32::MAX - 1);
    (due + interval * (missed + 1), u64::from(missed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_stay_on_the_grid() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let due = start + ms(100);
        assert_eq!(next_due(due, due, ms(100)), (start + ms(200), 0));
        assert_eq!(next_due(due, due + ms(99), ms(100)), (start + ms(200), 0));
        assert_eq!(next_due(due, due + ms(250), ms(100)), (start + ms(400), 2));
        assert_eq!(next_due(due, start, ms(100)), (start + ms(200), 0));
    }
}
