//! A `metrics.json`, ours or KITT's, to a [`ResultSet`].
//!
//! In: a path and [`Limits`]. The file may come from a pull request: nothing in it is believed
//! that can be checked, and nothing that is wrong in it is skipped in silence.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::Value;

use super::{
    Fingerprint, Limits, Origin, ResultSet, ResultsError, RunFacts, RunRecord, ScenarioFacts,
    ScenarioRecord,
    checks::{check_count, check_name, check_sign, check_value, wrong},
    items, json, kitt,
    requests::{self, PerRequest},
    schema_v1::{self, Document, Entry},
};
use crate::ids::{ScenarioId, Section};

/// What tells our files from KITT's, and both from anything else.
#[derive(Debug, Deserialize)]
struct Probe {
    schema_version: Option<Value>,
    // KITT's keys; a file that has none of them is no results file.
    results: Option<serde::de::IgnoredAny>,
    engine: Option<serde::de::IgnoredAny>,
    suite_name: Option<serde::de::IgnoredAny>,
}

/// Reads a `metrics.json`, and the request traces and evaluated items beside it where there are any.
///
/// # Errors
/// The file cannot be read, is larger or nested deeper than `limits`, is no JSON, is no results
/// file, holds values a result cannot have, or was written by a newer kitt. Every error names
/// the file and, where there is one, line, column and key.
pub fn read(path: &Path, limits: &Limits) -> Result<ResultSet, ResultsError> {
    let mut set = read_numbers(path, limits)?;
    if set.origin == Origin::Own
        && let Some(dir) = path.parent()
    {
        attach(&mut set, requests::read(&dir.join(requests::NAME), limits)?);
        set.facts.items = items::of_directory(dir, limits)?;
    }
    Ok(set)
}

/// As [`read`], without the request traces: what is enough to sum a job up.
///
/// # Errors
/// As [`read`], as far as they concern the file itself.
pub fn read_numbers(path: &Path, limits: &Limits) -> Result<ResultSet, ResultsError> {
    let bytes = json::read_file(path, limits.file_bytes)?;
    from_bytes(path, &bytes, limits)
}

/// The time a `metrics.json` says it was written at, as it stands there.
///
/// # Errors
/// As [`read`], as far as they concern the file as a whole.
pub fn timestamp(path: &Path, limits: &Limits) -> Result<Option<String>, ResultsError> {
    #[derive(Deserialize)]
    struct Stamp {
        timestamp: Option<String>,
    }
    let bytes = json::read_file(path, limits.file_bytes)?;
    json::check(path, &bytes, limits)?;
    let stamp: Stamp = json::parse(path, &bytes, 1)?;
    Ok(stamp.timestamp)
}

/// Which job of several a `metrics.json` is of, as it says; `None` when it names none.
///
/// # Errors
/// As [`read`], as far as they concern the file as a whole.
pub fn section(path: &Path, limits: &Limits) -> Result<Option<Section>, ResultsError> {
    #[derive(Deserialize)]
    struct Told {
        provenance: Option<Named>,
    }
    #[derive(Deserialize)]
    struct Named {
        section: Option<Section>,
    }
    let bytes = json::read_file(path, limits.file_bytes)?;
    json::check(path, &bytes, limits)?;
    let told: Told = json::parse(path, &bytes, 1)?;
    Ok(told.provenance.and_then(|named| named.section))
}

/// The largest `config.json`, in bytes.
const CONFIG_BYTES: u64 = 1 << 20;

/// The `config.json` beside results; `None` when there is none. It may come from an artifact: no
/// link is followed.
///
/// # Errors
/// It cannot be read, is no regular file, is too large or is no JSON.
pub fn read_config(dir: &Path, limits: &Limits) -> Result<Option<Value>, ResultsError> {
    let path = dir.join("config.json");
    match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if !found.is_file() => {
            let detail = "it is no regular file".to_owned();
            return Err(wrong(&path, ".", detail));
        }
        Ok(_) | Err(_) => {}
    }
    let bytes = json::read_file(&path, CONFIG_BYTES.min(limits.file_bytes))?;
    json::check(&path, &bytes, limits)?;
    json::parse(&path, &bytes, 1).map(Some)
}

/// The pure part of [`read`]; `path` is only named in errors.
pub(super) fn from_bytes(
    path: &Path,
    bytes: &[u8],
    limits: &Limits,
) -> Result<ResultSet, ResultsError> {
    json::check(path, bytes, limits)?;
    let probe = probe(path, bytes)?;
    match probe.schema_version {
        Some(version) => match version.as_u64() {
            Some(schema_v1::VERSION) => own(path, json::parse(path, bytes, 1)?),
            Some(found) if found > schema_v1::VERSION => Err(ResultsError::Schema {
                path: path.to_owned(),
                found,
                known: schema_v1::VERSION,
            }),
            Some(_) | None => {
                let detail = "it must be a whole number above 0".to_owned();
                Err(wrong(path, "schema_version", detail))
            }
        },
        None if probe.results.is_none() && probe.engine.is_none() && probe.suite_name.is_none() => {
            let detail = "neither kitt's `schema_version` nor KITT's `results`: no results file";
            Err(wrong(path, ".", detail.to_owned()))
        }
        None => kitt::from_document(path, json::parse(path, bytes, 1)?),
    }
}

