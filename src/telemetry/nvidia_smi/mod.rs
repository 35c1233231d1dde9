//! NVIDIA GPUs through `nvidia-smi`, where the library cannot be loaded.
//!
//! One child runs as long as the source and writes a row for each GPU twice a second; another
//! lists who computes. There is no energy counter: energy is the integral of the power.

mod rows;

use std::{
    collections::HashMap,
    ffi::OsStr,
    io::{BufRead, BufReader},
    process::ChildStdout,
    time::{Duration, Instant},
};

use self::rows::{MOVING, Row, STATIC, unknown_column};
use super::{
    GpuInfo, GpuProcess, GpuReading, GpuSource, GpuStatus, NoGpu, ProcessKind, TelemetryError,
    select,
    tool::{Running, answer},
};
use crate::engine::GpuSet;

const NAME: &str = "nvidia-smi";
/// It asks slower devices no faster than this itself.
const EVERY: Duration = Duration::from_millis(500);
const PROCESSES_EVERY: Duration = Duration::from_secs(1);
/// A process that was not listed for as long has ended.
const LISTED_FOR: Duration = Duration::from_millis(2500);
const FORMAT: &str = "--format=csv,noheader,nounits";

/// A running `nvidia-smi`.
pub struct NvidiaSmiSource {
    infos: Vec<GpuInfo>,
    columns: Vec<String>,
    rows: Running<String>,
    processes: Option<Running<String>>,
    /// The newest reading of each GPU since the last complete set.
    fresh: Vec<Option<GpuReading>>,
    status: Vec<GpuStatus>,
    /// Who computes where, and when that was last told.
    listed: HashMap<(usize, u32), (Option<u64>, Instant)>,
}

impl NvidiaSmiSource {
    /// Identifies the GPUs an engine gets, all where it names none, and keeps `program` running.
    ///
    /// # Errors
    /// It is not installed, does not work, or a GPU is not there.
    pub fn start(program: &OsStr, gpus: &GpuSet) -> Result<Self, NoGpu> {
        let (names, text) = query(program, &STATIC, &[])?;
        let all: Vec<GpuInfo> = text
            .lines()
            .filter_map(|line| Row::of(&names, line)?.info())
            .collect();
        if all.is_empty() {
            return Err(NoGpu::NoDevice);
        }
        let mut infos = match gpus {
            GpuSet::Nvidia(wanted) => wanted
                .iter()
                .map(|name| select::named(&all, name).cloned())
                .collect::<Result<Vec<_>, _>>()?,
            GpuSet::None | GpuSet::Amd(_) => all,
        };
        let cuda = cuda_version(program);
        for info in &mut infos {
            info.cuda_driver.clone_from(&cuda);
        }
        let uuids: Vec<&str> = infos.iter().map(|info| info.uuid.as_str()).collect();
        let only = ["-i".to_owned(), uuids.join(",")];
        // Finds out which columns this version has.
        let (columns, first) = query(program, &MOVING, &only)?;
        let mut arguments = arguments("--query-gpu", &columns, &only);
        arguments.extend(every(EVERY));
        let rows = Running::start(program, NAME, &arguments, lines)?;
        let users = ["gpu_uuid", "pid", "used_memory"].map(str::to_owned);
        let mut arguments = self::arguments("--query-compute-apps", &users, &only);
        arguments.extend(every(PROCESSES_EVERY));
        let processes = Running::start(program, NAME, &arguments, lines).ok();
        let mut source = Self {
            fresh: vec![None; infos.len()],
            status: vec![GpuStatus::default(); infos.len()],
            infos,
            columns,
            rows,
            processes,
            listed: HashMap::new(),
        };
        first.lines().for_each(|line| source.take(line));
        Ok(source)
    }

    fn place(&self, uuid: &str) -> Option<usize> {
        self.infos.iter().position(|info| info.uuid == uuid)
    }

