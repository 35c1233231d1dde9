//! One side of a comparison being measured: a plan, its results directory and its runs.
//!
//! `kitt run` drives one session from start to end; the demo drives two, run by run in turn.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Map, Value};

use super::{
    clock,
    describe::{self, ModelFiles},
    fingerprint, gpus,
    scenario::{Bench, Measured},
    signal::Stop,
    sources::Sources,
};
use crate::{
    context::{Machine, Trigger},
    engine::{ApiTraits, Target},
    error::Error,
    ids::ModelRef,
    load,
    measure::{self, Dialect, KittPoint, Measurement, Validity},
    plan::{Plan, Scenario, Search, TokenizerSource},
    results::{
        HostFacts, Provenance, ResultsWriter, RunFacts, RunHeader, RunStatus, ScenarioReport,
    },
    secret::Secret,
    serve::{self, Endpoint, Runs, ServeOptions},
    telemetry::{self, Scrape, Watch},
    workload::TokenCounter,
};

/// What a session needs beside its plan.
pub(super) struct SessionOptions<'a> {
    /// Where the results go.
    pub(super) dir: &'a Path,
    /// The model as typed.
    pub(super) model: &'a ModelRef,
    /// What is known about commit and run.
    pub(super) trigger: &'a Trigger,
    /// Docker, GPUs and their watchers.
    pub(super) machine: &'a Machine,
    /// May pull images.
    pub(super) auto_pull: bool,
    /// Until a request counts as timed out.
    pub(super) request_timeout: Duration,
    /// Unique per invocation.
    pub(super) run_id: String,
    /// Texts that must not reach the engine's log.
    pub(super) secrets: Vec<Secret>,
    /// Called with secrets that are found on the way.
    pub(super) mask: Option<fn(&Secret)>,
    /// Key for a server that somebody else runs.
    pub(super) bearer: Option<Secret>,
    /// Rivals whose numbers are wanted too.
    pub(super) dialects: Vec<Dialect>,
    /// What is known of the model's files.
    pub(super) files: ModelFiles,
}

/// A measurement under way.
pub(super) struct Session {
    plan: Plan,
    dir: PathBuf,
    writer: ResultsWriter,
    serve: ServeOptions,
    request_timeout: Duration,
    provenance: Provenance,
    /// Watches the GPUs where there are any.
    watch: Option<Rc<Watch>>,
    /// What they cost.
    machine: Machine,
    /// The scenario being measured, for the record when it fails.
    under_way: Option<(u32, Scenario)>,
    began: Instant,
    /// What the current run has measured so far.
    points: Vec<Point>,
    invalid: bool,
    /// Rivals whose numbers are wanted too, and what they would have said.
    dialects: Vec<Dialect>,
    tables: Vec<String>,
    sources: Arc<Sources>,
}

/// How a finished session went.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    /// The results directory.
    pub(super) dir: PathBuf,
    /// Whether a measurement cannot be trusted (exit 21).
    pub(super) invalid: bool,
    /// What other load generators would have said, as tables.
    pub(super) tables: Vec<String>,
}

/// One scenario of one run, measured.
struct Point {
    scenario: Scenario,
    measurement: Measurement,
}

