//! One level of a calibration: a number of streams, driven and compared.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::ControlFlow,
    process::Command,
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use serde_json::Map;

use super::{ErrorBars, ITL_LIMIT_MS, Sample, TOKENS, TTFT_LIMIT_MS, compare, tokens};
use crate::{
    app::signal::Stop,
    error::Error,
    load::{
        self, DriveOptions, DriveReport, LoadError, Outcome, Receiver, RequestTrace, StampSource,
        Target,
    },
    plan::{ApiPath, Job, PlannedRequest},
    sim::{
        SimError,
        paced::{PacedChild, PacedSpec, PacedTruth},
    },
};

/// A request of a calibration may take this long.
const TIMEOUT: Duration = Duration::from_mins(1);
/// What a prompt holds behind its number.
const PROMPT: &str = "the client counts its own time and the simulator counts too";

/// The figures of one level. Times in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Level {
    pub concurrency: u32,
    pub requests: u64,
    pub failed: u64,
    /// Tokens the simulator sent per second.
    pub tokens_per_second: Option<f64>,
    /// Those as a share of what the streams make when nothing is late.
    pub load_share: Option<f64>,
    pub errors: ErrorBars,
    pub stamps: StampSource,
    pub late_sends_p99_ms: Option<f64>,
    pub loop_lag_p99_ms: Option<f64>,
    pub stalls: u64,
    pub longest_stall_ms: f64,
    /// Share of tokens that came in one read with the one before.
    pub coalesced_share: Option<f64>,
    /// How late the simulator itself was. Part of the truth, and no error.
    pub simulator_late_p99_ms: Option<f64>,
    /// Whether the simulator ran on the processor asked for.
    pub pinned: bool,
    /// Whether the errors are within the limits.
    pub holds: bool,
}

/// Takes what a comparison needs out of each trace.
#[derive(Debug, Default)]
pub struct Collector {
    /// Of requests that succeeded.
    pub samples: Vec<Sample>,
    /// Requests that did not.
    pub failed: u64,
    /// Why the last of them did not.
    pub last_error: Option<String>,
    /// Tokens that arrived, and those of them that came in one read with the one before.
    pub tokens: u64,
    /// See `tokens`.
    pub coalesced: u64,
}

impl Receiver for Collector {
    fn receive(&mut self, trace: RequestTrace) -> ControlFlow<String> {
        let output = trace.chunks.iter().filter(|chunk| chunk.kind.is_output());
        for chunk in output {
            self.tokens += 1;
            self.coalesced += u64::from(chunk.coalesced);
        }
        if trace.outcome == Outcome::Ok {
            self.samples.extend(Sample::of(&trace));
        } else {
            self.failed += 1;
            self.last_error = trace.error;
        }
        ControlFlow::Continue(())
    }
}

/// Requests without end whose prompts begin with their index.
pub fn jobs(output_tokens: NonZeroU32) -> impl Iterator<Item = Job> + Send {
    (0..u32::MAX).map(move |index| {
        Job::from(PlannedRequest::text(
            index,
            format!("#{index} {PROMPT}"),
            output_tokens,
        ))
    })
}

/// A paced simulator as a target.
///
/// # Errors
/// Its address is no URL.
pub fn target(url: &str) -> Result<Target, LoadError> {
    let wrong = LoadError::Endpoint {
        url: url.to_owned(),
        why: "it is no URL",
    };
    let url = url.parse().or(Err(wrong))?;
    let model = PacedSpec::default().model;
    Ok(Target::new(url, ApiPath::Chat, model, Map::new(), TIMEOUT))
}

