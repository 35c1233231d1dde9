//! What may get worse and by how much.

mod accept;
mod contexts;
mod overrides;
mod pattern;
mod resolve;
mod rules;
mod standing;
mod written;

use serde::{Deserialize, Serialize};

pub use accept::{Accept, AcceptRule, GivenReason, reasons};
pub use contexts::{ContextOutcome, ContextRule};
pub use pattern::{Glob, PathPattern, Pattern, PatternError};
pub(super) use resolve::resolve;
pub use rules::{LimitRule, MetricRule, On, OnWritten, Reaction, Stage};
pub use standing::{Expires, Role, SetBy, Standing, is_same_label};
pub use written::PolicyWritten;

use super::ContextError;
use crate::metric::{self, DEFAULT_GATING, Metric, Statistic, Unit};

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
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// Metric name.
    pub metric: String,
    /// Only this scenario, or the scenarios of this pattern; all when absent.
    pub scenario: Option<String>,
    /// Largest allowed value.
    pub max: Option<f64>,
    /// Smallest allowed value.
    pub min: Option<f64>,
}

/// The policy, merged from defaults, file, contexts, environment and flags.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePolicy {
    /// Whether a bad verdict fails the job.
    pub gate: bool,
    /// How far anything may go.
    pub stage: Stage,
    /// What inconclusive, incomparable, missing or no baseline do to the gate.
    pub on: On,
    /// Names of the metrics that gate.
    pub gating: Vec<String>,
    /// What else gates, and effects and stages by metric; later ones win.
    pub metrics: Vec<MetricRule>,
    /// Declared coefficient of variation from run to run, for one run against one. `None`: 5 %.
    pub run_cv: Option<f64>,
    /// One indifference zone for every metric instead of [`Zone::of`].
    pub zone: Option<Zone>,
    /// Absolute limits; later ones win.
    pub limits: Vec<LimitRule>,
    /// Whether and why a regression is accepted; `None` when the policy does not allow it.
    pub accept: Option<Accept>,
    /// Family-wise error over the gating metrics, one-sided.
    pub alpha: f64,
    /// Error of passing a real worsening of `gate_effect`.
    pub beta: f64,
}

impl Default for GatePolicy {
    fn default() -> Self {
        Self {
            gate: false,
            stage: Stage::Block,
            on: On::default(),
            gating: DEFAULT_GATING
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            metrics: Vec::new(),
            run_cv: None,
            zone: None,
            limits: Vec::new(),
            accept: None,
            alpha: 0.01,
            beta: 0.05,
        }
    }
}

impl GatePolicy {
    /// Whether a metric gates in a scenario: it is on the list or a rule puts it there, and it
    /// has a direction. One that is only observed does not gate, so that it makes no limit wider.
    pub fn gates(&self, metric: &Metric, scenario: &str) -> bool {
        metric.better.is_some() && self.own_stage(metric, scenario) > Stage::Observe
    }

    /// How far a worsening of this metric may go in this scenario.
    pub fn stage_of(&self, metric: &Metric, scenario: &str) -> Stage {
        self.own_stage(metric, scenario).min(self.stage)
    }

    fn own_stage(&self, metric: &Metric, scenario: &str) -> Stage {
        let mut stage = None;
        let mut listed = self.gating.contains(&metric.name);
        for rule in self.rules(metric, scenario) {
            listed |= !rule.effects_only;
            stage = rule.stage.or(stage);
        }
        if listed {
            stage.unwrap_or_default()
        } else {
            Stage::Observe
        }
    }

    /// The zone a metric is held against. One zone for all does not reach proportions: theirs is
    /// in points, and 5 % of a latency says nothing about points of accuracy.
    pub fn zone_of(&self, metric: &Metric, scenario: &str) -> Zone {
        let default = if metric.unit == Unit::Share {
            Zone::of(Statistic::Proportion)
        } else {
            self.zone.unwrap_or_else(|| Zone::of(metric.statistic))
        };
        let (mut min, mut gate) = (None, None);
        for rule in self.rules(metric, scenario) {
            min = rule.min_effect.or(min);
            gate = rule.gate_effect.or(gate);
        }
        // A zone has its smaller end first: a default gives way to what somebody chose.
        let gate_effect = gate.unwrap_or_else(|| default.gate_effect.max(min.unwrap_or(0.0)));
        Zone {
            min_effect: min.unwrap_or(default.min_effect).min(gate_effect),
            gate_effect,
        }
    }

