//! Verdicts and absolute limits to pass or fail, with the sentence a person reads.

use super::{
    Gate, GatePolicy, Judged, Limit, LimitCheck, OnUnsure, Verdict,
    reason::{REQUESTS_NEEDED, percent, quantity},
};
use crate::{compare::level, metric::describe, results::ResultSet};

/// Holds absolute limits against the current side. Each names the scenario that is worst; a
/// limit on a metric that was not measured does not hold.
pub fn check_limits(current: &ResultSet, limits: &[Limit]) -> Vec<LimitCheck> {
    limits.iter().map(|limit| check(current, limit)).collect()
}

fn check(current: &ResultSet, limit: &Limit) -> LimitCheck {
    let scenarios = current.runs.iter().flat_map(|run| run.scenarios.keys());
    let worst = scenarios
        .filter(|name| limit.scenario.as_ref().is_none_or(|only| only == *name))
        .filter_map(|name| Some((name, level(&current.values(name, &limit.metric))?)))
        // Ties (a scenario once per run) keep the first name, so that reports do not flicker.
        .reduce(|worst, next| {
            if excess(limit, next.1) > excess(limit, worst.1) {
                next
            } else {
                worst
            }
        });
    LimitCheck {
        limit: limit.clone(),
        scenario: worst.map(|(name, _)| name.clone()),
        value: worst.map(|(_, value)| value),
        holds: worst.is_some_and(|(_, value)| holds(limit, value)),
    }
}

fn holds(limit: &Limit, value: f64) -> bool {
    limit.max.is_none_or(|max| value <= max) && limit.min.is_none_or(|min| value >= min)
}

/// How far a value is beyond its limit in the metric's unit; negative inside.
fn excess(limit: &Limit, value: f64) -> f64 {
    let above = limit.max.map_or(f64::NEG_INFINITY, |max| value - max);
    let below = limit.min.map_or(f64::NEG_INFINITY, |min| min - value);
    above.max(below)
}

/// The gate. A broken limit outranks a regression (it needs no baseline and no statistics), a
/// regression outranks what is merely unproven.
pub fn gate(
    policy: &GatePolicy,
    verdict: Verdict,
    metrics: &[Judged],
    limits: &[LimitCheck],
) -> Gate {
    if !policy.gate {
        return Gate::Off;
    }
    let broken: Vec<_> = limits.iter().filter(|check| !check.holds).collect();
    if let Some(first) = broken.first() {
        return Gate::LimitBroken(broken_sentence(first, broken.len()));
    }
    let gating: Vec<_> = metrics.iter().filter(|judged| judged.gating).collect();
    let regressed: Vec<_> = gating
        .iter()
        .filter(|judged| judged.verdict == Verdict::Regressed)
        .collect();
    if let Some(worst) = regressed.first() {
        return Gate::Regression(regression_sentence(worst, regressed.len(), gating.len()));
    }
    match (policy.on_unsure, verdict) {
        (OnUnsure::Pass, _)
        | (OnUnsure::Fail, Verdict::Regressed | Verdict::Improved | Verdict::Unchanged) => {
            Gate::Passed
        }
        (
            OnUnsure::Fail,
            Verdict::Missing | Verdict::Incomparable | Verdict::Inconclusive | Verdict::New,
        ) => Gate::NotProven(unproven_sentence(verdict, &gating)),
    }
}

fn others(count: usize) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        1 => " One more limit is broken.".to_owned(),
        more => format!(" {more} more limits are broken."),
    }
}

fn broken_sentence(check: &LimitCheck, count: usize) -> String {
    let metric = describe(&check.limit.metric);
    let label = &metric.label;
    let sentence = match (&check.scenario, check.value) {
        (Some(scenario), Some(value)) => {
            let above = check.limit.max.filter(|max| value > *max);
            let (side, limit) = match above {
                Some(max) => ("above", max),
                None => ("below", check.limit.min.unwrap_or(value)),
            };
            let by = value / limit - 1.0;
            let by = if by.is_finite() {
                format!(" by {}", percent(by))
            } else {
                String::new()
            };
            let unit = metric.unit;
            format!(
                "{label} in {scenario} is {}, {side} its limit of {}{by}: make it hold, or change \
                 the limit.",
                quantity(value, unit),
                quantity(limit, unit),
            )
        }
        (_, None) | (None, _) => {
            format!("{label} has a limit but was not measured: measure it, or remove the limit.")
        }
    };
    sentence + &others(count)
}

fn regression_sentence(worst: &Judged, regressed: usize, gating: usize) -> String {
    format!(
        "{regressed} of {gating} gating metrics regressed; the worst, in {}: {}. Find what slowed \
         it, or widen its limit if the cost is accepted.",
        worst.change.scenario, worst.reason
    )
}

fn unproven_sentence(verdict: Verdict, gating: &[&Judged]) -> String {
    let fresh = gating.iter().all(|judged| judged.verdict == Verdict::New);
    let first = gating.iter().find(|judged| judged.verdict == verdict);
    let detail = match (verdict == Verdict::New && fresh, first) {
        (true, _) => "there is no baseline to compare with: measure the base branch first".into(),
        (false, Some(judged)) => format!("in {}: {}", judged.change.scenario, judged.reason),
        (false, None) => {
            format!(
                "none of the gating metrics was measured with enough requests on both sides: send \
                 {REQUESTS_NEEDED}"
            )
        }
    };
    let word = verdict.name();
    format!("The result is {word}, and `strict` asks for proof; {detail}.")
}
