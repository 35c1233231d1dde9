//! Absolute limits held against the current side.

use std::collections::{BTreeMap, BTreeSet};

use super::{GatePolicy, Limit, LimitCheck, LimitRule};
use crate::{
    compare::level,
    metric::{Metric, describe},
    results::ResultSet,
};

/// Holds the policy's limits against the current side. Each check names the scenario that is
/// worst; a limit on something that was not measured does not hold. Of several limits on one
/// value the later one counts, its largest and its smallest value each by itself.
pub fn check_limits(current: &ResultSet, policy: &GatePolicy) -> Vec<LimitCheck> {
    let rules = &policy.limits;
    let names = if rules.is_empty() {
        BTreeSet::new()
    } else {
        measured(current)
    };
    let mut checks = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let later = rules.get(index + 1..).unwrap_or_default();
        let stage = rule.stage.unwrap_or_default().min(policy.stage);
        let found = if rule.file.is_some() {
            from_file(rule, later).into_iter().collect()
        } else {
            of_metrics(rule, later, current, &names)
        };
        checks.extend(found.into_iter().map(|check| LimitCheck {
            stage,
            accepted: !check.holds && is_accepted(policy, &check.limit.metric),
            ..check
        }));
    }
    checks
}

fn is_accepted(policy: &GatePolicy, metric: &str) -> bool {
    let accept = policy.accept.as_ref().filter(|accept| accept.rule.limits);
    accept.is_some_and(|accept| accept.reason(metric).is_some())
}

/// Every metric and scenario of a side.
fn measured(current: &ResultSet) -> BTreeSet<(&str, &str)> {
    let scenarios = current.runs.iter().flat_map(|run| &run.scenarios);
    scenarios
        .flat_map(|(scenario, record)| {
            let name = |metric| (metric, scenario.as_str());
            record.metrics.keys().map(String::as_str).map(name)
        })
        .collect()
}

/// What a rule still bounds once the later ones have had their say.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    max: Option<f64>,
    min: Option<f64>,
}

impl Bounds {
    fn of(rule: &LimitRule, later: &[LimitRule], replaces: impl Fn(&LimitRule) -> bool) -> Self {
        let over = |bound: fn(&LimitRule) -> Option<f64>| {
            let mut later = later.iter().filter(|rule| bound(rule).is_some());
            bound(rule).filter(|_| !later.any(|other| other.same_source(rule) && replaces(other)))
        };
        Self {
            max: over(|rule| rule.max),
            min: over(|rule| rule.min),
        }
    }

    fn is_empty(self) -> bool {
        self.max.is_none() && self.min.is_none()
    }

    fn hold(self, value: f64) -> bool {
        self.max.is_none_or(|max| value <= max) && self.min.is_none_or(|min| value >= min)
    }

    /// How far a value is beyond, in the metric's unit; negative inside.
    fn excess(self, value: f64) -> f64 {
        let above = self.max.map_or(f64::NEG_INFINITY, |max| value - max);
        let below = self.min.map_or(f64::NEG_INFINITY, |min| min - value);
        above.max(below)
    }
}

/// One check per metric that the rule matches, of the scenario that is worst.
fn of_metrics(
    rule: &LimitRule,
    later: &[LimitRule],
    current: &ResultSet,
    names: &BTreeSet<(&str, &str)>,
) -> Vec<LimitCheck> {
    let mut worst: BTreeMap<&str, (&str, f64, Bounds)> = BTreeMap::new();
    let mut matched = false;
    for (metric, scenario) in names {
        if !rule.matches(metric, scenario) {
            continue;
        }
        let Some(value) = level(&current.values(scenario, metric)) else {
            continue;
        };
        matched = true;
        let bounds = Bounds::of(rule, later, |other| other.matches(metric, scenario));
        if bounds.is_empty() {
            continue;
        }
        // Ties keep the first name, so that reports do not flicker.
        let further = worst
            .get(metric)
            .is_none_or(|(_, most, of)| bounds.excess(value) > of.excess(*most));
        if further {
            worst.insert(metric, (scenario, value, bounds));
        }
    }
    if !matched {
        return not_measured(rule, later).into_iter().collect();
    }
    let check = |(metric, (scenario, value, bounds)): (&str, (&str, f64, Bounds))| LimitCheck {
        scenario: Some(scenario.to_owned()),
        value: Some(value),
        holds: bounds.hold(value),
        ..blank(rule, describe(metric), bounds)
    };
    worst.into_iter().map(check).collect()
}