/// Skipped values have no keys, so an error inside one is looked for again with all values read.
fn probe(path: &Path, bytes: &[u8]) -> Result<Probe, ResultsError> {
    json::parse(path, bytes, 1)
        .map_err(|error| json::parse::<Value>(path, bytes, 1).err().unwrap_or(error))
}

fn own(path: &Path, document: Document) -> Result<ResultSet, ResultsError> {
    if document.timestamp.parse::<jiff::Timestamp>().is_err() {
        let detail = "it must be a time such as 2026-01-15T10:30:00+00:00".to_owned();
        return Err(wrong(path, "timestamp", detail));
    }
    check_sign(path, "total_time_seconds", document.total_time_seconds)?;
    check_count(path, "measurements", document.measurements.len())?;
    let mut runs: BTreeMap<u32, RunRecord> = BTreeMap::new();
    for (place, entry) in document.measurements.into_iter().enumerate() {
        let key = format!("measurements[{place}]");
        check_entry(path, &key, &entry)?;
        let run = runs.entry(entry.run).or_insert_with(|| RunRecord {
            number: entry.run,
            scenarios: BTreeMap::new(),
        });
        let name = entry.scenario.clone();
        if run.scenarios.insert(name, record(entry)).is_some() {
            let detail = "this scenario of this run is there twice".to_owned();
            return Err(wrong(path, &key, detail));
        }
    }
    Ok(ResultSet {
        origin: Origin::Own,
        path: path.to_owned(),
        status: document.status,
        suite: document.suite_name,
        engine: document.engine,
        model: document.model,
        timestamp: Some(document.timestamp),
        total_time_s: document.total_time_seconds,
        provenance: document.provenance,
        fingerprint: Some(Fingerprint {
            strict: document.fingerprint.strict,
            soft: document.fingerprint.soft,
            ids: document.fingerprint.ids,
        }),
        runs: runs.into_values().collect(),
        facts: RunFacts {
            search: document.search,
            calibration: document.calibration,
            items: items::Items::new(),
        },
    })
}

fn check_entry(path: &Path, key: &str, entry: &Entry) -> Result<(), ResultsError> {
    if entry.run == 0 {
        let detail = "runs are counted from 1".to_owned();
        return Err(wrong(path, &format!("{key}.run"), detail));
    }
    if let Err(error) = entry.scenario.parse::<ScenarioId>() {
        return Err(wrong(path, &format!("{key}.scenario"), error.to_string()));
    }
    for (name, metric) in &entry.metrics {
        let place = format!("{key}.metrics");
        check_name(path, &place, name)?;
        check_value(path, &place, name, metric.value)?;
    }
    for (name, value) in [
        ("output_tokens_mean", entry.output_tokens_mean),
        ("input_tokens_mean", entry.input_tokens_mean),
        ("window_s", entry.window_s),
        ("coalesced_share", entry.coalesced_share),
    ] {
        check_sign(path, &format!("{key}.{name}"), value)?;
    }
    if entry.ok > entry.sent {
        let detail = "more requests ended well than were sent".to_owned();
        return Err(wrong(path, &format!("{key}.ok"), detail));
    }
    Ok(())
}

/// A failed scenario keeps its counts and errors; its numbers mean nothing.
fn record(entry: Entry) -> ScenarioRecord {
    let mut record = ScenarioRecord {
        passed: entry.passed,
        errors: entry.errors,
        metrics: BTreeMap::new(),
        samples: BTreeMap::new(),
        sent: entry.sent,
        ok: entry.ok,
        output_tokens_mean: entry.output_tokens_mean,
        validity: entry.validity,
        per_request: BTreeMap::new(),
        facts: ScenarioFacts {
            audit: entry.audit,
            token_source: entry.token_source,
            quantile_method: entry.quantile_method,
            server: entry.server,
            gpu: entry.gpu,
        },
    };
    if entry.passed {
        let value = |(name, metric): (String, schema_v1::MetricValue)| (name, metric.value);
        record.metrics = entry.metrics.into_iter().map(value).collect();
        record.samples = entry.samples;
    }
    record
}

/// Gives each scenario its per-request values. Traces of a scenario that `metrics.json` does not
/// know were written just before a kill and are left out.
fn attach(set: &mut ResultSet, mut found: PerRequest) {
    for run in &mut set.runs {
        for (name, record) in &mut run.scenarios {
            if record.passed
                && let Some(values) = found.remove(&(run.number, name.clone()))
            {
                record.per_request = values;
            }
        }
    }
}
