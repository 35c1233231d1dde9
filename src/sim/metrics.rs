//! `/metrics` in Prometheus' text format, version 0.0.4, with vLLM's names under our prefix.

use std::{
    fmt::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
};

use super::truth::{Outcome, RequestTruth};

/// Upper bounds of the histograms' buckets, in seconds.
const TTFT_BOUNDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0,
];
const ITL_BOUNDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0,
];
const E2E_BOUNDS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0,
];

/// Numbers that move while requests run.
#[derive(Debug, Default)]
pub(super) struct Live {
    running: AtomicU64,
    waiting: AtomicU64,
    prompt_tokens: AtomicU64,
    generation_tokens: AtomicU64,
}

impl Live {
    /// Sequences of the batch and of the queue.
    pub(super) fn set_load(&self, running: usize, waiting: usize) {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.running.store(number(running), Ordering::Relaxed);
        self.waiting.store(number(waiting), Ordering::Relaxed);
    }

    /// A prompt was prefilled.
    pub(super) fn prompt(&self, tokens: u32) {
        self.prompt_tokens
            .fetch_add(u64::from(tokens), Ordering::Relaxed);
    }

    /// A token was generated.
    pub(super) fn token(&self) {
        self.generation_tokens.fetch_add(1, Ordering::Relaxed);
    }
}

/// Numbers over finished requests.
#[derive(Debug)]
pub(super) struct Summary {
    /// Requests that ended, by outcome, in the order of [`OUTCOMES`].
    ended: [u64; OUTCOMES.len()],
    ttft: Histogram,
    itl: Histogram,
    e2e: Histogram,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Ok, "ok"),
    (Outcome::Error, "error"),
    (Outcome::Truncated, "truncated"),
    (Outcome::ClientGone, "client_gone"),
    (Outcome::Stopped, "stopped"),
];

impl Default for Summary {
    fn default() -> Self {
        Self {
            ended: [0; OUTCOMES.len()],
            ttft: Histogram::new(TTFT_BOUNDS),
            itl: Histogram::new(ITL_BOUNDS),
            e2e: Histogram::new(E2E_BOUNDS),
        }
    }
}

impl Summary {
    /// Counts a request that ended; latencies are of whole answers only.
    pub(super) fn add(&mut self, request: &RequestTruth) {
        let counts = self.ended.iter_mut().zip(OUTCOMES);
        for (count, (outcome, _)) in counts {
            *count += u64::from(outcome == request.outcome);
        }
        if request.outcome != Outcome::Ok {
            return;
        }
        let times = request.token_times();
        if let Some(first) = times.first() {
            self.ttft.add_ns(first.saturating_sub(request.arrived_ns));
        }
        for (earlier, later) in times.iter().zip(times.iter().skip(1)) {
            self.itl.add_ns(later.saturating_sub(*earlier));
        }
        let whole_ns = request.finished_ns.saturating_sub(request.arrived_ns);
        self.e2e.add_ns(whole_ns);
    }

    /// The page.
    pub(super) fn render(&self, live: &Live, model: &str) -> String {
        let mut page = Page {
            text: String::new(),
            model: escaped(model),
        };
        // Writing into a String cannot fail.
        match self.write(&mut page, live) {
            Ok(()) => page.text,
            Err(fmt::Error) => String::new(),
        }
    }

    fn write(&self, page: &mut Page, live: &Live) -> fmt::Result {
        let value = |number: &AtomicU64| number.load(Ordering::Relaxed);
        page.number("gauge", "num_requests_running", value(&live.running))?;
        page.number("gauge", "num_requests_waiting", value(&live.waiting))?;
        page.number("counter", "prompt_tokens_total", value(&live.prompt_tokens))?;
        page.number(
            "counter",
            "generation_tokens_total",
            value(&live.generation_tokens),
        )?;
        let ended = self.ended.iter().zip(OUTCOMES);
        let success: u64 = ended
            .clone()
            .filter(|(_, (outcome, _))| *outcome == Outcome::Ok)
            .map(|(count, _)| count)
            .sum();
        page.number("counter", "request_success_total", success)?;
        page.kind("counter", "request_ended_total")?;
        for (count, (_, name)) in ended {
            let label = format!(",outcome=\"{name}\"");
            page.sample("request_ended_total", &label, &count.to_string())?;
        }
        page.histogram("time_to_first_token_seconds", &self.ttft)?;
        page.histogram("inter_token_latency_seconds", &self.itl)?;
        page.histogram("e2e_request_latency_seconds", &self.e2e)
    }
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64],
    /// Samples at or below each bound and above the one before.
    counts: Vec<u64>,
    samples: u64,
    sum_ns: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len()],
            samples: 0,
            sum_ns: 0,
        }
    }

    fn add_ns(&mut self, sample_ns: u64) {
        let seconds = sample_ns as f64 / 1e9;
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.samples += 1;
        self.sum_ns = self.sum_ns.saturating_add(sample_ns);
    }
}

