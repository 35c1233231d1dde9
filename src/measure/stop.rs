//! When a scenario can end early: too many errors, a mean known well enough, a queue that only
//! grows. Pure.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::quantile::{deviation, mean};

/// Ended requests before an error rate means something.
pub(super) const LEAST_FOR_ERRORS: u64 = 20;
/// Batches that a confidence interval rests on; between this and twice as many are kept.
const BATCHES: usize = 20;
/// Smallest batch: with the number of batches, 100 requests.
const LEAST_BATCH: u64 = 5;
/// Of the confidence interval.
const CONFIDENCE: f64 = 0.95;
/// Spans that the number of requests under way is looked at in.
pub(super) const QUEUE_SPANS: usize = 64;
/// Fewer spans show no trend.
const LEAST_SPANS: usize = 32;
/// Significance of a growing queue.
const SIGNIFICANCE: f64 = 0.01;
/// The queue must grow by this share of its mean within the last half, …
const LEAST_GROWTH: f64 = 0.4;
/// … be so much longer in the last half than in the first, …
const LEAST_RATIO: f64 = 1.5;
/// … and hold so many requests at last.
const LEAST_QUEUE: f64 = 8.0;

/// Means of equally large batches of consecutive values, for an interval around the mean of
/// values that depend on their neighbours (Law and Kelton, "Simulation Modeling and Analysis",
/// batch means).
///
/// When 40 batches are full, neighbours are joined: the batches grow with the run, their number
/// stays between 20 and 40. A batch holds at least one value of each slot of a closed loop:
/// requests of one wave are alike, and batches smaller than a wave would be too.
#[derive(Debug)]
pub(super) struct BatchMeans {
    size: u64,
    sum: f64,
    count: u64,
    means: Vec<f64>,
}

