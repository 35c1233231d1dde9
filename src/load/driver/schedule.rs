//! Who sends next: free slots in a closed loop, what is due in an open one, and the next turns
//! of conversations in both.

use std::{cmp::Reverse, time::Duration};

use super::{
    lane::{Lane, Progress},
    queue::{Next, Ticket},
    shared::Halt,
    worker::Worker,
};
use crate::load::stream::End;

impl Worker {
    /// Sends what can be sent, but no more than `most` requests; whether there may be more to
    /// send at once.
    pub(super) fn dispatch(&mut self, most: usize) -> bool {
        if self.began.is_none() {
            return false;
        }
        self.check_time();
        match self.shared.halt() {
            Halt::No => {}
            Halt::Sending => self.drop_turns(),
            Halt::All => {
                self.cancel();
                return false;
            }
        }
        let mut sent = 0;
        while sent < most {
            if let Some(lane) = self.ready.pop_front() {
                sent += usize::from(self.start(lane));
            } else if self.shared.halt() != Halt::No || !(self.next_turn() || self.next_job()) {
                return false;
            }
        }
        true
    }

    /// Whether another job may be begun.
    pub(super) fn has_room(&self) -> bool {
        let running = if self.shared.options.concurrency.is_some() {
            // A slot keeps its conversation while that thinks.
            self.lanes.len()
        } else {
            self.in_flight()
        };
        self.limit.is_none_or(|limit| running < limit)
    }

    /// Whether a conversation may go on.
    pub(super) fn has_room_for_turn(&self) -> bool {
        self.shared.options.concurrency.is_some() || self.has_room()
    }

    /// Sends a lane's request if there is a connection for it; whether there was.
    fn start(&mut self, lane_id: usize) -> bool {
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return false;
        };
        // One that was found for it can be gone again.
        let own = lane.link.take();
        let Some(link) = own.or_else(|| self.links.idle.pop()) else {
            lane.waited = true;
            self.waiting.push_back(lane_id);
            return false;
        };
        self.send(lane_id, link);
        true
    }

    /// Makes a conversation ready whose next turn is due; whether there was one.
    fn next_turn(&mut self) -> bool {
        let is_due = |due| due <= self.now;
        match self.thinking.peek() {
            Some(Reverse((due, _lane))) if is_due(*due) => {}
            _ => return false,
        }
        if !self.has_room_for_turn() {
            self.capped = self.now;
            return false;
        }
        if let Some(Reverse((_due, lane))) = self.thinking.pop() {
            self.ready.push_back(lane);
        }
        true
    }

    /// Begins the next job if its time has come; whether it had.
    fn next_job(&mut self) -> bool {
        if self.shared.options.concurrency.is_some() {
            if !self.has_room() {
                return false;
            }
            let Some(ticket) = self.ticket() else {
                return false;
            };
            let free = self.freed.pop_front();
            self.begin(ticket, None, free);
            return true;
        }
        if self.held.is_none() {
            self.held = self.ticket();
        }
        let (Some(ticket), Some(began)) = (&self.held, self.began) else {
            return false;
        };
        let due = began + ticket.due.unwrap_or_default();
        if due > self.now {
            return false;
        }
        if !self.has_room() {
            self.capped = self.now;
            return false;
        }
        if let Some(ticket) = self.held.take() {
            self.begin(ticket, Some(due), None);
        }
        true
    }

    fn ticket(&mut self) -> Option<Ticket> {
        if self.is_over {
            return None;
        }
        match self.shared.queue.take(self.number) {
            Next::Job(ticket) => Some(ticket),
            Next::Later => None,
            Next::Over => {
                self.is_over = true;
                None
            }
        }
    }

    fn begin(&mut self, ticket: Ticket, due: Option<Duration>, free: Option<Duration>) {
        let mut lane = self.spare.pop().unwrap_or_else(Lane::new);
        lane.begin(ticket, due, free);
        let id = self.lanes.insert(lane);
        self.ready.push_back(id);
    }

    /// A lane's request has ended: its next turn, or the end of the conversation.
    pub(super) fn ended(&mut self, lane_id: usize, at: Duration) {
        let halt = self.shared.halt();
        if !self.has_room_for_turn() {
            // Until now nothing could be sent, however due it was.
            self.capped = self.now;
        }
        let is_closed = self.shared.options.concurrency.is_some();
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        lane.turns.pop_front();
        match lane.turns.front() {
            Some(turn) if halt == Halt::No => {
                let due = at + turn.think;
                if is_closed {
                    lane.next(None, Some(due));
                } else {
                    lane.next(Some(due), None);
                }
                self.thinking.push(Reverse((due, lane_id)));
            }
            _ => {
                self.retire(lane_id);
                if is_closed {
                    self.freed.push_back(at);
                }
            }
        }
    }

    /// A conversation is over.
    pub(super) fn retire(&mut self, lane_id: usize) {
        if let Some(mut lane) = self.lanes.try_remove(lane_id) {
            lane.turns.clear();
            lane.unsend();
            self.spare.push(lane);
        }
    }

    /// No request is sent any more: turns to come and jobs not begun are not.
    fn drop_turns(&mut self) {
        self.held = None;
        while let Some(Reverse((_due, lane))) = self.thinking.pop() {
            self.retire(lane);
        }
    }

    /// Ends everything. What was never sent leaves no trace.
    fn cancel(&mut self) {
        self.drop_turns();
        self.ready.clear();
        self.waiting.clear();
        self.fresh.clear();
        let lanes: Vec<usize> = self.lanes.iter().map(|(id, _lane)| id).collect();
        for id in lanes {
            let lane = self.lanes.get(id);
            let was_sent =
                lane.is_some_and(|lane| lane.progress != Progress::Unsent || !lane.is_first_try());
            if was_sent {
                self.give_up(id, End::Cancelled, self.now);
            } else {
                self.retire(id);
            }
        }
    }
}
