//! One request's trace to its latencies. Pure. Definitions: design §3.

use std::time::Duration;

use crate::load::{ChunkArrival, Outcome, RequestTrace};

/// Latencies of one request, in milliseconds. All count from the moment it was due
/// ([`RequestTrace::scheduled_at`]), so that a late send lengthens them (coordinated omission).
#[derive(Debug, Clone, PartialEq)]
pub struct RequestTimes {
    /// Time to first token: to the first output chunk, reasoning included.
    pub ttft_ms: f64,
    /// End-to-end latency: to the last output chunk. The finish reason, the usage and `[DONE]`
    /// behind it are no output; most tools stop here too.
    pub e2e_ms: f64,
    /// Gaps between consecutive output chunks. A chunk may hold several tokens.
    pub itl_ms: Vec<f64>,
    /// Time per output token: `(e2e - ttft) / (tokens - 1)`, tokens from `usage`. `None` without
    /// usage, below two tokens, or when all output came in one chunk.
    pub tpot_ms: Option<f64>,
    /// How many of the gaps end in a chunk of the same read as the one before it: those gaps are
    /// zero for want of a time, not because the server was quick.
    pub coalesced_gaps: usize,
}

impl RequestTimes {
    /// Mean gap between output chunks.
    pub fn itl_mean_ms(&self) -> Option<f64> {
        super::quantile::mean(&self.itl_ms)
    }
}

/// The latencies of a request that ended well; `None` for any other.
pub fn request_times(trace: &RequestTrace) -> Option<RequestTimes> {
    if trace.outcome != Outcome::Ok {
        return None;
    }
    let since = |at: Duration| milliseconds(at.saturating_sub(trace.scheduled_at));
    let output: Vec<&ChunkArrival> = trace
        .chunks
        .iter()
        .filter(|chunk| chunk.kind.is_output())
        .collect();
    let (first, last) = (output.first()?.at, output.last()?.at);
    let mut itl_ms = Vec::with_capacity(output.len().saturating_sub(1));
    let mut coalesced_gaps = 0;
    for (before, after) in output.iter().zip(output.iter().skip(1)) {
        itl_ms.push(milliseconds(after.at.saturating_sub(before.at)));
        coalesced_gaps += usize::from(after.coalesced && after.at == before.at);
    }
    let tokens = trace.usage.map(|usage| usage.completion_tokens);
    let tpot_ms = tokens
        .filter(|tokens| *tokens > 1 && last > first)
        .map(|tokens| milliseconds(last.saturating_sub(first)) / (tokens - 1) as f64);
    Some(RequestTimes {
        ttft_ms: since(first),
        e2e_ms: since(last),
        itl_ms,
        tpot_ms,
        coalesced_gaps,
    })
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
        let chunk = |ms: &u64| ChunkArrival {
            at: at(*ms),
            kind: ChunkKind::Content,
            coalesced: false,
        };
        RequestTrace {
            index,
            scheduled_at: at(sent),
            sent_at: at(sent),
            chunks: output.iter().map(chunk).collect(),
            finished_at: at(output.last().copied().unwrap_or(sent)),
            outcome: Outcome::Ok,
            usage: Some(Usage {
                prompt_tokens: 10,
                completion_tokens: tokens,
            }),
            finish_reason: Some("length".to_owned()),
            error: None,
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
        assert!(
            times
                .itl_ms
                .iter()
                .zip([10.0, 30.0, 10.0])
                .all(|(a, b)| near(*a, b))
        );
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
        assert_eq!(times.itl_ms.len(), 1);
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
        assert!(near(request_times(&late).unwrap().ttft_ms, 40.0));
    }

    #[test]
    fn coalesced_gaps_are_counted() {
        let mut merged = trace(0, 0, &[10, 10, 20], 3);
        merged.chunks[1].coalesced = true;
        assert_eq!(request_times(&merged).unwrap().coalesced_gaps, 1);
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
