//! What is sent: requests, and the conversations they belong to. Values only.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// A conversation to be had: its turns are sent one after the other, by the same slot. Most
/// have one turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Open loop: when the first turn is due, from the beginning of load. `None` in a closed
    /// loop: as soon as a slot is free.
    pub due: Option<Duration>,
    /// At least one.
    pub turns: Vec<PlannedRequest>,
}

/// One request to be sent, with its place in the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRequest {
    /// Position in the scenario, from 0. The same index is the same prompt in every run.
    pub index: u32,
    /// What is asked; starts with a nonce so that no prefix cache can serve it.
    pub prompt: Prompt,
    /// Tokens of the prompt, where a tokenizer counted them; the server's chat template comes on
    /// top.
    pub input_tokens: Option<u32>,
    /// Asked-for output length; `None` leaves it to the server.
    pub output_tokens: Option<NonZeroU32>,
    /// Pause between the end of the turn before and this one; zero for a first turn.
    pub think: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text: the prompt of a completion, or the one user message of a chat.
    Text(String),
    /// Messages of a chat. Earlier answers are the planned ones and not what the server said, so
    /// that both sides of a comparison are asked the same.
    Messages(Vec<Message>),
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl PlannedRequest {
    /// A single text with a fixed answer length.
    pub const fn text(index: u32, text: String, output_tokens: NonZeroU32) -> Self {
        Self {
            index,
            prompt: Prompt::Text(text),
            input_tokens: None,
            output_tokens: Some(output_tokens),
            think: Duration::ZERO,
        }
    }
}

impl From<PlannedRequest> for Job {
    fn from(request: PlannedRequest) -> Self {
        Self {
            due: None,
            turns: vec![request],
        }
    }
}
