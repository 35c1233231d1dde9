//! One change to one judgement.
//!
//! In: a [`Change`] and what applies to it. Out: a [`Judged`]. The order of the questions is that
//! of `research/regression-statistics.md` §6: is it there, is it comparable, then the rule.

use super::{
    Judged, Remedy, Verdict, Zone,
    items::rule_items,
    reason,
    rule::{Levels, Ruling, rule, rule_exact},
    sequential::{Looks, Sequential, resolvable, sequential},
    shares::{nothing_failed, rule_counts, rule_shift},
};
use crate::{
    compare::{
        Change, CompareError, Estimate, Noise, Obstacle, PairedLogs, Reference, needed_requests,
    },
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
    /// When pairs are looked at.
    pub(super) looks: Looks,
}

/// A verdict with what led to it, before it is joined with the change.
struct Finding {
    verdict: Verdict,
    ruling: Option<Ruling>,
    zone: Option<Zone>,
    levels: Option<Levels>,
    remedy: Option<Remedy>,
    reason: String,
    /// What the ruling rests on.
    estimate: Option<Estimate>,
}

impl Finding {
    fn without_numbers(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            ruling: None,
            zone: None,
            levels: None,
            remedy: None,
            reason: reason.into(),
            estimate: None,
        }
    }

    fn of_obstacle(change: &Change, obstacle: &Obstacle) -> Self {
        let reason = reason::of_obstacle(change, obstacle);
        let verdict = verdict_of(obstacle);
        Self {
            remedy: open(verdict, || Remedy::of_obstacle(obstacle)),
            ..Self::without_numbers(verdict, reason)
        }
    }
}

/// What would settle a verdict; nothing where it is settled.
fn open(verdict: Verdict, remedy: impl FnOnce() -> Option<Remedy>) -> Option<Remedy> {
    (verdict == Verdict::Inconclusive).then(remedy).flatten()
}

/// Whether there are enough requests for the statistic to be what its name says. Where nobody
/// counted, it is taken at its word.
///
/// A t on run summaries is sound with any number of requests: their noise is part of the spread
/// between runs. But the "p99" of 40 requests is their largest value, an estimate of something
/// else; it is judged and shown, and does not gate.
fn enough_requests(change: &Change) -> bool {
    change
        .requests
        .is_none_or(|requests| requests >= needed_requests(change.metric.statistic))
}

/// Whether a change will be put to a statistical test.
fn testable(change: &Change) -> bool {
    let noisy = change
        .estimate
        .is_some_and(|estimate| estimate.reference != Reference::Exact);
    let paired = change.pairs.is_some() && change.obstacle.is_none();
    change.metric.better.is_some() && (noisy || paired || in_points(change))
}

/// Whether a change is one of shares, judged in points: counted, not estimated from an order
/// statistic, so that few trials just widen its limits.
fn in_points(change: &Change) -> bool {
    change.counts.is_some() || change.items.is_some() || change.shift.is_some()
}

