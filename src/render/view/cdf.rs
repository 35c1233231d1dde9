//! Latency distributions, where the request traces are there: for each scenario the share of
//! requests that were at least as fast, pooled over the runs of a side.

use std::collections::BTreeSet;

use super::{Curve, Distribution, Tick, axis::coordinate};
use crate::{
    metric::describe,
    render::{
        ReportInput,
        escape::clean,
        number::{Scale, count},
    },
    results::ResultSet,
};

/// In this order, in every scenario that has them.
const QUANTITIES: [&str; 4] = ["ttft_ms", "itl_ms", "tpot_ms", "e2e_ms"];
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 130.0;
/// Points of a curve: more cannot be seen.
const POINTS: u32 = 100;
/// Charts in one report.
const CHARTS: usize = 32;
/// A distribution of fewer values is not drawn.
const FEWEST: usize = 10;

pub(super) fn distributions(input: &ReportInput<'_>) -> Vec<Distribution> {
    let scenarios: BTreeSet<&str> = input
        .current
        .runs
        .iter()
        .flat_map(|run| run.scenarios.keys())
        .map(String::as_str)
        .collect();
    scenarios
        .into_iter()
        .flat_map(|scenario| QUANTITIES.map(|quantity| (scenario, quantity)))
        .filter_map(|(scenario, quantity)| distribution(input, scenario, quantity))
        .take(CHARTS)
        .collect()
}

/// Values of all runs, sorted.
fn pooled(set: &ResultSet, scenario: &str, quantity: &str) -> Option<Vec<f64>> {
    let mut values: Vec<f64> = set
        .runs
        .iter()
        .filter_map(|run| run.scenarios.get(scenario)?.per_request.get(quantity))
        .flatten()
        .filter_map(|value| value.filter(|number| number.is_finite()))
        .collect();
    values.sort_by(f64::total_cmp);
    (values.len() >= FEWEST).then_some(values)
}

/// Nearest rank; `share` from 0 to 1.
fn at(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    // The product lies between 0 and `last`, far below 2^52.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is not negative and not larger than it"
    )]
    let rank = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
    sorted.get(rank.min(last)).copied().unwrap_or(0.0)
}

fn distribution(input: &ReportInput<'_>, scenario: &str, quantity: &str) -> Option<Distribution> {
    let head = pooled(input.current, scenario, quantity)?;
    let base = input
        .baseline
        .ok()
        .and_then(|set| pooled(set, scenario, quantity));
    let metric = describe(quantity);
    let sides = [Some(&head), base.as_ref()];
    let low = sides
        .iter()
        .flatten()
        .map(|side| at(side, 0.0))
        .fold(f64::MAX, f64::min);
    let high = sides
        .iter()
        .flatten()
        .map(|side| at(side, 0.99))
        .fold(low, f64::max);
    // A single value still gets a line.
    let width = (high - low).max(high.abs() * 0.01).max(1e-9);
    let axis = Axis {
        from: (low - width * 0.04).max(0.0),
        to: high + width * 0.04,
    };
    let scale = Scale::of(metric.unit, at(base.as_ref().unwrap_or(&head), 0.5));
    let head = curve(&head, &axis, scale);
    let base = base.map(|side| curve(&side, &axis, scale));
    let spoken = base.as_ref().map_or_else(
        || format!("median {}, 99th percentile {}", head.p50, head.p99),
        |base| {
            format!(
                "median {} before and {} now, 99th percentile {} before and {} now",
                base.p50, head.p50, base.p99, head.p99
            )
        },
    );
    Some(Distribution {
        title: metric.label,
        scenario: clean(scenario, 80),
        ticks: [0.0, 0.5, 1.0]
            .map(|share| {
                let value = axis.from + share * (axis.to - axis.from);
                Tick {
                    at: coordinate(share * WIDTH),
                    label: scale.text(value),
                }
            })
            .into(),
        base,
        head,
        spoken,
    })
}

struct Axis {
    from: f64,
    to: f64,
}

fn curve(sorted: &[f64], axis: &Axis, scale: Scale) -> Curve {
    let x = |value: f64| {
        let share = (value - axis.from) / (axis.to - axis.from);
        coordinate(share.clamp(0.0, 1.0) * WIDTH)
    };
    let mut path = format!("M{} {}", x(at(sorted, 0.0)), coordinate(HEIGHT));
    for point in 1..POINTS {
        let share = f64::from(point) / f64::from(POINTS);
        let y = coordinate(HEIGHT * (1.0 - share));
        for part in ["L", &x(at(sorted, share)), " ", &y] {
            path.push_str(part);
        }
    }
    Curve {
        path,
        samples: count(u64::try_from(sorted.len()).unwrap_or(u64::MAX)),
        p50: scale.text(at(sorted, 0.5)),
        p99: scale.text(at(sorted, 0.99)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Unit;

    #[test]
    fn a_curve_starts_at_the_smallest_and_ends_at_the_99th() {
        let values: Vec<f64> = (1..=101).map(f64::from).collect();
        assert!((at(&values, 0.5) - 51.0).abs() < 1e-12);
        let axis = Axis {
            from: 1.0,
            to: 101.0,
        };
        let curve = curve(&values, &axis, Scale::of(Unit::Milliseconds, 50.0));
        assert!(
            curve.path.starts_with("M0.0 130.0L4.0 128.7"),
            "{}",
            curve.path
        );
        assert!(curve.path.ends_with("L396.0 1.3"), "{}", curve.path);
        assert_eq!(curve.p99, "100.0\u{a0}ms");
    }
}
