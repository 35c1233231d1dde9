//! `GuideLLM`: keys below `metrics` of its result file.
//!
//! Its ITL is one number per request, (last - first) / (n - 1), which enters the statistics n - 1
//! times: a stall inside an answer shows in no percentile. TPOT is (last - T0) / n and so holds
//! the TTFT, n times. Percentiles are the nearest rank. Token rates spread each answer's tokens
//! evenly between its first and last chunk; their mean is all tokens over the time from the very
//! first token to the very last.

use std::time::Duration;

use super::{
    DialectMetric, Ours, Rules, Run,
    rows::{Quantity, Statistic, count, rate},
    samples::Samples,
    view,
};
use crate::load::{Outcome, RequestTrace};

#[derive(Debug, Default)]
pub(super) struct GuideLlm {
    latency: Samples,
    ttft: Samples,
    ttfot: Samples,
    tpot: Samples,
    itl: Samples,
    input: u64,
    output: u64,
    first_token: Option<Duration>,
    last_token: Option<Duration>,
}

impl Rules for GuideLlm {
    fn add(&mut self, trace: &RequestTrace) -> bool {
        let good = view::output_span(trace).filter(|_| trace.outcome == Outcome::Ok);
        let Some((first, last)) = good else {
            return false;
        };
        let tokens = view::tokens_or_chunks(trace);
        self.latency.add(view::since_sent(trace, trace.finished_at));
        self.ttft.add(view::since_sent(trace, first));
        // Without content it adds a zero, as for every time it does not have.
        let content = view::first_content(trace).map(|at| view::since_sent(trace, at));
        self.ttfot.add(content.unwrap_or_default());
        if tokens > 0 {
            let each = view::since_sent(trace, last) / tokens as f64;
            self.tpot.add_times(each, tokens);
        }
        if tokens > 1 {
            let each = view::between(first, last) / (tokens - 1) as f64;
            self.itl.add_times(each, tokens - 1);
        }
        self.input += view::prompt_tokens(trace);
        self.output += tokens;
        self.first_token = Some(self.first_token.map_or(first, |at| at.min(first)));
        self.last_token = self.last_token.max(Some(last));
        true
    }

    fn metrics(&self, run: &Run) -> Vec<DialectMetric> {
        let (ok, lost) = (Ours::Count(run.ok), Ours::Count(run.ended - run.ok));
        let tokens = self.first_token.zip(self.last_token);
        let tokens = tokens.and_then(|(first, last)| view::seconds(first, last));
        let (output, both) = (self.output, self.input + self.output);
        let mut rows = vec![
            count("request_totals.successful", run.completed, ok, SUCCESS),
            count("request_totals.errored", run.failed(), lost, SUCCESS),
        ];
        let rates = [
            (
                "requests_per_second",
                (run.completed, run.seconds()),
                "request_rps",
                WHOLE_RUN,
            ),
            (
                "output_tokens_per_second",
                (output, tokens),
                "output_tps",
                TOKEN_SPAN,
            ),
            ("tokens_per_second", (both, tokens), "total_tps", TOKEN_SPAN),
        ];
        rows.extend(
            rates.map(|(name, part, ours, why)| rate(of(name, "mean"), part, Some(ours), why)),
        );
        let sums = [
            ("prompt_token_count", self.input, Ours::None),
            ("output_token_count", output, Ours::Count(run.tokens)),
        ];
        rows.extend(sums.map(|(name, sum, ours)| count(of(name, "total_sum"), sum, ours, TOKENS)));
        let latency = Quantity::new(&self.latency, Some("e2e_ms"), LATENCY).in_seconds();
        let quantities = [
            ("request_latency", latency),
            (
                "time_to_first_token_ms",
                Quantity::new(&self.ttft, Some("ttft_ms"), TTFT),
            ),
            (
                "time_to_first_output_token_ms",
                Quantity::new(&self.ttfot, Some("ttfot_ms"), TTFT),
            ),
            (
                "time_per_output_token_ms",
                Quantity::new(&self.tpot, Some("tpot_ms"), TPOT),
            ),
            (
                "inter_token_latency_ms",
                Quantity::new(&self.itl, Some("token_itl_ms"), ITL),
            ),
        ];
        for (name, quantity) in quantities {
            rows.extend(
                quantity
                    .nearest_rank()
                    .rows(&STATISTICS, |word| of(name, word)),
            );
        }
        rows
    }

    fn limits(&self, run: &Run) -> Vec<String> {
        let mut limits = vec![
            "Of the rate distributions only the means are given; no warm-up or cool-down is cut."
                .to_owned(),
            "GuideLLM reads the wall clock, which a time server can step.".to_owned(),
        ];
        if run.uncounted > 0 {
            limits.push(format!(
                "{} answers had no usage: chunks are counted as tokens, as GuideLLM does.",
                run.uncounted
            ));
        }
        if self.itl.folded() || self.tpot.folded() {
            limits.push("Percentiles of ITL and TPOT are right to 0.1 %.".to_owned());
        }
        limits
    }
}

/// The statistics given here, in the tool's words.
const STATISTICS: [(Statistic, &str); 4] = [
    (Statistic::Mean, "mean"),
    (Statistic::Median, "median"),
    (Statistic::P90, "percentiles.p90"),
    (Statistic::P99, "percentiles.p99"),
];

/// The key of a statistic over the successful requests.
fn of(name: &str, statistic: &str) -> String {
    format!("{name}.successful.{statistic}")
}

const SUCCESS: &str = "the same: an error in the stream and an answer without output are failures";
const WHOLE_RUN: &str = "over the whole run with ramp-up and drain; ours: the steady window";
const TOKEN_SPAN: &str = "from the first token of all to the last; ours: the steady window";
const TOKENS: &str = "by usage, else a chunk is a token";
const LATENCY: &str = "to the end of the stream, from the send; ours: to the last output, from due";
const TTFT: &str = "from the send, nearest rank; ours: from due, interpolated";
const TPOT: &str = "(last - T0) / n: holds the TTFT, weighted by tokens; ours: without the TTFT";
const ITL: &str = "a request's mean gap per token, n - 1 times: a stall shows in no percentile";
