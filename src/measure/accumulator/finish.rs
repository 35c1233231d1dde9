//! What was gathered to the measurement.

use std::time::Duration;

use super::Accumulator;
use crate::{
    load::{ClientAudit, DriveReport, Stopped},
    measure::{
        MeasureError, Measurement,
        audit::{Audit, turnaround_share},
        cost::cost,
        energy::Work,
        gpu::{GpuAccount, gpu_metrics},
        gpu_findings::GpuFindings,
        quantities::Numbers,
        record::columns,
        spec::Load,
        timeline::Column,
        validity::{Findings, judge},
        window::{Window, window},
    },
    telemetry::{GpuTrace, HostLoad, ServerCheck, ServerExpectations, ServerNumbers, check_server},
};

/// How a scenario ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::measure) struct Ending<'a> {
    pub(in crate::measure) began: Duration,
    pub(in crate::measure) ended: Duration,
    pub(in crate::measure) stopped: &'a Stopped,
    pub(in crate::measure) client: &'a ClientAudit,
    pub(in crate::measure) host: &'a HostLoad,
}

/// What else was seen of a scenario.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::measure) struct Seen<'a> {
    pub(in crate::measure) gpu: Option<&'a GpuTrace>,
    pub(in crate::measure) server: Option<&'a ServerNumbers>,
}

impl Accumulator {
    /// The measurement. `report` is the driver's, `host` what the machine did meanwhile, `gpu`
    /// and `server` what was seen of them.
    ///
    /// # Errors
    /// [`MeasureError::NoRequests`]: nothing was sent.
    pub fn finish(
        self,
        report: &DriveReport,
        host: &HostLoad,
        gpu: Option<&GpuTrace>,
        server: Option<&ServerNumbers>,
    ) -> Result<Measurement, MeasureError> {
        let ending = Ending {
            began: report.began,
            ended: report.ended,
            stopped: &report.stopped,
            client: &report.audit,
            host,
        };
        self.end(&ending, Seen { gpu, server })
    }

    /// When the first request was sent and the last one had ended.
    pub(in crate::measure) fn span(&self) -> Option<(Duration, Duration)> {
        self.edges.span()
    }

    /// As [`Accumulator::finish`], without a driver's report.
    pub(in crate::measure) fn end(
        mut self,
        ending: &Ending<'_>,
        seen: Seen<'_>,
    ) -> Result<Measurement, MeasureError> {
        if self.sent == 0 {
            return Err(MeasureError::NoRequests);
        }
        let window = self.window();
        let audit = self.audit(ending, window.as_ref());
        let mut numbers = std::mem::take(&mut self.quantities).numbers();
        let mut notes = self.tokens.notes(self.spec.same_prompts);
        self.rates(window.as_ref(), &mut numbers, &mut notes);
        let gpu = self.gpu(window.as_ref(), seen.gpu, &mut numbers, &mut notes);
        self.cost(gpu.as_ref(), &mut numbers, &mut notes);
        let server = seen
            .server
            .map(|server| self.server(server))
            .unwrap_or_default();
        notes.extend(server.notes);
        let invalid = server.invalid.as_deref();
        let findings = Findings {
            gpu: gpu.as_ref().map(|gpu| &gpu.findings),
            ..self.findings(ending, window.as_ref(), &audit, invalid)
        };
        let saturated = findings.saturated;
        let (validity, notes) = judge(&findings, notes);
        let steady = window.as_ref().filter(|window| window.fallback.is_none());
        let after =
            |later: Duration, earlier: Duration| later.saturating_sub(earlier).as_secs_f64();
        self.records.sort_by_key(|record| record.index);
        let requests = self.spec.planned.unwrap_or(0).max(self.indices);
        Ok(Measurement {
            per_request: columns(&self.records, requests),
            metrics: numbers.metrics,
            samples: numbers.samples,
            quantile_methods: numbers.methods,
            outcomes: self.outcomes,
            sent: self.sent,
            ok: self.ok,
            output_tokens_mean: self.tokens.output_mean(),
            input_tokens_mean: self.tokens.prompt_mean(),
            token_sources: self.tokens.sources(),
            window_s: window.as_ref().map(Window::seconds),
            ramp_up_s: steady.map(|window| after(window.start, ending.began)),
            drain_s: steady.map(|window| after(ending.ended, window.end)),
            coalesced_share: audit.coalesced_share,
            audit: Some(audit),
            server: seen.server.cloned(),
            gpu,
            saturated,
            validity,
            notes,
            requests: self.records,
        })
    }

    fn window(&self) -> Option<Window> {
        let mean_ms = self.e2e_total_ms / self.ok.max(1) as f64;
        let throughput = if self.tokens.complete() {
            &self.timeline.output
        } else {
            &self.timeline.chunks
        };
        window(
            &self.edges,
            &self.timeline,
            self.spec.concurrency(),
            Duration::from_secs_f64(mean_ms / 1e3),
            throughput,
        )
    }

