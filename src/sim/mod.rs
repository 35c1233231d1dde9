//! The simulated engine: an OpenAI-compatible streaming server with known latencies.
//!
//! It behaves like an engine under load (a queue, prefills that delay decoding, decode steps
//! that grow with the batch) and records its own truth, so that a measurement can be checked
//! against what really happened. In: a [`SimSpec`]. Out: a server on a socket, and a [`Truth`].
//!
//! # The model
//!
//! Time is virtual: offsets from the server's start, exact to the nanosecond. The server works
//! in steps. A step begins where the one before ended, or, when the engine was idle, at the
//! moment the first waiting request arrived. At its beginning it admits waiting requests that
//! have arrived by then, oldest first, until `max_batch` sequences run. It then prefills the
//! newly admitted one after the other, and each gets its first token from its prefill; then it
//! decodes one token for every sequence that was running before these came in. Where none was,
//! there is no decode and it takes no time. All tokens of a step are due at its end:
//!
//! ```text
//! prefill(n) = (prefill_base_ms + prefill_per_token_ms · n) · run · noise
//! decode(b)  = (decode_base_ms + decode_per_sequence_ms · b) · (1 + slowdown) · run · noise
//! end        = begin + Σ prefill(n of each newly admitted) + decode(b running before), b > 0
//! ```
//!
//! `noise` is lognormal with mean 1 and coefficient of variation `noise_cv`, drawn anew for each
//! prefill and each decode; `run` is drawn once per server with `run_cv`. A lognormal with mean 1
//! and coefficient of variation c has σ² = ln(1 + c²) and μ = −σ²/2.
//!
//! With `noise_cv` and `run_cv` 0, d(b) = decode(b) and p(n) = prefill(n):
//! - a request alone: TTFT = p(n), TPOT = ITL = d(1), E2E = p(n) + (output tokens − 1) · d(1);
//!   `slowdown` does not touch its TTFT;
//! - k requests admitted in one step by an engine that was idle: TTFT = Σ p(nᵢ) after admission,
//!   TPOT = d(k) until one ends or another comes in;
//! - k requests admitted in one step while b others run: TTFT = Σ p(nᵢ) + d(b) after admission;
//!   the others see one gap of that length, and then d(b + k);
//! - a request that finds `max_batch` sequences running waits for the end of the first of them.
//!
//! # Rules
//!
//! A prompt has as many tokens as it has words separated by whitespace, at least one; messages
//! of a chat are counted together and the template adds nothing. A word is one output token. With
//! `ignore_eos` an answer has `max_tokens` tokens, else its natural length: `min_tokens` (at
//! least 1) plus a geometric number with mean 127, seeded by the request's `seed` where it has
//! one and by the order of arrival otherwise, cut at `max_tokens`.
//!
//! # Timing
//!
//! The scheduler is a thread of its own that waits for absolute deadlines, so lateness never
//! accumulates; connections live on a second thread. Each token is one server-sent event and one
//! write. [`RequestTruth`] has both when a token was due and when it was handed to the socket.
//! The role chunk of a chat stream leaves at once, as an early-flushing engine sends it: a client
//! that takes it for the first token is wrong.
//!
//! [`SimSpec`]: crate::engine::SimSpec

mod answer;
mod api;
mod clock;
mod draws;
mod ledger;
mod metrics;
mod model;
pub mod paced;
mod pump;
mod request;
mod scheduler;
mod server;
mod stream;
mod truth;

pub use server::{SimServer, serve_until, start};
pub use truth::{Outcome, RecordLine, RequestTruth, ServerTruth, Truth};

/// Why the simulated engine cannot run.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The address cannot be listened on.
    #[error("the simulated engine cannot listen on {address}")]
    Listen {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The address listened on makes no URL.
    #[error("the simulated engine listens on {address}, which makes no URL")]
    Address {
        /// Host and port.
        address: String,
        /// What the parser said.
        #[source]
        source: url::ParseError,
    },
    /// A parameter makes no engine.
    #[error("the simulated engine cannot run with {key} = {value}: {why}")]
    Parameter {
        /// The parameter.
        key: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        why: &'static str,
    },
    /// One of its threads could not be started, or ended by itself.
    #[error("a thread of the simulated engine could not be started or ended early")]
    Thread(#[source] std::io::Error),
    /// The process of a paced simulator could not be started, or ended by itself.
    #[error("the process of the paced simulator could not be started or ended early")]
    Process(#[source] std::io::Error),
    /// The record of what happened cannot be written.
    #[error("cannot write the simulator's record {path}")]
    Record {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
