//! Changes and a policy to verdicts and a gate decision. Pure. A verdict is a value, never an
//! error.

//~ mod decide;
//~ mod gate;

use serde::{Deserialize, Serialize};

use crate::compare::Change;

//~ pub use decide::decide;
//~ pub use gate::gate;
pub use crate::context::{GatePolicy, Limit, OnUnsure, Zone};

/// What is said of one metric, or of the whole report. Ordered by how much it matters to the
/// reader: the first is the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Proven worse by more than the smallest effect that matters.
    Regressed,
    /// Baseline has it, current has not.
    Missing,
    /// The two sides were not measured under the same conditions.
    Incomparable,
    /// Neither a change nor its absence is proven.
    Inconclusive,
    /// Proven better.
    Improved,
    /// Current has it, baseline has not.
    New,
    /// Proven not worse by more than the effect that gates.
    Unchanged,
}

impl Verdict {
    /// The word used in outputs and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Missing => "missing",
            Self::Incomparable => "incomparable",
            Self::Inconclusive => "inconclusive",
            Self::Improved => "improved",
            Self::New => "new",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One metric, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What changed.
    pub change: Change,
    /// What is said of it.
    pub verdict: Verdict,
    /// Whether it gates.
    pub gating: bool,
    /// The limits it was held against.
    pub zone: Option<Zone>,
    /// Two-sided confidence interval of the relative change (0.05 = +5 %), at the level the
    /// decision used.
    pub interval: Option<(f64, f64)>,
    /// Smallest relative worsening this comparison could have proven (0.05 = 5 %).
    pub detectable: Option<f64>,
    /// One sentence: why this verdict, and for an unsure one what would settle it.
    pub reason: String,
}

impl Judged {
    /// The relative change of the metric, 0.05 = 5 % larger.
    pub fn relative(&self) -> Option<f64> {
        self.change
            .estimate
            .map(|estimate| estimate.log_ratio.exp_m1())
    }
}

/// An absolute limit, held against the current side.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitCheck {
    /// The limit.
    pub limit: Limit,
    /// Scenario whose value was the worst.
    pub scenario: Option<String>,
    /// That value; `None` when the metric was not measured.
    pub value: Option<f64>,
    /// Whether it holds. A limit on a metric that was not measured does not hold.
    pub holds: bool,
}

/// Everything the report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The overall verdict: the most urgent among gating metrics.
    pub verdict: Verdict,
    /// Every metric, judged; most urgent first, gating before informative.
    pub metrics: Vec<Judged>,
    /// Absolute limits.
    pub limits: Vec<LimitCheck>,
    /// What the gate says.
    pub gate: Gate,
}

/// What the gate says, with the reason a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Nobody asked for a gate.
    Off,
    /// The gate is open.
    Passed,
    /// A regression is proven (exit 10).
    Regression(String),
    /// Not proven, and the policy is strict (exit 11).
    NotProven(String),
    /// An absolute limit is broken (exit 12).
    LimitBroken(String),
}

impl Gate {
    /// The word used in outputs: `off`, `passed` or `failed`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Passed => "passed",
            Self::Regression(_) | Self::NotProven(_) | Self::LimitBroken(_) => "failed",
        }
    }
}

/// A decision that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VerdictError {
    /// The quantile the limits need does not exist.
    #[error(transparent)]
    Compare(#[from] crate::compare::CompareError),
}
