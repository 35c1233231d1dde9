//! The steady-state window: the part of a scenario that counts for throughput. Pure.

use std::{num::NonZeroU32, time::Duration};

use crate::load::{Outcome, RequestTrace};

/// A window shorter than this share of the whole span says too little.
const SHORTEST_SHARE: f64 = 0.1;

/// The part of a scenario in which the asked-for number of requests was in flight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// First moment at which all were in flight.
    pub(super) start: Duration,
    /// Last moment at which all were in flight.
    pub(super) end: Duration,
    /// Why it is the whole span instead.
    pub(super) fallback: Option<Fallback>,
    /// Share of `concurrency × length` in which no request was in flight, 0 to 1: the client
    /// had not sent the next one.
    pub(super) deficit: f64,
}

/// Why the whole span was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// So many requests were never in flight at once.
    NeverReached,
    /// They were for a moment only.
    TooShort,
}

/// Output within a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Flow {
    /// Output tokens; `None` when one good request has no usage.
    pub(super) output_tokens: Option<f64>,
    /// Prompt tokens; likewise.
    pub(super) prompt_tokens: Option<f64>,
    /// Good requests, counted by the part of each that lies in the window.
    pub(super) requests: f64,
    /// Good requests that touch the window.
    pub(super) touching: u64,
}

/// Finds the window of traces; `None` when no time passed.
pub(super) fn window(traces: &[RequestTrace], concurrency: NonZeroU32) -> Option<Window> {
    let begin = traces.iter().map(|trace| trace.sent_at).min()?;
    let finish = traces.iter().map(|trace| trace.finished_at).max()?;
    if finish <= begin {
        return None;
    }
    let whole = |fallback| Window {
        start: begin,
        end: finish,
        fallback: Some(fallback),
        deficit: deficit(traces, begin, finish, concurrency),
    };
    let Some((start, end)) = at_full_load(traces, concurrency) else {
        return Some(whole(Fallback::NeverReached));
    };
    if seconds(start, end) < SHORTEST_SHARE * seconds(begin, finish) {
        return Some(whole(Fallback::TooShort));
    }
    Some(Window {
        start,
        end,
        fallback: None,
        deficit: deficit(traces, start, end, concurrency),
    })
}

/// First and last moment with `concurrency` requests in flight.
fn at_full_load(traces: &[RequestTrace], concurrency: NonZeroU32) -> Option<(Duration, Duration)> {
    let sends = traces.iter().map(|trace| (trace.sent_at, true));
    let ends = traces.iter().map(|trace| (trace.finished_at, false));
    let mut events: Vec<(Duration, bool)> = sends.chain(ends).collect();
    // At equal times the end comes first: a slot's next request never overlaps its last.
    events.sort_unstable();
    let (mut in_flight, mut start, mut end) = (0_u32, None, None);
    for (at, is_send) in events {
        let full = in_flight >= concurrency.get();
        if is_send {
            in_flight += 1;
            if in_flight == concurrency.get() && start.is_none() {
                start = Some(at);
            }
        } else {
            in_flight = in_flight.saturating_sub(1);
            if full {
                end = Some(at);
            }
        }
    }
    start.zip(end).filter(|(start, end)| end > start)
}

fn deficit(
    traces: &[RequestTrace],
    start: Duration,
    end: Duration,
    concurrency: NonZeroU32,
) -> f64 {
    let busy: f64 = traces
        .iter()
        .map(|trace| overlap(trace.sent_at, trace.finished_at, start, end))
        .sum();
    let asked = f64::from(concurrency.get()) * seconds(start, end);
    (1.0 - busy / asked).max(0.0)
}

fn seconds(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64()
}

/// Length of the common part of two spans, in seconds.
fn overlap(from: Duration, to: Duration, start: Duration, end: Duration) -> f64 {
    seconds(from.max(start), to.min(end))
}

/// The share of a span that lies in the window; a span without length lies in it or does not.
fn share(from: Duration, to: Duration, window: &Window) -> f64 {
    let length = seconds(from, to);
    if length > 0.0 {
        overlap(from, to, window.start, window.end) / length
    } else {
        f64::from(u8::from(window.start <= from && from <= window.end))
    }
}

impl Window {
    /// Length in seconds.
    pub(super) fn seconds(&self) -> f64 {
        seconds(self.start, self.end)
    }

    /// What the good requests produced within the window. A request's output tokens are spread
    /// evenly over its output chunks, its prompt tokens over the time to its first chunk.
    pub(super) fn flow(&self, traces: &[RequestTrace]) -> Flow {
        let mut flow = Flow {
            output_tokens: Some(0.0),
            prompt_tokens: Some(0.0),
            requests: 0.0,
            touching: 0,
        };
        for trace in traces.iter().filter(|trace| trace.outcome == Outcome::Ok) {
            let part = share(trace.sent_at, trace.finished_at, self);
            flow.requests += part;
            flow.touching += u64::from(part > 0.0);
            let usage = trace.usage;
            let output =
                usage.map(|usage| usage.completion_tokens as f64 * self.output_share(trace));
            let prompt = usage.map(|usage| usage.prompt_tokens as f64 * self.prefill_share(trace));
            flow.output_tokens = flow.output_tokens.zip(output).map(|(sum, more)| sum + more);
            flow.prompt_tokens = flow.prompt_tokens.zip(prompt).map(|(sum, more)| sum + more);
        }
        flow
    }

