//! Pair by pair: what each pair of runs showed, in the order of measurement, over the zone that
//! decides. Worse is up, in the measure of [`super::forest`].

use super::{
    PairByPair, PairChart, PairDot, PairEstimate, PairRow, Tick,
    axis::{Axis, coordinate, worsening},
    change,
    rows::{changed_metrics, scale},
    words::{arrow, icon, tone, word},
};
use crate::{
    compare::{Design, level},
    metric::Better,
    render::{
        ReportInput,
        escape::clean,
        number::{NOTHING, Scale, plural, relative},
    },
    results::{Pair, ResultSet, Side},
    verdict::{Judged, Verdict, Zone},
};

/// Plot area of the pairs; mean and interval stand to the right of it.
const WIDTH: f64 = 330.0;
const HEIGHT: f64 = 150.0;
const ESTIMATE_X: f64 = 365.0;
/// The axis never shows less than this to either side, nor more than this.
const NARROWEST: f64 = 0.02;
const WIDEST: f64 = 1.0;
/// Charts in one report.
const CHARTS: usize = 48;
/// Longest text from outside, in characters.
const NAME: usize = 80;
const SENTENCE: usize = 200;
/// Two logs of the same ratio of the same numbers.
const SAME: f64 = 1e-9;

/// What one pair showed.
struct Point {
    /// Its number in the order of measurement, from 1.
    number: usize,
    first: Option<Side>,
    base: Option<f64>,
    head: Option<f64>,
    /// Relative change in the metric's own direction.
    change: Option<f64>,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// The decision rests on it.
    Used,
    /// Measured after the decision.
    Late,
    /// It does not count, and why.
    Void(String),
}

impl Kind {
    const fn class(&self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Late => "late",
            Self::Void(_) => "void",
        }
    }
}

/// A chart of every gating metric that was measured in pairs.
pub(super) fn pairs(input: &ReportInput<'_>) -> Option<PairByPair> {
    let changed = changed_metrics(input);
    let unchanged = input.decision.metrics.iter();
    let unchanged = unchanged.filter(|one| one.gating && one.verdict == Verdict::Unchanged);
    let drawn = |judged: &&Judged| {
        judged
            .change
            .pairs
            .as_ref()
            .is_some_and(|one| !one.is_empty())
    };
    let all: Vec<&Judged> = changed.into_iter().chain(unchanged).filter(drawn).collect();
    let charts = all.iter().take(CHARTS).enumerate();
    let charts =
        charts.filter_map(|(place, judged)| Some((judged.verdict, chart(input, judged, place)?)));
    let (other, changed): (Vec<_>, Vec<_>) =
        charts.partition(|(verdict, _)| *verdict == Verdict::Unchanged);
    let only = |charts: Vec<(Verdict, PairChart)>| -> Vec<PairChart> {
        charts.into_iter().map(|(_, chart)| chart).collect()
    };
    (!all.is_empty()).then(|| PairByPair {
        others: plural(other.len(), "unchanged metric", "unchanged metrics"),
        changed_charts: only(changed),
        other_charts: only(other),
    })
}

