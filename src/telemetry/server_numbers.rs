//! What the server told about itself, summed up. Pure.
//!
//! In: a [`ServerTrace`]. Out: [`ServerNumbers`]. Counters and histograms are differences between
//! the edges of the load, so that warm-up and earlier runs do not count. `None` is "the server
//! does not tell" or "cannot be told", never zero.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{
    aliases::{Buckets, Quantity, Reading, Snapshot},
    server::{ServerSample, ServerTrace},
};

/// The server's own numbers over one load. Times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServerNumbers {
    /// Share of the prompt tokens (or blocks) that were looked up in the prefix cache and found
    /// there, 0 to 1; `None` without lookups.
    pub prefix_cache_hit_share: Option<f64>,
    /// Mean number of requests in the queue, over the readings.
    pub queue_mean: Option<f64>,
    /// Largest number of requests in the queue.
    pub queue_max: Option<f64>,
    /// Share of the readings that found somebody in the queue, 0 to 1.
    pub queue_share: Option<f64>,
    /// Mean number of sequences in the batch.
    pub running_mean: Option<f64>,
    /// Largest number of sequences in the batch.
    pub running_max: Option<f64>,
    /// Largest share of the KV cache in use, 0 to 1.
    pub kv_usage_max: Option<f64>,
    /// Sequences that lost their KV cache to others and were computed again.
    pub preemptions: Option<f64>,
    /// Prompt tokens, by the server's count.
    pub prompt_tokens: Option<f64>,
    /// Generated tokens, by the server's count.
    pub generation_tokens: Option<f64>,
    /// Requests that ended well, by the server's count.
    pub requests: Option<f64>,
    /// Mean TTFT on the server's clock.
    pub ttft_mean_ms: Option<f64>,
    /// Median of it, interpolated in the server's buckets.
    pub ttft_p50_ms: Option<f64>,
    /// 99th percentile of it, likewise.
    pub ttft_p99_ms: Option<f64>,
    /// Mean ITL, or mean TPOT where the server has only that.
    pub itl_mean_ms: Option<f64>,
    /// Mean E2E latency.
    pub e2e_mean_ms: Option<f64>,
    /// Readings of the gauges.
    pub samples: u64,
    /// Readings that failed or took too long.
    pub missed: u32,
    /// The engine's names that these numbers are from, by [`Quantity::name`].
    pub names: BTreeMap<String, String>,
    /// What could not be told and why, in words.
    pub notes: Vec<String>,
}

/// Sums a trace up; `None` when the server told nothing.
pub fn server_numbers(trace: &ServerTrace) -> Option<ServerNumbers> {
    let first = trace.first.as_ref()?;
    let mut change = Change {
        first,
        last: trace.last.as_ref(),
        notes: trace
            .absent
            .iter()
            .map(|why| format!("the server's metrics could not be read to the end: {why}"))
            .collect(),
    };
    let gauge = |of: fn(&ServerSample) -> Option<f64>| Series::of(&trace.samples, of);
    let queue = gauge(|sample| sample.waiting);
    let running = gauge(|sample| sample.running);
    let hits = change.counter(Quantity::PrefixHits);
    let queries = change.counter(Quantity::PrefixQueries);
    let share = hits.zip(queries).filter(|(_, queries)| *queries > 0.0);
    let ttft = change.histogram(Quantity::Ttft);
    let quantile = |p| ttft.as_ref().and_then(|delta| delta.quantile(p));
    Some(ServerNumbers {
        prefix_cache_hit_share: share.map(|(hits, queries)| hits / queries),
        queue_mean: queue.mean(),
        queue_max: queue.max(),
        queue_share: queue.share_above_zero(),
        running_mean: running.mean(),
        running_max: running.max(),
        kv_usage_max: gauge(|sample| sample.kv_usage).max(),
        preemptions: change.counter(Quantity::Preemptions),
        prompt_tokens: change.counter(Quantity::PromptTokens),
        generation_tokens: change.counter(Quantity::GenerationTokens),
        requests: change.counter(Quantity::Requests),
        ttft_mean_ms: ttft.as_ref().and_then(Delta::mean).map(ms),
        ttft_p50_ms: quantile(0.5).map(ms),
        ttft_p99_ms: quantile(0.99).map(ms),
        itl_mean_ms: change.mean_ms(Quantity::Itl),
        e2e_mean_ms: change.mean_ms(Quantity::E2e),
        samples: trace.samples.len() as u64,
        missed: trace.missed,
        names: names(trace),
        notes: change.notes,
    })
}

