//! The connections of a driver thread: opening them ahead of need, keeping the idle ones.

use std::{io, sync::atomic::Ordering, time::Duration};

use mio::Token;
use slab::Slab;

use super::{
    shared::{Halt, lock},
    worker::Worker,
};
use crate::load::{Phases, socket::Socket, stream::End};

/// Connecting may take this long, or a request's own limit if that is shorter.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Connections being opened at once: more would overflow a server's queue of them.
const MAX_OPENING: usize = 128;
/// Open loop: idle connections kept at least.
const RESERVE: usize = 16;
/// After a connection failed, or was closed before it was used, no further one is opened ahead
/// for this long.
const CALM: Duration = Duration::from_millis(100);

/// A server that closes a connection for being idle does not do so earlier.
const KEPT: Duration = Duration::from_secs(1);

/// The connections of a thread.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) all: Slab<Link>,
    /// Open and unused, the latest used last.
    pub(super) idle: Vec<usize>,
    /// How many are being opened.
    pub(super) opening: usize,
    /// How many are still to be opened before load begins.
    first: usize,
    /// Why the first that could not be opened could not.
    pub(super) failure: Option<io::Error>,
    /// None is opened ahead until then.
    calm: Duration,
    /// When to look for those that take too long.
    next_check: Duration,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: Socket,
    pub(super) stage: Stage,
    /// Whether it has brought an answer before.
    pub(super) served: bool,
    /// Number of the look that last listed it.
    pub(super) listed: u64,
    /// How long opening it took, for its first request to tell.
    pub(super) setup: Phases,
    /// Where to: position among the addresses, and how many are left to try after it.
    address: (usize, usize),
    /// When the stage it is in began, and when opening it is given up.
    since: Duration,
    deadline: Duration,
}

impl Link {
    /// Whether the server may have closed it for being idle when a request was sent at `sent`:
    /// it was used before, or open for long.
    pub(super) fn was_kept(&self, sent: Duration) -> bool {
        self.served || sent.saturating_sub(self.since) >= KEPT
    }
}

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Securing,
    Idle,
    /// It belongs to a lane.
    Busy(usize),
}

impl Links {
    /// No connections yet, `first` to be opened before load begins.
    pub(super) const fn new(first: usize) -> Self {
        Self {
            all: Slab::new(),
            idle: Vec::new(),
            opening: 0,
            first,
            failure: None,
            calm: Duration::ZERO,
            next_check: Duration::ZERO,
        }
    }

    /// Whether the first connections are open, or cannot be.
    pub(super) const fn is_settled(&self) -> bool {
        self.first == 0 && self.opening == 0
    }
}

impl Worker {
    /// Opens the connections that are needed now or will be soon.
    pub(super) fn open_links(&mut self) {
        self.give_up_opening();
        let wanted = if self.began.is_none() {
            self.links.opening + self.links.first
        } else {
            let waiting = self.waiting.len() + self.reserve();
            self.fresh.len() + waiting.saturating_sub(self.links.idle.len())
        };
        // A refusal can come at once: no more tries than are wanted now.
        for _ in self.links.opening..wanted.min(MAX_OPENING) {
            self.links.first = self.links.first.saturating_sub(1);
            let count = self.shared.addresses.len();
            let start = self.shared.answering.load(Ordering::Relaxed);
            self.open((start, count.saturating_sub(1)));
        }
    }

    /// How many connections are kept idle ahead of need.
    fn reserve(&self) -> usize {
        let is_over = self.is_over && self.held.is_none();
        if self.shared.halt() != Halt::No || self.now < self.links.calm {
            0
        } else if self.shared.options.concurrency.is_some() || is_over {
            // Those that think have used a connection and will again.
            self.thinking.len()
        } else {
            let room = self.limit.unwrap_or(usize::MAX);
            let room = room.saturating_sub(self.in_flight());
            (self.in_flight() / 2).max(RESERVE).min(room) + self.thinking.len()
        }
    }

    /// Begins a connection to an address; `left` addresses can be tried after it.
    fn open(&mut self, (position, left): (usize, usize)) {
        let count = self.shared.addresses.len().max(1);
        let Some(&address) = self.shared.addresses.get(position % count) else {
            return;
        };
        self.links.opening += 1;
        let entry = self.links.all.vacant_entry();
        let id = entry.key();
        let clock = self.shared.clock;
        let tls = self.shared.tls.as_ref().map(|tls| tls.begin(clock));
        let registry = self.poll.registry();
        let socket = tls
            .transpose()
            .and_then(|tls| Socket::connect(address, tls, registry, Token(id)));
        // Every address that is left gets an even part of the time.
        let limit = CONNECT_LIMIT.min(self.shared.target.timeout);
        let tries = u32::try_from(count).unwrap_or(u32::MAX);
        match socket {
            Ok(socket) => {
                let dns = lock(&self.shared.dns).take();
                entry.insert(Link {
                    socket,
                    stage: Stage::Connecting,
                    served: false,
                    listed: 0,
                    setup: Phases {
                        dns,
                        ..Phases::default()
                    },
                    address: (position % count, left),
                    since: clock.now(),
                    deadline: self.now + limit / tries,
                });
            }
            Err(error) => self.not_opened((position, left), error),
        }
    }

