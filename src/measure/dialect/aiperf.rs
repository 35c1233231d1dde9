//! `AIPerf`: metric tags and statistics of its `profile_export_aiperf.json`.
//!
//! Its headline ITL is one number per request, (latency - TTFT) / (OSL - 1); the gaps between
//! chunks are ICL. The latency ends with the last chunk that holds something. Throughput is all
//! output tokens over the time from the first request to the last response. An error inside a
//! stream is an error only when the event is named so.

use std::time::Duration;

use super::{
    DialectMetric, Ours, Rules, Run,
    rows::{Quantity, Statistic, count, duration, rate},
    samples::Samples,
    view, vllm,
};
use crate::load::RequestTrace;

#[derive(Debug, Default)]
pub(super) struct Aiperf {
    latency: Samples,
    ttft: Samples,
    second: Samples,
    ttfo: Samples,
    itl: Samples,
    icl: Samples,
    input: u64,
    output: u64,
    last_response: Option<Duration>,
}

impl Rules for Aiperf {
    fn add(&mut self, trace: &RequestTrace) -> bool {
        let span = view::output_span(trace).filter(|_| vllm::streamed(trace));
        let Some((first, last)) = span else {
            return false;
        };
        let tokens = view::tokens_or_chunks(trace);
        let (ttft, latency) = (
            view::since_sent(trace, first),
            view::since_sent(trace, last),
        );
        self.latency.add(latency);
        self.ttft.add(ttft);
        if let Some(second) = view::output(trace).nth(1) {
            self.second.add(view::between(first, second.at));
        }
        if let Some(content) = view::first_content(trace) {
            self.ttfo.add(view::since_sent(trace, content));
        }
        if tokens > 1 {
            self.itl.add((latency - ttft) / (tokens - 1) as f64);
        }
        for (before, after) in view::output(trace).zip(view::output(trace).skip(1)) {
            self.icl.add(view::between(before.at, after.at));
        }
        self.input += view::prompt_tokens(trace);
        self.output += tokens;
        self.last_response = self.last_response.max(Some(last));
        true
    }

    fn metrics(&self, run: &Run) -> Vec<DialectMetric> {
        let window = run.first_sent.zip(self.last_response);
        let span = window.and_then(|(first, last)| view::seconds(first, last));
        let (ok, lost) = (Ours::Count(run.ok), Ours::Count(run.ended - run.ok));
        let (output, both) = (self.output, self.input + self.output);
        let mut rows = vec![
            count("request_count.avg", run.completed, ok, SUCCESS),
            count("error_request_count.avg", run.failed(), lost, SUCCESS),
            duration("benchmark_duration.avg", span, WINDOW),
            count("total_isl.avg", self.input, Ours::None, TOKENS),
            count("total_osl.avg", output, Ours::Count(run.tokens), TOKENS),
        ];
        let rates = [
            ("request_throughput.avg", run.completed, "request_rps"),
            ("output_token_throughput.avg", output, "output_tps"),
            ("total_token_throughput.avg", both, "total_tps"),
        ];
        rows.extend(
            rates.map(|(name, amount, ours)| rate(name, (amount, span), Some(ours), WINDOW)),
        );
        let quantities = [
            (
                "time_to_first_token",
                &self.ttft,
                Some("ttft_ms"),
                FROM_SEND,
            ),
            ("time_to_second_token", &self.second, None, SECOND),
            (
                "time_to_first_output_token",
                &self.ttfo,
                Some("ttfot_ms"),
                FROM_SEND,
            ),
            ("request_latency", &self.latency, Some("e2e_ms"), FROM_SEND),
            ("inter_token_latency", &self.itl, Some("tpot_ms"), ITL),
            ("inter_chunk_latency", &self.icl, Some("itl_ms"), ICL),
        ];
        for (name, samples, ours, why) in quantities {
            let quantity = Quantity::new(samples, ours, why);
            rows.extend(quantity.rows(&STATISTICS, |word| format!("{name}.{word}")));
        }
        rows
    }

    fn limits(&self, run: &Run) -> Vec<String> {
        let mut limits = vec![
            "AIPerf counts tokens with its own tokenizer unless told --use-server-token-count; \
             the server's usage is taken here, so OSL, ITL and throughput differ where the \
             tokenizers do."
                .to_owned(),
            "A trace does not tell whether an error came as `event: error`, which AIPerf counts \
             as an error, or as plain data, which it does not: plain data is assumed."
                .to_owned(),
            "effective_* and per-user throughputs and http_req_* phases are not given.".to_owned(),
        ];
        if run.uncounted > 0 {
            limits.push(format!(
                "{} answers had no usage: a chunk is counted as a token in the place of AIPerf's \
                 tokenizer.",
                run.uncounted
            ));
        }
        if self.icl.folded() {
            limits.push("Percentiles of ICL are right to 0.1 %.".to_owned());
        }
        limits
    }
}

/// The statistics given here, in the tool's words.
const STATISTICS: [(Statistic, &str); 4] = [
    (Statistic::Mean, "avg"),
    (Statistic::Median, "p50"),
    (Statistic::P90, "p90"),
    (Statistic::P99, "p99"),
];

const SUCCESS: &str = "an error in the stream that is no `event: error` is a success";
const WINDOW: &str = "first request to last response, ramp-up included; ours: the steady window";
const TOKENS: &str = "AIPerf's own tokenizer by default; here by usage";
const FROM_SEND: &str = "from the send; ours: from when it was due";
const SECOND: &str = "the first gap between two chunks; we give no such number";
const ITL: &str = "a request's mean per token: our TPOT; a stall shows in no percentile";
const ICL: &str = "a sample per chunk; off AIPerf's console";