fn chart(input: &ReportInput<'_>, judged: &Judged, place: usize) -> Option<PairChart> {
    let better = judged.change.metric.better?;
    let points = points(input, judged);
    let zone = judged
        .zone
        .unwrap_or_else(|| Zone::of(judged.change.metric.statistic));
    let interval = interval(judged, better);
    let axis = axis(&points, better, zone, interval);
    let spacing = WIDTH / points.len().max(1) as f64;
    let x = |position: usize| (position as f64 + 0.5) * spacing;
    let y = |value: f64| coordinate(axis.at(value));
    let height = |top: f64, bottom: f64| coordinate(axis.at(bottom) - axis.at(top));
    let (min, gate) = (zone.min_effect, zone.gate_effect);
    let dots = points.iter().enumerate().map(|(position, point)| PairDot {
        class: point.kind.class(),
        x: coordinate(x(position)),
        y: y(point.change.map_or(0.0, |change| worsening(better, change))),
        number: point.number.to_string(),
    });
    let last_used = points.iter().rposition(|point| point.kind == Kind::Used);
    let label = clean(&judged.change.metric.label, NAME);
    Some(PairChart {
        id: format!("pairs-{place}"),
        metric: format!("{label} {}", arrow(Some(better))),
        scenario: clean(&judged.change.scenario, NAME),
        icon: icon(judged.verdict),
        verdict: word(judged.verdict),
        tone: tone(judged.verdict),
        spoken: spoken(judged, &points),
        worse_height: height(axis.high, gate),
        zone_y: y(gate),
        zone_height: height(gate, min),
        better_y: y(-min),
        better_height: height(-min, axis.low),
        zero: y(0.0),
        ticks: axis.ticks(6.0),
        dots: dots.collect(),
        estimate: interval
            .zip(judged.relative())
            .map(|((from, to), change)| PairEstimate {
                x: coordinate(ESTIMATE_X),
                from: y(from),
                to: y(to),
                point: y(worsening(better, change)),
            }),
        look: last_used
            .filter(|_| is_paired(judged))
            .map(|position| Tick {
                at: coordinate(x(position) + spacing / 2.0),
                label: look(judged.verdict).to_owned(),
            }),
        pair_rows: table(&points, scale(judged)),
    })
}

/// What the look that the estimate belongs to is called.
fn look(verdict: Verdict) -> &'static str {
    if verdict == Verdict::Inconclusive {
        "last look"
    } else {
        "decided"
    }
}

fn is_paired(judged: &Judged) -> bool {
    let estimate = judged.change.estimate;
    estimate.is_some_and(|estimate| estimate.design == Design::Paired)
}

/// The interval, worse positive.
fn interval(judged: &Judged, better: Better) -> Option<(f64, f64)> {
    let (low, high) = judged.interval.filter(|_| is_paired(judged))?;
    let (a, b) = (worsening(better, low), worsening(better, high));
    Some((a.min(b), a.max(b)))
}

/// Worse at the top: coordinate 0.
fn axis(points: &[Point], better: Better, zone: Zone, interval: Option<(f64, f64)>) -> Axis {
    let counting = points
        .iter()
        .filter(|point| !matches!(point.kind, Kind::Void(_)));
    let changes = counting.filter_map(|point| point.change);
    let values: Vec<f64> = changes
        .map(|change| worsening(better, change))
        .chain(interval.into_iter().flat_map(|(from, to)| [from, to]))
        .filter(|value| value.is_finite())
        .collect();
    let extent = |sign: f64, least: f64| {
        let most = values
            .iter()
            .map(|value| sign * value)
            .fold(least, f64::max);
        (most * 1.1).min(WIDEST)
    };
    Axis {
        low: -extent(-1.0, NARROWEST),
        high: extent(1.0, zone.gate_effect * 1.15),
        start: HEIGHT,
        end: 0.0,
    }
}

/// Both sides' values over the pairs that the decision rests on, as geometric means. `None` where
/// it rests on all that count, or nobody knows which they are.
pub(super) fn used_values(input: &ReportInput<'_>, judged: &Judged) -> Option<(f64, f64)> {
    let measured = judged.change.pairs.as_ref()?.len();
    let used = judged.change.estimate.filter(|_| is_paired(judged))?.runs.0;
    if used >= measured {
        return None;
    }
    let points = points(input, judged);
    let used = || points.iter().filter(|point| point.kind == Kind::Used);
    let base: Option<Vec<f64>> = used().map(|point| point.base).collect();
    let head: Option<Vec<f64>> = used().map(|point| point.head).collect();
    Some((level(&base?)?, level(&head?)?))
}