impl Session {
    /// Creates the results directory and says in it that a run is under way.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn begin(mut plan: Plan, options: SessionOptions<'_>) -> Result<Self, Error> {
        let sources = Sources::read(&mut plan)?;
        // From before the engine starts: errors from before are not reported.
        let watch = gpus::watch(&plan, options.machine)?;
        let gpus = match &watch {
            Ok(watch) => watch.devices().to_vec(),
            Err(_untold) => telemetry::gpus().unwrap_or_default(),
        };
        let driver = describe::driver(&gpus);
        let mut host = HostFacts::read(gpus);
        host.surroundings = fingerprint::without_docker(options.machine);
        let provenance = describe::provenance(&plan, options.trigger, watch.as_deref());
        let mut fingerprint = describe::fingerprint(&host, &plan, options.model, &options.files);
        fingerprint.set_prices(options.machine.prices.described());
        let header = RunHeader {
            kitt_version: env!("CARGO_PKG_VERSION").to_owned(),
            suite: plan.suite.clone(),
            engine: plan.engine.to_owned(),
            model: options.model.to_string(),
            started_at: clock::timestamp(),
            skip_warmup: plan.skip_warmup,
            runs_override: Some(plan.runs.get()),
            fingerprint,
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
                docker: options.machine.docker.clone(),
                guard: serve::this_program(),
                lock_dir: Some(options.machine.lock_dir.clone()),
                wait_for_gpu: options.machine.wait_for_gpu,
                passed_on: options.machine.passed_on.clone(),
                auto_pull: options.auto_pull,
                log_file,
                secrets: options.secrets,
                mask: options.mask,
                driver,
                bearer: options.bearer,
                ..ServeOptions::new(options.run_id)
            },
            request_timeout: options.request_timeout,
            provenance,
            watch: watch.ok(),
            machine: options.machine.clone(),
            under_way: None,
            began: Instant::now(),
            points: Vec::new(),
            invalid: false,
            dialects: options.dialects,
            tables: Vec::new(),
            sources: Arc::new(sources),
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
        if self.serve.reservation.is_none() {
            // For all runs: another job must not slip in between.
            let gpus = launch.target.gpus();
            let reserved = serve::reserve(gpus, &self.serve, stop.token(), async || {
                gpus::used_by_others(gpus.clone()).await
            });
            let reserved = Box::pin(reserved).await;
            stop.check()?;
            self.serve.reservation = reserved?;
        }
        let serve = self.serve.clone();
        self.points.clear();
        self.engine_ends(false);
        // On the heap: the futures hold everything that a run needs.
        let body = async |endpoint: Endpoint| {
            let measured = Box::pin(self.scenarios(number, endpoint, stop)).await;
            self.engine_ends(true);
            measured
        };
        let served = Box::pin(serve::with_engine(&launch, &serve, stop.token(), body)).await;
        // A signal explains whatever else went wrong meanwhile.
        stop.check()?;
        served?
    }

    /// The driver reports the end of a killed engine's work, which is no error of the GPU.
    fn engine_ends(&self, now: bool) {
        if let Some(watch) = &self.watch {
            watch.tearing_down(now);
        }
    }

    async fn scenarios(
        &mut self,
        number: u32,
        endpoint: Endpoint,
        stop: &Stop,
    ) -> Result<(), Error> {
        self.note_engine(&endpoint)?;
        for note in telemetry::HostState::read().notes() {
            tracing::warn!("{note}");
        }
        let tokens = self.tokens(&endpoint).await?;
        let plan = self.plan.clone();
        let dialects = self.dialects.clone();
        let sources = Arc::clone(&self.sources);
        let target = self.target(&endpoint);
        let (watch, prices) = (self.watch.clone(), self.machine.prices.clone());
        let mut idle_power_w = None;
        if let Some(watch) = &watch {
            watch.expect(gpus::owner(&endpoint.runs));
            if self.machine.idle_power {
                idle_power_w = gpus::idle_power(watch, stop).await?;
            }
        }
        let bench = Bench {
            plan: &plan,
            target: Arc::clone(&target),
            tokens,
            nonce: format!("{}-{number}", self.serve.run_id),
            sources: &sources,
            name: format!("run {number}/{}", plan.runs),
            watch: watch.as_deref(),
            prices: &prices,
            gpus: gpus::count(&plan.launch.target),
            idle_power_w,
            scrape: self.scrape(&endpoint),
            dialects: &dialects,
        };
        match &plan.search {
            None => {
                for scenario in plan.scenarios.iter().cloned() {
                    self.one(number, &bench, scenario, stop).await?;
                }
            }
            Some(search) => self.search(number, &bench, search, stop).await?,
        }
        // Asked after the load: it waits for the tokenizer, and the first request must not.
        self.provenance.tokenizer = Some(bench.tokens.describe());
        self.writer.provenance(self.provenance.clone())?;
        if target.usage_refused() {
            tracing::warn!(
                "the server refuses stream_options: tokens are counted without it, and nothing \
                 that needs the server's count is reported"
            );
        } else if target.extras_refused() {
            tracing::warn!(
                "the server refuses keys beyond the standard: answers have their natural length"
            );
        }
        Ok(())
    }

    /// Measures one scenario and keeps it.
    async fn one(
        &mut self,
        number: u32,
        bench: &Bench<'_>,
        scenario: Scenario,
        stop: &Stop,
    ) -> Result<(), Error> {
        self.under_way = Some((number, scenario.clone()));
        let writer = &mut self.writer;
        let log = |scenario: &Scenario| Ok(writer.requests(number, &scenario.id)?);
        let measured = bench.measure(scenario, log, stop).await;
        let kept = measured.and_then(|measured| self.keep(number, measured));
        // Whatever went wrong with the requests, a broken GPU explains it.
        if let Some(alarm) = self.watch.as_deref().and_then(Watch::alarmed) {
            return Err(Error::Gpu(alarm.text));
        }
        kept?;
        stop.check()
    }

    /// Measures points until the search has found what it looks for.
    async fn search(
        &mut self,
        number: u32,
        bench: &Bench<'_>,
        search: &Search,
        stop: &Stop,
    ) -> Result<(), Error> {
        let mut done = Vec::new();
        while let Some(point) = search.next(&done) {
            self.one(number, bench, search.scenario(point)?, stop)
                .await?;
            if let Some(last) = self.points.last() {
                done.push(describe::point_result(point, &last.measurement));
            }
            let summary = search.summary(&done);
            tracing::info!("run {number} {point}: {}", summary.reason);
            self.writer.facts(RunFacts {
                search: serde_json::to_value(&summary).ok(),
                ..RunFacts::default()
            })?;
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
        if let Some(daemon) = &facts.daemon {
            let local = endpoint.runs != Runs::Elsewhere;
            let near = fingerprint::of_daemon(&self.machine, daemon, local);
            self.writer.surroundings(near)?;
        }
        self.provenance.image = facts.image;
        self.provenance.image_digest = facts.image_digest;
        self.provenance.engine_version = facts.version;
        self.provenance.engine_args = facts.args;
        self.writer.provenance(self.provenance.clone())?;
        Ok(())
    }

    /// What counts the tokens of prompts.
    async fn tokens(&self, endpoint: &Endpoint) -> Result<TokenCounter, Error> {
        let model = &self.plan.launch.api.served_model;
        Ok(match &self.plan.tokenizer {
            None => TokenCounter::Words,
            Some(TokenizerSource::Path(path)) => TokenCounter::local(path)?,
            Some(TokenizerSource::Server) => {
                TokenCounter::server(&endpoint.url, self.serve.bearer.as_ref(), model).await?
            }
        })
    }

    fn target(&self, endpoint: &Endpoint) -> Arc<load::Target> {
        let api: &ApiTraits = &self.plan.launch.api;
        let mut target = load::Target::new(
            endpoint.url.clone(),
            self.plan.api,
            api.served_model.clone(),
            api.request_extras.clone(),
            self.request_timeout,
        );
        target.bearer.clone_from(&self.serve.bearer);
        Arc::new(target)
    }

    fn scrape(&self, endpoint: &Endpoint) -> Scrape {
        let path = self.plan.launch.api.metrics_path.map(str::to_owned);
        let mut scrape = Scrape::new(endpoint.url.clone(), path);
        scrape.bearer.clone_from(&self.serve.bearer);
        scrape
    }

    /// Writes a scenario's results, and remembers what is wrong with them.
    fn keep(&mut self, number: u32, measured: Measured) -> Result<(), Error> {
        let Measured {
            scenario,
            measurement,
            warmup_s,
            gpu,
            server,
            dialects,
        } = measured;
        self.points.push(Point {
            scenario,
            measurement,
        });
        let kitt = self.kitt();
        let Some(Point {
            scenario,
            measurement,
        }) = self.points.last()
        else {
            return Ok(());
        };
        let name = scenario.id.to_string();
        self.writer.scenario(ScenarioReport {
            run: number,
            scenario,
            measurement,
            kitt,
            warmup_times_s: &warmup_s,
            errors: &[],
            facts: describe::facts(measurement),
        })?;
        self.under_way = None;
        if let Some(gpu) = &gpu {
            self.writer.telemetry(number, gpu)?;
        }
        if let Some(why) = &server.absent {
            tracing::debug!("run {number} {name}: no server-side numbers: {why}");
        }
        if measurement.ok == 0 {
            return Err(Error::NoSuccess {
                scenario: name,
                outcomes: describe::outcomes(measurement),
            });
        }
        for note in &measurement.notes {
            tracing::warn!("run {number} {name}: {note}");
        }
        for report in dialects {
            self.tables.push(format!(
                "{name}, run {number}\n{}",
                report.table(&measurement.metrics)
            ));
        }
        self.invalid |= matches!(
            measurement.validity,
            Validity::ClientLimited
                | Validity::ScheduleMissed
                | Validity::ServerErrored
                | Validity::GpuInvalid
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
                concurrency: point
                    .scenario
                    .arrivals
                    .concurrency()
                    .unwrap_or(NonZeroU32::MIN),
                measurement: &point.measurement,
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
            // What was measured until the GPU broke is there, and says that it is void.
            Err(Error::Gpu(_)) if self.under_way.is_none() && !self.points.is_empty() => {
                RunStatus::Failed
            }
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
            tables: self.tables,
        })
    }
}
