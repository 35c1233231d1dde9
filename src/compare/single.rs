//! One run against one: what is assumed, and the estimate that follows.
//!
//! In: summaries and, where there are any, per-request values. Out: a provisional estimate.
//! Constants are those of `research/regression-statistics.md` §4, §4.4 and §6.

use super::{
    Bootstrap, Estimate, Obstacle,
    bootstrap::{Run, log_ratio_deviation},
    estimate::{declared, logs},
    needed_requests,
    statistic::summarise,
};
use crate::{
    metric::{Metric, Statistic},
    results::ScenarioRecord,
};

/// Run-to-run coefficient of variation when nobody declared one: an upper bound, since one that
/// is too small blocks innocent changes 20–40 % of the time (§0.7).
const UNDECLARED_CV: f64 = 0.05;

/// The run-to-run coefficient of variation of a statistic: what was declared, or 5 %; tails vary
/// more, 1.3 times at p90 and p95, twice beyond.
pub fn run_cv(statistic: Statistic, of_runs: Option<f64>) -> f64 {
    let tail = match statistic {
        Statistic::Mean | Statistic::P50 | Statistic::Proportion => 1.0,
        Statistic::P90 | Statistic::P95 => 1.3,
        Statistic::P99 | Statistic::Min | Statistic::Max | Statistic::Deviation => 2.0,
    };
    of_runs.unwrap_or(UNDECLARED_CV) * tail
}

/// Compares lists of runs, each a list of per-request values in request order (the same index is
/// the same prompt), with a run-to-run coefficient of variation of `cv`.
///
/// # Errors
/// The obstacle that makes the comparison impossible: a run without a positive, finite statistic,
/// or with fewer requests than the statistic needs.
pub fn single(
    baseline: &[Vec<f64>],
    current: &[Vec<f64>],
    statistic: Statistic,
    cv: f64,
    bootstrap: Bootstrap,
) -> Result<Estimate, Obstacle> {
    let needed = needed_requests(statistic);
    let few = |run: &Vec<f64>| (run.len() as u64) < needed;
    let unusable = |run: &Vec<f64>| run.iter().any(|value| !(*value > 0.0 && value.is_finite()));
    if baseline.iter().chain(current).any(unusable) {
        return Err(Obstacle::NotPositive);
    }
    if baseline.iter().chain(current).any(few) {
        return Err(Obstacle::TooFewRequests { needed });
    }
    let summaries = |runs: &[Vec<f64>]| {
        let values: Option<Vec<f64>> = runs
            .iter()
            .map(|run| summarise(&mut run.clone(), statistic))
            .collect();
        logs(&values?)
    };
    let optional = |runs: &[Vec<f64>]| -> Vec<Vec<Option<f64>>> {
        runs.iter()
            .map(|run| run.iter().copied().map(Some).collect())
            .collect()
    };
    let (b, c) = (optional(baseline), optional(current));
    let (b, c) = (slices(&b), slices(&c));
    let estimate = summaries(baseline)
        .zip(summaries(current))
        .zip(log_ratio_deviation(&b, &c, statistic, bootstrap))
        .and_then(|((b, c), within)| declared(&b, &c, cv, within));
    estimate.ok_or(Obstacle::NotPositive)
}

fn slices(runs: &[Vec<Option<f64>>]) -> Vec<Run<'_>> {
    runs.iter().map(Vec::as_slice).collect()
}

/// Deviation due to requests for a metric of two result sets, and a note where it had to be
/// assumed because per-request values are absent on a side.
pub(super) fn within(
    baseline: &[&ScenarioRecord],
    current: &[&ScenarioRecord],
    metric: &Metric,
    requests: Option<u64>,
    bootstrap: Bootstrap,
) -> (f64, Option<String>) {
    let measured = resampled(metric).and_then(|(quantity, statistic)| {
        let b = per_request(baseline, &metric.name, quantity)?;
        let c = per_request(current, &metric.name, quantity)?;
        log_ratio_deviation(&b, &c, statistic, bootstrap)
    });
    if let Some(measured) = measured {
        return (measured, None);
    }
    let runs = |side: &[&ScenarioRecord]| {
        let has = |record: &&&ScenarioRecord| record.metrics.contains_key(&metric.name);
        side.iter().filter(has).count().max(1) as f64
    };
    let one = assumed_within(metric.statistic, requests);
    let both = one * (1.0 / runs(baseline) + 1.0 / runs(current)).sqrt();
    let note = format!(
        "per-request values of this metric are not in the files, so the spread between requests \
         was assumed to add {:.1} % to each run",
        one * 100.0
    );
    (both, Some(note))
}

