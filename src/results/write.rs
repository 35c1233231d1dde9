//! The results directory, written as the run grows.
//!
//! In: a [`RunHeader`] at once, then for each scenario its requests as they end, through a
//! [`RequestLog`], and one [`ScenarioReport`]. Out: the files of design §4.3. A kill at any moment
//! leaves files that parse and a status that says `running`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Fingerprint, HostFacts, Provenance, RequestLog, ResultsError, RunFacts, RunStatus,
    ScenarioFacts, Surroundings,
    files::{self, FrameLog},
    requests,
    schema_v1::{self, Document},
    summary::summary,
    to_v1,
};
use crate::{
    ids::ScenarioId,
    measure::Measurement,
    plan::Scenario,
    telemetry::{GpuReading, GpuTrace},
};

const METRICS: &str = "metrics.json";
const TELEMETRY: &str = "telemetry.jsonl.zst";

/// What is known when a run begins.
#[derive(Debug, Clone)]
pub struct RunHeader {
    /// Name of the suite.
    pub suite: String,
    /// Name of the engine.
    pub engine: String,
    /// Model as it was typed.
    pub model: String,
    /// When the run begins.
    pub started_at: Timestamp,
    /// Version of this program.
    pub kitt_version: String,
    /// KITT's `--skip-warmup`.
    pub skip_warmup: bool,
    /// KITT's `--runs`, where it was given.
    pub runs_override: Option<u32>,
    /// The machine.
    pub host: HostFacts,
    /// What makes it comparable; the writer adds what the provenance knows.
    pub fingerprint: Fingerprint,
    /// What is measured, as far as known before the engine runs.
    pub provenance: Provenance,
    /// The effective configuration: engine arguments, seed, scenarios. Without secrets.
    pub config: Value,
}

/// One scenario of one run, measured.
#[derive(Debug, Clone)]
pub struct ScenarioReport<'a> {
    /// Run, from 1.
    pub run: u32,
    /// What was asked for.
    pub scenario: &'a Scenario,
    /// What was measured.
    pub measurement: &'a Measurement,
    /// KITT's metric keys for its entry of this test and run. A test of several scenarios fills
    /// one entry: keys of a later call replace those of an earlier one.
    pub kitt: Map<String, Value>,
    /// Seconds of each warm-up request.
    pub warmup_times_s: &'a [f64],
    /// What went wrong; any error fails the benchmark.
    pub errors: &'a [String],
    /// What is known beside the numbers.
    pub facts: ScenarioFacts,
}

/// Writes one results directory.
#[derive(Debug)]
pub struct ResultsWriter {
    dir: PathBuf,
    header: RunHeader,
    document: Document,
    requests: FrameLog,
    telemetry: FrameLog,
    began: Instant,
}

impl ResultsWriter {
    /// Makes the directory and writes `metrics.json`, `hardware.json`, `config.json` and
    /// `summary.md` with status `running`. Results of an earlier run in it are replaced.
    ///
    /// # Errors
    /// The directory or a file cannot be written.
    pub fn create(dir: &Path, mut header: RunHeader) -> Result<Self, ResultsError> {
        fs::create_dir_all(dir).map_err(files::failed("create", dir))?;
        let version = header.kitt_version.clone();
        header.provenance.kitt_version.get_or_insert(version);
        header.fingerprint.set_provenance(&header.provenance);
        let mut writer = Self {
            requests: FrameLog::new(dir.join(requests::NAME))?,
            telemetry: FrameLog::new(dir.join(TELEMETRY))?,
            document: document(&header),
            dir: dir.to_owned(),
            header,
            began: Instant::now(),
        };
        files::replace_json(dir, "hardware.json", &writer.document.system_info)?;
        writer.save_config()?;
        writer.save()?;
        Ok(writer)
    }

