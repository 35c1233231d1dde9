//! The steady-state window: the part of a scenario that counts for throughput. Pure.
//!
//! Closed loop: from the moment the last slot got its first request to the moment the first slot
//! got no further one. While there is work every end is followed by a send, so these are the
//! `concurrency`-th smallest send and the `concurrency`-th largest end, and two small heaps find
//! them however long the run is.
//!
//! Open loop: from the first due time plus the mean latency (by then as many requests are under
//! way as the rate brings about: Little, 1961) to the last due time. What comes behind is the
//! drain.
//!
//! Either is snapped inward to the bins of the [`Timeline`].

use std::{cmp::Reverse, collections::BinaryHeap, num::NonZeroU32, ops::Range, time::Duration};

use super::{
    series::{Change, change, transient},
    timeline::{Column, Scale, Timeline},
};
use crate::load::RequestTrace;

/// A window shorter than this share of the whole span says too little.
const SHORTEST_SHARE: f64 = 0.1;
/// An open loop's beginning takes at most this share of the time in which requests were due.
const LONGEST_RAMP: f64 = 0.5;
/// Most spans that throughput is looked at in.
const MOST_SPANS: usize = 400;

/// The moments that bound a window, kept while traces pass.
#[derive(Debug, Default)]
pub(super) struct Edges {
    /// The earliest sends, the latest of them on top.
    first_sends: BinaryHeap<Duration>,
    /// The latest ends, the earliest of them on top.
    last_ends: BinaryHeap<Reverse<Duration>>,
    /// First and last moment.
    whole: Option<(Duration, Duration)>,
    due: Option<(Duration, Duration)>,
    sent: Option<(Duration, Duration)>,
    count: u64,
}

impl Edges {
    /// Notes a request, good or not.
    pub(super) fn add(&mut self, trace: &RequestTrace, concurrency: Option<NonZeroU32>) {
        self.count += 1;
        widen(&mut self.whole, trace.sent_at, trace.finished_at);
        widen(&mut self.due, trace.scheduled_at, trace.scheduled_at);
        widen(&mut self.sent, trace.sent_at, trace.sent_at);
        let Some(concurrency) = concurrency else {
            return;
        };
        let keep = usize::try_from(concurrency.get()).unwrap_or(usize::MAX);
        self.first_sends.push(trace.sent_at);
        self.last_ends.push(Reverse(trace.finished_at));
        if self.first_sends.len() > keep {
            self.first_sends.pop();
            self.last_ends.pop();
        }
    }

    /// The whole span; `None` when no time passed.
    fn whole(&self) -> Option<Range<Duration>> {
        let (begin, finish) = self.whole?;
        (finish > begin).then_some(begin..finish)
    }

    /// When all slots of a closed loop had work.
    fn at_full_load(&self, concurrency: NonZeroU32) -> Option<Range<Duration>> {
        if self.count < u64::from(concurrency.get()) {
            return None;
        }
        let start = *self.first_sends.peek()?;
        let end = self.last_ends.peek()?.0;
        (end > start).then_some(start..end)
    }

    /// When an open loop had settled and requests were still due.
    fn settled(&self, mean_latency: Duration) -> Option<Range<Duration>> {
        let (first, last) = self.due?;
        let length = last.saturating_sub(first);
        let ramp = mean_latency.min(length.mul_f64(LONGEST_RAMP));
        (last > first).then(|| first + ramp..last)
    }

    /// Requests per second as they were due; `None` below two.
    pub(super) fn offered_rps(&self) -> Option<f64> {
        rate(self.count, self.due?)
    }

    /// Requests per second as they were sent.
    pub(super) fn sent_rps(&self) -> Option<f64> {
        rate(self.count, self.sent?)
    }

    /// First and last moment.
    pub(super) const fn span(&self) -> Option<(Duration, Duration)> {
        self.whole
    }

    /// When the first request was due.
    pub(super) fn first_due(&self) -> Option<Duration> {
        Some(self.due?.0)
    }