/// Every pair in the order of measurement. Which of them count is told by their log-ratios: the
/// comparison has left out what it could not use.
fn points(input: &ReportInput<'_>, judged: &Judged) -> Vec<Point> {
    let logs = judged.change.pairs.as_ref();
    let logs: &[f64] = logs.map_or(&[], |pairs| pairs.log_ratios.as_slice());
    let used = judged.change.estimate.map_or(0, |estimate| estimate.runs.0);
    let kind = |position: usize| {
        if position < used {
            Kind::Used
        } else {
            Kind::Late
        }
    };
    let (Some(pairs), Ok(baseline)) = (input.pairs, input.baseline) else {
        let point = |(position, log): (usize, &f64)| Point {
            number: position + 1,
            first: None,
            base: None,
            head: None,
            change: Some(log.exp_m1()),
            kind: kind(position),
        };
        return logs.iter().enumerate().map(point).collect();
    };
    let mut left = logs.iter().enumerate().peekable();
    let point = |(position, pair): (usize, &Pair)| {
        let base = value(baseline, pair.baseline, judged);
        let head = value(input.current, pair.current, judged);
        let log = base.zip(head).map(|(base, head)| (head / base).ln());
        let next = left.peek().filter(|(_, next)| {
            pair.void.is_none() && log.is_some_and(|log| (log - **next).abs() < SAME)
        });
        let kind = match (next, &pair.void) {
            (Some((place, _)), _) => kind(*place),
            (None, Some(why)) => Kind::Void(clean(why, SENTENCE)),
            (None, None) => Kind::Void("a run of it is not valid".to_owned()),
        };
        if !matches!(kind, Kind::Void(_)) {
            left.next();
        }
        Point {
            number: position + 1,
            first: Some(pair.first),
            change: log.map(f64::exp_m1).filter(|change| change.is_finite()),
            base,
            head,
            kind,
        }
    };
    pairs.pairs.iter().enumerate().map(point).collect()
}

fn value(side: &ResultSet, number: u32, judged: &Judged) -> Option<f64> {
    let run = side.runs.iter().find(|run| run.number == number)?;
    let record = run.scenarios.get(&judged.change.scenario)?;
    record.metrics.get(&judged.change.metric.name).copied()
}

fn table(points: &[Point], scale: Scale) -> Vec<PairRow> {
    let text = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), |v| scale.text(v));
    let row = |point: &Point| PairRow {
        number: point.number.to_string(),
        first: match point.first {
            Some(Side::Baseline) => "base",
            Some(Side::Current) => "head",
            None => NOTHING,
        },
        base: text(point.base),
        head: text(point.head),
        delta: point.change.map_or_else(|| NOTHING.to_owned(), relative),
        counts: match &point.kind {
            Kind::Used => "yes".to_owned(),
            Kind::Late => "measured after the decision".to_owned(),
            Kind::Void(why) => format!("void: {why}"),
        },
    };
    points.iter().map(row).collect()
}

/// `Mean change +8.0 % (99.8 % interval …), decided after 4 of 6 pairs; …`.
fn spoken(judged: &Judged, points: &[Point]) -> String {
    let mut parts = vec![format!("Mean change {}", change::delta(judged))];
    parts.extend(change::spoken_interval(judged));
    let count = |kind: &dyn Fn(&Kind) -> bool| points.iter().filter(|one| kind(&one.kind)).count();
    let used = count(&|kind| *kind == Kind::Used);
    let void = count(&|kind| matches!(kind, Kind::Void(_)));
    let good = points.len() - void;
    let looked = match judged.verdict {
        Verdict::Regressed | Verdict::Improved | Verdict::Unchanged => "decided",
        Verdict::Missing | Verdict::Incomparable | Verdict::Inconclusive | Verdict::New => "open",
    };
    let of = if used == good {
        plural(used, "pair", "pairs")
    } else {
        format!("{used} of {good} pairs")
    };
    parts.push(format!("{looked} after {of}"));
    parts.extend((void > 0).then(|| format!("{void} void")));
    parts.push(format!("spread of one run {}", change::spread(judged)));
    let provable = change::detectable(judged);
    parts.push(format!("smallest provable worsening {provable}"));
    parts.join("; ")
}
