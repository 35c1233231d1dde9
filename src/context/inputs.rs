//! Everything the program was asked to do, as domain types.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, time::Duration};

use url::Url;

use super::{
    Against, ContextError, ContextOutcome, EnvSnapshot, Foreign, GatePolicy, Layers, Length,
    LoadSettings, Trigger, against,
    changed::{self, Changed},
    file::{self, ConfigFile},
    foreign, load,
    machine::{self, Machine},
    policy, text,
};
use crate::{
    cli::{SETTINGS, Typed},
    engine::Mode,
    ids::{ImageRef, ModelRef, PrNumber, RepoSlug, ReportKey, Section, is_hidden},
    secret::Secret,
    units::Bytes,
};

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What to measure.
    pub measure: Measure,
    /// Where results go, or are.
    pub results_dir: PathBuf,
    /// Where the baseline is.
    pub baseline_dir: Option<PathBuf>,
    /// What to compare with.
    pub against: Against,
    /// What may get worse.
    pub policy: GatePolicy,
    /// The contexts of the policy, and which hold here.
    pub contexts: Vec<ContextOutcome>,
    /// Every value of the policy: name, value, where it came from.
    pub policy_rows: Vec<(String, String, String)>,
    /// The folder that files of the policy are relative to.
    pub workspace: PathBuf,
    /// Whom to tell.
    pub publish: Publish,
    /// Where and why this runs.
    pub trigger: Trigger,
    /// What may run that comes from elsewhere.
    pub allow_forks: AllowForks,
    /// Whether the policy asks for the changed paths and they could not be told from here.
    pub paths_unknown: bool,
    /// What another run measured.
    pub foreign: Foreign,
    /// Every setting with its source.
    pub layers: Layers,
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Engine name as typed.
    pub engine: Option<String>,
    /// Model.
    pub model: Option<ModelRef>,
    /// Suite name as typed.
    pub suite: String,
    /// Tests instead of the suite's.
    pub tests: Option<Vec<String>>,
    /// Container or host.
    pub mode: Option<Mode>,
    /// Image.
    pub image: Option<ImageRef>,
    /// Running server.
    pub endpoint: Option<Url>,
    /// Revision of a hub model.
    pub model_revision: Option<String>,
    /// No network for the engine.
    pub offline: bool,
    /// Where models and compiled kernels are kept.
    pub cache_dir: Option<PathBuf>,
    /// Token for gated models.
    pub hf_token: Option<Secret>,
    /// Command of a native engine.
    pub engine_command: Vec<String>,
    /// Arguments for the engine.
    pub engine_args: Vec<String>,
    /// Environment of the engine's container.
    pub env: BTreeMap<String, String>,
    /// Fresh servers.
    pub runs: NonZeroU32,
    /// Seed.
    pub seed: u64,
    /// Requests per scenario.
    pub requests: Option<NonZeroU32>,
    /// Prompt length.
    pub input_tokens: Option<Length>,
    /// Answer length.
    pub output_tokens: Option<Length>,
    /// Evaluated items.
    pub items: Option<PathBuf>,
    /// The load.
    pub load: LoadSettings,
    /// No warm-up.
    pub skip_warmup: bool,
    /// May pull.
    pub auto_pull: bool,
    /// GPUs for the container.
    pub gpus: Gpus,
    /// Memory limit.
    pub memory: Option<Bytes>,
    /// Processors.
    pub cpuset: Option<String>,
    /// Size of /dev/shm.
    pub shm: Option<Bytes>,
    /// Until the engine answers.
    pub startup_timeout: Option<Duration>,
    /// Until a request counts as timed out.
    pub request_timeout: Duration,
    /// What is particular to this machine.
    pub machine: Machine,
}

/// GPUs for the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpus {
    /// All that NVML lists.
    Auto,
    /// None, though there may be some.
    None,
    /// These UUIDs.
    Listed(Vec<String>),
    /// AMD's, by ROCm's numbers; empty for all.
    Amd(Vec<u32>),
}

