//! What the tools look at in a trace. Pure.

use std::time::Duration;

use super::super::request::milliseconds;
use crate::load::{ChunkArrival, ChunkKind, RequestTrace};

/// From the send to `at`, in milliseconds: no tool counts from the moment a request was due.
pub(super) fn since_sent(trace: &RequestTrace, at: Duration) -> f64 {
    between(trace.sent_at, at)
}

/// Milliseconds from one moment to a later one; 0 when it is not later.
pub(super) fn between(from: Duration, to: Duration) -> f64 {
    milliseconds(to.saturating_sub(from))
}

/// Seconds from one moment to a later one; `None` when no time passed.
pub(super) fn seconds(from: Duration, to: Duration) -> Option<f64> {
    let span = to.saturating_sub(from).as_secs_f64();
    (span > 0.0).then_some(span)
}

/// The chunks that carried output, in order.
pub(super) fn output(trace: &RequestTrace) -> impl DoubleEndedIterator<Item = &ChunkArrival> {
    trace.chunks.iter().filter(|chunk| chunk.kind.is_output())
}

/// First and last arrival of output.
pub(super) fn output_span(trace: &RequestTrace) -> Option<(Duration, Duration)> {
    let first = output(trace).next()?.at;
    let last = output(trace).next_back().map_or(first, |chunk| chunk.at);
    Some((first, last))
}

/// First arrival of output that is no reasoning.
pub(super) fn first_content(trace: &RequestTrace) -> Option<Duration> {
    let content = |chunk: &&ChunkArrival| chunk.kind == ChunkKind::Content;
    trace.chunks.iter().find(content).map(|chunk| chunk.at)
}

/// Output tokens as the server counted them: its `usage`, or the last count it sent with a
/// chunk.
pub(super) fn counted(trace: &RequestTrace) -> Option<u64> {
    let last = || trace.chunks.iter().rev().find_map(|chunk| chunk.tokens);
    match trace.usage {
        Some(usage) => Some(usage.completion_tokens),
        None => last().map(|tokens| u64::from(tokens.get())),
    }
}

/// Prompt tokens: the server's count, else the tokenizer's before it was sent, else 0.
pub(super) fn prompt_tokens(trace: &RequestTrace) -> u64 {
    let asked = || trace.asked.input_tokens.map(u64::from);
    let counted = trace.usage.map(|usage| usage.prompt_tokens);
    counted.or_else(asked).unwrap_or_default()
}

/// Output tokens, one per output chunk where the server did not count.
pub(super) fn tokens_or_chunks(trace: &RequestTrace) -> u64 {
    counted(trace).unwrap_or_else(|| output(trace).count() as u64)
}

/// The events that have `choices`: all but the one that ends a stream with `usage`. A trace does
/// not keep `choices`, so a last event without output is taken for that one where there was a
/// `usage`.
pub(super) fn with_choices(trace: &RequestTrace) -> &[ChunkArrival] {
    match trace.chunks.split_last() {
        Some((last, before)) if last.kind == ChunkKind::Other && trace.usage.is_some() => before,
        Some(_) | None => &trace.chunks,
    }
}

/// How many tokens each output chunk brought, in order: by the counts the server sent with every
/// chunk, else the answer's tokens spread over its chunks as evenly as whole tokens go.
pub(super) fn tokens_by_chunk(trace: &RequestTrace) -> Vec<(Duration, u64)> {
    let chunks: Vec<&ChunkArrival> = output(trace).collect();
    if chunks.iter().all(|chunk| chunk.tokens.is_some()) {
        let mut before = 0_u64;
        let new = |chunk: &&ChunkArrival| {
            let count = u64::from(chunk.tokens.map_or(0, std::num::NonZeroU32::get));
            let new = count.saturating_sub(before);
            before = before.max(count);
            (chunk.at, new)
        };
        return chunks.iter().map(new).collect();
    }
    let (all, tokens) = (chunks.len() as u64, tokens_or_chunks(trace));
    let upto = |place: u64| u128::from(place) * u128::from(tokens) / u128::from(all.max(1));
    let share = |(chunk, place): (&ChunkArrival, u64)| {
        let new = upto(place + 1) - upto(place);
        (chunk.at, u64::try_from(new).unwrap_or(u64::MAX))
    };
    chunks.into_iter().zip(0_u64..).map(share).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::{super::super::request::tests::trace, *};

    #[test]
    fn tokens_are_spread_evenly_or_as_told() {
        let mut answer = trace(0, 0, &[10, 20, 30, 40], 10);
        let news = |trace: &RequestTrace| -> Vec<u64> {
            tokens_by_chunk(trace).iter().map(|(_, new)| *new).collect()
        };
        // 10 tokens over 4 chunks: 2.5, 5, 7.5, 10 cut to whole ones.
        assert_eq!(news(&answer), [2, 3, 2, 3]);
        for (chunk, count) in answer.chunks.iter_mut().zip([4, 5, 8, 10]) {
            chunk.tokens = NonZeroU32::new(count);
        }
        assert_eq!(news(&answer), [4, 1, 3, 2]);
        answer.usage = None;
        assert_eq!(counted(&answer), Some(10));
        answer.chunks[0].tokens = None;
        answer.chunks[3].tokens = None;
        assert_eq!(counted(&answer), Some(8));
    }

    #[test]
    fn the_usage_event_has_no_choices() {
        let mut answer = trace(0, 0, &[1, 10, 11, 12], 2);
        answer.chunks[0].kind = ChunkKind::Other;
        answer.chunks[2].kind = ChunkKind::Other;
        answer.chunks[3].kind = ChunkKind::Other;
        assert_eq!(with_choices(&answer).len(), 3);
        answer.usage = None;
        assert_eq!(with_choices(&answer).len(), 4);
        assert_eq!(tokens_or_chunks(&answer), 1);
    }
}
