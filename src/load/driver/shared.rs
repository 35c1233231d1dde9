//! What the threads of one drive share: where to send, when load begins, and why it stops.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mio::Waker;

use super::{DriveOptions, queue::Queue};
use crate::load::{
    LoadError, Stopped, Target, body::Extras, clock::Clock, socket::TlsSetup, target::Wire,
};

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) target: Arc<Target>,
    pub(super) extras: Extras,
    pub(super) wire: Wire,
    pub(super) tls: Option<TlsSetup>,
    /// The host's addresses, at least one.
    pub(super) addresses: Vec<SocketAddr>,
    /// Position of the address that answered last: the next connection tries it first.
    pub(super) answering: AtomicUsize,
    /// How long the look-up of the host's name took, for the first connection to tell.
    pub(super) dns: Mutex<Option<Duration>>,
    pub(super) options: DriveOptions,
    pub(super) queue: Queue,
    /// One for each driver thread.
    pub(super) wakers: Vec<Waker>,
    halt: AtomicU8,
    why: Mutex<Option<Stopped>>,
    gate: Mutex<Gate>,
}

/// How far the threads may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Halt {
    /// On.
    No,
    /// No request is sent any more; those in flight end.
    Sending,
    /// What is in flight is dropped.
    All,
}

/// Load begins when everybody is ready.
#[derive(Debug)]
struct Gate {
    /// Who is not.
    missing: usize,
    /// Connections that are open.
    opened: usize,
    /// Why others are not.
    failure: Option<io::Error>,
    began: Option<Duration>,
}

/// Whoever holds it leaves its data whole: a poisoned lock is as good as another.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the threads of a drive are made from.
pub(super) struct Setup {
    pub(super) clock: Clock,
    pub(super) target: Arc<Target>,
    pub(super) wire: Wire,
    pub(super) tls: Option<TlsSetup>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) dns: Option<Duration>,
    pub(super) options: DriveOptions,
    pub(super) wakers: Vec<Waker>,
}

impl Shared {
    pub(super) fn new(setup: Setup) -> Self {
        let threads = setup.wakers.len();
        Self {
            clock: setup.clock,
            extras: Extras::new(&setup.target.extras),
            target: setup.target,
            wire: setup.wire,
            tls: setup.tls,
            addresses: setup.addresses,
            answering: AtomicUsize::new(0),
            dns: Mutex::new(setup.dns),
            queue: Queue::new(&setup.options, threads),
            options: setup.options,
            wakers: setup.wakers,
            halt: AtomicU8::new(0),
            why: Mutex::new(None),
            gate: Mutex::new(Gate {
                // The feeder is the one more.
                missing: threads + 1,
                opened: 0,
                failure: None,
                began: None,
            }),
        }
    }

    /// How far the threads may go.
    pub(super) fn halt(&self) -> Halt {
        match self.halt.load(Ordering::Acquire) {
            0 => Halt::No,
            1 => Halt::Sending,
            _ => Halt::All,
        }
    }

    /// Stops the threads. The first reason stands, but being cancelled goes before all others.
    pub(super) fn stop(&self, why: Stopped) {
        let level = if why == Stopped::Cancelled { 2 } else { 1 };
        {
            let mut known = lock(&self.why);
            if known.is_none() || why == Stopped::Cancelled {
                *known = Some(why);
            }
        }
        if self.halt.fetch_max(level, Ordering::AcqRel) < level {
            self.queue.close();
            self.wake_all();
        }
    }

    /// Why no further request was sent.
    pub(super) fn stopped(&self) -> Stopped {
        lock(&self.why).clone().unwrap_or(Stopped::Exhausted)
    }

    /// Somebody is ready, with so many connections; the last one opens the gate. When not one
    /// connection could be opened, everything stops instead.
    pub(super) fn ready(&self, opened: usize, failure: Option<io::Error>) {
        let hopeless = {
            let mut gate = lock(&self.gate);
            gate.missing = gate.missing.saturating_sub(1);
            gate.opened += opened;
            gate.failure = gate.failure.take().or(failure);
            if gate.missing > 0 {
                return;
            }
            gate.began = Some(self.clock.now());
            gate.opened == 0 && gate.failure.is_some()
        };
        if hopeless {
            self.stop(Stopped::Cancelled);
        }
        self.wake_all();
    }

    /// When load began, once it has.
    pub(super) fn began(&self) -> Option<Duration> {
        lock(&self.gate).began
    }

    /// Why there never was a connection.
    pub(super) fn unreachable(&self) -> Option<LoadError> {
        let mut gate = lock(&self.gate);
        // Whoever was stopped before everybody had tried cannot know.
        if gate.opened > 0 || gate.began.is_none() {
            return None;
        }
        gate.failure.take().map(|source| LoadError::Connect {
            url: self.target.url.to_string(),
            source,
        })
    }

    /// Interrupts the poll of a thread.
    pub(super) fn wake(&self, thread: usize) {
        if let Some(waker) = self.wakers.get(thread)
            && let Err(error) = waker.wake()
        {
            // The threads look up every few milliseconds while requests are in flight.
            tracing::debug!("a driver thread cannot be woken: {error}");
        }
    }

    fn wake_all(&self) {
        (0..self.wakers.len()).for_each(|thread| self.wake(thread));
    }
}

/// Stops everything when it goes away: whoever waits for the threads has gone, or one of them
/// has died.
#[derive(Debug)]
pub(super) struct StopOnDrop {
    shared: Option<Arc<Shared>>,
}

impl StopOnDrop {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared: Some(shared),
        }
    }

    /// All went well.
    pub(super) fn disarm(mut self) {
        self.shared = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.stop(Stopped::Cancelled);
        }
    }
}
