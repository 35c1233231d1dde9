//! The config file, `.github/kitt.yml`: every setting's key, and the policy that needs more than
//! one line.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ContextError, LimitRule, PolicyWritten};

/// Largest config file kitt reads.
const MAX_BYTES: u64 = 1 << 20;

/// A value that may be a bare number or a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// A whole number.
    Whole(u64),
    /// Another number.
    Number(f64),
    /// Anything else.
    Text(String),
}

/// The file as written. Unknown keys are refused with line and column.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConfigFile {
    /// Model to serve: a path on the runner or a hub id.
    pub model: Option<String>,
    /// Branch, tag or commit of a hub model.
    pub model_revision: Option<String>,
    /// Give the engine no network.
    pub offline: Option<bool>,
    /// Folder that keeps downloaded models and compiled kernels between runs.
    pub cache_dir: Option<String>,
    /// Inference engine.
    pub engine: Option<String>,
    /// Suite of tests.
    pub suite: Option<String>,
    /// Tests to run instead of the suite's.
    pub tests: Option<Vec<String>>,
    /// Where the engine runs: docker or native.
    pub mode: Option<String>,
    /// Container image instead of the engine's default.
    pub image: Option<String>,
    /// Base URL of a running server.
    pub endpoint: Option<String>,
    /// Program and first arguments of an engine on this host, one per entry.
    pub engine_command: Option<Vec<String>>,
    /// Extra arguments for the engine, one per entry.
    pub engine_args: Option<Vec<String>>,
    /// Environment of the engine's container.
    pub env: std::collections::BTreeMap<String, String>,
    /// Fresh server processes, each measured once.
    pub runs: Option<u32>,
    /// Seed of prompts and of the engine's sampling.
    pub seed: Option<u64>,
    /// Measured requests per scenario.
    pub requests: Option<u32>,
    /// Tokens of each prompt: 128, 100..200, normal:512:64 or lognormal:512:0.5.
    pub input_tokens: Option<Scalar>,
    /// Tokens of each answer, written as input-tokens.
    pub output_tokens: Option<Scalar>,
    /// Closed loop with this many requests in flight, instead of a suite.
    pub concurrency: Option<u32>,
    /// Open loop with this many requests per second, instead of a suite.
    pub request_rate: Option<f64>,
    /// Open loop with a ramp or steps, instead of a suite.
    pub rate_schedule: Option<String>,
    /// How the requests of a rate scatter: constant, poisson or gamma:CV.
    pub arrivals: Option<String>,
    /// Replay arrivals and lengths of this file, instead of a suite.
    pub trace: Option<String>,
    /// How fast the trace is replayed.
    pub trace_speed: Option<f64>,
    /// Search load points: concurrency, rate or goodput; or list them as concurrency:1,2,4.
    pub sweep: Option<String>,
    /// Most requests in flight of an open loop or a sweep.
    pub max_in_flight: Option<u32>,
    /// How long requests are sent, such as 60s or 2m; a number is seconds.
    pub duration: Option<Scalar>,
    /// Discarded requests first: a number, or auto.
    pub warmup_requests: Option<Scalar>,
    /// Stop a scenario when more than this share of its requests fails.
    pub max_error_rate: Option<f64>,
    /// Stop a scenario when the 95 % intervals of its mean latencies are this narrow.
    pub ci_width: Option<f64>,
    /// Stop an open loop once its queue only grows.
    pub stop_when_saturated: Option<bool>,
    /// What a request must meet to be good, such as `ttft_ms=200,tpot_ms=50`.
    pub slo: Option<String>,
    /// Interface to speak: chat or completions.
    pub api: Option<String>,
    /// File of prompts instead of synthetic ones.
    pub dataset: Option<String>,
    /// File of evaluated items by which accuracy and calibration are judged.
    pub items: Option<String>,
    /// Share of each synthetic prompt that all have in common.
    pub shared_prefix: Option<f64>,
    /// Turns of each conversation.
    pub turns: Option<u32>,
    /// Pause between two turns, such as 500ms; a number is seconds.
    pub think_time: Option<Scalar>,
    /// What counts tokens: a tokenizer.json on the runner, or server.
    pub tokenizer: Option<String>,
    /// Threads of the load generator: a number or auto.
    pub client_threads: Option<Scalar>,
    /// Send no discarded requests before the measured ones.
    pub skip_warmup: Option<bool>,
    /// Pull the image when it is not on the host.
    pub auto_pull: Option<bool>,
    /// GPUs for the engine: auto, none, UUIDs, or amd and amd:0,1.
    pub gpus: Option<String>,
    /// How long to wait until nobody else uses the GPUs, such as 10m; a number is seconds.
    pub wait_for_gpu: Option<Scalar>,
    /// What watches the GPUs: auto, nvml, nvidia-smi, amd-smi, off or replay:FILE.
    pub telemetry: Option<String>,
    /// Fail when the GPUs cannot be watched.
    pub require_telemetry: Option<bool>,
    /// Watch the loaded engine for 10 s before requests, to tell the power that they add.
    pub idle_power: Option<bool>,
    /// Price of one GPU for an hour.
    pub gpu_hour_price: Option<f64>,
    /// Price of a kilowatt-hour.
    pub kwh_price: Option<f64>,
    /// Currency of the prices.
    pub currency: Option<String>,
    /// Where the prices come from and of which day.
    pub price_source: Option<String>,
    /// Memory limit of the container in MiB.
    pub memory: Option<u64>,
    /// Processors of the container.
    pub cpuset: Option<String>,
    /// Size of the container's /dev/shm in MiB.
    pub shm_size: Option<u64>,
    /// Seconds until the engine must answer.
    pub startup_timeout: Option<u64>,
    /// Seconds until a request counts as timed out.
    pub request_timeout: Option<u64>,
    /// Directory of the results.
    pub results_dir: Option<String>,
    /// Directory of the baseline's results.
    pub baseline_dir: Option<String>,
    /// Artifact that holds the baseline.
    pub baseline_artifact: Option<String>,
    /// Branch that holds baselines.
    pub baseline_branch: Option<String>,
    /// What to compare with: auto, ab or stored.
    pub baseline: Option<String>,
    /// Image of the baseline side of pairs.
    pub baseline_image: Option<String>,
    /// Engine arguments of the baseline side of pairs, one per entry.
    pub baseline_args: Option<Vec<String>>,
    /// Model of the baseline side of pairs.
    pub baseline_model: Option<String>,
    /// Most pairs of a baseline and a current run.
    pub pairs: Option<u32>,
    /// How long pairs may take, such as 30m; a number is seconds.
    pub time_budget: Option<Scalar>,
    /// When stored results leave it open: pair, neutral or fail.
    pub on_unsure: Option<String>,
    /// Earlier jobs of the base branch.
    pub history: Option<String>,
    /// File that keeps how much pairs scatter on this runner class.
    pub noise_profile: Option<String>,
    /// Fail the job on a proven regression or a broken limit.
    pub gate: Option<bool>,
    /// Also fail when nothing is proven.
    pub strict: Option<bool>,
    /// Declared run-to-run variation.
    pub run_cv: Option<f64>,
    /// Metrics that gate.
    pub metrics: Option<Vec<String>>,
    /// Absolute limits on metrics of the current side.
    pub limits: Vec<LimitRule>,
    /// Which metrics gate where, how far it may go, and who may accept a regression.
    pub policy: PolicyWritten,
    /// Name of this report.
    pub key: Option<String>,
    /// Post the comment.
    pub post_comment: Option<bool>,
    /// When to comment: always, on-change, on-regression or never.
    pub comment: Option<String>,
    /// Write a check run beside the comment.
    pub check_run: Option<bool>,
    /// Comment on the commit of a push.
    pub commit_comment: Option<bool>,
    /// Offer the results of a green run of the base branch as its new baseline.
    pub store_baseline: Option<bool>,
}