    /// When the last request was due.
    pub(super) fn last_due(&self) -> Option<Duration> {
        Some(self.due?.1)
    }
}

/// `n` moments have `n − 1` gaps.
fn rate(count: u64, (first, last): (Duration, Duration)) -> Option<f64> {
    let length = last.saturating_sub(first).as_secs_f64();
    (count > 1 && length > 0.0).then(|| (count - 1) as f64 / length)
}

fn widen(span: &mut Option<(Duration, Duration)>, from: Duration, to: Duration) {
    let (first, last) = span.unwrap_or((from, to));
    *span = Some((first.min(from), last.max(to)));
}

/// The part of a scenario that counts for throughput.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Window {
    pub(super) start: Duration,
    pub(super) end: Duration,
    /// Its bins.
    pub(super) bins: Range<usize>,
    /// Why it is the whole span instead.
    pub(super) fallback: Option<Fallback>,
    /// Share of `concurrency × length` in which no request was in flight, 0 to 1: the client
    /// had not sent the next one. `None` in an open loop.
    pub(super) deficit: Option<f64>,
    /// How much of its beginning was cut because throughput was not yet steady.
    pub(super) cut: Duration,
    /// When the level of throughput changed, and by which share.
    pub(super) change: Option<(Duration, f64)>,
}

/// Why the whole span was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// So many requests were never in flight at once.
    NeverReached,
    /// They were for a moment only.
    TooShort,
}

/// Finds the window; `None` when no time passed. `throughput` is the column to look for
/// unsteadiness in, `mean_latency` that of the good requests.
pub(super) fn window(
    edges: &Edges,
    timeline: &Timeline,
    concurrency: Option<NonZeroU32>,
    mean_latency: Duration,
    throughput: &Column,
) -> Option<Window> {
    let scale = timeline.scale();
    let whole = edges.whole()?;
    let wanted = match concurrency {
        Some(concurrency) => edges.at_full_load(concurrency),
        None => edges.settled(mean_latency),
    };
    let found = wanted.map(|span| (scale.inside(span.clone()), span));
    let short = |bins: &Range<usize>, span: &Range<Duration>| {
        bins.is_empty() || seconds(span) < SHORTEST_SHARE * seconds(&whole)
    };
    let mut window = match found {
        Some((bins, span)) if !short(&bins, &span) => Window::steady(bins, scale),
        Some(_) => Window::whole(whole, scale, Fallback::TooShort),
        None => Window::whole(whole, scale, Fallback::NeverReached),
    };
    if window.fallback.is_none() {
        window.look(throughput, scale, mean_latency);
    }
    window.deficit = concurrency.map(|concurrency| window.deficit_of(timeline, concurrency));
    Some(window)
}

fn seconds(span: &Range<Duration>) -> f64 {
    span.end.saturating_sub(span.start).as_secs_f64()
}

impl Window {
    fn steady(bins: Range<usize>, scale: Scale) -> Self {
        Self {
            start: scale.begins(bins.start),
            end: scale.begins(bins.end),
            bins,
            fallback: None,
            deficit: None,
            cut: Duration::ZERO,
            change: None,
        }
    }

    fn whole(span: Range<Duration>, scale: Scale, why: Fallback) -> Self {
        Self {
            start: span.start,
            end: span.end,
            fallback: Some(why),
            ..Self::steady(scale.touched(span), scale)
        }
    }

    /// Length in seconds.
    pub(super) fn seconds(&self) -> f64 {
        seconds(&(self.start..self.end))
    }

    fn deficit_of(&self, timeline: &Timeline, concurrency: NonZeroU32) -> f64 {
        let asked = f64::from(concurrency.get()) * self.seconds();
        (1.0 - timeline.busy.sum(self.bins.clone()) / asked).max(0.0)
    }

