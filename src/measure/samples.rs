//! Values of one quantity: exact while there are few, a histogram from then on. Pure.
//!
//! Up to [`EXACT`] values are kept as they are. One more folds them all into a
//! [`Histogram`], so that memory no longer grows with the run; a quantile is then wrong by at
//! most 0.1 % of itself, the mean and the extremes stay right to the nanosecond. Which of the
//! two a quantity's quantiles come from is told by its [`QuantileMethod`].

use serde::{Deserialize, Serialize};

use super::quantile::{enough, mean, quantile};
use crate::histogram::Histogram;

/// Values kept exactly.
pub(super) const EXACT: usize = 65_536;
const NANOS_PER_MS: f64 = 1e6;
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// Where the quantiles of a quantity come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuantileMethod {
    /// From every value: type 7 of Hyndman and Fan (1996).
    Exact,
    /// From a histogram with logarithmic buckets, likewise interpolated.
    LogHistogram,
}

impl QuantileMethod {
    /// For people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::LogHistogram => "log histogram, ≤ 0.1 %",
        }
    }
}

/// Values of one quantity, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Samples {
    values: Vec<f64>,
    folded: Option<Histogram>,
    /// Values of which only the sum is known.
    blurred: u64,
    blurred_total: f64,
}

/// What is reported of a quantity.
#[derive(Debug, PartialEq)]
pub(super) struct Summary {
    /// Value by statistic: `mean`, `min`, `max`, `p50`, …; a quantile without enough values is
    /// left out.
    pub(super) statistics: Vec<(&'static str, f64)>,
    /// Values with a value of their own.
    pub(super) count: u64,
    pub(super) method: QuantileMethod,
}

impl Samples {
    /// Adds a value.
    pub(super) fn add(&mut self, value: f64) {
        self.add_times(value, 1);
    }

    /// Adds a value that counts `times` times.
    pub(super) fn add_times(&mut self, value: f64, times: u32) {
        for _ in 0..times {
            if let Some(histogram) = &mut self.folded {
                histogram.add_ns(nanos(value));
            } else {
                self.values.push(value);
                if self.values.len() > EXACT {
                    self.fold();
                }
            }
        }
    }

    /// Adds `count` values of which only the sum is known: they count for the mean and for
    /// nothing else.
    pub(super) fn blur(&mut self, count: u64, total: f64) {
        self.blurred += count;
        self.blurred_total += total;
    }

    fn fold(&mut self) {
        let mut histogram = Histogram::new();
        for value in std::mem::take(&mut self.values) {
            histogram.add_ns(nanos(value));
        }
        self.folded = Some(histogram);
    }

    /// What can be said; `None` when no value is known by itself.
    pub(super) fn summary(mut self) -> Option<Summary> {
        self.values.sort_by(f64::total_cmp);
        let (count, own_mean, [min, max], method) = if let Some(histogram) = &self.folded {
            let ms = |nanos: Option<u64>| Some(nanos? as f64 / NANOS_PER_MS);
            (
                histogram.count(),
                histogram.mean_ns()? / NANOS_PER_MS,
                [ms(histogram.min_ns())?, ms(histogram.max_ns())?],
                QuantileMethod::LogHistogram,
            )
        } else {
            (
                self.values.len() as u64,
                mean(&self.values)?,
                [*self.values.first()?, *self.values.last()?],
                QuantileMethod::Exact,
            )
        };
        let all = (count + self.blurred) as f64;
        let total = own_mean * count as f64 + self.blurred_total;
        // Without blurred values the mean is taken as it is: no rounding on the way.
        let mean = if self.blurred == 0 {
            own_mean
        } else {
            total / all
        };
        let mut statistics = vec![("mean", mean), ("min", min), ("max", max)];
        for (name, p) in QUANTILES {
            statistics.extend(self.quantile(count, p).map(|value| (name, value)));
        }
        Some(Summary {
            statistics,
            count,
            method,
        })
    }

    fn quantile(&self, count: u64, p: f64) -> Option<f64> {
        match &self.folded {
            Some(histogram) if enough(count, p) => Some(histogram.quantile_ns(p)? / NANOS_PER_MS),
            Some(_) => None,
            None => quantile(&self.values, p),
        }
    }
}

/// Milliseconds in whole nanoseconds.
fn nanos(milliseconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "latencies are not negative, and the cast saturates"
    )]
    let nanos = (milliseconds * NANOS_PER_MS).round() as u64;
    nanos
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(summary: &Summary, name: &str) -> f64 {
        let found = summary.statistics.iter().find(|(known, _)| *known == name);
        found.unwrap().1
    }

    fn filled(count: u32) -> Samples {
        let mut samples = Samples::default();
        // 1/64 ms apart, largest first: the order must not matter.
        for value in (1..=count).rev() {
            samples.add(f64::from(value) / 64.0);
        }
        samples
    }

    #[test]
    fn the_last_exact_value_and_the_first_folded_one() {
        let exact = filled(65_536).summary().unwrap();
        assert_eq!(exact.method, QuantileMethod::Exact);
        // Position 0.5 · 65 535 = 32 767.5 from 0: between 32 768/64 and 32 769/64.
        assert!((get(&exact, "p50") - 32_768.5 / 64.0).abs() < 1e-9);

        let folded = filled(65_537).summary().unwrap();
        assert_eq!(
            (folded.method, folded.count),
            (QuantileMethod::LogHistogram, 65_537)
        );
        for (name, p) in QUANTILES {
            let expected = (1.0 + p * 65_536.0) / 64.0;
            let error = (get(&folded, name) / expected - 1.0).abs();
            assert!(error <= 0.001, "{name} is off by {error}");
        }
        assert!((get(&folded, "mean") - 32_769.0 / 64.0).abs() < 1e-9);
        assert!((get(&folded, "max") - 65_537.0 / 64.0).abs() < 1e-9);
        assert!((get(&folded, "min") - 1.0 / 64.0).abs() < 1e-9);
    }

    #[test]
    fn blurred_values_reach_the_mean_only() {
        let mut samples = Samples::default();
        samples.add(10.0);
        samples.add(20.0);
        samples.blur(2, 90.0);
        let summary = samples.summary().unwrap();
        assert!((get(&summary, "mean") - 30.0).abs() < 1e-12); // (10 + 20 + 90) / 4
        assert!((get(&summary, "max") - 20.0).abs() < 1e-12);
        assert_eq!(summary.count, 2);

        let mut nothing_known = Samples::default();
        nothing_known.blur(2, 90.0);
        assert_eq!(nothing_known.summary(), None);
    }

    #[test]
    fn a_value_can_count_several_times() {
        let mut samples = Samples::default();
        samples.add_times(2.0, 3);
        samples.add_times(6.0, 1);
        let summary = samples.summary().unwrap();
        assert!((get(&summary, "mean") - 3.0).abs() < 1e-12);
        assert!((get(&summary, "p50") - 2.0).abs() < 1e-12);
        assert_eq!(summary.count, 4);
    }
}
