//! The simulated engine: an OpenAI-compatible streaming server with known latencies.
//!
//! It behaves like an engine under load (a queue, prefills that delay decoding, decode steps
//! that grow with the batch) and records its own truth, so that a measurement can be checked
//! against what really happened.

//~ mod api;
//~ mod scheduler;
//~ mod server;
//~ mod truth;

//~ pub use server::{SimServer, start};
//~ pub use truth::Truth;

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
    /// Its thread could not be started.
    #[error("the simulated engine's scheduler could not be started")]
    Thread(#[source] std::io::Error),
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
