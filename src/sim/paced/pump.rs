//! The loop: one thread that reads requests and writes tokens at their times.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::{Events, Interest, Token, net::TcpListener};

use super::{
    super::{clock::Clock, request::Api},
    connection::{Connection, State},
    receive::Receiver,
    schedule::Schedule,
    script::Script,
    spec::PacedSpec,
    truth::{Lateness, PacedTruth},
    wait::Waiter,
};
use crate::histogram::Histogram;

pub(super) const LISTENER: Token = Token(0);
pub(super) const WAKER: Token = Token(1);
pub(super) const TIMER: Token = Token(2);
/// The first connection's token.
const FIRST: usize = 3;
/// Writes between two looks at the sockets.
const BATCH: usize = 64;
/// Events of one look.
const EVENTS: usize = 1024;

/// A write to come: when, of which connection and which generation of it.
type Due = Reverse<(u64, usize, u32)>;

/// The thread's state.
pub(super) struct Pump {
    pub(super) spec: PacedSpec,
    pub(super) clock: Clock,
    stop: Arc<AtomicBool>,
    waiter: Waiter,
    listener: TcpListener,
    receiver: Receiver,
    pub(super) chat: Script,
    pub(super) text: Script,
    pub(super) schedule: Schedule,
    pub(super) connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    generation: u32,
    pub(super) due: BinaryHeap<Due>,
    pub(super) lateness: Histogram,
    pub(super) truth: PacedTruth,
}

impl Pump {
    pub(super) fn new(
        spec: PacedSpec,
        listener: TcpListener,
        waiter: Waiter,
        clock: Clock,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            clock,
            stop,
            waiter,
            listener,
            receiver: Receiver::new(),
            chat: Script::new(Api::Chat, &spec),
            text: Script::new(Api::Text, &spec),
            schedule: Schedule::new(&spec),
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            due: BinaryHeap::new(),
            lateness: Histogram::new(),
            truth: PacedTruth {
                requests: Vec::new(),
                served: 0,
                unfinished: 0,
                tokens: 0,
                first_arrival_ns: None,
                last_sent_ns: None,
                lateness: None,
            },
            spec,
        }
    }

    pub(super) fn run(mut self) -> io::Result<PacedTruth> {
        let mut events = Events::with_capacity(EVENTS);
        let mut ready = Vec::with_capacity(EVENTS);
        while !self.stop.load(Ordering::Acquire) {
            self.send_due();
            let left = self.left();
            self.waiter.wait(&mut events, left)?;
            ready.extend(
                events
                    .iter()
                    .map(|event| (event.token(), event.is_readable(), event.is_writable())),
            );
            for (token, readable, writable) in ready.drain(..) {
                match token {
                    LISTENER => self.accept(),
                    WAKER | TIMER => {}
                    Token(number) => self.serve(number.saturating_sub(FIRST), readable, writable),
                }
            }
        }
        for at in 0..self.connections.len() {
            self.close(at);
        }
        self.truth.lateness = Lateness::of(&self.lateness);
        Ok(self.truth)
    }

    /// Time until the next write is due.
    fn left(&self) -> Option<Duration> {
        let Reverse((due, ..)) = self.due.peek()?;
        Some(Duration::from_nanos(
            due.saturating_sub(self.clock.now_ns()),
        ))
    }

    fn accept(&mut self) {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!("the paced simulator cannot take a connection: {error}");
                    return;
                }
            };
            let at = self.free.pop().unwrap_or(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.waiter.registry();
            let registered = registry.register(&mut stream, Token(at + FIRST), interest);
            if stream.set_nodelay(true).and(registered).is_err() {
                self.free
                    .extend((at < self.connections.len()).then_some(at));
                continue;
            }
            self.generation = self.generation.wrapping_add(1);
            let connection = Some(Connection::new(stream, self.generation));
            match self.connections.get_mut(at) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
        }
    }

    /// Closes a connection; an answer it was sending stays unfinished.
    pub(super) fn close(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::take) else {
            return;
        };
        self.free.push(at);
        if let Some(answer) = connection.answer {
            self.truth.unfinished += 1;
            self.truth
                .requests
                .extend(self.spec.truth.then_some(answer.truth));
        }
    }

    pub(super) fn connection(&mut self, at: usize) -> Option<&mut Connection> {
        self.connections.get_mut(at)?.as_mut()
    }

    fn serve(&mut self, at: usize, readable: bool, writable: bool) {
        let clock = self.clock;
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) else {
            return;
        };
        let mut alive = true;
        if writable && !connection.clear() {
            alive = connection
                .flush()
                .is_ok_and(|clear| !(clear && connection.closing));
            if alive && connection.clear() && std::mem::take(&mut connection.waiting) {
                let generation = connection.generation;
                self.due.push(Reverse((clock.now_ns(), at, generation)));
            }
        }
        if alive && readable {
            alive = connection.read(&mut self.receiver, clock) == State::Open;
        }
        if !alive {
            self.close(at);
        } else if readable {
            self.take_requests(at);
        }
    }

    /// Sends what is due, a batch at most.
    fn send_due(&mut self) {
        let mut now = self.clock.now_ns();
        for _ in 0..BATCH {
            let Some(Reverse((due, at, generation))) = self.due.peek().copied() else {
                return;
            };
            if due > now {
                now = self.clock.now_ns();
                if due > now {
                    return;
                }
            }
            self.due.pop();
            self.send(at, generation);
        }
    }
}
