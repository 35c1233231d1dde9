//! Drives load: sends requests when their time comes and writes down what happened to each.
//!
//! An OS thread per driver thread runs an event loop over non-blocking sockets; there is no task
//! per stream and no runtime whose scheduler could delay a read. Two further threads keep what
//! takes time away from the loops: one renders requests ahead, one hands traces over. Closed
//! loop: a slot sends its next request as soon as its last one ended. Open loop: requests are
//! sent at their times, whatever the server does. Either way connections are open before.

mod exchange;
mod lane;
mod links;
mod queue;
mod record;
mod schedule;
mod shared;
mod watch;
mod worker;

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    num::{NonZeroU32, NonZeroUsize},
    ops::ControlFlow,
    sync::{Arc, mpsc},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use mio::{Poll, Waker};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use url::Host;

use self::{
    shared::{Setup, Shared, StopOnDrop},
    worker::{WAKER, Worker},
};
use super::{
    DriveReport, LoadError, RequestTrace, Stopped, Target, clock::Clock, socket::TlsSetup,
    target::Wire,
};
use crate::{limits, plan::Job};

/// Files a process has open beside its connections.
const OTHER_FILES: u64 = 64;
/// Connections an open loop starts with.
const OPEN_LOOP_START: usize = 64;

/// How load is driven.
#[derive(Debug, Clone, Copy)]
pub struct DriveOptions {
    /// Closed loop: conversations kept going at once. `None` is an open loop: jobs are sent at
    /// their due times.
    pub concurrency: Option<NonZeroU32>,
    /// Open loop: no more requests than this are in flight; what is due meanwhile waits and is
    /// counted in [`ClientAudit::held_back`](super::ClientAudit::held_back).
    pub max_in_flight: Option<NonZeroU32>,
    /// No request is sent later than this after load began; those in flight end.
    pub duration: Option<Duration>,
    /// Driver threads; connections and requests are split evenly among them. There are never
    /// more than `concurrency` or `max_in_flight`.
    pub threads: NonZeroUsize,
}

impl DriveOptions {
    /// The most requests in flight, where there is a limit.
    fn limit(&self) -> Option<usize> {
        let limit = self.concurrency.or(self.max_in_flight);
        limit.map(|limit| limit.get() as usize)
    }

    /// Connections opened before load begins.
    fn first_connections(&self) -> usize {
        match (self.concurrency, self.limit()) {
            (Some(concurrency), _) => concurrency.get() as usize,
            (None, limit) => OPEN_LOOP_START.min(limit.unwrap_or(OPEN_LOOP_START)),
        }
    }

    fn threads(&self) -> usize {
        self.threads.get().min(self.limit().unwrap_or(usize::MAX))
    }
}

/// Who takes the finished requests, on a thread of its own.
pub trait Receiver: Send {
    /// Takes a finished request, in order of ending. Breaking stops sending, with the reason in
    /// words; those in flight end by themselves and are received too.
    fn receive(&mut self, trace: RequestTrace) -> ControlFlow<String>;
}

/// Drives `jobs` against `target` and hands each finished request to `receiver`.
///
/// Jobs are taken from the iterator on a thread of its own, not far ahead of need, so that memory
/// does not grow with their number. The times of a trace are offsets from the report's epoch, on
/// the monotonic clock. Cancelling ends the requests in flight as
/// [`Outcome::Cancelled`](super::Outcome::Cancelled); those never sent have no trace. Dropping
/// the future does the same and waits for nothing.
///
/// # Errors
/// The endpoint cannot be spoken to, its name has no address, not one of the first connections
/// could be opened, or the system has too few threads or files. Later failures are traces.
pub async fn drive<R: Receiver + 'static>(
    target: Arc<Target>,
    jobs: Box<dyn Iterator<Item = Job> + Send>,
    options: DriveOptions,
    cancel: CancellationToken,
    receiver: R,
) -> Result<(DriveReport, R), LoadError> {
    let clock = Clock::start();
    let wire = Wire::new(&target)?;
    let tls = tls(&target, &wire)?;
    enough_files(&options)?;
    let found = cancel.run_until_cancelled(addresses(&wire, clock)).await;
    let Some(found) = found else {
        let report = DriveReport {
            epoch: clock.epoch(),
            began: clock.now(),
            ended: clock.now(),
            stopped: Stopped::Cancelled,
            audit: super::ClientAudit::default(),
        };
        return Ok((report, receiver));
    };
    let (addresses, dns) = found.map_err(|source| LoadError::Resolve {
        url: target.url.to_string(),
        source,
    })?;
    let (polls, wakers) = polls(options.threads()).map_err(|source| LoadError::Loop { source })?;
    let shared = Arc::new(Shared::new(Setup {
        clock,
        target,
        wire,
        tls,
        addresses,
        dns,
        options,
        wakers,
    }));
    let guard = StopOnDrop::new(Arc::clone(&shared));
    let driving = start(&shared, polls, jobs, receiver)?;
    let mut driving = std::pin::pin!(driving);
    let driven = tokio::select! {
        driven = &mut driving => driven,
        () = cancel.cancelled() => {
            shared.stop(Stopped::Cancelled);
            driving.await
        }
    };
    guard.disarm();
    driven.unwrap_or(Err(LoadError::Died))
}

