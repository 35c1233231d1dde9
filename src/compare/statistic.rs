//! A statistic of a sample, for the bootstrap and for comparisons of plain lists.

use crate::metric::Statistic;

/// The statistic of `values`; reorders them. `None` for an empty sample, or a deviation of one
/// value. Quantiles interpolate linearly between order statistics (Hyndman and Fan 1996, type 7).
pub(super) fn summarise(values: &mut [f64], statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Mean | Statistic::Proportion => mean(values),
        Statistic::P50 => percentile(values, 50),
        Statistic::P90 => percentile(values, 90),
        Statistic::P95 => percentile(values, 95),
        Statistic::P99 => percentile(values, 99),
        Statistic::Min => values.iter().copied().reduce(f64::min),
        Statistic::Max => values.iter().copied().reduce(f64::max),
        Statistic::Deviation => deviation(values),
    }
}

/// Arithmetic mean; `None` for an empty sample.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation with n - 1; `None` for fewer than two values.
pub(super) fn deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Smallest standard deviation of log summaries that is believed. A few may agree to the last
/// digit because values were rounded when written; a tenth of a per cent is below the quietest
/// run-to-run variation on record (0.5 %, `research/regression-statistics.md` §2).
const DEVIATION_FLOOR: f64 = 0.001;

/// The standard deviation of logarithms, as far as a small one is believed.
pub(super) fn believed(logs: &[f64]) -> Option<f64> {
    Some(deviation(logs)?.max(DEVIATION_FLOOR))
}

fn percentile(values: &mut [f64], percent: usize) -> Option<f64> {
    let position = values.len().checked_sub(1)? * percent;
    let (below, fraction) = (position / 100, (position % 100) as f64 / 100.0);
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let next = above.iter().copied().reduce(f64::min).unwrap_or(low);
    Some(low + fraction * (next - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked by hand: for 1…5 type 7 puts p90 at index 4·0.9 = 3.6, that is 4 + 0.6·1.
    #[test]
    fn statistics_of_five_values() {
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        for (statistic, expected) in [
            (Statistic::Mean, 3.0),
            (Statistic::P50, 3.0),
            (Statistic::P90, 4.6),
            (Statistic::P99, 4.96),
            (Statistic::Min, 1.0),
            (Statistic::Max, 5.0),
            (Statistic::Deviation, 2.5_f64.sqrt()),
        ] {
            let found = summarise(&mut values, statistic).unwrap();
            assert!((found - expected).abs() < 1e-12, "{statistic:?}: {found}");
        }
    }

    #[test]
    fn nothing_has_no_statistic() {
        assert_eq!(summarise(&mut [], Statistic::Mean), None);
        assert_eq!(summarise(&mut [], Statistic::P99), None);
        assert_eq!(summarise(&mut [1.0], Statistic::Deviation), None);
        assert_eq!(summarise(&mut [7.0], Statistic::P99), Some(7.0));
    }
}