/// Whom to tell.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone)]
pub struct Publish {
    /// Which of several reports on one pull request.
    pub key: ReportKey,
    /// Which part of the report's comment is this job's; `None`: it is the only one.
    pub section: Option<Section>,
    /// When to comment.
    pub comment: CommentWhen,
    /// Whether the comment is written or even looked at.
    pub post_comment: bool,
    /// Whether to write a check run.
    pub check_run: bool,
    /// Whether to comment on the commit of a push.
    pub commit_comment: bool,
    /// Whether a green run of the base branch offers its results as the new baseline.
    pub store_baseline: bool,
    /// Token.
    pub token: Option<Secret>,
    /// Repository.
    pub repo: Option<RepoSlug>,
    /// Pull request.
    pub pr: Option<PrNumber>,
    /// Base URL of GitHub's API.
    pub api_url: String,
    /// Files of this step.
    pub files: StepFiles,
}

/// When a comment is written. One that stands is brought up to date in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CommentWhen {
    /// For every verdict.
    #[default]
    Always,
    /// When something is not unchanged.
    OnChange,
    /// When the gate closed or something regressed.
    OnRegression,
    /// Not at all.
    Never,
}

/// Which pull requests of other repositories may run here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AllowForks {
    /// None.
    #[default]
    No,
    /// All.
    Yes,
    /// Those of the repositories with these ids.
    Ids(Vec<u64>),
}

/// What GitHub's API answered about the run, where event and checkout do not say it.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// The pull request, in the API's shape, which is that of an event.
    pub pull: Option<serde_json::Value>,
    /// The paths that change.
    pub changed: Option<Changed>,
}

/// What the runner gives one step to speak through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepFiles {
    /// `GITHUB_OUTPUT`.
    pub output: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
    /// Whether workflow commands on standard output are understood (`GITHUB_ACTIONS`).
    pub commands: bool,
    /// A folder of the job that is emptied after it (`RUNNER_TEMP`).
    pub scratch: Option<PathBuf>,
}

impl StepFiles {
    /// Reads the environment. This cannot fail, so that even wrong settings can be reported.
    pub fn read(env: &EnvSnapshot) -> Self {
        Self {
            output: env.get("GITHUB_OUTPUT").map(PathBuf::from),
            summary: env.get("GITHUB_STEP_SUMMARY").map(PathBuf::from),
            commands: env.get("GITHUB_ACTIONS") == Some("true"),
            scratch: env.get("RUNNER_TEMP").map(PathBuf::from),
        }
    }
}

/// Merges command line, environment and config file.
///
/// # Errors
/// A value that does not parse, a config file that cannot be used, settings that exclude each
/// other.
pub fn resolve(typed: &Typed, env: &EnvSnapshot) -> Result<Inputs, ContextError> {
    resolve_with(typed, env, &Learned::default())
}

/// As [`resolve`], with what the API knows beside.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(
    typed: &Typed,
    env: &EnvSnapshot,
    learned: &Learned,
) -> Result<Inputs, ContextError> {
    let trigger = Trigger::read(env, learned.pull.as_ref());
    resolve_as(typed, env, trigger, learned)
}

