//! The closed loop: keeps the asked-for number of requests in flight and writes down what
//! happened to each.
//!
//! One slot per request in flight, each with its own connection that is open before the clock of
//! its requests starts. A slot takes the next request as soon as its last one has ended, so
//! requests start in index order.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use http::StatusCode;
use serde_json::Map;
use tokio_util::sync::CancellationToken;

use super::{
    Arrivals, LoadError, RequestTrace, Target,
    body::request_body,
    link::{Exchange, Link},
    stream::{End, Stream},
    target::Wire,
};
use crate::plan::PlannedRequest;

/// Connecting may take this long, or the request's own limit if that is shorter.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Sends the requests in index order and returns what happened to each that was sent, by index.
///
/// Times are offsets from the moment of this call, on the monotonic clock. `progress` gets the
/// number of requests that have ended, after each. Cancelling ends the requests in flight as
/// [`Outcome::Cancelled`](super::Outcome::Cancelled); those never sent have no trace.
///
/// # Errors
/// The endpoint cannot be spoken to, or not one of the first connections could be opened. Later
/// failures are traces.
pub async fn drive(
    target: &Target,
    requests: &[PlannedRequest],
    arrivals: Arrivals,
    cancel: &CancellationToken,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<RequestTrace>, LoadError> {
    let epoch = Instant::now();
    let Arrivals::Closed { concurrency } = arrivals;
    let wire = Wire::new(target)?;
    let bodies: Vec<Bytes> = requests
        .iter()
        .take_while(|_| !cancel.is_cancelled())
        .map(|request| request_body(target.path, &target.model, request, &target.extras))
        .collect();
    if cancel.is_cancelled() {
        return Ok(Vec::new());
    }
    let run = Run {
        target,
        wire,
        requests,
        bodies,
        epoch,
        cancel,
        progress,
        next: AtomicUsize::new(0),
        ended: AtomicUsize::new(0),
    };
    let Some(links) = cancel.run_until_cancelled(run.connect(concurrency)).await else {
        return Ok(Vec::new());
    };
    let mut slots: FuturesUnordered<_> = links?.into_iter().map(|link| run.slot(link)).collect();
    let mut traces = Vec::with_capacity(requests.len());
    while let Some(of_slot) = slots.next().await {
        traces.extend(of_slot);
    }
    traces.sort_unstable_by_key(|trace: &RequestTrace| trace.index);
    Ok(traces)
}

/// What all slots share.
struct Run<'a> {
    target: &'a Target,
    wire: Wire,
    requests: &'a [PlannedRequest],
    bodies: Vec<Bytes>,
    epoch: Instant,
    cancel: &'a CancellationToken,
    progress: &'a (dyn Fn(usize) + Sync),
    next: AtomicUsize,
    ended: AtomicUsize,
}

/// One try to get an answer.
struct Attempt {
    sent_at: Duration,
    finished_at: Duration,
    exchange: Exchange,
    stream: Stream,
}

