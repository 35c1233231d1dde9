//! What kitt knows about each inference engine, as values. Pure: nothing is started here.
//!
//! In: a [`LaunchRequest`]. Out: a [`LaunchSpec`] that `serve` carries out. To add an engine:
//! one file with its descriptor, one `mod` line, one entry in [`ENGINES`].

mod about;
mod argv;
mod diagnose;
mod llama_cpp;
mod lmdeploy;
mod model;
mod ollama;
mod openai;
mod recipe;
mod sglang;
mod sim;
mod source;
mod tabbyapi;
mod tensorrt_llm;
mod tgi;
mod vllm;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    ids::{self, ImageRef, ModelRef},
    secret::Secret,
    units::Bytes,
};

pub use about::{About, Hub, Images, moves};
pub use diagnose::{Diagnosis, FailureClass, diagnose, is_fatal};
pub use model::{
    Config, Gguf, HeaderError, LENGTH_BYTES, MOST_HEADER, ModelFacts, ModelFormat, header_length,
    main_dtype,
};
pub use sim::{SimSpec, noise_seed, set_noise_seed, set_seed_argument};

/// Every engine kitt can measure, in the order help and README list them.
pub static ENGINES: &[&dyn Engine] = &[
    &vllm::Vllm,
    &sglang::SgLang,
    &llama_cpp::LlamaCpp,
    &ollama::Ollama,
    &tgi::Tgi,
    &tensorrt_llm::TensorRtLlm,
    &tabbyapi::TabbyApi,
    &lmdeploy::LmDeploy,
    &openai::OpenAi,
    &sim::Sim,
];

/// An inference engine, described.
pub trait Engine: Sync {
    /// What kitt says about it.
    fn about(&self) -> &'static About;

    /// The name typed after `-e`.
    fn name(&self) -> &'static str {
        self.about().name
    }

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
    /// On the host: in this process (sim), as a process of its own, or already running (openai).
    Native,
}

/// Which GPUs an engine gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum GpuSet {
    /// None: the engine computes on the processors.
    #[default]
    None,
    /// NVIDIA's, by UUID (`GPU-…` or `MIG-…`): the driver and CUDA number the same GPUs
    /// differently.
    Nvidia(Vec<String>),
    /// AMD's, by the numbers ROCm gives them; empty for all.
    Amd(Vec<u32>),
}

impl GpuSet {
    /// Whether the engine gets no GPU.
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// How many GPUs there are; `None` for all of an unknown number.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::None => Some(0),
            Self::Nvidia(uuids) => Some(uuids.len()),
            Self::Amd(numbers) => (!numbers.is_empty()).then_some(numbers.len()),
        }
    }
}

/// What the user asked to be started.
#[derive(Debug, Clone)]
pub struct LaunchRequest {
    /// The model to serve.
    pub model: ModelRef,
    /// What the model's files say of themselves; `None` for a hub id, whose files are not here.
    pub facts: Option<ModelFacts>,
    /// Branch, tag or commit of a hub model.
    pub revision: Option<String>,
    /// The engine may not use the network: models and caches are here already.
    pub offline: bool,
    /// Folder on the host where downloaded models and compiled kernels are kept between runs:
    /// `huggingface` (its `HF_HOME`), `llama.cpp`, `ollama`, and `vllm/<image>` below it.
    pub cache: Option<PathBuf>,
    /// Token for gated models, given to the engine by environment only.
    pub hf_token: Option<Secret>,
    /// Program and first arguments instead of the engine's usual command (native mode).
    pub command: Vec<String>,
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
    /// GPUs for the engine.
    pub gpus: GpuSet,
    /// Memory limit of the container.
    pub memory: Option<Bytes>,
    /// Processors of the container, in the kernel's list form such as `0-3`.
    pub cpuset: Option<String>,
    /// Size of the container's /dev/shm instead of the engine's usual one.
    pub shm: Option<Bytes>,
    /// Parameters of the simulated engine.
    pub sim: SimSpec,
}

impl LaunchRequest {
    /// A request for one model and nothing else: one request in flight, no GPU, no limits.
    pub fn new(model: ModelRef) -> Self {
        Self {
            model,
            facts: None,
            revision: None,
            offline: false,
            cache: None,
            hf_token: None,
            command: Vec::new(),
            mode: None,
            image: None,
            endpoint: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            seed: 0,
            max_concurrency: 1,
            max_tokens_per_request: 1,
            startup_timeout: None,
            gpus: GpuSet::None,
            memory: None,
            cpuset: None,
            shm: None,
            sim: SimSpec::default(),
        }
    }
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
    /// A process on this host that kitt starts and ends.
    Process(Box<ProcessSpec>),
    /// A server that runs already; kitt only speaks to it.
    Endpoint(Url),
}

