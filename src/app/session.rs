//! One side of a comparison being measured: a plan, its results directory and its runs.
//!
//! `kitt run` drives one session from start to end; the demo drives two, run by run in turn.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{clock, describe, progress::Progress, signal::Stop};
use crate::{
    context::Trigger,
    engine::{ApiTraits, Target},
    error::Error,
    ids::ModelRef,
    load::{self, Arrivals, Outcome, RequestTrace},
    measure::{self, KittPoint, Measurement, Validity},
    plan::{Plan, Scenario},
    results::{HostFacts, Provenance, ResultsWriter, RunHeader, RunStatus, ScenarioReport},
    secret::Secret,
    serve::{self, Endpoint, ServeOptions},
    telemetry::{self, GpuTrace, NvmlSource, Sampler},
};

/// What a session needs beside its plan.
pub(super) struct SessionOptions<'a> {
    /// Where the results go.
    pub(super) dir: &'a Path,
    /// The model as typed.
    pub(super) model: &'a ModelRef,
    /// What is known about commit and run.
    pub(super) trigger: &'a Trigger,
    /// Docker socket.
    pub(super) docker_host: Option<String>,
    /// May pull images.
    pub(super) auto_pull: bool,
    /// Until a request counts as timed out.
    pub(super) request_timeout: Duration,
    /// Unique per invocation.
    pub(super) run_id: String,
    /// Texts that must not reach the engine's log.
    pub(super) secrets: Vec<Secret>,
}

/// A measurement under way.
pub(super) struct Session {
    plan: Plan,
    dir: PathBuf,
    writer: ResultsWriter,
    serve: ServeOptions,
    request_timeout: Duration,
    provenance: Provenance,
    /// Whether there are GPUs to watch.
    watched: bool,
    /// The scenario being measured, for the record when it fails.
    under_way: Option<(u32, Scenario)>,
    began: Instant,
    /// What the current run has measured so far.
    points: Vec<Point>,
    invalid: bool,
}

/// How a finished session went.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    /// The results directory.
    pub(super) dir: PathBuf,
    /// Whether a measurement cannot be trusted (exit 21).
    pub(super) invalid: bool,
}

/// One scenario of one run, measured.
struct Point {
    scenario: Scenario,
    measurement: Measurement,
    traces: Vec<RequestTrace>,
}

/// What measuring one scenario gave.
struct Measured {
    point: Point,
    warmup_s: Vec<f64>,
    gpu: Option<GpuTrace>,
}

