//! Results as values, whoever wrote them.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Fingerprint, Items};
use crate::{ids::Section, measure::Validity};

/// One results directory, read.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultSet {
    /// Who wrote it.
    pub origin: Origin,
    /// The `metrics.json` it was read from.
    pub path: PathBuf,
    /// How far the run got.
    pub status: RunStatus,
    /// The suite's name.
    pub suite: String,
    /// The engine's name.
    pub engine: String,
    /// The model as it was typed.
    pub model: String,
    /// When the run began: RFC 3339, or KITT's naive local time.
    pub timestamp: Option<String>,
    /// Wall time of the whole run in seconds.
    pub total_time_s: Option<f64>,
    /// What exactly was measured, where known.
    pub provenance: Provenance,
    /// What makes it comparable; `None` in KITT's files without system information.
    pub fingerprint: Option<Fingerprint>,
    /// The runs, in order of their number. Each is one fresh server process.
    pub runs: Vec<RunRecord>,
    /// What is known beside the runs.
    pub facts: RunFacts,
}

/// Who wrote a results directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// This program.
    Own,
    /// KITT, the Python project.
    Kitt,
}

/// How far a run got. Written from the first moment, so that a killed run says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Still going on, or killed.
    Running,
    /// All planned scenarios are there.
    Complete,
    /// It stopped on an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// What exactly was measured. Everything is optional: older files know less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Version of kitt.
    pub kitt_version: Option<String>,
    /// Image reference as asked for.
    pub image: Option<String>,
    /// Digest (`sha256:…`) of the image that ran.
    pub image_digest: Option<String>,
    /// Version the engine reports.
    pub engine_version: Option<String>,
    /// The engine's arguments.
    pub engine_args: Vec<String>,
    /// Commit that was measured.
    pub commit: Option<String>,
    /// Branch or ref name.
    pub git_ref: Option<String>,
    /// What started the CI run: `push`, `pull_request`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Which of several jobs of one CI run measured it: a leg of a matrix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<Section>,
    /// Link to the CI run.
    pub run_url: Option<String>,
    /// Where the GPU readings came from, or why there are none.
    pub telemetry: Option<String>,
    /// What counted the tokens of the prompts.
    pub tokenizer: Option<String>,
}

/// What is known beside the runs of a results directory. The blocks are kept as they were
/// written: who wants more than to show them knows their form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// What a sweep or search over loads found.
    pub search: Option<Value>,
    /// How far off the client is on this machine.
    pub calibration: Option<Value>,
    /// Evaluated items, from the file beside `metrics.json`.
    #[serde(skip)]
    pub items: Items,
}

/// One fresh server process, measured once over all scenarios.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// From 1.
    pub number: u32,
    /// By scenario name; KITT's test names serve as scenario names.
    pub scenarios: BTreeMap<String, ScenarioRecord>,
}

/// One scenario of one run.
#[derive(Debug, Clone, PartialEq)]
pub struct ScenarioRecord {
    /// Whether the benchmark itself worked. Metrics of a failed one are dropped.
    pub passed: bool,
    /// What went wrong.
    pub errors: Vec<String>,
    /// Value by metric name, KITT's names kept under theirs. Never NaN, never an absent value
    /// dressed as zero.
    pub metrics: BTreeMap<String, f64>,
    /// Samples by quantity.
    pub samples: BTreeMap<String, u64>,
    /// Requests sent.
    pub sent: Option<u64>,
    /// Requests that ended well.
    pub ok: Option<u64>,
    /// Mean output tokens per request.
    pub output_tokens_mean: Option<f64>,
    /// Whether the numbers can be trusted; `None` in KITT's files.
    pub validity: Option<Validity>,
    /// Per-request values by quantity, indexed like the plan's requests; empty when the traces
    /// are absent.
    pub per_request: BTreeMap<String, Vec<Option<f64>>>,
    /// What is known beside the numbers.
    pub facts: ScenarioFacts,
}

/// What is known beside the numbers of one scenario. `None` is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioFacts {
    /// What the client saw of itself.
    pub audit: Option<Value>,
    /// Who counted the output tokens.
    pub token_source: Option<String>,
    /// Where the quantiles of each quantity come from.
    pub quantile_method: BTreeMap<String, String>,
    /// What the server's own counters said.
    pub server: Option<Value>,
    /// How the GPUs were watched, and what that found.
    pub gpu: Option<Value>,
}

impl ResultSet {
    /// Values of one metric over the runs that have it, in run order.
    pub fn values(&self, scenario: &str, metric: &str) -> Vec<f64> {
        let value = |run: &RunRecord| run.scenarios.get(scenario)?.metrics.get(metric).copied();
        self.runs.iter().filter_map(value).collect()
    }
}
