//! The scheduler's thread: waits for each step's deadline and hands its tokens to the
//! connections.
//!
//! Deadlines are absolute, so a late wake-up delays one step's tokens and not the next's. After
//! a stall (a suspended machine) the steps that were missed follow at once.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc::Sender;

use super::{
    ledger::Ledger,
    scheduler::{Admission, Job, Scheduler, Step},
};

/// A token on its way to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    /// When it was due.
    pub due_ns: u64,
    /// How its request came in.
    pub admission: Admission,
}

/// A request handed to the scheduler.
#[derive(Debug)]
pub(super) struct Submission {
    pub job: Job,
    /// Room for all tokens of the answer, so that the scheduler never waits for a client.
    pub tokens: Sender<Delivery>,
}

/// Starts the thread; it ends when every sender of `inbox` is gone.
///
/// # Errors
/// The system has no thread left.
pub(super) fn spawn(
    scheduler: Scheduler,
    inbox: Receiver<Submission>,
    ledger: Arc<Ledger>,
) -> io::Result<JoinHandle<()>> {
    let pump = Pump {
        scheduler,
        inbox,
        ledger,
        open: HashMap::new(),
    };
    thread::Builder::new()
        .name("sim-scheduler".to_owned())
        .spawn(move || pump.run())
}

struct Pump {
    scheduler: Scheduler,
    inbox: Receiver<Submission>,
    ledger: Arc<Ledger>,
    open: HashMap<u64, Sender<Delivery>>,
}

/// Whether anybody can still send requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inbox {
    Open,
    Closed,
}

impl Pump {
    fn run(mut self) {
        let mut inbox = Inbox::Open;
        while inbox == Inbox::Open {
            self.free_abandoned();
            inbox = if let Some(step) = self.scheduler.next_step() {
                self.publish(step.emitted.len());
                self.carry_out(&step)
            } else {
                self.publish(0);
                self.wait_for_work()
            };
        }
    }

    fn publish(&self, batch: usize) {
        self.ledger.live.set_load(batch, self.scheduler.waiting());
    }

    fn accept(&mut self, submission: Submission) {
        self.open.insert(submission.job.id, submission.tokens);
        self.scheduler.arrive(submission.job);
    }

    fn carry_out(&mut self, step: &Step) -> Inbox {
        if self.wait_until(step.end_ns) == Inbox::Closed {
            return Inbox::Closed;
        }
        self.deliver(step);
        self.drain()
    }

    fn wait_for_work(&mut self) -> Inbox {
        match self.inbox.recv() {
            Ok(submission) => {
                self.accept(submission);
                Inbox::Open
            }
            Err(_closed) => Inbox::Closed,
        }
    }

    /// Requests that arrive meanwhile go into the queue.
    fn wait_until(&mut self, end_ns: u64) -> Inbox {
        loop {
            let left_ns = end_ns.saturating_sub(self.ledger.clock.now_ns());
            if left_ns == 0 {
                return Inbox::Open;
            }
            match self.inbox.recv_timeout(Duration::from_nanos(left_ns)) {
                Ok(submission) => self.accept(submission),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Inbox::Closed,
            }
        }
    }

    fn drain(&mut self) -> Inbox {
        loop {
            match self.inbox.try_recv() {
                Ok(submission) => self.accept(submission),
                Err(TryRecvError::Empty) => return Inbox::Open,
                Err(TryRecvError::Disconnected) => return Inbox::Closed,
            }
        }
    }

    fn deliver(&mut self, step: &Step) {
        for token in &step.emitted {
            let delivery = Delivery {
                due_ns: step.end_ns,
                admission: token.admission,
            };
            let sent = self
                .open
                .get(&token.id)
                .is_some_and(|tokens| tokens.try_send(delivery).is_ok());
            // The channel has room for every token: a failure means that the client is gone.
            if token.last || !sent {
                self.open.remove(&token.id);
            }
        }
    }

    /// Frees the places of clients that went away.
    fn free_abandoned(&mut self) {
        self.open.retain(|_, tokens| !tokens.is_closed());
        if self.open.len() < self.scheduler.running() + self.scheduler.waiting() {
            let open = &self.open;
            self.scheduler.retain(|id| open.contains_key(&id));
        }
    }
}
