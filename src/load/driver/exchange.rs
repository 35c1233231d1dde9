//! One request and its answer: sending, reading, and what follows from how it ends.

use std::{io, time::Duration};

use super::{lane::Progress, links::Stage, shared::Halt, worker::Worker};
use crate::load::{
    StampSource, Stopped,
    reply::Feed,
    socket::{Arrival, Got},
    stream::End,
};

/// A server that sent `[DONE]` and not the end of its message gets this long before its
/// connection is given up; the answer is complete either way.
const END_GRACE: Duration = Duration::from_millis(500);

impl Worker {
    /// Sends a lane's request on a connection.
    pub(super) fn send(&mut self, lane_id: usize, link_id: usize) {
        let until = self.until();
        let (Some(lane), Some(link)) =
            (self.lanes.get_mut(lane_id), self.links.all.get_mut(link_id))
        else {
            return;
        };
        let Some(turn) = lane.turns.front() else {
            return;
        };
        link.stage = Stage::Busy(lane_id);
        lane.link = Some(link_id);
        if lane.refusal.is_none() {
            lane.level = self.shared.target.level();
        }
        let body = turn.body.pieces(&self.shared.extras, lane.level);
        self.shared.wire.request(body, &mut self.out);
        lane.phases = std::mem::take(&mut link.setup);
        let sent_at = self.shared.clock.now();
        // What was due in time is sent however late; a free slot is not used any more.
        if lane.due.is_none() && lane.is_first_try() && until.is_some_and(|until| sent_at >= until)
        {
            self.shared.stop(Stopped::TimeUp);
            self.unused(link_id);
            return self.retire(lane_id);
        }
        let written = link.socket.write(&self.out);
        self.now = self.shared.clock.now();
        lane.progress = Progress::Asked;
        lane.sent_at = sent_at;
        lane.latest = sent_at;
        lane.deadline = sent_at + self.shared.target.timeout;
        self.next_deadline = self.next_deadline.min(lane.deadline);
        self.note_lateness(lane_id);
        let taken = match written {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return self.unwritable(link_id, lane_id, error),
        };
        if let Some(lane) = self.lanes.get_mut(lane_id)
            && let Some(rest) = self.out.get(taken..)
        {
            lane.rest.0.extend_from_slice(rest);
        }
        self.go_on_sending(link_id, lane_id);
    }

    /// Sends what the kernel did not take before, until it takes no more: only then does the poll
    /// tell when it does again.
    pub(super) fn go_on_sending(&mut self, link_id: usize, lane_id: usize) {
        let (Some(lane), Some(link)) =
            (self.lanes.get_mut(lane_id), self.links.all.get_mut(link_id))
        else {
            return;
        };
        if lane.progress == Progress::Unsent || lane.phases.write.is_some() {
            return;
        }
        let (bytes, taken) = &mut lane.rest;
        while let Some(rest) = bytes.get(*taken..).filter(|rest| !rest.is_empty()) {
            match link.socket.write(rest) {
                Ok(count) => *taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.unwritable(link_id, lane_id, error),
            }
        }
        if !bytes.is_empty() {
            self.now = self.shared.clock.now();
            lane.rest = (Vec::new(), 0);
        }
        match link.socket.flush() {
            Ok(true) => lane.phases.write = Some(self.now.saturating_sub(lane.sent_at)),
            Ok(false) => {}
            Err(error) => self.unwritable(link_id, lane_id, error),
        }
    }

    /// The server takes no more of a request. It may have said why before it hung up.
    fn unwritable(&mut self, link_id: usize, lane_id: usize, error: io::Error) {
        self.read(link_id, true);
        let is_there = |stage| stage == Stage::Busy(lane_id);
        let link = self.links.all.get(link_id);
        if link.is_some_and(|link| is_there(link.stage)) {
            self.hung_up(link_id, lane_id, Some(error));
        }
    }

    fn note_lateness(&mut self, lane_id: usize) {
        let Some(lane) = self.lanes.get(lane_id) else {
            return;
        };
        if !lane.is_first_try() {
            return;
        }
        let Some(came) = lane.turn_came() else { return };
        if came < self.capped && lane.due.is_some() {
            self.audit.held_back += 1;
        } else if lane.due.is_some() || !lane.waited {
            // In a closed loop a connection that the server has closed is not our delay.
            self.audit.late_sends.add(lane.sent_at.saturating_sub(came));
        }
    }

    /// Reads all that has arrived on a connection. `to_the_end`: the poll said that nothing
    /// follows.
    pub(super) fn read(&mut self, id: usize, to_the_end: bool) {
        let clock = self.shared.clock;
        loop {
            let Some(link) = self.links.all.get_mut(id) else {
                return;
            };
            let lane = match link.stage {
                Stage::Connecting | Stage::Securing => return,
                Stage::Idle => None,
                Stage::Busy(lane) => Some(lane),
            };
            let got = link
                .socket
                .read(&mut self.buffer, &mut self.stamper, clock, self.now);
            let lane = lane.filter(|lane| self.is_asked(*lane));
            let is_drained = match (got, lane) {
                (Ok(Got::Nothing), _) => true,
                (
                    Ok(Got::Bytes {
                        count,
                        full,
                        arrival,
                    }),
                    Some(lane),
                ) => {
                    self.now = self.now.max(arrival.read);
                    self.feed(id, lane, count, arrival);
                    !full && !to_the_end
                }
                (Ok(Got::End), Some(lane)) => return self.hung_up(id, lane, None),
                (Err(error), Some(lane)) => return self.hung_up(id, lane, Some(error)),
                // Whatever a server says unasked, the connection is no use.
                (Ok(Got::Bytes { .. } | Got::End) | Err(_), None) => return self.lose(id),
            };
            if is_drained {
                return;
            }
        }
    }

