//! A paced simulator: streams of tokens at exact times, whose truth stays exact under load.
//!
//! The simulated engine of [`super`] behaves like an engine. This one does not: every stream gets
//! its first token a fixed time after its request and the following ones at a fixed gap, however
//! many streams there are. What it is for is to be faster and more punctual than any client, so
//! that what a client reports can be held against what happened.
//!
//! # The model
//!
//! Token k of an answer, counted from 0, is due at
//!
//! ```text
//! due(k) = arrived + ttft + (k / burst) · itl
//! ```
//!
//! with whole-number division: `burst` tokens leave in one write. Deadlines are absolute, so
//! lateness never accumulates. A stall stops the server's time: what would be due in it, or after
//! it, is due that much later. With `itl` 0 each stream sends as fast as its socket takes it, one
//! write in turn with the others.
//!
//! # The truth
//!
//! [`PacedRequest`] has when the last byte of a request reached the kernel (its receive time
//! stamp on Linux, the return of the read elsewhere) and the clock just before each write. A late
//! write is late in the truth as well, so that a busy machine changes the load and not the
//! comparison.
//!
//! # The machinery
//!
//! One thread, one poll, one heap of deadlines, bytes rendered beforehand: no task and no timer
//! per stream. Waits end by a timer of nanosecond resolution on Linux. Which processor and which
//! priority the thread has is the caller's choice; [`pin_to`] helps with the first, and
//! [`serve_child`] and [`PacedChild`] with a process of its own.

mod answering;
mod child;
mod connection;
mod pump;
mod receive;
mod request;
mod schedule;
mod script;
mod server;
mod spec;
mod truth;
mod wait;

pub use child::{Hello, PacedChild, allowed_cpus, pin_to, serve_child};
pub use server::{PacedServer, start};
pub use spec::{PacedSpec, RoleChunk, Stall};
pub use truth::{Lateness, PacedRequest, PacedTruth};