    fn take(&mut self, line: &str) {
        let Some(row) = Row::of(&self.columns, line) else {
            return;
        };
        let Some(at) = row.cell("uuid").and_then(|uuid| self.place(uuid)) else {
            return;
        };
        if let Some(slot) = self.fresh.get_mut(at) {
            *slot = Some(row.reading());
        }
        if let Some(slot) = self.status.get_mut(at) {
            *slot = row.status();
        }
    }

    /// Rows of `gpu_uuid, pid, used_memory`.
    fn list(&mut self) {
        let Some(lines) = self.processes.as_mut().map(Running::fetch) else {
            return;
        };
        let Ok(lines) = lines else {
            self.processes = None;
            return;
        };
        for line in lines {
            let mut cells = line.split(',').map(str::trim);
            let found = cells.next().and_then(|uuid| self.place(uuid));
            let pid = cells.next().and_then(|pid| pid.parse::<u32>().ok());
            if let Some((at, pid)) = found.zip(pid) {
                let mib = cells.next().and_then(|used| used.parse::<u64>().ok());
                let used = mib.map(|mib| mib << 20);
                self.listed.insert((at, pid), (used, Instant::now()));
            }
        }
        self.listed
            .retain(|_, (_, told)| told.elapsed() < LISTED_FOR);
    }
}

impl GpuSource for NvidiaSmiSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.infos
    }

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        for line in self.rows.fetch()? {
            self.take(&line);
        }
        let complete: Option<Vec<GpuReading>> = self.fresh.iter().copied().collect();
        if complete.is_some() {
            self.fresh.fill(None);
        }
        Ok(complete)
    }

    fn status(&mut self) -> Result<Vec<GpuStatus>, TelemetryError> {
        self.list();
        let told = self.processes.is_some();
        let mut all = self.status.clone();
        for (at, status) in all.iter_mut().enumerate() {
            let users = self.listed.iter().filter(|((gpu, _), _)| *gpu == at);
            let mut users: Vec<GpuProcess> = users
                .map(|((_, pid), (memory, _))| GpuProcess {
                    pid: *pid,
                    kind: ProcessKind::Compute,
                    memory: *memory,
                    gpu_instance: None,
                })
                .collect();
            users.sort_by_key(|process| process.pid);
            status.processes = told.then_some(users);
        }
        Ok(all)
    }
}

fn arguments(query: &str, columns: &[String], only: &[String]) -> Vec<String> {
    let mut arguments = vec![format!("{query}={}", columns.join(",")), FORMAT.to_owned()];
    arguments.extend_from_slice(only);
    arguments
}

fn every(interval: Duration) -> [String; 2] {
    ["-lms".to_owned(), interval.as_millis().to_string()]
}

/// Asks for columns, and again without those that this version does not know. Gives the columns
/// that were answered.
fn query(
    program: &OsStr,
    columns: &[&str],
    only: &[String],
) -> Result<(Vec<String>, String), NoGpu> {
    let mut columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    loop {
        let complaint = match answer(program, NAME, &arguments("--query-gpu", &columns, only)) {
            Ok(text) if unknown_column(&text).is_none() => return Ok((columns, text)),
            Ok(text) => NoGpu::BrokenTool(text),
            Err(error) => error,
        };
        let NoGpu::BrokenTool(words) = &complaint else {
            return Err(complaint);
        };
        let Some(at) = unknown_column(words)
            .and_then(|unknown| columns.iter().position(|name| name == unknown))
        else {
            return Err(complaint);
        };
        columns.remove(at);
    }
}

/// The CUDA version the driver offers, which only the long report has.
fn cuda_version(program: &OsStr) -> Option<String> {
    let report = ["-q", "-d", "COMPUTE"].map(str::to_owned);
    let text = answer(program, NAME, &report).ok()?;
    let line = text
        .lines()
        .find(|line| line.trim().starts_with("CUDA Version"))?;
    let (_, version) = line.split_once(':')?;
    Some(version.trim().to_owned())
}

fn lines(output: BufReader<ChildStdout>, keep: &mut dyn FnMut(String)) -> Option<String> {
    for line in output.lines() {
        match line {
            Ok(line) => keep(line),
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}
