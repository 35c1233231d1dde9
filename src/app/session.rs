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
    serving,
    signal::Stop,
    sources::Sources,
};
use crate::{
    context::{Machine, Trigger},
    engine::{self, ApiTraits},
    error::Error,
    ids::{ModelRef, Section},
    load,
    measure::{self, Dialect, KittPoint, Measurement},
    plan::{Plan, Scenario, Search, TokenizerSource},
    results::{
        HostFacts, Provenance, ResultsWriter, RunFacts, RunHeader, RunStatus, ScenarioReport, Side,
    },
    secret::Secret,
    serve::{self, Endpoint, Runs, ServeOptions},
    telemetry::{self, Scrape, Watch},
    workload::TokenCounter,
};

/// Noise of the baseline side's simulated servers begins here: the two sides of a comparison draw
/// independent noise.
const BASELINE_NOISE: u64 = 1 << 40;

/// What a session needs beside its plan.
pub(super) struct SessionOptions<'a> {
    /// Where the results go.
    pub(super) dir: &'a Path,
    /// The model as typed.
    pub(super) model: &'a ModelRef,
    /// What is known about commit and run.
    pub(super) trigger: &'a Trigger,
    /// The job's section of a comment that several jobs share.
    pub(super) section: Option<&'a Section>,
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
    /// Which side of a comparison this is.
    pub(super) side: Side,
    /// The other side, when both are measured in turn: its GPUs stay locked for both, and its
    /// watcher watches for both.
    pub(super) beside: Option<&'a Session>,
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
    /// What the current run has measured so far.
    points: Vec<Point>,
    invalid: bool,
    /// Rivals whose numbers are wanted too, and what they would have said.
    dialects: Vec<Dialect>,
    tables: Vec<String>,
    sources: Arc<Sources>,
    side: Side,
    /// Number of the last run.
    last: u32,
    /// Time spent in this side's own runs.
    busy: Duration,
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
        let watched = match options.beside {
            Some(other) => (other.watch.clone(), other.provenance.telemetry.clone()),
            None => gpus::described(gpus::watch(&plan, options.machine)?),
        };
        let (watch, telemetry) = watched;
        let gpus = match &watch {
            Some(watch) => watch.devices().to_vec(),
            None => telemetry::gpus().unwrap_or_default(),
        };
        let driver = describe::driver(&gpus);
        let mut host = HostFacts::read(gpus);
        host.surroundings = fingerprint::without_docker(options.machine);
        let provenance = Provenance {
            section: options.section.cloned(),
            ..describe::provenance(&plan, options.trigger, telemetry)
        };
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
        let mut serve = serving::options(&options, driver);
        serve.reservation = options
            .beside
            .and_then(|other| other.serve.reservation.clone());
        Ok(Self {
            plan,
            dir: options.dir.to_owned(),
            writer,
            serve,
            request_timeout: options.request_timeout,
            provenance,
            watch,
            machine: options.machine.clone(),
            under_way: None,
            points: Vec::new(),
            invalid: false,
            dialects: options.dialects,
            tables: Vec::new(),
            sources: Arc::new(sources),
            side: options.side,
            last: 0,
            busy: Duration::ZERO,
        })
    }

    /// What will be measured.
    pub(super) const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The results directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of the last run.
    pub(super) const fn measured(&self) -> u32 {
        self.last
    }

    /// Time spent in runs.
    pub(super) const fn busy(&self) -> Duration {
        self.busy
    }

    /// Whether the last run says of itself that its numbers tell nothing about the engine.
    pub(super) fn last_is_void(&self) -> bool {
        self.points
            .iter()
            .any(|point| point.measurement.validity.is_void())
    }

    /// Uses the GPUs that the other side has locked.
    pub(super) fn share_gpus(&mut self, other: &Self) {
        if self.serve.reservation.is_none() {
            self.serve.reservation.clone_from(&other.serve.reservation);
        }
    }

    /// Starts a fresh server, measures every scenario once and stops the server.
    ///
    /// # Errors
    /// The engine does not run, no request succeeds, the results cannot be written, or a signal
    /// arrives. What was measured until then is in the directory.
    pub(super) async fn run_once(&mut self, number: u32, stop: &Stop) -> Result<(), Error> {
        let began = Instant::now();
        let outcome = Box::pin(self.attempt(number, stop)).await;
        self.busy += began.elapsed();
        self.last = number;
        outcome
    }

    async fn attempt(&mut self, number: u32, stop: &Stop) -> Result<(), Error> {
        stop.check()?;
        let mut launch = self.plan.launch.clone();
        if let Some(seed) = engine::noise_seed(&launch.target) {
            let own = match self.side {
                Side::Current => 0,
                Side::Baseline => BASELINE_NOISE,
            };
            let seed = seed.wrapping_add(u64::from(number)).wrapping_add(own);
            engine::set_noise_seed(&mut launch.target, seed);
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
        self.under_way = None;
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
            name: self.name_of(number),
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

    /// A run, for messages: `run 1/3`, or `baseline run 4` where nobody knows how many there
    /// will be.
    fn name_of(&self, number: u32) -> String {
        let planned = self.plan.runs.get();
        if self.side == Side::Current && number <= planned {
            format!("run {number}/{planned}")
        } else {
            format!("{} run {number}", self.side.name())
        }
    }

    /// Whether both sides ran the same image with the same arguments and model.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let of = |side: &Self| {
            let ran = &side.provenance;
            (
                ran.image_digest.clone(),
                ran.engine_args.clone(),
                ran.engine_version.clone(),
            )
        };
        of(self) == of(other) && self.plan.asked == other.plan.asked
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
        if let Some(seed) = engine::noise_seed(&self.plan.launch.target) {
            // The seed of one run is no setting.
            engine::set_seed_argument(&mut self.provenance.engine_args, seed);
        }
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
        self.invalid |= measurement.validity.is_void();
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

    /// Records that a run failed, in the scenario it had come to.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn failed(&mut self, number: u32, error: &Error) -> Result<(), Error> {
        // What was measured to its end stands, whatever happened afterwards.
        if self.under_way.is_none() && !self.points.is_empty() {
            return Ok(());
        }
        // An engine that never answered fails the first scenario.
        let first = || Some((number, self.plan.scenarios.first()?.clone()));
        if let Some((number, scenario)) = self.under_way.take().or_else(first) {
            self.writer.fail(number, &scenario, &error.chain())?;
        }
        Ok(())
    }

    /// Writes the final status of a session whose failures are recorded.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn close(self, status: RunStatus) -> Result<Finished, Error> {
        self.writer.finish(status, self.busy.as_secs_f64())?;
        Ok(Finished {
            dir: self.dir,
            invalid: self.invalid,
            tables: self.tables,
        })
    }

    /// Ends after a run that went wrong: records it and writes the final status.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(super) fn end(mut self, number: u32, error: &Error) -> Result<Finished, Error> {
        if matches!(error, Error::Cancelled { .. }) {
            return self.close(RunStatus::Cancelled);
        }
        self.failed(number, error)?;
        self.close(RunStatus::Failed)
    }
}
