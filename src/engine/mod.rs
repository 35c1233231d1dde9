//! What kitt knows about each inference engine, as values. Pure: nothing is started here.
//!
//! In: a [`LaunchRequest`]. Out: a [`LaunchSpec`] that `serve` carries out. To add an engine:
//! one file with its descriptor, one `mod` line, one entry in [`ENGINES`].

mod llama_cpp;
mod openai;
mod sim;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    ids::{self, ImageRef, ModelRef},
    units::Bytes,
};

pub use sim::SimSpec;

/// Every engine kitt can measure, in the order help and README list them.
pub static ENGINES: &[&dyn Engine] = &[&llama_cpp::LlamaCpp, &openai::OpenAi, &sim::Sim];

/// An inference engine, described.
pub trait Engine: Sync {
    /// The name typed after `-e`, KITT's where KITT has the engine.
    fn name(&self) -> &'static str;

    /// One line for `kitt engines list` and the README.
    fn summary(&self) -> &'static str;

    /// What to start and how to speak to it.
    ///
    /// # Errors
    /// The request asks for something this engine cannot do; the message says what to change.
    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError>;
}

/// Where an engine runs, KITT's `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In a container on the Docker daemon.
    Docker,
    /// On the host: in this process (sim), or already running (openai).
    Native,
}

/// What the user asked to be started.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The model to serve.
    pub model: ModelRef,
    /// Container or host; `None` lets the engine choose.
    pub mode: Option<Mode>,
    /// An image instead of the engine's own default.
    pub image: Option<ImageRef>,
    /// The base URL of a running server (`openai`).
    pub endpoint: Option<Url>,
    /// Extra arguments for the engine, after its own.
    pub args: Vec<String>,
    /// Environment of the engine's container; never inherited from the host.
    pub env: BTreeMap<String, String>,
    /// Seed for the engine's own randomness.
    pub seed: u64,
    /// How many requests the busiest scenario keeps in flight.
    pub max_concurrency: u32,
    /// The longest prompt plus answer of the plan, in tokens.
    pub max_tokens_per_request: u32,
    /// How long the engine may take until it answers; `None` lets the engine choose.
    pub startup_timeout: Option<Duration>,
    /// GPU UUIDs to hand to the container; empty for none.
    pub gpus: Vec<String>,
    /// Memory limit of the container.
    pub memory: Option<Bytes>,
    /// Processors of the container, in the kernel's list form such as `0-3`.
    pub cpuset: Option<String>,
    /// Parameters of the simulated engine.
    pub sim: SimSpec,
}

/// What `serve` starts.
#[derive(Debug, Clone, PartialEq)]
pub struct LaunchSpec {
    /// Where it runs.
    pub target: Target,
    /// How to speak to it.
    pub api: ApiTraits,
    /// How long it may take until it answers.
    pub startup_timeout: Duration,
}

/// Where an engine comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The simulated engine, inside this process.
    InProcess(SimSpec),
    /// A container that kitt starts and removes.
    Container(Box<ContainerSpec>),
    /// A server that runs already; kitt only speaks to it.
    Endpoint(Url),
}

/// A container, described. `serve` adds labels, a name, loopback publishing and limits.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Where the image comes from.
    pub image: ImageSource,
    /// Replaces the image's entry point; empty keeps it.
    pub entrypoint: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// The port the server listens on inside the container.
    pub port: u16,
    /// Host paths to mount.
    pub mounts: Vec<Mount>,
    /// GPU UUIDs; empty for none.
    pub gpus: Vec<String>,
    /// Memory limit.
    pub memory: Option<Bytes>,
    /// Processors, in the kernel's list form.
    pub cpuset: Option<String>,
    /// Size of /dev/shm.
    pub shm: Option<Bytes>,
}

/// Where a container's image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// A reference, present on the daemon or to be pulled.
    Reference(ImageRef),
    /// Made of the running binary and its shared libraries, without a registry.
    RunningBinary,
}

/// A host path seen inside the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path on the host; must exist.
    pub host: PathBuf,
    /// Absolute path in the container.
    pub container: String,
    /// Whether the container may write to it.
    pub writable: bool,
}

/// How an engine wants to be spoken to (`research/kitt-and-engines.md` §3.1, §3.3).
#[derive(Debug, Clone, PartialEq)]
pub struct ApiTraits {
    /// GET path that answers 200 once the model is loaded.
    pub health_path: &'static str,
    /// Keys added to every request body: exact length, caching and the like.
    pub request_extras: serde_json::Map<String, serde_json::Value>,
    /// Whether the engine can be told the exact output length. If not, throughput is compared
    /// only when the lengths turn out equal.
    pub exact_length: bool,
    /// GET path of Prometheus metrics, when the engine has one.
    pub metrics_path: Option<&'static str>,
    /// The name requests put into `model`.
    pub served_model: String,
    /// Whether `/v1/models` must list `served_model`.
    pub check_model: bool,
}

/// Why an engine cannot be launched as asked.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No engine has this name.
    #[error("unknown engine `{name}`; known engines: {known}{}", hint(.closest.as_deref()))]
    UnknownEngine {
        /// What was typed.
        name: String,
        /// All names, joined.
        known: String,
        /// The closest name.
        closest: Option<String>,
    },
    /// A required setting is missing.
    #[error("engine `{engine}` needs {needs}: {remedy}")]
    Missing {
        /// The engine.
        engine: &'static str,
        /// What is missing.
        needs: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The setting makes no sense for this engine.
    #[error("engine `{engine}` cannot {what}: {remedy}")]
    Unsupported {
        /// The engine.
        engine: &'static str,
        /// What it cannot do.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// An argument for the engine itself.
    #[error("engine `{engine}` does not take `{argument}`: {why}")]
    Argument {
        /// The engine.
        engine: &'static str,
        /// The argument.
        argument: String,
        /// What is wrong with it.
        why: String,
    },
    /// An image reference breaks the grammar.
    #[error(transparent)]
    Image(#[from] ids::NameError),
    /// The model's path cannot be used.
    #[error("model `{model}`: {why}")]
    Model {
        /// The model as typed.
        model: ModelRef,
        /// What is wrong with it and what to do.
        why: String,
    },
}

fn hint(closest: Option<&str>) -> String {
    closest
        .map(|name| format!("; did you mean `{name}`?"))
        .unwrap_or_default()
}

/// The engine of that name.
///
/// # Errors
/// [`LaunchError::UnknownEngine`], with the known names and the closest.
pub fn find(name: &str) -> Result<&'static dyn Engine, LaunchError> {
    let known = || ENGINES.iter().map(|engine| engine.name());
    ENGINES
        .iter()
        .copied()
        .find(|engine| engine.name() == name)
        .ok_or_else(|| LaunchError::UnknownEngine {
            name: name.chars().take(80).collect(),
            known: known().collect::<Vec<_>>().join(", "),
            closest: ids::closest(name, known()).map(str::to_owned),
        })
}
