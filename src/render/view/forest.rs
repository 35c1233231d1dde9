//! The chart of intervals: one line per gating metric, drawn so that worse is always to the
//! right, over the zone that decides.
//!
//! A position is `exp(y) − 1` with `y` the log-ratio in the direction of worse: for a latency
//! that is the relative change itself, for a throughput the rise in time that the drop means.
//! The zones are given in the same measure, so the picture shows what was decided.

use super::{
    Forest, ForestRow,
    axis::{Axis, coordinate, worsening},
    change,
    rows::{changed_metrics, row},
};
use crate::{
    render::ReportInput,
    verdict::{Judged, Verdict, Zone},
};

const WIDTH: f64 = 940.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 790.0;
const ROW: f64 = 46.0;
const TOP: f64 = 8.0;
/// Rows of the chart; the tables hold the rest.
const ROWS: usize = 40;
/// The axis never shows less than this to either side.
const NARROWEST: f64 = 0.04;
/// Nor more: a longer interval is cut at the edge.
const WIDEST: f64 = 1.0;

/// One interval, worse positive.
struct Bar<'a> {
    judged: &'a Judged,
    zone: Zone,
    from: f64,
    to: f64,
    point: f64,
}

pub(super) fn forest(input: &ReportInput<'_>) -> Option<Forest> {
    // A change that is not one of the code has no place on the scale of the limits.
    let changed = changed_metrics(input).into_iter().filter(|judged| {
        matches!(
            judged.verdict,
            Verdict::Regressed | Verdict::Inconclusive | Verdict::Improved
        )
    });
    let unchanged = input
        .decision
        .metrics
        .iter()
        .filter(|judged| judged.gating && judged.verdict == Verdict::Unchanged);
    let bars: Vec<Bar<'_>> = changed
        .chain(unchanged)
        .filter_map(bar)
        .take(ROWS)
        .collect();
    if bars.is_empty() {
        return None;
    }
    let extent = |pick: fn(&Bar<'_>) -> f64| bars.iter().map(pick).fold(NARROWEST, f64::max);
    let right = (extent(|bar| bar.to.max(bar.zone.gate_effect * 1.25)) * 1.06).min(WIDEST);
    let left = (extent(|bar| -bar.from) * 1.06).min(WIDEST);
    let axis = Axis {
        low: -left,
        high: right,
        start: LEFT,
        end: RIGHT,
    };
    let bottom = bars.len() as f64 * ROW + TOP;
    Some(Forest {
        width: coordinate(WIDTH),
        height: coordinate(bottom + 46.0),
        plot_left: coordinate(LEFT),
        plot_right: coordinate(RIGHT),
        plot_bottom: coordinate(bottom),
        axis_y: coordinate(bottom + 16.0),
        caption_y: coordinate(bottom + 37.0),
        zero: coordinate(axis.at(0.0)),
        ticks: axis.ticks(9.0),
        without_shares: input
            .decision
            .metrics
            .iter()
            .any(|judged| judged.gating && change::is_share(judged)),
        clipped: bars.iter().any(|bar| bar.to > right || -bar.from > left),
        rows: bars
            .iter()
            .enumerate()
            .map(|(place, bar)| line(input, bar, place, &axis))
            .collect(),
    })
}

fn bar(judged: &Judged) -> Option<Bar<'_>> {
    let better = judged.change.metric.better?;
    let point = worsening(better, judged.relative()?);
    let (low, high) = judged.interval?;
    let (a, b) = (worsening(better, low), worsening(better, high));
    (point.is_finite() && !a.is_nan() && !b.is_nan()).then(|| Bar {
        judged,
        zone: judged
            .zone
            .unwrap_or_else(|| Zone::of(judged.change.metric.statistic)),
        from: a.min(b),
        to: a.max(b),
        point,
    })
}

fn line(input: &ReportInput<'_>, bar: &Bar<'_>, place: usize, axis: &Axis) -> ForestRow {
    let top = place as f64 * ROW + TOP;
    let text = row(input, bar.judged);
    let (min, gate) = (bar.zone.min_effect, bar.zone.gate_effect);
    let interval = text.interval.clone().unwrap_or_default();
    ForestRow {
        spoken: format!(
            "{} in {}: {}, {} ({interval})",
            text.metric, text.scenario, text.verdict, text.delta
        ),
        metric: format!("{} {}", text.metric, text.arrow),
        scenario: text.scenario,
        tone: text.tone,
        verdict: text.verdict,
        delta: text.delta,
        top: coordinate(top + 3.0),
        band: coordinate(ROW - 6.0),
        label_y: coordinate(top + 20.0),
        sub_y: coordinate(top + 36.0),
        middle: coordinate(top + ROW / 2.0),
        from: coordinate(axis.at(bar.from)),
        to: coordinate(axis.at(bar.to)),
        point: coordinate(axis.at(bar.point)),
        value_x: coordinate(RIGHT + 14.0),
        better_x: coordinate(LEFT),
        better_width: coordinate((axis.at(-min) - LEFT).max(0.0)),
        zone_x: coordinate(axis.at(min)),
        zone_width: coordinate(axis.at(gate) - axis.at(min)),
        worse_x: coordinate(axis.at(gate)),
        worse_width: coordinate((RIGHT - axis.at(gate)).max(0.0)),
    }
}
