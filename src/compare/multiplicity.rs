//! Several tests at once: who is still believed.
//!
//! In: one p-value per test. Out: Holm's (1979, *Scandinavian Journal of Statistics* 6, 65–70),
//! which keep the chance of any false alarm, and Benjamini and Hochberg's (1995, *Journal of the
//! Royal Statistical Society* B 57, 289–300), which keep the expected share of false ones among
//! the alarms. A p-value that is no number counts as 1.

/// Holm's adjusted p-values, in the order given: a test is rejected at family-wise level α when
/// its adjusted p is at most α.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = vec![1.0; p.len()];
    let mut largest = 0.0_f64;
    for (before, (place, p)) in order.into_iter().enumerate() {
        let left = (adjusted.len() - before) as f64;
        largest = largest.max((p * left).min(1.0));
        put(&mut adjusted, place, largest);
    }
    adjusted
}

/// The level each test was held against in Holm's procedure at family-wise level `alpha`, in the
/// order given: α over the number of tests not yet rejected. A test is rejected exactly when its p
/// is at most its level; all that are not share the level at which the procedure stopped.
pub fn holm_levels(p: &[f64], alpha: f64) -> Vec<f64> {
    let order = ascending(p);
    let mut levels = vec![alpha; p.len()];
    let mut level = alpha / p.len().max(1) as f64;
    let mut stopped = false;
    for (before, (place, p)) in order.into_iter().enumerate() {
        if !stopped {
            level = alpha / (levels.len() - before) as f64;
            stopped = p > level;
        }
        put(&mut levels, place, level);
    }
    levels
}

/// Benjamini and Hochberg's q-values, in the order given: among all tests with a q of at most 5 %,
/// 5 % are false alarms in the mean.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = ascending(p);
    let mut adjusted = vec![1.0; p.len()];
    let mut smallest = 1.0_f64;
    for (below, (place, p)) in order.into_iter().enumerate().rev() {
        smallest = smallest.min(p * adjusted.len() as f64 / (below + 1) as f64);
        put(&mut adjusted, place, smallest);
    }
    adjusted
}

/// Places and p-values, smallest first; ties by place.
fn ascending(p: &[f64]) -> Vec<(usize, f64)> {
    let known = |p: f64| if p.is_nan() { 1.0 } else { p };
    let mut order: Vec<(usize, f64)> = p.iter().copied().map(known).enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    order
}

fn put(slots: &mut [f64], place: usize, value: f64) {
    if let Some(slot) = slots.get_mut(place) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn four_tests_by_hand() {
        let p = [0.01, 0.04, 0.03, 0.005];
        // Holm: 4 · 0.005, 3 · 0.01, 2 · 0.03, and 0.04 is raised to 0.06.
        close(&holm(&p), &[0.03, 0.06, 0.06, 0.02]);
        // 4/1 · 0.005, 4/2 · 0.01, 4/3 · 0.03, 4/4 · 0.04.
        close(&benjamini_hochberg(&p), &[0.02, 0.04, 0.04, 0.02]);
        // At 5 %: 0.005 against 0.0125, 0.01 against 0.0167, 0.03 against 0.025 stops.
        close(&holm_levels(&p, 0.05), &[0.05 / 3.0, 0.025, 0.025, 0.0125]);
    }

    #[test]
    fn no_test_and_no_number() {
        assert!(holm(&[]).is_empty() && holm_levels(&[], 0.05).is_empty());
        assert!(benjamini_hochberg(&[]).is_empty());
        close(&holm(&[f64::NAN, 0.01]), &[1.0, 0.02]);
        close(&benjamini_hochberg(&[0.9, f64::NAN]), &[1.0, 1.0]);
    }

    proptest! {
        /// The two forms of Holm's procedure reject the same tests.
        #[test]
        fn levels_and_adjusted_values_agree(
            p in proptest::collection::vec(0.0..0.1_f64, 1..12),
            alpha in 0.01..0.2_f64,
        ) {
            let levels = holm_levels(&p, alpha);
            let adjusted = holm(&p);
            for ((p, level), adjusted) in p.iter().zip(levels).zip(adjusted) {
                // On the edge, rounding decides.
                prop_assume!((adjusted - alpha).abs() > 1e-12);
                prop_assert_eq!(*p <= level, adjusted <= alpha);
            }
        }

        #[test]
        fn q_is_between_p_and_holm(p in proptest::collection::vec(0.0..1.0_f64, 1..12)) {
            let triples = p.iter().zip(benjamini_hochberg(&p)).zip(holm(&p));
            for ((p, q), holm) in triples {
                prop_assert!(*p <= q + 1e-15 && q <= holm + 1e-15);
            }
        }
    }
}
