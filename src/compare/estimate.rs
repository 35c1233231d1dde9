//! Run summaries to an estimate: Welch's t over runs, one against one, or exact.
//!
//! In: the value of each run. Out: a log-ratio with its standard error
//! (`research/regression-statistics.md` §6).

use super::{
    Design, Estimate, Reference,
    statistic::{deviation, mean},
};

/// Smallest standard deviation of a run's log summary that Welch's t believes.
///
/// Two or three runs may agree to the last digit by chance (or because values were rounded when
/// written); their sample deviation is then zero, and without a floor any difference, however
/// small, would be "proven". 0.1 % is a fifth of the quietest run-to-run variation on record
/// (0.5 %, `research/regression-statistics.md` §2), so the floor never hides a real noise level.
const DEVIATION_FLOOR: f64 = 0.001;

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

/// Welch's unequal-variance t (Welch 1947) on the log summaries of at least two runs a side,
/// with Welch–Satterthwaite degrees of freedom. `None`: a side has fewer than two runs.
///
/// The statistic holds for every summary, however few requests it rests on: what requests add in
/// noise is part of the run-to-run spread it measures.
pub fn welch(baseline: &[f64], current: &[f64]) -> Option<Estimate> {
    let variance = |logs: &[f64]| deviation(logs).map(|sd| sd.max(DEVIATION_FLOOR).powi(2));
    let (kb, kc) = (baseline.len() as f64, current.len() as f64);
    let (vb, vc) = (variance(baseline)? / kb, variance(current)? / kc);
    let freedom = (vb + vc).powi(2) / (vb * vb / (kb - 1.0) + vc * vc / (kc - 1.0));
    Some(Estimate {
        log_ratio: mean(current)? - mean(baseline)?,
        standard_error: (vb + vc).sqrt(),
        reference: Reference::StudentT(freedom.max(1.0)),
        design: Design::Welch,
        runs: (baseline.len(), current.len()),
    })
}

/// One run against one (or several): the run-to-run variation cannot be seen, so it is declared.
///
/// `se² = cv² (1/Kb + 1/Kc) + w²`, where `cv` is the coefficient of variation of a run's summary
/// and `w` the deviation due to the requests. A side with several runs that vary more than `cv`
/// says so itself: the larger figure is used. `None`: a side has no run.
pub(super) fn declared(
    baseline: &[f64],
    current: &[f64],
    cv: f64,
    within: f64,
) -> Option<Estimate> {
    let observed = [baseline, current].into_iter().filter_map(deviation);
    let cv = observed.fold(cv, f64::max);
    let runs = 1.0 / baseline.len() as f64 + 1.0 / current.len() as f64;
    Some(Estimate {
        log_ratio: mean(current)? - mean(baseline)?,
        standard_error: (cv * cv * runs + within * within).sqrt(),
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

    /// Worked by hand: baseline 1, 2, 3 has mean 2 and variance 1; current 4, 6, 8, 10 has mean 7
    /// and variance 20/3. Squared error 1/3 + 5/3 = 2, freedom 4 / ((1/9)/2 + (25/9)/3) =
    /// 4 / (53/54) = 216/53.
    #[test]
    fn welch_by_hand() {
        let estimate = welch(&[1.0, 2.0, 3.0], &[4.0, 6.0, 8.0, 10.0]).unwrap();
        close(estimate.log_ratio, 5.0);
        close(estimate.standard_error, 2.0_f64.sqrt());
        let Reference::StudentT(freedom) = estimate.reference else {
            panic!("{:?}", estimate.reference)
        };
        close(freedom, 216.0 / 53.0);
        assert_eq!(estimate.runs, (3, 4));
    }

    #[test]
    fn runs_that_agree_to_the_last_digit_still_leave_room_for_noise() {
        let estimate = welch(&[1.0; 4], &[1.0; 4]).unwrap();
        close(estimate.standard_error, 0.001 * (2.0_f64 / 4.0).sqrt());
        let Reference::StudentT(freedom) = estimate.reference else {
            panic!("{:?}", estimate.reference)
        };
        close(freedom, 6.0);
    }

    #[test]
    fn welch_needs_two_runs_a_side() {
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
    }

    /// cv 2 %, three runs against one, w 1 %: 0.0004 · 4/3 + 0.0001.
    #[test]
    fn a_declared_variation_by_hand() {
        let estimate = declared(&[0.0, 0.0, 0.0], &[0.1], 0.02, 0.01).unwrap();
        close(estimate.log_ratio, 0.1);
        close(
            estimate.standard_error,
            (0.0004_f64 * 4.0 / 3.0 + 0.0001).sqrt(),
        );
    }

    #[test]
    fn a_variation_that_is_seen_overrules_a_smaller_declared_one() {
        let estimate = declared(&[0.0, 0.2], &[0.1], 0.01, 0.0).unwrap();
        close(estimate.standard_error, (0.02_f64 * 1.5).sqrt());
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
