//! All metrics, by scenario: first what gates, then what informs, then what has no direction.

use std::collections::BTreeMap;

use super::{
    All, Group, Row,
    rows::{row, scale},
};
use crate::{
    measure::Validity,
    metric::Statistic,
    render::{
        ReportInput,
        budget::{Detail, Metrics},
        escape::clean,
        number::{NOTHING, count, plural},
    },
    results::ResultSet,
    verdict::Judged,
};

/// Longest name in a table, in characters.
const NAME: usize = 80;
/// Longest sentence from outside, in characters.
const SENTENCE: usize = 300;
/// Notes of a scenario that are shown.
const NOTES: usize = 4;

/// All metrics by scenario; within one in the order of the decision, gating first.
pub(super) fn all(input: &ReportInput<'_>, detail: &Detail) -> Option<All> {
    let shown = |judged: &&Judged| match detail.metrics {
        Metrics::All => true,
        Metrics::Main => {
            judged.gating
                || matches!(
                    judged.change.metric.statistic,
                    Statistic::P50 | Statistic::P95 | Statistic::Proportion
                )
        }
        Metrics::None => false,
    };
    let mut scenarios: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for judged in input.decision.metrics.iter().filter(shown) {
        let scenario = scenarios.entry(&judged.change.scenario).or_default();
        scenario.push(judged);
    }
    let total: usize = scenarios.values().map(Vec::len).sum();
    (total > 0).then(|| All {
        title: format!(
            "{} in {}",
            plural(total, "metric", "metrics"),
            plural(scenarios.len(), "scenario", "scenarios")
        ),
        groups: scenarios
            .into_iter()
            .map(|(scenario, metrics)| group(input, scenario, &metrics))
            .collect(),
    })
}

fn group(input: &ReportInput<'_>, scenario: &str, metrics: &[&Judged]) -> Group {
    let (mut judged, plain): (Vec<&Judged>, Vec<&Judged>) = metrics
        .iter()
        .partition(|judged| judged.change.metric.better.is_some());
    judged.sort_by_key(|judged| !judged.gating);
    let mut notes = notes(input.current, scenario);
    notes.extend(requests(metrics));
    Group {
        scenario: clean(scenario, NAME),
        notes,
        rows: judged
            .into_iter()
            .map(|judged| row(input, judged))
            .collect::<Vec<Row>>(),
        without_direction: plain.into_iter().map(compact).collect(),
    }
}

/// `200 requests per run`: the fewest that a gating metric rests on.
fn requests(metrics: &[&Judged]) -> Option<String> {
    let gating = metrics.iter().filter(|judged| judged.gating);
    let fewest = gating.filter_map(|judged| judged.change.requests).min()?;
    Some(format!("{} requests per run", count(fewest)))
}

/// A metric of which neither direction is better, in a few words: `GPU power 512 → 515 W`.
fn compact(judged: &Judged) -> String {
    let of = &judged.change;
    let scale = scale(judged);
    let label = clean(&of.metric.label, NAME);
    match (of.baseline, of.current) {
        (Some(base), Some(head)) if base.total_cmp(&head).is_eq() => {
            format!("{label} {}", scale.text(head))
        }
        (Some(base), Some(head)) => {
            format!("{label} {} → {}", scale.text(base), scale.text(head))
        }
        (Some(base), None) => format!("{label} {} → {NOTHING}", scale.text(base)),
        (None, Some(head)) => format!("{label} {}", scale.text(head)),
        (None, None) => format!("{label} {NOTHING}"),
    }
}

/// What is to be known about a scenario beside its numbers.
fn notes(current: &ResultSet, scenario: &str) -> Vec<String> {
    let records: Vec<_> = current
        .runs
        .iter()
        .filter_map(|run| run.scenarios.get(scenario))
        .collect();
    let mut notes = Vec::new();
    let sum = |of: fn(&crate::results::ScenarioRecord) -> Option<u64>| -> Option<u64> {
        records.iter().map(|record| of(record)).sum()
    };
    if let (Some(sent), Some(ok)) = (sum(|record| record.sent), sum(|record| record.ok))
        && !records.is_empty()
    {
        notes.push(format!(
            "{} of {} requests answered in {}",
            count(ok),
            count(sent),
            plural(records.len(), "run", "runs")
        ));
    }
    for (validity, words) in DOUBTS {
        let many = records
            .iter()
            .filter(|record| record.validity == Some(*validity))
            .count();
        if many > 0 {
            notes.push(format!("⚠️ {words} in {} of {}", many, records.len()));
        }
    }
    let failed = records.iter().filter(|record| !record.passed).count();
    if failed > 0 {
        notes.push(format!("❌ failed in {} of {}", failed, records.len()));
    }
    let mut errors: Vec<String> = records
        .iter()
        .flat_map(|record| &record.errors)
        .map(|error| clean(error, SENTENCE))
        .collect();
    errors.dedup();
    notes.extend(errors);
    notes.truncate(NOTES);
    notes
}

const DOUBTS: &[(Validity, &str)] = &[
    (
        Validity::ClientLimited,
        "the client, not the server, was the limit",
    ),
    (Validity::ScheduleMissed, "requests were not sent when due"),
    (Validity::ServerErrored, "too many requests failed"),
    (
        Validity::GpuInvalid,
        "a GPU failed, was held back or was not ours alone",
    ),
    (Validity::Inconclusive, "too little was measured"),
];