    fn rules(&self, metric: &Metric, scenario: &str) -> impl Iterator<Item = &MetricRule> {
        let matches = |rule: &&MetricRule| rule.matches(&metric.name, scenario);
        self.metrics.iter().filter(matches)
    }

    /// Whether somebody chose what gates. The default list names metrics for every suite, also
    /// for those that are too short for some of them; a chosen one is meant as it stands.
    pub fn is_chosen(&self) -> bool {
        self.is_list_chosen() || self.metrics.iter().any(|rule| !rule.effects_only)
    }

    fn is_list_chosen(&self) -> bool {
        let default = Self::default();
        self.gating != default.gating && self.gating != default.with_kitt_names().gating
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

    /// Refuses a plain name that is no metric: a typing error would otherwise gate nothing.
    /// `measured` are the names of metrics in the results, where there are any yet.
    ///
    /// # Errors
    /// A name that neither kitt nor the results know; the error has the closest one.
    pub fn check_names<'a>(&self, measured: impl Fn() -> Vec<&'a str>) -> Result<(), ContextError> {
        let listed = self.gating.iter().map(String::as_str);
        let ruled = self.metrics.iter().filter_map(|rule| rule.name.name());
        let own = self.limits.iter().filter(|limit| limit.file.is_none());
        let limited = own.filter_map(|limit| limit.metric.name());
        let accepted = self.accept.iter().flat_map(|accept| &accept.rule.metrics);
        let accepted = accepted.filter_map(Pattern::name);
        let mut names = listed.chain(ruled).chain(limited).chain(accepted);
        let unknown = names.find(|name| !metric::is_known(name) && !measured().contains(name));
        match unknown {
            None => Ok(()),
            Some(name) => Err(ContextError::Policy {
                place: "policy".to_owned(),
                detail: unknown_metric(name, &measured()),
            }),
        }
    }

    /// What matches nothing that was measured, as sentences: it protects nobody. `measured` are
    /// metric and scenario.
    pub fn idle_rules(&self, measured: &[(&str, &str)]) -> Vec<String> {
        let mut idle = Vec::new();
        if self.is_list_chosen() {
            let gone = |name: &&String| measured.iter().all(|(known, _)| known != name);
            idle.extend(self.gating.iter().filter(gone).map(|name| {
                format!("`{name}` is on the gating list and was not measured: it protects nothing")
            }));
        }
        for rule in self.metrics.iter().filter(|rule| !rule.effects_only) {
            if measured.iter().any(|(name, at)| rule.matches(name, at)) {
                continue;
            }
            let place = rule
                .scenario
                .as_ref()
                .map(|at| format!(" in scenarios {at}"))
                .unwrap_or_default();
            idle.push(format!(
                "no measured metric matches the policy's `{}`{place}: it protects nothing",
                rule.name
            ));
        }
        idle
    }
}

