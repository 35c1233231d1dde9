//! What is known about one request: raw times and counts, nothing derived.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

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
    /// The answer's HTTP status; `None` when there was no answer.
    #[serde(default)]
    pub status: Option<u16>,
    /// What was asked for.
    #[serde(default)]
    pub asked: Asked,
    /// How long its parts took.
    #[serde(default)]
    pub phases: Phases,
    /// Which clock stamped the arrivals.
    #[serde(default)]
    pub stamps: StampSource,
}

impl RequestTrace {
    /// A request that was due and sent at `sent_at` and of which nothing else is known yet.
    pub fn sent(index: u32, sent_at: Duration) -> Self {
        Self {
            index,
            scheduled_at: sent_at,
            sent_at,
            chunks: Vec::new(),
            finished_at: sent_at,
            outcome: Outcome::Cancelled,
            usage: None,
            finish_reason: None,
            error: None,
            status: None,
            asked: Asked::default(),
            phases: Phases::default(),
            stamps: StampSource::default(),
        }
    }
}

/// What a request asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Tokens of the prompt, where a tokenizer counted them before it was sent.
    pub input_tokens: Option<u32>,
    /// Tokens of the answer; `None` when left to the server.
    pub output_tokens: Option<NonZeroU32>,
}

/// How long the parts of an exchange took. `None` is "did not happen" or "not known".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases {
    /// Looking up the host's name, for the connection this request was the first on. Never part
    /// of its latencies.
    pub dns: Option<Duration>,
    /// TCP's handshake, likewise.
    pub connect: Option<Duration>,
    /// TLS's handshake, likewise.
    pub tls: Option<Duration>,
    /// From the first byte handed to the kernel to the last.
    pub write: Option<Duration>,
    /// From sending to the first byte of the answer, the status line.
    pub first_byte: Option<Duration>,
}

/// Which clock stamped the arrivals of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StampSource {
    /// The kernel, when the bytes came in (`SO_TIMESTAMPING`).
    Kernel,
    /// This program, when its read returned.
    #[default]
    User,
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
    /// How much earlier than `at` it can have arrived, in microseconds: the read that brought it
    /// also brought later events, and the socket was last seen empty this long before `at`. 0
    /// for the last event of a read, whose time is exact.
    #[serde(default)]
    pub slack_us: u32,
    /// Output tokens so far, where the server sends `usage` with every chunk.
    #[serde(default)]
    pub tokens: Option<NonZeroU32>,
}

impl ChunkArrival {
    /// An event whose time is exact.
    pub const fn new(at: Duration, kind: ChunkKind) -> Self {
        Self {
            at,
            kind,
            coalesced: false,
            slack_us: 0,
            tokens: None,
        }
    }
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
