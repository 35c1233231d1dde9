//! Two result sets to changes with intervals. Pure: the seed of the bootstrap is an argument.
//!
//! Everything happens on natural logarithms of per-run summaries
//! (`research/regression-statistics.md` §6): a difference of logs is the log of a ratio.

mod bootstrap;
mod changes;
mod config_diff;
mod differences;
mod estimate;
mod obstacles;
mod proportion;
mod quantiles;
mod single;
mod statistic;

use serde::{Deserialize, Serialize};

use crate::{
    metric::Metric,
    results::{self, Part},
};

pub use bootstrap::Bootstrap;
pub use changes::{CompareOptions, compare, level};
pub use config_diff::config_diff;
pub use estimate::{exact_tolerance, welch};
pub use obstacles::needed_requests;
pub use proportion::{Counts, difference_limits};
pub use quantiles::{normal_quantile, t_quantile};
pub use single::{run_cv, single};

/// Everything two result sets differ in.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// One per scenario and metric that either side has, sorted by both.
    pub changes: Vec<Change>,
    /// Fingerprint keys that differ, with both values; not empty means incomparable.
    pub fingerprint_differences: Vec<Difference>,
    /// Differences worth showing that do not stop a comparison (driver minor version, commit,
    /// image, engine arguments: what is under test).
    pub soft_differences: Vec<Difference>,
    /// Number of runs on each side.
    pub runs: (usize, usize),
}

/// What stands for a value that a side does not have.
const ABSENT: &str = "-";

/// A key whose values differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// Baseline's value, `-` when absent.
    pub baseline: String,
    /// Current value, `-` when absent.
    pub current: String,
}

impl Difference {
    /// Why a difference that keeps nobody from comparing is there: the key is what is being
    /// tested, or one side is too old to tell it. `None` for all others.
    pub fn explanation(&self) -> Option<&'static str> {
        let key = results::key(&self.key)?;
        let one_sided = self.baseline == ABSENT || self.current == ABSENT;
        match key.part {
            Part::UnderTest => Some("the change under test"),
            Part::Strict if one_sided && key.may_be_unknown() => Some("not known on one side"),
            Part::Strict | Part::Soft => None,
        }
    }
}

/// How one metric changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Scenario name.
    pub scenario: String,
    /// The metric.
    pub metric: Metric,
    /// Baseline: geometric mean over runs; `None` when absent.
    pub baseline: Option<f64>,
    /// Current: geometric mean over runs; `None` when absent.
    pub current: Option<f64>,
    /// Requests per run that the smaller side's value rests on; `None` when unknown.
    pub requests: Option<u64>,
    /// The estimate, when one can be made.
    pub estimate: Option<Estimate>,
    /// Why none can be made although both values are there.
    pub obstacle: Option<Obstacle>,
    /// For a proportion: what was counted on the baseline and on the current side. It has no
    /// estimate: its difference is judged in points, not as a ratio.
    pub counts: Option<(Counts, Counts)>,
    /// What a reader must know about how the estimate was made, as sentence fragments.
    pub notes: Vec<String>,
}

/// A change as the log of a ratio, with its standard error and the design it came from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// ln(current / baseline), in the metric's own direction (0.077 = 8 % larger).
    pub log_ratio: f64,
    /// Standard error of `log_ratio`; not negative.
    pub standard_error: f64,
    /// Which reference distribution the error belongs to.
    pub reference: Reference,
    /// Which design it came from.
    pub design: Design,
    /// Runs on the baseline side and on the current side.
    pub runs: (usize, usize),
}

/// The distribution that turns a standard error into a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reference {
    /// The standard normal distribution.
    Normal,
    /// Student's t with these degrees of freedom (Welch–Satterthwaite; at least 1).
    StudentT(f64),
    /// The value is a deterministic count: any difference is real.
    Exact,
}

/// How a comparison was made; said in every report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// One run against one, with a declared run-to-run variation: provisional.
    Single,
    /// Several runs a side, Welch's t on run summaries.
    Welch,
    /// A deterministic quantity, compared exactly.
    Exact,
}

/// Why two present values cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Obstacle {
    /// A value is zero, negative, not finite or beyond all measure, so it has no usable logarithm.
    NotPositive,
    /// The current side answered fewer than 99 % of what the baseline answered: survivors only.
    Survivors,
    /// Output lengths differ by more than 1 %.
    OutputLength,
    /// A side's measurement is not valid.
    Invalid,
    /// A side's measurement itself says that too little was measured.
    Unsettled,
    /// Fewer requests per run than this statistic needs, and no repeated runs to judge by.
    TooFewRequests {
        /// How many are needed per run.
        needed: u64,
    },
}

/// A comparison that cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A side without runs.
    #[error("the {side} side holds no run")]
    NoRuns {
        /// `baseline` or `current`.
        side: &'static str,
    },
    /// A quantile outside its domain.
    #[error("no quantile for p = {p} with {df} degrees of freedom")]
    Quantile {
        /// The probability.
        p: f64,
        /// Degrees of freedom.
        df: f64,
    },
}
