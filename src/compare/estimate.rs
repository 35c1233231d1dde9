//! Run summaries to an estimate: one job against one, or exact.
//!
//! In: the value of each run. Out: a log-ratio with its standard error
//! (`research/regression-statistics.md` §6).

use super::{
    Design, Estimate, Reference,
    statistic::{deviation, mean, summarise},
};
use crate::metric::Statistic;

/// An exact metric must change by more than this share …
const EXACT_RELATIVE: f64 = 0.01;
/// … and by more than 64 MiB, to have changed at all.
const EXACT_ABSOLUTE_GIB: f64 = 0.0625;

/// Metrics that repeat exactly from run to run when nothing changes: peak memory, by kitt's name
/// and by KITT's. All in GiB.
const EXACT: [&str; 2] = ["gpu_memory_peak_gb", "overall_peak_gpu_memory_gb"];

/// By how many GiB an exact metric must differ from `baseline` (GiB) to have changed: the larger
/// of 1 % and 64 MiB.
pub fn exact_tolerance(baseline: f64) -> f64 {
    (EXACT_RELATIVE * baseline).max(EXACT_ABSOLUTE_GIB)
}

/// The natural logarithms of run values. `None` when one has none that is useful: zero,
/// negative, not finite, or so far out that no quantity kitt knows could have it in its unit.
pub(super) fn logs(values: &[f64]) -> Option<Vec<f64>> {
    let usable = |value: &f64| (1e-12..=1e18).contains(value);
    values
        .iter()
        .map(|value| usable(value).then(|| value.ln()))
        .collect()
}

/// The natural logarithm of the statistic of a run's requests: the unit everything is compared
/// in. `None` where it has none: no value, or one that is zero, negative, not finite or beyond all
/// measure.
pub fn log_summary(values: &[f64], statistic: Statistic) -> Option<f64> {
    let value = summarise(&mut values.to_vec(), statistic)?;
    logs(&[value])?.first().copied()
}

/// Whether this metric is a deterministic quantity.
pub(super) fn is_exact(metric: &str) -> bool {
    EXACT.contains(&metric)
}

/// The exact comparison, when both sides repeat within half of what counts as a change; `None`
/// when they do not, and noise must be reckoned with after all.
pub(super) fn exact(baseline: &[f64], current: &[f64]) -> Option<Estimate> {
    let tolerance = exact_tolerance(mean(baseline)?);
    let repeats = |values: &[f64]| {
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        Some(high - low <= tolerance / 2.0)
    };
    if !(repeats(baseline)? && repeats(current)?) {
        return None;
    }
    Some(Estimate {
        log_ratio: mean(&logs(current)?)? - mean(&logs(baseline)?)?,
        standard_error: 0.0,
        reference: Reference::Exact,
        design: Design::Exact,
        runs: (baseline.len(), current.len()),
    })
}

/// The smallest and the largest of some log-ratios; `None` without any.
pub(super) fn range(log_ratios: &[f64]) -> Option<(f64, f64)> {
    let all = || log_ratios.iter().copied();
    all().reduce(f64::min).zip(all().reduce(f64::max))
}

/// One job against one: the variation from job to job cannot be seen, so it is declared.
///
/// `se² = 2 cv² + w²`, where `cv` is the coefficient of variation of a job's summary and `w` the
/// deviation due to the requests. Several runs of one job count once: most of the variation is
/// common to all of them (70 % in the simulations of §4), and taking it for averaged away blocks
/// innocent changes. A side whose runs vary more than `cv` says so itself: the larger figure is
/// used. `None`: a side has no run.
pub(super) fn declared(
    baseline: &[f64],
    current: &[f64],
    cv: f64,
    within: f64,
) -> Option<Estimate> {
    let observed = [baseline, current].into_iter().filter_map(deviation);
    let cv = observed.fold(cv, f64::max);
    Some(Estimate {
        log_ratio: mean(current)? - mean(baseline)?,
        standard_error: (2.0 * cv * cv + within * within).sqrt(),
        reference: Reference::Normal,
        design: Design::Single,
        runs: (baseline.len(), current.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// cv 2 %, w 1 %, three runs against one: 2 · 0.0004 + 0.0001.
    #[test]
    fn a_declared_variation_by_hand() {
        let estimate = declared(&[0.0, 0.0, 0.0], &[0.1], 0.02, 0.01).unwrap();
        close(estimate.log_ratio, 0.1);
        close(estimate.standard_error, 0.0009_f64.sqrt());
    }

    #[test]
    fn a_variation_that_is_seen_overrules_a_smaller_declared_one() {
        let estimate = declared(&[0.0, 0.2], &[0.1], 0.01, 0.0).unwrap();
        close(estimate.standard_error, (0.02_f64 * 2.0).sqrt());
    }

    #[test]
    fn memory_is_exact_only_where_it_repeats() {
        let estimate = exact(&[10.0, 10.01], &[10.3, 10.3]).unwrap();
        assert_eq!(estimate.design, Design::Exact);
        close(estimate.standard_error, 0.0);
        assert!(
            exact(&[10.0, 10.2], &[10.3]).is_none(),
            "0.2 GiB is no repeat"
        );
    }

    #[test]
    fn only_usable_numbers_have_logs() {
        assert_eq!(logs(&[1.0]), Some(vec![0.0]));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-310, 1e300] {
            assert_eq!(logs(&[1.0, bad]), None, "{bad}");
        }
    }
}
