//! `requests.jsonl.zst`: what is known of every request, one JSON line each, in the order they
//! ended, in zstd frames of at most 1024 lines.
//!
//! Times are whole nanoseconds from the scenario's start. A request may have a hundred thousand
//! stream events, so their facts stand in columns, one entry per event:
//!
//! - `chunk_kinds`: one letter each, `c` content, `r` reasoning, `o` other; a capital letter
//!   came in the same read as the event before it.
//! - `chunk_delta_ns`: when it arrived, the first one counted from `sent_ns`, each other from the
//!   one before it. Differences pack into half the bytes of absolute times.
//! - `chunk_slack_us`: position and microseconds, in turns, of the events whose time is not
//!   exact. Absent when all are.
//! - `chunk_tokens`: tokens it added to the server's count, `null` where the server gave none.
//!   Absent when it never did.
//!
//! Older files have `chunk_ns`, absolute times, in the place of `chunk_delta_ns`. What is not
//! known is absent, or `null` in older files. The form is frozen like that of `metrics.json`:
//! keys are only added.

mod line;
mod lines;
mod parse;
mod per_request;
mod traces;
mod write;

pub use line::LoggedTimes;
pub(super) use per_request::{PerRequest, read};
pub use traces::{LoggedRequest, Traces, traces};
pub use write::RequestLog;

/// The file's name in a results directory.
pub(super) const NAME: &str = "requests.jsonl.zst";

/// The longest line: 16 MiB are a million stream events.
const LINE_BYTES: u64 = 16 << 20;
