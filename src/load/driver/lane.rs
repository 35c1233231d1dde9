//! One conversation under way: its turns, and what is known of the request it is at.

use std::{collections::VecDeque, time::Duration};

use super::queue::{Ticket, Turn};
use crate::load::{
    Phases, RequestTrace, StampSource,
    body::Level,
    reply::Reply,
    socket::Arrival,
    stream::{End, Read},
};

/// A conversation under way. Its allocations outlive it: lanes are used again.
#[derive(Debug)]
pub(super) struct Lane {
    /// The turn it is at and those to come.
    pub(super) turns: VecDeque<Turn>,
    /// When the request is due, where that does not depend on when it can be sent.
    pub(super) due: Option<Duration>,
    /// When its turn came, in a closed loop: what a late send is counted from. `None` for the
    /// first one of a slot.
    pub(super) free: Option<Duration>,
    /// What the request carries.
    pub(super) level: Level,
    /// The connection it is on, or shall be sent on.
    pub(super) link: Option<usize>,
    /// Whether it had to wait for a connection.
    pub(super) waited: bool,
    /// Whether it was sent before, on a connection that the server had closed meanwhile.
    pub(super) again: bool,
    pub(super) progress: Progress,
    pub(super) sent_at: Duration,
    /// What the kernel did not take at once, and how much of that it has taken since.
    pub(super) rest: (Vec<u8>, usize),
    /// When the latest bytes of the answer arrived.
    pub(super) latest: Duration,
    /// When it is given up.
    pub(super) deadline: Duration,
    pub(super) phases: Phases,
    /// Reads that brought its answer, and those of them without a kernel stamp.
    reads: (u64, u64),
    pub(super) reply: Reply,
    /// What the server said to a request that carried more.
    pub(super) refusal: Option<RequestTrace>,
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// None of it has gone out.
    Unsent,
    /// Its answer is waited for.
    Asked,
    /// Only the end of the answer's message is missing: giving it up loses nothing.
    Complete,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            turns: VecDeque::new(),
            due: None,
            free: None,
            level: Level::Full,
            link: None,
            waited: false,
            again: false,
            progress: Progress::Unsent,
            sent_at: Duration::ZERO,
            rest: (Vec::new(), 0),
            latest: Duration::ZERO,
            deadline: Duration::MAX,
            phases: Phases::default(),
            reads: (0, 0),
            reply: Reply::new(),
            refusal: None,
        }
    }

    /// Takes up a conversation.
    pub(super) fn begin(&mut self, ticket: Ticket, due: Option<Duration>, free: Option<Duration>) {
        self.turns = ticket.turns;
        self.next(due, free);
    }

    /// Makes ready for the turn that is first now.
    pub(super) fn next(&mut self, due: Option<Duration>, free: Option<Duration>) {
        self.due = due;
        self.free = free;
        self.waited = false;
        self.again = false;
        self.refusal = None;
        self.unsend();
    }

    /// Makes ready to send the same turn, again perhaps.
    pub(super) fn unsend(&mut self) {
        self.link = None;
        self.progress = Progress::Unsent;
        self.rest = (Vec::new(), 0);
        self.deadline = Duration::MAX;
        self.phases = Phases::default();
        self.reads = (0, 0);
        self.reply.reset();
    }

    /// Whether its turn has never been sent before.
    pub(super) const fn is_first_try(&self) -> bool {
        !self.again && self.refusal.is_none()
    }

    /// What lateness is counted from.
    pub(super) fn turn_came(&self) -> Option<Duration> {
        self.due.or(self.free)
    }

    /// An arrival as the answer is fed with it. What arrived before the request was sent, or was
    /// stamped so, cannot belong to its answer: the send is then the earliest it can be.
    pub(super) fn note(&mut self, arrival: Arrival) -> Read {
        self.reads.0 += 1;
        self.reads.1 += u64::from(arrival.source == StampSource::User);
        let at = arrival.at.max(self.sent_at);
        self.latest = at;
        Read {
            at,
            slack: arrival.slack.min(at.saturating_sub(self.sent_at)),
        }
    }

    /// What happened to the turn it is at. `None` when there is no turn.
    pub(super) fn trace(&mut self, end: End, finished_at: Duration) -> Option<RequestTrace> {
        let turn = self.turns.front()?;
        let first_byte = self.reply.first_byte();
        let mut answer = self.reply.conclude(end);
        answer.chunks.shrink_to_fit();
        self.phases.first_byte = first_byte.map(|at| at.saturating_sub(self.sent_at));
        Some(RequestTrace {
            index: turn.index,
            scheduled_at: self.due.unwrap_or(self.sent_at),
            sent_at: self.sent_at,
            chunks: answer.chunks,
            finished_at: finished_at.max(self.sent_at),
            outcome: answer.outcome,
            usage: answer.usage,
            finish_reason: answer.finish_reason,
            error: answer.error,
            status: answer.status,
            asked: turn.asked,
            phases: self.phases,
            stamps: match self.reads {
                (1.., 0) => StampSource::Kernel,
                _ => StampSource::User,
            },
        })
    }
}
