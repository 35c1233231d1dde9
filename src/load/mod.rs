//! A schedule in, request traces out.
//!
//! [`drive`] keeps the asked-for number of requests in flight against an endpoint and records raw
//! times, nothing else: what they mean is `measure`'s business. A chunk is stamped when its bytes
//! arrive, before decoding, parsing or counting.

mod body;
mod driver;
mod event;
mod link;
mod sse;
mod stamp;
mod stream;
mod target;

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

pub use body::request_body;
pub use driver::drive;
pub use sse::{Decoder, MAX_EVENT_BYTES, SseError, SseEvent};
pub use target::{ApiPath, Target};

/// How requests arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrivals {
    /// Closed loop: as soon as one of `concurrency` requests ends, the next is sent.
    Closed {
        /// Requests kept in flight.
        concurrency: NonZeroU32,
    },
}

/// What is known about one request: raw times as offsets from the scenario's start, on the
/// monotonic clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestTrace {
    /// Position in the scenario; the same index is the same prompt in every run.
    pub index: u32,
    /// When it was due. Equals `sent_at` in a closed loop.
    pub scheduled_at: Duration,
    /// Just before its first byte was handed to the kernel, on an open connection.
    pub sent_at: Duration,
    /// What arrived, in order.
    pub chunks: Vec<ChunkArrival>,
    /// When the last byte (or the error) arrived.
    pub finished_at: Duration,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens as the server counted them.
    pub usage: Option<Usage>,
    /// The server's finish reason.
    pub finish_reason: Option<String>,
    /// What went wrong, for people; at most 300 characters.
    pub error: Option<String>,
}

/// One stream event that carried something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkArrival {
    /// When its bytes arrived.
    pub at: Duration,
    /// What it carried.
    pub kind: ChunkKind,
    /// Whether it came in the same read as the event before it: its own time is then unknown,
    /// `at` is an upper bound.
    pub coalesced: bool,
}

/// What a stream event carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkKind {
    /// Non-empty `content`, `text` or `tool_calls`.
    Content,
    /// Non-empty `reasoning` or `reasoning_content`.
    Reasoning,
    /// A role, an empty delta, a finish reason, usage: no output.
    Other,
}

impl ChunkKind {
    /// Whether the event carried output of the model.
    pub const fn is_output(self) -> bool {
        matches!(self, Self::Content | Self::Reasoning)
    }
}

/// Token counts from the server's `usage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
}

/// How a request ended: exactly one of these (design §5.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete stream with output.
    Ok,
    /// A status other than 200, or no answer at all.
    HttpError,
    /// An error object inside a 200 stream, or an event that is no JSON.
    StreamError,
    /// The stream ended without finish reason, `[DONE]` or terminator.
    Truncated,
    /// A complete stream without any output.
    Empty,
    /// Too slow.
    Timeout,
    /// Stopped by us.
    Cancelled,
}

impl Outcome {
    /// Every outcome, in the order reports list them.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::HttpError,
        Self::StreamError,
        Self::Truncated,
        Self::Empty,
        Self::Timeout,
        Self::Cancelled,
    ];

    /// The name used in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::HttpError => "http_error",
            Self::StreamError => "stream_error",
            Self::Truncated => "truncated",
            Self::Empty => "empty",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a scenario could not be driven at all. A failed request is not an error: it is a trace.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The endpoint is no URL the driver can speak to.
    #[error("cannot send load to {url}: {why}")]
    Endpoint {
        /// The endpoint.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No connection could be opened.
    #[error("cannot connect to {url}")]
    Connect {
        /// The endpoint.
        url: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
