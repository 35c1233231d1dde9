//! One scenario measured: warmed up, driven, watched from all sides, summed up.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use super::{
    describe,
    progress::Progress,
    recorder::{Discard, Recorder},
    signal::Stop,
    sources::Sources,
};
use crate::{
    context::Prices,
    error::Error,
    load::{self, DriveOptions},
    measure::{self, DialectAccumulator, DialectReport, MeasureSpec, Measurement},
    plan::{self, Arrivals, Plan, Scenario, Slot, Slots, Warmup},
    results::RequestLog,
    telemetry::{
        self, GpuTrace, HostWatch, Scrape, Section, ServerNumbers, ServerSampler, ServerTrace,
        Watch,
    },
    workload::{TokenCounter, Workload, WorkloadSpec},
};

/// An open loop without a cap is warmed up by this many requests at once.
const OPEN_LOOP_WARMUP: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);
/// From this concurrency on one driver thread may not be enough, where there are processors for
/// more.
const MANY_STREAMS: u32 = 512;
/// The engine, the runner and the client share a host: a driver thread for each so many
/// processors, and no more than [`MOST_THREADS`].
const PROCESSORS_PER_THREAD: usize = 4;
const MOST_THREADS: usize = 4;

/// What the scenarios of one run share.
pub(super) struct Bench<'a> {
    pub(super) plan: &'a Plan,
    pub(super) target: Arc<load::Target>,
    pub(super) tokens: TokenCounter,
    pub(super) sources: &'a Sources,
    /// Unique for this run: part of every nonce.
    pub(super) nonce: String,
    /// For messages, such as `run 1/3`.
    pub(super) name: String,
    /// Watches the GPUs where there are any.
    pub(super) watch: Option<&'a Watch>,
    /// How many GPUs the engine has, where that is known.
    pub(super) gpus: Option<u32>,
    /// Their power with the model loaded and nothing to do, watts.
    pub(super) idle_power_w: Option<f64>,
    /// What the GPUs cost.
    pub(super) prices: &'a Prices,
    /// Where the server tells its own numbers.
    pub(super) scrape: Scrape,
    /// Rivals whose numbers are wanted too.
    pub(super) dialects: &'a [measure::Dialect],
}

/// What measuring one scenario gave.
pub(super) struct Measured {
    pub(super) scenario: Scenario,
    pub(super) measurement: Measurement,
    /// Seconds of each good warm-up request.
    pub(super) warmup_s: Vec<f64>,
    pub(super) gpu: Option<GpuTrace>,
    pub(super) server: ServerTrace,
    pub(super) dialects: Vec<DialectReport>,
}

