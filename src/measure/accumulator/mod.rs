//! The traces of one scenario, one after the other, to its
//! [`Measurement`](super::Measurement). Pure.
//!
//! Latency statistics are over good requests only; counts are over all. Throughput is over the
//! steady-state [window](super::window). What is kept does not grow with the number of
//! requests: samples fold into histograms, amounts lie in bins, and per-request numbers are
//! those of the first 65,536 requests.

mod finish;
mod stopping;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{
    quantities::Quantities,
    record::RequestRecord,
    request::{RequestTimes, output, request_times},
    samples::EXACT,
    slo::{Met, SloTally, met},
    spec::{Load, MeasureSpec},
    stop::BatchMeans,
    timeline::Timeline,
    tokens::{TokenTally, tokens_by_chunk},
    window::Edges,
};
use crate::load::{ChunkArrival, Outcome, RequestTrace};

pub(super) use finish::{Ending, Seen};

/// Ended requests of which the earliest due time bounds what is known of the queue.
const RECENT: usize = 32;

/// Takes traces as requests end; gives the measurement at the end.
#[derive(Debug)]
pub struct Accumulator {
    spec: MeasureSpec,
    quantities: Quantities,
    timeline: Timeline,
    edges: Edges,
    tokens: TokenTally,
    slo: SloTally,
    outcomes: BTreeMap<String, u64>,
    sent: u64,
    ok: u64,
    cancelled: u64,
    first_error: Option<String>,
    records: Vec<RequestRecord>,
    /// Highest index plus one.
    indices: u32,
    gaps: u64,
    coalesced: u64,
    uncertain: u64,
    uncertain_ttft: u64,
    e2e_total_ms: f64,
    e2e: BatchMeans,
    ttft: BatchMeans,
    /// Due times of the requests that ended last.
    recent: VecDeque<Duration>,
}

impl Accumulator {
    /// Nothing has happened yet.
    pub fn new(spec: MeasureSpec) -> Self {
        let wave = spec.concurrency().map_or(1, |slots| u64::from(slots.get()));
        Self {
            quantities: Quantities::new(spec.load),
            spec,
            timeline: Timeline::new(),
            edges: Edges::default(),
            tokens: TokenTally::default(),
            slo: SloTally::default(),
            outcomes: BTreeMap::new(),
            sent: 0,
            ok: 0,
            cancelled: 0,
            first_error: None,
            records: Vec::new(),
            indices: 0,
            gaps: 0,
            coalesced: 0,
            uncertain: 0,
            uncertain_ttft: 0,
            e2e_total_ms: 0.0,
            e2e: BatchMeans::new(wave),
            ttft: BatchMeans::new(wave),
            recent: VecDeque::with_capacity(RECENT),
        }
    }

    /// Takes a request that has ended; gives its latencies when it ended well.
    pub fn add(&mut self, trace: &RequestTrace) -> Option<RequestTimes> {
        self.sent += 1;
        self.indices = self.indices.max(trace.index.saturating_add(1));
        *self
            .outcomes
            .entry(trace.outcome.name().to_owned())
            .or_default() += 1;
        self.edges.add(trace, self.spec.concurrency());
        self.timeline.reach(trace.finished_at);
        self.busy(trace);
        self.quantities.sent(trace);
        let times = request_times(trace);
        let verdict = met(&self.spec.objectives, trace, times.as_ref());
        if trace.outcome == Outcome::Cancelled {
            self.cancelled += 1;
        } else {
            self.slo.add(verdict);
        }
        match &times {
            Some(times) => self.good(trace, times, verdict),
            None => self.failed(trace),
        }
        times
    }

    /// A request is under way from when it was due: one that waits for a free place is queued.
    fn busy(&mut self, trace: &RequestTrace) {
        let from = match self.spec.load {
            Load::Closed { .. } => trace.sent_at,
            Load::Open => trace.scheduled_at,
        };
        let span = from..trace.finished_at;
        let length = span.end.saturating_sub(span.start).as_secs_f64();
        let scale = self.timeline.scale();
        self.timeline.busy.spread(scale, span, length);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(from);
    }

    fn failed(&mut self, trace: &RequestTrace) {
        if trace.outcome != Outcome::Cancelled && self.first_error.is_none() {
            let text = trace.error.as_deref().unwrap_or("no text");
            self.first_error = Some(format!("{}: {text}", trace.outcome.name()));
        }
    }

    fn good(&mut self, trace: &RequestTrace, times: &RequestTimes, verdict: Met) {
        self.ok += 1;
        self.gaps += times.gaps.count();
        self.coalesced += times.coalesced_gaps;
        self.uncertain += times.gaps.uncertain;
        self.uncertain_ttft += u64::from(times.ttft_uncertain);
        self.e2e_total_ms += times.e2e_ms;
        self.e2e.add(times.e2e_ms);
        if let Some(ttft) = times.certain_ttft_ms() {
            self.ttft.add(ttft);
        }
        self.quantities.good(trace, times);
        let output = output(trace);
        self.tokens.add(trace, &output);
        self.flow(trace, &output, verdict);
        if usize::try_from(trace.index).is_ok_and(|index| index < EXACT) {
            self.records.push(RequestRecord::of(trace, times));
        }
    }

    /// What the request produced, where it lies in time.
    fn flow(&mut self, trace: &RequestTrace, output: &[&ChunkArrival], verdict: Met) {
        let scale = self.timeline.scale();
        let timeline = &mut self.timeline;
        let span = trace.sent_at..trace.finished_at;
        timeline.requests.spread(scale, span.clone(), 1.0);
        // A moment lies in the bin that ends with it; a beginning lies in the next one.
        let begun = span.start.saturating_add(Duration::from_nanos(1));
        timeline.begun.add(scale, begun, 1.0);
        timeline.ended.add(scale, span.end, 1.0);
        if verdict == Met::Yes {
            timeline.met.spread(scale, span.clone(), 1.0);
        }
        let bins: Vec<usize> = output.iter().map(|chunk| scale.bin(chunk.at)).collect();
        for bin in &bins {
            timeline.chunks.add_in(*bin, 1.0);
        }
        let Some(usage) = trace.usage else {
            return;
        };
        let tokens = tokens_by_chunk(output, usage.completion_tokens);
        for (bin, tokens) in bins.into_iter().zip(tokens) {
            timeline.output.add_in(bin, tokens);
        }
        let first = output.first().map_or(span.end, |chunk| chunk.at);
        let prompt = usage.prompt_tokens as f64;
        timeline.prompt.spread(scale, span.start..first, prompt);
    }

    /// Failed requests over those that were left to end; stopping one is nobody's error.
    fn error_rate(&self) -> Option<f64> {
        let ended = self.sent - self.cancelled;
        (ended > 0).then(|| (ended - self.ok) as f64 / ended as f64)
    }
}

#[cfg(test)]
mod tests;