impl Run<'_> {
    async fn connect(&self, concurrency: NonZeroU32) -> Result<Vec<Option<Link>>, LoadError> {
        let slots = self.requests.len().min(concurrency.get() as usize);
        let opened = join_all((0..slots).map(|_| self.open())).await;
        let mut links = Vec::with_capacity(slots);
        let mut failure = None;
        for link in opened {
            match link {
                Ok(link) => links.push(Some(link)),
                Err(error) => {
                    failure = Some(error);
                    links.push(None);
                }
            }
        }
        match failure {
            Some(source) if links.iter().all(Option::is_none) => Err(LoadError::Connect {
                url: self.target.url.to_string(),
                source,
            }),
            _ => Ok(links),
        }
    }

    async fn open(&self) -> std::io::Result<Link> {
        let limit = CONNECT_LIMIT.min(self.target.timeout);
        Link::open(&self.wire, self.epoch, limit).await
    }

    async fn slot(&self, mut link: Option<Link>) -> Vec<RequestTrace> {
        let mut traces = Vec::new();
        while !self.cancel.is_cancelled() {
            let position = self.next.fetch_add(1, Ordering::Relaxed);
            let (Some(request), Some(body)) =
                (self.requests.get(position), self.bodies.get(position))
            else {
                break;
            };
            traces.push(self.request(&mut link, request, body).await);
            let ended = self.ended.fetch_add(1, Ordering::Relaxed) + 1;
            (self.progress)(ended);
        }
        traces
    }

    /// Sends one request, again where the first try says nothing about the server's work: on a
    /// connection that had been closed while idle, and without the extras a server refuses.
    async fn request(
        &self,
        link: &mut Option<Link>,
        request: &PlannedRequest,
        body: &Bytes,
    ) -> RequestTrace {
        let plain = || {
            let none = Map::new();
            request_body(self.target.path, &self.target.model, request, &none)
        };
        let refused = self.target.extras_refused();
        let body = if refused { plain() } else { body.clone() };
        let mut attempt = self.attempt(link, body.clone()).await;
        if attempt.exchange.stale {
            attempt = self.attempt(link, body).await;
        }
        let may_be_extras = matches!(
            attempt.exchange.status,
            Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
        );
        if may_be_extras && !refused && !self.target.extras.is_empty() {
            let without = self.attempt(link, plain()).await;
            if without.exchange.status == Some(StatusCode::OK) {
                tracing::info!("the server refuses the extra keys; going on without them");
                self.target.refuse_extras();
                attempt = without;
            }
        }
        attempt.into_trace(request.index)
    }

    async fn attempt(&self, slot: &mut Option<Link>, body: Bytes) -> Attempt {
        let mut stream = Stream::default();
        let opening = self.cancel.run_until_cancelled(self.ready(slot));
        let link = match opening.await {
            Some(Ok(link)) => link,
            Some(Err(error)) => {
                let end = End::Refused(format!("cannot connect: {error}"));
                return self.unsent(end, stream);
            }
            None => return self.unsent(End::Cancelled, stream),
        };
        let limit = self.target.timeout;
        let talking = tokio::time::timeout(limit, link.exchange(&self.wire, body, &mut stream));
        let exchange = match self.cancel.run_until_cancelled(talking).await {
            Some(Ok(exchange)) => exchange,
            Some(Err(_elapsed)) => Exchange::stopped(End::TimedOut(limit), None),
            None => Exchange::stopped(End::Cancelled, None),
        };
        let now = self.epoch.elapsed();
        let sent_at = link.stamps().first_write().unwrap_or(now);
        let finished_at = match &exchange.end {
            End::TimedOut(_) | End::Cancelled => now,
            End::Complete | End::Broken(_) | End::Stopped | End::Refused(_) => {
                link.stamps().last_return().max(sent_at)
            }
        };
        if !exchange.reusable {
            *slot = None;
        }
        Attempt {
            sent_at,
            finished_at,
            exchange,
            stream,
        }
    }

    /// An open connection: the slot's own, or a new one when the server has closed that.
    async fn ready<'l>(&self, slot: &'l mut Option<Link>) -> std::io::Result<&'l mut Link> {
        let open = match slot.take() {
            Some(mut link) => link.is_open().await.then_some(link),
            None => None,
        };
        let link = match open {
            Some(link) => link,
            None => self.open().await?,
        };
        Ok(slot.insert(link))
    }

    /// A request that never reached a connection.
    fn unsent(&self, end: End, stream: Stream) -> Attempt {
        let now = self.epoch.elapsed();
        Attempt {
            sent_at: now,
            finished_at: now,
            exchange: Exchange::stopped(end, None),
            stream,
        }
    }
}

impl Attempt {
    fn into_trace(self, index: u32) -> RequestTrace {
        let answer = self.stream.conclude(self.exchange.end);
        RequestTrace {
            index,
            scheduled_at: self.sent_at,
            sent_at: self.sent_at,
            chunks: answer.chunks,
            finished_at: self.finished_at,
            outcome: answer.outcome,
            usage: answer.usage,
            finish_reason: answer.finish_reason,
            error: answer.error,
        }
    }
}
