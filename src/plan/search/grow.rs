//! The concurrency at which a closed loop saturates: doubled until throughput stays, then
//! refined around the knee.

use std::num::NonZeroU32;

use super::{GOODPUT_SHARE, Point, PointResult, Step, by_level, knee::highest_power};

/// Throughput that grows by less than this when concurrency doubles has ceased to grow.
const LEAST_GAIN: f64 = 0.05;
/// Neighbours of the knee this close to it are close enough.
const CLOSE: f64 = 1.25;

pub(super) fn next(most: NonZeroU32, done: &[PointResult]) -> Step {
    let sorted = by_level(done);
    let Some(end) = end(&sorted) else {
        let last = sorted.last().map(|result| level(result));
        return match last {
            None => measure(1),
            Some(last) if last >= most.get() => refine(
                &sorted,
                format!("concurrency {last} is the most allowed, and throughput still grew"),
            ),
            Some(last) => measure(last.saturating_mul(2).min(most.get())),
        };
    };
    refine(&sorted, end)
}

fn measure(level: u32) -> Step {
    Step::Measure(Point::Concurrency(
        NonZeroU32::new(level).unwrap_or(NonZeroU32::MIN),
    ))
}

fn level(result: &PointResult) -> u32 {
    match result.point {
        Point::Concurrency(level) => level.get(),
        Point::Rate(_) => 1,
    }
}

/// Why there is nothing to find above; looks at neighbours in order of their level.
fn end(sorted: &[&PointResult]) -> Option<String> {
    sorted.iter().enumerate().find_map(|(index, result)| {
        let missed = result
            .slo_attainment
            .filter(|share| *share < GOODPUT_SHARE)
            .map(|share| {
                let percent = share * 100.0;
                format!(
                    "at {} {percent:.1} % of the requests met every objective",
                    result.point
                )
            });
        let stalled = index
            .checked_sub(1)
            .and_then(|before| stalled(sorted.get(before)?, result));
        result.overload().or(missed).or(stalled)
    })
}

/// Whether throughput ceased to grow between two levels; points refined in between count by
/// their share of a doubling.
fn stalled(before: &PointResult, after: &PointResult) -> Option<String> {
    let doublings = (after.point.level() / before.point.level()).log2();
    let (Some(from), Some(to)) = (before.output_tps, after.output_tps) else {
        return Some(format!("at {} no throughput was measured", after.point));
    };
    // Less than a doubling apart, noise is as large as the growth that is asked for.
    if doublings < 0.99 {
        return None;
    }
    let gain = (to / from).powf(doublings.recip()) - 1.0;
    // Not a number, from a throughput of 0, is no growth either.
    (gain.is_nan() || gain < LEAST_GAIN).then(|| {
        format!(
            "from {} to {} output throughput grew by {:.1} %, less than {:.0} %",
            before.point,
            after.point,
            gain * 100.0,
            LEAST_GAIN * 100.0
        )
    })
}

/// The geometric middle between the knee and a neighbour, until both neighbours are close.
fn refine(sorted: &[&PointResult], end: String) -> Step {
    let owned: Vec<PointResult> = sorted.iter().map(|result| (*result).clone()).collect();
    let Some(best) = highest_power(&owned).map(level) else {
        return Step::Done(end);
    };
    let below = sorted.iter().rev().map(|r| level(r)).find(|l| *l < best);
    let above = sorted.iter().map(|r| level(r)).find(|l| *l > best);
    for neighbour in [above, below].into_iter().flatten() {
        let (low, high) = (best.min(neighbour), best.max(neighbour));
        if f64::from(high) <= f64::from(low) * CLOSE {
            continue;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between two levels"
        )]
        let middle = (f64::from(low) * f64::from(high)).sqrt().round() as u32;
        if middle > low && middle < high {
            return measure(middle);
        }
    }
    Step::Done(end)
}