/// As [`resolve_with`], for another reason to run than the environment tells.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_as(
    typed: &Typed,
    env: &EnvSnapshot,
    trigger: Trigger,
    learned: &Learned,
) -> Result<Inputs, ContextError> {
    // The file's own path cannot come from the file.
    let asked = Layers::new(typed, env, None, &ConfigFile::default());
    let (path, file) = file::read(asked.text("config"))?;
    let layers = Layers::new(typed, env, path.as_ref(), &file);
    let same = |name| {
        layers
            .text(name)
            .map(std::path::absolute)
            .and_then(Result::ok)
    };
    if same("baseline-dir").is_some() && same("baseline-dir") == same("results-dir") {
        let why = "a run would overwrite its own baseline";
        return Err(ContextError::Conflict {
            left: "baseline-dir",
            right: "results-dir",
            why,
        });
    }
    let workspace = PathBuf::from(env.get("GITHUB_WORKSPACE").unwrap_or("."));
    let place = path.as_ref().map(|path| path.display().to_string());
    let mut paths_unknown = false;
    let resolved = policy::resolve(
        &layers,
        &file,
        &place.unwrap_or_default(),
        env,
        &trigger,
        || {
            let learned = learned.changed.as_ref();
            let changed = changed::changed(&layers, &trigger, &workspace, learned)?;
            paths_unknown = matches!(changed, Changed::Unknown(_));
            Ok(changed)
        },
    )?;
    Ok(Inputs {
        measure: measure(&layers, &file, env)?,
        results_dir: layers.text("results-dir").unwrap_or("kitt-results").into(),
        baseline_dir: layers.text("baseline-dir").map(PathBuf::from),
        against: against::resolve(&layers)?,
        policy: resolved.policy,
        contexts: resolved.contexts,
        policy_rows: resolved.rows,
        publish: publish(&layers, env, &trigger)?,
        allow_forks: layers
            .parse_with("allow-forks", allow_forks)?
            .unwrap_or_default(),
        paths_unknown,
        foreign: foreign::resolve(&layers)?,
        workspace,
        trigger,
        layers,
    })
}

fn measure(layers: &Layers, file: &ConfigFile, env: &EnvSnapshot) -> Result<Measure, ContextError> {
    let endpoint = layers.parse::<Url>("endpoint")?;
    let image = layers.parse::<ImageRef>("image")?;
    if endpoint.is_some() && image.is_some() {
        let why = "an endpoint runs already, so no image is started";
        return Err(ContextError::Conflict {
            left: "endpoint",
            right: "image",
            why,
        });
    }
    Ok(Measure {
        engine: layers.text("engine").map(str::to_owned),
        model: layers.parse("model")?,
        suite: layers.text("suite").unwrap_or("quick").to_owned(),
        tests: layers.text("tests").map(text::list),
        mode: layers.parse_with("mode", mode)?,
        image,
        endpoint,
        model_revision: layers.parse_with("model-revision", revision)?,
        offline: layers.switch("offline")?,
        cache_dir: layers.parse_with("cache-dir", text::folder)?,
        hf_token: layers
            .text("hf-token")
            .or_else(|| env.get("HF_TOKEN"))
            .and_then(Secret::new),
        engine_command: layers
            .parse_with("engine-command", text::words)?
            .unwrap_or_default(),
        engine_args: layers
            .parse_with("engine-args", text::words)?
            .unwrap_or_default(),
        env: file.env.clone(),
        runs: layers
            .parse_with("runs", text::positive)?
            .unwrap_or(NonZeroU32::MIN),
        seed: layers.parse("seed")?.unwrap_or(42),
        requests: layers.parse_with("requests", text::positive)?,
        input_tokens: layers.parse("input-tokens")?,
        output_tokens: layers.parse("output-tokens")?,
        items: layers.text("items").map(PathBuf::from),
        load: load::resolve(layers)?,
        skip_warmup: layers.switch("skip-warmup")?,
        auto_pull: layers.switch("auto-pull")?,
        gpus: layers.parse_with("gpus", gpus)?.unwrap_or(Gpus::Auto),
        memory: layers.parse("memory")?.map(Bytes::from_mib),
        cpuset: layers.parse_with("cpuset", cpuset)?,
        shm: layers.parse("shm-size")?.map(Bytes::from_mib),
        startup_timeout: layers.parse_with("startup-timeout", text::seconds)?,
        request_timeout: layers
            .parse_with("request-timeout", text::seconds)?
            .unwrap_or(Duration::from_mins(2)),
        machine: machine::resolve(layers, env)?,
    })
}

