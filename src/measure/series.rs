//! Throughput over time: where its beginning is not yet steady, and whether its level changed.
//! Pure.

use super::quantile::{deviation, mean};

/// Spans that MSER-5 joins.
const BATCH: usize = 5;
/// Fewer batches say nothing about a beginning.
const LEAST_BATCHES: usize = 10;
/// A beginning that differs less from the rest is no transient.
const LEAST_TRANSIENT: f64 = 0.05;
/// Nor is one that differs by fewer standard errors.
const LEAST_ERRORS: f64 = 3.0;
/// A score this many times the best is nearly as good.
const NEARLY: f64 = 1.2;
/// Fewer spans say nothing about a change of level.
const LEAST_FOR_CHANGE: usize = 20;
/// Significance of a change of level.
const SIGNIFICANCE: f64 = 0.01;
/// A smaller change of level is not told.
const LEAST_CHANGE: f64 = 0.1;

/// How many spans at the beginning of a series are not yet steady; 0 when it is steady at once,
/// or too short to say.
///
/// This is MSER-5 (White, "An effective truncation heuristic for bias reduction in simulation
/// output", Simulation 69(6), 1997): of the means of batches of five, those are cut from the
/// beginning whose loss makes the standard error of the rest smallest. As there, a cut beyond
/// the half is no cut: the series is then too short. Noise alone makes MSER cut something, and
/// cut more than is wrong. So the earliest cut counts that is nearly as good as the best, and a
/// beginning stays whose level is within 5 % of the rest, or within three standard errors of a
/// mean of that many batches.
pub(super) fn transient(series: &[f64]) -> usize {
    let batches: Vec<f64> = series.chunks_exact(BATCH).map(average).collect();
    if batches.len() < LEAST_BATCHES {
        return 0;
    }
    let cut = mser(&batches);
    let (head, rest) = batches.split_at(cut.min(batches.len()));
    let steady = average(rest);
    let error = deviation(rest).unwrap_or(0.0) / (cut.max(1) as f64).sqrt();
    let least = (LEAST_TRANSIENT * steady).max(LEAST_ERRORS * error);
    let differs = (average(head) - steady).abs() > least;
    if cut == 0 || cut > batches.len() / 2 || !differs {
        return 0;
    }
    cut * BATCH
}

/// The earliest cut whose score `Σ (z − mean)² / (m − d)²`, over the `m − d` batches behind it,
/// is nearly the smallest.
fn mser(batches: &[f64]) -> usize {
    let score = |cut: usize| {
        let rest = batches.get(cut..).unwrap_or_default();
        let centre = average(rest);
        let squares: f64 = rest.iter().map(|value| (value - centre).powi(2)).sum();
        squares / (rest.len() as f64).powi(2)
    };
    // The last few batches agree by chance.
    let scores: Vec<f64> = (0..batches.len() * 3 / 4).map(score).collect();
    let best = scores.iter().copied().fold(f64::INFINITY, f64::min);
    let near = |score: &f64| *score <= best * NEARLY;
    scores.iter().position(near).unwrap_or(0)
}

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change {
    /// The first span of the new level.
    pub(super) at: usize,
    /// The new level over the old one, less one.
    pub(super) share: f64,
}

/// The most likely change of level, when it is significant at 1 % and above 10 %.
///
/// Pettitt's test ("A non-parametric approach to the change-point problem", Applied Statistics
/// 28(2), 1979): with ranks `r` of `n` values, `U_t = 2 Σ_{i ≤ t} r_i − t (n + 1)`,
/// `K = max |U_t|`, and `p ≈ 2 exp(−6 K² / (n³ + n²))`.
pub(super) fn change(series: &[f64]) -> Option<Change> {
    let count = series.len();
    if count < LEAST_FOR_CHANGE {
        return None;
    }
    let n = count as f64;
    let (mut sum, mut largest, mut at) = (0.0, 0.0_f64, 0);
    for (rank, position) in ranks(series).into_iter().zip(1_usize..) {
        sum += rank;
        let statistic = (2.0 * sum - position as f64 * (n + 1.0)).abs();
        if statistic > largest {
            (largest, at) = (statistic, position);
        }
    }
    let p = 2.0 * (-6.0 * largest.powi(2) / (n.powi(3) + n.powi(2))).exp();
    let (before, after) = series.split_at(at.min(count));
    let share = average(after) / average(before) - 1.0;
    let told = p < SIGNIFICANCE && share.is_finite() && share.abs() > LEAST_CHANGE;
    told.then_some(Change { at, share })
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(series: &[f64]) -> Vec<f64> {
    let mut order: Vec<(usize, f64)> = series.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0.0; series.len()];
    let mut below = 0;
    for equal in order.chunk_by(|a, b| a.1.total_cmp(&b.1).is_eq()) {
        let shared = below as f64 + f64::midpoint(equal.len() as f64, 1.0);
        for (position, _) in equal {
            if let Some(rank) = ranks.get_mut(*position) {
                *rank = shared;
            }
        }
        below += equal.len();
    }
    ranks
}