/// Drives one level.
///
/// # Errors
/// The simulator's process fails, or no connection to it can be opened.
pub(super) async fn run(
    concurrency: NonZeroU32,
    span: Duration,
    processor: Option<usize>,
    stop: &Stop,
) -> Result<Level, Error> {
    let process = |error| Error::Sim(SimError::Process(error));
    let simulator = spawn(processor).map_err(process)?;
    let target = Arc::new(target(&simulator.hello().url)?);
    let options = DriveOptions {
        concurrency: Some(concurrency),
        max_in_flight: None,
        duration: Some(span),
        threads: NonZeroUsize::MIN,
    };
    let pinned = simulator.hello().pinned;
    let (report, collector) = load::drive(
        target,
        Box::new(jobs(tokens())),
        options,
        stop.token().clone(),
        Collector::default(),
    )
    .await?;
    let truth = simulator.stop().map_err(process)?;
    if let Some(why) = &collector.last_error {
        tracing::warn!(
            concurrency,
            failed = collector.failed,
            "requests failed; the last: {why}"
        );
    }
    Ok(level(concurrency, &report, &collector, &truth, pinned))
}

fn spawn(processor: Option<usize>) -> std::io::Result<PacedChild> {
    let spec = serde_json::to_string(&PacedSpec::default())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["calibrate", "simulator", "--spec", &spec]);
    if let Some(processor) = processor {
        command.arg("--processor").arg(processor.to_string());
    }
    PacedChild::start(&mut command)
}

fn level(
    concurrency: NonZeroU32,
    report: &DriveReport,
    collector: &Collector,
    truth: &PacedTruth,
    pinned: bool,
) -> Level {
    let audit = &report.audit;
    let errors = compare(&collector.samples, truth);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    let millis = |nanos: Option<f64>| nanos.map(|nanos| nanos / 1e6);
    Level {
        concurrency: concurrency.get(),
        requests: truth.served,
        failed: collector.failed,
        tokens_per_second: truth.tokens_per_second(),
        load_share: truth.load_share(concurrency, &PacedSpec::default(), TOKENS),
        holds: collector.failed == 0
            && errors.unmatched == 0
            && errors.ttft.holds(TTFT_LIMIT_MS)
            && errors.itl.holds(ITL_LIMIT_MS),
        errors,
        stamps: audit.stamps,
        late_sends_p99_ms: millis(audit.late_sends.quantile_ns(0.99)),
        loop_lag_p99_ms: millis(audit.loop_lag.quantile_ns(0.99)),
        stalls: audit.stalls,
        longest_stall_ms: audit.longest_stall.as_secs_f64() * 1e3,
        coalesced_share: share(collector.coalesced, collector.tokens),
        simulator_late_p99_ms: truth.lateness.map(|late| late.p99_ns / 1e6),
        pinned,
    }
}

impl Level {
    /// Its line of the table.
    pub(super) fn cells(&self) -> Vec<String> {
        let three = |value: Option<f64>| value.map_or_else(dash, thousandths);
        let bar = |bar: &super::ErrorBar| {
            let quantiles = [bar.p50_ms, bar.p95_ms, bar.p99_ms];
            quantiles.map(three).join(" / ")
        };
        let percent =
            |share: Option<f64>| share.map_or_else(dash, |share| format!("{:.2} %", share * 100.0));
        let whole = |value: Option<f64>| value.map_or_else(dash, |one| format!("{one:.0}"));
        vec![
            self.concurrency.to_string(),
            whole(self.tokens_per_second),
            percent(self.load_share),
            bar(&self.errors.ttft),
            bar(&self.errors.itl),
            three(self.late_sends_p99_ms),
            three(self.loop_lag_p99_ms),
            percent(self.coalesced_share),
            if self.holds { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// Not measured.
fn dash() -> String {
    "–".to_owned()
}

/// Three digits behind the point; what rounds to zero has no sign.
fn thousandths(value: f64) -> String {
    let value = (value * 1e3).round() / 1e3;
    // -0 + 0 is 0.
    format!("{:.3}", value + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounds_to_zero_has_no_sign() {
        assert_eq!(
            [-0.0004, 0.0004, -0.0006].map(thousandths),
            ["0.000", "0.000", "-0.001"]
        );
    }

    #[test]
    fn prompts_begin_with_their_index() {
        let job = jobs(tokens()).nth(41).unwrap();
        let crate::plan::Prompt::Text(text) = &job.turns[0].prompt else {
            panic!("{:?}", job.turns[0].prompt)
        };
        assert!(text.starts_with("#41 "), "{text}");
        assert_eq!((job.turns[0].index, job.due), (41, None));
    }
}