fn publish(layers: &Layers, env: &EnvSnapshot, trigger: &Trigger) -> Result<Publish, ContextError> {
    let key = layers.parse::<ReportKey>("key")?;
    let token = layers
        .text("github-token")
        .or_else(|| env.get("GITHUB_TOKEN"));
    Ok(Publish {
        key: match key {
            Some(key) => key,
            None => {
                return Err(ContextError::Missing {
                    name: "key",
                    remedy: "leave it away".to_owned(),
                });
            }
        },
        section: section(layers, env)?,
        comment: layers.parse_with("comment", comment)?.unwrap_or_default(),
        post_comment: layers.switch("post-comment")?,
        check_run: layers.switch("check-run")?,
        commit_comment: layers.switch("commit-comment")?,
        store_baseline: layers.switch("store-baseline")?,
        token: token.and_then(Secret::new),
        repo: layers.parse("repo")?.or_else(|| trigger.repo.clone()),
        pr: layers.parse("pr")?.or(trigger.pr),
        api_url: env
            .get("GITHUB_API_URL")
            .unwrap_or("https://api.github.com")
            .to_owned(),
        files: StepFiles::read(env),
    })
}

/// The section as given, else the matrix values of the job where no key tells reports apart.
fn section(layers: &Layers, env: &EnvSnapshot) -> Result<Option<Section>, ContextError> {
    let given = layers.parse("section")?;
    let keyed = layers.text("key").is_some_and(|key| key != "default");
    if given.is_some() || keyed {
        return Ok(given);
    }
    Ok(env.get("KITT_MATRIX").and_then(matrix_section))
}

/// The values of a matrix leg in the order of their names, joined by dots; `None` outside of a
/// matrix (`null`) and for what is no object.
fn matrix_section(text: &str) -> Option<Section> {
    let legs: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let word = |value: &serde_json::Value| {
        let text = value.as_str().map(str::to_owned);
        text.unwrap_or_else(|| value.to_string())
    };
    let words: Vec<String> = legs.values().map(word).collect();
    let hidden = |c: char| if is_hidden(c) { ' ' } else { c };
    let text: String = words.join(" · ").chars().map(hidden).take(120).collect();
    text.trim().parse().ok()
}

fn comment(text: &str) -> Result<CommentWhen, String> {
    match text.trim() {
        "always" => Ok(CommentWhen::Always),
        "on-change" => Ok(CommentWhen::OnChange),
        "on-regression" => Ok(CommentWhen::OnRegression),
        "never" => Ok(CommentWhen::Never),
        _ => Err("write always, on-change, on-regression or never".to_owned()),
    }
}

fn allow_forks(text: &str) -> Result<AllowForks, String> {
    match text.trim() {
        "true" => Ok(AllowForks::Yes),
        "false" => Ok(AllowForks::No),
        list => text::list(list)
            .iter()
            .map(|id| id.parse().ok())
            .collect::<Option<_>>()
            .map(AllowForks::Ids)
            .ok_or_else(|| "write false, true, or ids of repositories as 1296269,8514".to_owned()),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text.trim() {
        "docker" => Ok(Mode::Docker),
        "native" => Ok(Mode::Native),
        _ => Err("write docker or native".to_owned()),
    }
}

fn gpus(text: &str) -> Result<Gpus, String> {
    match text.trim() {
        "auto" | "all" => Ok(Gpus::Auto),
        "none" => Ok(Gpus::None),
        "amd" => Ok(Gpus::Amd(Vec::new())),
        list => match list.strip_prefix("amd:") {
            Some(numbers) => text::list(numbers)
                .iter()
                .map(|number| number.parse().ok())
                .collect::<Option<_>>()
                .map(Gpus::Amd)
                .ok_or_else(|| "write AMD GPUs by number, as amd:0,1".to_owned()),
            None => Ok(Gpus::Listed(text::list(list))),
        },
    }
}

/// Checks a model's revision: it becomes an argument of the engine and part of a path.
///
/// # Errors
/// What to write instead.
pub fn revision(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let ok = !text.is_empty()
        && text.len() <= 200
        && !text.starts_with(['-', '/'])
        && !text.contains("..")
        && text.bytes().all(allowed);
    if ok {
        Ok(text.to_owned())
    } else {
        Err("write a branch, tag or commit".to_owned())
    }
}

fn cpuset(text: &str) -> Result<String, String> {
    let ok = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || b == b',' || b == b'-');
    if ok {
        Ok(text.to_owned())
    } else {
        Err("write processors as 0-3,6".to_owned())
    }
}

