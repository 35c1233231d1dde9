//! The highest rate that passes: doubled until one fails, then bisected.
//!
//! Goodput is the highest request rate at which enough requests meet every objective
//! (`DistServe`, Zhong et al., OSDI 2024).

use super::{Point, PointResult, Step, by_level};

/// The first rate, in requests per second.
const FIRST: f64 = 1.0;
/// Rates outside of these are not searched.
const LOWEST: f64 = 0.01;
const HIGHEST: f64 = 1e5;
/// A bracket this narrow is found.
const CLOSE: f64 = 1.05;
/// A server keeps up when it finishes this share of what is asked.
const KEPT_UP: f64 = 0.95;
/// A queue has built up when the median latency is this many times that of the lowest rate.
/// Batching alone makes an answer several times slower than a single request's.
const EXPLODED: f64 = 10.0;

/// Whether a point passes, or why not.
type Check<'a> = dyn Fn(&PointResult) -> Result<(), String> + 'a;

/// Whether the server keeps up with the rate.
pub(super) fn sustained(done: &[PointResult]) -> impl Fn(&PointResult) -> Result<(), String> {
    let idle = by_level(done)
        .into_iter()
        .find_map(|result| result.e2e_p50_ms);
    move |result| {
        if let Some(why) = result.overload() {
            return Err(why);
        }
        let Some(finished) = result.request_rps else {
            return Err(format!("at {} no throughput was measured", result.point));
        };
        if finished < KEPT_UP * result.point.level() {
            let point = result.point;
            return Err(format!(
                "at {point} only {finished:.3} requests/s were finished"
            ));
        }
        match (idle, result.e2e_p50_ms) {
            (Some(idle), Some(now)) if now > EXPLODED * idle => {
                let times = now / idle;
                Err(format!(
                    "at {} latency was {times:.0} times the lowest rate's",
                    result.point
                ))
            }
            _ => Ok(()),
        }
    }
}

/// Whether this share of the requests met every objective.
pub(super) fn good(share: f64) -> impl Fn(&PointResult) -> Result<(), String> {
    move |result| {
        if let Some(why) = result.overload() {
            return Err(why);
        }
        match result.slo_attainment {
            Some(met) if met >= share => Ok(()),
            Some(met) => {
                let percent = met * 100.0;
                Err(format!(
                    "at {} {percent:.1} % of the requests met every objective",
                    result.point
                ))
            }
            None => Err(format!("at {} no request could be judged", result.point)),
        }
    }
}

/// The highest level that passes and below which none fails, and the lowest that fails.
fn bracket<'a>(
    done: &'a [PointResult],
    check: &Check<'_>,
) -> (Option<&'a PointResult>, Option<(&'a PointResult, String)>) {
    let mut passed = None;
    for result in by_level(done) {
        match check(result) {
            Ok(()) => passed = Some(result),
            Err(why) => return (passed, Some((result, why))),
        }
    }
    (passed, None)
}

pub(super) fn next(done: &[PointResult], check: &Check<'_>) -> Step {
    let rate = |rps: f64| Step::Measure(Point::Rate(rounded(rps)));
    match bracket(done, check) {
        (None, None) => rate(FIRST),
        (Some(passed), None) => {
            let level = passed.point.level();
            if level * 2.0 > HIGHEST {
                Step::Done(format!(
                    "{} passed, and no higher rate is searched",
                    passed.point
                ))
            } else {
                rate(level * 2.0)
            }
        }
        (None, Some((failed, why))) => {
            let level = failed.point.level();
            if level / 2.0 < LOWEST {
                Step::Done(format!("{why}, and no lower rate is searched"))
            } else {
                rate(level / 2.0)
            }
        }
        (Some(passed), Some((failed, why))) => {
            let (low, high) = (passed.point.level(), failed.point.level());
            let middle = rounded((low * high).sqrt());
            if high <= low * CLOSE || middle <= low || middle >= high {
                Step::Done(format!("{} passed; {why}", passed.point))
            } else {
                rate(middle)
            }
        }
    }
}

/// Three significant digits, so that rates make names that can be read and found again.
fn rounded(rps: f64) -> f64 {
    format!("{rps:.2e}").parse().unwrap_or(rps)
}

/// The highest rate with enough good requests. Open loops ask by their rate, closed loops by what
/// they finished.
pub(super) fn max_goodput(done: &[PointResult], share: f64) -> Option<f64> {
    let passed = bracket(done, &good(share)).0?;
    match passed.point {
        Point::Rate(rps) => Some(rps),
        Point::Concurrency(_) => passed.request_rps,
    }
}

/// The highest rate that the server kept up with.
pub(super) fn max_sustained(done: &[PointResult]) -> Option<f64> {
    match bracket(done, &sustained(done)).0?.point {
        Point::Rate(rps) => Some(rps),
        Point::Concurrency(_) => None,
    }
}
