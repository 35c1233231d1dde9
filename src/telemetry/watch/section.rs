//! What one scenario gets of a watch.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{cost::sum_up, state::Shared};
use crate::telemetry::{
    EventKind, GpuCounters, GpuEvent, GpuInfo, GpuSample, GpuStatusSample, GpuTrace, Owner,
    foreign, processes::program,
};

/// A source that hangs does not hold up the end of a scenario for longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What has come since a section began.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) samples: Vec<GpuSample>,
    pub(super) status: Vec<GpuStatusSample>,
    pub(super) first: Vec<GpuCounters>,
    pub(super) last: Vec<GpuCounters>,
    pub(super) costs: Vec<Duration>,
    pub(super) missed: u64,
    strangers: BTreeSet<u32>,
    events: Vec<GpuEvent>,
}

impl Gathered {
    /// Looks for processes of others, and tells each once.
    pub(super) fn saw(&mut self, status: &GpuStatusSample, owner: &Owner) {
        for (gpu, one) in status.gpus.iter().enumerate() {
            for process in foreign(one.processes.as_deref().unwrap_or_default(), owner) {
                if self.strangers.insert(process.pid) {
                    self.events.push(GpuEvent {
                        at: status.at,
                        gpu: Some(gpu),
                        kind: EventKind::Foreign {
                            pid: process.pid,
                            program: program(process.pid),
                        },
                    });
                }
            }
        }
    }
}

/// Gathers readings until it is stopped.
pub struct Section {
    shared: Arc<Shared>,
    number: u64,
    source: &'static str,
    devices: Vec<GpuInfo>,
    began: Duration,
    marked: Option<Duration>,
    open: bool,
}

impl Section {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: u64,
        source: &'static str,
        devices: Vec<GpuInfo>,
    ) -> Self {
        Self {
            began: shared.started.elapsed(),
            shared,
            number,
            source,
            devices,
            marked: None,
            open: true,
        }
    }

    /// Notes that the load's clock starts now: call it right before `load::drive`. Without it the
    /// clocks are taken to start together.
    pub fn mark(&mut self) {
        self.marked = Some(self.shared.started.elapsed());
    }

    /// Takes a last reading and gives everything back, on a clock that starts with the first
    /// reading. Waits up to two seconds for a source that is slow.
    pub fn stop(mut self) -> GpuTrace {
        self.open = false;
        self.shared.edge(PATIENCE);
        let mut state = self.shared.lock();
        let gathered = state.finish(self.number);
        let mut events = state.events_since(self.began);
        let (lost, interval) = (state.lost.clone(), state.interval);
        drop(state);
        events.extend(gathered.events);
        events.sort_by_key(|event| event.at);
        let ended = self.shared.started.elapsed();
        let cost = sum_up(
            gathered.costs,
            &gathered.samples,
            ended,
            gathered.missed,
            interval,
        );
        let first = gathered.samples.first();
        let zero = first.map_or(self.began, |sample| sample.at.min(self.began));
        let since = |at: Duration| at.saturating_sub(zero);
        let mut trace = GpuTrace {
            source: self.source.to_owned(),
            devices: std::mem::take(&mut self.devices),
            samples: gathered.samples,
            scenario_start: since(self.marked.unwrap_or(zero)),
            lost,
            status: gathered.status,
            events,
            first: gathered.first,
            last: gathered.last,
            cost,
        };
        trace
            .samples
            .iter_mut()
            .for_each(|one| one.at = since(one.at));
        trace
            .status
            .iter_mut()
            .for_each(|one| one.at = since(one.at));
        trace
            .events
            .iter_mut()
            .for_each(|one| one.at = since(one.at));
        trace
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        if self.open {
            self.shared.lock().finish(self.number);
        }
    }
}