    fn is_asked(&self, lane_id: usize) -> bool {
        let lane = self.lanes.get(lane_id);
        lane.is_some_and(|lane| lane.progress != Progress::Unsent)
    }

    /// An idle connection is gone, or one that a lane was about to use.
    fn lose(&mut self, id: usize) {
        let link = self.links.all.get(id).map(|link| (link.stage, link.served));
        self.close(id);
        let Some((Stage::Busy(lane_id), served)) = link else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        lane.link = None;
        if !served {
            // Waiting for another one could go on for ever.
            let now = self.shared.clock.now();
            lane.sent_at = now;
            self.ready.retain(|ready| *ready != lane_id);
            let why = "no answer: the server closed the connection at once";
            self.finish(lane_id, End::Refused(why.to_owned()), now);
        }
    }

    fn feed(&mut self, link_id: usize, lane_id: usize, count: usize, arrival: Arrival) {
        let (Some(lane), Some(bytes)) = (self.lanes.get_mut(lane_id), self.buffer.get(..count))
        else {
            return;
        };
        match arrival.source {
            StampSource::Kernel => {
                let lag = arrival.read.saturating_sub(arrival.at);
                self.audit.loop_lag.add(lag);
                self.watch.arrived(arrival.at);
            }
            StampSource::User => self.audit.user_stamped_reads += 1,
        }
        let read = lane.note(arrival);
        match lane.reply.feed(bytes, read) {
            Feed::More => {
                if lane.reply.done() && lane.progress == Progress::Asked {
                    lane.progress = Progress::Complete;
                    lane.deadline = lane.deadline.min(self.now + END_GRACE);
                    self.next_deadline = self.next_deadline.min(lane.deadline);
                }
            }
            Feed::Over { reusable } => {
                let is_reusable = reusable && lane.phases.write.is_some();
                if is_reusable && self.shared.halt() != Halt::All {
                    if let Some(link) = self.links.all.get_mut(link_id) {
                        link.served = true;
                    }
                    self.unused(link_id);
                } else {
                    self.close(link_id);
                }
                self.finish(lane_id, End::Complete, read.at);
            }
        }
    }

    /// The server has closed a connection that a request was on, or it broke.
    fn hung_up(&mut self, link_id: usize, lane_id: usize, error: Option<io::Error>) {
        let now = self.shared.clock.now();
        let link = self.links.all.get(link_id);
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        let was_kept = link.is_some_and(|link| link.was_kept(lane.sent_at));
        // The server's idle timer and our request have crossed on the wire: the request was
        // never looked at.
        let is_stale = was_kept && lane.reply.first_byte().is_none() && !lane.again;
        self.close(link_id);
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        if is_stale {
            lane.unsend();
            lane.again = true;
            self.fresh.push_back(lane_id);
            return;
        }
        let end = match error {
            None => {
                lane.reply.eof();
                End::Complete
            }
            Some(error) if lane.reply.status().is_some() => {
                End::Broken(format!("the connection broke off: {error}"))
            }
            Some(error) => End::Refused(format!("no answer: {error}")),
        };
        self.finish(lane_id, end, now);
    }

    /// A request has ended. It is sent again when the server refused only what it carried beyond
    /// the standard; else it is a trace.
    pub(super) fn finish(&mut self, lane_id: usize, end: End, at: Duration) {
        let Some(lane) = self.lanes.get_mut(lane_id) else {
            return;
        };
        let status = lane.reply.status();
        let level = lane.level;
        let Some(trace) = lane.trace(end, at) else {
            return;
        };
        let target = &self.shared.target;
        if status == Some(200) {
            target.accepted(level);
        }
        let below = match status {
            Some(400 | 422) if self.shared.halt() != Halt::All => {
                target.below(level, &self.shared.extras)
            }
            _ => None,
        };
        if let Some(below) = below {
            lane.refusal.get_or_insert(trace);
            lane.unsend();
            lane.again = false;
            lane.level = below;
            self.ready.push_back(lane_id);
            return;
        }
        // What the first answer said is what is wrong with the request itself.
        let trace = match lane.refusal.take() {
            Some(first) if status != Some(200) => first,
            _ => trace,
        };
        self.last_end = self.last_end.max(at);
        self.traces.push(trace);
        self.ended(lane_id, at);
    }

    /// Gives up requests whose time is up.
    pub(super) fn give_up_late(&mut self) {
        if self.now < self.next_deadline {
            return;
        }
        let now = self.now;
        let late: Vec<usize> = self
            .lanes
            .iter()
            .filter(|(_id, lane)| lane.deadline <= now)
            .map(|(id, _lane)| id)
            .collect();
        for id in late {
            self.give_up(id, End::TimedOut(self.shared.target.timeout), now);
        }
        let deadlines = self.lanes.iter().map(|(_id, lane)| lane.deadline);
        self.next_deadline = deadlines.min().unwrap_or(Duration::MAX);
    }

    /// Ends a request that is under way, and its connection.
    pub(super) fn give_up(&mut self, lane_id: usize, end: End, now: Duration) {
        let Some(lane) = self.lanes.get(lane_id) else {
            return;
        };
        // A complete answer ended with its last byte.
        let (end, at) = if lane.progress == Progress::Complete {
            (End::Stopped, lane.latest)
        } else {
            (end, now)
        };
        if let Some(link) = lane.link {
            self.close(link);
        }
        self.finish(lane_id, end, at);
    }
}
