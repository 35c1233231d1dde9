//! What the threads of a watch share.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{GpuAlarm, section::Gathered};
use crate::telemetry::{EventKind, GpuEvent, GpuInfo, GpuSample, GpuStatusSample, Owner, xid};

/// Faster asking is pointless: GPUs renew their readings about every 100 ms.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// A GPU that reports errors without end is broken; the first ones tell why.
const MOST_EVENTS: usize = 10_000;

/// Shared by the threads and the sections of a watch.
pub(super) struct Shared {
    pub(super) started: Instant,
    pub(super) alarm: CancellationToken,
    names: Vec<String>,
    state: Mutex<State>,
    /// Wakes the sampling thread.
    wake: Condvar,
    /// Wakes those that wait for a reading.
    taken: Condvar,
}

/// What is known so far.
pub(super) struct State {
    pub(super) owner: Owner,
    pub(super) tearing_down: bool,
    pub(super) alarm: Option<GpuAlarm>,
    /// Time between readings, now.
    pub(super) interval: Duration,
    /// Why there are no more readings.
    pub(super) lost: Option<String>,
    stopping: bool,
    /// Readings that were asked for out of turn, and how many of them were taken.
    wanted: u64,
    served: u64,
    latest: Option<GpuSample>,
    latest_status: Option<GpuStatusSample>,
    events: Vec<GpuEvent>,
    sections: BTreeMap<u64, Gathered>,
    numbered: u64,
}

impl State {
    /// Begins a section with what is known last.
    pub(super) fn begin(&mut self, mut gathered: Gathered) -> u64 {
        gathered.samples.extend(self.latest.clone());
        gathered.status.extend(self.latest_status.clone());
        self.numbered += 1;
        self.sections.insert(self.numbered, gathered);
        self.wanted += 1;
        self.numbered
    }

    /// No more readings will come.
    pub(super) fn end(&mut self, why: String) {
        self.lost.get_or_insert(why);
    }

    /// Takes a section out.
    pub(super) fn finish(&mut self, number: u64) -> Gathered {
        self.sections.remove(&number).unwrap_or_default()
    }

    /// What the GPUs reported since `from`.
    pub(super) fn events_since(&self, from: Duration) -> Vec<GpuEvent> {
        let late = self.events.iter().filter(|event| event.at >= from);
        late.cloned().collect()
    }

    /// Gives every section a reading, and keeps it for those that begin later.
    pub(super) fn push(&mut self, sample: GpuSample, cost: Duration) {
        for gathered in self.sections.values_mut() {
            gathered.costs.push(cost);
            gathered.samples.push(sample.clone());
        }
        self.latest = Some(sample);
    }

    pub(super) fn push_status(&mut self, status: GpuStatusSample) {
        for gathered in self.sections.values_mut() {
            gathered.saw(&status, &self.owner);
            gathered.status.push(status.clone());
        }
        self.latest_status = Some(status);
    }

    pub(super) fn each_section(&mut self, change: impl Fn(&mut Gathered)) {
        self.sections.values_mut().for_each(change);
    }
}

/// What the sampling thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// A reading is due.
    Tick,
    /// Somebody waits for a reading, and for counters: so many have asked so far.
    Edge(u64),
    Stop,
}

impl Shared {
    pub(super) fn new(interval: Duration, devices: &[GpuInfo]) -> Self {
        Self {
            started: Instant::now(),
            alarm: CancellationToken::new(),
            names: devices.iter().map(|info| info.name.clone()).collect(),
            state: Mutex::new(State {
                owner: Owner::Unknown,
                tearing_down: false,
                alarm: None,
                interval: interval.max(SHORTEST_INTERVAL),
                lost: None,
                stopping: false,
                wanted: 0,
                served: 0,
                latest: None,
                latest_status: None,
                events: Vec::new(),
                sections: BTreeMap::new(),
                numbered: 0,
            }),
            wake: Condvar::new(),
            taken: Condvar::new(),
        }
    }

    /// A thread that panicked leaves values that are whole: each change is one push.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn nudge(&self) {
        self.wake.notify_all();
    }

    pub(super) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
        self.taken.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits until `due`, or until something else is to be done.
    pub(super) fn next(&self, due: Instant) -> Task {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return Task::Stop;
            }
            if state.wanted > state.served {
                return Task::Edge(state.wanted);
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Task::Tick;
            }
            let waited = self.wake.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Those who asked up to `served` have their reading.
    pub(super) fn serve(&self, served: u64) {
        let mut state = self.lock();
        state.served = state.served.max(served);
        drop(state);
        self.taken.notify_all();
    }

    /// Asks for a reading out of turn and waits for it, at most `patience`.
    pub(super) fn edge(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        state.wanted += 1;
        let mine = state.wanted;
        self.wake.notify_all();
        while state.served < mine && state.lost.is_none() && !state.stopping {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.taken.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Keeps an event, and raises the alarm where it makes all measuring void.
    pub(super) fn report(&self, gpu: Option<usize>, kind: EventKind) {
        let at = self.started.elapsed();
        let mut state = self.lock();
        if state.tearing_down && matches!(kind, EventKind::Xid { code } if xid::is_teardown(code)) {
            return;
        }
        let fatal = fatal(&kind);
        if let Some(what) = fatal
            && state.alarm.is_none()
        {
            let text = format!("{} {what}; do not retry on this host", self.named(gpu));
            state.alarm = Some(GpuAlarm { text });
            self.alarm.cancel();
        }
        if state.events.len() < MOST_EVENTS {
            state.events.push(GpuEvent { at, gpu, kind });
        }
    }

    /// A GPU by its place and name.
    fn named(&self, gpu: Option<usize>) -> String {
        match gpu.and_then(|at| Some((at, self.names.get(at)?))) {
            Some((at, name)) => format!("GPU {at} ({name})"),
            None => "a GPU".to_owned(),
        }
    }
}

/// What makes all measuring void, in words.
fn fatal(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::Xid { code } if xid::is_fatal(*code) => {
            Some(format!("reported {}", xid::in_words(*code)))
        }
        EventKind::Lost { detail } => Some(format!("does not answer any more ({detail})")),
        EventKind::Xid { .. } | EventKind::EccUncorrected | EventKind::Foreign { .. } => None,
    }
}
