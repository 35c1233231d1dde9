//! What a paced simulator knows about itself. Times are nanoseconds since its start, monotonic.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::spec::PacedSpec;
use crate::histogram::Histogram;

/// Everything a paced simulator knows when it stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PacedTruth {
    /// Requests in the order they ended; empty when the times were not kept.
    pub requests: Vec<PacedRequest>,
    /// Requests answered whole.
    pub served: u64,
    /// Requests whose client went away, or that were running at the end.
    pub unfinished: u64,
    /// Tokens sent.
    pub tokens: u64,
    /// Arrival of the first request.
    pub first_arrival_ns: Option<u64>,
    /// The last write of a token.
    pub last_sent_ns: Option<u64>,
    /// How late writes were. Nothing without pace.
    pub lateness: Option<Lateness>,
}

impl PacedTruth {
    /// Tokens sent per second, from the first request's arrival to the last token.
    pub fn tokens_per_second(&self) -> Option<f64> {
        Some(self.tokens as f64 / self.seconds()?)
    }

    /// The load of a closed loop as a share of what it is when neither side is ever late:
    /// `concurrency` streams one answer after the other, each `ttft + (writes − 1) · itl` long.
    /// Every answer must have had `tokens` tokens.
    pub fn load_share(
        &self,
        concurrency: NonZeroU32,
        spec: &PacedSpec,
        tokens: u32,
    ) -> Option<f64> {
        let gaps = tokens.div_ceil(spec.burst.get()).saturating_sub(1);
        let ideal = spec.ttft + spec.itl * gaps;
        let waves = self.served as f64 / f64::from(concurrency.get());
        Some(waves * ideal.as_secs_f64() / self.seconds()?)
    }

    /// From the first request's arrival to the last token.
    fn seconds(&self) -> Option<f64> {
        let span = self.last_sent_ns?.checked_sub(self.first_arrival_ns?)?;
        (span > 0).then(|| span as f64 / 1e9)
    }
}

/// Writes after their due time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// Median.
    pub p50_ns: f64,
    /// 99 of 100 writes were not later.
    pub p99_ns: f64,
    /// The latest.
    pub max_ns: u64,
}

impl Lateness {
    /// Of a histogram; `None` when it is empty.
    pub(super) fn of(histogram: &Histogram) -> Option<Self> {
        Some(Self {
            p50_ns: histogram.quantile_ns(0.5)?,
            p99_ns: histogram.quantile_ns(0.99)?,
            max_ns: histogram.max_ns()?,
        })
    }
}

/// What is true of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacedRequest {
    /// The number its prompt began with, as in `#17 `.
    pub marker: Option<u64>,
    /// When its last byte arrived.
    pub arrived_ns: u64,
    /// Whether the kernel stamped the arrival. If not, it is the return of the read.
    pub kernel_stamped: bool,
    /// Just before the write of a role chunk that left alone.
    pub role_ns: Option<u64>,
    /// Just before each write that held tokens.
    pub sent_ns: Vec<u64>,
    /// Tokens sent.
    pub tokens: u32,
    /// Writes that the socket did not take whole: their clients were too slow, and the rest left
    /// later than `sent_ns` says.
    pub held_up: u32,
    /// Whether the whole answer was sent.
    pub complete: bool,
}

impl PacedRequest {
    /// Time to first token, from arrival to the first write with a token.
    pub fn ttft_ns(&self) -> Option<u64> {
        Some(self.sent_ns.first()?.saturating_sub(self.arrived_ns))
    }

    /// Gaps between writes.
    pub fn gaps_ns(&self) -> impl Iterator<Item = u64> {
        let later = self.sent_ns.iter().skip(1);
        later
            .zip(&self.sent_ns)
            .map(|(later, earlier)| later.saturating_sub(*earlier))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_differences() {
        let request = PacedRequest {
            marker: None,
            arrived_ns: 100,
            kernel_stamped: true,
            role_ns: Some(101),
            sent_ns: vec![150, 160, 175],
            tokens: 3,
            held_up: 0,
            complete: true,
        };
        assert_eq!(request.ttft_ns(), Some(50));
        assert_eq!(request.gaps_ns().collect::<Vec<_>>(), [10, 15]);
    }

    #[test]
    fn load_is_what_was_sent_against_streams_without_a_pause() {
        let truth = PacedTruth {
            requests: Vec::new(),
            served: 8,
            unfinished: 0,
            tokens: 88,
            first_arrival_ns: Some(1_000_000_000),
            last_sent_ns: Some(1_400_000_000),
            lateness: None,
        };
        // 88 tokens in 0.4 s.
        assert!((truth.tokens_per_second().unwrap() - 220.0).abs() < 1e-9);
        // 50 ms and 10 gaps of 10 ms: 150 ms an answer; 2 waves of 4 are 300 of 400 ms.
        let four = NonZeroU32::new(4).unwrap();
        let share = truth.load_share(four, &PacedSpec::default(), 11).unwrap();
        assert!((share - 0.75).abs() < 1e-9);
    }

    #[test]
    fn nothing_late_is_no_lateness() {
        assert_eq!(Lateness::of(&Histogram::new()), None);
    }
}
