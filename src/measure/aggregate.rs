//! The traces of one scenario to its [`Measurement`]. Pure.
//!
//! Latency statistics are over good requests only; counts are over all. Throughput is over the
//! steady-state [`window`](super::window).

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{
    MeasureError, Measurement,
    gpu::{GpuNumbers, gpu_metrics},
    quantile::{mean, quantile, sorted},
    request::{RequestTimes, request_times},
    validity::{Findings, judge},
    window::{Flow, Window, window},
};
use crate::{
    load::{Outcome, RequestTrace, Usage},
    plan::PlannedRequest,
    telemetry::GpuTrace,
};

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

/// Measures one scenario: `planned` is what was to be sent, `traces` what happened, `gpu` what
/// was seen meanwhile.
///
/// # Errors
/// [`MeasureError::NoRequests`]: nothing was sent.
pub fn measure(
    planned: &[PlannedRequest],
    traces: &[RequestTrace],
    concurrency: NonZeroU32,
    gpu: Option<&GpuTrace>,
) -> Result<Measurement, MeasureError> {
    if traces.is_empty() {
        return Err(MeasureError::NoRequests);
    }
    let times: Vec<(u32, RequestTimes)> = traces
        .iter()
        .filter_map(|trace| Some((trace.index, request_times(trace)?)))
        .collect();
    let mut numbers = Numbers::default();
    numbers.latencies(&times);
    let window = window(traces, concurrency);
    let flow = window.as_ref().map(|window| window.flow(traces));
    if let (Some(window), Some(flow)) = (&window, &flow) {
        numbers.throughput(window, flow);
    }
    let outcomes = outcomes(traces);
    let error_rate = error_rate(traces);
    numbers.put("error_rate", error_rate);
    let seen = gpu.zip(window.as_ref()).map(|(trace, window)| {
        let tokens = flow.and_then(|flow| flow.output_tokens);
        gpu_metrics(trace, window.start..window.end, tokens)
    });
    let GpuNumbers { metrics, notes } = seen.unwrap_or_default();
    numbers.metrics.extend(metrics);
    let coalesced_share = coalesced_share(&times);
    let (validity, notes) = judge(&Findings {
        planned,
        traces,
        concurrency,
        window: window.as_ref(),
        error_rate,
        coalesced_share,
        gpu_notes: notes,
    });
    Ok(Measurement {
        metrics: numbers.metrics,
        samples: numbers.samples,
        outcomes,
        sent: traces.len() as u64,
        ok: times.len() as u64,
        output_tokens_mean: mean_usage(traces, |usage| usage.completion_tokens),
        input_tokens_mean: mean_usage(traces, |usage| usage.prompt_tokens),
        window_s: window.map(|window| window.seconds()),
        coalesced_share,
        validity,
        notes,
        per_request: per_request(planned, &times),
    })
}

/// Metrics and how many samples each quantity rests on.
#[derive(Default)]
struct Numbers {
    metrics: BTreeMap<String, f64>,
    samples: BTreeMap<String, u64>,
}

impl Numbers {
    /// Keeps a number that was measured; a number that is none is not kept.
    fn put(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.metrics.insert(name.to_owned(), value);
        }
    }

    fn summary(&mut self, quantity: &str, values: &[f64]) {
        if values.is_empty() {
            return;
        }
        let values = sorted(values);
        let mut put = |statistic: &str, value| self.put(&format!("{quantity}.{statistic}"), value);
        put("mean", mean(&values));
        put("min", values.first().copied());
        put("max", values.last().copied());
        for (name, p) in QUANTILES {
            put(name, quantile(&values, p));
        }
        let count = values.len() as u64;
        self.samples.insert(quantity.to_owned(), count);
    }

    fn latencies(&mut self, times: &[(u32, RequestTimes)]) {
        let of = |pick: fn(&RequestTimes) -> Option<f64>| -> Vec<f64> {
            times.iter().filter_map(|(_, times)| pick(times)).collect()
        };
        self.summary("ttft_ms", &of(|times| Some(times.ttft_ms)));
        self.summary("e2e_ms", &of(|times| Some(times.e2e_ms)));
        self.summary("tpot_ms", &of(|times| times.tpot_ms));
        // Every gap of every request: a stall must show in the tail.
        let gaps: Vec<f64> = times
            .iter()
            .flat_map(|(_, times)| times.itl_ms.iter().copied())
            .collect();
        self.summary("itl_ms", &gaps);
    }

    fn throughput(&mut self, window: &Window, flow: &Flow) {
        let seconds = window.seconds();
        if flow.touching == 0 {
            return;
        }
        let total = flow.output_tokens.zip(flow.prompt_tokens);
        let rates = [
            ("output_tps", flow.output_tokens),
            ("total_tps", total.map(|(output, prompt)| output + prompt)),
            ("request_rps", Some(flow.requests)),
        ];
        for (name, amount) in rates {
            if let Some(amount) = amount {
                self.put(name, Some(amount / seconds));
                self.samples.insert(name.to_owned(), flow.touching);
            }
        }
    }
}

