//! Values of one quantity as the other tools summarise them. Pure.
//!
//! Up to [`EXACT`] entries are kept as they are, so that each tool's own kind of percentile comes
//! out to the last digit; more are folded into a [`Histogram`], whose quantiles are wrong by at
//! most 0.1 % of themselves. Unlike ours, these summaries are given for any number of values, and
//! a value may count several times.

use crate::histogram::Histogram;

/// Entries kept exactly: 2 MiB.
const EXACT: usize = 1 << 17;
const NANOS_PER_MS: f64 = 1e6;

/// Which value a percentile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Interpolated at position p · (n − 1), what `numpy.percentile` does: type 7 of Hyndman and
    /// Fan (1996).
    Linear,
    /// The smallest value that p · n values do not exceed: type 1.
    NearestRank,
}

/// Values in milliseconds, each with the number of times it counts.
#[derive(Debug, Default)]
pub(super) struct Samples {
    values: Vec<(f64, u64)>,
    folded: Option<Histogram>,
    count: u64,
    /// Mean and sum of squared deviations so far, after Welford (1962).
    mean: f64,
    squares: f64,
}

/// What a tool prints of a quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stats {
    pub(super) mean: f64,
    /// Of the population, with n: numpy's default.
    pub(super) deviation: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
}

impl Stats {
    /// What numpy makes of an empty list, in the words of the tools that ask it to: zeros.
    pub(super) const ZERO: Self = Self {
        mean: 0.0,
        deviation: 0.0,
        p50: 0.0,
        p90: 0.0,
        p99: 0.0,
    };
}

impl Samples {
    /// Adds a value.
    pub(super) fn add(&mut self, value: f64) {
        self.add_times(value, 1);
    }

    /// Adds a value that counts `times` times; 0 adds nothing.
    pub(super) fn add_times(&mut self, value: f64, times: u64) {
        if times == 0 {
            return;
        }
        self.count += times;
        let away = value - self.mean;
        self.mean += away * times as f64 / self.count as f64;
        self.squares += away * (value - self.mean) * times as f64;
        if let Some(histogram) = &mut self.folded {
            put(histogram, value, times);
            return;
        }
        self.values.push((value, times));
        if self.values.len() > EXACT {
            let mut histogram = Histogram::new();
            for (value, times) in std::mem::take(&mut self.values) {
                put(&mut histogram, value, times);
            }
            self.folded = Some(histogram);
        }
    }

    /// Whether percentiles come from the histogram.
    pub(super) const fn folded(&self) -> bool {
        self.folded.is_some()
    }

    /// The sum of all values.
    pub(super) fn total(&self) -> f64 {
        self.mean * self.count as f64
    }

    /// The summary; `None` of nothing.
    pub(super) fn stats(&self, flavour: Flavour) -> Option<Stats> {
        if self.count == 0 {
            return None;
        }
        let mut sorted = self.values.clone();
        sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
        let at = |p: f64| match &self.folded {
            Some(histogram) => histogram.quantile_ns(p).unwrap_or_default() / NANOS_PER_MS,
            None => percentile(&sorted, self.count, p, flavour),
        };
        Some(Stats {
            mean: self.mean,
            deviation: (self.squares / self.count as f64).max(0.0).sqrt(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
        })
    }
}

fn put(histogram: &mut Histogram, milliseconds: f64, times: u64) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "latencies are not negative, and the cast saturates"
    )]
    let nanos = (milliseconds * NANOS_PER_MS).round() as u64;
    for _ in 0..times {
        histogram.add_ns(nanos);
    }
}

/// The `p` percentile of values sorted from small to large, `count` with their weights.
fn percentile(sorted: &[(f64, u64)], count: u64, p: f64, flavour: Flavour) -> f64 {
    /// 0.95 · 20 is a hair above 19 in binary.
    const SLACK: f64 = 1e-9;
    match flavour {
        Flavour::Linear => {
            let position = p * count.saturating_sub(1) as f64;
            let low = nth(sorted, position.floor());
            let high = nth(sorted, position.floor() + 1.0);
            low + (high - low) * position.fract()
        }
        Flavour::NearestRank => nth(sorted, (p * count as f64 - SLACK).ceil() - 1.0),
    }
}

/// The value at a position from 0, the last one beyond the end.
fn nth(sorted: &[(f64, u64)], position: f64) -> f64 {
    let mut below = 0_u64;
    let mut last = 0.0;
    for (value, times) in sorted {
        below += times;
        last = *value;
        if position < below as f64 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(values: &[(f64, u64)], flavour: Flavour) -> Stats {
        let mut samples = Samples::default();
        for (value, times) in values {
            samples.add_times(*value, *times);
        }
        samples.stats(flavour).unwrap()
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn the_two_kinds_of_percentile_differ_on_few_values() {
        let values: Vec<(f64, u64)> = (1..=16).map(|n| (f64::from(n), 1)).collect();
        let linear = stats(&values, Flavour::Linear);
        near(linear.p50, 8.5); // position 7.5
        near(linear.p90, 14.5); // position 13.5
        near(linear.p99, 15.85); // position 14.85
        let rank = stats(&values, Flavour::NearestRank);
        near(rank.p50, 8.0); // rank 8
        near(rank.p90, 15.0); // rank 14.4, so 15
        near(rank.p99, 16.0); // rank 15.84, so 16
        // 0.9 of 10 is rank 9 and not 10.
        let ten: Vec<(f64, u64)> = (1..=10).map(|n| (f64::from(n), 1)).collect();
        near(stats(&ten, Flavour::NearestRank).p90, 9.0);
    }

    #[test]
    fn weights_count() {
        // 10 twice, 20 ten times: mean 220 / 12, variance (2·(25/3)² + 10·(5/3)²) / 12 = 125/9.
        let found = stats(&[(20.0, 10), (10.0, 2), (99.0, 0)], Flavour::Linear);
        near(found.mean, 220.0 / 12.0);
        near(found.deviation, (125.0_f64 / 9.0).sqrt());
        near(found.p50, 20.0);
        assert_eq!(Samples::default().stats(Flavour::Linear), None);
    }

    #[test]
    fn many_values_are_folded_and_stay_within_a_thousandth() {
        let mut samples = Samples::default();
        for value in 1..=150_000_u32 {
            samples.add(f64::from(value) / 100.0);
        }
        assert!(samples.folded());
        let found = samples.stats(Flavour::Linear).unwrap();
        near(found.mean, 150_001.0 / 200.0);
        assert!((found.p99 / 1485.0 - 1.0).abs() < 1e-3, "{}", found.p99);
        assert!((samples.total() / 112_500_750.0 - 1.0).abs() < 1e-9);
    }
}
