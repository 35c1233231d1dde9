//! What inference engines call the same quantity in their Prometheus metrics. Pure.
//!
//! Each quantity has its names in order; the first that is present wins, and which one it was is
//! recorded. Names that an engine has given up stay: older releases go on being measured. Counters
//! and histograms are summed over all label sets, because engines split them by model, data
//! parallel rank and finish reason.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::prometheus::{Page, Sample};

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Gauge: sequences in the batch.
    Running,
    /// Gauge: requests in the queue.
    Waiting,
    /// Gauge: share of the KV cache in use, 0 to 1.
    KvUsage,
    /// Counter: prompt tokens (or blocks) found in the prefix cache.
    PrefixHits,
    /// Counter: prompt tokens (or blocks) looked up in it, in the unit of the hits.
    PrefixQueries,
    /// Counter: prompt tokens.
    PromptTokens,
    /// Counter: generated tokens.
    GenerationTokens,
    /// Counter: running sequences that lost their KV cache to others.
    Preemptions,
    /// Counter: requests that ended well.
    Requests,
    /// Histogram in seconds: time to the first token.
    Ttft,
    /// Histogram in seconds: time between tokens, or per output token.
    Itl,
    /// Histogram in seconds: latency of whole requests.
    E2e,
}

impl Quantity {
    /// The name used in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::KvUsage => "kv_usage",
            Self::PrefixHits => "prefix_hits",
            Self::PrefixQueries => "prefix_queries",
            Self::PromptTokens => "prompt_tokens",
            Self::GenerationTokens => "generation_tokens",
            Self::Preemptions => "preemptions",
            Self::Requests => "requests",
            Self::Ttft => "ttft",
            Self::Itl => "itl",
            Self::E2e => "e2e",
        }
    }
}

/// How a gauge's label sets become one number.
#[derive(Debug, Clone, Copy)]
enum Join {
    Sum,
    Max,
}

const GAUGES: [(Quantity, Join, &[&str]); 3] = [
    (
        Quantity::Running,
        Join::Sum,
        &[
            "vllm:num_requests_running",
            "sglang:num_running_reqs",
            "llamacpp:requests_processing",
            "tgi_batch_current_size",
            "trtllm_num_requests_running",
            "lmdeploy:num_requests_running",
            "kitt_sim:num_requests_running",
        ],
    ),
    (
        Quantity::Waiting,
        Join::Sum,
        &[
            "vllm:num_requests_waiting",
            "sglang:num_queue_reqs",
            "llamacpp:requests_deferred",
            "tgi_queue_size",
            "trtllm_num_requests_waiting",
            "lmdeploy:num_requests_waiting",
            "kitt_sim:num_requests_waiting",
        ],
    ),
    (
        Quantity::KvUsage,
        Join::Max,
        &[
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc", // older releases
            "sglang:token_usage",
            "llamacpp:kv_cache_usage_ratio", // older builds
            "trtllm_kv_cache_utilization",
            "lmdeploy:gpu_cache_usage_perc",
        ],
    ),
];

/// A counter: names that are added up, all of which must be there.
type Sum = &'static [&'static str];

const COUNTERS: [(Quantity, &[Sum]); 4] = [
    (
        Quantity::PromptTokens,
        &[
            &["vllm:prompt_tokens_total"],
            &["sglang:prompt_tokens_total"],
            // Without those that came from its cache, which newer builds count apart.
            &[
                "llamacpp:prompt_tokens_total",
                "llamacpp:prompt_tokens_cached_total",
            ],
            &["llamacpp:prompt_tokens_total"],
            &["tgi_request_input_length_sum"],
            &["trtllm_prompt_tokens_total"],
            &["lmdeploy:prompt_tokens_total"],
            &["kitt_sim:prompt_tokens_total"],
        ],
    ),
    (
        Quantity::GenerationTokens,
        &[
            &["vllm:generation_tokens_total"],
            &["sglang:generation_tokens_total"],
            &["llamacpp:tokens_predicted_total"],
            &["tgi_request_generated_tokens_sum"],
            &["trtllm_generation_tokens_total"],
            // Some releases of LMDeploy add every token twice to the counter.
            &["lmdeploy:request_generation_tokens_sum"],
            &["lmdeploy:generation_tokens_total"],
            &["kitt_sim:generation_tokens_total"],
        ],
    ),
    (
        Quantity::Preemptions,
        &[
            &["vllm:num_preemptions_total"],
            &["sglang:num_retracted_requests_total"],
        ],
    ),
    (
        Quantity::Requests,
        &[
            &["vllm:request_success_total"],
            &["sglang:num_requests_total"],
            &["tgi_request_success"],
            &["trtllm_request_success_total"],
            &["lmdeploy:request_success_total"],
            &["lmdeploy:e2e_request_latency_seconds_count"],
            &["kitt_sim:request_success_total"],
        ],
    ),
];

