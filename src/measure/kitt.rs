//! KITT's own keys for `metrics.json`, per test, with their meaning where it is sane. Pure.
//!
//! A key whose number was not measured is absent; KITT writes 0 there.

use std::num::NonZeroU32;

use serde_json::{Map, Value, json};

use super::{
    Measurement, RequestRecord,
    quantile::{deviation, mean, median, quantile, sorted},
};
use crate::plan::Test;

/// A latency within this share of the settled one counts as settled.
const SETTLED: f64 = 0.1;
/// Fewer iterations cannot show that anything settled.
const LEAST_FOR_SETTLING: usize = 4;

/// One measured scenario of a test.
#[derive(Debug, Clone, Copy)]
pub struct KittPoint<'a> {
    /// Requests kept in flight.
    pub concurrency: NonZeroU32,
    /// Its numbers, of single requests too.
    pub measurement: &'a Measurement,
}

/// The keys KITT writes for `test`. `points` are the scenarios that belong to it: several for
/// `batch_inference`, one for every other test (of more, all requests are taken together).
///
/// - `throughput`: `avg_tps`, `min_tps`, `max_tps` are over the requests' own ratios of tokens
///   to latency, as in KITT; `total_time_seconds` is the sum of the latencies.
/// - `latency`: `per_token_ms` is latency over tokens, the time to first token included.
/// - `streaming_latency`: `avg_inter_token_ms` is over the requests' TPOT, not over chunks.
/// - `warmup_analysis`: `stabilization_iteration` is the first one, from 1, from which on every
///   latency lies within 10 % of the median of the second half; absent when there is none.
/// - `batch_inference`: `throughput_at_N` is output tokens per second, `latency_at_N` the mean
///   end-to-end latency in milliseconds.
pub fn kitt_metrics(test: Test, points: &[KittPoint<'_>]) -> Map<String, Value> {
    let requests: Vec<RequestRecord> = points
        .iter()
        .flat_map(|point| point.measurement.requests.iter().copied())
        .collect();
    let mut keys = match test {
        Test::Throughput => throughput(&requests),
        Test::Latency => latency(&requests),
        Test::StreamingLatency => streaming_latency(&requests),
        Test::WarmupAnalysis => warmup_analysis(&requests),
        Test::BatchInference => return batch_inference(points),
        Test::Custom => Map::new(),
    };
    keys.insert("total_iterations".to_owned(), requests.len().into());
    keys
}

/// Output tokens, where there were any.
fn tokens(request: &RequestRecord) -> Option<f64> {
    let tokens = request.tokens?;
    (tokens > 0).then_some(tokens as f64)
}

fn each(requests: &[RequestRecord], value: impl Fn(&RequestRecord) -> Option<f64>) -> Vec<f64> {
    requests.iter().filter_map(value).collect()
}

fn latencies(requests: &[RequestRecord]) -> Vec<f64> {
    each(requests, |request| Some(request.e2e_ms))
}

/// Puts the numbers that were measured into a map.
fn object<const N: usize>(entries: [(&str, Option<f64>); N]) -> Map<String, Value> {
    let measured = |(key, value): (&str, Option<f64>)| {
        let number = serde_json::Number::from_f64(value?)?;
        Some((key.to_owned(), number.into()))
    };
    entries.into_iter().filter_map(measured).collect()
}

fn spread(values: &[f64]) -> Map<String, Value> {
    let values = sorted(values);
    object([
        ("avg", mean(&values)),
        ("min", values.first().copied()),
        ("max", values.last().copied()),
    ])
}

fn summary(values: &[f64]) -> Map<String, Value> {
    let mut summary = spread(values);
    let values = sorted(values);
    summary.extend(object([
        ("p50", quantile(&values, 0.5)),
        ("p95", quantile(&values, 0.95)),
        ("p99", quantile(&values, 0.99)),
        ("std_dev", deviation(&values)),
    ]));
    summary
}

fn put(keys: &mut Map<String, Value>, key: &str, nested: Map<String, Value>) {
    if !nested.is_empty() {
        keys.insert(key.to_owned(), nested.into());
    }
}

fn throughput(requests: &[RequestRecord]) -> Map<String, Value> {
    let latency = sorted(&latencies(requests));
    let ratio = |request: &RequestRecord| Some(tokens(request)? / (request.e2e_ms / 1e3));
    let rates = sorted(&each(requests, ratio));
    let total = Some(latency.iter().sum::<f64>() / 1e3);
    let counted = !requests.is_empty() && requests.iter().all(|one| tokens(one).is_some());
    let mut keys = object([
        ("total_time_seconds", total.filter(|_| !latency.is_empty())),
        ("avg_tps", mean(&rates)),
        ("min_tps", rates.first().copied()),
        ("max_tps", rates.last().copied()),
        ("avg_latency_ms", mean(&latency)),
        ("p50_latency_ms", quantile(&latency, 0.5)),
        ("p99_latency_ms", quantile(&latency, 0.99)),
    ]);
    if counted {
        // A count: KITT writes it without a decimal point.
        let total: u64 = requests.iter().filter_map(|request| request.tokens).sum();
        keys.insert("total_tokens_generated".to_owned(), total.into());
    }
    keys
}

fn latency(requests: &[RequestRecord]) -> Map<String, Value> {
    let per_token = |request: &RequestRecord| Some(request.e2e_ms / tokens(request)?);
    let mut keys = Map::new();
    let ttft = each(requests, |request| request.ttft_ms);
    put(&mut keys, "ttft_ms", summary(&ttft));
    put(&mut keys, "total_latency_ms", summary(&latencies(requests)));
    put(
        &mut keys,
        "per_token_ms",
        spread(&each(requests, per_token)),
    );
    keys
}

fn streaming_latency(requests: &[RequestRecord]) -> Map<String, Value> {
    let mut keys = Map::new();
    let ttft = each(requests, |request| request.ttft_ms);
    put(&mut keys, "ttft_ms", spread(&ttft));
    let tpot = each(requests, |request| request.tpot_ms);
    put(&mut keys, "avg_inter_token_ms", spread(&tpot));
    keys
}

fn warmup_analysis(requests: &[RequestRecord]) -> Map<String, Value> {
    let latency = latencies(requests);
    // Without the very first request there is no cold one to compare with.
    let cold = requests.first().filter(|request| request.index == 0);
    let first = cold.map(|request| request.e2e_ms);
    let later = first.and_then(|_| mean(latency.get(1..)?));
    let reduction = first
        .zip(later)
        .map(|(first, later)| (first - later) / first * 100.0);
    let mut keys = object([
        ("first_iteration_latency_ms", first),
        ("subsequent_avg_latency_ms", later),
        ("latency_reduction_percent", reduction),
    ]);
    if let Some(iteration) = first.and_then(|_| settled_from(&latency)) {
        keys.insert("stabilization_iteration".to_owned(), iteration.into());
    }
    if !latency.is_empty() {
        keys.insert("per_iteration_latencies_ms".to_owned(), json!(latency));
    }
    keys
}

/// The first iteration, from 1, from which on latencies stay near the median of the second half.
fn settled_from(latency: &[f64]) -> Option<usize> {
    if latency.len() < LEAST_FOR_SETTLING {
        return None;
    }
    let late = median(&sorted(latency.get(latency.len() / 2..)?))?;
    let near = |value: &f64| (value - late).abs() <= SETTLED * late;
    let last_far = latency.iter().rposition(|value| !near(value));
    let iteration = last_far.map_or(1, |position| position + 2);
    (iteration <= latency.len()).then_some(iteration)
}

fn batch_inference(points: &[KittPoint<'_>]) -> Map<String, Value> {
    let mut keys = Map::new();
    let mut levels: Vec<u32> = points.iter().map(|point| point.concurrency.get()).collect();
    levels.sort_unstable();
    keys.insert("concurrency_levels_tested".to_owned(), json!(levels));
    let mut best: Option<(f64, u32)> = None;
    for point in points {
        let level = point.concurrency.get();
        let metric = |name: &str| point.measurement.metrics.get(name).copied();
        let throughput = metric("output_tps");
        keys.extend(object([
            (format!("throughput_at_{level}").as_str(), throughput),
            (
                format!("latency_at_{level}").as_str(),
                metric("e2e_ms.mean"),
            ),
        ]));
        if let Some(tps) = throughput
            && best.is_none_or(|(most, _)| tps > most)
        {
            best = Some((tps, level));
        }
    }
    if let Some((tps, level)) = best {
        keys.insert("optimal_concurrency".to_owned(), level.into());
        keys.extend(object([("optimal_throughput_tps", Some(tps))]));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::{super::request::tests::trace, *};
    use crate::{
        load::{Outcome, RequestTrace},
        measure::measure,
    };

    fn at(concurrency: u32) -> NonZeroU32 {
        NonZeroU32::new(concurrency).unwrap()
    }

    fn keys_of(test: Test, traces: &[RequestTrace]) -> Map<String, Value> {
        let measurement = measure(&[], traces, at(1), None).unwrap();
        let point = KittPoint {
            concurrency: at(1),
            measurement: &measurement,
        };
        kitt_metrics(test, &[point])
    }

    fn near(value: &Value, expected: f64) {
        let found = value.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// 100 ms for 4 tokens, first after 50; 200 ms for 10 tokens, first after 20.
    fn two() -> Vec<RequestTrace> {
        vec![trace(0, 0, &[50, 100], 4), trace(1, 100, &[120, 300], 10)]
    }

    #[test]
    fn throughput_is_the_mean_of_ratios() {
        let keys = keys_of(Test::Throughput, &two());
        assert_eq!(
            (&keys["total_iterations"], &keys["total_tokens_generated"]),
            (&json!(2), &json!(14))
        );
        near(&keys["total_time_seconds"], 0.3);
        near(&keys["avg_tps"], 45.0); // 40 and 50
        near(&keys["min_tps"], 40.0);
        near(&keys["max_tps"], 50.0);
        near(&keys["avg_latency_ms"], 150.0);
        near(&keys["p50_latency_ms"], 150.0);
        assert!(
            !keys.contains_key("p99_latency_ms"),
            "two requests have no p99"
        );
    }

    #[test]
    fn latency_nests_its_statistics() {
        let keys = keys_of(Test::Latency, &two());
        near(&keys["ttft_ms"]["avg"], 35.0);
        near(&keys["total_latency_ms"]["std_dev"], 5000_f64.sqrt()); // 50² + 50² over 1
        near(&keys["per_token_ms"]["avg"], 22.5); // 25 and 20
        assert_eq!(keys["ttft_ms"].get("p95"), None);
    }

    #[test]
    fn time_between_tokens_is_tpot() {
        let keys = keys_of(Test::StreamingLatency, &two());
        near(&keys["avg_inter_token_ms"]["min"], 50.0 / 3.0);
        near(&keys["avg_inter_token_ms"]["max"], 20.0); // 180 / 9
        near(&keys["ttft_ms"]["max"], 50.0);
    }

    #[test]
    fn warm_up_ends_where_latencies_settle() {
        let mut sent = 0;
        let traces: Vec<RequestTrace> = (0..)
            .zip([400_u64, 150, 105, 100, 98, 102])
            .map(|(index, latency)| {
                let made = trace(index, sent, &[sent + latency], 1);
                sent += latency;
                made
            })
            .collect();
        let keys = keys_of(Test::WarmupAnalysis, &traces);
        near(&keys["first_iteration_latency_ms"], 400.0);
        near(&keys["subsequent_avg_latency_ms"], 111.0);
        near(&keys["latency_reduction_percent"], 72.25);
        assert_eq!(keys["stabilization_iteration"], json!(3));
        assert_eq!(
            keys["per_iteration_latencies_ms"].as_array().unwrap().len(),
            6
        );
        assert_eq!(settled_from(&[1.0, 9.0, 1.0, 9.0]), None);
        assert_eq!(settled_from(&[5.0; 4]), Some(1));
        assert_eq!(settled_from(&[5.0; 3]), None);
    }

    #[test]
    fn without_the_cold_request_there_is_no_warm_up_to_speak_of() {
        let mut traces = two();
        traces[0].outcome = Outcome::Timeout;
        let keys = keys_of(Test::WarmupAnalysis, &traces);
        assert_eq!(
            keys.keys().collect::<Vec<_>>(),
            ["per_iteration_latencies_ms", "total_iterations"]
        );
    }

    #[test]
    fn all_levels_of_a_batch_share_one_map() {
        let alone = two();
        let pair = [trace(0, 0, &[50, 100], 8), trace(1, 0, &[50, 100], 8)];
        let (one, both) = (
            measure(&[], &alone, at(1), None).unwrap(),
            measure(&[], &pair, at(2), None).unwrap(),
        );
        let points = [
            KittPoint {
                concurrency: at(2),
                measurement: &both,
            },
            KittPoint {
                concurrency: at(1),
                measurement: &one,
            },
        ];
        let keys = kitt_metrics(Test::BatchInference, &points);
        assert_eq!(keys["concurrency_levels_tested"], json!([1, 2]));
        near(&keys["throughput_at_1"], 14.0 / 0.3);
        near(&keys["throughput_at_2"], 160.0);
        near(&keys["latency_at_1"], 150.0);
        assert_eq!(keys["optimal_concurrency"], json!(2));
        near(&keys["optimal_throughput_tps"], 160.0);
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let mut traces = two();
        for trace in &mut traces {
            trace.usage = None;
        }
        let keys = keys_of(Test::Throughput, &traces);
        assert!(!keys.contains_key("avg_tps") && !keys.contains_key("total_tokens_generated"));
        let keys = keys_of(Test::Latency, &traces);
        assert!(keys.contains_key("ttft_ms") && !keys.contains_key("per_token_ms"));
        for trace in &mut traces {
            trace.outcome = Outcome::Empty;
        }
        let keys = keys_of(Test::Latency, &traces);
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["total_iterations"]);
    }
}
