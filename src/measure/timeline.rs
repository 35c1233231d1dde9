//! What happened when, in bins: the memory of a scenario that does not grow with it. Pure.
//!
//! Bins are 1 ms wide at first; when the scenario outgrows [`BINS`] of them, neighbours are
//! joined and the width doubles. Amounts spread evenly over a span cost the same however long
//! it is: whole bins are kept as steps, and only the two bins at the ends as amounts.

use std::{ops::Range, time::Duration};

/// Most bins; a power of two.
const BINS: usize = 8192;
/// Width of a bin at first, in nanoseconds.
const FIRST_WIDTH: u64 = 1_000_000;

/// Amounts over time. All share one bin width.
#[derive(Debug)]
pub(super) struct Timeline {
    width: u64,
    /// Seconds during which requests were under way, added up.
    pub(super) busy: Column,
    /// Output tokens, where they lie in time.
    pub(super) output: Column,
    /// Output chunks.
    pub(super) chunks: Column,
    /// Prompt tokens, spread over the time to the first chunk.
    pub(super) prompt: Column,
    /// Good requests, spread over their time.
    pub(super) requests: Column,
    /// Of those, the ones that met all objectives.
    pub(super) met: Column,
    /// Good requests by their beginning, and by their end.
    pub(super) begun: Column,
    pub(super) ended: Column,
}

/// One amount over time.
#[derive(Debug, Default)]
pub(super) struct Column {
    /// Amounts of single bins.
    single: Vec<f64>,
    /// By how much the amount of every bin from here on differs from the bin before.
    steps: Vec<f64>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Self {
            width: FIRST_WIDTH,
            busy: Column::default(),
            output: Column::default(),
            chunks: Column::default(),
            prompt: Column::default(),
            requests: Column::default(),
            met: Column::default(),
            begun: Column::default(),
            ended: Column::default(),
        }
    }

    /// Makes room for everything up to `until`.
    pub(super) fn reach(&mut self, until: Duration) {
        while nanos(until) / self.width >= BINS as u64 {
            self.width *= 2;
            for column in [
                &mut self.busy,
                &mut self.output,
                &mut self.chunks,
                &mut self.prompt,
                &mut self.requests,
                &mut self.met,
                &mut self.begun,
                &mut self.ended,
            ] {
                column.halve();
            }
        }
    }

    /// The scale that amounts are added with.
    pub(super) const fn scale(&self) -> Scale {
        Scale(self.width)
    }
}

/// How wide the bins are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale(u64);

impl Scale {
    /// Width of a bin in seconds.
    pub(super) const fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// When a bin begins.
    pub(super) const fn begins(self, bin: usize) -> Duration {
        Duration::from_nanos(self.0.saturating_mul(bin as u64))
    }

    /// The bins that lie wholly within a span.
    pub(super) fn inside(self, span: Range<Duration>) -> Range<usize> {
        index(nanos(span.start).div_ceil(self.0))..index(nanos(span.end) / self.0)
    }

    /// The bins that a span touches.
    pub(super) fn touched(self, span: Range<Duration>) -> Range<usize> {
        index(nanos(span.start) / self.0)..index(nanos(span.end).div_ceil(self.0))
    }

    /// The bin of a moment: a bin holds its end and not its beginning, so that what ends at the
    /// edge of a window lies in it.
    pub(super) fn bin(self, at: Duration) -> usize {
        index(nanos(at).saturating_sub(1) / self.0)
    }
}

impl Column {
    /// Adds an amount at a moment.
    pub(super) fn add(&mut self, scale: Scale, at: Duration, amount: f64) {
        self.add_in(scale.bin(at), amount);
    }

    /// Spreads an amount evenly over a span; one without length is a moment.
    pub(super) fn spread(&mut self, scale: Scale, span: Range<Duration>, amount: f64) {
        let (from, to) = (nanos(span.start), nanos(span.end));
        if to <= from {
            return self.add(scale, span.start, amount);
        }
        let per_nano = amount / (to - from) as f64;
        let (first, last) = (from / scale.0, (to - 1) / scale.0);
        if first == last {
            return self.add_in(index(first), amount);
        }
        let head = (first + 1).saturating_mul(scale.0) - from;
        let tail = to - last * scale.0;
        self.add_in(index(first), per_nano * head as f64);
        self.add_in(index(last), per_nano * tail as f64);
        if first + 1 < last {
            let whole = per_nano * scale.0 as f64;
            self.add_step(index(first + 1), whole);
            self.add_step(index(last), -whole);
        }
    }

