//! The wire form of our own `metrics.json`, version 1: frozen.
//!
//! Every file written in this form must load for ever, so a key is only ever added, optional,
//! and never renamed, retyped or given another meaning; what cannot be done that way becomes
//! version 2 beside this file. `fixtures/results/v1` holds files that the tests load, of the first
//! form and of each later one that added keys.
//!
//! KITT's keys stand beside ours, so that KITT's own readers load the file; ours are read from
//! `measurements`, and KITT's copies of the same facts are only written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BoardIds, Provenance, RunStatus};
use crate::{
    measure::Validity,
    metric::{Better, Unit},
};

/// The version this file describes.
pub(super) const VERSION: u64 = 1;

/// `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    /// [`VERSION`].
    pub schema_version: u64,
    /// How far the run got.
    pub status: RunStatus,
    /// Version of the program that wrote the file.
    pub kitt_version: String,
    /// Name of the suite.
    pub suite_name: String,
    /// When the run began, RFC 3339 in UTC.
    pub timestamp: String,
    /// Name of the engine.
    pub engine: String,
    /// Model as it was typed.
    pub model: String,
    /// KITT's: complete and nothing failed.
    #[serde(skip_deserializing)]
    pub passed: bool,
    /// KITT's: number of `results`.
    #[serde(skip_deserializing)]
    pub total_benchmarks: usize,
    /// KITT's: how many passed.
    #[serde(skip_deserializing)]
    pub passed_count: usize,
    /// KITT's: how many did not.
    #[serde(skip_deserializing)]
    pub failed_count: usize,
    /// Wall time so far, in seconds.
    pub total_time_seconds: Option<f64>,
    /// What makes it comparable.
    pub fingerprint: Print,
    /// What exactly was measured.
    #[serde(default)]
    pub provenance: Provenance,
    /// One per scenario and run, in the order they were measured.
    pub measurements: Vec<Entry>,
    /// What a sweep or search over loads found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Value>,
    /// How far off the client is on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Value>,
    /// KITT's form of the same, one per test and run.
    #[serde(skip_deserializing)]
    pub results: Vec<KittResult>,
    /// KITT's `hardware.json`.
    #[serde(skip_deserializing)]
    pub system_info: Value,
}

/// The fingerprint with what can be computed from it, for readers that are no Rust.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Print {
    /// Must be equal for a comparison.
    pub strict: BTreeMap<String, String>,
    /// Shown when it differs.
    pub soft: BTreeMap<String, String>,
    /// SHA-256 of `strict`; recomputed when read, never believed.
    #[serde(skip_deserializing)]
    pub digest: String,
    /// Readable label of KITT's shape.
    #[serde(skip_deserializing)]
    pub label: String,
    /// Digest of the hardware alone; recomputed when needed, never believed.
    #[serde(skip_deserializing)]
    pub hw_key: String,
    /// Digest of hardware, workload and what is under test; likewise.
    #[serde(skip_deserializing)]
    pub run_key: String,
    /// Keyed hashes of the boards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<BoardIds>,
}

/// One scenario of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Run, from 1.
    pub run: u32,
    /// Scenario name.
    pub scenario: String,
    /// KITT's test it belongs to.
    pub test: String,
    /// Whether it could be measured.
    pub passed: bool,
    /// What went wrong.
    #[serde(default)]
    pub errors: Vec<String>,
    /// Value by metric name; absent is not measured.
    pub metrics: BTreeMap<String, MetricValue>,
    /// Samples by quantity.
    #[serde(default)]
    pub samples: BTreeMap<String, u64>,
    /// Requests by outcome.
    #[serde(default)]
    pub outcomes: BTreeMap<String, u64>,
    /// Requests sent.
    pub sent: Option<u64>,
    /// Requests that ended well.
    pub ok: Option<u64>,
    /// Mean output tokens of the good ones.
    pub output_tokens_mean: Option<f64>,
    /// Mean prompt tokens of the good ones.
    pub input_tokens_mean: Option<f64>,
    /// Whether the numbers can be trusted.
    pub validity: Option<Validity>,
    /// Why not.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Length of the steady window in seconds.
    pub window_s: Option<f64>,
    /// Share of output events that came coalesced.
    pub coalesced_share: Option<f64>,
    /// What the client saw of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Value>,
    /// Who counted the output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_source: Option<String>,
    /// Where the quantiles of each quantity come from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quantile_method: BTreeMap<String, String>,
    /// What the server's own counters said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Value>,
    /// How the GPUs were watched, and what that found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Value>,
}

/// A value with what it means, for readers that are no kitt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MetricValue {
    /// The number, in `unit`.
    pub value: f64,
    /// Its unit.
    #[serde(skip_deserializing)]
    pub unit: Option<Unit>,
    /// Which direction is good; `null` is informative.
    #[serde(skip_deserializing)]
    pub better: Option<Better>,
    /// What it rests on; `null` when it is a total.
    #[serde(skip_deserializing)]
    pub samples: Option<u64>,
}

/// KITT's form of one test of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct KittResult {
    /// KITT's test name.
    pub test_name: String,
    /// Version of the test's definition; KITT's own are `1.0.0`.
    pub test_version: &'static str,
    /// Run, from 1.
    pub run_number: u32,
    /// Whether nothing failed.
    pub passed: bool,
    /// KITT's metric keys.
    pub metrics: Map<String, Value>,
    /// What went wrong.
    pub errors: Vec<String>,
    /// Seconds of each warm-up request.
    pub warmup_times: Vec<f64>,
    /// When it was done.
    pub timestamp: String,
}
