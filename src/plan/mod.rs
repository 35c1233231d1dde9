//! Inputs and host facts to a [`Plan`]: what will be measured, in which order, with which seeds.
//! Pure.

mod asked;
mod custom;
mod gaps;
mod random;
mod rate;
mod rebuild;
mod replay;
mod request;
mod scenario;
mod schedule;
mod search;
mod suites;

use std::num::{NonZeroU32, NonZeroUsize};

use serde::{Deserialize, Serialize};

use crate::engine::LaunchSpec;

// Values that settings name directly are read where settings are read.
pub use crate::context::{
    ApiPath, Arrivals, Length, Objective, Process, Quantity, Rate, Sweep, TokenizerSource,
};
pub use asked::{Asked, Stored};
pub use random::stream;
pub use rebuild::{NotRebuildable, Pinned, Rebuilt, rebuild};
pub use replay::{BLOCK_TOKENS, ReplayError, ReplayRow, parse_replay};
pub use request::{Job, Message, PlannedRequest, Prompt};
pub use scenario::{PromptSource, Scenario, StopRules, Warmup};
pub use schedule::{Slot, Slots, expected, schedule};
pub use search::{Point, PointResult, Search, SearchSummary, power};
pub use suites::{SUITES, Suite, build, scenarios};

/// Everything `kitt run` will do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The engine's name.
    pub engine: &'static str,
    /// The suite's name; `custom` when settings describe the load.
    pub suite: String,
    /// What was asked for of the engine.
    pub asked: Asked,
    /// What is started for each run.
    pub launch: LaunchSpec,
    /// Fresh server processes, each measured once over all scenarios.
    pub runs: NonZeroU32,
    /// What each run measures, in this order; a search goes on from there.
    pub scenarios: Vec<Scenario>,
    /// Seed of the prompts. The same seed gives the same prompts in every run, so that requests
    /// of two runs can be compared one by one.
    pub seed: u64,
    /// Whether warm-up requests are left out (KITT's `--skip-warmup`).
    pub skip_warmup: bool,
    /// The interface that is spoken.
    pub api: ApiPath,
    /// What a request has to meet to be good; empty when nothing was asked.
    pub objectives: Vec<Objective>,
    /// Which points follow those in `scenarios`, by their results.
    pub search: Option<Search>,
    /// Threads of the load generator; `None` chooses.
    pub client_threads: Option<NonZeroUsize>,
    /// What counts tokens; `None` is whatever the server reports.
    pub tokenizer: Option<TokenizerSource>,
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
    /// A workload given by flags; no test of KITT's.
    Custom,
}

impl Test {
    /// Every test that is built and has a suite's shape.
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
            Self::Custom => "custom",
        }
    }
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