    /// Opens the log of a scenario's requests. It is another thread's to fill while the load
    /// runs, and closed before the scenario's numbers come: what `metrics.json` speaks of is in
    /// the log then.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn requests(
        &mut self,
        run: u32,
        scenario: &ScenarioId,
    ) -> Result<RequestLog, ResultsError> {
        Ok(RequestLog::new(run, scenario, self.requests.frames()?))
    }

    /// Appends the numbers of a scenario whose [`ResultsWriter::requests`] are closed.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn scenario(&mut self, report: ScenarioReport<'_>) -> Result<(), ResultsError> {
        let entry = to_v1::entry(&report);
        let now = self.now();
        let warmups = report.warmup_times_s;
        to_v1::add(&mut self.document, entry, report.kitt, warmups, now);
        self.save()
    }

    /// Records a scenario that could not be measured.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn fail(&mut self, run: u32, scenario: &Scenario, error: &str) -> Result<(), ResultsError> {
        let entry = to_v1::failed_entry(run, scenario, error);
        let now = self.now();
        to_v1::add(&mut self.document, entry, Map::new(), &[], now);
        self.save()
    }

    /// Appends what the sampler saw during a run. UUIDs of GPUs stay here.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn telemetry(&mut self, run: u32, trace: &GpuTrace) -> Result<(), ResultsError> {
        let names = trace.devices.iter().map(|gpu| gpu.name.as_str()).collect();
        let begin = TelemetryLine::Begin {
            run,
            source: &trace.source,
            devices: names,
            lost: trace.lost.as_deref(),
        };
        let samples = trace.samples.iter().map(|sample| TelemetryLine::Sample {
            run,
            at_ns: u64::try_from(sample.at.as_nanos()).unwrap_or(u64::MAX),
            readings: &sample.readings,
        });
        self.telemetry.append(std::iter::once(begin).chain(samples))
    }

    /// Replaces what is known of what is measured, once the engine runs and tells.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn provenance(&mut self, mut provenance: Provenance) -> Result<(), ResultsError> {
        let version = self.header.kitt_version.clone();
        provenance.kitt_version.get_or_insert(version);
        self.header.fingerprint.set_provenance(&provenance);
        self.document.fingerprint = to_v1::print(&self.header.fingerprint, &self.header.host);
        self.document.provenance = provenance.clone();
        self.header.provenance = provenance;
        self.save_config()?;
        self.save()
    }

    /// Replaces what is known of what lies between kitt and the hardware, once the engine runs.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn surroundings(&mut self, surroundings: Surroundings) -> Result<(), ResultsError> {
        self.header.host.surroundings = surroundings;
        self.header.fingerprint.set_surroundings(&self.header.host);
        self.document.fingerprint = to_v1::print(&self.header.fingerprint, &self.header.host);
        self.save()
    }

    /// Adds or replaces what is known beside the runs; what `facts` leaves out stays.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn facts(&mut self, facts: RunFacts) -> Result<(), ResultsError> {
        let document = &mut self.document;
        document.search = facts.search.or_else(|| document.search.take());
        document.calibration = facts.calibration.or_else(|| document.calibration.take());
        self.save()
    }

    /// Writes the last word and gives the path of `metrics.json`. `total_time_s` is the wall
    /// time of the whole run in seconds.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn finish(mut self, status: RunStatus, total_time_s: f64) -> Result<PathBuf, ResultsError> {
        self.document.status = status;
        self.document.total_time_seconds = Some(total_time_s).filter(|time| time.is_finite());
        self.write()?;
        Ok(self.dir.join(METRICS))
    }

    /// Where `metrics.json` is.
    pub fn metrics_path(&self) -> PathBuf {
        self.dir.join(METRICS)
    }

    fn save(&mut self) -> Result<(), ResultsError> {
        self.document.total_time_seconds = Some(self.began.elapsed().as_secs_f64());
        self.write()
    }

    fn write(&mut self) -> Result<(), ResultsError> {
        to_v1::count(&mut self.document);
        files::replace_json(&self.dir, METRICS, &self.document)?;
        files::replace(&self.dir, "summary.md", summary(&self.document).as_bytes())
    }

    /// KITT's keys, and beside them the one effective configuration.
    fn save_config(&self) -> Result<(), ResultsError> {
        let header = &self.header;
        let config = json!({
            "model": header.model,
            "engine": header.engine,
            "suite": header.suite,
            "skip_warmup": header.skip_warmup,
            "runs_override": header.runs_override,
            "timestamp": self.document.timestamp,
            "kitt_version": header.kitt_version,
            "image": header.provenance.image,
            "image_digest": header.provenance.image_digest,
            "engine_version": header.provenance.engine_version,
            "engine_args": header.provenance.engine_args,
            "effective": header.config,
        });
        files::replace_json(&self.dir, "config.json", &config)
    }

    fn now(&self) -> String {
        let elapsed = SignedDuration::try_from(self.began.elapsed()).unwrap_or_default();
        let start = self.header.started_at;
        rfc3339(start.checked_add(elapsed).unwrap_or(start))
    }
}

/// One line of `telemetry.jsonl.zst`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum TelemetryLine<'a> {
    /// The first line of a run.
    Begin {
        run: u32,
        source: &'a str,
        devices: Vec<&'a str>,
        lost: Option<&'a str>,
    },
    /// One moment, `at_ns` nanoseconds after the sampler's start.
    Sample {
        run: u32,
        at_ns: u64,
        readings: &'a [GpuReading],
    },
}

fn document(header: &RunHeader) -> Document {
    Document {
        schema_version: schema_v1::VERSION,
        status: RunStatus::Running,
        kitt_version: header.kitt_version.clone(),
        suite_name: header.suite.clone(),
        timestamp: rfc3339(header.started_at),
        engine: header.engine.clone(),
        model: header.model.clone(),
        passed: false,
        total_benchmarks: 0,
        passed_count: 0,
        failed_count: 0,
        total_time_seconds: None,
        fingerprint: to_v1::print(&header.fingerprint, &header.host),
        provenance: header.provenance.clone(),
        measurements: Vec::new(),
        search: None,
        calibration: None,
        results: Vec::new(),
        system_info: header.host.to_kitt(),
    }
}

/// UTC with a numeric offset and microseconds: the one form of RFC 3339 that Python's
/// `fromisoformat` has read since 3.7, so that KITT's tools read it.
fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}
