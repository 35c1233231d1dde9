//! Judged metrics to table rows.

use super::{
    Changed, Row, change, environment, pairs,
    words::{arrow, icon, tone, word},
};
use crate::{
    render::{
        ReportInput,
        budget::Detail,
        escape::clean,
        number::{NOTHING, Scale, count, plural},
    },
    verdict::{Judged, Stage, Verdict},
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

/// The verdict's word, and whether a regression would only be warned of.
const fn word_of(judged: &Judged) -> &'static str {
    match (judged.verdict, judged.gating, judged.stage) {
        (Verdict::Regressed, true, Stage::Warn) => "regressed, warns",
        (verdict, _, _) => word(verdict),
    }
}

/// Both sides' values: those that the change beside them was reckoned from.
pub(super) fn values(input: &ReportInput<'_>, judged: &Judged) -> (Option<f64>, Option<f64>) {
    let of = &judged.change;
    let used = pairs::used_values(input, judged);
    used.map_or((of.baseline, of.current), |(base, head)| {
        (Some(base), Some(head))
    })
}

fn value(scale: Scale, value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| scale.text(value))
}

/// One metric of one scenario; what has no direction was not judged and has no verdict.
pub(super) fn row(input: &ReportInput<'_>, judged: &Judged) -> Row {
    let of = &judged.change;
    let scale = scale(judged);
    let (base, head) = values(input, judged);
    Row {
        scenario: clean(&of.scenario, NAME),
        metric: clean(&of.metric.label, NAME),
        arrow: arrow(of.metric.better),
        base: value(scale, base),
        head: value(scale, head),
        delta: change::delta(judged),
        interval: change::cell(judged),
        limit: change::limits(judged),
        rests: change::rests(judged),
        requests: of
            .requests
            .map(|requests| format!("{} requests", count(requests))),
        spread: change::spread(judged),
        detectable: change::detectable(judged),
        icon: icon(judged.verdict),
        verdict: word_of(judged),
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
    // Where the conditions differ no row says anything about the code: what differs stands there.
    if input.baseline.is_err() || environment::is_drifted(input) {
        return None;
    }
    let all = changed_metrics(input);
    let rows: Vec<Row> = all
        .iter()
        .take(detail.rows)
        .map(|judged| row(input, judged))
        .collect();
    let left = all.len().saturating_sub(rows.len());
    (!rows.is_empty()).then(|| Changed {
        more: (left > 0).then(|| plural(left, "more row", "more rows")),
        rows,
    })
}
