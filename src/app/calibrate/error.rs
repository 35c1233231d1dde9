//! What a client measured against what its simulator knows. Pure.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::{
    load::RequestTrace,
    measure::quantile,
    sim::paced::{PacedRequest, PacedTruth},
};

/// What a client measured of one request, in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The number its prompt began with.
    pub marker: u64,
    /// Send to first token.
    pub ttft_ns: u64,
    /// Gaps between tokens.
    pub gaps_ns: Vec<u64>,
}

impl Sample {
    /// From the driver's trace of a request whose prompt began with its index; `None` when it
    /// brought no output.
    pub fn of(trace: &RequestTrace) -> Option<Self> {
        let output = trace.chunks.iter().filter(|chunk| chunk.kind.is_output());
        let at: Vec<_> = output.map(|chunk| chunk.at).collect();
        let nanos = |span: std::time::Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Some(Self {
            marker: u64::from(trace.index),
            ttft_ns: nanos(at.first()?.saturating_sub(trace.sent_at)),
            gaps_ns: at
                .iter()
                .skip(1)
                .zip(&at)
                .map(|(later, earlier)| nanos(later.saturating_sub(*earlier)))
                .collect(),
        })
    }
}

/// How far a client is from the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBars {
    /// Requests compared.
    pub requests: usize,
    /// Complete requests of the simulator that the client has no sample of with as many tokens.
    pub unmatched: usize,
    /// Of the time to first token.
    pub ttft: ErrorBar,
    /// Of the gaps between tokens.
    pub itl: ErrorBar,
}

/// Errors in milliseconds: the quantile of what was measured minus the quantile of the truth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBar {
    /// Values compared.
    pub count: usize,
    /// Of the median; `None` with too few values, as in every report.
    pub p50_ms: Option<f64>,
    /// Of the 95th percentile.
    pub p95_ms: Option<f64>,
    /// Of the 99th percentile.
    pub p99_ms: Option<f64>,
    /// The largest distance of a single value from its own truth.
    pub worst_ms: Option<f64>,
}

impl ErrorBar {
    /// Whether no error exceeds `limit_ms`, of the quantiles that there are enough values for.
    /// `false` when there are not even enough for the median.
    pub fn holds(&self, limit_ms: f64) -> bool {
        let within = |error: Option<f64>| error.is_none_or(|error| error.abs() <= limit_ms);
        self.p50_ms.is_some()
            && [self.p50_ms, self.p95_ms, self.p99_ms]
                .into_iter()
                .all(within)
    }
}

/// Pairs of measured and true values, in milliseconds.
#[derive(Default)]
struct Pairs {
    measured: Vec<f64>,
    truth: Vec<f64>,
    worst: Option<f64>,
}

impl Pairs {
    fn add(&mut self, measured_ns: u64, truth_ns: u64) {
        let (measured, truth) = (measured_ns as f64 / 1e6, truth_ns as f64 / 1e6);
        let distance = (measured - truth).abs();
        self.worst = Some(self.worst.map_or(distance, |worst| worst.max(distance)));
        self.measured.push(measured);
        self.truth.push(truth);
    }

    fn bar(mut self) -> ErrorBar {
        self.measured.sort_by(f64::total_cmp);
        self.truth.sort_by(f64::total_cmp);
        let error = |p| Some(quantile(&self.measured, p)? - quantile(&self.truth, p)?);
        ErrorBar {
            count: self.truth.len(),
            p50_ms: error(0.5),
            p95_ms: error(0.95),
            p99_ms: error(0.99),
            worst_ms: self.worst,
        }
    }
}

/// Compares samples with the simulator's record. The simulator must have sent one token per
/// write.
pub fn compare(samples: &[Sample], truth: &PacedTruth) -> ErrorBars {
    let by_marker: HashMap<u64, &Sample> = samples.iter().map(|one| (one.marker, one)).collect();
    let (mut ttft, mut itl) = (Pairs::default(), Pairs::default());
    let (mut requests, mut unmatched) = (0, 0);
    for request in truth.requests.iter().filter(|one| one.complete) {
        match matching(&by_marker, request) {
            Some((sample, true_ttft)) => {
                requests += 1;
                ttft.add(sample.ttft_ns, true_ttft);
                for (measured, truth) in sample.gaps_ns.iter().zip(request.gaps_ns()) {
                    itl.add(*measured, truth);
                }
            }
            None => unmatched += 1,
        }
    }
    ErrorBars {
        requests,
        unmatched,
        ttft: ttft.bar(),
        itl: itl.bar(),
    }
}