impl Target {
    /// The GPUs it gets.
    pub const fn gpus(&self) -> &GpuSet {
        match self {
            Self::Container(container) => &container.gpus,
            Self::Process(process) => &process.gpus,
            Self::InProcess(_) | Self::Endpoint(_) => &GpuSet::None,
        }
    }
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
    /// Environment that must not be seen in a log or a report.
    pub secrets: BTreeMap<String, Secret>,
    /// GPUs.
    pub gpus: GpuSet,
    /// Memory limit.
    pub memory: Option<Bytes>,
    /// Processors, in the kernel's list form.
    pub cpuset: Option<String>,
    /// Size of /dev/shm; `None` is Docker's 64 MB.
    pub shm: Option<Bytes>,
    /// Limits of the container's processes, where the daemon allows them.
    pub ulimits: Vec<Ulimit>,
    /// Capabilities beyond none at all, such as `SYS_NICE`.
    pub capabilities: Vec<String>,
    /// Whether system calls are not filtered: engines for CPUs that place memory themselves.
    pub unfiltered: bool,
    /// Whether the container gets no way out of this host.
    pub offline: bool,
}

impl ContainerSpec {
    /// A container of that image whose server listens on that port, and nothing else.
    pub fn new(image: ImageSource, port: u16) -> Self {
        Self {
            image,
            entrypoint: Vec::new(),
            args: Vec::new(),
            env: BTreeMap::new(),
            port,
            mounts: Vec::new(),
            secrets: BTreeMap::new(),
            gpus: GpuSet::None,
            memory: None,
            cpuset: None,
            shm: None,
            ulimits: Vec::new(),
            capabilities: Vec::new(),
            unfiltered: false,
            offline: false,
        }
    }
}

/// A limit of a process, as `docker run --ulimit` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// `memlock`, `stack`, `nofile`.
    pub name: &'static str,
    /// Soft and hard limit; -1 is none.
    pub value: i64,
}

/// Stands for the port that `serve` chooses, in arguments and environment of a [`ProcessSpec`].
pub const PORT: &str = "{port}";

/// A process on this host, described. `serve` chooses the port, makes the process the leader of
/// a group of its own and ends that whole group.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessSpec {
    /// The program: an absolute path, or a name looked up in `PATH`.
    pub program: String,
    /// Arguments; [`PORT`] stands for the port.
    pub args: Vec<String>,
    /// Environment beside the few variables that are passed on (`PATH`, `HOME`, locale);
    /// [`PORT`] stands for the port.
    pub env: BTreeMap<String, String>,
    /// Environment that must not be seen in a log or a report.
    pub secrets: BTreeMap<String, Secret>,
    /// GPUs it may see.
    pub gpus: GpuSet,
    /// Processors, in the kernel's list form.
    pub cpuset: Option<String>,
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
    /// Absolute path on the host. It must exist; the folders of writable ones, which are caches,
    /// are made before the engine is started, so that they belong to the runner's user.
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
    /// What has to be asked for before the model is loaded at all.
    pub load_model: LoadModel,
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

impl ApiTraits {
    /// A server that speaks OpenAI's interface and nothing beyond it, under that model name.
    pub fn openai(served_model: String) -> Self {
        Self {
            health_path: "/health",
            load_model: LoadModel::AtStart,
            request_extras: serde_json::Map::new(),
            exact_length: false,
            metrics_path: None,
            served_model,
            check_model: true,
        }
    }
}

/// When an engine loads its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadModel {
    /// Before it calls itself healthy.
    AtStart,
    /// When it is first asked for (Ollama): `POST /api/generate` with the model's name returns
    /// once it is loaded, and `/api/ps` lists it then.
    OllamaGenerate,
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

/// The engine of that name or alias.
///
/// # Errors
/// [`LaunchError::UnknownEngine`], with the known names and the closest.
pub fn find(name: &str) -> Result<&'static dyn Engine, LaunchError> {
    let known = || ENGINES.iter().map(|engine| engine.name());
    ENGINES
        .iter()
        .copied()
        .find(|engine| {
            let about = engine.about();
            about.name == name || about.aliases.contains(&name)
        })
        .ok_or_else(|| LaunchError::UnknownEngine {
            name: name.chars().take(80).collect(),
            known: known().collect::<Vec<_>>().join(", "),
            closest: ids::closest(name, known()).map(str::to_owned),
        })
}