/// Hits and queries of the prefix cache: always both of one row, so that they are in one unit.
const PREFIX_CACHE: [(Sum, Sum); 6] = [
    (
        &["vllm:prefix_cache_hits_total"],
        &["vllm:prefix_cache_queries_total"],
    ),
    (
        &["vllm:gpu_prefix_cache_hits_total"],
        &["vllm:gpu_prefix_cache_queries_total"],
    ),
    (
        &["sglang:cached_tokens_total"],
        &["sglang:prompt_tokens_total"],
    ),
    (
        &["llamacpp:prompt_tokens_cached_total"],
        &[
            "llamacpp:prompt_tokens_total",
            "llamacpp:prompt_tokens_cached_total",
        ],
    ),
    (
        &["trtllm_prompt_cached_tokens_total"],
        &["trtllm_prompt_tokens_total"],
    ),
    (
        &["trtllm_kv_cache_reused_blocks_total"],
        &[
            "trtllm_kv_cache_reused_blocks_total",
            "trtllm_kv_cache_missed_blocks_total",
        ],
    ),
];

/// Histograms, by the name without `_bucket`, `_sum` and `_count`. TGI's time per token includes
/// the prefill, so it is none of these.
const HISTOGRAMS: [(Quantity, &[&str]); 3] = [
    (
        Quantity::Ttft,
        &[
            "vllm:time_to_first_token_seconds",
            "sglang:time_to_first_token_seconds",
            "trtllm_time_to_first_token_seconds",
            "lmdeploy:time_to_first_token_seconds",
            "kitt_sim:time_to_first_token_seconds",
        ],
    ),
    (
        Quantity::Itl,
        &[
            "vllm:inter_token_latency_seconds",
            "vllm:time_per_output_token_seconds", // older releases
            "sglang:inter_token_latency_seconds",
            "sglang:time_per_output_token_seconds",
            "trtllm_time_per_output_token_seconds",
            "lmdeploy:time_per_output_token_seconds",
            "kitt_sim:inter_token_latency_seconds",
        ],
    ),
    (
        Quantity::E2e,
        &[
            "vllm:e2e_request_latency_seconds",
            "sglang:e2e_request_latency_seconds",
            "tgi_request_duration",
            "trtllm_e2e_request_latency_seconds",
            "lmdeploy:e2e_request_latency_seconds",
            "kitt_sim:e2e_request_latency_seconds",
        ],
    ),
];

/// A gauge or counter as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The engine's name for it; several are joined by ` + `.
    pub name: String,
    /// Its value.
    pub value: f64,
}

/// A histogram as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Buckets {
    /// The engine's name for it.
    pub name: String,
    /// Finite upper bounds in seconds, rising, and how many observations lay at or below each.
    pub at_most: Vec<(f64, f64)>,
    /// Sum of all observations in seconds.
    pub sum: f64,
    /// Number of all observations.
    pub count: f64,
}

/// All that a page told of what we ask.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Gauges at that moment.
    pub gauges: BTreeMap<Quantity, Reading>,
    /// Counters since the server's start.
    pub counters: BTreeMap<Quantity, Reading>,
    /// Histograms since the server's start.
    pub histograms: BTreeMap<Quantity, Buckets>,
}

impl Snapshot {
    /// Whether nothing we know was on the page.
    pub fn is_empty(&self) -> bool {
        self.gauges.is_empty() && self.counters.is_empty() && self.histograms.is_empty()
    }

    /// Finds everything on a page.
    pub(super) fn of(page: &Page<'_>) -> Self {
        let names = Names::of(page);
        let mut found = Self::default();
        for (quantity, join, aliases) in GAUGES {
            let mut aliases = aliases.iter();
            if let Some(reading) = aliases.find_map(|name| names.gauge(name, join)) {
                found.gauges.insert(quantity, reading);
            }
        }
        for (quantity, aliases) in COUNTERS {
            let mut aliases = aliases.iter();
            if let Some(reading) = aliases.find_map(|sum| names.counter(sum)) {
                found.counters.insert(quantity, reading);
            }
        }
        let mut caches = PREFIX_CACHE.iter();
        let cache = caches
            .find_map(|(hits, queries)| Some((names.counter(hits)?, names.counter(queries)?)));
        if let Some((hits, queries)) = cache {
            found.counters.insert(Quantity::PrefixHits, hits);
            found.counters.insert(Quantity::PrefixQueries, queries);
        }
        for (quantity, aliases) in HISTOGRAMS {
            let mut aliases = aliases.iter();
            if let Some(buckets) = aliases.find_map(|name| names.histogram(name)) {
                found.histograms.insert(quantity, buckets);
            }
        }
        found
    }
}

