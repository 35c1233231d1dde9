//! Where the level of a series of jobs shifted: a rank CUSUM with a permutation null.
//!
//! In: one positive value per job, oldest first. Out: the first job of each new level. The rule is
//! that of `research/regression-statistics.md` §5: on normal scores of the ranks (van der Waerden;
//! Pettitt 1979 for rank CUSUMs), so that a lone outlier weighs no more than any other extreme
//! rank, with
//!
//! ```text
//! S = max over 4 ≤ t ≤ n − 4 of |Σ(first t scores)| / (sd √(t (n − t) / n))
//! ```
//!
//! split where S is reached if chance gives as much at most once in a hundred
//! (`cusum_null`), then the same on either side (binary segmentation,
//! Vostrikova 1981).

use std::ops::Range;

use super::{
    cusum_null::{self, EDGE},
    quantiles::normal_quantile,
    statistic::{deviation, mean, summarise},
};
use crate::metric::Statistic;

/// Standard errors from which on an autocorrelation is significant: one-sided 5 %.
const LIKENESS: f64 = 1.645;
/// Largest autocorrelation that is corrected for; beyond it the series is a drift.
const MOST_AUTOCORRELATION: f64 = 0.95;
/// One of so many differences, the largest, is left out when their variance is estimated: those
/// across shifts and outliers.
const TRIMMED: usize = 10;
/// Two levels whose medians differ by less are one.
const SMALLEST_SHIFT: f64 = 0.01;

/// A shift of the level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// Index of the first value of the new level.
    pub index: usize,
    /// Median of the level before; positive.
    pub before: f64,
    /// Median of the new level, up to the next shift; positive.
    pub after: f64,
}

impl ChangePoint {
    /// The relative shift: 0.061 is +6.1 %.
    pub fn relative(&self) -> f64 {
        self.after / self.before - 1.0
    }
}

/// Index of the first value of each new level, ascending. Values that have no logarithm are
/// skipped; fewer than eight others have no change point.
pub fn change_points(values: &[f64]) -> Vec<usize> {
    level_shifts(values)
        .into_iter()
        .map(|shift| shift.index)
        .collect()
}

/// The change points with the levels on either side.
pub fn level_shifts(values: &[f64]) -> Vec<ChangePoint> {
    let usable = |value: &f64| *value > 0.0 && value.is_finite();
    let all = values.iter().copied().enumerate();
    let (places, values): (Vec<usize>, Vec<f64>) = all.filter(|(_, v)| usable(v)).unzip();
    let levels = merge(&values, split_all(&values));
    let shift = |pair: &[Level]| {
        let [before, after] = pair else { return None };
        Some(ChangePoint {
            index: places.get(after.range.start).copied()?,
            before: before.median,
            after: after.median,
        })
    };
    levels.windows(2).filter_map(shift).collect()
}

/// Values between two shifts.
#[derive(Debug, Clone)]
struct Level {
    range: Range<usize>,
    median: f64,
}

impl Level {
    fn of(values: &[f64], range: Range<usize>) -> Option<Self> {
        let mut part = values.get(range.clone())?.to_vec();
        let median = summarise(&mut part, Statistic::P50)?;
        Some(Self { range, median })
    }
}

/// Splits until nothing more splits; ascending. A list of what is left to do stands for recursion:
/// a staircase of thousands of jobs must not depend on the stack.
fn split_all(values: &[f64]) -> Vec<Level> {
    let mut found = Vec::new();
    let mut waiting = Vec::new();
    let mut next = Some(0..values.len());
    while let Some(range) = next {
        let at = values.get(range.clone()).and_then(split);
        if let Some(at) = at {
            let middle = range.start + at;
            waiting.push(middle..range.end);
            next = Some(range.start..middle);
        } else {
            found.extend(Level::of(values, range));
            next = waiting.pop();
        }
    }
    found
}

