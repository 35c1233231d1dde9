//! What stands in the way of comparing two values that are both there.
//!
//! In: both sides of one scenario. Out: the first obstacle in the order of
//! `research/regression-statistics.md` §6.

use super::Obstacle;
use crate::{
    measure::Validity,
    metric::{Metric, Statistic},
    results::{ResultSet, ScenarioRecord},
};

/// The current side must answer at least this share of what the baseline answered; otherwise
/// its latencies are those of the requests that survived.
const SURVIVORS: f64 = 0.99;
/// Mean output lengths may differ by this factor.
const LENGTH_FACTOR: f64 = 1.01;
/// Request counts of two runs that differ by more than this factor give tails that differ in
/// expectation when there are too few requests for the tail.
const COUNT_FACTOR: f64 = 1.1;

/// Requests per run below which a statistic does not gate: at least 10 / (1 − p) for a quantile
/// (`research/regression-statistics.md` §6). The mean follows the median.
pub const fn needed_requests(statistic: Statistic) -> u64 {
    match statistic {
        Statistic::Mean | Statistic::P50 | Statistic::Deviation | Statistic::Proportion => 20,
        Statistic::P90 => 100,
        Statistic::P95 => 200,
        Statistic::P99 | Statistic::Min | Statistic::Max => 1000,
    }
}

/// The records of one scenario on one side, one per run that has it.
pub(super) type Records<'a> = Vec<&'a ScenarioRecord>;

/// All records of a scenario, one per run that has it.
pub(super) fn records<'a>(side: &'a ResultSet, scenario: &str) -> Records<'a> {
    side.runs
        .iter()
        .filter_map(|run| run.scenarios.get(scenario))
        .collect()
}

/// Whether a run says of itself that its numbers tell nothing about the engine.
pub(super) fn is_void(record: &ScenarioRecord) -> bool {
    record.validity.is_some_and(Validity::is_void)
}

/// The first obstacle that the measurement itself puts in the way.
pub(super) fn obstacle(
    baseline: &[&ScenarioRecord],
    current: &[&ScenarioRecord],
    metric: &Metric,
) -> Option<Obstacle> {
    // A share of failures is what these checks are about: it is never hidden by them.
    if metric.name == "error_rate" {
        return None;
    }
    if survivors(baseline, current) {
        return Some(Obstacle::Survivors);
    }
    if depends_on_length(&metric.name) && lengths_differ(baseline, current) {
        return Some(Obstacle::OutputLength);
    }
    let all = || baseline.iter().chain(current);
    if all().any(|record| is_void(record)) {
        return Some(Obstacle::Invalid);
    }
    all()
        .any(|record| record.validity == Some(Validity::Inconclusive))
        .then_some(Obstacle::Unsettled)
}

fn success(side: &[&ScenarioRecord]) -> Option<f64> {
    let (mut sent, mut ok) = (0.0, 0.0);
    for record in side {
        sent += record.sent? as f64;
        ok += record.ok? as f64;
    }
    (sent > 0.0).then(|| ok / sent)
}

fn survivors(baseline: &[&ScenarioRecord], current: &[&ScenarioRecord]) -> bool {
    let shares = success(baseline).zip(success(current));
    shares.is_some_and(|(baseline, current)| survive(baseline, current))
}

/// Whether so few requests succeed now that what is measured is the survivors: below 99 % of the
/// baseline's share.
pub fn survive(baseline: f64, current: f64) -> bool {
    current < SURVIVORS * baseline
}

fn lengths_differ(baseline: &[&ScenarioRecord], current: &[&ScenarioRecord]) -> bool {
    let length = |side: &[&ScenarioRecord]| {
        let lengths: Vec<f64> = side
            .iter()
            .filter_map(|record| record.output_tokens_mean)
            .collect();
        super::statistic::mean(&lengths).filter(|mean| *mean > 0.0)
    };
    match (length(baseline), length(current)) {
        (Some(b), Some(c)) => b.max(c) > LENGTH_FACTOR * b.min(c),
        (None, _) | (_, None) => false,
    }
}

/// Whether longer answers alone would change this metric: totals, rates over whole requests and
/// energy do, times per token and to the first token do not.
fn depends_on_length(name: &str) -> bool {
    const PER_TOKEN: [&str; 5] = ["ttft", "itl", "tpot", "per_token", "inter_token"];
    const WHOLE: [&str; 6] = ["tps", "rps", "e2e", "latency", "throughput", "energy"];
    !PER_TOKEN.iter().any(|part| name.contains(part))
        && WHOLE.iter().any(|part| name.contains(part))
        || name.starts_with("energy")
}

/// Requests per run that a metric rests on: the smallest over all runs of both sides. `None`
/// when no run tells.
pub(super) fn requests(sides: &[&[&ScenarioRecord]], metric: &Metric) -> Option<u64> {
    counts(sides, metric).min()
}

/// Whether two sides estimate different tails: too few requests for the tail on the smaller side
/// and noticeably different numbers of them. The expected largest of 20 and of 200 requests differ
/// even when nothing changed, and repeating runs does not cure that.
pub(super) fn tails_differ(sides: &[&[&ScenarioRecord]], metric: &Metric) -> bool {
    if matches!(
        metric.statistic,
        Statistic::Mean | Statistic::P50 | Statistic::Proportion
    ) {
        return false;
    }
    let needed = needed_requests(metric.statistic);
    let smallest = counts(sides, metric).min();
    let largest = counts(sides, metric).max();
    smallest
        .zip(largest)
        .is_some_and(|(low, high)| low < needed && high as f64 > COUNT_FACTOR * low as f64)
}

fn counts<'a>(
    sides: &'a [&'a [&'a ScenarioRecord]],
    metric: &'a Metric,
) -> impl Iterator<Item = u64> + 'a {
    sides
        .iter()
        .flat_map(|side| side.iter())
        .filter(|record| record.metrics.contains_key(&metric.name))
        .filter_map(|record| requests_of(record, &metric.name))
}

fn requests_of(record: &ScenarioRecord, name: &str) -> Option<u64> {
    let quantity = name.split_once('.').map_or(name, |(quantity, _)| quantity);
    // Samples may be finer than requests (gaps between tokens); requests are what repeats.
    let samples = record.samples.get(quantity).copied();
    let known = [samples, record.ok].into_iter().flatten().min();
    known.or_else(|| kitt_iterations(record))
}

/// KITT counts its requests in a metric of their own.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a saturating cast of a count; what is no count becomes 0, too few for anything"
)]
fn kitt_iterations(record: &ScenarioRecord) -> Option<u64> {
    let iterations = record.metrics.get("total_iterations").copied()?;
    Some(iterations as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_depend_on_length_and_times_per_token_do_not() {
        for name in [
            "output_tps",
            "total_tps",
            "request_rps",
            "e2e_ms.p90",
            "avg_tps",
            "p99_latency_ms",
            "total_latency_ms.avg",
            "throughput_at_4",
            "energy_per_output_token_j",
        ] {
            assert!(depends_on_length(name), "{name}");
        }
        for name in [
            "ttft_ms.p50",
            "itl_ms.mean",
            "tpot_ms.p50",
            "avg_inter_token_ms.avg",
            "per_token_ms.avg",
            "gpu_memory_peak_gb",
        ] {
            assert!(!depends_on_length(name), "{name}");
        }
    }

    #[test]
    fn a_quantile_needs_ten_requests_beyond_it() {
        assert_eq!(needed_requests(Statistic::P50), 20);
        assert_eq!(needed_requests(Statistic::P90), 100);
        assert_eq!(needed_requests(Statistic::P99), 1000);
    }
}