/// The mean; of nothing 0.
fn average(values: &[f64]) -> f64 {
    mean(values).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

    use super::*;

    /// `count` values around 100, evenly scattered over ±`spread`.
    fn noise(seed: u64, count: usize, spread: f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| 100.0 + spread * (random.random::<f64>() * 2.0 - 1.0))
            .collect()
    }

    #[test]
    fn a_slow_beginning_is_cut_at_its_batch() {
        // 98 and 102 in turn: batches of 99.2 and 100.8.
        let mut series: Vec<f64> = (0..100).map(|n| 98.0 + f64::from(n % 2) * 4.0).collect();
        for value in series.iter_mut().take(10) {
            *value *= 0.5;
        }
        assert_eq!(transient(&series), 10);
        // The change inside a batch takes the whole batch.
        for value in series.iter_mut().skip(10).take(2) {
            *value *= 0.5;
        }
        assert_eq!(transient(&series), 15);
    }

    #[test]
    fn in_noise_a_slow_beginning_is_nearly_always_found() {
        let cut = |seed| {
            let mut series = noise(seed, 100, 10.0);
            for value in series.iter_mut().take(10) {
                *value *= 0.5;
            }
            transient(&series)
        };
        let found = (0..100).filter(|seed| (10..=50).contains(&cut(*seed)));
        assert!(found.count() >= 85);
        let exact = (0..100).filter(|seed| cut(*seed) == 10);
        assert!(exact.count() >= 65);
    }

    #[test]
    fn steady_series_are_left_alone() {
        assert_eq!(transient(&[7.0; 100]), 0);
        let cut = (0..200).filter(|seed| transient(&noise(*seed, 200, 20.0)) > 0);
        assert!(cut.count() <= 2);
    }

    #[test]
    fn short_series_and_late_changes_are_no_transient() {
        let mut short = noise(1, 49, 2.0);
        short[0] = 10.0;
        assert_eq!(transient(&short), 0);
        // The level changes at 60 of 100: that is no beginning.
        let mut late = noise(1, 100, 2.0);
        for value in late.iter_mut().take(60) {
            *value *= 0.5;
        }
        assert_eq!(transient(&late), 0);
    }

    #[test]
    fn ranks_share_ties() {
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 9.0]), [2.5, 1.0, 2.5, 4.0]);
    }

    #[test]
    fn a_change_is_found_where_it_is() {
        let mut series = noise(3, 100, 5.0);
        for value in series.iter_mut().skip(40) {
            *value *= 0.8;
        }
        let found = change(&series).unwrap();
        assert_eq!(found.at, 40);
        assert!((found.share + 0.2).abs() < 0.02, "{}", found.share);
    }

    #[test]
    fn both_limits_of_a_change() {
        let step = |share: f64| -> Vec<f64> {
            let level = |n: usize| if n < 20 { 100.0 } else { 100.0 * (1.0 + share) };
            // A little slope, so that no two values are equal.
            (0..40).map(|n| level(n) + n as f64 * 1e-6).collect()
        };
        assert_eq!(change(&step(0.099)), None);
        assert!(change(&step(0.101)).is_some());
        // 19 values: too few. Of 20, K = 10 · 10 = 100 and
        // p = 2 exp(-6 · 10⁴ / 8400) = 2 exp(-7.14) = 0.0016.
        let levels = |below: usize, above: usize| -> Vec<f64> {
            let below = (0..below).map(|n| 100.0 + n as f64 * 1e-6);
            below
                .chain((0..above).map(|n| 120.0 + n as f64 * 1e-6))
                .collect()
        };
        assert_eq!(change(&levels(10, 9)), None);
        assert_eq!(change(&levels(10, 10)).unwrap().at, 10);
        // 3 of 20 at another level: K = 3 · 17 = 51, p = 2 exp(-1.86) = 0.31.
        assert_eq!(change(&levels(3, 17)), None);
    }

    #[test]
    fn noise_is_hardly_ever_called_a_change() {
        let found = (0..200).filter(|seed| change(&noise(*seed, 100, 40.0)).is_some());
        // Significance 1 %, and a change of 10 % on top.
        assert!(found.count() <= 3);
    }
}