/// Whether a change that the policy lists will be put to a test and gate.
pub(super) fn tested(change: &Change) -> bool {
    testable(change) && (in_points(change) || enough_requests(change))
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
    let mut change = change.clone();
    change.estimate = finding.estimate.or(change.estimate);
    if change.estimate.is_none() && change.obstacle.is_none() {
        // Not judged, and still worth showing: all pairs together.
        let all = |pairs: &PairedLogs| pairs.first(pairs.len());
        change.estimate = change.pairs.as_ref().and_then(all);
    }
    Ok(Judged {
        change,
        verdict: finding.verdict,
        gating: listed && needs.is_none(),
        stage: super::Stage::Observe,
        stands: super::Stage::Observe,
        needs,
        zone: finding.zone,
        interval: finding.ruling.map(|ruling| ruling.interval),
        confidence: finding.ruling.map(|ruling| ruling.confidence),
        levels: finding.levels,
        q: None,
        detectable: finding.ruling.and_then(|ruling| ruling.detectable),
        remedy: finding.remedy,
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
        (None, Some(_)) => !in_points(change) && !enough_requests(change),
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
        return Ok(Finding::of_obstacle(change, obstacle));
    }
    measure(change, better, zone, terms)
}

const fn verdict_of(obstacle: &Obstacle) -> Verdict {
    match obstacle {
        Obstacle::NotPositive
        | Obstacle::Survivors
        | Obstacle::OutputLength
        | Obstacle::ItemsDiffer { .. }
        | Obstacle::Invalid => Verdict::Incomparable,
        Obstacle::Unsettled
        | Obstacle::TooFewRequests { .. }
        | Obstacle::TooFewItems { .. }
        | Obstacle::TooFewPairs { .. }
        | Obstacle::NotInterleaved => Verdict::Inconclusive,
    }
}

/// Puts the change to the rule that fits it.
fn measure(
    change: &Change,
    better: Better,
    zone: Zone,
    terms: Terms,
) -> Result<Finding, CompareError> {
    let levels = terms.levels;
    let finding = |ruling: Ruling, zone: Zone, remedy: Option<Remedy>, reason: String| Finding {
        verdict: ruling.verdict,
        ruling: Some(ruling),
        zone: Some(zone),
        levels: Some(levels),
        remedy,
        reason,
        estimate: change.estimate,
    };
    if let Some(items) = &change.items {
        let ruling = rule_items(items, better, zone, levels)?;
        let remedy = open(ruling.verdict, || {
            Remedy::of_items(items, better, zone, levels)
        });
        let reason = reason::of_items(change, items, zone, &ruling, remedy);
        return Ok(finding(ruling, zone, remedy, reason));
    }
    if let Some(shift) = &change.shift {
        let ruling = rule_shift(shift, better, zone, levels)?;
        let reason = reason::of_shift(change, shift, zone, &ruling);
        return Ok(finding(ruling, zone, None, reason));
    }
    if let Some(sides @ (baseline, current)) = change.counts {
        let ruling = rule_counts(baseline, current, better, zone, levels)?;
        let clean = nothing_failed(baseline, current, better);
        let remedy = open(ruling.verdict, || {
            Remedy::of_counts(change, sides, better, zone, levels)
        });
        let reason = reason::of_counts(change, sides, zone, &ruling, (clean, remedy));
        return Ok(finding(ruling, zone, remedy, reason));
    }
    if let Some(pairs) = &change.pairs {
        return in_pairs(change, pairs, (better, zone), terms);
    }
    match (change.estimate, change.baseline) {
        (Some(estimate), Some(baseline)) if estimate.reference == Reference::Exact => {
            let (ruling, zone) = rule_exact(&estimate, change.range, baseline, better);
            let reason = reason::of_exact(change, &ruling, zone);
            Ok(finding(ruling, zone, None, reason))
        }
        (Some(estimate), _) => {
            let ruling = rule(&estimate, better, zone, levels)?;
            let remedy = open(ruling.verdict, || {
                Some(Remedy::of_estimate(&estimate, better, zone, levels))
            });
            let reason = reason::of_estimate(change, &estimate, zone, &ruling, remedy);
            Ok(finding(ruling, zone, remedy, reason))
        }
        (None, _) => {
            let label = &change.metric.label;
            let reason =
                format!("{label} cannot be judged: the files do not say out of how many it is");
            Ok(Finding::without_numbers(Verdict::Inconclusive, reason))
        }
    }
}

/// Looks at pairs one after the other.
fn in_pairs(
    change: &Change,
    pairs: &PairedLogs,
    (better, zone): (Better, Zone),
    terms: Terms,
) -> Result<Finding, CompareError> {
    let Some(found) = sequential(pairs, better, zone, terms.levels, terms.looks)? else {
        let (have, needed) = (pairs.len(), Looks::FEWEST);
        let few = Obstacle::TooFewPairs { have, needed };
        return Ok(Finding::of_obstacle(change, &few));
    };
    let remedy = open(found.ruling.verdict, || {
        let whole = terms.levels;
        Some(Remedy::of_estimate(&found.estimate, better, zone, whole))
    });
    let reason = reason::of_estimate(change, &found.estimate, zone, &found.ruling, remedy);
    let ruling = Ruling {
        detectable: provable(pairs, &found, zone, terms)?,
        ..found.ruling
    };
    Ok(Finding {
        verdict: ruling.verdict,
        ruling: Some(ruling),
        zone: Some(zone),
        levels: Some(found.levels),
        remedy,
        reason,
        estimate: Some(found.estimate),
    })
}

/// The smallest worsening that could have been proven: by all planned pairs where an early look
/// decided, since they were there for the asking; by what was measured where nothing did.
fn provable(
    pairs: &PairedLogs,
    found: &Sequential,
    zone: Zone,
    terms: Terms,
) -> Result<Option<f64>, CompareError> {
    if found.ruling.verdict == Verdict::Inconclusive {
        return Ok(found.ruling.detectable);
    }
    let deviation = found.estimate.standard_error * (found.pairs as f64).sqrt();
    let prior = pairs.prior.map_or(0.0, Noise::prior_df);
    let size = resolvable(deviation, prior, zone, terms.levels, terms.looks)?;
    Ok(Some(size).filter(|size| size.is_finite()))
}