/// The sample of a request, if it has as many gaps, and the request's true TTFT.
fn matching<'a>(
    samples: &HashMap<u64, &'a Sample>,
    request: &PacedRequest,
) -> Option<(&'a Sample, u64)> {
    let sample = samples.get(&request.marker?)?;
    let gaps = request.sent_ns.len().checked_sub(1)?;
    (sample.gaps_ns.len() == gaps).then_some((sample, request.ttft_ns()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{ChunkArrival, ChunkKind};

    const MS: u64 = 1_000_000;

    fn truth(count: u64) -> PacedTruth {
        let request = |marker| PacedRequest {
            marker: Some(marker),
            arrived_ns: 0,
            kernel_stamped: true,
            role_ns: None,
            sent_ns: vec![50 * MS, 60 * MS, 75 * MS],
            tokens: 3,
            held_up: 0,
            complete: true,
        };
        PacedTruth {
            requests: (0..count).map(request).collect(),
            served: count,
            unfinished: 0,
            tokens: 3 * count,
            first_arrival_ns: Some(0),
            last_sent_ns: Some(75 * MS),
            lateness: None,
        }
    }

    fn sample(marker: u64, ttft_ns: u64, gaps_ns: [u64; 2]) -> Sample {
        Sample {
            marker,
            ttft_ns,
            gaps_ns: gaps_ns.to_vec(),
        }
    }

    #[test]
    fn a_trace_gives_the_times_of_its_output_only() {
        let at = Duration::from_millis;
        let mut trace = RequestTrace::sent(7, at(100));
        trace.chunks = vec![
            ChunkArrival::new(at(101), ChunkKind::Other),
            ChunkArrival::new(at(150), ChunkKind::Reasoning),
            ChunkArrival::new(at(160), ChunkKind::Content),
            ChunkArrival::new(at(175), ChunkKind::Content),
            ChunkArrival::new(at(176), ChunkKind::Other),
        ];
        let expected = sample(7, 50 * MS, [10 * MS, 15 * MS]);
        assert_eq!(Sample::of(&trace), Some(expected));
        assert_eq!(Sample::of(&RequestTrace::sent(0, at(0))), None);
    }

    #[test]
    fn errors_are_differences_of_quantiles_and_the_worst_is_of_one_value() {
        // 100 requests, all 1 ms late at the first token, so that the gap after it is 1 ms
        // short; number 0 is 5 ms late.
        let mut samples: Vec<Sample> = (0..100)
            .map(|marker| sample(marker, 51 * MS, [9 * MS, 15 * MS]))
            .collect();
        samples[0] = sample(0, 55 * MS, [5 * MS, 15 * MS]);
        let bars = compare(&samples, &truth(100));
        assert_eq!((bars.requests, bars.unmatched), (100, 0));
        let near = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
        assert!(near(bars.ttft.p50_ms, 1.0), "{bars:?}");
        // Position 0.99 · 99 = 98.01 of 51 … 51, 55: 51 + 0.01 · 4 = 51.04.
        assert!(near(bars.ttft.p99_ms, 1.04), "{bars:?}");
        assert!(near(bars.ttft.worst_ms, 5.0), "{bars:?}");
        // Measured: 5, 99 times 9, 100 times 15; true: 100 times 10, 100 times 15. The median,
        // at 99.5, is (9 + 15) / 2 = 12 against 12.5.
        assert!(near(bars.itl.p50_ms, -0.5), "{bars:?}");
        assert!(near(bars.itl.worst_ms, 5.0), "{bars:?}");
        assert!(bars.itl.holds(0.5) && !bars.itl.holds(0.4));
        assert!(!bars.ttft.holds(1.0));
    }

    #[test]
    fn what_has_no_partner_is_counted_and_few_values_hold_nothing() {
        let samples = [sample(0, 50 * MS, [10 * MS, 15 * MS])];
        let bars = compare(&samples, &truth(3));
        assert_eq!((bars.requests, bars.unmatched), (1, 2));
        assert_eq!(bars.ttft.p99_ms, None);
        assert!(!bars.ttft.holds(1.0));
    }
}
