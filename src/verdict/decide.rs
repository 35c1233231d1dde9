//! A comparison and a policy to a decision.
//!
//! In: changes. Out: every metric judged, the overall verdict, limits and gate.

use std::cmp::Ordering;

use super::{
    Decision, Family, GatePolicy, Judged, Verdict, VerdictError,
    family::{alphas, tests, weigh},
    gate::{Case, gate, stands},
    judge::{Terms, judge},
    limits::check_limits,
    rule::Levels,
    sequential::Looks,
};
use crate::{
    compare::Comparison,
    results::{Origin, ResultSet},
};

/// The metric of evaluated items that gates.
const ACCURACY: &str = "accuracy";

/// Decides. `baseline` is what the comparison was made with; `None` when there was none, and the
/// verdict is then [`Verdict::New`].
///
/// The family-wise error is shared by the gating metrics that are really tested, each scenario's
/// row counts; metrics that do not gate are weighed by their false discovery rate and change
/// neither the verdict nor the gate (module `family`).
///
/// # Errors
/// The policy's error levels are not between 0 and 0.5.
pub fn decide(
    comparison: &Comparison,
    current: &ResultSet,
    baseline: Option<&ResultSet>,
    policy: &GatePolicy,
) -> Result<Decision, VerdictError> {
    let chosen = policy.is_chosen();
    let sides: Vec<&ResultSet> = baseline.into_iter().chain([current]).collect();
    let policy = &listed(policy, chosen, &sides);
    let changes = &comparison.changes;
    let incomparable = !comparison.fingerprint_differences.is_empty();
    let looks = Looks::up_to(comparison.planned_pairs.unwrap_or_default() as usize);
    let mut metrics = Vec::with_capacity(changes.len());
    for (change, alpha) in changes.iter().zip(alphas(changes, policy, looks)?) {
        let beta = policy.beta;
        let terms = Terms {
            incomparable,
            levels: Levels { alpha, beta },
            chosen,
            looks,
        };
        let (metric, scenario) = (&change.metric, change.scenario.as_str());
        let zone = policy.zone_of(metric, scenario);
        metrics.push(judge(change, policy.gates(metric, scenario), zone, terms)?);
    }
    weigh(&mut metrics, looks)?;
    if let Some(baseline) = baseline {
        say_unknown_conditions(&mut metrics, baseline, current);
    }
    metrics.sort_by(urgency);
    let known = |side: &ResultSet| side.fingerprint.is_some();
    let alike = !incomparable && known(current) && baseline.is_some_and(known);
    for judged in metrics.iter_mut().filter(|judged| judged.gating) {
        let change = &judged.change;
        judged.stage = policy.stage_of(&change.metric, &change.scenario);
        judged.stands = stands(judged, policy, alike);
    }
    let verdict = overall(&metrics, baseline.is_some(), incomparable);
    let limits = check_limits(current, policy);
    let outcome = gate(Case {
        policy,
        verdict,
        metrics: &metrics,
        limits: &limits,
        alike,
    });
    let mut warnings = outcome.warnings;
    warnings.extend(policy.idle_rules(&measured(comparison)));
    Ok(Decision {
        verdict,
        family: Family {
            alpha: policy.alpha,
            tests: tests(changes, policy),
        },
        metrics,
        limits,
        gate: outcome.gate,
        stage: policy.stage,
        warnings,
        accepted: outcome.accepted,
        to_accept: outcome.to_accept,
        shifts: Vec::new(),
    })
}

/// Metric and scenario of everything that either side has.
fn measured(comparison: &Comparison) -> Vec<(&str, &str)> {
    comparison
        .changes
        .iter()
        .map(|change| (change.metric.name.as_str(), change.scenario.as_str()))
        .collect()
}

/// The policy with what joins the default list because of who wrote the results, and what with:
/// KITT's names, and accuracy where items were evaluated. Faster by wrong answers is no gain, and
/// on the same items accuracy can be told as surely as a speed; a bare share of right answers
/// stays open for ever with the few items people have.
fn listed(policy: &GatePolicy, chosen: bool, sides: &[&ResultSet]) -> GatePolicy {
    let mut policy = policy.clone();
    if sides.iter().any(|side| side.origin == Origin::Kitt) {
        policy = policy.with_kitt_names();
    }
    let evaluated = sides.iter().any(|side| !side.facts.items.is_empty());
    if evaluated && !chosen && !policy.gating.iter().any(|name| name == ACCURACY) {
        policy.gating.push(ACCURACY.to_owned());
    }
    policy
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