    fn audit(&self, ending: &Ending<'_>, window: Option<&Window>) -> Audit {
        let span = ending.ended.saturating_sub(ending.began);
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let deficit = match self.spec.load {
            // Slots that pause are idle on purpose: only the driver knows which.
            Load::Closed {
                concurrency,
                pauses: true,
            } => turnaround_share(ending.client, concurrency.get(), span),
            Load::Closed { pauses: false, .. } | Load::Open => window.and_then(|w| w.deficit),
        };
        Audit {
            coalesced_share: share(self.coalesced, self.gaps),
            uncertain_share: share(self.uncertain, self.gaps),
            uncertain_ttft_share: share(self.uncertain_ttft, self.ok),
            in_flight_deficit: deficit,
            ..Audit::of(ending.client, ending.host)
        }
        .summed_up()
    }

    /// Throughput, goodput, rates and the error rate.
    fn rates(&self, window: Option<&Window>, numbers: &mut Numbers, notes: &mut Vec<String>) {
        numbers.put("error_rate", self.error_rate());
        if self.spec.load == Load::Open {
            numbers.put("offered_rps", self.edges.offered_rps());
            numbers.put("sent_rps", self.edges.sent_rps());
        }
        if let Some(window) = window {
            self.throughput(window, numbers);
        }
        if !self.spec.objectives.is_empty() {
            let (attained, judged) = (self.slo.attainment(), self.slo.judged());
            numbers.put_counted("slo_attainment", attained, judged);
            notes.extend(self.slo.note());
        }
    }

    fn throughput(&self, window: &Window, numbers: &mut Numbers) {
        let timeline = &self.timeline;
        let outside = timeline.ended.sum(0..window.bins.start)
            + timeline.begun.sum(window.bins.end..usize::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of whole requests"
        )]
        let touching = self.ok.saturating_sub(outside.round() as u64);
        if touching == 0 {
            return;
        }
        let rate = |column: &Column| column.sum(window.bins.clone()) / window.seconds();
        let mut put = |name: &str, value| numbers.put_counted(name, Some(value), touching);
        put("request_rps", rate(&timeline.requests));
        if !self.spec.objectives.is_empty() && self.slo.attainment().is_some() {
            put("goodput_rps", rate(&timeline.met));
        }
        if self.tokens.complete() {
            let output = rate(&timeline.output);
            put("output_tps", output);
            put("total_tps", output + rate(&timeline.prompt));
        } else {
            put("output_tps_estimated", rate(&timeline.chunks));
        }
    }

    /// What the server's counters say about the load.
    fn server(&self, numbers: &ServerNumbers) -> ServerCheck {
        // The server counts tokens of requests that went wrong too.
        let all_good = self.ok == self.sent;
        let expected = ServerExpectations {
            cold: self.spec.cold,
            concurrency: self.spec.concurrency(),
            slots: self.spec.slots,
            generated: self.tokens.output_total().filter(|_| all_good),
        };
        check_server(numbers, &expected)
    }

    /// What the GPUs said of the window.
    fn gpu(
        &self,
        window: Option<&Window>,
        trace: Option<&GpuTrace>,
        numbers: &mut Numbers,
        notes: &mut Vec<String>,
    ) -> Option<GpuAccount> {
        let (trace, window) = trace.zip(window)?;
        let timeline = &self.timeline;
        let sum = |column: &Column| column.sum(window.bins.clone());
        let counted = self.tokens.complete();
        let output = counted.then(|| sum(&timeline.output));
        let work = Work {
            output_tokens: output,
            total_tokens: output.map(|output| output + sum(&timeline.prompt)),
            requests: Some(sum(&timeline.requests)),
            idle_w: self.spec.idle_power_w,
        };
        let span = window.start..window.end;
        let findings = GpuFindings::of(trace, &span);
        let gpu = gpu_metrics(trace, span, work, &findings);
        numbers.metrics.extend(gpu.metrics);
        notes.extend(gpu.notes);
        Some(GpuAccount {
            source: trace.source.clone(),
            gpus: u32::try_from(trace.devices.len()).unwrap_or(u32::MAX),
            energy: gpu.energy,
            findings,
            watching: trace.cost,
        })
    }

    /// What the tokens cost, where prices are known.
    fn cost(&self, gpu: Option<&GpuAccount>, numbers: &mut Numbers, notes: &mut Vec<String>) {
        if let Some(prices) = &self.spec.prices {
            let gpus = self.spec.gpus.or(gpu.map(|gpu| gpu.gpus));
            notes.extend(cost(&mut numbers.metrics, prices, gpus));
        }
    }

    fn findings<'a>(
        &'a self,
        ending: &Ending<'a>,
        window: Option<&'a Window>,
        audit: &'a Audit,
        server_invalid: Option<&'a str>,
    ) -> Findings<'a> {
        let last_due = self.edges.last_due().unwrap_or_default();
        Findings {
            spec: &self.spec,
            sent: self.sent,
            ok: self.ok,
            cancelled: self.cancelled,
            error_rate: self.error_rate(),
            first_error: self.first_error.as_deref(),
            window,
            began: ending.began,
            ended: ending.ended,
            stopped: ending.stopped,
            audit,
            offered_rps: self.edges.offered_rps(),
            sent_rps: self.edges.sent_rps(),
            saturated: self.queue_grows_until(last_due),
            server_invalid,
            gpu: None,
        }
    }
}
