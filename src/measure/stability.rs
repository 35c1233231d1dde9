//! When a warm-up has done its work. Pure.

/// Waves that must agree.
const WAVES: usize = 3;
/// How far apart they may lie, as a share of the smallest.
const AGREEMENT: f64 = 0.05;

/// Whether a warm-up can end: the last three waves' median latencies lie within 5 % of each
/// other. `waves` are the medians in the order they were measured, in any one unit.
///
/// Three, because two agree by chance; the median, because one slow request of a wave says
/// nothing about the next wave. Graph capture, autotuning and lazy loading make waves slower by
/// far more than 5 %.
pub fn stable(waves: &[f64]) -> bool {
    let Some(recent) = waves
        .len()
        .checked_sub(WAVES)
        .and_then(|at| waves.get(at..))
    else {
        return false;
    };
    let least = recent.iter().copied().fold(f64::INFINITY, f64::min);
    let most = recent.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Not a number is not stable either.
    least > 0.0 && recent.iter().all(|wave| wave.is_finite()) && most <= least * (1.0 + AGREEMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_waves_within_five_per_cent() {
        assert!(stable(&[900.0, 100.0, 105.0, 102.0]));
        assert!(!stable(&[100.0, 105.1, 102.0]));
        assert!(!stable(&[100.0, 100.0]), "two are too few");
        assert!(!stable(&[]));
    }

    #[test]
    fn a_falling_row_is_not_stable_before_it_settles() {
        let waves = [400.0, 220.0, 130.0, 104.0, 101.0, 100.0];
        let first = (1..=waves.len()).find(|count| stable(&waves[..*count]));
        assert_eq!(first, Some(6));
    }

    #[test]
    fn waves_without_a_latency_are_not_stable() {
        assert!(!stable(&[f64::NAN, 100.0, 100.0]));
        assert!(!stable(&[100.0, 100.0, f64::INFINITY]));
        assert!(!stable(&[0.0, 0.0, 0.0]));
    }
}
