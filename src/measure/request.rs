//! One request's trace to its latencies. Pure. Definitions: design §3.

use std::time::Duration;

use super::gaps::{Gaps, TokenGaps, arrivals, gaps, together, token_gaps};
use crate::load::{ChunkArrival, ChunkKind, Outcome, RequestTrace};

/// Latencies of one request, in milliseconds. All count from the moment it was due
/// ([`RequestTrace::scheduled_at`]), so that a late send lengthens them (coordinated omission).
#[derive(Debug, Clone, PartialEq)]
pub struct RequestTimes {
    /// Time to first token: to the first output chunk, reasoning included. An upper bound when
    /// [`RequestTimes::ttft_uncertain`].
    pub ttft_ms: f64,
    /// The first chunk came in one read with later events, and can have arrived so much before
    /// them that our own loop must have stood still. TTFT and TPOT leave such requests out.
    pub ttft_uncertain: bool,
    /// TTFT from the moment the request was sent: what the server alone took.
    pub ttft_from_send_ms: f64,
    /// Time to first output token: to the first chunk that is no reasoning. `None` when there is
    /// none, or when its time is uncertain.
    pub ttfot_ms: Option<f64>,
    /// Whether the answer held reasoning; without it TTFOT is TTFT.
    pub reasoned: bool,
    /// End-to-end latency: to the last output chunk. The finish reason, the usage and `[DONE]`
    /// behind it are no output; most tools stop here too.
    pub e2e_ms: f64,
    /// Gaps between consecutive output chunks. A chunk may hold several tokens.
    pub gaps: Gaps,
    /// Gaps per token; `None` when it is not known which tokens came with which chunk.
    pub token_gaps: Option<TokenGaps>,
    /// Time per output token: `(e2e - ttft) / (tokens - 1)`, tokens from `usage`. `None` without
    /// usage, below two tokens, when all output came in one chunk, or when TTFT is uncertain.
    pub tpot_ms: Option<f64>,
    /// End-to-end latency over output tokens; `None` without usage.
    pub normalized_ms: Option<f64>,
    /// How many of the gaps end in a chunk of the same read as the one before it.
    pub coalesced_gaps: u64,
}

impl RequestTimes {
    /// Mean gap between output chunks.
    pub fn itl_mean_ms(&self) -> Option<f64> {
        self.gaps.mean_ms()
    }

    /// TTFT, where its time is known.
    pub fn certain_ttft_ms(&self) -> Option<f64> {
        (!self.ttft_uncertain).then_some(self.ttft_ms)
    }
}

/// The latencies of a request that ended well; `None` for any other.
pub fn request_times(trace: &RequestTrace) -> Option<RequestTimes> {
    if trace.outcome != Outcome::Ok {
        return None;
    }
    let since = |at: Duration| milliseconds(at.saturating_sub(trace.scheduled_at));
    let output = output(trace);
    let (&first, last) = (output.first()?, output.last()?.at);
    let arrivals = arrivals(&output);
    let known = arrivals.first()?.known;
    let content = |chunk: &ChunkArrival| chunk.kind == ChunkKind::Content;
    let mut timed = output.iter().zip(&arrivals);
    let told = timed
        .find(|(chunk, _)| content(chunk))
        .filter(|(_, arrival)| arrival.known);
    let pairs = output.iter().zip(output.iter().skip(1));
    let merged = pairs.filter(|(before, after)| together(before, after));
    let tokens = trace.usage.map(|usage| usage.completion_tokens);
    let e2e_ms = since(last);
    let tpot_ms = tokens
        .filter(|tokens| *tokens > 1 && last > first.at && known)
        .map(|tokens| milliseconds(last.saturating_sub(first.at)) / (tokens - 1) as f64);
    Some(RequestTimes {
        ttft_ms: since(first.at),
        ttft_uncertain: !known,
        ttft_from_send_ms: milliseconds(first.at.saturating_sub(trace.sent_at)),
        ttfot_ms: told.map(|(chunk, _)| since(chunk.at)),
        reasoned: output
            .iter()
            .any(|chunk| chunk.kind == ChunkKind::Reasoning),
        e2e_ms,
        gaps: gaps(&arrivals),
        token_gaps: token_gaps(&arrivals, tokens),
        tpot_ms,
        normalized_ms: tokens
            .filter(|tokens| *tokens > 0)
            .map(|tokens| e2e_ms / tokens as f64),
        coalesced_gaps: merged.count() as u64,
    })
}

/// The chunks that carried output, in order.
pub(super) fn output(trace: &RequestTrace) -> Vec<&ChunkArrival> {
    let is_output = |chunk: &&ChunkArrival| chunk.kind.is_output();
    trace.chunks.iter().filter(is_output).collect()
}

