//! Order statistics. Pure.

/// The `p` quantile of sorted values, interpolated linearly between neighbours: type 7 of
/// Hyndman and Fan (1996), what R and `NumPy` do by default.
///
/// `None` when there are fewer than `1 / (1 - p)` values: above that quantile not one value
/// would be expected, and the answer would be about the largest one only. The median needs 2
/// values, p90 10, p95 20, p99 100.
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    if !(0.0..1.0).contains(&p) || !enough(sorted.len() as u64, p) {
        return None;
    }
    interpolated(sorted, p)
}

/// Whether `count` values carry the `p` quantile.
pub(super) fn enough(count: u64, p: f64) -> bool {
    // 10 * (1 - 0.9) is a hair below 1 in binary.
    const SLACK: f64 = 1e-9;
    count as f64 * (1.0 - p) >= 1.0 - SLACK
}

/// The median of values in any order, also of a single one; `None` of nothing.
pub fn median_of(values: &[f64]) -> Option<f64> {
    median(&sorted(values))
}

/// The median of sorted values, also of a single one.
pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    interpolated(sorted, 0.5)
}

fn interpolated(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = p * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position lies between 0 and the length"
    )]
    let below = position.floor() as usize;
    let low = *sorted.get(below)?;
    let high = *sorted.get(below + 1).unwrap_or(&low);
    Some(low + (high - low) * position.fract())
}

/// The arithmetic mean; `None` of nothing.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample standard deviation, with n − 1; `None` below two values.
pub(super) fn deviation(values: &[f64]) -> Option<f64> {
    let centre = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// Sorted from small to large.
pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    fn upto(last: u32) -> Vec<f64> {
        (1..=last).map(f64::from).collect()
    }

    #[test]
    fn quantiles_are_interpolated() {
        // Worked by hand: position p (n - 1), counted from 0.
        close(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 2.5);
        close(quantile(&[10.0, 20.0], 0.5), 15.0);
        close(quantile(&upto(10), 0.9), 9.1); // position 8.1
        close(quantile(&upto(20), 0.95), 19.05); // position 18.05
        close(quantile(&upto(100), 0.99), 99.01); // position 98.01
    }

    #[test]
    fn too_few_values_give_none() {
        for (count, p) in [(1, 0.5), (9, 0.9), (19, 0.95), (99, 0.99)] {
            assert_eq!(quantile(&upto(count), p), None, "{count} {p}");
            assert!(quantile(&upto(count + 1), p).is_some(), "{count} {p}");
        }
        assert_eq!(quantile(&upto(10), 1.0), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn mean_deviation_and_median() {
        close(mean(&[2.0, 4.0, 9.0]), 5.0);
        assert_eq!(mean(&[]), None);
        // Deviations -3, -1, 4: squares 26, divided by 2, root of 13.
        close(deviation(&[2.0, 4.0, 9.0]), 13_f64.sqrt());
        assert_eq!(deviation(&[2.0]), None);
        close(median(&[7.0]), 7.0);
        close(median_of(&[9.0, 1.0, 4.0]), 4.0);
        close(median_of(&[9.0, 1.0]), 5.0);
        assert_eq!(median(&[]), None);
    }

    proptest! {
        #[test]
        fn a_quantile_lies_within_the_values_and_grows(
            values in prop::collection::vec(-1e6_f64..1e6, 100..200),
        ) {
            let values = sorted(&values);
            let found: Vec<f64> = [0.5, 0.9, 0.95, 0.99]
                .iter()
                .filter_map(|p| quantile(&values, *p))
                .collect();
            prop_assert_eq!(found.len(), 4);
            prop_assert!(found.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(values[0] <= found[0] && found[3] <= values[values.len() - 1]);
        }
    }
}
