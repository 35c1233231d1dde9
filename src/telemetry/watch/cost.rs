//! What watching costs: the rate adapts to it, and it is reported.

use std::time::Duration;

use crate::telemetry::{GpuSample, WatchCost};

/// A reading may take this share of the time between readings.
const MAX_SHARE: u32 = 10;
/// So many dear readings in a row halve the rate; a single one is the scheduler's doing.
const IN_A_ROW: u32 = 3;
/// The rate is not lowered below this: more than 3 s between readings voids the window anyway.
const LONGEST_INTERVAL: Duration = Duration::from_millis(1600);

/// The time between readings.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    dear: u32,
}

impl Pace {
    pub(super) const fn new(interval: Duration) -> Self {
        Self { interval, dear: 0 }
    }

    pub(super) const fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes note of what a reading cost. Gives the time between readings from here on.
    pub(super) fn took(&mut self, cost: Duration) -> Duration {
        self.dear = if cost * MAX_SHARE > self.interval {
            self.dear + 1
        } else {
            0
        };
        if self.dear == IN_A_ROW {
            self.dear = 0;
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL.max(self.interval));
        }
        self.interval
    }
}

/// Sums up what watching cost while a section lasted, until `ended` on the samples' clock: a
/// source that hangs leaves a gap that no reading ends.
pub(super) fn sum_up(
    mut costs: Vec<Duration>,
    samples: &[GpuSample],
    ended: Duration,
    missed: u64,
    interval: Duration,
) -> WatchCost {
    costs.sort_unstable();
    let rank = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank below the number of readings"
        )]
        let at = (share * costs.len().saturating_sub(1) as f64).ceil() as usize;
        costs.get(at).map(|cost| cost.as_secs_f64() * 1e6)
    };
    let times = || samples.iter().map(|sample| sample.at);
    let next = times().skip(1).chain([ended]);
    let largest = times()
        .zip(next)
        .map(|(one, next)| next.saturating_sub(one))
        .max();
    WatchCost {
        ticks: costs.len() as u64,
        tick_p50_us: rank(0.5),
        tick_p99_us: rank(0.99),
        missed,
        largest_gap_ms: largest.map(|gap| gap.as_secs_f64() * 1e3),
        interval_ms: interval.as_secs_f64() * 1e3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_rate_is_halved_when_readings_take_a_tenth_of_the_time() {
        let mut pace = Pace::new(ms(100));
        for _ in 0..10 {
            assert_eq!(pace.took(ms(10)), ms(100));
        }
        // Twice is chance.
        assert_eq!(pace.took(ms(11)), ms(100));
        assert_eq!(pace.took(ms(11)), ms(100));
        assert_eq!(pace.took(ms(10)), ms(100));
        for _ in 0..2 {
            pace.took(ms(11));
        }
        assert_eq!(pace.took(ms(11)), ms(200));
        // At the lower rate the same cost is fine.
        for _ in 0..10 {
            assert_eq!(pace.took(ms(11)), ms(200));
        }
        for _ in 0..100 {
            pace.took(ms(5000));
        }
        assert_eq!(pace.interval(), LONGEST_INTERVAL);
        // A source that is slower by nature stays as it is.
        let mut slow = Pace::new(ms(2000));
        for _ in 0..10 {
            slow.took(ms(5000));
        }
        assert_eq!(slow.interval(), ms(2000));
    }

    #[test]
    fn costs_are_summed_up() {
        let costs = (1..=101).rev().map(Duration::from_micros).collect();
        let sample = |at| GpuSample {
            at: ms(at),
            readings: Vec::new(),
        };
        let samples = [sample(0), sample(100), sample(450), sample(500)];
        let cost = sum_up(costs, &samples, ms(600), 3, ms(200));
        assert_eq!((cost.ticks, cost.missed), (101, 3));
        let near = |found: Option<f64>, expected: f64| {
            assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?}");
        };
        near(cost.tick_p50_us, 51.0);
        near(cost.tick_p99_us, 100.0);
        near(cost.largest_gap_ms, 350.0);
        near(Some(cost.interval_ms), 200.0);
        // The last reading hangs.
        let hung = sum_up(Vec::new(), &samples, ms(2500), 0, ms(100));
        near(hung.largest_gap_ms, 2000.0);
        let none = sum_up(Vec::new(), &[], ms(600), 0, ms(100));
        assert_eq!((none.tick_p50_us, none.largest_gap_ms), (None, None));
    }
}
