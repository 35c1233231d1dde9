//! A comparison and a policy to a decision.
//!
//! In: changes. Out: every metric judged, the overall verdict, limits and gate.

use std::cmp::Ordering;

use super::{
    Decision, GatePolicy, Judged, Verdict, VerdictError,
    gate::{check_limits, gate},
    judge::{Terms, enough_requests, judge, testable},
    rule::Levels,
};
use crate::{
    compare::{Change, Comparison},
    results::{Origin, ResultSet},
};

/// Decides. `baseline` is what the comparison was made with; `None` when there was none, and the
/// verdict is then [`Verdict::New`].
///
/// The family-wise error is shared by the gating metrics that are really tested (Bonferroni):
/// each scenario's row counts. Metrics that do not gate are judged at the same level and change
/// neither the verdict nor the gate.
///
/// # Errors
/// The policy's error levels are not between 0 and 0.5.
pub fn decide(
    comparison: &Comparison,
    current: &ResultSet,
    baseline: Option<&ResultSet>,
    policy: &GatePolicy,
) -> Result<Decision, VerdictError> {
    let chosen = is_chosen(policy);
    let kitt = |side: &ResultSet| side.origin == Origin::Kitt;
    let policy = if kitt(current) || baseline.is_some_and(kitt) {
        &policy.clone().with_kitt_names()
    } else {
        policy
    };
    let terms = Terms {
        incomparable: !comparison.fingerprint_differences.is_empty(),
        levels: levels(comparison, policy),
        chosen,
    };
    let mut metrics = Vec::with_capacity(comparison.changes.len());
    for change in &comparison.changes {
        let zone = policy.zone_of(&change.metric);
        metrics.push(judge(change, policy.gates(&change.metric), zone, terms)?);
    }
    if let Some(baseline) = baseline {
        say_unknown_conditions(&mut metrics, baseline, current);
    }
    metrics.sort_by(urgency);
    let verdict = overall(&metrics, baseline.is_some(), terms.incomparable);
    let limits = check_limits(current, &policy.limits);
    let gate = gate(policy, verdict, &metrics, &limits);
    Ok(Decision {
        verdict,
        metrics,
        limits,
        gate,
    })
}

/// Whether somebody chose the gating list. The default one names metrics for every suite, also
/// for those that are too short for some of them; a chosen one is meant as it stands.
fn is_chosen(policy: &GatePolicy) -> bool {
    let default = GatePolicy::default();
    policy.gating != default.gating && policy.gating != default.with_kitt_names().gating
}

/// The error levels of each test.
fn levels(comparison: &Comparison, policy: &GatePolicy) -> Levels {
    let tested = |change: &&Change| {
        policy.gates(&change.metric) && testable(change) && enough_requests(change)
    };
    let family = comparison.changes.iter().filter(tested).count().max(1);
    Levels {
        alpha: policy.alpha / family as f64,
        beta: policy.beta,
    }
}

/// A side without a fingerprint may have been measured anywhere: what is said of it holds only
/// if it was not.
fn say_unknown_conditions(metrics: &mut [Judged], baseline: &ResultSet, current: &ResultSet) {
    let sides = match (&baseline.fingerprint, &current.fingerprint) {
        (Some(_), Some(_)) => return,
        (None, Some(_)) => "the baseline does",
        (Some(_), None) => "the current results do",
        (None, None) => "both sides do",
    };
    let said = format!("; provisional: {sides} not say on what hardware they were measured");
    for judged in metrics
        .iter_mut()
        .filter(|judged| judged.interval.is_some())
    {
        judged.reason.push_str(&said);
    }
}

fn overall(metrics: &[Judged], has_baseline: bool, incomparable: bool) -> Verdict {
    if !has_baseline {
        return Verdict::New;
    }
    let gating = metrics.iter().filter(|judged| judged.gating);
    let urgent = gating.map(|judged| judged.verdict).min();
    match urgent {
        Some(verdict) => verdict,
        None if incomparable => Verdict::Incomparable,
        None => Verdict::Inconclusive,
    }
}

/// Gating before informative, then by verdict, then by how far beyond the limit.
fn urgency(a: &Judged, b: &Judged) -> Ordering {
    let place = |judged: &Judged| {
        (
            !judged.gating,
            judged.change.metric.better.is_none(),
            judged.verdict,
        )
    };
    place(a)
        .cmp(&place(b))
        .then_with(|| b.severity().abs().total_cmp(&a.severity().abs()))
        .then_with(|| a.change.scenario.cmp(&b.change.scenario))
        .then_with(|| a.change.metric.name.cmp(&b.change.metric.name))
}
