//! Without a baseline: the numbers of the gating metrics, one scenario a line.

use std::collections::{BTreeMap, BTreeSet};

use super::{Absolute, AbsoluteRow, rows::scale, words::arrow};
use crate::{
    metric::DEFAULT_GATING,
    render::{
        ReportInput,
        budget::Detail,
        escape::clean,
        number::{NOTHING, plural},
    },
    verdict::Judged,
};

/// Longest name in the table, in characters.
const NAME: usize = 80;
/// Columns that fit beside each other; the folded tables hold the rest.
const COLUMNS: usize = 7;

/// The table; `None` with a baseline, and where nothing gates.
pub(super) fn absolute(input: &ReportInput<'_>, detail: &Detail) -> Option<Absolute> {
    if input.baseline.is_ok() || detail.rows == 0 {
        return None;
    }
    let gating: Vec<&Judged> = input
        .decision
        .metrics
        .iter()
        .filter(|judged| judged.gating)
        .collect();
    let columns: BTreeSet<(usize, &str)> = gating.iter().map(|judged| column(judged)).collect();
    let mut scenarios: BTreeMap<&str, BTreeMap<(usize, &str), &Judged>> = BTreeMap::new();
    for judged in &gating {
        let row = scenarios.entry(&judged.change.scenario).or_default();
        row.insert(column(judged), judged);
    }
    let shown: Vec<_> = columns.iter().take(COLUMNS).collect();
    let heads = shown.iter().filter_map(|key| {
        let judged = gating.iter().find(|judged| column(judged) == **key)?;
        let metric = &judged.change.metric;
        Some(format!(
            "{}\u{a0}{}",
            clean(&metric.label, NAME),
            arrow(metric.better)
        ))
    });
    let metrics: Vec<String> = heads.collect();
    let cell = |judged: Option<&&Judged>| {
        let value = judged.and_then(|judged| Some(scale(judged).text(judged.change.current?)));
        value.unwrap_or_else(|| NOTHING.to_owned())
    };
    let rows: Vec<AbsoluteRow> = scenarios
        .iter()
        .take(detail.rows)
        .map(|(scenario, row)| AbsoluteRow {
            scenario: clean(scenario, NAME),
            values: shown.iter().map(|key| cell(row.get(*key))).collect(),
        })
        .collect();
    (!rows.is_empty()).then(|| Absolute {
        more: more(columns.len() - shown.len(), scenarios.len() - rows.len()),
        metrics,
        scenarios: rows,
    })
}

/// The place of a metric: the order in which the default list names them, then by name.
fn column(judged: &Judged) -> (usize, &str) {
    let name = judged.change.metric.name.as_str();
    let place = DEFAULT_GATING.iter().position(|known| *known == name);
    (place.unwrap_or(DEFAULT_GATING.len()), name)
}

fn more(columns: usize, rows: usize) -> Option<String> {
    let mut parts = Vec::new();
    if columns > 0 {
        parts.push(plural(columns, "more metric", "more metrics"));
    }
    if rows > 0 {
        parts.push(plural(rows, "more scenario", "more scenarios"));
    }
    (!parts.is_empty()).then(|| parts.join(" and "))
}
