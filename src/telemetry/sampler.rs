//! A thread that asks a source at a fixed rate.
//!
//! Deadlines are absolute, so that the time a reading takes does not add up; a deadline that was
//! missed is left out, not made up for. A sample's time is that of its question.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{GpuSample, GpuSource, GpuTrace, TelemetryError};

/// Faster asking is pointless: GPUs renew their readings about every 100 ms.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// Samples until it is stopped. Dropping it stops it too.
#[derive(Debug)]
pub struct Sampler {
    started: Instant,
    scenario_start: Duration,
    source: String,
    /// Dropped to end the thread.
    stop: Option<SyncSender<()>>,
    thread: Result<JoinHandle<GpuTrace>, std::io::Error>,
}

impl Sampler {
    /// Takes a first sample at once, in this thread, and starts the thread that takes one every
    /// `interval` (at least a millisecond) from now. A thread that cannot be started is told by
    /// [`GpuTrace::lost`].
    pub fn start(mut source: Box<dyn GpuSource>, interval: Duration) -> Self {
        let started = Instant::now();
        let name = source.name().to_owned();
        let mut trace = GpuTrace {
            source: name.clone(),
            devices: source.devices().to_vec(),
            samples: Vec::new(),
            scenario_start: Duration::ZERO,
            lost: None,
        };
        take(source.as_mut(), started, &mut trace);
        let interval = interval.max(SHORTEST_INTERVAL);
        let (stop, stopped) = sync_channel(1);
        let thread = thread::Builder::new()
            .name("gpu-sampler".to_owned())
            .spawn(move || sample(source, trace, started, interval, &stopped));
        Self {
            started,
            scenario_start: Duration::ZERO,
            source: name,
            stop: Some(stop),
            thread,
        }
    }

    /// Notes that the load's clock starts now: call it right before `load::drive`. Without it
    /// the clocks are taken to start together.
    pub fn mark(&mut self) {
        self.scenario_start = self.started.elapsed();
    }

    /// Takes a last sample and gives everything back.
    pub fn stop(mut self) -> GpuTrace {
        self.stop = None;
        let nothing = |lost: String| GpuTrace {
            source: self.source.clone(),
            devices: Vec::new(),
            samples: Vec::new(),
            scenario_start: self.scenario_start,
            lost: Some(lost),
        };
        match self.thread {
            Ok(thread) => match thread.join() {
                Ok(trace) => GpuTrace {
                    scenario_start: self.scenario_start,
                    ..trace
                },
                Err(_panic) => nothing("the sampling thread panicked".to_owned()),
            },
            Err(error) => nothing(format!("the sampling thread did not start: {error}")),
        }
    }
}

fn sample(
    mut source: Box<dyn GpuSource>,
    mut trace: GpuTrace,
    started: Instant,
    interval: Duration,
    stopped: &Receiver<()>,
) -> GpuTrace {
    let mut due = started + interval;
    while trace.lost.is_none() {
        let wait = due.saturating_duration_since(Instant::now());
        let stopping = !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
        take(source.as_mut(), started, &mut trace);
        if stopping {
            break;
        }
        due = next_due(due, Instant::now(), interval);
    }
    trace
}

/// The first deadline after `now`, a whole number of intervals after `due`.
fn next_due(due: Instant, now: Instant, interval: Duration) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let missed = late / interval.as_nanos().max(1);
    due + interval * u32::try_from(missed + 1).unwrap_or(u32::MAX)
}

fn take(source: &mut dyn GpuSource, started: Instant, trace: &mut GpuTrace) {
    let at = started.elapsed();
    match source.sample() {
        Ok(readings) => trace.samples.push(GpuSample { at, readings }),
        Err(error) => trace.lost = Some(told(&error)),
    }
}

fn told(error: &TelemetryError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_stay_on_the_grid() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let due = start + ms(100);
        assert_eq!(next_due(due, due, ms(100)), start + ms(200));
        assert_eq!(next_due(due, due + ms(99), ms(100)), start + ms(200));
        assert_eq!(next_due(due, due + ms(250), ms(100)), start + ms(400));
        assert_eq!(next_due(due, start, ms(100)), start + ms(200));
    }
}