/// Variables that look like inputs or operators' settings and are none: a typing error would
/// otherwise be ignored in silence. Each comes with the closest known name.
pub(super) fn unknown_variables(env: &EnvSnapshot) -> Vec<(String, Option<String>)> {
    let known: Vec<String> = SETTINGS
        .iter()
        .map(crate::cli::Setting::input_variable)
        .collect();
    let unknown = env
        .starting_with("KITT_INPUT_")
        .filter(|(name, _)| !known.iter().any(|k| k == name));
    let close =
        |name: &str| crate::ids::closest(name, known.iter().map(String::as_str)).map(str::to_owned);
    unknown
        .map(|(name, _)| (name.to_owned(), close(name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(pairs: &[(&str, &str)]) -> Result<Inputs, ContextError> {
        let env = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        resolve(&Typed::new(), &env)
    }

    #[test]
    fn inputs_become_domain_types() {
        let inputs = inputs(&[
            ("KITT_INPUT_ENGINE_ARGS", "-t 1 --name 'a b'"),
            ("KITT_INPUT_FAIL_ON_REGRESSION", "true"),
            ("KITT_INPUT_STRICT", "true"),
            ("KITT_INPUT_GPUS", "GPU-1, GPU-2"),
            ("KITT_INPUT_TESTS", "throughput,latency"),
        ])
        .unwrap();
        assert_eq!(inputs.measure.engine_args, ["-t", "1", "--name", "a b"]);
        assert_eq!(
            (inputs.policy.gate, inputs.policy.on),
            (true, crate::context::On::STRICT)
        );
        assert_eq!(
            inputs.measure.gpus,
            Gpus::Listed(vec!["GPU-1".into(), "GPU-2".into()])
        );
        assert_eq!(inputs.measure.tests.unwrap().len(), 2);
        assert_eq!(inputs.publish.key.as_str(), "default");
    }

    #[test]
    fn wrong_values_name_their_setting() {
        for (name, value, says) in [
            ("KITT_INPUT_RUNS", "0", "runs"),
            ("KITT_INPUT_IMAGE", "../x", "image"),
            ("KITT_INPUT_MODEL", "--help", "model"),
            ("KITT_INPUT_RUN_CV", "NaN", "run-cv"),
            ("KITT_INPUT_ENGINE_ARGS", "'open", "engine-args"),
            ("KITT_INPUT_CPUSET", "$(id)", "cpuset"),
            ("KITT_INPUT_KEY", "a b", "key"),
            ("KITT_INPUT_PR", "seven", "pr"),
        ] {
            let message = inputs(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(says), "{name}: {message}");
        }
    }

    #[test]
    fn a_run_never_overwrites_its_own_baseline() {
        let error = inputs(&[("KITT_INPUT_BASELINE_DIR", "./kitt-results/")]).unwrap_err();
        assert!(error.to_string().contains("overwrite"), "{error}");
    }

    #[test]
    fn dockers_own_variables_count_and_tls_is_never_ignored() {
        let host = |pairs: &[(&str, &str)]| inputs(pairs).unwrap().measure.machine.docker.host;
        assert_eq!(host(&[("DOCKER_HOST", "unix:///a")]).unwrap(), "unix:///a");
        let tls = [("DOCKER_HOST", "tcp://h:2376"), ("DOCKER_TLS_VERIFY", "1")];
        assert_eq!(host(&tls).unwrap(), "https://h:2376");
        let both = [
            ("DOCKER_HOST", "unix:///a"),
            ("KITT_INPUT_DOCKER_HOST", "unix:///b"),
        ];
        assert_eq!(host(&both).unwrap(), "unix:///b");
    }

    #[test]
    fn a_misspelt_variable_is_noticed() {
        let env: EnvSnapshot = [("KITT_INPUT_ENGIN".to_owned(), "x".to_owned())]
            .into_iter()
            .collect();
        let found = unknown_variables(&env);
        assert_eq!(found[0].1.as_deref(), Some("KITT_INPUT_ENGINE"));
    }
}