/// A limit on what nobody measured; `None` when a later one speaks of the same.
fn not_measured(rule: &LimitRule, later: &[LimitRule]) -> Option<LimitCheck> {
    let same = |other: &LimitRule| {
        let place = other.scenario.is_none() || other.scenario == rule.scenario;
        place && other.metric == rule.metric
    };
    let bounds = Bounds::of(rule, later, same);
    (!bounds.is_empty()).then(|| blank(rule, describe(rule.metric.as_str()), bounds))
}

/// A limit on a number that was brought in from a file.
fn from_file(rule: &LimitRule, later: &[LimitRule]) -> Option<LimitCheck> {
    let bounds = Bounds::of(rule, later, |other| other.metric == rule.metric);
    if bounds.is_empty() {
        return None;
    }
    let metric = describe(rule.metric.as_str());
    let metric = Metric {
        unit: rule.unit.unwrap_or(metric.unit),
        ..metric
    };
    let blank = blank(rule, metric, bounds);
    Some(match &rule.read {
        Some(Ok(value)) => LimitCheck {
            value: Some(*value),
            holds: bounds.hold(*value),
            ..blank
        },
        Some(Err(why)) => LimitCheck {
            absent: Some(why.clone()),
            ..blank
        },
        None => blank,
    })
}

/// A check of a value that is not there.
fn blank(rule: &LimitRule, metric: Metric, bounds: Bounds) -> LimitCheck {
    LimitCheck {
        limit: Limit {
            metric: metric.name.clone(),
            scenario: rule.scenario.as_ref().map(ToString::to_string),
            max: bounds.max,
            min: bounds.min,
        },
        metric,
        scenario: None,
        value: None,
        holds: false,
        stage: rule.stage.unwrap_or_default(),
        accepted: false,
        absent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Stage;

    fn rule(text: &str) -> LimitRule {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn the_later_bound_counts_each_by_itself() {
        let rules = [
            rule("{metric: 'ttft_ms.*', max: 100, min: 1}"),
            rule("{metric: ttft_ms.p50, max: 200}"),
            rule("{metric: ttft_ms.p50, scenario: other, min: 5}"),
        ];
        let bounds = |index: usize| {
            let at = |other: &LimitRule| other.matches("ttft_ms.p50", "s");
            let found = Bounds::of(&rules[index], &rules[index + 1..], at);
            (found.max, found.min)
        };
        assert_eq!(bounds(0), (None, Some(1.0)));
        assert_eq!(bounds(1), (Some(200.0), None));
    }

    #[test]
    fn a_number_of_a_file_is_held_and_its_absence_told() {
        let read = |read: Option<Result<f64, String>>| LimitRule {
            read,
            ..rule(
                "{metric: quality.ece, file: q.json, path: /ece, max: 0.05, unit: share, stage: warn}",
            )
        };
        let check = |rule: LimitRule| from_file(&rule, &[]).unwrap();
        let held = check(read(Some(Ok(0.04))));
        assert!(held.holds && held.stage == Stage::Warn);
        assert_eq!(held.metric.unit, crate::metric::Unit::Share);
        assert!(!check(read(Some(Ok(0.06)))).holds);
        let absent = check(read(Some(Err("q.json is not there".to_owned()))));
        assert_eq!((absent.value, absent.holds), (None, false));
        assert_eq!(absent.absent.as_deref(), Some("q.json is not there"));
        let later = [read(None)];
        assert!(from_file(&read(None), &later).is_none(), "replaced");
    }
}