    fn output_share(&self, trace: &RequestTrace) -> f64 {
        let output = trace.chunks.iter().filter(|chunk| chunk.kind.is_output());
        let (mut all, mut inside) = (0_u32, 0_u32);
        for chunk in output {
            all += 1;
            inside += u32::from(self.start < chunk.at && chunk.at <= self.end);
        }
        f64::from(inside) / f64::from(all.max(1))
    }

    fn prefill_share(&self, trace: &RequestTrace) -> f64 {
        let first = trace.chunks.iter().find(|chunk| chunk.kind.is_output());
        let until = first.map_or(trace.finished_at, |chunk| chunk.at);
        share(trace.sent_at, until, self)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::request::tests::trace, *};

    fn at(concurrency: u32) -> NonZeroU32 {
        NonZeroU32::new(concurrency).unwrap()
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    fn span(window: &Window) -> (u128, u128) {
        (window.start.as_millis(), window.end.as_millis())
    }

    #[test]
    fn one_after_the_other_is_the_whole_span() {
        let traces = [trace(0, 0, &[50, 100], 4), trace(1, 100, &[150, 200], 4)];
        let window = window(&traces, at(1)).unwrap();
        assert_eq!((span(&window), window.fallback), ((0, 200), None));
        near(window.deficit, 0.0);
        let flow = window.flow(&traces);
        near(flow.output_tokens.unwrap(), 8.0);
        near(flow.prompt_tokens.unwrap(), 20.0);
        near(flow.requests, 2.0);
        assert_eq!(flow.touching, 2);
    }

    #[test]
    fn ramps_are_cut_off() {
        // Slot 1: 0-100, 100-200. Slot 2: 40-140. Two in flight from 40 to 140.
        let traces = [
            trace(0, 0, &[20, 60, 80, 100], 4),
            trace(1, 40, &[90, 140], 2),
            trace(2, 100, &[120, 150, 180, 200], 4),
        ];
        let window = window(&traces, at(2)).unwrap();
        assert_eq!((span(&window), window.fallback), ((40, 140), None));
        near(window.seconds(), 0.1);
        near(window.deficit, 0.0);
        let flow = window.flow(&traces);
        // Chunks inside: 60, 80, 100; 90, 140; 120.
        near(flow.output_tokens.unwrap(), 3.0 + 2.0 + 1.0);
        // Request 0 lies inside for 60 of 100 ms, request 1 wholly, request 2 for 40 of 100.
        near(flow.requests, 0.6 + 1.0 + 0.4);
        // Prefills: 0-20 outside, 40-90 and 100-120 inside; 10 prompt tokens each.
        near(flow.prompt_tokens.unwrap(), 20.0);
    }

    #[test]
    fn idle_slots_are_a_deficit() {
        // One slot: busy 0-40 and 60-100, idle for 20 of 100 ms.
        let traces = [trace(0, 0, &[40], 1), trace(1, 60, &[100], 1)];
        near(window(&traces, at(1)).unwrap().deficit, 0.2);
    }

    #[test]
    fn too_few_requests_take_the_whole_span() {
        let traces = [trace(0, 0, &[100], 1), trace(1, 0, &[100], 1)];
        let never = window(&traces, at(4)).unwrap();
        assert_eq!(
            (span(&never), never.fallback),
            ((0, 100), Some(Fallback::NeverReached))
        );
        near(never.deficit, 0.5);
        // Both in flight for 5 of 195 ms.
        let traces = [trace(0, 0, &[100], 1), trace(1, 95, &[195], 1)];
        let short = window(&traces, at(2)).unwrap();
        assert_eq!(
            (span(&short), short.fallback),
            ((0, 195), Some(Fallback::TooShort))
        );
    }

    #[test]
    fn failed_requests_hold_a_slot_and_give_nothing() {
        let mut failed = trace(0, 0, &[50, 100], 4);
        failed.outcome = Outcome::Truncated;
        let traces = [failed, trace(1, 100, &[150, 200], 4)];
        let flow = window(&traces, at(1)).unwrap().flow(&traces);
        near(flow.output_tokens.unwrap(), 4.0);
        near(flow.requests, 1.0);
    }

    #[test]
    fn one_request_without_usage_leaves_tokens_unmeasured() {
        let mut uncounted = trace(0, 0, &[50, 100], 4);
        uncounted.usage = None;
        let traces = [uncounted, trace(1, 100, &[150, 200], 4)];
        let flow = window(&traces, at(1)).unwrap().flow(&traces);
        assert_eq!((flow.output_tokens, flow.prompt_tokens), (None, None));
    }

    #[test]
    fn no_time_is_no_window() {
        assert_eq!(window(&[], at(1)), None);
        assert_eq!(window(&[trace(0, 5, &[], 0)], at(1)), None);
    }
}
