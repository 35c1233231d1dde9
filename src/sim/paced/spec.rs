//! What a paced simulator is asked to do. Values only.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Parameters of a paced simulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PacedSpec {
    /// Where it listens; port 0 picks a free one.
    pub address: SocketAddr,
    /// The one model it serves.
    pub model: String,
    /// From a request's arrival to its first token.
    pub ttft: Duration,
    /// Between two writes of a stream. 0 sends as fast as the socket takes it.
    pub itl: Duration,
    /// Tokens of every answer; `None` gives what the request's `max_tokens` asks for.
    pub tokens: Option<NonZeroU32>,
    /// Tokens per write, each an event of its own.
    pub burst: NonZeroU32,
    /// When a chat's first chunk, a role without content, leaves.
    pub role: RoleChunk,
    /// A time in which nothing is sent.
    pub stall: Option<Stall>,
    /// Whether to keep the times of each request: 8 bytes a write and about 80 bytes a request,
    /// without a bound. Without it only the totals are kept.
    pub truth: bool,
}

impl Default for PacedSpec {
    /// A chat model on a free port of this machine: first token after 50 ms, then one each 10 ms.
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            model: "paced".to_owned(),
            ttft: Duration::from_millis(50),
            itl: Duration::from_millis(10),
            tokens: None,
            burst: NonZeroU32::MIN,
            role: RoleChunk::AtOnce,
            stall: None,
            truth: true,
        }
    }
}

/// When the role chunk of a chat leaves. Completions have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleChunk {
    /// Never.
    None,
    /// As soon as the request has arrived: a client that takes it for the first token is wrong.
    #[default]
    AtOnce,
    /// In the same write as the first token.
    WithFirst,
}

/// A time in which the server stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// When it begins, from the arrival of the first request.
    pub after: Duration,
    /// How long it lasts.
    pub length: Duration,
}