/// A duration in milliseconds.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::load::{ChunkKind, Usage};

    /// A good trace: sent at `sent` ms, output at the given ms, `tokens` by usage.
    pub(in crate::measure) fn trace(
        index: u32,
        sent: u64,
        output: &[u64],
        tokens: u64,
    ) -> RequestTrace {
        let at = Duration::from_millis;
        let chunk = |ms: &u64| ChunkArrival::new(at(*ms), ChunkKind::Content);
        RequestTrace {
            chunks: output.iter().map(chunk).collect(),
            finished_at: at(output.last().copied().unwrap_or(sent)),
            outcome: Outcome::Ok,
            usage: Some(Usage {
                prompt_tokens: 10,
                completion_tokens: tokens,
            }),
            finish_reason: Some("length".to_owned()),
            ..RequestTrace::sent(index, at(sent))
        }
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn latencies_worked_by_hand() {
        // Sent at 100, output at 150, 160, 190 and 200: TTFT 50, gaps 10, 30, 10, E2E 100;
        // 6 tokens: TPOT (100 - 50) / 5 = 10, mean gap 50 / 3.
        let times = request_times(&trace(0, 100, &[150, 160, 190, 200], 6)).unwrap();
        assert!(near(times.ttft_ms, 50.0) && near(times.e2e_ms, 100.0));
        let gaps = times.gaps.known_ms.iter();
        assert!(gaps.zip([10.0, 30.0, 10.0]).all(|(a, b)| near(*a, b)));
        assert!(near(times.tpot_ms.unwrap(), 10.0));
        assert!(near(times.itl_mean_ms().unwrap(), 50.0 / 3.0));
        assert_eq!(times.coalesced_gaps, 0);
    }

    #[test]
    fn what_is_no_output_moves_no_clock() {
        let mut with_role = trace(0, 0, &[1, 50, 60, 99], 2);
        with_role.chunks[0].kind = ChunkKind::Other;
        with_role.chunks[1].kind = ChunkKind::Reasoning;
        with_role.chunks[3].kind = ChunkKind::Other;
        let times = request_times(&with_role).unwrap();
        assert!(near(times.ttft_ms, 50.0) && near(times.e2e_ms, 60.0));
        assert_eq!(times.gaps.count(), 1);
        // Reasoning first: the answer proper begins at 60.
        assert!(times.reasoned && near(times.ttfot_ms.unwrap(), 60.0));
    }

    #[test]
    fn tpot_needs_usage_two_tokens_and_two_chunks() {
        let mut uncounted = trace(0, 0, &[10, 20], 2);
        uncounted.usage = None;
        for without in [uncounted, trace(0, 0, &[10, 20], 1), trace(0, 0, &[10], 8)] {
            assert_eq!(request_times(&without).unwrap().tpot_ms, None);
        }
    }

    #[test]
    fn a_late_send_counts_from_when_it_was_due() {
        let mut late = trace(0, 30, &[50], 1);
        late.scheduled_at = Duration::from_millis(10);
        let times = request_times(&late).unwrap();
        assert!(near(times.ttft_ms, 40.0) && near(times.ttft_from_send_ms, 20.0));
    }

    #[test]
    fn coalesced_gaps_are_counted() {
        let mut merged = trace(0, 0, &[10, 10, 20], 3);
        merged.chunks[1].coalesced = true;
        assert_eq!(request_times(&merged).unwrap().coalesced_gaps, 1);
    }

    #[test]
    fn a_first_chunk_of_unknown_time_gives_no_ttft() {
        let with_slack = |slack_us| {
            let mut stalled = trace(0, 0, &[60, 60, 70], 3);
            stalled.chunks[0].slack_us = slack_us;
            stalled.chunks[1].coalesced = true;
            request_times(&stalled).unwrap()
        };
        let times = with_slack(6000);
        assert!(near(times.certain_ttft_ms().unwrap(), 60.0));
        assert!(near(times.tpot_ms.unwrap(), 5.0));
        let times = with_slack(6001);
        assert_eq!((times.certain_ttft_ms(), times.tpot_ms), (None, None));
        assert_eq!(times.ttfot_ms, None);
        assert!(near(times.ttft_ms, 60.0), "still the upper bound");
    }

    #[test]
    fn only_good_requests_have_latencies() {
        for outcome in Outcome::ALL {
            let mut other = trace(0, 0, &[10, 20], 2);
            other.outcome = outcome;
            assert_eq!(request_times(&other).is_some(), outcome == Outcome::Ok);
        }
    }
}