/// Joins the two neighbours that are most alike, until all differ by a per cent.
fn merge(values: &[f64], mut levels: Vec<Level>) -> Vec<Level> {
    let gap = |pair: &[Level]| match pair {
        [before, after] => (after.median / before.median).ln().abs(),
        _ => f64::INFINITY,
    };
    loop {
        let gaps = levels.windows(2).map(gap).enumerate();
        let Some((at, closest)) = gaps.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            return levels;
        };
        if closest >= SMALLEST_SHIFT.ln_1p() {
            return levels;
        }
        let after = levels.remove(at + 1);
        if let Some(before) = levels.get_mut(at) {
            let range = before.range.start..after.range.end;
            *before = Level::of(values, range).unwrap_or(after);
        }
    }
}

/// Where to split, if anywhere: the number of values before the shift.
fn split(values: &[f64]) -> Option<usize> {
    let critical = cusum_null::critical(values.len())?;
    let scores = scores(values);
    let (at, size) = cusum(&scores)?;
    let r = autocorrelation(&scores, at);
    // Likeness of neighbours makes sums vary by this much more.
    let inflation = ((1.0 + r) / (1.0 - r)).sqrt();
    (size / inflation >= critical).then_some(at)
}

/// Normal scores of the ranks: the standard normal's quantile at rank / (n + 1), ties share their
/// mean rank. The logarithm of the values would have the same ranks.
fn scores(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values.iter().copied().zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut scores = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        // Ranks from 1: the tied ones are below + 1 … below + tied.
        let rank = below as f64 + f64::midpoint(1.0, tied.len() as f64);
        below += tied.len();
        // Always strictly between 0 and 1.
        let score = normal_quantile(rank / (values.len() as f64 + 1.0)).unwrap_or_default();
        for (_, place) in tied {
            if let Some(slot) = scores.get_mut(*place) {
                *slot = score;
            }
        }
    }
    scores
}

/// The largest standardised CUSUM and the number of values before it; `None` when all values are
/// equal or there are too few.
pub(super) fn cusum(scores: &[f64]) -> Option<(usize, f64)> {
    cusum_between(scores, EDGE)
}

/// As [`cusum`], with at least `edge` values on either side.
pub(super) fn cusum_between(scores: &[f64], edge: usize) -> Option<(usize, f64)> {
    let n = scores.len() as f64;
    let centre = mean(scores)?;
    let sd = deviation(scores).filter(|sd| *sd > 0.0)?;
    let last = scores.len().checked_sub(edge)?;
    let mut sum = 0.0;
    let mut largest: Option<(usize, f64)> = None;
    for (t, score) in (1..=last).zip(scores) {
        sum += score - centre;
        let before = t as f64;
        let size = sum.abs() / (sd * (before * (n - before) / n).sqrt());
        if t >= edge && largest.is_none_or(|(_, most)| size > most) {
            largest = Some((t, size));
        }
    }
    largest
}

/// How much neighbouring jobs are alike beyond a shift at `at`: the smaller of two estimates of
/// the lag-1 autocorrelation where both are significant, else 0; not above 0.95.
///
/// That of the residuals takes a level that goes up and comes down again for likeness, since one
/// split does not remove it; the ratio of difference variances (1 + r for a first-order
/// autoregression) hardly sees shifts but is vague: without likeness it varies by 2/n where the
/// other varies by 1/n.
fn autocorrelation(scores: &[f64], at: usize) -> f64 {
    let n = scores.len() as f64;
    let of_residuals = residual_autocorrelation(scores, at);
    let of_differences = difference_ratio(scores);
    let significant =
        of_residuals * n.sqrt() > LIKENESS && of_differences * (n / 2.0).sqrt() > LIKENESS;
    if significant {
        of_residuals.min(of_differences).min(MOST_AUTOCORRELATION)
    } else {
        0.0
    }
}

