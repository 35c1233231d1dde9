//! KITT's `metrics.json` to a [`ResultSet`], by the reader's rules of
//! `research/kitt-and-engines.md` §1.4.
//!
//! Every key is optional. A TTFT of exactly 0, a GPU memory of exactly 0 and a quality test
//! without samples are "not measured". Nested values get dotted names (`ttft_ms.p95`).

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    Fingerprint, HostFacts, Origin, Provenance, ResultSet, ResultsError, RunFacts, RunRecord,
    RunStatus, ScenarioFacts, ScenarioRecord, Storage,
    checks::{check_count, check_name, check_sign, check_value},
    fingerprint::{KITT_METHOD, Subject, fingerprint},
};
use crate::telemetry::GpuInfo;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Document {
    kitt_version: Option<String>,
    suite_name: Option<String>,
    timestamp: Option<String>,
    engine: Option<String>,
    model: Option<String>,
    total_time_seconds: Option<f64>,
    results: Option<Vec<Entry>>,
    system_info: Option<SystemInfo>,
}

/// One test of one run.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    test_name: Option<String>,
    run_number: Option<u32>,
    passed: Option<bool>,
    metrics: Option<BTreeMap<String, Node>>,
    errors: Option<Vec<String>>,
}

/// `hardware.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SystemInfo {
    gpu: Option<Gpu>,
    cpu: Option<Cpu>,
    ram_gb: Option<f64>,
    ram_type: Option<String>,
    storage: Option<Disk>,
    cuda_version: Option<String>,
    driver_version: Option<String>,
    os: Option<String>,
    kernel: Option<String>,
    environment_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gpu {
    model: Option<String>,
    vram_gb: Option<f64>,
    count: Option<u32>,
    compute_capability: Option<(i32, i32)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    model: Option<String>,
    cores: Option<u32>,
    threads: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Disk {
    brand: Option<String>,
    model: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// A value below `metrics`.
#[derive(Debug)]
enum Node {
    Number(f64),
    Branch(BTreeMap<String, Node>),
    /// A switch, a note, a list, `null`: nothing to compare.
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a number, an object of numbers, or a note")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        // Skipping it would hide a measured value.
        if text.trim().parse::<f64>().is_ok() {
            return Err(E::custom("a number written as text: take the quotes away"));
        }
        Ok(Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut branch = BTreeMap::new();
        while let Some((key, node)) = entries.next_entry()? {
            branch.insert(key, node);
        }
        Ok(Node::Branch(branch))
    }
}

/// Gives nested values dotted names and checks each. Done on the way down: long keys inside each
/// other would otherwise multiply into more memory than the file has bytes.
fn flatten(
    path: &Path,
    place: &str,
    prefix: &str,
    nodes: BTreeMap<String, Node>,
    flat: &mut BTreeMap<String, f64>,
) -> Result<(), ResultsError> {
    for (key, node) in nodes {
        let name = if prefix.is_empty() {
            key
        } else {
            format!("{prefix}.{key}")
        };
        check_name(path, place, &name)?;
        match node {
            Node::Number(value) => {
                check_value(path, place, &name, value)?;
                flat.insert(name, value);
            }
            // The depth is bounded by the limits of the scan.
            Node::Branch(nodes) => flatten(path, place, &name, nodes, flat)?,
            Node::Other => {}
        }
    }
    Ok(())
}

/// KITT writes 0 for a time to first token it did not see and for memory it could not ask for.
fn is_unmeasured(name: &str, value: f64) -> bool {
    let ttft = name == "ttft_ms" || name.starts_with("ttft_ms.");
    let memory = name.contains("gpu_memory") || name.contains("peak_gb");
    value == 0.0 && (ttft || memory)
}

/// A quality test that found no data says "passed" all the same.
fn without_samples(metrics: &BTreeMap<String, f64>) -> bool {
    let zero = |name: &str| metrics.get(name) == Some(&0.0);
    zero("total_samples") || (zero("total") && metrics.contains_key("accuracy"))
}

/// Takes a parsed file apart.
pub(super) fn from_document(path: &Path, document: Document) -> Result<ResultSet, ResultsError> {
    check_sign(path, "total_time_seconds", document.total_time_seconds)?;
    let results = document.results.unwrap_or_default();
    check_count(path, "results", results.len())?;
    let mut runs: BTreeMap<u32, RunRecord> = BTreeMap::new();
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    for (place, entry) in results.into_iter().enumerate() {
        let name = entry.test_name.clone();
        let name = name.unwrap_or_else(|| "unnamed".to_owned());
        let asked = entry.run_number.unwrap_or(1).max(1);
        // The same test twice under one number is two runs: neither may hide the other.
        let highest = numbers.entry(name.clone()).or_insert(0);
        let run: Option<&RunRecord> = runs.get(&asked);
        let taken = run.is_some_and(|run| run.scenarios.contains_key(&name));
        let number = if taken {
            highest.saturating_add(1)
        } else {
            asked
        };
        *highest = number.max(*highest);
        let record = record(path, &format!("results[{place}].metrics"), entry)?;
        let run = runs.entry(number).or_insert_with(|| RunRecord {
            number,
            scenarios: BTreeMap::new(),
        });
        run.scenarios.insert(name, record);
    }
    let engine = document.engine.unwrap_or_default();
    let model = document.model.unwrap_or_default();
    let provenance = Provenance {
        kitt_version: document.kitt_version,
        ..Provenance::default()
    };
    Ok(ResultSet {
        origin: Origin::Kitt,
        path: path.to_owned(),
        // KITT writes its files when it is done.
        status: RunStatus::Complete,
        suite: document.suite_name.unwrap_or_default(),
        timestamp: document.timestamp,
        total_time_s: document.total_time_seconds,
        fingerprint: document
            .system_info
            .map(|system| print(system, &engine, &model, &provenance)),
        provenance,
        engine,
        model,
        runs: runs.into_values().collect(),
        facts: RunFacts::default(),
    })
}

fn record(path: &Path, key: &str, entry: Entry) -> Result<ScenarioRecord, ResultsError> {
    let mut errors = entry.errors.unwrap_or_default();
    let passed = entry.passed.unwrap_or(errors.is_empty());
    let mut metrics = BTreeMap::new();
    let nodes = entry.metrics.unwrap_or_default();
    flatten(path, key, "", nodes, &mut metrics)?;
    if without_samples(&metrics) {
        if errors.is_empty() {
            errors.push("no sample was measured".to_owned());
        }
        metrics.clear();
    }
    if !passed {
        metrics.clear();
    }
    let samples = samples(&metrics);
    metrics.retain(|name, value| !is_unmeasured(name, *value));
    Ok(ScenarioRecord {
        passed,
        errors,
        samples,
        metrics,
        sent: None,
        ok: None,
        output_tokens_mean: None,
        validity: None,
        per_request: BTreeMap::new(),
        facts: ScenarioFacts::default(),
    })
}

/// KITT counts per test, not per quantity: each of its measured quantities rests on that many.
fn samples(metrics: &BTreeMap<String, f64>) -> BTreeMap<String, u64> {
    const COUNTS: [&str; 3] = ["total_iterations", "total_measurements", "total"];
    let Some(count) = COUNTS.iter().find_map(|name| metrics.get(*name)) else {
        return BTreeMap::new();
    };
    // A count above 2^53 is nobody's, and a fraction of a request does not exist.
    let whole = (0.0..9e15).contains(count) && count.fract() == 0.0;
    let Some(count) = whole
        .then(|| format!("{count:.0}"))
        .and_then(|n| n.parse().ok())
    else {
        return BTreeMap::new();
    };
    metrics
        .iter()
        .filter(|(name, value)| !COUNTS.contains(&name.as_str()) && !is_unmeasured(name, **value))
        .filter_map(|(name, _)| Some((name.split('.').next()?.to_owned(), count)))
        .collect()
}

/// The same keys as our own fingerprints, as far as KITT knows them.
fn print(system: SystemInfo, engine: &str, model: &str, provenance: &Provenance) -> Fingerprint {
    let count = system.gpu.as_ref().map(|gpu| gpu.count.unwrap_or(1));
    let gpu = system.gpu.map(|gpu| {
        // KITT looks at the first only; copies of it would cost what the file says.
        vec![GpuInfo {
            uuid: String::new(),
            name: gpu.model.unwrap_or_default(),
            // 0 is KITT's unified memory.
            memory_total: gpu.vram_gb.filter(|gb| *gb > 0.0).and_then(bytes),
            compute_capability: gpu.compute_capability,
            driver: system.driver_version,
            cuda_driver: system.cuda_version,
            ..GpuInfo::default()
        }]
    });
    let cpu = system.cpu.unwrap_or_default();
    let storage = system.storage.and_then(|disk| {
        Some(Storage {
            brand: disk.brand.unwrap_or_default(),
            model: disk.model?,
            kind: disk.kind.unwrap_or_default(),
        })
    });
    let host = HostFacts {
        gpus: gpu.unwrap_or_default(),
        cpu_model: cpu.model,
        cores: cpu.cores,
        threads: cpu.threads,
        ram_gb: system.ram_gb.and_then(bytes).map(|bytes| bytes >> 30),
        ram_type: system.ram_type,
        os: system.os,
        kernel: system.kernel,
        storage,
        environment_type: system.environment_type,
        ..HostFacts::default()
    };
    let subject = Subject {
        method: KITT_METHOD,
        engine,
        mode: None,
        model,
        workload: None,
    };
    let mut print = fingerprint(&host, &subject);
    print.set_provenance(provenance);
    let count = count.unwrap_or(0).to_string();
    print.strict.insert("gpu.count".to_owned(), count);
    // KITT asks the toolkit that happens to be installed, not the driver.
    print.soft.extend(print.strict.remove_entry("gpu.cuda"));
    print
}

/// GiB as a number to bytes, by way of whole MiB; `None` when it is no size.
fn bytes(gib: f64) -> Option<u64> {
    let mib = format!("{:.0}", gib * 1024.0).parse::<u64>().ok()?;
    mib.checked_mul(1 << 20)
}