/// Samples by name. Those without a finite value are not there.
struct Names<'a>(HashMap<&'a str, Vec<&'a Sample<'a>>>);

impl<'a> Names<'a> {
    fn of(page: &'a Page<'_>) -> Self {
        let mut names: HashMap<&str, Vec<&Sample<'_>>> = HashMap::new();
        for sample in page.samples.iter().filter(|one| one.value.is_finite()) {
            names.entry(&sample.name).or_default().push(sample);
        }
        Self(names)
    }

    fn values(&self, name: &str) -> Option<impl Iterator<Item = f64>> {
        let samples = self.0.get(name)?;
        Some(samples.iter().map(|sample| sample.value))
    }

    fn sum(&self, name: &str) -> Option<f64> {
        Some(self.values(name)?.sum())
    }

    fn gauge(&self, name: &str, join: Join) -> Option<Reading> {
        let value = match join {
            Join::Sum => self.sum(name)?,
            Join::Max => self.values(name)?.reduce(f64::max)?,
        };
        Some(Reading {
            name: name.to_owned(),
            value,
        })
    }

    fn counter(&self, names: Sum) -> Option<Reading> {
        let parts: Option<Vec<f64>> = names.iter().map(|name| self.sum(name)).collect();
        Some(Reading {
            name: names.join(" + "),
            value: parts?.iter().sum(),
        })
    }