fn tls(target: &Target, wire: &Wire) -> Result<Option<TlsSetup>, LoadError> {
    if !wire.secure {
        return Ok(None);
    }
    let setup = TlsSetup::new(&wire.host.to_string(), target.roots.as_deref());
    setup.map(Some).map_err(|why| LoadError::Endpoint {
        url: target.url.to_string(),
        why,
    })
}

/// Files that are open while so many streams run.
pub const fn files_for(streams: u64) -> u64 {
    streams.saturating_add(OTHER_FILES)
}

fn enough_files(options: &DriveOptions) -> Result<(), LoadError> {
    let needed = files_for(options.first_connections() as u64);
    match limits::open_files() {
        Some(allowed) if allowed < needed => Err(LoadError::Files { needed, allowed }),
        _ => Ok(()),
    }
}

/// The host's addresses, and how long looking them up took if it is a name.
async fn addresses(wire: &Wire, clock: Clock) -> io::Result<(Vec<SocketAddr>, Option<Duration>)> {
    let of = |address: IpAddr| Ok((vec![SocketAddr::new(address, wire.port)], None));
    let name = match &wire.host {
        Host::Ipv4(address) => return of((*address).into()),
        Host::Ipv6(address) => return of((*address).into()),
        Host::Domain(name) => name.clone(),
    };
    let port = wire.port;
    let began = clock.now();
    let looking = tokio::task::spawn_blocking(move || (name.as_str(), port).to_socket_addrs());
    let found: Vec<SocketAddr> = looking.await.map_err(io::Error::other)??.collect();
    if found.is_empty() {
        let why = "its name has no address";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    Ok((found, Some(clock.now().saturating_sub(began))))
}

fn polls(threads: usize) -> io::Result<(Vec<Poll>, Vec<Waker>)> {
    let mut polls = Vec::with_capacity(threads);
    let mut wakers = Vec::with_capacity(threads);
    for _ in 0..threads {
        let poll = Poll::new()?;
        wakers.push(Waker::new(poll.registry(), WAKER)?);
        polls.push(poll);
    }
    Ok((polls, wakers))
}

/// What arrives once all threads have ended.
type Driven<R> = oneshot::Receiver<Result<(DriveReport, R), LoadError>>;

/// Starts all threads. When one cannot be started, those that were end by themselves: the guard
/// of the caller stops them.
fn start<R: Receiver + 'static>(
    shared: &Arc<Shared>,
    polls: Vec<Poll>,
    jobs: Box<dyn Iterator<Item = Job> + Send>,
    receiver: R,
) -> Result<Driven<R>, LoadError> {
    let failed = |source| LoadError::Loop { source };
    let (outbox, messages) = mpsc::channel();
    let mut threads = Vec::with_capacity(polls.len() + 1);
    for (number, poll) in polls.into_iter().enumerate() {
        let own = Arc::clone(shared);
        let worker = Worker::new(own, number, poll, outbox.clone()).map_err(failed)?;
        threads.push(spawn(format!("kitt-drive-{number}"), || worker.run()).map_err(failed)?);
    }
    drop(outbox);
    let own = Arc::clone(shared);
    let feeding = move || queue::feed(&own, jobs);
    threads.push(spawn("kitt-feed".to_owned(), feeding).map_err(failed)?);
    let (report, driven) = oneshot::channel();
    let own = Arc::clone(shared);
    let recording = move || {
        // Whoever does not wait any more does not want it.
        drop(report.send(record::record(&own, &messages, threads, receiver)));
    };
    spawn("kitt-record".to_owned(), recording).map_err(failed)?;
    Ok(driven)
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name).spawn(body)
}
