//! A paced simulator's handle: starts its thread and ends it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use mio::{Interest, Waker, net::TcpListener};

use super::{
    super::clock::Clock,
    pump::{LISTENER, Pump, TIMER, WAKER},
    receive,
    spec::PacedSpec,
    truth::PacedTruth,
    wait::Waiter,
};

/// A running paced simulator. Dropping it stops it.
#[derive(Debug)]
pub struct PacedServer {
    address: SocketAddr,
    clock: Clock,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<io::Result<PacedTruth>>>,
}

/// Starts a paced simulator on a thread of its own. It listens when this returns.
///
/// # Errors
/// The address cannot be listened on, or the system has no more threads or descriptors.
pub fn start(spec: PacedSpec) -> io::Result<PacedServer> {
    let mut listener = TcpListener::bind(spec.address)?;
    let address = listener.local_addr()?;
    if let Err(error) = receive::ask_for_stamps(&listener) {
        tracing::warn!("the kernel stamps no arrivals, the reads' own times are taken: {error}");
    }
    let waiter = Waiter::new(TIMER)?;
    let registry = waiter.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let waker = Arc::new(Waker::new(registry, WAKER)?);
    let stop = Arc::new(AtomicBool::new(false));
    let clock = Clock::start_now();
    let pump = Pump::new(spec, listener, waiter, clock, Arc::clone(&stop));
    let thread = std::thread::Builder::new().name("kitt-paced".to_owned());
    Ok(PacedServer {
        address,
        clock,
        stop,
        waker,
        thread: Some(thread.spawn(move || pump.run())?),
    })
}

impl PacedServer {
    /// Base URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The moment all times of its truth count from.
    pub fn started(&self) -> Instant {
        self.clock.started()
    }

    /// Stops it, closes its connections and takes what it knows.
    ///
    /// # Errors
    /// Its poll failed while it ran, or its thread panicked.
    pub fn stop(mut self) -> io::Result<PacedTruth> {
        self.end()
            .unwrap_or_else(|| Err(io::Error::other("it was stopped before")))
    }

    fn end(&mut self) -> Option<io::Result<PacedTruth>> {
        let thread = self.thread.take()?;
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            return Some(Err(error));
        }
        let ended = thread.join();
        Some(ended.unwrap_or_else(|_| Err(io::Error::other("the paced simulator panicked"))))
    }
}

impl Drop for PacedServer {
    fn drop(&mut self) {
        drop(self.end());
    }
}
