//! One change to one judgement.
//!
//! In: a [`Change`] and what applies to it. Out: a [`Judged`]. The order of the questions is that
//! of `research/regression-statistics.md` §6: is it there, is it comparable, then the rule.

use super::{
    Judged, Verdict, Zone, reason,
    rule::{Levels, Ruling, rule, rule_exact},
    shares::{nothing_failed, rule_counts},
};
use crate::{
    compare::{Change, CompareError, Obstacle, Reference, needed_requests},
    metric::Better,
};

/// What applies to every change of a comparison.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// The fingerprints differ.
    pub(super) incomparable: bool,
    /// Error levels of each test.
    pub(super) levels: Levels,
    /// Whether somebody chose the gating list.
    pub(super) chosen: bool,
}

/// A verdict with what led to it, before it is joined with the change.
struct Finding {
    verdict: Verdict,
    ruling: Option<Ruling>,
    zone: Option<Zone>,
    reason: String,
}

impl Finding {
    fn without_numbers(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            ruling: None,
            zone: None,
            reason: reason.into(),
        }
    }
}

/// Whether there are enough requests for the statistic to be what its name says. Where nobody
/// counted, it is taken at its word.
///
/// Welch's t on run summaries is sound with any number of requests: their noise is part of the
/// spread between runs. But the "p99" of 40 requests is their largest value, an estimate of
/// something else; it is judged and shown, and does not gate.
pub(super) fn enough_requests(change: &Change) -> bool {
    change
        .requests
        .is_none_or(|requests| requests >= needed_requests(change.metric.statistic))
}

/// Whether a change will be put to a statistical test.
pub(super) fn testable(change: &Change) -> bool {
    let noisy = change
        .estimate
        .is_some_and(|estimate| estimate.reference != Reference::Exact);
    change.metric.better.is_some() && (noisy || change.counts.is_some())
}

/// Judges one change; `listed` says whether the policy wants it to gate.
///
/// # Errors
/// A level of the policy is not between 0 and 0.5.
pub(super) fn judge(
    change: &Change,
    listed: bool,
    zone: Zone,
    terms: Terms,
) -> Result<Judged, CompareError> {
    let finding = find(change, zone, terms)?;
    let needs = if listed {
        missing_requests(change, &finding, terms.chosen)
    } else {
        None
    };
    let mut sentences = vec![finding.reason];
    sentences.extend(needs.map(|needed| reason::too_few_to_gate(change, needed)));
    if finding.ruling.is_some() {
        sentences.extend(change.notes.iter().cloned());
    }
    Ok(Judged {
        change: change.clone(),
        verdict: finding.verdict,
        gating: listed && needs.is_none(),
        needs,
        zone: finding.zone,
        interval: finding.ruling.map(|ruling| ruling.interval),
        confidence: finding.ruling.map(|ruling| ruling.confidence),
        detectable: finding.ruling.and_then(|ruling| ruling.detectable),
        reason: sentences.join("; "),
    })
}

/// The requests per run that keep a metric of the gating list from gating.
fn missing_requests(change: &Change, finding: &Finding, chosen: bool) -> Option<u64> {
    let too_few = match (&change.obstacle, &finding.ruling) {
        // Sending as many requests again next time would leave it as open as it is now. Who asked
        // for this metric wants to hear that; the default list must not gate on it for ever.
        (Some(Obstacle::TooFewRequests { .. }), _) => {
            finding.verdict == Verdict::Inconclusive && !chosen
        }
        // A share is counted, not estimated from an order statistic: few trials widen its limits.
        (None, Some(_)) => change.estimate.is_some() && !enough_requests(change),
        (Some(_), _) | (None, None) => false,
    };
    too_few.then(|| needed_requests(change.metric.statistic))
}

fn find(change: &Change, zone: Zone, terms: Terms) -> Result<Finding, CompareError> {
    let label = &change.metric.label;
    // An obstacle means that both sides have something, be it no number.
    if change.obstacle.is_none() {
        if change.current.is_none() {
            let reason = format!("{label} was not measured, and the baseline has it");
            return Ok(Finding::without_numbers(Verdict::Missing, reason));
        }
        if change.baseline.is_none() {
            let reason = format!("{label} is not in the baseline, so there is nothing to compare");
            return Ok(Finding::without_numbers(Verdict::New, reason));
        }
    }
    if terms.incomparable {
        let reason = format!(
            "{label} was not measured under the baseline's conditions: measure both sides alike"
        );
        return Ok(Finding::without_numbers(Verdict::Incomparable, reason));
    }
    let Some(better) = change.metric.better else {
        let reason = format!("{label} is shown, not judged: neither direction is better");
        return Ok(Finding::without_numbers(Verdict::Unchanged, reason));
    };
    if let Some(obstacle) = &change.obstacle {
        let verdict = verdict_of(obstacle);
        return Ok(Finding::without_numbers(
            verdict,
            reason::of_obstacle(change, obstacle),
        ));
    }
    measure(change, better, zone, terms.levels)
}

const fn verdict_of(obstacle: &Obstacle) -> Verdict {
    match obstacle {
        Obstacle::NotPositive
        | Obstacle::Survivors
        | Obstacle::OutputLength
        | Obstacle::Invalid => Verdict::Incomparable,
        Obstacle::Unsettled | Obstacle::TooFewRequests { .. } => Verdict::Inconclusive,
    }
}

/// Puts the change to the rule that fits it.
fn measure(
    change: &Change,
    better: Better,
    zone: Zone,
    levels: Levels,
) -> Result<Finding, CompareError> {
    let finding = |ruling: Ruling, zone: Zone, reason: String| Finding {
        verdict: ruling.verdict,
        ruling: Some(ruling),
        zone: Some(zone),
        reason,
    };
    if let Some((baseline, current)) = change.counts {
        let ruling = rule_counts(baseline, current, better, zone, levels)?;
        let clean = nothing_failed(baseline, current, better);
        let reason = reason::of_counts(change, (baseline, current), zone, &ruling, clean);
        return Ok(finding(ruling, zone, reason));
    }
    match (change.estimate, change.baseline) {
        (Some(estimate), Some(baseline)) if estimate.reference == Reference::Exact => {
            let (ruling, zone) = rule_exact(&estimate, baseline, better);
            let reason = reason::of_exact(change, &ruling, zone);
            Ok(finding(ruling, zone, reason))
        }
        (Some(estimate), _) => {
            let ruling = rule(&estimate, better, zone, levels)?;
            let reason = reason::of_estimate(change, &estimate, better, zone, levels, &ruling);
            Ok(finding(ruling, zone, reason))
        }
        (None, _) => {
            let label = &change.metric.label;
            let reason =
                format!("{label} cannot be judged: the files do not say out of how many it is");
            Ok(Finding::without_numbers(Verdict::Inconclusive, reason))
        }
    }
}
