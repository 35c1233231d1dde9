//! Two result sets to changes with intervals. Pure: the seed of the bootstrap is an argument.
//!
//! Everything happens on natural logarithms of per-run summaries
//! (`research/regression-statistics.md` §6): a difference of logs is the log of a ratio.

mod bootstrap;
mod calibration;
mod change_points;
mod changes;
mod config_diff;
mod cusum_null;
mod differences;
mod estimate;
mod history;
mod items;
mod multiplicity;
mod noise;
mod obstacles;
mod paired;
mod proportion;
mod quantiles;
mod single;
mod statistic;
mod sum_up;

use serde::{Deserialize, Serialize};

use crate::{
    metric::Metric,
    results::{self, Part},
};

pub use bootstrap::Bootstrap;
pub use calibration::Shift;
pub use change_points::{ChangePoint, change_points, level_shifts};
pub use changes::{CompareOptions, FEWEST_PAIRS, compare, level};
pub use config_diff::config_diff;
pub use estimate::{exact_tolerance, log_summary};
pub use history::{FEWEST_JOBS, History, JobName, LevelShift, PastJob, PastJobs, history};
pub use items::ItemChanges;
pub use multiplicity::{benjamini_hochberg, holm, holm_levels};
pub use noise::{MOST_PRIOR_DF, Noise, NoiseProfile};
pub use obstacles::{needed_requests, survive};
pub use paired::PairedLogs;
pub use proportion::{Counts, difference_limits, is_of_requests};
pub use quantiles::{normal_quantile, t_quantile, t_upper_tail};
pub use single::{run_cv, single};
pub use sum_up::{stand_in, sum_up};

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
    /// Most pairs that were planned, when the sides were measured in pairs.
    pub planned_pairs: Option<u32>,
    /// Why no more pairs were measured, in words; `None` without pairs, or while they are.
    pub stopped: Option<String>,
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
    /// The pairs it was measured in, if it was; they are looked at one by one, so that the
    /// estimate comes with the verdict.
    pub pairs: Option<PairedLogs>,
    /// The past jobs it was held against, or would be if there were more of them.
    pub history: Option<PastJobs>,
    /// How much one run differs from the next when nothing changes: the standard deviation of a
    /// run's log summary (0.01 = 1 %), seen on these runs. `None`: not seen.
    pub spread: Option<f64>,
    /// For a proportion: what was counted on the baseline and on the current side. It has no
    /// estimate: its difference is judged in points, not as a ratio.
    pub counts: Option<(Counts, Counts)>,
    /// For accuracy on the same items: what was lost and gained, judged in points.
    pub items: Option<ItemChanges>,
    /// For what is estimated on the same items (calibration): the difference, judged in points.
    pub shift: Option<Shift>,
    /// For a deterministic quantity measured in pairs: the smallest and the largest log-ratio of
    /// a pair.
    pub range: Option<(f64, f64)>,
    /// What a reader must know about how the estimate was made, as sentence fragments.
    pub notes: Vec<String>,
}

impl Change {
    /// A change of which nothing is known yet.
    pub fn new(scenario: impl Into<String>, metric: Metric) -> Self {
        Self {
            scenario: scenario.into(),
            metric,
            baseline: None,
            current: None,
            requests: None,
            estimate: None,
            obstacle: None,
            pairs: None,
            history: None,
            spread: None,
            counts: None,
            items: None,
            shift: None,
            range: None,
            notes: Vec::new(),
        }
    }

    /// The difference in points of what is judged in points, current minus baseline: 0.05 = 5
    /// points. `None` for everything else, and where nothing tells it.
    pub fn points(&self) -> Option<f64> {
        let counted = || {
            let (baseline, current) = self.counts?;
            Some(current.share() - baseline.share())
        };
        let by_item = self.items.map(|items| items.difference());
        let shifted = self.shift.map(|shift| shift.difference);
        by_item.or(shifted).or_else(counted)
    }
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
    /// Student's t with these degrees of freedom (at least 1).
    StudentT(f64),
    /// The value is a deterministic count: any difference is real.
    Exact,
}

/// How a comparison was made; said in every report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// Interleaved pairs of fresh servers in one job, moderated paired t.
    Paired,
    /// One job against the comparable jobs before it, Student's t.
    History,
    /// One job against one, with a declared job-to-job variation: provisional.
    Single,
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
    /// The sides did not answer the same evaluation items.
    ItemsDiffer {
        /// Items of the baseline that the current side did not answer.
        gone: usize,
        /// Items that only the current side answered.
        new: usize,
    },
    /// A side's measurement is not valid.
    Invalid,
    /// A side's measurement itself says that too little was measured.
    Unsettled,
    /// Fewer requests per run than this statistic needs, and no repeated runs to judge by.
    TooFewRequests {
        /// How many are needed per run.
        needed: u64,
    },
    /// Fewer evaluated items than this metric needs.
    TooFewItems {
        /// How many are needed.
        needed: u64,
    },
    /// Fewer pairs than the first look needs.
    TooFewPairs {
        /// How many count.
        have: usize,
        /// How many are needed.
        needed: usize,
    },
    /// One side was always measured before the other, so that a drift of the machine looks like
    /// a change.
    NotInterleaved,
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
