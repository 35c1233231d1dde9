//! The absolute limits as a table.

use super::LimitRow;
use crate::{
    render::{escape::clean, number::Scale},
    verdict::LimitCheck,
};

/// Longest name in a table, in characters.
const NAME: usize = 80;

/// The absolute limits, broken ones first.
pub(super) fn limits(checks: &[LimitCheck]) -> Option<Vec<LimitRow>> {
    let mut rows: Vec<LimitRow> = checks.iter().map(limit).collect();
    rows.sort_by_key(|row| row.tone != "bad");
    (!rows.is_empty()).then_some(rows)
}

fn limit(check: &LimitCheck) -> LimitRow {
    let metric = &check.metric;
    let scenario = check.scenario.as_ref().or(check.limit.scenario.as_ref());
    LimitRow {
        metric: clean(&metric.label, NAME),
        scenario: scenario.map_or_else(|| "all".to_owned(), |name| clean(name, NAME)),
        bound: bound(check),
        value: check.value.map_or_else(
            || "not measured".to_owned(),
            |value| Scale::of(metric.unit, value).text(value),
        ),
        icon: if check.holds { "✅" } else { "❌" },
        verdict: if check.holds { "holds" } else { "broken" },
        tone: if check.holds { "good" } else { "bad" },
    }
}

/// `at most 500 ms`.
pub(super) fn bound(check: &LimitCheck) -> String {
    let unit = check.metric.unit;
    let part = |word: &str, limit: Option<f64>| {
        limit.map(|limit| format!("{word} {}", Scale::of(unit, limit).exact(limit)))
    };
    let parts = [
        part("at least", check.limit.min),
        part("at most", check.limit.max),
    ];
    parts
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" and ")
}