impl ServerNumbers {
    /// The numbers by the names they have among a scenario's metrics, each with `server_` before
    /// it so that none is taken for the client's. Absent is not told.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let named = [
            ("server_ttft_ms.mean", self.ttft_mean_ms),
            ("server_ttft_ms.p50", self.ttft_p50_ms),
            ("server_ttft_ms.p99", self.ttft_p99_ms),
            ("server_itl_ms.mean", self.itl_mean_ms),
            ("server_e2e_ms.mean", self.e2e_mean_ms),
            ("server_queue.mean", self.queue_mean),
            ("server_queue.max", self.queue_max),
            ("server_running.mean", self.running_mean),
            ("server_running.max", self.running_max),
            ("server_kv_usage.max", self.kv_usage_max),
            ("server_prefix_cache_hits", self.prefix_cache_hit_share),
            ("server_preemptions", self.preemptions),
        ];
        let told = named.into_iter();
        told.filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

fn ms(seconds: f64) -> f64 {
    seconds * 1e3
}

/// The names that were read, the last edge's where both have one.
fn names(trace: &ServerTrace) -> BTreeMap<String, String> {
    let edges = trace.first.iter().chain(&trace.last);
    edges
        .flat_map(|edge| {
            let readings = edge.gauges.iter().chain(&edge.counters);
            let readings = readings.map(|(quantity, reading)| (quantity, &reading.name));
            let histograms = edge.histograms.iter();
            readings.chain(histograms.map(|(quantity, buckets)| (quantity, &buckets.name)))
        })
        .map(|(quantity, name)| (quantity.name().to_owned(), name.clone()))
        .collect()
}

/// One gauge over the readings that have it.
struct Series(Vec<f64>);

impl Series {
    fn of(samples: &[ServerSample], value: fn(&ServerSample) -> Option<f64>) -> Self {
        Self(samples.iter().filter_map(value).collect())
    }

    fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    fn max(&self) -> Option<f64> {
        self.0.iter().copied().reduce(f64::max)
    }

    fn share_above_zero(&self) -> Option<f64> {
        let above = self.0.iter().filter(|value| **value > 0.0).count();
        (!self.0.is_empty()).then(|| above as f64 / self.0.len() as f64)
    }
}

/// From the first edge to the last.
struct Change<'a> {
    first: &'a Snapshot,
    last: Option<&'a Snapshot>,
    notes: Vec<String>,
}