impl Bench<'_> {
    /// Measures a scenario. `log` gives the log of its requests once it is needed.
    ///
    /// # Errors
    /// The workload cannot be made, every warm-up request failed, no load can be sent, the log
    /// cannot be written, or a signal arrived.
    pub(super) async fn measure(
        &self,
        scenario: Scenario,
        log: impl FnOnce(&Scenario) -> Result<RequestLog, Error>,
        stop: &Stop,
    ) -> Result<Measured, Error> {
        let workload = Workload::prepare(WorkloadSpec {
            scenario: &scenario,
            seed: self.plan.seed,
            api: self.plan.api,
            tokens: self.tokens.clone(),
            dataset: self.sources.dataset.clone(),
        })?;
        let warmup_s = self.warm_up(&scenario, &workload, stop.token()).await?;
        stop.check()?;
        // A guess that failed is exact from here on, and nothing that counts was sent with it.
        // Without a warm-up nothing was sent at all, and the check after the load is enough:
        // waiting for a large tokenizer would hold up the first request.
        if scenario.warmup != Warmup::Off {
            workload.check().await?;
        }
        let jobs = workload.jobs(&format!("{}-measured", self.nonce), self.slots(&scenario));
        let progress = Progress::start(
            format!("{} {}", self.name, scenario.id),
            expected(&scenario),
        );
        let spec = self.spec(&scenario);
        let dialects = self.dialects.iter().copied().map(DialectAccumulator::new);
        let recorder = Recorder::new(spec, dialects.collect(), log(&scenario)?, progress);
        let server = Box::pin(ServerSampler::start(self.scrape.clone())).await;
        let mut gpus = self.watch.map(Watch::section);
        let host = HostWatch::start();
        if let Some(section) = &mut gpus {
            section.mark();
        }
        let target = Arc::clone(&self.target);
        let options = self.options(&scenario);
        let cancel = self.cancel(stop.token());
        let driven = Box::pin(load::drive(target, jobs, options, cancel, recorder)).await;
        let host = host.stop();
        let gpu = gpus.map(Section::stop);
        let (report, mut recorder) = driven?;
        // Before the log is flushed: what is read then is of an idle server.
        let server = server.stop(report.epoch).await;
        recorder.close()?;
        stop.check()?;
        let lengths = workload.check().await?;
        let numbers = telemetry::server_numbers(&server);
        let mut measurement =
            recorder
                .accumulator
                .finish(&report, &host, gpu.as_ref(), numbers.as_ref())?;
        describe::note_lengths(lengths, &mut measurement);
        self.tell_server(&scenario, &measurement, numbers.as_ref());
        let dialects = recorder
            .dialects
            .into_iter()
            .map(DialectAccumulator::finish);
        Ok(Measured {
            dialects: dialects.collect(),
            scenario,
            measurement,
            warmup_s,
            gpu,
            server,
        })
    }

    fn spec(&self, scenario: &Scenario) -> MeasureSpec {
        MeasureSpec {
            prices: Some(self.prices.clone()),
            gpus: self.gpus,
            idle_power_w: self.idle_power_w,
            ..MeasureSpec::of(scenario, self.plan.objectives.clone())
        }
    }

    /// Cancelled by a signal, and when a GPU cannot be measured on any more.
    fn cancel(&self, stop: &CancellationToken) -> CancellationToken {
        let cancel = stop.child_token();
        if let Some(watch) = self.watch {
            let (alarm, load) = (watch.alarm(), cancel.clone());
            tokio::spawn(async move {
                let _either = load.run_until_cancelled(alarm.cancelled()).await;
                load.cancel();
            });
        }
        cancel
    }

    /// The server's own TTFT beside the client's, where it tells one.
    fn tell_server(
        &self,
        scenario: &Scenario,
        measurement: &Measurement,
        numbers: Option<&ServerNumbers>,
    ) {
        let client = measurement.metrics.get("ttft_ms.mean").copied();
        if let Some(beside) = numbers.and_then(|server| telemetry::ttft_beside(client, server)) {
            tracing::info!("{} {}: {beside}", self.name, scenario.id);
        }
    }

    fn slots(&self, scenario: &Scenario) -> Slots {
        plan::schedule(
            &scenario.arrivals,
            &scenario.stop,
            self.plan.seed,
            scenario.id.as_str(),
            self.sources
                .trace
                .as_ref()
                .map(|trace| Arc::clone(&trace.rows)),
        )
    }

    fn options(&self, scenario: &Scenario) -> DriveOptions {
        DriveOptions {
            concurrency: scenario.arrivals.concurrency(),
            max_in_flight: scenario.max_in_flight(),
            duration: scenario.stop.duration,
            threads: self.threads(scenario),
        }
    }

    fn threads(&self, scenario: &Scenario) -> NonZeroUsize {
        self.plan.client_threads.unwrap_or_else(|| {
            let many = scenario
                .max_in_flight()
                .is_none_or(|most| most.get() >= MANY_STREAMS);
            let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
            let threads = (processors / PROCESSORS_PER_THREAD).clamp(1, MOST_THREADS);
            let threads = if many { threads } else { 1 };
            NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN)
        })
    }

    /// Sends discarded requests in waves at the scenario's own concurrency and shape; how long
    /// each good one took, in seconds.
    async fn warm_up(
        &self,
        scenario: &Scenario,
        workload: &Workload,
        cancel: &CancellationToken,
    ) -> Result<Vec<f64>, Error> {
        let (least, most) = match scenario.warmup {
            Warmup::Off => return Ok(Vec::new()),
            Warmup::Requests { count } => (count, count),
            Warmup::UntilStable { least, most } => (least, most),
        };
        let (mut sent, mut took_s, mut medians) = (0, Vec::new(), Vec::new());
        while let Some(wave) = NonZeroU32::new(least.get().min(most.get().saturating_sub(sent))) {
            let discarded = self
                .wave(scenario, workload, (medians.len(), wave), cancel)
                .await?;
            if cancel.is_cancelled() {
                return Ok(took_s);
            }
            let median = measure::median_of(&discarded.took_s);
            let Some(median) = median else {
                return Err(Error::Warmup {
                    scenario: scenario.id.to_string(),
                    count: wave.get(),
                    detail: discarded
                        .last_error
                        .unwrap_or_else(|| "no answer".to_owned()),
                });
            };
            medians.push(median);
            took_s.extend(discarded.took_s);
            sent += wave.get();
            if measure::stable(&medians) {
                return Ok(took_s);
            }
        }
        if matches!(scenario.warmup, Warmup::UntilStable { .. }) {
            tracing::info!(
                "{} {}: latencies had not settled within 5 % after {sent} warm-up requests",
                self.name,
                scenario.id
            );
        }
        Ok(took_s)
    }

    async fn wave(
        &self,
        scenario: &Scenario,
        workload: &Workload,
        (number, count): (usize, NonZeroU32),
        cancel: &CancellationToken,
    ) -> Result<Discard, Error> {
        let slots = std::iter::repeat_with(Slot::default).take(count.get() as usize);
        let phase = format!("{}-warm-up-{number}", self.nonce);
        let options = DriveOptions {
            concurrency: Some(count.min(match &scenario.arrivals {
                Arrivals::Closed { concurrency } => *concurrency,
                Arrivals::Open { max_in_flight, .. } | Arrivals::Replay { max_in_flight, .. } => {
                    max_in_flight.unwrap_or(OPEN_LOOP_WARMUP)
                }
            })),
            max_in_flight: None,
            duration: None,
            threads: self.threads(scenario),
        };
        let target = Arc::clone(&self.target);
        let jobs = workload.jobs(&phase, Box::new(slots));
        let drive = load::drive(target, jobs, options, cancel.clone(), Discard::default());
        Ok(Box::pin(drive).await?.1)
    }
}

/// How many requests a scenario will send, where that is known.
fn expected(scenario: &Scenario) -> Option<u64> {
    match &scenario.arrivals {
        Arrivals::Closed { .. } => scenario.stop.requests.map(|count| u64::from(count.get())),
        Arrivals::Open { rate, .. } => plan::expected(rate, &scenario.stop),
        Arrivals::Replay { .. } => None,
    }
}
