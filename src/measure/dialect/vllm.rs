//! `vllm bench serve`: keys of its result file, numbers by its `calculate_metrics`.
//!
//! Its clock starts before the POST. The first event with `choices` is its first token, even one
//! that holds a role and no text; every further such event is an ITL sample and moves the
//! request's end. Whatever began to stream over HTTP 200 is a success: an error inside the stream
//! is skipped like any event without `choices`.

use super::{
    DialectMetric, Ours, Rules, Run,
    rows::{Quantity, Statistic, count, duration, rate},
    samples::Samples,
    view,
};
use crate::load::{Outcome, RequestTrace};

#[derive(Debug, Default)]
pub(super) struct Vllm {
    ttft: Samples,
    tpot: Samples,
    itl: Samples,
    e2el: Samples,
    input: u64,
    output: u64,
}

impl Rules for Vllm {
    fn add(&mut self, trace: &RequestTrace) -> bool {
        if !streamed(trace) {
            return false;
        }
        let events = view::with_choices(trace);
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return false;
        };
        let ttft = view::since_sent(trace, first.at);
        let latency = view::since_sent(trace, last.at);
        // Its Rust client takes 1 + len(itl) for want of usage; the Python one tokenises again.
        let tokens = view::counted(trace).unwrap_or(events.len() as u64);
        self.ttft.add(ttft);
        self.e2el.add(latency);
        for (before, after) in events.iter().zip(events.iter().skip(1)) {
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
        let (ok, lost) = (Ours::Count(run.ok), Ours::Count(run.ended - run.ok));
        let (output, both) = (self.output, self.input + self.output);
        let mut rows = vec![
            duration("duration", span, WHOLE_RUN),
            count("completed", run.completed, ok, SUCCESS),
            count("failed", run.failed(), lost, SUCCESS),
            count("total_input_tokens", self.input, Ours::None, TOKENS),
            count(
                "total_output_tokens",
                output,
                Ours::Count(run.tokens),
                TOKENS,
            ),
        ];
        let rates = [
            ("request_throughput", run.completed, "request_rps"),
            ("output_throughput", output, "output_tps"),
            ("total_token_throughput", both, "total_tps"),
        ];
        rows.extend(
            rates.map(|(name, amount, ours)| rate(name, (amount, span), Some(ours), WHOLE_RUN)),
        );
        rows.extend(family("ttft", &self.ttft, "ttft_ms", TTFT));
        rows.extend(family("tpot", &self.tpot, "tpot_ms", TPOT));
        rows.extend(family("itl", &self.itl, "itl_ms", ITL));
        rows.extend(family("e2el", &self.e2el, "e2e_ms", E2EL));
        rows
    }

    fn limits(&self, run: &Run) -> Vec<String> {
        let mut limits = vec![
            "A trace does not say which events had `choices`: the last event without output is \
             taken for the usage event, all others for events with `choices`. A server that puts \
             usage into the finish event loses one ITL sample per request here."
                .to_owned(),
            "SSE comments leave no mark in a trace: the Rust client (vllm-bench) takes a ping for \
             the first token."
                .to_owned(),
            "max_output_tokens_per_s, max_concurrent_requests and the Rust client's steady state \
             are not given."
                .to_owned(),
        ];
        if run.uncounted > 0 {
            limits.push(format!(
                "{} answers had no usage. The Python client tokenises their text again, the Rust \
                 client counts events: that is what is given, the role event included.",
                run.uncounted
            ));
        }
        if self.itl.folded() {
            limits.push("Percentiles of ITL are right to 0.1 %.".to_owned());
        }
        limits
    }
}

/// Whether the answer began to stream over HTTP 200 and its connection held.
pub(super) const fn streamed(trace: &RequestTrace) -> bool {
    matches!(
        trace.outcome,
        Outcome::Ok | Outcome::StreamError | Outcome::Empty
    )
}

/// The rows that vLLM, and `SGLang` after it, print of a quantity.
pub(super) fn family(
    key: &str,
    samples: &Samples,
    ours: &'static str,
    why: &'static str,
) -> Vec<DialectMetric> {
    const STATISTICS: [(Statistic, &str); 4] = [
        (Statistic::Mean, "mean"),
        (Statistic::Median, "median"),
        (Statistic::Deviation, "std"),
        (Statistic::P99, "p99"),
    ];
    let quantity = Quantity::new(samples, Some(ours), why).or_zero();
    quantity.rows(&STATISTICS, |word| format!("{word}_{key}_ms"))
}

const WHOLE_RUN: &str = "over the whole run with ramp-up and drain; ours: the steady window";
const SUCCESS: &str = "an error inside a 200 stream and an answer without text are successes";
const TOKENS: &str = "by usage, of all its successes; ours: of good answers";
const TTFT: &str = "to the first event, a role without text included; ours: to output, from due";
const TPOT: &str = "(latency - TTFT) / (n - 1) with its own TTFT and its own end";
const ITL: &str = "a sample per event, role and finish events included; a chunk counts as a token";
const E2EL: &str = "to the last event with choices, from the send; ours: to output, from due";
