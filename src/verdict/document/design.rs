//! The numbers of a document as a [`Change`], by the design they were measured in.

use super::{Document, DocumentDesign, DocumentMetric, DocumentStatistic, RunValues, Slot};
use crate::{
    compare::{
        Bootstrap, Change, Counts, FEWEST_JOBS, FEWEST_PAIRS, ItemChanges, Noise, Obstacle,
        PairedLogs, change_points, history, level, log_summary, needed_requests, run_cv, single,
        survive,
    },
    metric::{Metric, Statistic, Unit, describe},
};

/// The bootstrap of a document: the same numbers give the same answer everywhere.
const BOOTSTRAP: Bootstrap = Bootstrap {
    draws: 1000,
    seed: 0,
};

/// What a document says of its metric: unlike kitt's own names, a document's own words count.
fn metric(asked: &DocumentMetric) -> Metric {
    let statistic = Statistic::from(asked.statistic);
    let known = describe(&asked.name);
    let unit = if statistic == Statistic::Proportion {
        Unit::Share
    } else {
        known.unit
    };
    let label = match asked.statistic {
        DocumentStatistic::Proportion => known.label.clone(),
        DocumentStatistic::Mean => format!("{} mean", known.label),
        DocumentStatistic::P50 => format!("{} p50", known.label),
        DocumentStatistic::P90 => format!("{} p90", known.label),
        DocumentStatistic::P95 => format!("{} p95", known.label),
        DocumentStatistic::P99 => format!("{} p99", known.label),
    };
    Metric {
        better: Some(asked.better),
        statistic,
        unit,
        label,
        ..known
    }
}

/// Makes the change that the judge sees.
pub(super) fn change(document: &Document, asked: &DocumentMetric) -> Change {
    let metric = metric(asked);
    let statistic = metric.statistic;
    let value = |side: &[RunValues]| some(side).then(|| shown(side, statistic));
    let mut change = Change {
        baseline: value(&document.baseline),
        current: value(&document.current),
        ..Change::new("document", metric)
    };
    if change.baseline.is_none() || change.current.is_none() {
        return change;
    }
    change.obstacle = unusable(document, statistic);
    if change.obstacle.is_none() {
        fill(&mut change, document);
    }
    change
}

/// Whether any run has a value at all.
fn some(runs: &[RunValues]) -> bool {
    runs.iter().any(|run| !run.is_empty())
}

/// A side's value for people; 0 where there is none to show, since the judge takes an absent one
/// for missing.
fn shown(runs: &[RunValues], statistic: Statistic) -> f64 {
    let summary = |run: &RunValues| log_summary(&numbers(run), statistic).map(f64::exp);
    let values: Vec<f64> = runs.iter().filter_map(summary).collect();
    level(&values).unwrap_or_default()
}

fn numbers(run: &RunValues) -> Vec<f64> {
    run.iter().flatten().copied().collect()
}

/// What stops a comparison before any statistics.
fn unusable(document: &Document, statistic: Statistic) -> Option<Obstacle> {
    let proportion = statistic == Statistic::Proportion;
    let good = |value: &Option<f64>| match value {
        Some(value) if proportion => (0.0..=1.0).contains(value),
        Some(value) => *value > 0.0 && value.is_finite(),
        None => false,
    };
    let mut all = document.baseline.iter().chain(&document.current).flatten();
    if !all.all(good) {
        return Some(Obstacle::NotPositive);
    }
    let requests = document.requests?;
    let share = |side: Option<super::RequestCounts>| {
        let side = side.filter(|side| side.sent > 0)?;
        Some(side.ok as f64 / side.sent as f64)
    };
    let (before, after) = (share(requests.baseline)?, share(requests.current)?);
    survive(before, after).then_some(Obstacle::Survivors)
}

fn fill(change: &mut Change, document: &Document) {
    if document.design == DocumentDesign::Items {
        let [before, after] = [&document.baseline, &document.current].map(|side| lists(side));
        change.items = ItemChanges::of_runs(&slices(&before), &slices(&after));
        if change.items.is_none() {
            let most = |side: &[Vec<f64>]| side.iter().map(Vec::len).max().unwrap_or_default();
            let (before, after) = (most(&before), most(&after));
            change.obstacle = Some(Obstacle::ItemsDiffer {
                gone: before.saturating_sub(after),
                new: after.saturating_sub(before),
            });
        }
        return;
    }
    if change.metric.statistic == Statistic::Proportion {
        change.counts = counts(&document.baseline).zip(counts(&document.current));
        return;
    }
    let runs = document.baseline.iter().chain(&document.current);
    let lengths = runs.map(Vec::len).filter(|length| *length > 0);
    change.requests = lengths.min().map(|length| length as u64);
    let needed = needed_requests(change.metric.statistic);
    if change.requests.is_some_and(|requests| requests < needed) {
        change.obstacle = Some(Obstacle::TooFewRequests { needed });
        return;
    }
    match document.design {
        DocumentDesign::Paired => paired(change, document),
        DocumentDesign::History => past(change, document),
        DocumentDesign::Single | DocumentDesign::Items | DocumentDesign::Series => {
            alone(change, document, &document.baseline);
        }
    }
}

