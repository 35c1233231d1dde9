//! A driver thread: looks at its sockets, reads what has arrived, then sends what is due.
//!
//! One pass is: wait for readiness, read all sockets that have something, hand out the work that
//! follows, send, open connections. Reading goes first, so that neither stamps nor the lag behind
//! the network depend on how much there is to send.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    io,
    sync::{Arc, mpsc::Sender},
    time::Duration,
};

use mio::{Events, Poll, Token, event::Event};
use slab::Slab;

use super::{
    lane::Lane,
    links::{Links, Stage},
    queue::Ticket,
    record::{Done, Message},
    shared::{Halt, Shared, StopOnDrop},
    watch::Watch,
};
use crate::load::{
    ClientAudit, RequestTrace, Stopped,
    socket::{Stamper, Timer, keep_stamping, thread_cpu},
};

/// The token of what wakes a thread; connections have small ones.
pub(super) const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// Events taken in one look.
const EVENTS: usize = 1024;
/// What one read can bring at most.
const BUFFER: usize = 128 * 1024;
/// Requests sent before the sockets are looked at again.
const SENDS: usize = 32;
/// While there is work the thread looks up this often: for timeouts, and to see that it runs.
const HEARTBEAT: Duration = Duration::from_millis(5);
/// Traces are handed over in batches of about this many, or after about this long.
const BATCH: usize = 64;
const BATCH_TIME: Duration = Duration::from_millis(10);

/// A driver thread.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) number: usize,
    pub(super) poll: Poll,
    timer: Timer,
    pub(super) stamper: Stamper,
    pub(super) buffer: Vec<u8>,
    /// The request that is being sent.
    pub(super) out: Vec<u8>,
    pub(super) links: Links,
    pub(super) lanes: Slab<Lane>,
    /// Lanes without a conversation.
    pub(super) spare: Vec<Lane>,
    /// Lanes that send as soon as there is a connection for them.
    pub(super) ready: VecDeque<usize>,
    /// Lanes that wait for any connection, and those that want a new one.
    pub(super) waiting: VecDeque<usize>,
    pub(super) fresh: VecDeque<usize>,
    /// Lanes between two turns, by when the next one is due.
    pub(super) thinking: BinaryHeap<Reverse<(Duration, usize)>>,
    /// When slots became free.
    pub(super) freed: VecDeque<Duration>,
    /// Open loop: the next job, not due yet.
    pub(super) held: Option<Ticket>,
    /// Whether there will be no further job.
    pub(super) is_over: bool,
    /// When load began, once it has.
    pub(super) began: Option<Duration>,
    /// Whether the others know that this thread is ready.
    is_ready: bool,
    /// Slots of a closed loop, or the most requests in flight; those of this thread.
    pub(super) limit: Option<usize>,
    /// No request that could have been sent was, for want of `limit`, until then.
    pub(super) capped: Duration,
    /// No request has to be given up before.
    pub(super) next_deadline: Duration,
    /// The latest reading of the clock.
    pub(super) now: Duration,
    pub(super) watch: Watch,
    pub(super) audit: ClientAudit,
    pub(super) traces: Vec<RequestTrace>,
    batch_since: Duration,
    pub(super) last_end: Duration,
    outbox: Sender<Message>,
}

impl Worker {
    /// The `number`th thread's state.
    ///
    /// # Errors
    /// The system has no timer to give.
    pub(super) fn new(
        shared: Arc<Shared>,
        number: usize,
        poll: Poll,
        outbox: Sender<Message>,
    ) -> io::Result<Self> {
        let clock = shared.clock;
        let threads = shared.wakers.len();
        let limit = shared
            .options
            .limit()
            .map(|all| share(all, number, threads));
        let first = share(shared.options.first_connections(), number, threads);
        Ok(Self {
            timer: Timer::new(clock, poll.registry(), TIMER)?,
            stamper: Stamper::new(clock),
            buffer: vec![0; BUFFER],
            out: Vec::new(),
            links: Links::new(first),
            lanes: Slab::new(),
            spare: Vec::new(),
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
            fresh: VecDeque::new(),
            thinking: BinaryHeap::new(),
            freed: VecDeque::new(),
            held: None,
            is_over: false,
            began: None,
            is_ready: false,
            limit,
            capped: Duration::ZERO,
            next_deadline: Duration::MAX,
            now: Duration::ZERO,
            watch: Watch::default(),
            audit: ClientAudit::default(),
            traces: Vec::new(),
            batch_since: Duration::ZERO,
            last_end: Duration::ZERO,
            outbox,
            shared,
            number,
            poll,
        })
    }

    /// Works until there is nothing left to do.
    pub(super) fn run(mut self) {
        let guard = StopOnDrop::new(Arc::clone(&self.shared));
        let began = self.shared.clock.now();
        let stamping = keep_stamping();
        let failure = self.pump().err();
        drop(stamping);
        self.hand_over();
        self.audit.threads = 1;
        self.audit.cpu = thread_cpu();
        self.audit.wall = self.shared.clock.now().saturating_sub(began);
        if failure.is_none() {
            guard.disarm();
        }
        let done = Done {
            audit: self.audit,
            ended: self.last_end,
            failure,
        };
        // Nobody listens any more: then nobody wants to know.
        drop(self.outbox.send(Message::Done(Box::new(done))));
    }

