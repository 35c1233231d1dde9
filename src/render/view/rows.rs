//! Judged metrics to table rows.

use super::{
    Changed, Row, change,
    words::{arrow, design, icon, tone, word},
};
use crate::{
    render::{
        ReportInput,
        budget::Detail,
        escape::clean,
        number::{NOTHING, Scale, count, plural},
    },
    verdict::{Judged, Verdict},
};

/// Longest name in a table, in characters.
const NAME: usize = 80;
/// Longest sentence from outside, in characters.
const SENTENCE: usize = 300;

/// The scale of both sides: the base decides, unless it is absent or zero.
pub(super) fn scale(judged: &Judged) -> Scale {
    let change = &judged.change;
    let base = change.baseline.filter(|value| *value != 0.0);
    let reference = base.or(change.current).unwrap_or(0.0);
    Scale::of(change.metric.unit, reference)
}

fn value(scale: Scale, value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| scale.text(value))
}

/// One metric of one scenario; what has no direction was not judged and has no verdict.
pub(super) fn row(judged: &Judged) -> Row {
    let of = &judged.change;
    let scale = scale(judged);
    let runs = of.estimate.map(|estimate| estimate.runs);
    Row {
        scenario: clean(&of.scenario, NAME),
        metric: clean(&of.metric.label, NAME),
        arrow: arrow(of.metric.better),
        base: value(scale, of.baseline),
        head: value(scale, of.current),
        delta: change::delta(judged),
        interval: change::cell(judged),
        limit: change::limits(judged),
        runs: runs.map_or_else(
            || NOTHING.to_owned(),
            |(base, head)| format!("{base}\u{a0}+\u{a0}{head}"),
        ),
        design: of
            .estimate
            .map_or(NOTHING, |estimate| design(estimate.design)),
        detectable: change::detectable(judged),
        icon: icon(judged.verdict),
        verdict: word(judged.verdict),
        tone: tone(judged.verdict),
        needs: judged
            .needs
            .map(|needed| format!("needs {} requests", count(needed))),
        proven: matches!(judged.verdict, Verdict::Regressed | Verdict::Improved),
        gating: judged.gating,
        reason: clean(&judged.reason, SENTENCE),
    }
}

/// Gating metrics that are not unchanged, most urgent and then worst first.
pub(super) fn changed_metrics<'a>(input: &ReportInput<'a>) -> Vec<&'a Judged> {
    let mut found: Vec<&Judged> = input
        .decision
        .metrics
        .iter()
        .filter(|judged| judged.gating && judged.verdict != Verdict::Unchanged)
        .collect();
    found.sort_by(|a, b| {
        let severity = b.severity().abs().total_cmp(&a.severity().abs());
        a.verdict.cmp(&b.verdict).then(severity)
    });
    found
}

pub(super) fn changed(input: &ReportInput<'_>, detail: &Detail) -> Option<Changed> {
    if input.baseline.is_err() {
        return None;
    }
    let all = changed_metrics(input);
    let rows: Vec<Row> = all
        .iter()
        .take(detail.rows)
        .map(|judged| row(judged))
        .collect();
    let left = all.len().saturating_sub(rows.len());
    (!rows.is_empty()).then(|| Changed {
        more: (left > 0).then(|| plural(left, "more row", "more rows")),
        rows,
    })
}
