//! What may get worse and by how much.

use serde::{Deserialize, Serialize};

use crate::metric::{DEFAULT_GATING, Metric, Statistic, Unit};

/// What gates in files of KITT beside the default list: one throughput, one latency per test
/// that has it, and accuracy (`research/kitt-and-engines.md` §1.4, §1.9).
pub const KITT_GATING: &[&str] = &[
    "avg_tps",
    "p50_latency_ms",
    "total_latency_ms.p50",
    "accuracy",
];

/// The indifference zone of a metric, as relative worsenings (0.05 = 5 %).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// A worsening proven to be above this is a regression.
    pub min_effect: f64,
    /// A worsening proven to be below this is none.
    pub gate_effect: f64,
}

impl Zone {
    /// Defaults by statistic: 1 %/5 %, p90 and p95 2 %/10 %, p99 and the largest value 5 %/20 %,
    /// proportions 1/2 *points* (`research/regression-statistics.md` §6).
    pub const fn of(statistic: Statistic) -> Self {
        match statistic {
            Statistic::P90 | Statistic::P95 => Self {
                min_effect: 0.02,
                gate_effect: 0.10,
            },
            Statistic::P99 | Statistic::Max | Statistic::Min | Statistic::Deviation => Self {
                min_effect: 0.05,
                gate_effect: 0.20,
            },
            Statistic::Mean | Statistic::P50 => Self {
                min_effect: 0.01,
                gate_effect: 0.05,
            },
            Statistic::Proportion => Self {
                min_effect: 0.01,
                gate_effect: 0.02,
            },
        }
    }
}

/// An absolute limit on a metric of the current side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Metric name.
    pub metric: String,
    /// Only this scenario; all when absent.
    pub scenario: Option<String>,
    /// Largest allowed value.
    pub max: Option<f64>,
    /// Smallest allowed value.
    pub min: Option<f64>,
}

/// What an unsure verdict does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnsure {
    /// It does not block.
    Pass,
    /// It blocks (`strict`).
    Fail,
}

/// The policy, merged from defaults, file, environment and flags.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePolicy {
    /// Whether a bad verdict fails the job.
    pub gate: bool,
    /// What inconclusive, incomparable, missing or no baseline do to the gate.
    pub on_unsure: OnUnsure,
    /// Names of the metrics that gate.
    pub gating: Vec<String>,
    /// Declared coefficient of variation from run to run, for one run against one. `None`: 5 %.
    pub run_cv: Option<f64>,
    /// One indifference zone for every metric instead of [`Zone::of`].
    pub zone: Option<Zone>,
    /// Absolute limits.
    pub limits: Vec<Limit>,
    /// Family-wise error over the gating metrics, one-sided.
    pub alpha: f64,
    /// Error of passing a real worsening of `gate_effect`.
    pub beta: f64,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            gate: false,
            on_unsure: OnUnsure::Pass,
            gating: DEFAULT_GATING
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            run_cv: None,
            zone: None,
            limits: Vec::new(),
            alpha: 0.01,
            beta: 0.05,
        }
    }
}

impl GatePolicy {
    /// Whether a metric gates: it is on the list and has a direction.
    pub fn gates(&self, metric: &Metric) -> bool {
        metric.better.is_some() && self.gating.contains(&metric.name)
    }

    /// The zone a metric is held against. One zone for all does not reach proportions: theirs is
    /// in points, and 5 % of a latency says nothing about points of accuracy.
    pub fn zone_of(&self, metric: &Metric) -> Zone {
        if metric.unit == Unit::Share {
            return Zone::of(Statistic::Proportion);
        }
        self.zone.unwrap_or_else(|| Zone::of(metric.statistic))
    }

    /// The policy to use when a side was written by KITT: its files hold almost none of the
    /// default gating metrics, so the names KITT itself judges join them. A list somebody chose
    /// stays as it is.
    #[must_use]
    pub fn with_kitt_names(mut self) -> Self {
        if self.gating == DEFAULT_GATING {
            self.gating
                .extend(KITT_GATING.iter().map(|name| (*name).to_owned()));
        }
        self
    }
}
