//! From the driver threads to whoever receives the traces, on a thread of its own: what a
//! receiver does must not delay a read.

use std::{
    ops::ControlFlow,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use super::{
    Receiver,
    shared::{Shared, StopOnDrop},
};
use crate::load::{ClientAudit, DriveReport, LoadError, RequestTrace, StampSource, Stopped};

/// What a driver thread tells.
#[derive(Debug)]
pub(super) enum Message {
    /// Requests that ended.
    Ended(Vec<RequestTrace>),
    /// The thread has ended.
    Done(Box<Done>),
}

/// How a driver thread ended.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) audit: ClientAudit,
    /// When its last request had ended.
    pub(super) ended: Duration,
    /// Why it could not go on.
    pub(super) failure: Option<std::io::Error>,
}

/// What the receiver had and the threads saw, all together.
type Driven<R> = Result<(DriveReport, R), LoadError>;

/// Hands traces to the receiver until all driver threads have ended, waits for them and makes
/// the report.
pub(super) fn record<R: Receiver>(
    shared: &Arc<Shared>,
    messages: &mpsc::Receiver<Message>,
    threads: Vec<JoinHandle<()>>,
    mut receiver: R,
) -> Driven<R> {
    let guard = StopOnDrop::new(Arc::clone(shared));
    let mut audit = ClientAudit::default();
    let mut ended = Duration::ZERO;
    let mut failure = None;
    let mut missing = shared.wakers.len();
    // Without a bound: the loop must never wait for the receiver. One that is slow costs memory.
    while let Ok(message) = messages.recv() {
        match message {
            Message::Ended(mut traces) => {
                traces.sort_by_key(|trace| trace.finished_at);
                for trace in traces {
                    if let ControlFlow::Break(why) = receiver.receive(trace) {
                        shared.stop(Stopped::Asked(why));
                    }
                }
            }
            Message::Done(done) => {
                missing = missing.saturating_sub(1);
                audit.add(&done.audit);
                ended = ended.max(done.ended);
                failure = failure.or(done.failure);
            }
        }
    }
    guard.disarm();
    let died = join(threads) || missing > 0;
    if let Some(error) = shared.unreachable() {
        return Err(error);
    }
    if let Some(source) = failure {
        return Err(LoadError::Loop { source });
    }
    if died {
        return Err(LoadError::Died);
    }
    audit.stamps = if audit.loop_lag.count() > 0 && audit.user_stamped_reads == 0 {
        StampSource::Kernel
    } else {
        StampSource::User
    };
    let began = shared.began().unwrap_or_default();
    let report = DriveReport {
        epoch: shared.clock.epoch(),
        began,
        ended: ended.max(began),
        stopped: shared.stopped(),
        audit,
    };
    Ok((report, receiver))
}

/// Waits for threads that have nothing left to do; whether one of them died.
fn join(threads: Vec<JoinHandle<()>>) -> bool {
    let ends: Vec<bool> = threads.into_iter().map(|one| one.join().is_err()).collect();
    ends.contains(&true)
}
