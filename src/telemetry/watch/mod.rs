//! Watching the GPUs over a whole session, from before the engine starts.
//!
//! One thread asks the source at a fixed rate. Deadlines are absolute, so that the time a reading
//! takes does not add up; a deadline that was missed is left out, not made up for. A reading's
//! time is that of its question. Another thread waits for what the GPUs report by themselves. A
//! [`Section`] is what one scenario gets of both. The load never waits for the source.

mod cost;
mod events;
mod sampler;
mod section;
mod state;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use self::{section::Gathered, state::Shared};
use super::{GpuInfo, GpuSource, NoGpu, Owner, open_source};
use crate::{context::TelemetryChoice, engine::GpuSet};

pub use self::section::Section;

/// GPUs renew their readings about every 100 ms: asking more often tells nothing.
const EVERY: Duration = Duration::from_millis(100);
/// A source that hangs is left behind after this long when the watch ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why the GPUs can no longer be measured on, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuAlarm {
    /// Which GPU, what happened, what to do.
    pub text: String,
}

/// Watches GPUs until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    source: &'static str,
    devices: Vec<GpuInfo>,
    /// Close when the threads have let go of the source.
    ended: Mutex<Vec<Receiver<()>>>,
}

impl Watch {
    /// Watches the GPUs an engine gets, or all of the host where it gets none. Start it before
    /// the engine: errors from before are not reported.
    ///
    /// # Errors
    /// Why nothing can be watched, as a value.
    pub fn start(choice: &TelemetryChoice, gpus: &GpuSet) -> Result<Self, NoGpu> {
        let source = open_source(choice, gpus)?;
        Ok(Self::over(source, EVERY))
    }

    /// Watches through a source that is open. Takes a first reading at once, in this thread, and
    /// then one every `interval` (at least a millisecond).
    pub fn over(source: Box<dyn GpuSource>, interval: Duration) -> Self {
        let (name, devices) = (source.name(), source.devices().to_vec());
        let events = source.events();
        let shared = Arc::new(Shared::new(interval, &devices));
        let mut ended = Vec::new();
        if let Some(events) = events {
            let shared = Arc::clone(&shared);
            ended.extend(spawn("gpu-events", move || events::listen(events, &shared)));
        }
        let mut sampler = sampler::Sampler::new(source, Arc::clone(&shared));
        sampler.tick();
        match spawn("gpu-sampler", move || sampler.run()) {
            Some(end) => ended.push(end),
            None => shared
                .lock()
                .end("the sampling thread did not start".to_owned()),
        }
        Self {
            shared,
            source: name,
            devices,
            ended: Mutex::new(ended),
        }
    }

    /// Name of the source, such as `nvml`.
    pub const fn source(&self) -> &'static str {
        self.source
    }

    /// The GPUs that are watched.
    pub fn devices(&self) -> &[GpuInfo] {
        &self.devices
    }

    /// Whose processes are expected on the GPUs from now on: call it once the engine runs. Until
    /// then nobody is called foreign.
    pub fn expect(&self, owner: Owner) {
        self.shared.lock().owner = owner;
    }

    /// Says whether the engine is being stopped: the driver then reports the end of its work.
    pub fn tearing_down(&self, now: bool) {
        self.shared.lock().tearing_down = now;
    }

    /// Cancelled when a GPU is lost or reports that it is not fit for use: stop the load then.
    pub fn alarm(&self) -> CancellationToken {
        self.shared.alarm.clone()
    }

    /// Why [`Watch::alarm`] was raised.
    pub fn alarmed(&self) -> Option<GpuAlarm> {
        self.shared.lock().alarm.clone()
    }

    /// Begins what one scenario gets, with the latest reading there is. Does not wait.
    pub fn section(&self) -> Section {
        let number = self.shared.lock().begin(Gathered::default());
        self.shared.nudge();
        Section::new(
            Arc::clone(&self.shared),
            number,
            self.source,
            self.devices.clone(),
        )
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        for end in ended {
            // Both outcomes are an end: the thread is gone, or it hangs in the driver.
            let _gone_or_hung = end.recv_timeout(PATIENCE);
        }
    }
}

/// A thread, and a channel that closes when it ends. `None` when it cannot be started.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Option<Receiver<()>> {
    let (alive, end) = std::sync::mpsc::channel::<()>();
    let thread = thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        body();
        drop(alive);
    });
    started.ok().map(|_detached| end)
}
