//! Inputs and host facts to a [`Plan`]: what will be measured, in which order, with which seeds.
//! Pure.

mod prompts;
mod suites;

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{engine::LaunchSpec, ids::ScenarioId};

pub use prompts::prompt;
pub use suites::{SUITES, Suite, build, scenarios};

/// Everything `kitt run` will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The engine's name.
    pub engine: &'static str,
    /// The suite's name.
    pub suite: String,
    /// What is started for each run.
    pub launch: LaunchSpec,
    /// Fresh server processes, each measured once over all scenarios.
    pub runs: NonZeroU32,
    /// What each run measures, in this order.
    pub scenarios: Vec<Scenario>,
    /// Seed of the prompts. The same seed gives the same prompts in every run, so that requests
    /// of two runs can be compared one by one.
    pub seed: u64,
    /// Whether warm-up requests are left out (KITT's `--skip-warmup`).
    pub skip_warmup: bool,
}

/// One workload point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name, such as `throughput` or `batch_inference/c8`.
    pub id: ScenarioId,
    /// KITT's test this point belongs to.
    pub test: Test,
    /// Requests kept in flight.
    pub concurrency: NonZeroU32,
    /// Measured requests.
    pub requests: NonZeroU32,
    /// Discarded requests before them.
    pub warmup_requests: u32,
    /// Tokens of each prompt, roughly: exact lengths come with a tokenizer.
    pub input_tokens: NonZeroU32,
    /// Tokens of each answer.
    pub output_tokens: NonZeroU32,
}

/// KITT's test names, as far as they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Output tokens per second of single requests, one after the other.
    Throughput,
    /// Latencies of single requests.
    Latency,
    /// Time to first token and gaps between tokens.
    StreamingLatency,
    /// How many requests it takes until latencies settle; never warmed up.
    WarmupAnalysis,
    /// Throughput and latency by concurrency.
    BatchInference,
}

impl Test {
    /// Every test that is built.
    pub const ALL: [Self; 5] = [
        Self::Throughput,
        Self::Latency,
        Self::StreamingLatency,
        Self::WarmupAnalysis,
        Self::BatchInference,
    ];

    /// KITT's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency => "latency",
            Self::StreamingLatency => "streaming_latency",
            Self::WarmupAnalysis => "warmup_analysis",
            Self::BatchInference => "batch_inference",
        }
    }
}

/// One request to be sent, with its place in the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedRequest {
    /// Position in the scenario, from 0. The same index is the same prompt in every run.
    pub index: u32,
    /// The prompt; starts with a nonce so that no prefix cache can serve it.
    pub prompt: String,
    /// Asked-for output length.
    pub output_tokens: NonZeroU32,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No suite has this name.
    #[error("unknown suite `{name}`; known suites: {known}{}", closest.as_deref().map(|c| format!("; did you mean `{c}`?")).unwrap_or_default())]
    UnknownSuite {
        /// What was typed.
        name: String,
        /// All names, joined.
        known: String,
        /// The closest.
        closest: Option<String>,
    },
    /// A test that KITT has or that does not exist.
    #[error("test `{name}` is not available in this version; available tests: {known}{}", closest.as_deref().map(|c| format!("; did you mean `{c}`?")).unwrap_or_default())]
    UnknownTest {
        /// What was typed.
        name: String,
        /// All names, joined.
        known: String,
        /// The closest.
        closest: Option<String>,
    },
    /// A scenario's name breaks the rules of names.
    #[error(transparent)]
    Name(#[from] crate::ids::NameError),
    /// A suite without a test measures nothing.
    #[error("the plan holds no scenario: name at least one test")]
    Empty,
    /// The engine cannot be launched as asked.
    #[error(transparent)]
    Launch(#[from] crate::engine::LaunchError),
}