    fn pump(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.now = self.shared.clock.now();
            let has_more = self.step();
            if self.is_finished() {
                return Ok(());
            }
            let due = self.next_due();
            let latest = self.is_busy().then(|| self.now + HEARTBEAT);
            let timeout = if has_more {
                Some(Duration::ZERO)
            } else {
                self.timer.wait(self.now, due, latest)?
            };
            let called = self.shared.clock.now();
            self.watch.leave(called);
            let is_whole = match self.poll.poll(&mut events, timeout) {
                Ok(()) => events.iter().count() < EVENTS,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    events.clear();
                    false
                }
                Err(error) => return Err(error),
            };
            self.now = self.stamper.look(self.shared.clock);
            let expected = [due, timeout.map(|timeout| called + timeout)];
            let expected = expected.into_iter().flatten().min();
            self.watch.enter(self.now, expected, is_whole);
            let in_flight = self.in_flight() > 0;
            for event in &events {
                self.take(event);
            }
            if let Some(stall) = self.watch.stall(in_flight) {
                self.audit.stalls += 1;
                self.audit.longest_stall = self.audit.longest_stall.max(stall);
            }
        }
    }

    /// All that is not reading; whether there is more to do at once.
    fn step(&mut self) -> bool {
        self.give_up_late();
        let has_more = self.dispatch(SENDS);
        self.open_links();
        if self.traces.is_empty() {
            self.batch_since = self.now;
        } else if self.traces.len() >= BATCH
            || self.now.saturating_sub(self.batch_since) >= BATCH_TIME
            || !self.is_busy()
        {
            self.hand_over();
        }
        if self.began.is_none() {
            if !self.is_ready && self.links.is_settled() {
                self.is_ready = true;
                let failure = self.links.failure.take();
                self.shared.ready(self.links.idle.len(), failure);
            }
            self.began = self.shared.began();
            return self.began.is_some();
        }
        has_more
    }

    fn take(&mut self, event: &Event) {
        let Token(id) = event.token();
        let is_readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let Some(link) = self.links.all.get_mut(id) else {
            return;
        };
        if is_readable {
            self.watch.sees(link);
        }
        match link.stage {
            Stage::Connecting | Stage::Securing => self.go_on_opening(id),
            Stage::Busy(lane) if event.is_writable() => self.go_on_sending(id, lane),
            Stage::Busy(_) | Stage::Idle => {}
        }
        if is_readable {
            self.read(id, event.is_read_closed() || event.is_error());
        }
    }

    /// Whether there is anything whose time has to be watched.
    fn is_busy(&self) -> bool {
        !self.lanes.is_empty() || self.links.opening > 0
    }

    /// Requests that are being asked or wait for a connection.
    pub(super) fn in_flight(&self) -> usize {
        self.lanes.len().saturating_sub(self.thinking.len())
    }

    fn is_finished(&self) -> bool {
        match self.shared.halt() {
            Halt::All | Halt::Sending => self.lanes.is_empty(),
            Halt::No => {
                let exhausted = self.is_over && self.held.is_none();
                self.began.is_some() && exhausted && self.lanes.is_empty()
            }
        }
    }

    /// When no request may be sent any more.
    pub(super) fn until(&self) -> Option<Duration> {
        Some(self.began? + self.shared.options.duration?)
    }

    /// When the thread has to be awake to the nanosecond.
    fn next_due(&self) -> Option<Duration> {
        if self.shared.halt() != Halt::No {
            return None;
        }
        let job = self.held.as_ref().filter(|_| self.has_room());
        let job = job.and_then(|ticket| Some(self.began? + ticket.due.unwrap_or_default()));
        let turn = self.thinking.peek().filter(|_| self.has_room_for_turn());
        let turn = turn.map(|Reverse((due, _lane))| *due);
        [job, turn, self.until()].into_iter().flatten().min()
    }

    /// Stops sending when the time is up.
    pub(super) fn check_time(&self) {
        if self.until().is_some_and(|until| self.now >= until) && self.shared.halt() == Halt::No {
            self.shared.stop(Stopped::TimeUp);
        }
    }

    fn hand_over(&mut self) {
        if self.traces.is_empty() {
            return;
        }
        self.batch_since = self.now;
        let traces = std::mem::take(&mut self.traces);
        // Nobody listens any more: the halt that follows ends this thread.
        drop(self.outbox.send(Message::Ended(traces)));
    }
}

/// What one of `threads` threads gets of `all`: parts differ by one at most.
fn share(all: usize, number: usize, threads: usize) -> usize {
    all / threads + usize::from(number < all % threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_even_and_add_up() {
        let shares: Vec<usize> = (0..4).map(|number| share(10, number, 4)).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
    }
}
