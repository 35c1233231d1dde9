//! `SGLang`'s `bench_serving` on the `OpenAI` interface: keys of its result line.
//!
//! Its first token is the first non-empty content or reasoning, ITL a sample per such chunk. The
//! latency runs to the last line of the stream, `[DONE]` included. It does not ask for usage in
//! single-turn runs, and counts the requested length where the server does not send it unasked.

use super::{
    DialectMetric, Ours, Rules, Run,
    rows::{count, duration, rate},
    samples::Samples,
    view, vllm,
};
use crate::{load::RequestTrace, metric::Unit};

#[derive(Debug, Default)]
pub(super) struct Sglang {
    ttft: Samples,
    tpot: Samples,
    itl: Samples,
    e2e: Samples,
    input: u64,
    output: u64,
    /// Output tokens, had the server sent no usage.
    requested: u64,
    /// Requests without a requested length.
    unasked: u64,
}

impl Rules for Sglang {
    fn add(&mut self, trace: &RequestTrace) -> bool {
        // An answer without output is a failure to its Rust client, an error behind some is not.
        let Some((first, _)) = view::output_span(trace).filter(|_| vllm::streamed(trace)) else {
            return false;
        };
        let requested = trace.asked.output_tokens.map(|n| u64::from(n.get()));
        let counted = view::counted(trace);
        let tokens = counted.or(requested).unwrap_or_default();
        self.unasked += u64::from(requested.is_none());
        self.requested += requested.unwrap_or_default();
        let ttft = view::since_sent(trace, first);
        let latency = view::since_sent(trace, trace.finished_at);
        self.ttft.add(ttft);
        self.e2e.add(latency);
        for (before, after) in view::output(trace).zip(view::output(trace).skip(1)) {
            self.itl.add(view::between(before.at, after.at));
        }
        if tokens > 1 {
            self.tpot.add((latency - ttft) / (tokens - 1) as f64);
        }
        self.input += view::prompt_tokens(trace);
        self.output += tokens;
        true
    }

    fn metrics(&self, run: &Run) -> Vec<DialectMetric> {
        let span = run.seconds();
        let (output, both) = (self.output, self.input + self.output);
        let mut rows = vec![
            duration("duration", span, WHOLE_RUN),
            count("completed", run.completed, Ours::Count(run.ok), SUCCESS),
            count("total_input_tokens", self.input, Ours::None, TOKENS),
            count(
                "total_output_tokens",
                output,
                Ours::Count(run.tokens),
                TOKENS,
            ),
        ];
        let rates = [
            ("request_throughput", run.completed, Some("request_rps")),
            ("input_throughput", self.input, None),
            ("output_throughput", output, Some("output_tps")),
            ("total_throughput", both, Some("total_tps")),
        ];
        rows.extend(rates.map(|(name, amount, ours)| rate(name, (amount, span), ours, WHOLE_RUN)));
        rows.push(DialectMetric {
            name: "concurrency".to_owned(),
            value: span.map(|seconds| self.e2e.total() / 1e3 / seconds),
            unit: Unit::Count,
            ours: Ours::None,
            why: IN_FLIGHT,
        });
        rows.extend(vllm::family("e2e_latency", &self.e2e, "e2e_ms", E2E));
        rows.extend(vllm::family("ttft", &self.ttft, "ttft_ms", TTFT));
        rows.extend(vllm::family("tpot", &self.tpot, "tpot_ms", TPOT));
        rows.extend(vllm::family("itl", &self.itl, "itl_ms", ITL));
        rows
    }

    fn limits(&self, run: &Run) -> Vec<String> {
        let mut limits = vec![
            "total_output_tokens_retokenized needs the text and the model's tokenizer: not given."
                .to_owned(),
        ];
        if self.requested != self.output {
            limits.push(format!(
                "kitt asks for usage and SGLang does not: where the server sends none unasked, \
                 SGLang takes the requested lengths and its total_output_tokens is {}.",
                self.requested
            ));
        }
        if self.unasked > 0 {
            limits.push(format!(
                "{} requests asked for no length, so theirs is not in that number.",
                self.unasked
            ));
        }
        if run.uncounted > 0 {
            limits.push(format!(
                "{} answers had no usage: their requested length is taken for the delivered one.",
                run.uncounted
            ));
        }
        if self.itl.folded() {
            limits.push("Percentiles of ITL are right to 0.1 %.".to_owned());
        }
        limits
    }
}

const WHOLE_RUN: &str = "over the whole run with ramp-up and drain; ours: the steady window";
const SUCCESS: &str = "an error inside a 200 stream is a success once output came";
const TOKENS: &str = "the requested length where the server sent no usage";
const IN_FLIGHT: &str = "sum of latencies over duration: what was in flight on average";
const E2E: &str = "to [DONE], from the send; ours: to the last output, from due";
const TTFT: &str = "from the send; ours: from when it was due";
const TPOT: &str = "(latency to [DONE] - TTFT) / (n - 1)";
const ITL: &str = "a sample per chunk, however many tokens it holds";
