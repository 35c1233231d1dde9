//! Changes and a policy to verdicts and a gate decision. Pure. A verdict is a value, never an
//! error.

mod decide;
mod gate;
mod judge;
mod reason;
mod rule;
mod schema_v1;
mod shares;

use serde::{Deserialize, Serialize};

use crate::compare::Change;

pub use crate::context::{GatePolicy, KITT_GATING, Limit, OnUnsure, Zone};
pub use decide::decide;
pub use gate::{check_limits, gate};
pub use reason::REQUESTS_NEEDED;
pub use rule::{Levels, Ruling, rule};
pub use schema_v1::comparison_json;

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
    /// For a metric that is on the gating list and does not gate: the requests per run it would
    /// need.
    pub needs: Option<u64>,
    /// The limits it was held against.
    pub zone: Option<Zone>,
    /// Two-sided confidence interval of the relative change (0.05 = +5 %), at the level the
    /// decision used; of the difference in points for a proportion (0.05 = +5 points).
    pub interval: Option<(f64, f64)>,
    /// The interval's two-sided confidence, 0.9 to 1: the level at which this verdict was
    /// reached, or, for an inconclusive one, at which a regression would have been proven.
    pub confidence: Option<f64>,
    /// Smallest worsening this comparison could have proven (0.05 = 5 %, or 5 points).
    pub detectable: Option<f64>,
    /// One sentence that names the metric, not the scenario: why this verdict, and for an unsure
    /// one what would settle it.
    pub reason: String,
}

impl Judged {
    /// The relative change of the metric, 0.05 = 5 % larger. `None` where there is no ratio: a
    /// value is absent, not positive, or the metric is a proportion.
    pub fn relative(&self) -> Option<f64> {
        self.change
            .estimate
            .map(|estimate| estimate.log_ratio.exp_m1())
    }

    /// The difference of a proportion, current minus baseline, 0.05 = 5 points. `None` for
    /// everything else, and where nobody counted.
    pub fn points(&self) -> Option<f64> {
        let (baseline, current) = self.change.counts?;
        Some(current.share() - baseline.share())
    }

    /// How large the change is in units of what gates, positive when it is for the worse; 0 where
    /// nothing was judged.
    pub fn severity(&self) -> f64 {
        let (Some(better), Some(zone)) = (self.change.metric.better, self.zone) else {
            return 0.0;
        };
        let size = match (self.points(), self.change.estimate) {
            (Some(points), _) => points / zone.gate_effect,
            (None, Some(estimate)) => estimate.log_ratio / zone.gate_effect.ln_1p(),
            (None, None) => 0.0,
        };
        // A limit of zero makes any change infinitely severe; equal ones keep their order by name.
        let severity = better.worse_sign() * size;
        if severity.is_finite() { severity } else { 0.0 }
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
    /// The overall verdict: the most urgent among gating metrics; without a baseline `new`,
    /// without a gating metric `inconclusive`.
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