impl Change<'_> {
    /// Growth of a counter. One that was not there at first began at zero: engines show some
    /// only once they have counted something.
    fn counter(&mut self, quantity: Quantity) -> Option<f64> {
        let last = self.last?.counters.get(&quantity)?;
        let Some(first) = self.first.counters.get(&quantity) else {
            return Some(last.value);
        };
        let Reading { name, value } = first;
        if !self.same_name(name, &last.name) {
            return None;
        }
        let grown = last.value - value;
        self.not_reset(grown, name).then_some(grown)
    }

    fn mean_ms(&mut self, quantity: Quantity) -> Option<f64> {
        self.histogram(quantity)?.mean().map(ms)
    }

    fn histogram(&mut self, quantity: Quantity) -> Option<Delta> {
        let last = self.last?.histograms.get(&quantity)?;
        let nothing = Buckets {
            name: last.name.clone(),
            at_most: Vec::new(),
            sum: 0.0,
            count: 0.0,
        };
        let first = self.first.histograms.get(&quantity).unwrap_or(&nothing);
        if !self.same_name(&first.name, &last.name) {
            return None;
        }
        let before: HashMap<u64, f64> = first
            .at_most
            .iter()
            .map(|(bound, below)| (bound.to_bits(), *below))
            .collect();
        let since = |(bound, below): &(f64, f64)| {
            let before = before.get(&bound.to_bits()).copied();
            (*bound, below - before.unwrap_or_default())
        };
        let delta = Delta {
            at_most: last.at_most.iter().map(since).collect(),
            sum: last.sum - first.sum,
            count: last.count - first.count,
        };
        self.not_reset(delta.count, &last.name).then_some(delta)
    }

    fn same_name(&mut self, first: &str, last: &str) -> bool {
        let same = first == last;
        if !same {
            self.note(format!(
                "the server began to call `{first}` `{last}` while the load ran: \
                 its growth is not known"
            ));
        }
        same
    }

    fn not_reset(&mut self, grown: f64, name: &str) -> bool {
        let grew = grown >= 0.0;
        if !grew {
            self.note(format!(
                "the server's `{name}` fell while the load ran: the server was restarted"
            ));
        }
        grew
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// What a histogram gained.
struct Delta {
    at_most: Vec<(f64, f64)>,
    sum: f64,
    count: f64,
}

impl Delta {
    fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The `p` quantile as Prometheus' `histogram_quantile` interpolates it: linearly within the
    /// bucket that holds rank `p · n`, the lowest bucket beginning at zero. `None` where it lies
    /// above the last finite bound, where a bucket shrank, and below `1 / (1 - p)` observations,
    /// which is the rule for the client's own quantiles too.
    fn quantile(&self, p: f64) -> Option<f64> {
        const SLACK: f64 = 1e-9;
        if self.count * (1.0 - p) < 1.0 - SLACK {
            return None;
        }
        let rank = p * self.count;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, at_most) in &self.at_most {
            if *at_most < below {
                return None;
            }
            if *at_most >= rank {
                if *bound <= 0.0 {
                    return Some(*bound);
                }
                let share = (rank - below) / (at_most - below);
                return Some(low + (bound - low) * share);
            }
            (low, below) = (bound.max(0.0), *at_most);
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::{super::aliases::tests::snapshot, *};

    fn sample(running: f64, waiting: f64, kv_usage: Option<f64>) -> ServerSample {
        ServerSample {
            at: Duration::ZERO,
            running: Some(running),
            waiting: Some(waiting),
            kv_usage,
        }
    }

    fn between(first: &str, last: &str) -> ServerNumbers {
        server_numbers(&ServerTrace {
            path: Some("/metrics".to_owned()),
            first: Some(snapshot(first)),
            last: Some(snapshot(last)),
            ..ServerTrace::default()
        })
        .unwrap()
    }

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn counters_are_differences_between_the_edges() {
        let numbers = between(
            "vllm:prefix_cache_hits_total 1000\nvllm:prefix_cache_queries_total 2000\n\
             vllm:prompt_tokens_total 500\nvllm:generation_tokens_total 90\n\
             vllm:request_success_total 3\n",
            "vllm:prefix_cache_hits_total 1030\nvllm:prefix_cache_queries_total 4000\n\
             vllm:prompt_tokens_total 1500\nvllm:generation_tokens_total 190\n\
             vllm:request_success_total 13\nvllm:num_preemptions_total 2\n",
        );
        // 30 of 2000; what came before does not count.
        close(numbers.prefix_cache_hit_share, 0.015);
        assert_eq!(numbers.prompt_tokens, Some(1000.0));
        assert_eq!(numbers.generation_tokens, Some(100.0));
        assert_eq!(numbers.requests, Some(10.0));
        // Not shown before it counted something.
        assert_eq!(numbers.preemptions, Some(2.0));
        assert_eq!(numbers.names["requests"], "vllm:request_success_total");
        assert_eq!(numbers.notes, Vec::<String>::new());
    }

    #[test]
    fn without_lookups_there_is_no_share() {
        let same = "vllm:prefix_cache_hits_total 5\nvllm:prefix_cache_queries_total 9\n";
        assert_eq!(between(same, same).prefix_cache_hit_share, None);
        assert_eq!(
            between("tgi_queue_size 0", "tgi_queue_size 0").requests,
            None
        );
    }

    #[test]
    fn gauges_are_summed_up_over_the_readings() {
        let trace = ServerTrace {
            first: Some(Snapshot::default()),
            samples: vec![
                sample(4.0, 0.0, Some(0.5)),
                sample(8.0, 2.0, None),
                sample(6.0, 0.0, Some(0.75)),
                ServerSample {
                    waiting: None,
                    ..sample(6.0, 0.0, None)
                },
            ],
            missed: 1,
            ..ServerTrace::default()
        };
        let numbers = server_numbers(&trace).unwrap();
        assert_eq!(numbers.running_mean, Some(6.0)); // 24 / 4
        assert_eq!(numbers.running_max, Some(8.0));
        close(numbers.queue_mean, 2.0 / 3.0);
        assert_eq!(numbers.queue_max, Some(2.0));
        close(numbers.queue_share, 1.0 / 3.0);
        assert_eq!(numbers.kv_usage_max, Some(0.75));
        assert_eq!((numbers.samples, numbers.missed), (4, 1));
        assert_eq!(numbers.requests, None);
    }

    fn ttft(buckets: [u32; 3], count: u32, sum: f64) -> String {
        let name = "vllm:time_to_first_token_seconds";
        let [a, b, c] = buckets;
        format!(
            "{name}_bucket{{le=\"0.1\"}} {a}\n{name}_bucket{{le=\"0.2\"}} {b}\n\
             {name}_bucket{{le=\"0.4\"}} {c}\n{name}_bucket{{le=\"+Inf\"}} {count}\n\
             {name}_count {count}\n{name}_sum {sum}\n"
        )
    }

    #[test]
    fn quantiles_follow_prometheus() {
        // Gained: 100 at or below 0.1 s, 300 below 0.2 s, 400 below 0.4 s, 400 in all.
        let numbers = between(
            &ttft([10, 10, 20], 20, 3.0),
            &ttft([110, 310, 420], 420, 83.0),
        );
        close(numbers.ttft_mean_ms, 200.0); // 80 s / 400
        // Rank 200 is the 100th of 200 in (0.1, 0.2]: 0.1 + 0.1 · 100 / 200.
        close(numbers.ttft_p50_ms, 150.0);
        // Rank 396 is the 96th of 100 in (0.2, 0.4]: 0.2 + 0.2 · 96 / 100.
        close(numbers.ttft_p99_ms, 392.0);
        // The lowest bucket begins at zero: rank 50 of 100 in (0, 0.1].
        let low = between(&ttft([0, 0, 0], 0, 0.0), &ttft([100, 100, 100], 100, 5.0));
        close(low.ttft_p50_ms, 50.0);
    }

    #[test]
    fn a_quantile_that_cannot_be_told_is_absent() {
        // Rank 396 of 400 lies above 0.4 s, of which only 390 are below.
        let open = between(&ttft([0, 0, 0], 0, 0.0), &ttft([100, 300, 390], 400, 90.0));
        close(open.ttft_p50_ms, 150.0);
        assert_eq!(open.ttft_p99_ms, None);
        // 99 observations do not reach the 99th percentile.
        let few = between(&ttft([0, 0, 0], 0, 0.0), &ttft([99, 99, 99], 99, 5.0));
        assert!(few.ttft_p50_ms.is_some());
        assert_eq!(few.ttft_p99_ms, None);
        // Nothing at all.
        let none = between(&ttft([5, 5, 5], 5, 1.0), &ttft([5, 5, 5], 5, 1.0));
        assert_eq!((none.ttft_mean_ms, none.ttft_p50_ms), (None, None));
        // Buckets that are not cumulative.
        let odd = between(&ttft([0, 0, 0], 0, 0.0), &ttft([150, 100, 400], 400, 5.0));
        assert_eq!(odd.ttft_p99_ms, None);
    }

    #[test]
    fn a_restart_and_a_new_name_are_told_and_give_no_number() {
        let numbers = between(
            "vllm:generation_tokens_total 100\nvllm:request_success_total 4\n",
            "vllm:generation_tokens_total 7\nsglang:num_requests_total 9\n",
        );
        assert_eq!((numbers.generation_tokens, numbers.requests), (None, None));
        let notes = numbers.notes.join("\n");
        assert!(
            notes.contains("`vllm:generation_tokens_total` fell"),
            "{notes}"
        );
        assert!(
            notes.contains("call `vllm:request_success_total` `sglang:num_requests_total`"),
            "{notes}"
        );
    }

    #[test]
    fn a_server_that_tells_nothing_has_no_numbers() {
        let absent = ServerTrace {
            absent: Some("HTTP 404".to_owned()),
            ..ServerTrace::default()
        };
        assert_eq!(server_numbers(&absent), None);
        let lost = ServerTrace {
            first: Some(snapshot("vllm:request_success_total 4")),
            absent: Some("/metrics: refused".to_owned()),
            ..ServerTrace::default()
        };
        let numbers = server_numbers(&lost).unwrap();
        assert_eq!(numbers.requests, None);
        assert!(numbers.notes[0].contains("/metrics: refused"));
    }

    #[test]
    fn told_numbers_have_a_name_among_the_metrics() {
        let numbers = ServerNumbers {
            ttft_mean_ms: Some(12.5),
            queue_max: Some(0.0),
            ..ServerNumbers::default()
        };
        let expected = [("server_queue.max", 0.0), ("server_ttft_ms.mean", 12.5)];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(numbers.metrics(), BTreeMap::from(expected));
    }

    #[test]
    fn numbers_survive_a_file() {
        let numbers = between(
            "vllm:request_success_total 4",
            "vllm:request_success_total 6",
        );
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(
            serde_json::from_str::<ServerNumbers>(&text).unwrap(),
            numbers
        );
    }
}