impl BatchMeans {
    /// `wave`: requests in flight at once.
    pub(super) fn new(wave: u64) -> Self {
        Self {
            size: LEAST_BATCH.max(wave),
            sum: 0.0,
            count: 0,
            means: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
        if self.count < self.size {
            return;
        }
        self.means.push(self.sum / self.count as f64);
        (self.sum, self.count) = (0.0, 0);
        if self.means.len() >= 2 * BATCHES {
            let joined = self.means.chunks_exact(2);
            self.means = joined.filter_map(mean).collect();
            self.size *= 2;
        }
    }

    /// Half the width of the 95 % interval of the mean, as a share of the mean; `None` below 20
    /// full batches.
    pub(super) fn half_width(&self) -> Option<f64> {
        if self.means.len() < BATCHES {
            return None;
        }
        let count = self.means.len() as f64;
        let error = deviation(&self.means)? / count.sqrt();
        let centre = mean(&self.means)?;
        let t = t_quantile(f64::midpoint(1.0, CONFIDENCE), count - 1.0)?;
        (centre > 0.0).then(|| t * error / centre)
    }
}

fn t_quantile(p: f64, freedom: f64) -> Option<f64> {
    let distribution = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some(distribution.inverse_cdf(p)).filter(|quantile| quantile.is_finite())
}

/// Whether a queue only grows. `under_way` is the mean number of requests under way in
/// consecutive spans of equal length, from the beginning of load on.
///
/// All of this must hold: over the last half the slope of the least-squares line is above zero
/// at 1 % (one-sided t), the line grows by 40 % of the half's mean, the half's mean is 1.5 times
/// that of the first half, and the last span holds at least 8 requests. A queue that grows
/// evenly from nothing grows by 67 % and has three times the mean. A busy server's queue that
/// comes and goes fails one of them.
pub(super) fn queue_grows(under_way: &[f64]) -> bool {
    if under_way.len() < LEAST_SPANS {
        return false;
    }
    let (first, last) = under_way.split_at(under_way.len() / 2);
    let Some(((before, now), line)) = mean(first).zip(mean(last)).zip(Line::through(last)) else {
        return false;
    };
    let growth = line.slope * (last.len() - 1) as f64;
    let significant = t_quantile(1.0 - SIGNIFICANCE, last.len() as f64 - 2.0)
        .is_some_and(|least| line.slope > least * line.error);
    significant
        && growth >= LEAST_GROWTH * now
        && now >= LEAST_RATIO * before
        && last.last().is_some_and(|queue| *queue >= LEAST_QUEUE)
}

/// A least-squares line over equally spaced values.
struct Line {
    slope: f64,
    /// Standard error of the slope.
    error: f64,
}

impl Line {
    fn through(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let middle = (n - 1.0) / 2.0;
        let centre = mean(values)?;
        let points = || {
            values
                .iter()
                .zip(0_u32..)
                .map(|(y, x)| (f64::from(x) - middle, y - centre))
        };
        let xx: f64 = points().map(|(x, _)| x * x).sum();
        let xy: f64 = points().map(|(x, y)| x * y).sum();
        let slope = xy / xx;
        let rest: f64 = points().map(|(x, y)| (y - slope * x).powi(2)).sum();
        (n > 2.0).then(|| Self {
            slope,
            error: (rest / (n - 2.0) / xx).sqrt(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};

    use super::*;

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }

    #[test]
    fn an_interval_needs_twenty_batches_of_five() {
        let mut batches = BatchMeans::new(1);
        for n in 0..99 {
            batches.add(f64::from(n % 2));
        }
        assert_eq!(batches.half_width(), None);
        batches.add(1.0);
        assert!(batches.half_width().is_some());
    }

    #[test]
    fn the_interval_worked_by_hand() {
        let mut batches = BatchMeans::new(1);
        // Batch means 9 and 11 in turn: mean 10, squares 20 · 1 over 19, error
        // sqrt(20/19/20) = 0.229416; t(0.975; 19) = 2.093024: half width 0.480173, 4.80 %.
        for batch in 0..20 {
            for _ in 0..5 {
                batches.add(if batch % 2 == 0 { 9.0 } else { 11.0 });
            }
        }
        near(batches.half_width().unwrap(), 0.048_017_3);
    }

    #[test]
    fn batches_join_and_hold_a_wave() {
        let mut batches = BatchMeans::new(1);
        for n in 0..200 {
            batches.add(f64::from(n));
        }
        // 40 batches of 5 became 20 of 10.
        assert_eq!((batches.size, batches.means.len()), (10, 20));
        near(batches.means[0], 4.5);
        near(batches.means[19], 194.5);

        let mut wave = BatchMeans::new(64);
        for _ in 0..64 * 20 - 1 {
            wave.add(1.0);
        }
        assert_eq!(wave.half_width(), None);
        wave.add(1.0);
        assert_eq!(wave.half_width(), Some(0.0));
    }

    #[test]
    fn a_slope_worked_by_hand() {
        // y = 0, 1, 2, 5: x̄ 1.5, ȳ 2; Σxy 8, Σxx 5: slope 1.6; residuals 0.4, -0.2, -0.8, 0.6:
        // squares 1.2, error sqrt(1.2 / 2 / 5) = 0.346410.
        let line = Line::through(&[0.0, 1.0, 2.0, 5.0]).unwrap();
        near(line.slope, 1.6);
        near(line.error, 0.346_410_162);
    }

    /// Requests under way at a server with exponential gaps and one exponential service after
    /// the other, `load` times its capacity: means over 64 spans of 50 mean services each.
    fn queue(seed: u64, load: f64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut after = |rate: f64| -(1.0 - random.random::<f64>()).ln() / rate;
        let (mut now, mut length) = (0.0, 0_u32);
        let (mut next_due, mut next_end) = (after(load), f64::INFINITY);
        let span = 50.0;
        let mut spans = vec![0.0; 64];
        while now < span * 64.0 {
            let next = next_due.min(next_end);
            // The time until then, split at span edges.
            while now < next.min(span * 64.0) {
                let index = (now / span + 1e-12).floor();
                let edge = ((index + 1.0) * span).min(next);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 64"
                )]
                let at = (index as usize).min(63);
                spans[at] += f64::from(length) * (edge - now) / span;
                now = edge;
            }
            if next_due <= next_end {
                length += 1;
                if length == 1 {
                    next_end = now + after(1.0);
                }
                next_due = now + after(load);
            } else {
                length -= 1;
                next_end = if length > 0 {
                    now + after(1.0)
                } else {
                    f64::INFINITY
                };
            }
        }
        spans
    }

    #[test]
    fn a_server_beyond_its_capacity_is_seen() {
        let seen = (0..20)
            .filter(|seed| queue_grows(&queue(*seed, 1.5)))
            .count();
        assert_eq!(seen, 20);
    }

    #[test]
    fn a_busy_server_is_not() {
        let wrong = (0..100)
            .filter(|seed| queue_grows(&queue(*seed, 0.8)))
            .count();
        assert!(wrong <= 2, "{wrong}");
    }

    #[test]
    fn each_condition_counts() {
        let line = |from: f64, step: f64| -> Vec<f64> {
            (0..64).map(|n| from + step * f64::from(n)).collect()
        };
        assert!(queue_grows(&line(0.0, 1.0)));
        assert!(!queue_grows(&line(0.0, 1.0)[..31]), "too short");
        assert!(!queue_grows(&line(0.0, -1.0)), "it shrinks");
        assert!(!queue_grows(&line(0.0, 0.12)), "fewer than 8 requests");
        assert!(!queue_grows(&line(100.0, 1.0)), "it hardly grows");
        let step: Vec<f64> = (0..64).map(|n| if n < 32 { 5.0 } else { 20.0 }).collect();
        assert!(!queue_grows(&step), "it stays at its new level");
    }
}