/// Which per-request values tell how much a metric depends on its requests. In a closed loop
/// throughput is the number in flight over the mean time per request, so it shares that mean's
/// relative error. Gaps between tokens are stored as one mean per request: their quantiles
/// cannot be resampled from that.
fn resampled(metric: &Metric) -> Option<(&str, Statistic)> {
    let name = metric.name.as_str();
    match name.split_once('.') {
        Some((quantity @ ("ttft_ms" | "tpot_ms" | "e2e_ms"), _)) => {
            Some((quantity, metric.statistic))
        }
        Some(("itl_ms", "mean")) => Some(("itl_ms", Statistic::Mean)),
        None if ["output_tps", "total_tps", "request_rps"].contains(&name) => {
            Some(("e2e_ms", Statistic::Mean))
        }
        Some(_) | None => None,
    }
}

/// The per-request values of every run that has the metric; `None` when one lacks them.
fn per_request<'a>(
    side: &[&'a ScenarioRecord],
    metric: &str,
    quantity: &str,
) -> Option<Vec<Run<'a>>> {
    side.iter()
        .filter(|record| record.metrics.contains_key(metric))
        .map(|record| record.per_request.get(quantity).map(Vec::as_slice))
        .collect()
}

/// Relative deviation of one run's summary due to its requests, from §4: measured at 200 requests
/// on the noisiest latency (TTFT: 2.5 % at the median, 3.4 % at p90, 12.5 % beyond), shrinking
/// with the root of their number. An unknown number counts as the fewest that could gate a mean.
fn assumed_within(statistic: Statistic, requests: Option<u64>) -> f64 {
    let at_200 = match statistic {
        Statistic::Mean | Statistic::P50 | Statistic::Proportion => 0.025,
        Statistic::P90 => 0.034,
        Statistic::P95
        | Statistic::P99
        | Statistic::Min
        | Statistic::Max
        | Statistic::Deviation => 0.125,
    };
    let requests = requests.unwrap_or(needed_requests(Statistic::Mean)).max(1);
    at_200 * (200.0 / requests as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{Design, Reference},
        metric::describe,
    };

    const BOOTSTRAP: Bootstrap = Bootstrap {
        draws: 200,
        seed: 1,
    };

    #[test]
    fn an_undeclared_variation_is_large_and_larger_in_tails() {
        assert!((run_cv(Statistic::P50, None) - 0.05).abs() < 1e-12);
        assert!((run_cv(Statistic::P90, None) - 0.065).abs() < 1e-12);
        assert!((run_cv(Statistic::P99, Some(0.01)) - 0.02).abs() < 1e-12);
    }

    #[test]
    fn lists_of_requests_are_compared_directly() {
        let baseline = vec![
            (0..40)
                .map(|i| 100.0 + f64::from(i % 5))
                .collect::<Vec<_>>(),
        ];
        let current = vec![baseline[0].iter().map(|x| x * 1.2).collect::<Vec<_>>()];
        let estimate = single(&baseline, &current, Statistic::Mean, 0.01, BOOTSTRAP).unwrap();
        assert!((estimate.log_ratio - 1.2_f64.ln()).abs() < 1e-9);
        // The same requests, all 20 % slower: nothing but the declared variation is left.
        let expected = 0.01 * 2.0_f64.sqrt();
        assert!((estimate.standard_error - expected).abs() < 1e-9);
        assert_eq!(
            (estimate.design, estimate.reference),
            (Design::Single, Reference::Normal)
        );
    }

    #[test]
    fn lists_that_cannot_be_compared_say_why() {
        let good = vec![vec![1.0; 40]];
        let zero = vec![vec![0.0; 40]];
        let short = vec![vec![1.0; 19]];
        let try_one = |current: &[Vec<f64>]| {
            single(&good, current, Statistic::Mean, 0.05, BOOTSTRAP).unwrap_err()
        };
        assert_eq!(try_one(&zero), Obstacle::NotPositive);
        assert_eq!(try_one(&short), Obstacle::TooFewRequests { needed: 20 });
        assert_eq!(try_one(&[]), Obstacle::NotPositive);
    }

    #[test]
    fn throughput_is_resampled_through_the_time_of_its_requests() {
        let source = |name: &str| {
            let metric = describe(name);
            resampled(&metric).map(|(quantity, statistic)| (quantity.to_owned(), statistic))
        };
        assert_eq!(
            source("output_tps"),
            Some(("e2e_ms".to_owned(), Statistic::Mean))
        );
        assert_eq!(
            source("ttft_ms.p99"),
            Some(("ttft_ms".to_owned(), Statistic::P99))
        );
        assert_eq!(source("itl_ms.p99"), None);
        assert_eq!(source("gpu_memory_peak_gb"), None);
    }

    #[test]
    fn an_assumed_spread_shrinks_with_the_root_of_the_requests() {
        assert!((assumed_within(Statistic::P50, Some(200)) - 0.025).abs() < 1e-12);
        assert!((assumed_within(Statistic::P50, Some(800)) - 0.0125).abs() < 1e-12);
        assert!((assumed_within(Statistic::Mean, None) - 0.025 * 10.0_f64.sqrt()).abs() < 1e-12);
    }
}
