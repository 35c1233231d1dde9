//! From planned jobs to rendered requests that wait to be sent, on a thread of its own: rendering
//! a long prompt must not delay a send.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    DriveOptions,
    shared::{Shared, StopOnDrop, lock},
};
use crate::{
    load::{
        Asked,
        body::{Body, Level, render},
    },
    plan::Job,
};

/// Jobs that wait beside twice the concurrency, and in an open loop.
const SPARE: usize = 64;
/// Jobs that wait in an open loop: 100 ms at 5000 requests per second.
const OPEN_LOOP: usize = 512;
/// Bytes of bodies that wait; [`SPARE`] jobs may wait however long they are.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A conversation to be had.
#[derive(Debug)]
pub(super) struct Ticket {
    /// Open loop: when its first turn is due, from the beginning of load.
    pub(super) due: Option<Duration>,
    pub(super) turns: VecDeque<Turn>,
}

/// One request of it.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) index: u32,
    pub(super) asked: Asked,
    /// Pause since the turn before.
    pub(super) think: Duration,
    pub(super) body: Body,
}

/// What a driver thread that asks for a job gets.
#[derive(Debug)]
pub(super) enum Next {
    Job(Ticket),
    /// None yet: the thread will be woken.
    Later,
    /// None ever again.
    Over,
}

/// Jobs on their way from the feeder to the driver threads, in order.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The feeder waits here for room.
    room: Condvar,
    limit: usize,
    /// Load does not begin before so many jobs wait, or all.
    primed: usize,
}

#[derive(Debug)]
struct State {
    jobs: VecDeque<(Ticket, usize)>,
    bytes: usize,
    /// No job will be added.
    over: bool,
    /// Which threads found nothing.
    hungry: Vec<bool>,
    /// Whether the feeder waits.
    waiting: bool,
}

impl State {
    fn is_full(&self, limit: usize) -> bool {
        self.jobs.len() >= limit || (self.bytes >= MAX_BYTES && self.jobs.len() >= SPARE)
    }
}

impl Queue {
    pub(super) fn new(options: &DriveOptions, threads: usize) -> Self {
        let concurrency = options.concurrency.map(NonZeroU32::get);
        let primed = concurrency.map_or(SPARE, |count| count as usize);
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                bytes: 0,
                over: false,
                hungry: vec![false; threads],
                waiting: false,
            }),
            room: Condvar::new(),
            limit: concurrency.map_or(OPEN_LOOP, |count| 2 * count as usize + SPARE),
            primed,
        }
    }

    /// The next job, for a driver thread.
    pub(super) fn take(&self, thread: usize) -> Next {
        let mut state = lock(&self.state);
        let Some((ticket, bytes)) = state.jobs.pop_front() else {
            if state.over {
                return Next::Over;
            }
            if let Some(hungry) = state.hungry.get_mut(thread) {
                *hungry = true;
            }
            return Next::Later;
        };
        state.bytes -= bytes;
        // Waking the feeder for every single job would cost a switch of threads each time.
        if state.waiting && state.jobs.len() <= self.limit / 2 {
            state.waiting = false;
            self.room.notify_one();
        }
        Next::Job(ticket)
    }

    /// Nobody wants jobs any more.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        state.jobs.clear();
        state.bytes = 0;
        self.room.notify_all();
    }

    /// Adds a job, waiting for room; whether load may begin with what waits. `None` when nobody
    /// wants it any more.
    fn add(&self, shared: &Shared, ticket: Ticket, bytes: usize) -> Option<bool> {
        let mut state = lock(&self.state);
        while state.is_full(self.limit) && !state.over {
            state.waiting = true;
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.over {
            return None;
        }
        state.bytes += bytes;
        state.jobs.push_back((ticket, bytes));
        let enough = state.jobs.len() >= self.primed || state.is_full(self.limit);
        wake_hungry(shared, state);
        Some(enough)
    }

    fn finish(&self, shared: &Shared) {
        let mut state = lock(&self.state);
        state.over = true;
        wake_hungry(shared, state);
    }
}

fn wake_hungry(shared: &Shared, mut state: MutexGuard<'_, State>) {
    if !state.hungry.contains(&true) {
        return;
    }
    let hungry = std::mem::take(&mut state.hungry);
    state.hungry = vec![false; hungry.len()];
    drop(state);
    for (thread, is_hungry) in hungry.into_iter().enumerate() {
        if is_hungry {
            shared.wake(thread);
        }
    }
}

/// Renders the jobs one after the other until there is none left or nobody wants any.
pub(super) fn feed(shared: &Arc<Shared>, jobs: Box<dyn Iterator<Item = Job> + Send>) {
    let guard = StopOnDrop::new(Arc::clone(shared));
    let mut told = false;
    for job in jobs {
        if job.turns.is_empty() {
            continue;
        }
        let (ticket, bytes) = ticket(shared, job);
        let Some(enough) = shared.queue.add(shared, ticket, bytes) else {
            break;
        };
        if enough && !told {
            shared.ready(0, None);
            told = true;
        }
    }
    shared.queue.finish(shared);
    if !told {
        shared.ready(0, None);
    }
    guard.disarm();
}

/// A job, rendered, and how many bytes it has.
fn ticket(shared: &Shared, job: Job) -> (Ticket, usize) {
    let mut bytes = 0;
    let turns = job.turns.into_iter().map(|request| {
        let target = &shared.target;
        let body = render(target.path, &target.model, &request, &shared.extras);
        bytes += body.len(&shared.extras, Level::Full);
        Turn {
            index: request.index,
            asked: Asked {
                input_tokens: request.input_tokens,
                output_tokens: request.output_tokens,
            },
            think: request.think,
            body,
        }
    });
    let turns = turns.collect();
    let due = job.due;
    (Ticket { due, turns }, bytes)
}