fn outcomes(traces: &[RequestTrace]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for trace in traces {
        *counts.entry(trace.outcome.name().to_owned()).or_default() += 1;
    }
    counts
}

/// Failed requests over those that were left to end; stopping one is nobody's error.
fn error_rate(traces: &[RequestTrace]) -> Option<f64> {
    let ended = traces
        .iter()
        .filter(|trace| trace.outcome != Outcome::Cancelled);
    let (mut all, mut failed) = (0_u64, 0_u64);
    for trace in ended {
        all += 1;
        failed += u64::from(trace.outcome != Outcome::Ok);
    }
    (all > 0).then(|| failed as f64 / all as f64)
}

/// Share of the gaps between output chunks that have no time of their own.
fn coalesced_share(times: &[(u32, RequestTimes)]) -> Option<f64> {
    let gaps: usize = times.iter().map(|(_, times)| times.itl_ms.len()).sum();
    let coalesced: usize = times.iter().map(|(_, times)| times.coalesced_gaps).sum();
    (gaps > 0).then(|| coalesced as f64 / gaps as f64)
}

fn mean_usage(traces: &[RequestTrace], count: fn(&Usage) -> u64) -> Option<f64> {
    let counts: Vec<f64> = traces
        .iter()
        .filter(|trace| trace.outcome == Outcome::Ok)
        .filter_map(|trace| Some(count(trace.usage.as_ref()?) as f64))
        .collect();
    mean(&counts)
}

fn per_request(
    planned: &[PlannedRequest],
    times: &[(u32, RequestTimes)],
) -> BTreeMap<String, Vec<Option<f64>>> {
    let by_index: BTreeMap<u32, &RequestTimes> =
        times.iter().map(|(index, times)| (*index, times)).collect();
    let column = |pick: fn(&RequestTimes) -> Option<f64>| -> Vec<Option<f64>> {
        let value = |request: &PlannedRequest| by_index.get(&request.index).copied().and_then(pick);
        planned.iter().map(value).collect()
    };
    BTreeMap::from([
        ("ttft_ms".to_owned(), column(|times| Some(times.ttft_ms))),
        ("e2e_ms".to_owned(), column(|times| Some(times.e2e_ms))),
        ("tpot_ms".to_owned(), column(|times| times.tpot_ms)),
        ("itl_ms".to_owned(), column(RequestTimes::itl_mean_ms)),
    ])
}

#[cfg(test)]
mod tests {
    use super::{super::request::tests::trace, *};
    use crate::measure::Validity;

    fn plan(count: u32, tokens: u32) -> Vec<PlannedRequest> {
        let request = |index| PlannedRequest {
            index,
            prompt: String::new(),
            output_tokens: NonZeroU32::new(tokens).unwrap(),
        };
        (0..count).map(request).collect()
    }

    fn measured(
        planned: &[PlannedRequest],
        traces: &[RequestTrace],
        concurrency: u32,
    ) -> Measurement {
        measure(planned, traces, NonZeroU32::new(concurrency).unwrap(), None).unwrap()
    }