    fn histogram(&self, name: &str) -> Option<Buckets> {
        let count = self.sum(&format!("{name}_count"))?;
        let sum = self.sum(&format!("{name}_sum"))?;
        let mut by_bound: HashMap<u64, f64> = HashMap::new();
        let samples = self.0.get(format!("{name}_bucket").as_str());
        for sample in samples.into_iter().flatten() {
            let bound = sample.label("le").and_then(|le| le.parse::<f64>().ok());
            if let Some(bound) = bound.filter(|bound| bound.is_finite()) {
                *by_bound.entry(bound.to_bits()).or_default() += sample.value;
            }
        }
        let mut at_most: Vec<(f64, f64)> = by_bound
            .into_iter()
            .map(|(bits, below)| (f64::from_bits(bits), below))
            .collect();
        at_most.sort_by(|one, other| one.0.total_cmp(&other.0));
        Some(Buckets {
            name: name.to_owned(),
            at_most,
            sum,
            count,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::prometheus::parse, *};

    pub(in crate::telemetry) fn snapshot(text: &str) -> Snapshot {
        let page = parse(text);
        assert_eq!(page.wrong, None);
        Snapshot::of(&page)
    }

    fn gauge(found: &Snapshot, quantity: Quantity) -> (&str, f64) {
        let reading = &found.gauges[&quantity];
        (&reading.name, reading.value)
    }

    fn counter(found: &Snapshot, quantity: Quantity) -> (&str, f64) {
        let reading = &found.counters[&quantity];
        (&reading.name, reading.value)
    }

    #[test]
    fn label_sets_are_joined() {
        let found = snapshot(
            "vllm:num_requests_running{engine=\"0\"} 3\n\
             vllm:num_requests_running{engine=\"1\"} 4\n\
             vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
             vllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n\
             vllm:num_requests_waiting{engine=\"0\"} NaN\n\
             vllm:request_success_total{finished_reason=\"stop\"} 10\n\
             vllm:request_success_total{finished_reason=\"length\"} 5\n\
             vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.1\"} 2\n\
             vllm:time_to_first_token_seconds_bucket{engine=\"1\",le=\"0.10\"} 3\n\
             vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"0.05\"} 1\n\
             vllm:time_to_first_token_seconds_bucket{engine=\"1\",le=\"0.05\"} 1\n\
             vllm:time_to_first_token_seconds_bucket{engine=\"0\",le=\"+Inf\"} 4\n\
             vllm:time_to_first_token_seconds_count{engine=\"0\"} 4\n\
             vllm:time_to_first_token_seconds_count{engine=\"1\"} 3\n\
             vllm:time_to_first_token_seconds_sum{engine=\"0\"} 0.5\n\
             vllm:time_to_first_token_seconds_sum{engine=\"1\"} 0.25\n",
        );
        assert_eq!(
            gauge(&found, Quantity::Running),
            ("vllm:num_requests_running", 7.0)
        );
        assert_eq!(
            gauge(&found, Quantity::KvUsage),
            ("vllm:kv_cache_usage_perc", 0.75)
        );
        assert!(!found.gauges.contains_key(&Quantity::Waiting));
        assert_eq!(
            counter(&found, Quantity::Requests),
            ("vllm:request_success_total", 15.0)
        );
        let ttft = &found.histograms[&Quantity::Ttft];
        assert_eq!(ttft.at_most, [(0.05, 2.0), (0.1, 5.0)]);
        assert_eq!((ttft.sum, ttft.count), (0.75, 7.0));
    }

    #[test]
    fn the_newest_name_wins_and_old_ones_still_count() {
        let old = snapshot(
            "vllm:gpu_cache_usage_perc 0.5\n\
             vllm:gpu_prefix_cache_hits_total 3\n\
             vllm:gpu_prefix_cache_queries_total 30\n\
             vllm:time_per_output_token_seconds_sum 2\n\
             vllm:time_per_output_token_seconds_count 4\n",
        );
        assert_eq!(
            gauge(&old, Quantity::KvUsage),
            ("vllm:gpu_cache_usage_perc", 0.5)
        );
        assert_eq!(
            counter(&old, Quantity::PrefixHits),
            ("vllm:gpu_prefix_cache_hits_total", 3.0)
        );
        assert_eq!(
            old.histograms[&Quantity::Itl].name,
            "vllm:time_per_output_token_seconds"
        );
        let both = snapshot("vllm:kv_cache_usage_perc 0.25\nvllm:gpu_cache_usage_perc 0.5\n");
        assert_eq!(
            gauge(&both, Quantity::KvUsage),
            ("vllm:kv_cache_usage_perc", 0.25)
        );
    }

    #[test]
    fn hits_and_queries_come_from_one_row() {
        // Hits of one kind beside queries of another say nothing.
        let mixed =
            snapshot("vllm:prefix_cache_hits_total 1\nvllm:gpu_prefix_cache_queries_total 2");
        assert!(!mixed.counters.contains_key(&Quantity::PrefixHits));
        let llama = snapshot(
            "llamacpp:prompt_tokens_total 80\nllamacpp:prompt_tokens_cached_total 20\n\
             llamacpp:tokens_predicted_total 9\nllamacpp:requests_deferred 2\n",
        );
        assert_eq!(
            Some(counter(&llama, Quantity::PrefixQueries).1),
            Some(100.0)
        );
        assert_eq!(
            counter(&llama, Quantity::PromptTokens),
            (
                "llamacpp:prompt_tokens_total + llamacpp:prompt_tokens_cached_total",
                100.0
            )
        );
        let older = snapshot("llamacpp:prompt_tokens_total 80\n");
        assert_eq!(
            counter(&older, Quantity::PromptTokens),
            ("llamacpp:prompt_tokens_total", 80.0)
        );
        assert!(!older.counters.contains_key(&Quantity::PrefixHits));
    }

    #[test]
    fn every_engine_is_known() {
        for (page, quantity, value) in [
            ("sglang:num_queue_reqs 4", Quantity::Waiting, 4.0),
            ("tgi_queue_size 5", Quantity::Waiting, 5.0),
            ("trtllm_num_requests_waiting 6", Quantity::Waiting, 6.0),
            ("lmdeploy:num_requests_waiting 7", Quantity::Waiting, 7.0),
            ("llamacpp:requests_deferred 8", Quantity::Waiting, 8.0),
            ("kitt_sim:num_requests_waiting 9", Quantity::Waiting, 9.0),
        ] {
            let found = snapshot(page);
            let name = page.split(' ').next().unwrap();
            assert_eq!(gauge(&found, quantity), (name, value));
        }
        for (page, tokens) in [
            ("tgi_request_generated_tokens_sum 11", 11.0),
            ("trtllm_generation_tokens_total 12", 12.0),
            // The counter that may count twice is the second choice.
            (
                "lmdeploy:generation_tokens_total 26\nlmdeploy:request_generation_tokens_sum 13",
                13.0,
            ),
        ] {
            let found = snapshot(page);
            let counted = Some(counter(&found, Quantity::GenerationTokens).1);
            assert_eq!(counted, Some(tokens), "{page}");
        }
    }

    #[test]
    fn another_programs_page_is_empty() {
        assert!(snapshot("go_goroutines 12\nprocess_cpu_seconds_total 3\n").is_empty());
        assert!(snapshot("").is_empty());
    }

    #[test]
    fn names_in_files_are_the_serialised_ones() {
        let quantities = [
            Quantity::Running,
            Quantity::KvUsage,
            Quantity::GenerationTokens,
            Quantity::E2e,
        ];
        for quantity in quantities {
            let text = serde_json::to_string(&quantity).unwrap();
            assert_eq!(text, format!("\"{}\"", quantity.name()));
        }
    }
}
