//! inference-perf: keys of its `summary_lifecycle_metrics.json`, in seconds.
//!
//! It tokenises each chunk again and gives all its tokens the chunk's time: ITL is 0 inside a
//! chunk and the gap between two. TPOT is (last - first) / (n - 1), NTPOT the whole latency over
//! n. What it divides by runs from the first send to the last end, failures included.

use super::{
    DialectMetric, Ours, Rules, Run,
    rows::{Quantity, Statistic, count, rate},
    samples::Samples,
    view, vllm,
};
use crate::load::RequestTrace;

#[derive(Debug, Default)]
pub(super) struct InferencePerf {
    delay: Samples,
    latency: Samples,
    ntpot: Samples,
    tpot: Samples,
    ttft: Samples,
    itl: Samples,
    input: u64,
    output: u64,
    /// Answers whose tokens were spread over their chunks.
    spread: u64,
}

impl Rules for InferencePerf {
    fn add(&mut self, trace: &RequestTrace) -> bool {
        self.delay
            .add(view::between(trace.scheduled_at, trace.sent_at));
        if !vllm::streamed(trace) {
            return false;
        }
        let tokens = view::tokens_or_chunks(trace);
        let latency = view::since_sent(trace, trace.finished_at);
        self.latency.add(latency);
        // No token at all is a zero here, and in its means.
        let each = if tokens > 0 {
            latency / tokens as f64
        } else {
            0.0
        };
        self.ntpot.add(each);
        self.input += view::prompt_tokens(trace);
        self.output += tokens;
        self.gaps(trace, tokens);
        true
    }

    fn metrics(&self, run: &Run) -> Vec<DialectMetric> {
        let span = run.seconds();
        let (ok, lost) = (Ours::Count(run.ok), Ours::Count(run.ended - run.ok));
        let both = self.input + self.output;
        let mut rows = vec![
            count(
                "load_summary.count",
                run.ended,
                Ours::Count(run.ended),
                "the same",
            ),
            count("successes.count", run.completed, ok, SUCCESS),
            count("failures.count", run.failed(), lost, SUCCESS),
        ];
        let rates = [
            ("input_tokens_per_sec", self.input, None),
            ("output_tokens_per_sec", self.output, Some("output_tps")),
            ("total_tokens_per_sec", both, Some("total_tps")),
            ("requests_per_sec", run.completed, Some("request_rps")),
        ];
        rows.extend(rates.map(|(name, amount, ours)| {
            let name = format!("successes.throughput.{name}");
            rate(name, (amount, span), ours, WINDOW)
        }));
        let quantities = [
            (
                "load_summary.schedule_delay",
                &self.delay,
                Some("schedule_delay_ms"),
                DELAY,
            ),
            ("request_latency", &self.latency, Some("e2e_ms"), LATENCY),
            (
                "normalized_time_per_output_token",
                &self.ntpot,
                Some("normalized_latency_ms"),
                NTPOT,
            ),
            ("time_per_output_token", &self.tpot, Some("tpot_ms"), TPOT),
            ("time_to_first_token", &self.ttft, Some("ttft_ms"), TTFT),
            ("inter_token_latency", &self.itl, Some("token_itl_ms"), ITL),
        ];
        for (name, samples, ours, why) in quantities {
            let below = if name.contains('.') {
                ""
            } else {
                "successes.latency."
            };
            let quantity = Quantity::new(samples, ours, why).in_seconds();
            rows.extend(quantity.rows(&STATISTICS, |word| format!("{below}{name}.{word}")));
        }
        rows
    }

    fn limits(&self, run: &Run) -> Vec<String> {
        let mut limits = vec![
            "inference-perf counts tokens with its own tokenizer unless told to use the server's; \
             usage is taken here."
                .to_owned(),
        ];
        if self.spread > 0 {
            limits.push(format!(
                "{} answers do not say how many tokens each chunk held: theirs are spread evenly \
                 over their chunks, which leaves the mean of ITL as it is and moves its percentiles.",
                self.spread
            ));
        }
        if run.uncounted > 0 {
            limits.push(format!(
                "{} answers had no usage: a chunk is counted as a token in the place of a \
                 tokenizer.",
                run.uncounted
            ));
        }
        if self.itl.folded() {
            limits.push("Percentiles of ITL are right to 0.1 %.".to_owned());
        }
        limits
    }
}

impl InferencePerf {
    /// What needs the times of at least two tokens, TTFT among it.
    fn gaps(&mut self, trace: &RequestTrace, tokens: u64) {
        let chunks = view::tokens_by_chunk(trace);
        let times: u64 = chunks.iter().map(|(_, new)| new).sum();
        let full: Vec<_> = chunks.iter().filter(|(_, new)| *new > 0).collect();
        let (Some((first, _)), Some((last, _))) = (full.first(), full.last()) else {
            return;
        };
        if times < 2 {
            return;
        }
        self.ttft.add(view::since_sent(trace, *first));
        if tokens > 1 {
            let each = view::between(*first, *last) / (tokens - 1) as f64;
            self.tpot.add(each);
        }
        self.itl.add_times(0.0, times - full.len() as u64);
        for ((before, _), (after, _)) in full.iter().zip(full.iter().skip(1)) {
            self.itl.add(view::between(*before, *after));
        }
        let told = view::output(trace).all(|chunk| chunk.tokens.is_some());
        self.spread += u64::from(!told && times != full.len() as u64);
    }
}

/// The statistics given here, in the tool's words.
const STATISTICS: [(Statistic, &str); 4] = [
    (Statistic::Mean, "mean"),
    (Statistic::Median, "median"),
    (Statistic::P90, "p90"),
    (Statistic::P99, "p99"),
];

const SUCCESS: &str = "an error inside a 200 stream and an answer without text are successes";
const WINDOW: &str = "first send to last end, failures included; ours: the steady window";
const DELAY: &str = "send minus due, as ours";
const LATENCY: &str = "to the end of the stream, from the send; ours: to the last output, from due";
const NTPOT: &str = "latency to the end of the stream over n; ours: to the last output";
const TPOT: &str = "(last - first) / (n - 1), as ours, but with its own count of tokens";
const TTFT: &str = "from the send, of answers of two tokens and more; ours: from due, of all";
const ITL: &str = "0 inside a chunk, the whole gap between two; ours: shared by its tokens";