/// The runs that have values.
fn lists(runs: &[RunValues]) -> Vec<Vec<f64>> {
    let lists = runs.iter().map(numbers);
    lists.filter(|run| !run.is_empty()).collect()
}

fn slices(runs: &[Vec<f64>]) -> Vec<&[f64]> {
    runs.iter().map(Vec::as_slice).collect()
}

fn counts(runs: &[RunValues]) -> Option<Counts> {
    let all: Vec<f64> = runs.iter().flat_map(numbers).collect();
    (!all.is_empty()).then(|| Counts {
        events: all.iter().sum(),
        trials: all.len() as f64,
    })
}

fn logs(runs: &[RunValues], statistic: Statistic) -> Vec<f64> {
    runs.iter()
        .filter_map(|run| log_summary(&numbers(run), statistic))
        .collect()
}

fn paired(change: &mut Change, document: &Document) {
    let statistic = change.metric.statistic;
    let both = document.baseline.iter().zip(&document.current);
    // A run without a value failed, and voids its pair.
    let ratio = |(before, after): (&RunValues, &RunValues)| {
        let before = log_summary(&numbers(before), statistic)?;
        Some(log_summary(&numbers(after), statistic)? - before)
    };
    let log_ratios: Vec<f64> = both.filter_map(ratio).collect();
    let have = log_ratios.len();
    if have < FEWEST_PAIRS {
        change.obstacle = Some(Obstacle::TooFewPairs {
            have,
            needed: FEWEST_PAIRS,
        });
    } else if !document.order.as_deref().is_none_or(in_turn) {
        change.obstacle = Some(Obstacle::NotInterleaved);
    }
    let prior = document.noise.and_then(|noise| {
        Noise {
            log_sd_pair: noise.log_sd_pair?,
            df: noise.df?,
        }
        .usable()
    });
    change.pairs = Some(PairedLogs { log_ratios, prior });
}

/// Whether the nth baseline run and the nth current run follow each other, and neither side is
/// always the first of the two.
fn in_turn(order: &[Slot]) -> bool {
    let pairs: Vec<&[Slot]> = order.chunks(2).filter(|pair| pair.len() == 2).collect();
    let apart = |pair: &&[Slot]| matches!(pair, [Slot::B, Slot::C] | [Slot::C, Slot::B]);
    let first = |side: Slot| pairs.iter().any(|pair| pair.first() == Some(&side));
    pairs.iter().all(apart) && (pairs.len() < FEWEST_PAIRS || first(Slot::B) && first(Slot::C))
}

/// Past jobs since the last change point where there are enough of them, else the newest one.
fn past(change: &mut Change, document: &Document) {
    let statistic = change.metric.statistic;
    let jobs = logs(&document.baseline, statistic);
    let values: Vec<f64> = jobs.iter().map(|log| log.exp()).collect();
    let since = change_points(&values).last().copied().unwrap_or_default();
    let since = jobs.get(since..).unwrap_or(&jobs);
    change.estimate = history(since, &logs(&document.current, statistic));
    if change.estimate.is_none() {
        let (have, needed) = (since.len(), FEWEST_JOBS);
        change.notes.push(format!(
            "provisional: {have} comparable jobs since the last change, and {needed} make a history"
        ));
        let newest: Vec<RunValues> = document.baseline.last().cloned().into_iter().collect();
        alone(change, document, &newest);
    }
}

/// One job against one.
fn alone(change: &mut Change, document: &Document, baseline: &[RunValues]) {
    let statistic = change.metric.statistic;
    let declared = document.noise.and_then(|noise| noise.cv_run);
    let declared = declared.filter(|cv| *cv > 0.0 && cv.is_finite());
    let estimate = single(
        &lists(baseline),
        &lists(&document.current),
        statistic,
        run_cv(statistic, declared),
        BOOTSTRAP,
    );
    match estimate {
        Ok(estimate) => change.estimate = Some(estimate),
        Err(obstacle) => change.obstacle = Some(obstacle),
    }
}