    /// Cuts an unsteady beginning and looks for a change of level. Throughput is looked at in
    /// spans of at least one mean latency: requests of one length end in waves, and a span
    /// shorter than a wave would take it for a change.
    fn look(&mut self, throughput: &Column, scale: Scale, mean_latency: Duration) {
        let wave = (mean_latency.as_secs_f64() / scale.seconds()).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of bins, below 8192 where it matters; the cast saturates"
        )]
        let wave = wave as usize;
        let per_span = wave.max(self.bins.len().div_ceil(MOST_SPANS)).max(1);
        let values = throughput.values();
        let padded = values.into_iter().chain(std::iter::repeat(0.0));
        let inside: Vec<f64> = padded.take(self.bins.end).skip(self.bins.start).collect();
        let spans = inside.chunks_exact(per_span);
        let series: Vec<f64> = spans.map(|bins| bins.iter().sum()).collect();
        let cut = transient(&series);
        let start = self.start;
        self.bins.start += cut * per_span;
        self.start = scale.begins(self.bins.start);
        self.cut = self.start.saturating_sub(start);
        let rest = series.get(cut..).unwrap_or_default();
        self.change = change(rest).map(|Change { at, share }| {
            let when = scale.begins(self.bins.start + at * per_span);
            (when, share)
        });
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

    fn noted(traces: &[RequestTrace], concurrency: Option<NonZeroU32>) -> (Edges, Timeline) {
        let (mut edges, mut timeline) = (Edges::default(), Timeline::new());
        for trace in traces {
            edges.add(trace, concurrency);
            timeline.reach(trace.finished_at);
            let scale = timeline.scale();
            let span = trace.sent_at..trace.finished_at;
            let length = seconds(&span);
            timeline.busy.spread(scale, span, length);
            for chunk in &trace.chunks {
                timeline.chunks.add(scale, chunk.at, 1.0);
            }
        }
        (edges, timeline)
    }

    fn closed(traces: &[RequestTrace], concurrency: u32) -> Option<Window> {
        let (edges, timeline) = noted(traces, Some(at(concurrency)));
        let latency = Duration::from_millis(100);
        window(
            &edges,
            &timeline,
            Some(at(concurrency)),
            latency,
            &timeline.chunks,
        )
    }

    #[test]
    fn one_after_the_other_is_the_whole_span() {
        let traces = [trace(0, 0, &[50, 100], 4), trace(1, 100, &[150, 200], 4)];
        let window = closed(&traces, 1).unwrap();
        assert_eq!((span(&window), window.fallback), ((0, 200), None));
        near(window.deficit.unwrap(), 0.0);
    }

    #[test]
    fn ramps_are_cut_off() {
        // Slot 1: 0-100, 100-200. Slot 2: 40-140. Two in flight from 40 to 140.
        let traces = [
            trace(0, 0, &[20, 60, 80, 100], 4),
            trace(1, 40, &[90, 140], 2),
            trace(2, 100, &[120, 150, 180, 200], 4),
        ];
        let window = closed(&traces, 2).unwrap();
        assert_eq!((span(&window), window.fallback), ((40, 140), None));
        near(window.seconds(), 0.1);
        near(window.deficit.unwrap(), 0.0);
        assert_eq!(window.bins, 40..140);
    }

    #[test]
    fn a_window_lies_on_bins() {
        let mut traces = [trace(0, 0, &[100], 1), trace(1, 0, &[150], 1)];
        traces[1].sent_at = Duration::from_micros(40_300);
        traces[0].finished_at = Duration::from_micros(100_700);
        let window = closed(&traces, 2).unwrap();
        assert_eq!(span(&window), (41, 100));
    }

    #[test]
    fn idle_slots_are_a_deficit() {
        // One slot: busy 0-40 and 60-100, idle for 20 of 100 ms.
        let traces = [trace(0, 0, &[40], 1), trace(1, 60, &[100], 1)];
        near(closed(&traces, 1).unwrap().deficit.unwrap(), 0.2);
    }

    #[test]
    fn turnarounds_are_a_deficit_and_hide_no_window() {
        // Two slots that never work at the same time by more than a hair: 9 ms work, 1 ms idle.
        let traces: Vec<_> = (0..20)
            .flat_map(|n| {
                let sent = u64::from(n) * 10;
                [
                    trace(2 * n, sent, &[sent + 9], 1),
                    trace(2 * n + 1, sent, &[sent + 9], 1),
                ]
            })
            .collect();
        let window = closed(&traces, 2).unwrap();
        assert_eq!((span(&window), window.fallback), ((0, 199), None));
        near(window.deficit.unwrap(), 19.0 / 199.0);
    }

    #[test]
    fn too_few_requests_take_the_whole_span() {
        let traces = [trace(0, 0, &[100], 1), trace(1, 0, &[100], 1)];
        let never = closed(&traces, 4).unwrap();
        assert_eq!(
            (span(&never), never.fallback),
            ((0, 100), Some(Fallback::NeverReached))
        );
        near(never.deficit.unwrap(), 0.5);
        // One after the other, although two were asked for.
        let traces = [trace(0, 0, &[100], 1), trace(1, 100, &[200], 1)];
        let never = closed(&traces, 2).unwrap();
        assert_eq!(never.fallback, Some(Fallback::NeverReached));
        // Both in flight for 5 of 195 ms.
        let traces = [trace(0, 0, &[100], 1), trace(1, 95, &[195], 1)];
        let short = closed(&traces, 2).unwrap();
        assert_eq!(
            (span(&short), short.fallback),
            ((0, 195), Some(Fallback::TooShort))
        );
    }

    #[test]
    fn no_time_is_no_window() {
        assert_eq!(closed(&[], 1), None);
        assert_eq!(closed(&[trace(0, 5, &[], 0)], 1), None);
    }

    #[test]
    fn an_open_loop_settles_first_and_drains_last() {
        // Due every 10 ms from 0 to 990, 100 ms each.
        let traces: Vec<_> = (0..100)
            .map(|n| {
                let due = u64::from(n) * 10;
                trace(n, due, &[due + 50, due + 100], 2)
            })
            .collect();
        let (edges, timeline) = noted(&traces, None);
        let latency = Duration::from_millis(100);
        let found = window(&edges, &timeline, None, latency, &timeline.chunks).unwrap();
        assert_eq!((span(&found), found.fallback), ((100, 990), None));
        assert_eq!(found.deficit, None);
        near(edges.offered_rps().unwrap(), 100.0);
        near(edges.sent_rps().unwrap(), 100.0);
        assert_eq!(edges.last_due(), Some(Duration::from_millis(990)));
        // A latency longer than half the schedule takes half of it.
        let latency = Duration::from_secs(5);
        let found = window(&edges, &timeline, None, latency, &timeline.chunks).unwrap();
        assert_eq!(span(&found), (495, 990));
    }

    /// One slot, 100 ms and 10 chunks a request, but `slow` of the requests, from `from` on,
    /// have half the chunks.
    fn uneven(count: u32, from: u32, slow: u32) -> Vec<RequestTrace> {
        let one = |n: u32| {
            let sent = u64::from(n) * 100;
            let step = if (from..from + slow).contains(&n) {
                20
            } else {
                10
            };
            let output: Vec<u64> = (1..=100 / step).map(|chunk| sent + chunk * step).collect();
            trace(n, sent, &output, 10)
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn an_unsteady_beginning_is_cut() {
        let window = closed(&uneven(100, 0, 10), 1).unwrap();
        assert_eq!(window.cut, Duration::from_secs(1));
        assert_eq!(span(&window), (1000, 10_000));
        assert_eq!(window.change, None);
    }

    #[test]
    fn a_change_of_level_is_dated() {
        let window = closed(&uneven(100, 70, 30), 1).unwrap();
        assert_eq!(window.cut, Duration::ZERO);
        let (when, share) = window.change.unwrap();
        assert_eq!(when.as_millis(), 7000);
        near(share, -0.5);
    }
}