    fn near(measurement: &Measurement, name: &str, expected: f64) {
        let found = measurement.metrics[name];
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    /// Two requests one after the other, 4 output and 10 prompt tokens each:
    /// 0 → 50, 60, 90, 100 and 100 → 170, 180, 190, 200.
    fn two() -> Vec<RequestTrace> {
        vec![
            trace(0, 0, &[50, 60, 90, 100], 4),
            trace(1, 100, &[170, 180, 190, 200], 4),
        ]
    }

    #[test]
    fn every_number_worked_by_hand() {
        let found = measured(&plan(2, 4), &two(), 1);
        near(&found, "ttft_ms.mean", 60.0); // 50, 70
        near(&found, "ttft_ms.p50", 60.0);
        near(&found, "ttft_ms.min", 50.0);
        near(&found, "ttft_ms.max", 70.0);
        near(&found, "e2e_ms.mean", 100.0);
        near(&found, "tpot_ms.mean", 40.0 / 3.0); // 50 / 3, 10
        near(&found, "itl_ms.mean", 80.0 / 6.0); // 10, 30, 10, 10, 10, 10
        near(&found, "itl_ms.p50", 10.0);
        near(&found, "itl_ms.max", 30.0);
        near(&found, "output_tps", 40.0); // 8 tokens in 0.2 s
        near(&found, "total_tps", 140.0); // and 20 of the prompts
        near(&found, "request_rps", 10.0);
        near(&found, "error_rate", 0.0);
        assert_eq!(found.samples["itl_ms"], 6);
        assert_eq!((found.sent, found.ok), (2, 2));
        assert_eq!(
            (found.output_tokens_mean, found.input_tokens_mean),
            (Some(4.0), Some(10.0))
        );
        assert_eq!(found.window_s, Some(0.2));
        assert_eq!(found.coalesced_share, Some(0.0));
        assert_eq!(
            (found.validity, found.notes),
            (Validity::Valid, Vec::<String>::new())
        );
    }

    #[test]
    fn a_quantile_without_enough_requests_is_absent() {
        let found = measured(&plan(2, 4), &two(), 1);
        for name in ["ttft_ms.p90", "ttft_ms.p99", "itl_ms.p90"] {
            assert!(!found.metrics.contains_key(name), "{name}");
        }
    }

    #[test]
    fn every_name_is_known_to_the_metric_table() {
        let found = measured(&plan(2, 4), &two(), 1);
        for name in found.metrics.keys() {
            let described = crate::metric::describe(name);
            assert!(described.better.is_some(), "{name}");
        }
    }

    #[test]
    fn failures_count_and_leave_no_latency() {
        let mut traces = two();
        traces[1].outcome = Outcome::StreamError;
        let found = measured(&plan(2, 4), &traces, 1);
        near(&found, "error_rate", 0.5);
        near(&found, "ttft_ms.mean", 50.0);
        assert_eq!(
            found.outcomes,
            BTreeMap::from([("ok".to_owned(), 1), ("stream_error".to_owned(), 1)])
        );
        assert_eq!(found.per_request["ttft_ms"][0].map(f64::round), Some(50.0));
        assert_eq!(found.per_request["ttft_ms"][1], None);
        assert_eq!(found.validity, Validity::ServerErrored);
    }

    #[test]
    fn without_usage_tokens_are_not_measured() {
        let mut traces = two();
        traces[0].usage = None;
        traces[1].usage = None;
        let found = measured(&plan(2, 4), &traces, 1);
        for name in ["output_tps", "total_tps", "tpot_ms.mean"] {
            assert!(!found.metrics.contains_key(name), "{name}");
        }
        near(&found, "request_rps", 10.0);
        assert_eq!(found.output_tokens_mean, None);
        assert!(
            found.notes.iter().any(|note| note.contains("usage")),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn all_failed_measures_errors_only() {
        let mut traces = two();
        for trace in &mut traces {
            trace.outcome = Outcome::HttpError;
            trace.usage = None;
        }
        let found = measured(&plan(2, 4), &traces, 1);
        assert_eq!(found.metrics.keys().collect::<Vec<_>>(), ["error_rate"]);
        assert_eq!(found.coalesced_share, None);
    }

    #[test]
    fn columns_are_as_long_as_the_plan() {
        let found = measured(&plan(5, 4), &two(), 1);
        assert!(found.per_request.values().all(|column| column.len() == 5));
        assert_eq!(found.per_request["e2e_ms"].iter().flatten().count(), 2);
    }

    #[test]
    fn nothing_sent_is_an_error() {
        let none = measure(&plan(1, 1), &[], NonZeroU32::MIN, None);
        assert!(matches!(none, Err(MeasureError::NoRequests)));
    }
}