impl ConfigFile {
    /// A scalar setting's value as text, by the setting's name.
    pub fn value(&self, name: &str) -> Option<String> {
        let values = serde_json::to_value(self).ok()?;
        match values.get(name)? {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Bool(value) => Some(value.to_string()),
            serde_json::Value::Number(value) => Some(value.to_string()),
            serde_json::Value::Array(list) => text_list(list, name),
            serde_json::Value::Null | serde_json::Value::Object(_) => None,
        }
    }
}

/// A list as the text form of its setting: arguments are quoted for the shell-like splitter,
/// names are joined with commas.
fn text_list(list: &[serde_json::Value], name: &str) -> Option<String> {
    let words: Vec<&str> = list.iter().filter_map(serde_json::Value::as_str).collect();
    if words.is_empty() {
        None
    } else if matches!(name, "baseline-args" | "engine-args" | "engine-command") {
        shlex::try_join(words).ok()
    } else {
        Some(words.join(","))
    }
}

/// Reads the config file. `asked`: the path the user named, which must then exist; without it
/// `.github/kitt.yml` is read when it exists.
///
/// # Errors
/// The named file does not exist, is too large, or does not parse.
pub fn read(asked: Option<&str>) -> Result<(Option<PathBuf>, ConfigFile), ContextError> {
    let default = Path::new(".github/kitt.yml");
    let path = match asked {
        Some(path) => Path::new(path),
        None if default.exists() => default,
        None => return Ok((None, ConfigFile::default())),
    };
    let wrong = |source| ContextError::ReadFile {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(wrong)?.len();
    if size > MAX_BYTES {
        return Err(ContextError::FileTooLarge {
            path: path.to_owned(),
            size,
            limit: MAX_BYTES,
        });
    }
    let text = std::fs::read_to_string(path).map_err(wrong)?;
    Ok((Some(path.to_owned()), parse(path, &text)?))
}

/// Parses the text of a config file.
///
/// # Errors
/// A syntax error, an unknown key or a value of the wrong kind, with line and column.
pub(super) fn parse(path: &Path, text: &str) -> Result<ConfigFile, ContextError> {
    if text.trim().is_empty() {
        return Ok(ConfigFile::default());
    }
    let file: ConfigFile = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error
            .location()
            .map_or((0, 0), |place| (place.line(), place.column()));
        let detail = first_line(&error.to_string());
        ContextError::ConfigFile {
            path: path.to_owned(),
            line,
            column,
            detail,
        }
    })?;
    let wrong = file.limits.iter().find_map(LimitRule::wrong);
    if let Some(detail) = wrong.or_else(|| file.policy.wrong()) {
        return Err(ContextError::Policy {
            place: path.display().to_string(),
            detail,
        });
    }
    Ok(file)
}

