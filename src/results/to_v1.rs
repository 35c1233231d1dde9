//! Measurements to the wire form of `schema_v1`. Pure.
//!
//! A number that is no number is left out and named in the notes: JSON has none, and `null`
//! would not say why.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    Fingerprint, ScenarioReport,
    host::HostFacts,
    schema_v1::{Document, Entry, KittResult, MetricValue, Print},
};
use crate::{measure::Measurement, metric, plan::Scenario};

/// Version of our definitions of KITT's tests; KITT's own are `1.0.0`.
const TEST_VERSION: &str = "2.0.0";

/// How much of an error or note is kept, in characters.
const TEXT_CHARS: usize = 2_000;

/// How many errors or notes are kept.
const TEXTS: usize = 50;

pub(super) fn print(fingerprint: &Fingerprint, host: &HostFacts) -> Print {
    Print {
        strict: fingerprint.strict.clone(),
        soft: fingerprint.soft.clone(),
        digest: fingerprint.digest(),
        label: host.label(),
        hw_key: fingerprint.hw_key(),
        run_key: fingerprint.run_key(),
        ids: fingerprint.ids.clone(),
    }
}

/// One scenario, measured. Without a single good answer it has failed, whatever else is said.
pub(super) fn entry(report: &ScenarioReport<'_>) -> Entry {
    let (run, scenario, measurement) = (report.run, report.scenario, report.measurement);
    let facts = &report.facts;
    let mut errors = texts(report.errors);
    if measurement.ok == 0 && errors.is_empty() {
        errors.push("no request ended well".to_owned());
    }
    let (metrics, dropped): (BTreeMap<_, _>, BTreeMap<_, _>) = measurement
        .metrics
        .iter()
        .partition(|(_, value)| value.is_finite());
    let mut notes = texts(&measurement.notes);
    notes.extend(
        dropped
            .keys()
            .map(|name| format!("{name} was not a finite number and is left out")),
    );
    let metrics = metrics
        .into_iter()
        .map(|(name, value)| (name.clone(), metric_value(name, *value, measurement)));
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    Entry {
        run,
        scenario: scenario.id.to_string(),
        test: scenario.test.name().to_owned(),
        passed: errors.is_empty(),
        errors,
        metrics: metrics.collect(),
        samples: measurement.samples.clone(),
        outcomes: measurement.outcomes.clone(),
        sent: Some(measurement.sent),
        ok: Some(measurement.ok),
        output_tokens_mean: finite(measurement.output_tokens_mean),
        input_tokens_mean: finite(measurement.input_tokens_mean),
        validity: Some(measurement.validity),
        notes,
        window_s: finite(measurement.window_s),
        coalesced_share: finite(measurement.coalesced_share),
        audit: facts.audit.clone(),
        token_source: facts.token_source.clone(),
        quantile_method: facts.quantile_method.clone(),
        server: facts.server.clone(),
        gpu: facts.gpu.clone(),
    }
}

/// One scenario that could not be measured.
pub(super) fn failed_entry(run: u32, scenario: &Scenario, error: &str) -> Entry {
    Entry {
        run,
        scenario: scenario.id.to_string(),
        test: scenario.test.name().to_owned(),
        passed: false,
        errors: texts(&[error.to_owned()]),
        metrics: BTreeMap::new(),
        samples: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        sent: None,
        ok: None,
        output_tokens_mean: None,
        input_tokens_mean: None,
        validity: None,
        notes: Vec::new(),
        window_s: None,
        coalesced_share: None,
        audit: None,
        token_source: None,
        quantile_method: BTreeMap::new(),
        server: None,
        gpu: None,
    }
}

fn metric_value(name: &str, value: f64, measurement: &Measurement) -> MetricValue {
    let metric = metric::describe(name);
    // `ttft_ms.p99` rests on the samples of `ttft_ms`.
    let quantity = name.rsplit_once('.').map_or(name, |(quantity, _)| quantity);
    let samples = measurement.samples.get(name);
    MetricValue {
        value,
        unit: Some(metric.unit),
        better: metric.better,
        samples: samples
            .or_else(|| measurement.samples.get(quantity))
            .copied(),
    }
}

fn texts(texts: &[String]) -> Vec<String> {
    let short = |text: &String| text.chars().take(TEXT_CHARS).collect();
    texts.iter().take(TEXTS).map(short).collect()
}

/// Puts a scenario into the document: in the place of the same scenario of the same run when it
/// is there already, and into KITT's entry of its test and run.
pub(super) fn add(
    document: &mut Document,
    entry: Entry,
    kitt: Map<String, Value>,
    warmup_times_s: &[f64],
    timestamp: String,
) {
    add_kitt(document, &entry, kitt, warmup_times_s, timestamp);
    let same = |old: &&mut Entry| old.run == entry.run && old.scenario == entry.scenario;
    match document.measurements.iter_mut().find(same) {
        Some(old) => *old = entry,
        None => document.measurements.push(entry),
    }
}

/// KITT has one entry per test and run; a test of several scenarios (`batch_inference`) fills it
/// scenario by scenario. A key that comes again replaces its value, so a caller may hand over
/// one scenario's keys or all so far.
fn add_kitt(
    document: &mut Document,
    entry: &Entry,
    kitt: Map<String, Value>,
    warmup_times_s: &[f64],
    timestamp: String,
) {
    let same = |old: &KittResult| old.run_number == entry.run && old.test_name == entry.test;
    let found = document.results.iter().position(same);
    let place = found.unwrap_or_else(|| {
        document.results.push(KittResult {
            test_name: entry.test.clone(),
            test_version: TEST_VERSION,
            run_number: entry.run,
            passed: true,
            metrics: Map::new(),
            errors: Vec::new(),
            warmup_times: Vec::new(),
            timestamp: String::new(),
        });
        document.results.len() - 1
    });
    let Some(result) = document.results.get_mut(place) else {
        return;
    };
    result.passed &= entry.passed;
    result.metrics.extend(kitt);
    let several = entry.scenario != entry.test;
    result.errors.extend(entry.errors.iter().map(|error| {
        if several {
            format!("{}: {error}", entry.scenario)
        } else {
            error.clone()
        }
    }));
    let finite = warmup_times_s.iter().filter(|time| time.is_finite());
    result.warmup_times.extend(finite);
    result.timestamp = timestamp;
}

/// Brings KITT's counts up to date. `passed` needs all of them and a finished run: a killed one
/// has not passed.
pub(super) fn count(document: &mut Document) {
    let total = document.results.len();
    let passed = document.results.iter().filter(|r| r.passed).count();
    document.total_benchmarks = total;
    document.passed_count = passed;
    document.failed_count = total - passed;
    document.passed = document.status == super::RunStatus::Complete && total > 0 && passed == total;
}
