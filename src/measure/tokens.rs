//! Where token counts come from, and whether lengths are what was asked for. Pure.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::load::{ChunkArrival, RequestTrace};

/// A larger difference of lengths, in per cent, makes throughput incomparable (design §5.3).
const MAX_LENGTH_DRIFT_PCT: u64 = 1;
/// Prompts asked to be of one length may differ by this share of it, …
const MAX_PROMPT_SPREAD: f64 = 0.01;
/// … or by so many tokens: words join differently in a tokenizer.
const PROMPT_SLACK: f64 = 2.0;

/// Where token counts come from, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSource {
    /// The server told its count with every chunk.
    PerChunkUsage,
    /// The server told its count at the end of each answer.
    Usage,
    /// A tokenizer counted, without the server's chat template.
    Tokenizer,
    /// One for each output chunk. A chunk is not a token: these counts stay out of every gate.
    Estimated,
}

impl TokenSource {
    /// The name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerChunkUsage => "per-chunk-usage",
            Self::Usage => "usage",
            Self::Tokenizer => "tokenizer",
            Self::Estimated => "estimated",
        }
    }
}

/// Where the token counts of a measurement come from; `None` where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSources {
    /// Of answers.
    pub output: Option<TokenSource>,
    /// Of prompts.
    pub prompt: Option<TokenSource>,
}

/// Counts over the good requests.
#[derive(Debug, Default)]
pub(super) struct TokenTally {
    good: u64,
    counted: u64,
    per_chunk: u64,
    output: u64,
    prompt: u64,
    prompts_told: u64,
    /// Prompts that a tokenizer counted, and their tokens.
    tokenized: (u64, u64),
    /// Shortest and longest prompt, by usage.
    prompt_span: Option<(u64, u64)>,
    /// Output tokens asked for and got, of answers with an asked-for length.
    asked: u64,
    got: u64,
}

impl TokenTally {
    /// Notes a good request.
    pub(super) fn add(&mut self, trace: &RequestTrace, output: &[&ChunkArrival]) {
        self.good += 1;
        if let Some(tokens) = trace.asked.input_tokens {
            self.tokenized.0 += 1;
            self.tokenized.1 += u64::from(tokens);
        }
        let Some(usage) = trace.usage else {
            return;
        };
        self.counted += 1;
        self.per_chunk += u64::from(output.iter().all(|chunk| chunk.tokens.is_some()));
        self.output += usage.completion_tokens;
        self.prompt += usage.prompt_tokens;
        self.prompts_told += 1;
        let (least, most) = self.prompt_span.unwrap_or((u64::MAX, 0));
        let prompt = usage.prompt_tokens;
        self.prompt_span = Some((least.min(prompt), most.max(prompt)));
        if let Some(asked) = trace.asked.output_tokens {
            self.asked += u64::from(asked.get());
            self.got += usage.completion_tokens;
        }
    }

    /// Whether every good request has a count of the server's.
    pub(super) const fn complete(&self) -> bool {
        self.good > 0 && self.counted == self.good
    }

    pub(super) const fn sources(&self) -> TokenSources {
        let output = if self.good == 0 {
            None
        } else if !self.complete() {
            Some(TokenSource::Estimated)
        } else if self.per_chunk == self.good {
            Some(TokenSource::PerChunkUsage)
        } else {
            Some(TokenSource::Usage)
        };
        let prompt = if self.prompts_told > 0 {
            Some(TokenSource::Usage)
        } else if self.tokenized.0 > 0 {
            Some(TokenSource::Tokenizer)
        } else {
            None
        };
        TokenSources { output, prompt }
    }

    /// Output tokens of all good requests; `None` when one has no count.
    pub(super) fn output_total(&self) -> Option<u64> {
        self.complete().then_some(self.output)
    }

    /// Mean output length, from `usage`.
    pub(super) fn output_mean(&self) -> Option<f64> {
        ratio(self.output, self.counted)
    }

    /// Mean prompt length, from `usage`, else from the tokenizer.
    pub(super) fn prompt_mean(&self) -> Option<f64> {
        ratio(self.prompt, self.prompts_told).or_else(|| ratio(self.tokenized.1, self.tokenized.0))
    }

