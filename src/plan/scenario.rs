//! One workload point, as values. What is here is part of the workload's digest: two results
//! are comparable only when all of it is equal.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Test;
use crate::{
    context::{self, Arrivals, Length},
    ids::ScenarioId,
};

/// One workload point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name, such as `throughput` or `batch_inference/c8`.
    pub id: ScenarioId,
    /// KITT's test this point belongs to.
    pub test: Test,
    /// How requests arrive.
    pub arrivals: Arrivals,
    /// When it ends; the first that comes true. At least one is given, but for a replayed trace,
    /// which ends with its file.
    pub stop: StopRules,
    /// Discarded requests before the measured ones.
    pub warmup: Warmup,
    /// Tokens of each prompt.
    pub input_tokens: Length,
    /// Tokens of each answer.
    pub output_tokens: Length,
    /// Where prompts come from.
    pub prompts: PromptSource,
    /// Turns of each conversation.
    pub turns: NonZeroU32,
    /// Pause between two turns.
    pub think: Duration,
}

/// When a scenario ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StopRules {
    /// After this many requests.
    pub requests: Option<NonZeroU32>,
    /// No request is sent after this time; those in flight end.
    pub duration: Option<Duration>,
    /// Once at least 20 requests have ended and more than this share of them failed.
    pub max_error_rate: Option<f64>,
    /// Once the 95 % confidence interval of the mean end-to-end latency and of TTFT is within
    /// this share of the mean, to either side.
    pub ci_width: Option<f64>,
    /// Once the queue only grows: the server cannot keep up with the rate (open loop).
    pub over_saturation: bool,
}

/// Discarded requests before the measured ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warmup {
    /// None.
    Off,
    /// Exactly this many.
    Requests {
        /// How many.
        count: NonZeroU32,
    },
    /// Waves of at least `least` requests at the scenario's own concurrency and shape, until the
    /// waves' median latencies agree or `most` were sent.
    UntilStable {
        /// Of each wave.
        least: NonZeroU32,
        /// In all.
        most: NonZeroU32,
    },
}

/// Where prompts come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PromptSource {
    /// Seeded words.
    Synthetic {
        /// This share of each prompt, from its beginning and behind no nonce, is the same in all
        /// of them: what a prefix cache can serve. 0 to 1.
        shared_prefix: f64,
    },
    /// Lines of a file, in a seeded order.
    Dataset {
        /// The file: JSONL or a `ShareGPT` JSON array. Written down without its folder.
        #[serde(serialize_with = "context::file_name")]
        path: PathBuf,
        /// SHA-256 of its content; empty until somebody has read it.
        digest: String,
    },
}

impl Scenario {
    /// A closed loop of synthetic single prompts with fixed lengths.
    pub fn closed(
        id: ScenarioId,
        test: Test,
        concurrency: NonZeroU32,
        requests: NonZeroU32,
        warmup: Warmup,
        lengths: (NonZeroU32, NonZeroU32),
    ) -> Self {
        Self {
            id,
            test,
            arrivals: Arrivals::Closed { concurrency },
            stop: StopRules {
                requests: Some(requests),
                ..StopRules::default()
            },
            warmup,
            input_tokens: Length::fixed(lengths.0),
            output_tokens: Length::fixed(lengths.1),
            prompts: PromptSource::Synthetic { shared_prefix: 0.0 },
            turns: NonZeroU32::MIN,
            think: Duration::ZERO,
        }
    }

    /// The files it reads: a trace, a dataset.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let trace = match &self.arrivals {
            Arrivals::Replay { path, .. } => Some(path.as_path()),
            Arrivals::Closed { .. } | Arrivals::Open { .. } => None,
        };
        let dataset = match &self.prompts {
            PromptSource::Dataset { path, .. } => Some(path.as_path()),
            PromptSource::Synthetic { .. } => None,
        };
        trace.into_iter().chain(dataset)
    }

    /// The same with the digest of one of its files, for whoever has read it.
    #[must_use]
    pub fn with_digest(mut self, file: &Path, sha256: &str) -> Self {
        if let Arrivals::Replay { path, digest, .. } = &mut self.arrivals
            && path == file
        {
            sha256.clone_into(digest);
        }
        if let PromptSource::Dataset { path, digest } = &mut self.prompts
            && path == file
        {
            sha256.clone_into(digest);
        }
        self
    }

    /// The most requests that can be in flight, where that is known.
    pub fn max_in_flight(&self) -> Option<NonZeroU32> {
        match &self.arrivals {
            Arrivals::Closed { concurrency } => Some(*concurrency),
            Arrivals::Open { max_in_flight, .. } | Arrivals::Replay { max_in_flight, .. } => {
                *max_in_flight
            }
        }
    }
}

/// The most waves of a warm-up that never gets stable.
const MOST_WAVES: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

impl Warmup {
    /// Until stable, in waves of at least `least`; as many requests as four such waves at most.
    pub const fn until_stable(least: NonZeroU32) -> Self {
        Self::UntilStable {
            least,
            most: least.saturating_mul(MOST_WAVES),
        }
    }

    /// This many, or none for 0.
    pub fn requests(count: u32) -> Self {
        NonZeroU32::new(count).map_or(Self::Off, |count| Self::Requests { count })
    }
}