fn first_line(text: &str) -> String {
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("kitt.yml"), text).unwrap_err().to_string()
    }

    #[test]
    fn every_setting_but_the_personal_ones_is_a_key() {
        // These name a place, a person or one change: they come from the command line or the environment.
        let without = [
            "accept-reason",
            "allow-forks",
            "api-key",
            "changed-files",
            "config",
            "docker-host",
            "fail-on-regression",
            "github-token",
            "hf-token",
            "lock-dir",
            "repo",
            "results-artifact",
            "results-workflow",
            "pr",
            "section",
        ];
        let keys = serde_json::to_value(ConfigFile::default()).unwrap();
        for setting in crate::cli::SETTINGS {
            let has = keys.get(setting.name).is_some();
            assert_eq!(has, !without.contains(&setting.name), "{}", setting.name);
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_place_and_the_known_ones() {
        let message = error("engine: sim\nmodle: x\n");
        assert!(message.contains("kitt.yml:2:"), "{message}");
        assert!(
            message.contains("modle") && message.contains("model"),
            "{message}"
        );
    }

    #[test]
    fn values_have_their_kind() {
        assert!(error("runs: many\n").contains("kitt.yml:1:"));
        assert!(error("limits:\n  - metric: ttft_ms.p50\n").contains("neither max nor min"));
        assert!(parse(Path::new("x"), "").is_ok());
    }

    #[test]
    fn numbers_and_texts_are_both_read_where_both_make_sense() {
        let text = "input-tokens: 128\noutput-tokens: 100..200\nduration: 1.5\nwarmup-requests: auto\nrequest-rate: 2\nsweep: concurrency:1,2\n";
        let file = parse(Path::new("x"), text).unwrap();
        let value = |name: &str| file.value(name).unwrap();
        assert_eq!(value("input-tokens"), "128");
        assert_eq!(value("output-tokens"), "100..200");
        assert_eq!(value("duration"), "1.5");
        assert_eq!(value("warmup-requests"), "auto");
        assert_eq!(value("request-rate").parse(), Ok(2.0));
        assert_eq!(value("sweep"), "concurrency:1,2");
        assert!(error("engine: sim\nduration: [1]\n").contains("kitt.yml:2:"));
    }

    #[test]
    fn lists_become_the_text_form_of_their_setting() {
        let text = "engine-args: ['--a=b c', -t]\ntests: [throughput, latency]\ngate: true\nrun-cv: 0.02\n";
        let file = parse(Path::new("x"), text).unwrap();
        assert_eq!(file.value("tests").unwrap(), "throughput,latency");
        let args = shlex::split(&file.value("engine-args").unwrap()).unwrap();
        assert_eq!(args, ["--a=b c", "-t"]);
        assert_eq!(file.value("gate").unwrap(), "true");
        assert_eq!(file.value("run-cv").unwrap(), "0.02");
        assert_eq!(file.value("model"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_config_or_an_error(text in "\\PC{0,200}") {
            drop(parse(Path::new("x"), &text));
        }

        #[test]
        fn any_structure_is_a_config_or_an_error(text in "[a-z\\[\\]{}:,\\-&*!|> \\n\"']{0,120}") {
            drop(parse(Path::new("x"), &text));
        }
    }
}
