//! The same requests in the words of other load generators. Pure.
//!
//! Two tools on the same server disagree because they define TTFT, ITL or a token differently.
//! Here each one's numbers are made from one set of traces, by its own definitions and with its
//! own mistakes, so that a difference can be read off instead of argued about. The definitions
//! are those of the versions in [`Dialect::tool`]: `research/load-generators.md` §2.1 (read from
//! their sources) and §1.5 (measured), and the tools' public documentation of their result files.
//!
//! In: traces, one at a time; memory does not grow with them. Out: a [`DialectReport`] with the
//! tool's own keys, our name for the same thing, why the two differ, and what a trace cannot tell.

mod aiperf;
mod guidellm;
mod inference_perf;
mod report;
mod rows;
mod samples;
mod sglang;
mod view;
mod vllm;

use std::time::Duration;

pub use report::{DialectMetric, DialectReport, Ours};

use crate::load::{Outcome, RequestTrace};

/// Another load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `vllm bench serve`.
    Vllm,
    /// `GuideLLM`.
    GuideLlm,
    /// `AIPerf`.
    Aiperf,
    /// inference-perf.
    InferencePerf,
    /// `SGLang`'s `bench_serving`.
    Sglang,
}

/// A name that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown load generator `{name}`: known are {}", Dialect::names())]
pub struct UnknownDialect {
    /// What was asked for, at most 80 characters of it.
    pub name: String,
}

impl Dialect {
    /// All of them, in the order help lists them.
    pub const ALL: [Self; 5] = [
        Self::Vllm,
        Self::GuideLlm,
        Self::Aiperf,
        Self::InferencePerf,
        Self::Sglang,
    ];

    /// The name it is asked for by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::GuideLlm => "guidellm",
            Self::Aiperf => "aiperf",
            Self::InferencePerf => "inference-perf",
            Self::Sglang => "sglang",
        }
    }

    /// The tool and the version whose definitions these are.
    pub const fn tool(self) -> &'static str {
        match self {
            Self::Vllm => "vllm bench serve 0.32",
            Self::GuideLlm => "GuideLLM 0.8",
            Self::Aiperf => "AIPerf 0.13",
            Self::InferencePerf => "inference-perf 0.7",
            Self::Sglang => "SGLang bench_serving 0.5.23",
        }
    }

    /// The dialect of that name.
    ///
    /// # Errors
    /// There is none; the error lists those that there are.
    pub fn parse(name: &str) -> Result<Self, UnknownDialect> {
        let found = Self::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or_else(|| UnknownDialect {
            name: name.chars().take(80).collect(),
        })
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// How one tool turns traces into numbers.
trait Rules: Send {
    /// Takes a request in; whether the tool counts it as a success.
    fn add(&mut self, trace: &RequestTrace) -> bool;

    /// Its numbers, in the order it prints them.
    fn metrics(&self, run: &Run) -> Vec<DialectMetric>;

    /// What of it a trace cannot tell.
    fn limits(&self, run: &Run) -> Vec<String>;
}

/// What all tools need to know of the whole run.
#[derive(Debug, Clone, Default)]
struct Run {
    /// Requests that ended by themselves.
    ended: u64,
    /// Requests we stopped; no tool ever sees such.
    cancelled: u64,
    /// Requests the tool counts as successes.
    completed: u64,
    /// Successes to the tool that are failures to us.
    forgiven: u64,
    /// Successes whose tokens the server did not count.
    uncounted: u64,
    /// Answers that ended too early.
    truncated: u64,
    /// Requests that are successes to us.
    ok: u64,
    /// Output tokens of those, as the server counted them.
    tokens: u64,
    first_sent: Option<Duration>,
    last_end: Option<Duration>,
}

impl Run {
    fn add(&mut self, trace: &RequestTrace, success: bool) {
        self.ended += 1;
        self.completed += u64::from(success);
        self.forgiven += u64::from(success && trace.outcome != Outcome::Ok);
        self.uncounted += u64::from(success && view::counted(trace).is_none());
        self.truncated += u64::from(trace.outcome == Outcome::Truncated);
        if trace.outcome == Outcome::Ok {
            self.ok += 1;
            self.tokens += view::counted(trace).unwrap_or_default();
        }
        let earlier = self
            .first_sent
            .map_or(trace.sent_at, |at| at.min(trace.sent_at));
        self.first_sent = Some(earlier);
        self.last_end = self.last_end.max(Some(trace.finished_at));
    }

    /// From the first request sent to the last one ended, in seconds: what most tools divide by.
    fn seconds(&self) -> Option<f64> {
        view::seconds(self.first_sent?, self.last_end?)
    }

    const fn failed(&self) -> u64 {
        self.ended - self.completed
    }
}

/// Takes traces in and makes a tool's numbers of them.
pub struct DialectAccumulator {
    dialect: Dialect,
    rules: Box<dyn Rules>,
    run: Run,
}

impl DialectAccumulator {
    /// Begins without any request.
    pub fn new(dialect: Dialect) -> Self {
        let rules: Box<dyn Rules> = match dialect {
            Dialect::Vllm => Box::new(vllm::Vllm::default()),
            Dialect::GuideLlm => Box::new(guidellm::GuideLlm::default()),
            Dialect::Aiperf => Box::new(aiperf::Aiperf::default()),
            Dialect::InferencePerf => Box::new(inference_perf::InferencePerf::default()),
            Dialect::Sglang => Box::new(sglang::Sglang::default()),
        };
        Self {
            dialect,
            rules,
            run: Run::default(),
        }
    }

    /// Takes a request in, in any order.
    pub fn add(&mut self, trace: &RequestTrace) {
        if trace.outcome == Outcome::Cancelled {
            self.run.cancelled += 1;
            return;
        }
        let success = self.rules.add(trace);
        self.run.add(trace, success);
    }

    /// The tool's numbers of all that was taken in.
    pub fn finish(self) -> DialectReport {
        let mut limits = report::common_limits(self.dialect, &self.run);
        limits.extend(self.rules.limits(&self.run));
        DialectReport {
            dialect: self.dialect,
            requests: self.run.ended,
            metrics: self.rules.metrics(&self.run),
            limits,
        }
    }
}

impl std::fmt::Debug for DialectAccumulator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DialectAccumulator")
            .field("dialect", &self.dialect)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        for dialect in Dialect::ALL {
            assert_eq!(Dialect::parse(dialect.name()), Ok(dialect));
        }
        assert_eq!(
            Dialect::parse("genai-perf").unwrap_err().to_string(),
            "unknown load generator `genai-perf`: known are vllm, guidellm, aiperf, \
             inference-perf, sglang"
        );
    }

    #[test]
    fn nothing_gives_no_number_that_was_measured() {
        for dialect in Dialect::ALL {
            let report = DialectAccumulator::new(dialect).finish();
            for metric in &report.metrics {
                let empty = metric.value.is_none_or(|value| value == 0.0);
                assert!(empty, "{} {}", dialect.name(), metric.name);
            }
        }
    }
}
