//! What the loop answers: refusals and lists at once, streams one write after the other.

use std::{cmp::Reverse, num::NonZeroU32};

use bytes::Bytes;
use serde_json::json;

use super::{
    super::request::{Api, ApiError},
    connection::Answer,
    pump::Pump,
    request::{self, Prompted, Wanted},
    script::Script,
    spec::RoleChunk,
    truth::PacedRequest,
};

impl Pump {
    /// Begins the next request of a connection that is not answering one.
    pub(super) fn take_requests(&mut self, at: usize) {
        loop {
            let model = self.spec.model.clone();
            let Some(connection) = self.connection(at) else {
                return;
            };
            if connection.answer.is_some() || connection.closing || connection.inbox.is_empty() {
                return;
            }
            match request::take(&connection.inbox, &model) {
                Ok(None) => return,
                Ok(Some((wanted, length))) => {
                    connection.inbox.drain(..length);
                    match wanted {
                        Wanted::Stream(prompted) => self.begin(at, prompted),
                        Wanted::Health => self.reply(at, 200, &Bytes::new(), false),
                        Wanted::Models => self.reply(at, 200, &models(&model), false),
                        Wanted::Refused(error) => self.refuse(at, &error, false),
                    }
                }
                Err(request::Broken(error)) => self.refuse(at, &error, true),
            }
        }
    }

    fn refuse(&mut self, at: usize, error: &ApiError, last: bool) {
        self.reply(at, error.status.as_u16(), &error.body(), last);
    }

    /// An answer of one piece; the `last` one closes the connection.
    fn reply(&mut self, at: usize, status: u16, body: &Bytes, last: bool) {
        let length = body.len();
        let close = if last { "connection: close\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n{close}content-length: {length}\r\n\r\n"
        );
        let Some(connection) = self.connection(at) else {
            return;
        };
        connection.closing = last;
        match connection.write(&[head.as_bytes(), body]) {
            Ok(clear) if clear && last => self.close(at),
            Ok(_) => {}
            Err(_) => self.close(at),
        }
    }

    fn begin(&mut self, at: usize, prompted: Prompted) {
        let now = self.clock.now_ns();
        let fixed = self.spec.tokens.map(NonZeroU32::get);
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        let last = connection.last;
        let arrived = last.map_or(now, |last| last.at);
        self.schedule.arrived(arrived);
        self.truth.first_arrival_ns.get_or_insert(arrived);
        let total = fixed.unwrap_or(prompted.ask.max_tokens);
        let api = prompted.ask.api;
        let at_once = api == Api::Chat && self.spec.role == RoleChunk::AtOnce;
        let mut answer = Answer {
            total,
            writes: 0,
            begun: at_once,
            truth: PacedRequest {
                marker: prompted.marker,
                arrived_ns: arrived,
                kernel_stamped: last.is_some_and(|last| last.by_kernel),
                role_ns: None,
                sent_ns: Vec::new(),
                tokens: 0,
                held_up: 0,
                complete: false,
            },
            prompted,
        };
        let mut written = Ok(true);
        if at_once {
            answer.truth.role_ns = Some(self.clock.now_ns());
            written = connection.write(&[Script::head(), self.chat.role()]);
        }
        connection.answer = Some(answer);
        let due = self.schedule.due(arrived, 0);
        self.due.push(Reverse((due, at, connection.generation)));
        if written.is_err() {
            self.close(at);
        }
    }

    /// The next write of a connection.
    pub(super) fn send(&mut self, at: usize, generation: u32) {
        let place = self.connections.get_mut(at).and_then(Option::as_mut);
        let Some(connection) = place.filter(|one| one.generation == generation) else {
            return;
        };
        if !connection.clear() {
            connection.waiting = true;
            return;
        }
        let Some(mut answer) = connection.answer.take() else {
            return;
        };
        let script = match answer.prompted.ask.api {
            Api::Chat => &self.chat,
            Api::Text => &self.text,
        };
        let count = self.spec.burst.get().min(answer.left());
        let ends = count == answer.left();
        let [plain, last] = script.tokens(count, ends);
        let head = if answer.begun { &[] } else { Script::head() };
        let role = match self.spec.role {
            RoleChunk::WithFirst if answer.writes == 0 => script.role(),
            RoleChunk::WithFirst | RoleChunk::None | RoleChunk::AtOnce => &[],
        };
        let now = self.clock.now_ns();
        let mut written = connection.write(&[head, role, plain, last]);
        if ends && written.is_ok() {
            let tail = script.tail(answer.prompted.usage(answer.total));
            written = written.and(connection.write(&[&tail]));
        }
        answer.truth.held_up += u32::from(matches!(written, Ok(false)));
        self.note(&mut answer, now, count);
        if written.is_err() {
            self.keep(at, answer);
            self.close(at);
        } else if ends {
            self.finish(at, answer);
        } else {
            self.go_on(at, generation, answer, now);
        }
    }

    /// Notes a write of `count` tokens.
    fn note(&mut self, answer: &mut Answer, now: u64, count: u32) {
        if !self.schedule.flat_out() {
            let due = self.schedule.due(answer.truth.arrived_ns, answer.writes);
            self.lateness.add_ns(now.saturating_sub(due));
        }
        if self.spec.truth {
            answer.truth.sent_ns.push(now);
        }
        answer.truth.tokens += count;
        answer.writes += 1;
        answer.begun = true;
        self.truth.tokens += u64::from(count);
        self.truth.last_sent_ns = Some(now);
    }

    /// The answer is over; the connection's next request begins.
    fn finish(&mut self, at: usize, mut answer: Answer) {
        answer.truth.complete = true;
        self.truth.served += 1;
        self.truth
            .requests
            .extend(self.spec.truth.then_some(answer.truth));
        self.take_requests(at);
    }

    /// The answer has further writes.
    fn go_on(&mut self, at: usize, generation: u32, answer: Answer, now: u64) {
        let due = self.schedule.due(answer.truth.arrived_ns, answer.writes);
        // Without pace the streams take turns.
        let due = if self.schedule.flat_out() {
            due.max(now)
        } else {
            due
        };
        self.keep(at, answer);
        self.due.push(Reverse((due, at, generation)));
    }

    fn keep(&mut self, at: usize, answer: Answer) {
        if let Some(connection) = self.connection(at) {
            connection.answer = Some(answer);
        }
    }
}

/// The list of models.
fn models(model: &str) -> Bytes {
    let one = json!({"id": model, "object": "model", "created": 0, "owned_by": "kitt"});
    json!({"object": "list", "data": [one]}).to_string().into()
}