impl Session {
    /// Creates the results directory and says in it that a run is under way.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn begin(plan: Plan, options: SessionOptions<'_>) -> Result<Self, Error> {
        let gpus = telemetry::gpus();
        let host = HostFacts::read(gpus.clone().unwrap_or_default());
        let provenance = describe::provenance(&plan, options.trigger, &gpus);
        let header = RunHeader {
            kitt_version: env!("CARGO_PKG_VERSION").to_owned(),
            suite: plan.suite.clone(),
            engine: plan.engine.to_owned(),
            model: options.model.to_string(),
            started_at: clock::timestamp(),
            skip_warmup: plan.skip_warmup,
            runs_override: Some(plan.runs.get()),
            fingerprint: describe::fingerprint(&host, &plan, options.model),
            host,
            provenance: provenance.clone(),
            config: describe::effective_config(&plan),
        };
        let writer = ResultsWriter::create(options.dir, header)?;
        describe::forget_reports(options.dir)?;
        let log_file = Some(options.dir.join("engine.log"));
        Ok(Self {
            plan,
            dir: options.dir.to_owned(),
            writer,
            serve: ServeOptions {
                docker_host: options.docker_host,
                auto_pull: options.auto_pull,
                run_id: options.run_id,
                log_file,
                stop_timeout: Duration::from_secs(5),
                secrets: options.secrets,
            },
            request_timeout: options.request_timeout,
            provenance,
            watched: gpus.is_ok(),
            under_way: None,
            began: Instant::now(),
            points: Vec::new(),
            invalid: false,
        })
    }

    /// Starts a fresh server, measures every scenario once and stops the server.
    ///
    /// # Errors
    /// The engine does not run, no request succeeds, the results cannot be written, or a signal
    /// arrives. What was measured until then is in the directory.
    pub(super) async fn run_once(&mut self, number: u32, stop: &Stop) -> Result<(), Error> {
        stop.check()?;
        let mut launch = self.plan.launch.clone();
        if let Target::InProcess(spec) = &mut launch.target {
            // A fresh server draws fresh noise.
            spec.seed = spec.seed.wrapping_add(u64::from(number));
        }
        let serve = self.serve.clone();
        self.points.clear();
        let body = async |endpoint: Endpoint| self.scenarios(number, endpoint, stop).await;
        // On the heap: the future holds everything that a run needs.
        let served = Box::pin(serve::with_engine(&launch, &serve, stop.token(), body)).await;
        // A signal explains whatever else went wrong meanwhile.
        stop.check()?;
        served?
    }

    async fn scenarios(
        &mut self,
        number: u32,
        endpoint: Endpoint,
        stop: &Stop,
    ) -> Result<(), Error> {
        self.note_engine(&endpoint)?;
        let target = self.target(&endpoint);
        let scenarios = self.plan.scenarios.clone();
        for scenario in scenarios {
            self.under_way = Some((number, scenario.clone()));
            let measured = self.scenario(number, scenario, &target, stop).await?;
            self.keep(number, measured)?;
            stop.check()?;
        }
        if target.extras_refused() {
            tracing::warn!(
                "the server refuses keys beyond the standard: answers have their natural length"
            );
        }
        Ok(())
    }

    fn note_engine(&mut self, endpoint: &Endpoint) -> Result<(), Error> {
        let facts = endpoint.facts.clone();
        tracing::info!(
            "engine ready after {:.1} s at {}",
            endpoint.startup.as_secs_f64(),
            endpoint.url
        );
        self.provenance.image = facts.image;
        self.provenance.image_digest = facts.image_digest;
        self.provenance.engine_version = facts.version;
        self.provenance.engine_args = facts.args;
        self.writer.provenance(self.provenance.clone())?;
        Ok(())
    }

    fn target(&self, endpoint: &Endpoint) -> load::Target {
        let api: &ApiTraits = &self.plan.launch.api;
        load::Target::new(
            endpoint.url.clone(),
            load::ApiPath::Chat,
            api.served_model.clone(),
            api.request_extras.clone(),
            self.request_timeout,
        )
    }

    async fn scenario(
        &self,
        number: u32,
        scenario: Scenario,
        target: &load::Target,
        stop: &Stop,
    ) -> Result<Measured, Error> {
        let name = format!("run {number}/{} {}", self.plan.runs, scenario.id);
        let nonce = format!("{}-{number}", self.serve.run_id);
        let warmup_s = self
            .warm_up(&scenario, target, &nonce, stop.token())
            .await?;
        stop.check()?;
        let count = scenario.requests.get();
        let phase = format!("{nonce}-measured");
        let requests = describe::requests(self.plan.seed, &phase, &scenario, count, stop.token());
        let progress = Progress::start(name, u64::from(scenario.requests.get()));
        let mut sampler = self.watched.then(sampler).flatten();
        if let Some(sampler) = &mut sampler {
            sampler.mark();
        }
        let arrivals = Arrivals::Closed {
            concurrency: scenario.concurrency,
        };
        let traces = load::drive(target, &requests, arrivals, stop.token(), &|done| {
            progress.done(done);
        })
        .await;
        let gpu = sampler.map(Sampler::stop);
        let traces = traces?;
        stop.check()?;
        let measurement = measure::measure(&requests, &traces, scenario.concurrency, gpu.as_ref())?;
        Ok(Measured {
            point: Point {
                scenario,
                measurement,
                traces,
            },
            warmup_s,
            gpu,
        })
    }

    /// Sends discarded requests; how long each took, in seconds.
    async fn warm_up(
        &self,
        scenario: &Scenario,
        target: &load::Target,
        nonce: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<f64>, Error> {
        let Some(count) = NonZeroU32::new(scenario.warmup_requests) else {
            return Ok(Vec::new());
        };
        let phase = format!("{nonce}-warm-up");
        let requests = describe::requests(self.plan.seed, &phase, scenario, count.get(), cancel);
        let arrivals = Arrivals::Closed {
            concurrency: scenario.concurrency.min(count),
        };
        let traces = load::drive(target, &requests, arrivals, cancel, &|_| ()).await?;
        let good = |trace: &&RequestTrace| trace.outcome == Outcome::Ok;
        if traces.iter().any(|trace| good(&trace)) || cancel.is_cancelled() {
            let took = |trace: &RequestTrace| {
                (trace.finished_at.saturating_sub(trace.sent_at)).as_secs_f64()
            };
            return Ok(traces.iter().filter(good).map(took).collect());
        }
        let last = traces.last().and_then(|trace| trace.error.clone());
        Err(Error::Warmup {
            scenario: scenario.id.to_string(),
            count: count.get(),
            detail: last.unwrap_or_else(|| "no answer".to_owned()),
        })
    }

    /// Writes a scenario's results, and remembers what is wrong with them.
    fn keep(&mut self, number: u32, measured: Measured) -> Result<(), Error> {
        let Measured {
            point,
            warmup_s,
            gpu,
        } = measured;
        self.points.push(point);
        let kitt = self.kitt();
        let Some(Point {
            scenario,
            measurement,
            traces,
        }) = self.points.last()
        else {
            return Ok(());
        };
        let name = scenario.id.to_string();
        self.writer.scenario(ScenarioReport {
            run: number,
            scenario,
            measurement,
            traces,
            kitt,
            warmup_times_s: &warmup_s,
            errors: &[],
        })?;
        self.under_way = None;
        if let Some(gpu) = &gpu {
            self.writer.telemetry(number, gpu)?;
        }
        if measurement.ok == 0 {
            let outcomes: Vec<String> = measurement
                .outcomes
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            return Err(Error::NoSuccess {
                scenario: name,
                outcomes: outcomes.join(", "),
            });
        }
        for note in &measurement.notes {
            tracing::warn!("run {number} {name}: {note}");
        }
        self.invalid |= matches!(
            measurement.validity,
            Validity::ClientLimited | Validity::ScheduleMissed | Validity::ServerErrored
        );
        Ok(())
    }

    /// KITT's keys of the test just measured. Its scenarios share one entry, so all of this run
    /// count.
    fn kitt(&self) -> Map<String, Value> {
        let Some(last) = self.points.last() else {
            return Map::new();
        };
        let same = self
            .points
            .iter()
            .filter(|point| point.scenario.test == last.scenario.test);
        let points: Vec<KittPoint<'_>> = same
            .map(|point| KittPoint {
                concurrency: point.scenario.concurrency,
                measurement: &point.measurement,
                traces: &point.traces,
            })
            .collect();
        measure::kitt_metrics(last.scenario.test, &points)
    }

    /// Writes the final status.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn end(mut self, outcome: &Result<(), Error>) -> Result<Finished, Error> {
        let status = match outcome {
            Ok(()) => RunStatus::Complete,
            Err(Error::Cancelled { .. }) => RunStatus::Cancelled,
            Err(error) => {
                // An engine that never answered fails the first scenario.
                let first = || Some((1, self.plan.scenarios.first()?.clone()));
                if let Some((number, scenario)) = self.under_way.take().or_else(first) {
                    self.writer.fail(number, &scenario, &error.chain())?;
                }
                RunStatus::Failed
            }
        };
        self.writer
            .finish(status, self.began.elapsed().as_secs_f64())?;
        Ok(Finished {
            dir: self.dir,
            invalid: self.invalid,
        })
    }
}

/// NVML's counters move every 100 ms; asking more often tells nothing.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Watches the GPUs where there are any.
fn sampler() -> Option<Sampler> {
    let source = NvmlSource::open(None).ok()?;
    Some(Sampler::start(Box::new(source), SAMPLE_EVERY))
}
