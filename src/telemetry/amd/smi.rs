//! `amd-smi`, kept running: it writes a JSON document about all GPUs each second.

use std::{ffi::OsStr, io::BufReader, process::ChildStdout, time::Duration};

use serde_json::Value;

use super::{chosen, json};
use crate::{
    engine::GpuSet,
    telemetry::{
        GpuCounters, GpuInfo, GpuReading, GpuSource, NoGpu, TelemetryError,
        tool::{Running, answer},
    },
};

const NAME: &str = "amd-smi";
/// It is a Python program: faster asking would load the processors of the engine.
const EVERY: Duration = Duration::from_secs(1);

/// A running `amd-smi`.
pub struct AmdSmiSource {
    infos: Vec<GpuInfo>,
    /// Its numbers of the GPUs that are watched.
    numbers: Vec<u32>,
    documents: Running<Value>,
    /// The answer to the question that was asked before it was kept running.
    first: Option<Value>,
    counters: Vec<GpuCounters>,
}

impl AmdSmiSource {
    /// Identifies the GPUs an engine gets, all where it names none, and keeps `program` running.
    ///
    /// # Errors
    /// It is not installed, does not work, or a GPU is not there.
    pub fn start(program: &OsStr, gpus: &GpuSet) -> Result<Self, NoGpu> {
        let document = once(program, "static")?;
        let listed = json::gpus(&document);
        let all: Vec<GpuInfo> = listed
            .iter()
            .map(|(number, gpu)| json::identity(*number, gpu))
            .collect();
        if all.is_empty() {
            return Err(NoGpu::NoDevice);
        }
        let places = chosen(&all, gpus)?;
        let pick = |at: &usize| Some((listed.get(*at)?.0, all.get(*at)?.clone()));
        let (numbers, infos): (Vec<u32>, Vec<GpuInfo>) = places.iter().filter_map(pick).unzip();
        let seconds = EVERY.as_secs().to_string();
        let watching = ["metric", "--json", "-w", &seconds].map(str::to_owned);
        Ok(Self {
            counters: vec![GpuCounters::default(); infos.len()],
            first: Some(once(program, "metric")?),
            documents: Running::start(program, NAME, &watching, documents)?,
            infos,
            numbers,
        })
    }
}

impl GpuSource for AmdSmiSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.infos
    }

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        let newest = match self.first.take() {
            Some(first) => Some(first),
            None => self.documents.fetch()?.pop(),
        };
        let Some(newest) = newest else {
            return Ok(None);
        };
        let found = json::gpus(&newest);
        let mut readings = Vec::new();
        for (number, counters) in self.numbers.iter().zip(&mut self.counters) {
            let gpu = found.iter().find(|(known, _)| known == number);
            let told = gpu.map(|(_, gpu)| json::metric(gpu)).unwrap_or_default();
            *counters = told.counters;
            readings.push(told.reading);
        }
        Ok(Some(readings))
    }

    fn counters(&mut self) -> Result<Vec<GpuCounters>, TelemetryError> {
        Ok(self.counters.clone())
    }
}

/// The document of a command that ends by itself.
fn once(program: &OsStr, command: &str) -> Result<Value, NoGpu> {
    let text = answer(program, NAME, &[command, "--json"].map(str::to_owned))?;
    serde_json::from_str(&text)
        .map_err(|error| NoGpu::BrokenTool(format!("{NAME} {command}: {error}")))
}

fn documents(output: BufReader<ChildStdout>, keep: &mut dyn FnMut(Value)) -> Option<String> {
    for document in serde_json::Deserializer::from_reader(output).into_iter() {
        match document {
            Ok(document) => keep(document),
            Err(error) => return Some(format!("its output is no JSON: {error}")),
        }
    }
    None
}
