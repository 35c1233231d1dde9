//! Every quantity of the requests, and the numbers they become. Pure.

use std::collections::BTreeMap;

use super::{
    request::{RequestTimes, milliseconds},
    samples::{QuantileMethod, Samples},
    spec::Load,
};
use crate::load::RequestTrace;

/// Samples by quantity.
#[derive(Debug, Default)]
pub(super) struct Quantities {
    open: bool,
    ttft: Samples,
    ttft_from_send: Samples,
    ttfot: Samples,
    /// One answer held reasoning; without any TTFOT is TTFT and not told twice.
    reasoned: bool,
    e2e: Samples,
    tpot: Samples,
    normalized: Samples,
    itl: Samples,
    token_itl: Samples,
    /// One answer does not tell which tokens came with which chunk: gaps per token of the others
    /// alone would be a selection.
    token_itl_incomplete: bool,
    schedule_delay: Samples,
    dns: Samples,
    connect: Samples,
    tls: Samples,
    write: Samples,
    first_byte: Samples,
}

impl Quantities {
    pub(super) fn new(load: Load) -> Self {
        Self {
            open: load == Load::Open,
            ..Self::default()
        }
    }

    /// Notes a request, good or not.
    pub(super) fn sent(&mut self, trace: &RequestTrace) {
        if self.open {
            let late = trace.sent_at.saturating_sub(trace.scheduled_at);
            self.schedule_delay.add(milliseconds(late));
        }
    }

    /// Notes a good request.
    pub(super) fn good(&mut self, trace: &RequestTrace, times: &RequestTimes) {
        let put = |samples: &mut Samples, value: Option<f64>| {
            if let Some(value) = value {
                samples.add(value);
            }
        };
        put(&mut self.ttft, times.certain_ttft_ms());
        if self.open && !times.ttft_uncertain {
            self.ttft_from_send.add(times.ttft_from_send_ms);
        }
        put(&mut self.ttfot, times.ttfot_ms);
        self.reasoned |= times.reasoned;
        self.e2e.add(times.e2e_ms);
        put(&mut self.tpot, times.tpot_ms);
        put(&mut self.normalized, times.normalized_ms);
        let phases = &trace.phases;
        for (samples, phase) in [
            (&mut self.dns, phases.dns),
            (&mut self.connect, phases.connect),
            (&mut self.tls, phases.tls),
            (&mut self.write, phases.write),
            (&mut self.first_byte, phases.first_byte),
        ] {
            put(samples, phase.map(milliseconds));
        }
        self.gaps(times);
    }

    /// Every gap of every request: a stall of the server must show in the tail.
    fn gaps(&mut self, times: &RequestTimes) {
        for gap in &times.gaps.known_ms {
            self.itl.add(*gap);
        }
        self.itl.blur(times.gaps.spread, times.gaps.spread_total_ms);
        let Some(tokens) = &times.token_gaps else {
            self.token_itl_incomplete = true;
            return;
        };
        for (gap, count) in &tokens.known_ms {
            self.token_itl.add_times(*gap, *count);
        }
        let (count, total) = tokens.spread;
        self.token_itl.blur(count, total);
    }

    /// The numbers.
    pub(super) fn numbers(self) -> Numbers {
        let mut numbers = Numbers::default();
        if self.reasoned {
            numbers.summary("ttfot_ms", self.ttfot);
        }
        if !self.token_itl_incomplete {
            numbers.summary("token_itl_ms", self.token_itl);
        }
        for (quantity, samples) in [
            ("ttft_ms", self.ttft),
            ("ttft_from_send_ms", self.ttft_from_send),
            ("e2e_ms", self.e2e),
            ("tpot_ms", self.tpot),
            ("normalized_latency_ms", self.normalized),
            ("itl_ms", self.itl),
            ("schedule_delay_ms", self.schedule_delay),
            ("dns_ms", self.dns),
            ("connect_ms", self.connect),
            ("tls_ms", self.tls),
            ("write_ms", self.write),
            ("first_byte_ms", self.first_byte),
        ] {
            numbers.summary(quantity, samples);
        }
        numbers
    }
}

/// Metrics, how many samples each quantity rests on, and where its quantiles come from.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) samples: BTreeMap<String, u64>,
    pub(super) methods: BTreeMap<String, QuantileMethod>,
}

impl Numbers {
    /// Keeps a number that was measured; a number that is none is not kept.
    pub(super) fn put(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.metrics.insert(name.to_owned(), value);
        }
    }

    /// Likewise, with what it rests on.
    pub(super) fn put_counted(&mut self, name: &str, value: Option<f64>, samples: u64) {
        if value.is_some() {
            self.put(name, value);
            self.samples.insert(name.to_owned(), samples);
        }
    }

    fn summary(&mut self, quantity: &str, samples: Samples) {
        let Some(summary) = samples.summary() else {
            return;
        };
        for (statistic, value) in summary.statistics {
            self.put(&format!("{quantity}.{statistic}"), Some(value));
        }
        self.samples.insert(quantity.to_owned(), summary.count);
        self.methods.insert(quantity.to_owned(), summary.method);
    }
}
