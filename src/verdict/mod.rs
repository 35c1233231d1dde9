//! Changes and a policy to verdicts and a gate decision. Pure. A verdict is a value, never an
//! error.

mod decide;
mod document;
mod family;
mod gate;
mod items;
mod judge;
mod limits;
mod multiplicity;
mod reason;
mod remedy;
mod rows;
mod rule;
mod schema_v1;
mod sequential;
mod shares;
mod shifts;
mod slots;

use serde::{Deserialize, Serialize};

use crate::{compare::Change, metric::Metric};

pub use crate::context::{
    GatePolicy, KITT_GATING, Limit, LimitRule, MetricRule, On, Reaction, Stage, Zone,
};
pub use decide::decide;
pub use document::{Answer, Document, DocumentError, answer, parse};
pub use items::items_needed;
pub use limits::check_limits;
pub use reason::REQUESTS_NEEDED;
pub use remedy::Remedy;
pub use rows::{GateRow, RowKind, RowResult, gate_rows};
pub use rule::{Levels, Ruling, rule};
pub use schema_v1::comparison_json;
pub use sequential::{Looks, Sequential, resolvable, sequential};
pub use shifts::{Shift, shifts};
pub use slots::{Slot, slots};

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
    /// How far a regression of it may go; `observe` where it does not gate.
    pub stage: Stage,
    /// What it does to the gate as it was judged: nothing (`observe`), it is warned of, or it
    /// closes it.
    pub stands: Stage,
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
    /// One-sided error levels of the test that led to the verdict: of the look that decided, for
    /// pairs.
    pub levels: Option<Levels>,
    /// For what does not gate: the share of false alarms to expect among all such metrics that are
    /// called regressed or improved on evidence as strong as this, 0 to 1 (Benjamini and Hochberg's
    /// q). `None`: it gates, or was not tested.
    pub q: Option<f64>,
    /// Smallest worsening this comparison could have proven (0.05 = 5 %, or 5 points). Where an
    /// early look at pairs decided: what all planned pairs would prove 95 times out of 100.
    pub detectable: Option<f64>,
    /// What would settle it, where it is inconclusive and that is known.
    pub remedy: Option<Remedy>,
    /// One sentence that names the metric, not the scenario: why this verdict, and for an unsure
    /// one what would settle it.
    pub reason: String,
}

impl Judged {
    /// A judgement without numbers, that does not gate.
    pub const fn new(change: Change, verdict: Verdict, reason: String) -> Self {
        Self {
            change,
            verdict,
            gating: false,
            stage: Stage::Observe,
            stands: Stage::Observe,
            needs: None,
            zone: None,
            interval: None,
            confidence: None,
            levels: None,
            q: None,
            detectable: None,
            remedy: None,
            reason,
        }
    }

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
        self.change.points()
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
    /// The metric, with the unit of its value.
    pub metric: Metric,
    /// Scenario whose value was the worst.
    pub scenario: Option<String>,
    /// That value; `None` when the metric was not measured.
    pub value: Option<f64>,
    /// Whether it holds. A limit on a metric that was not measured does not hold.
    pub holds: bool,
    /// How far it may go when it is broken.
    pub stage: Stage,
    /// Whether somebody accepted that it is broken.
    pub accepted: bool,
    /// Why the number of a file is not there, as a sentence fragment.
    pub absent: Option<String>,
}

/// A regression that somebody accepted: the gate passes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The label that allowed it.
    pub label: String,
    /// Why: one line without control characters. Written by whoever opened the pull request.
    pub reason: String,
    /// The metrics that regressed, or whose limit is broken.
    pub metrics: Vec<String>,
    /// The account that set the label; `None`: not known.
    #[serde(default)]
    pub by: Option<String>,
    /// When it was set, RFC 3339 in UTC; `None`: not known.
    #[serde(default)]
    pub at: Option<String>,
}

impl Acceptance {
    /// What was accepted and why, as one sentence.
    pub fn sentence(&self) -> String {
        format!(
            "Accepted by the label `{}`{}: {} ({}).",
            self.label,
            self.setter(),
            self.reason,
            self.metrics.join(", ")
        )
    }

    /// Who set the label and when, as the end of a phrase: `, set by octocat at
    /// 2026-01-15T10:30:00Z`; empty where neither is known. Without an `@`: nobody is to be called.
    pub fn setter(&self) -> String {
        let by = self.by.as_ref().map(|login| format!(" by {login}"));
        let at = self.at.as_ref().map(|time| format!(" at {time}"));
        if by.is_none() && at.is_none() {
            return String::new();
        }
        format!(", set{}{}", by.unwrap_or_default(), at.unwrap_or_default())
    }
}

/// The error that all gating tests share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Family {
    /// Probability that any of them calls a metric regressed that is not, one-sided.
    pub alpha: f64,
    /// How many tests share it; at least 1.
    pub tests: usize,
}

/// Everything the report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The overall verdict: the most urgent among gating metrics; without a baseline `new`,
    /// without a gating metric `inconclusive`.
    pub verdict: Verdict,
    /// What the gating tests share.
    pub family: Family,
    /// Every metric, judged; most urgent first, gating before informative.
    pub metrics: Vec<Judged>,
    /// Absolute limits.
    pub limits: Vec<LimitCheck>,
    /// What the gate says.
    pub gate: Gate,
    /// How far anything could go: with `observe` nobody is told, with `warn` nothing blocks.
    pub stage: Stage,
    /// What a reader should hear although it does not block, as sentences.
    pub warnings: Vec<String>,
    /// What regressed and was accepted.
    pub accepted: Option<Acceptance>,
    /// What is left to do for the worst regression to be accepted, as one sentence; `None` where
    /// nothing is, or the policy does not allow it.
    pub to_accept: Option<String>,
    /// Where gating metrics shifted on the base branch of late, for a job of that branch. Told,
    /// and no part of the verdict.
    pub shifts: Vec<Shift>,
}

impl Decision {
    /// A decision about these metrics, without a gate.
    pub const fn new(verdict: Verdict, metrics: Vec<Judged>) -> Self {
        Self {
            verdict,
            family: Family {
                alpha: 0.01,
                tests: 1,
            },
            metrics,
            limits: Vec::new(),
            gate: Gate::Off,
            stage: Stage::Block,
            warnings: Vec::new(),
            accepted: None,
            to_accept: None,
            shifts: Vec::new(),
        }
    }
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

    /// Why it is closed; `None` where it is not.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Off | Self::Passed => None,
            Self::Regression(why) | Self::NotProven(why) | Self::LimitBroken(why) => Some(why),
        }
    }

    fn into_reason(self) -> Option<String> {
        match self {
            Self::Off | Self::Passed => None,
            Self::Regression(why) | Self::NotProven(why) | Self::LimitBroken(why) => Some(why),
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