    /// Adds an amount to a bin.
    pub(super) fn add_in(&mut self, bin: usize, amount: f64) {
        add(&mut self.single, bin, amount);
    }

    fn add_step(&mut self, bin: usize, amount: f64) {
        add(&mut self.steps, bin, amount);
    }

    /// The amount of each bin; those behind the last are zero.
    pub(super) fn values(&self) -> Vec<f64> {
        let length = self.single.len().max(self.steps.len());
        let singles = self.single.iter().copied().chain(std::iter::repeat(0.0));
        let steps = self.steps.iter().copied().chain(std::iter::repeat(0.0));
        let mut level = 0.0;
        let mut value = |(single, step): (f64, f64)| {
            level += step;
            level + single
        };
        singles.zip(steps).take(length).map(&mut value).collect()
    }

    /// The amount within some bins.
    pub(super) fn sum(&self, bins: Range<usize>) -> f64 {
        let values = self.values();
        values.iter().take(bins.end).skip(bins.start).sum()
    }

    /// Joins neighbours.
    fn halve(&mut self) {
        let values = self.values();
        self.single = values.chunks(2).map(|pair| pair.iter().sum()).collect();
        self.steps.clear();
    }
}

fn add(amounts: &mut Vec<f64>, bin: usize, amount: f64) {
    if bin >= amounts.len() {
        amounts.resize(bin + 1, 0.0);
    }
    if let Some(slot) = amounts.get_mut(bin) {
        *slot += amount;
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// [`Timeline::reach`] keeps bins below [`BINS`].
fn index(bin: u64) -> usize {
    usize::try_from(bin).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(span: Range<u64>) -> Range<Duration> {
        Duration::from_millis(span.start)..Duration::from_millis(span.end)
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn a_span_is_spread_over_its_bins() {
        let mut timeline = Timeline::new();
        let scale = timeline.scale();
        let micros = Duration::from_micros;
        // From 0.5 to 4 ms: half a bin and three whole ones of 3.5 in all.
        timeline.busy.spread(scale, micros(500)..micros(4000), 7.0);
        let values = timeline.busy.values();
        assert_eq!(values.len(), 4);
        for (found, expected) in values.iter().zip([1.0, 2.0, 2.0, 2.0]) {
            near(*found, expected);
        }
        near(timeline.busy.sum(1..3), 4.0);
    }

    #[test]
    fn a_moment_lies_in_the_bin_that_ends_with_it() {
        let mut timeline = Timeline::new();
        let scale = timeline.scale();
        for at in [0, 1, 2] {
            timeline.output.add(scale, Duration::from_millis(at), 1.0);
        }
        assert_eq!(timeline.output.values(), [2.0, 1.0]);
    }

    #[test]
    fn windows_snap_inward_and_wholes_outward() {
        let scale = Timeline::new().scale();
        let span = Duration::from_micros(1_500)..Duration::from_micros(4_500);
        assert_eq!(scale.inside(span.clone()), 2..4);
        assert_eq!(scale.touched(span), 1..5);
        assert_eq!(scale.inside(ms(2..4)), 2..4);
        assert_eq!(scale.begins(3), Duration::from_millis(3));
    }

    #[test]
    fn bins_double_and_stay_few() {
        let mut timeline = Timeline::new();
        for second in 0..100 {
            let span = ms(second * 1000..(second + 1) * 1000);
            timeline.reach(span.end);
            let scale = timeline.scale();
            timeline.busy.spread(scale, span, 1.0);
        }
        // 100 s in 8192 bins: 16 ms each.
        near(timeline.scale().seconds(), 0.016);
        let values = timeline.busy.values();
        assert!(values.len() <= BINS);
        near(values.iter().sum(), 100.0);
        assert!(values.iter().all(|value| *value < 0.0161));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_bins_are_joined(
            spans in prop::collection::vec((0_u64..200_000, 0_u64..50_000), 1..60),
        ) {
            let mut timeline = Timeline::new();
            for (from, length) in &spans {
                let span = ms(*from..from + length);
                timeline.reach(span.end);
                let scale = timeline.scale();
                timeline.busy.spread(scale, span, 3.0);
            }
            let values = timeline.busy.values();
            let total: f64 = values.iter().sum();
            prop_assert!((total - 3.0 * spans.len() as f64).abs() < 1e-6);
            prop_assert!(values.iter().all(|value| *value > -1e-9));
            prop_assert!(values.len() <= BINS);
        }
    }
}