    /// A connection that is being opened has news.
    pub(super) fn go_on_opening(&mut self, id: usize) {
        let now = self.shared.clock.now();
        let Some(link) = self.links.all.get_mut(id) else {
            return;
        };
        if link.stage == Stage::Connecting {
            match link.socket.connected() {
                Ok(true) => {
                    link.setup.connect = Some(now.saturating_sub(link.since));
                    link.stage = Stage::Securing;
                    link.since = now;
                    let order = Ordering::Relaxed;
                    self.shared.answering.store(link.address.0, order);
                }
                Ok(false) => return,
                Err(error) => return self.give_up_link(id, error),
            }
        }
        match link.socket.secured() {
            Ok(true) => {
                let took = now.saturating_sub(link.since);
                link.setup.tls = self.shared.tls.is_some().then_some(took);
                link.stage = Stage::Idle;
                self.links.opening = self.links.opening.saturating_sub(1);
                self.opened(id);
            }
            Ok(false) => {}
            Err(error) => {
                // Another address is the same server: its certificate is no better.
                link.address.1 = 0;
                self.give_up_link(id, error);
            }
        }
    }

    /// A new connection goes to whoever wants one.
    fn opened(&mut self, id: usize) {
        match self.fresh.pop_front() {
            Some(lane) => self.assign(id, lane),
            None => self.unused(id),
        }
    }

    /// An open connection has nothing to do.
    pub(super) fn unused(&mut self, id: usize) {
        match self.waiting.pop_front() {
            Some(lane) => self.assign(id, lane),
            None => {
                if let Some(link) = self.links.all.get_mut(id) {
                    link.stage = Stage::Idle;
                    self.links.idle.push(id);
                }
            }
        }
    }

    /// The connection is for the lane, which has waited for it.
    fn assign(&mut self, id: usize, lane_id: usize) {
        if let (Some(link), Some(lane)) = (self.links.all.get_mut(id), self.lanes.get_mut(lane_id))
        {
            link.stage = Stage::Busy(lane_id);
            lane.link = Some(id);
            self.ready.push_back(lane_id);
        }
    }

    /// Closes a connection, whatever it was doing.
    pub(super) fn close(&mut self, id: usize) {
        let Some(mut link) = self.links.all.try_remove(id) else {
            return;
        };
        link.socket.forget(self.poll.registry());
        match link.stage {
            Stage::Connecting | Stage::Securing => {
                self.links.opening = self.links.opening.saturating_sub(1);
            }
            Stage::Idle => {
                self.links.idle.retain(|idle| *idle != id);
                if !link.served {
                    self.links.calm = self.now + CALM;
                }
            }
            Stage::Busy(_) => {}
        }
    }

    /// A connection cannot be opened: the next address is tried.
    fn give_up_link(&mut self, id: usize, error: io::Error) {
        let address = self.links.all.get(id).map(|link| link.address);
        self.close(id);
        if let Some(address) = address {
            self.links.opening += 1;
            self.not_opened(address, error);
        }
    }

    /// After an address failed: the next one, or it is said to whoever waits longest.
    fn not_opened(&mut self, (position, left): (usize, usize), error: io::Error) {
        self.links.opening = self.links.opening.saturating_sub(1);
        if let Some(left) = left.checked_sub(1) {
            return self.open((position + 1, left));
        }
        self.links.calm = self.now + CALM;
        if self.began.is_none() {
            self.links.failure.get_or_insert(error);
            return;
        }
        let waiter = self.fresh.pop_front().or_else(|| self.waiting.pop_front());
        if let Some(lane_id) = waiter
            && let Some(lane) = self.lanes.get_mut(lane_id)
        {
            let now = self.shared.clock.now();
            if !lane.again {
                lane.sent_at = now;
            }
            let why = format!("cannot connect: {error}");
            self.finish(lane_id, End::Refused(why), now);
        }
    }

    /// Gives up what takes too long to open.
    fn give_up_opening(&mut self) {
        if self.links.opening == 0 || self.now < self.links.next_check {
            return;
        }
        self.links.next_check = self.now + Duration::from_millis(20);
        let is_opening = |stage| matches!(stage, Stage::Connecting | Stage::Securing);
        let late: Vec<usize> = self
            .links
            .all
            .iter()
            .filter(|(_id, link)| is_opening(link.stage) && self.now >= link.deadline)
            .map(|(id, _link)| id)
            .collect();
        for id in late {
            let why = "the server does not take the connection in time";
            self.give_up_link(id, io::Error::new(io::ErrorKind::TimedOut, why));
        }
    }
}