/// Lag-1 autocorrelation of what is left when each side's mean is taken away, with what the two
/// means take from it (1/n each, Kendall 1954) put back.
fn residual_autocorrelation(scores: &[f64], at: usize) -> f64 {
    let Some((before, after)) = scores.split_at_checked(at) else {
        return 0.0;
    };
    let residuals: Vec<f64> = [before, after]
        .into_iter()
        .flat_map(|side| {
            let centre = mean(side).unwrap_or_default();
            side.iter().map(move |score| score - centre)
        })
        .collect();
    let squares: f64 = residuals.iter().map(|e| e * e).sum();
    let neighbours = residuals.iter().zip(residuals.iter().skip(1));
    let products: f64 = neighbours.map(|(a, b)| a * b).sum();
    if squares > 0.0 {
        products / squares + 2.0 / scores.len() as f64
    } else {
        0.0
    }
}

/// V2 / V1 − 1, with Vk the trimmed variance of differences at lag k.
fn difference_ratio(scores: &[f64]) -> f64 {
    let variance = |lag: usize| {
        let pairs = scores.iter().zip(scores.iter().skip(lag));
        let mut squares: Vec<f64> = pairs.map(|(a, b)| (a - b).powi(2)).collect();
        squares.sort_unstable_by(f64::total_cmp);
        squares.truncate(squares.len() - squares.len() / TRIMMED);
        mean(&squares).unwrap_or_default()
    };
    let (near, far) = (variance(1), variance(2));
    if near > 0.0 { far / near - 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal, StudentT};

    use super::*;

    /// Draws per cell.
    const SERIES: u64 = 400;

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        StandardNormal.sample(rng)
    }

    /// Per cent of series for which `holds`.
    fn share(cell: u64, holds: impl Fn(&mut ChaCha8Rng) -> bool) -> f64 {
        let seeds = (0..SERIES).map(|series| cell * 1_000_000 + series);
        let count = seeds
            .filter(|seed| holds(&mut ChaCha8Rng::seed_from_u64(*seed)))
            .count();
        100.0 * count as f64 / SERIES as f64
    }

    /// Jobs around 1000 whose logs are `noise` plus what `level` says of each.
    fn jobs(n: usize, mut noise: impl FnMut() -> f64, level: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..n)
            .map(|job| 1000.0 * (noise() + level(job)).exp())
            .collect()
    }

    const FLAT: fn(usize) -> f64 = |_| 0.0;

    fn near(found: &[usize], truth: usize) -> bool {
        found.iter().any(|index| index.abs_diff(truth) <= 3)
    }

    #[test]
    fn flat_series_of_sixty_rarely_have_a_change_point() {
        let t3 = StudentT::new(3.0).unwrap();
        let any = |values: &[f64]| !change_points(values).is_empty();
        let normal_noise = share(1, |rng| any(&jobs(60, || 0.02 * normal(rng), FLAT)));
        let heavy = share(2, |rng| any(&jobs(60, || 0.02 * t3.sample(rng), FLAT)));
        let outlier = share(3, |rng| {
            let at = rng.random_range(0..60);
            let mut values = jobs(60, || 0.02 * normal(rng), FLAT);
            values[at] *= 0.8;
            any(&values)
        });
        for found in [normal_noise, heavy, outlier] {
            assert!(found <= 3.0, "{normal_noise} {heavy} {outlier}");
        }
    }

    #[test]
    fn jobs_that_resemble_their_neighbours_are_no_shift() {
        let found = share(4, |rng| {
            let mut state = normal(rng) / 0.75_f64.sqrt();
            let noise = || {
                state = 0.5 * state + normal(rng);
                0.02 * state
            };
            !change_points(&jobs(100, noise, FLAT)).is_empty()
        });
        assert!(found <= 10.0, "{found}");
    }

    #[test]
    fn a_step_of_five_per_cent_is_found_after_ten_jobs() {
        let found = share(5, |rng| {
            let level = |job| if job < 40 { 0.0 } else { 0.95_f64.ln() };
            near(&change_points(&jobs(50, || 0.02 * normal(rng), level)), 40)
        });
        assert!(found >= 80.0, "{found}");
    }

    #[test]
    fn a_step_of_ten_per_cent_is_found_among_outliers_after_six_jobs() {
        let found = share(6, |rng| {
            let level = |job| if job < 40 { 0.0 } else { 0.9_f64.ln() };
            let noise = || {
                if rng.random_bool(0.03) {
                    0.16 * if rng.random_bool(0.5) { 1.0 } else { -1.0 }
                } else {
                    0.02 * normal(rng)
                }
            };
            near(&change_points(&jobs(46, noise, level)), 40)
        });
        assert!(found >= 80.0, "{found}");
    }

    #[test]
    fn a_level_that_rises_and_falls_again_is_two_shifts() {
        let found = share(7, |rng| {
            let level = |job| match job {
                0..40 => 0.0,
                40..60 => 1.06_f64.ln(),
                _ => (1.06_f64 * 0.95).ln(),
            };
            let found = change_points(&jobs(100, || 0.01 * normal(rng), level));
            near(&found, 40) && near(&found, 60)
        });
        assert!(found >= 80.0, "{found}");
    }

    /// Five jobs at 100, 101 … 104 and five at 200 … 204: medians 102 and 202.
    #[test]
    fn ten_jobs_in_two_levels_by_hand() {
        let values = [100, 103, 101, 104, 102, 203, 200, 204, 201, 202].map(f64::from);
        let shift = level_shifts(&values);
        assert_eq!(
            shift,
            [ChangePoint {
                index: 5,
                before: 102.0,
                after: 202.0
            }]
        );
        assert!((shift[0].relative() - 100.0 / 102.0).abs() < 1e-12);
        // Nine values cannot be that rare.
        assert!(change_points(&values[..9]).is_empty());
    }

    #[test]
    fn values_without_a_logarithm_are_skipped_and_indexes_stay() {
        let jitter = |job: i32| f64::from(job * 7 % 10);
        let mut values: Vec<f64> = (0..10).map(|job| 100.0 + jitter(job)).collect();
        values.extend((0..10).map(|job| 200.0 + jitter(job)));
        assert_eq!(change_points(&values), [10]);
        for bad in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
            let mut spoiled = values.clone();
            spoiled.splice(3..3, [bad, bad]);
            assert_eq!(change_points(&spoiled), [12]);
        }
        for none in [&[f64::NAN; 50][..], &[], &[5.0; 50]] {
            assert!(change_points(none).is_empty(), "{none:?}");
        }
    }

    #[test]
    fn a_shift_of_less_than_a_per_cent_is_none() {
        let step = |size: f64| {
            let tiny = |job: usize| (job % 5) as f64 * 1e-5;
            let mut job = 0;
            let noise = || {
                job += 1;
                tiny(job)
            };
            jobs(40, noise, |job| if job < 20 { 0.0 } else { size })
        };
        assert!(change_points(&step(0.008)).is_empty());
        assert_eq!(change_points(&step(0.012)), [20]);
    }

    /// Ties share their mean rank: of four, two at 1.5 and two at 3.5.
    #[test]
    fn ties_share_their_rank() {
        let scores = scores(&[2.0, 1.0, 1.0, 2.0]);
        let high = normal_quantile(0.7).unwrap();
        for (found, expected) in scores.iter().zip([high, -high, -high, high]) {
            assert!((found - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn a_hundred_levels_of_a_hundred_jobs_are_told_apart() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let levels: Vec<f64> = (0..100).map(|_| 0.1 * normal(&mut rng)).collect();
        let values = jobs(10_000, || 0.01 * normal(&mut rng), |job| levels[job / 100]);
        let found = change_points(&values);
        assert!((80..100).contains(&found.len()), "{}", found.len());
        assert!(found.is_sorted());
    }
}