/// That a name is no metric, with the closest one.
fn unknown_metric(name: &str, measured: &[&str]) -> String {
    let names = metric::known_names();
    let known = || names.iter().map(String::as_str);
    let closest = known()
        .find(|known| known.strip_prefix(name).is_some_and(|rest| rest == ".p50"))
        .or_else(|| crate::ids::closest(name, known().chain(measured.iter().copied())));
    let hint = closest.map_or_else(
        || "a pattern such as `ttft_ms.*` may match nothing, a plain name may not".to_owned(),
        |closest| format!("did you mean `{closest}`?"),
    );
    format!("`{name}` is no metric that kitt knows; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::describe;

    /// Name, scenario, least and gating effect, stage.
    type Row<'a> = (
        &'a str,
        Option<&'a str>,
        Option<f64>,
        Option<f64>,
        Option<Stage>,
    );

    fn policy(rules: &[Row<'_>]) -> GatePolicy {
        let rule = |(name, scenario, min_effect, gate_effect, stage): &Row<'_>| MetricRule {
            scenario: scenario.map(|text| text.parse().unwrap()),
            min_effect: *min_effect,
            gate_effect: *gate_effect,
            stage: *stage,
            ..MetricRule::of(name.parse().unwrap())
        };
        GatePolicy {
            metrics: rules.iter().map(rule).collect(),
            ..GatePolicy::default()
        }
    }

    #[test]
    fn later_rules_win_value_by_value() {
        let policy = policy(&[
            ("*", None, Some(0.02), None, Some(Stage::Observe)),
            (
                "ttft_ms.*",
                Some("latency*"),
                None,
                Some(0.1),
                Some(Stage::Warn),
            ),
        ]);
        let (ttft, tps) = (describe("ttft_ms.p50"), describe("output_tps"));
        let zone = |min_effect, gate_effect| Zone {
            min_effect,
            gate_effect,
        };
        assert_eq!(policy.zone_of(&ttft, "latency-1"), zone(0.02, 0.1));
        assert_eq!(policy.zone_of(&ttft, "batch"), zone(0.02, 0.05));
        assert_eq!(policy.stage_of(&ttft, "latency-1"), Stage::Warn);
        assert!(policy.gates(&ttft, "latency-1") && !policy.gates(&ttft, "batch"));
        assert!(
            !policy.gates(&tps, "latency-1"),
            "observed, though on the list"
        );
    }

    #[test]
    fn the_stage_of_the_whole_caps_that_of_a_metric() {
        let mut policy = policy(&[]);
        let metric = describe("output_tps");
        assert_eq!(policy.stage_of(&metric, "s"), Stage::Block);
        policy.stage = Stage::Warn;
        assert_eq!(policy.stage_of(&metric, "s"), Stage::Warn);
        assert!(
            policy.gates(&metric, "s"),
            "it is still judged as one that gates"
        );
        assert!(!policy.gates(&describe("total_iterations"), "s"));
    }

    #[test]
    fn a_zone_never_ends_before_it_begins() {
        let zone = |min, gate| {
            policy(&[("output_tps", None, min, gate, None)]).zone_of(&describe("output_tps"), "s")
        };
        let pair = |zone: Zone| (zone.min_effect, zone.gate_effect);
        assert_eq!(pair(zone(Some(0.08), None)), (0.08, 0.08));
        assert_eq!(pair(zone(None, Some(0.005))), (0.005, 0.005));
        assert_eq!(pair(zone(Some(0.02), Some(0.1))), (0.02, 0.1));
        let share = policy(&[("accuracy", None, Some(0.02), Some(0.03), None)]);
        assert_eq!(
            pair(share.zone_of(&describe("accuracy"), "s")),
            (0.02, 0.03)
        );
    }

    #[test]
    fn a_name_that_is_no_metric_is_refused_with_the_closest() {
        let wrong = |name: &str, measured: &'static [&'static str]| {
            let checked = policy(&[(name, None, None, None, None)]);
            let checked = checked.check_names(|| measured.to_vec());
            checked
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        assert_eq!(wrong("ttft_ms.p99", &[]), "");
        assert_eq!(wrong("my_score", &["my_score"]), "");
        assert_eq!(wrong("tttf_ms.*", &[]), "", "a pattern may match nothing");
        assert!(wrong("tttf_ms.p50", &[]).contains("did you mean `ttft_ms.p50`?"));
        assert!(wrong("ttft_ms", &[]).contains("did you mean `ttft_ms.p50`?"));
        assert!(wrong("my_scor", &["my_score"]).contains("did you mean `my_score`?"));
        assert!(wrong("qqqqqqqq", &[]).contains("is no metric that kitt knows"));
        assert!(
            GatePolicy::default()
                .with_kitt_names()
                .check_names(Vec::new)
                .is_ok()
        );
    }

    #[test]
    fn a_rule_that_matches_nothing_is_told() {
        let policy = policy(&[
            ("ttft_ms.*", Some("nowhere"), None, None, None),
            ("output_tps", None, None, None, None),
        ]);
        let idle = policy.idle_rules(&[("output_tps", "s"), ("ttft_ms.p50", "s")]);
        assert_eq!(idle.len(), 1);
        assert!(
            idle[0].contains("`ttft_ms.*` in scenarios nowhere"),
            "{idle:?}"
        );
    }
}