    /// What is to be said about counts and lengths.
    pub(super) fn notes(&self, same_prompts: bool) -> Vec<String> {
        [
            self.uncounted(),
            self.drift(),
            self.prompt_spread(same_prompts),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn uncounted(&self) -> Option<String> {
        let missing = self.good - self.counted;
        (missing > 0).then(|| {
            format!(
                "{missing} answers came without usage: their tokens can only be estimated from \
                 chunks, and nothing that needs exact counts is reported"
            )
        })
    }

    fn drift(&self) -> Option<String> {
        let drift = self.got.abs_diff(self.asked).saturating_mul(100);
        (drift > self.asked.saturating_mul(MAX_LENGTH_DRIFT_PCT)).then(|| {
            format!(
                "the answers held {} tokens where {} were asked for: \
                 throughput can only be compared with runs of the same length",
                self.got, self.asked
            )
        })
    }

    fn prompt_spread(&self, same_prompts: bool) -> Option<String> {
        let (least, most) = self.prompt_span.filter(|_| same_prompts)?;
        let allowed = (MAX_PROMPT_SPREAD * self.prompt_mean()?).max(PROMPT_SLACK);
        ((most - least) as f64 > allowed).then(|| {
            format!(
                "the prompts held {least} to {most} tokens although one length was asked for: \
                 give kitt the model's tokenizer for exact lengths"
            )
        })
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How many of `total` output tokens came with each of the output chunks: as the server told
/// with them, else evenly.
pub(super) fn tokens_by_chunk(output: &[&ChunkArrival], total: u64) -> Vec<f64> {
    told(output).unwrap_or_else(|| {
        let each = total as f64 / output.len().max(1) as f64;
        vec![each; output.len()]
    })
}

/// The differences of the counts that came with the chunks; `None` when one is missing or
/// smaller than the one before.
fn told(output: &[&ChunkArrival]) -> Option<Vec<f64>> {
    let step = |range: Range<u32>| range.end.checked_sub(range.start).map(f64::from);
    let mut before = 0;
    let mut new = |chunk: &&ChunkArrival| {
        let tokens = chunk.tokens?.get();
        step(std::mem::replace(&mut before, tokens)..tokens)
    };
    output.iter().map(&mut new).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{
        super::request::{output, tests::trace},
        *,
    };

    fn tally(traces: &[RequestTrace]) -> TokenTally {
        let mut tally = TokenTally::default();
        for trace in traces {
            tally.add(trace, &output(trace));
        }
        tally
    }

    fn counted(mut trace: RequestTrace, tokens: &[u32]) -> RequestTrace {
        for (chunk, tokens) in trace.chunks.iter_mut().zip(tokens) {
            chunk.tokens = NonZeroU32::new(*tokens);
        }
        trace
    }

    #[test]
    fn the_weakest_source_is_named() {
        let by_chunk = || counted(trace(0, 0, &[10, 20], 5), &[2, 5]);
        let plain = || trace(1, 0, &[10, 20], 5);
        let mut without = plain();
        without.usage = None;
        let output = |traces: &[RequestTrace]| tally(traces).sources().output;
        assert_eq!(output(&[by_chunk()]), Some(TokenSource::PerChunkUsage));
        assert_eq!(output(&[by_chunk(), plain()]), Some(TokenSource::Usage));
        assert_eq!(
            output(&[by_chunk(), without.clone()]),
            Some(TokenSource::Estimated)
        );
        assert_eq!(output(&[]), None);

        let prompt = |trace: &RequestTrace| tally(std::slice::from_ref(trace)).sources().prompt;
        assert_eq!(prompt(&plain()), Some(TokenSource::Usage));
        assert_eq!(prompt(&without), None);
        without.asked.input_tokens = Some(64);
        assert_eq!(prompt(&without), Some(TokenSource::Tokenizer));
        assert_eq!(tally(&[without]).prompt_mean(), Some(64.0));
    }

    #[test]
    fn one_per_cent_of_length_is_the_limit() {
        let asked = |got: u64| {
            let mut trace = trace(0, 0, &[10, 20], got);
            trace.asked.output_tokens = NonZeroU32::new(1000);
            tally(&[trace]).notes(false).join("\n")
        };
        assert_eq!(asked(990), "");
        assert!(asked(989).contains("989 tokens where 1000 were asked for"));
        assert!(asked(1011).contains("1011"));
    }

    #[test]
    fn prompts_of_one_length_are_of_one_length() {
        let spread = |prompts: [u64; 2], same| {
            let traces = prompts.map(|tokens| {
                let mut trace = trace(0, 0, &[10], 1);
                trace.usage.as_mut().unwrap().prompt_tokens = tokens;
                trace
            });
            tally(&traces).notes(same).join("\n")
        };
        assert_eq!(spread([995, 1005], true), ""); // 10 of 1000
        assert!(spread([995, 1006], true).contains("995 to 1006"));
        assert_eq!(spread([20, 22], true), ""); // two tokens
        assert!(spread([20, 23], true).contains("20 to 23"));
        assert_eq!(spread([20, 90], false), "", "they were asked to differ");
    }

    #[test]
    fn tokens_lie_where_their_chunk_does() {
        let even = trace(0, 0, &[10, 20, 30, 40], 6);
        assert_eq!(tokens_by_chunk(&output(&even), 6), [1.5; 4]);
        let told = counted(even.clone(), &[1, 4, 4, 6]);
        assert_eq!(tokens_by_chunk(&output(&told), 6), [1.0, 3.0, 0.0, 2.0]);
        let broken = counted(even, &[4, 1, 4, 6]);
        assert_eq!(tokens_by_chunk(&output(&broken), 6), [1.5; 4]);
    }
}