struct Page {
    text: String,
    model: String,
}

impl Page {
    fn kind(&mut self, kind: &str, name: &str) -> fmt::Result {
        writeln!(self.text, "# TYPE kitt_sim:{name} {kind}")
    }

    fn sample(&mut self, name: &str, labels: &str, value: &str) -> fmt::Result {
        let model = &self.model;
        writeln!(
            self.text,
            "kitt_sim:{name}{{model_name=\"{model}\"{labels}}} {value}"
        )
    }

    fn number(&mut self, kind: &str, name: &str, value: u64) -> fmt::Result {
        self.kind(kind, name)?;
        self.sample(name, "", &value.to_string())
    }

    fn histogram(&mut self, name: &str, histogram: &Histogram) -> fmt::Result {
        self.kind("histogram", name)?;
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            below += count;
            self.sample(&bucket, &format!(",le=\"{bound}\""), &below.to_string())?;
        }
        let samples = histogram.samples.to_string();
        self.sample(&bucket, ",le=\"+Inf\"", &samples)?;
        let sum = histogram.sum_ns as f64 / 1e9;
        self.sample(&format!("{name}_sum"), "", &sum.to_string())?;
        self.sample(&format!("{name}_count"), "", &samples)
    }
}

/// A label's value: backslash, quote and newline are escaped.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(outcome: Outcome) -> RequestTruth {
        RequestTruth {
            id: 0,
            streamed: true,
            arrived_ns: 0,
            admitted_ns: None,
            prefill_start_ns: None,
            prefill_end_ns: None,
            due_ns: Vec::new(),
            sent_ns: vec![20_000_000, 26_000_000, 36_000_000],
            finished_ns: 37_000_000,
            prompt_tokens: 5,
            output_tokens: 3,
            planned_tokens: 3,
            outcome,
        }
    }

    #[test]
    fn a_page_by_hand() {
        let mut summary = Summary::default();
        summary.add(&request(Outcome::Ok));
        summary.add(&request(Outcome::ClientGone));
        let live = Live::default();
        live.set_load(3, 1);
        live.prompt(5);
        live.token();
        let page = summary.render(&live, "a\"b");
        for line in [
            "# TYPE kitt_sim:num_requests_running gauge",
            "kitt_sim:num_requests_running{model_name=\"a\\\"b\"} 3",
            "kitt_sim:num_requests_waiting{model_name=\"a\\\"b\"} 1",
            "kitt_sim:prompt_tokens_total{model_name=\"a\\\"b\"} 5",
            "kitt_sim:generation_tokens_total{model_name=\"a\\\"b\"} 1",
            "kitt_sim:request_success_total{model_name=\"a\\\"b\"} 1",
            "kitt_sim:request_ended_total{model_name=\"a\\\"b\",outcome=\"client_gone\"} 1",
            // 20 ms is in the bucket it bounds.
            "kitt_sim:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"0.01\"} 0",
            "kitt_sim:time_to_first_token_seconds_bucket{model_name=\"a\\\"b\",le=\"0.02\"} 1",
            "kitt_sim:time_to_first_token_seconds_sum{model_name=\"a\\\"b\"} 0.02",
            "kitt_sim:inter_token_latency_seconds_bucket{model_name=\"a\\\"b\",le=\"0.0075\"} 1",
            "kitt_sim:inter_token_latency_seconds_bucket{model_name=\"a\\\"b\",le=\"+Inf\"} 2",
            "kitt_sim:inter_token_latency_seconds_count{model_name=\"a\\\"b\"} 2",
            "kitt_sim:e2e_request_latency_seconds_sum{model_name=\"a\\\"b\"} 0.037",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_sample_above_every_bound_is_only_in_the_last_bucket() {
        let mut histogram = Histogram::new(TTFT_BOUNDS);
        histogram.add_ns(11_000_000_000);
        assert!(histogram.counts.iter().all(|count| *count == 0));
        assert_eq!(histogram.samples, 1);
    }
}
