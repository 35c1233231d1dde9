//! Starting and stopping the engine: Docker, the simulated engine in this process, or nothing at
//! all for an endpoint that runs already.
//!
//! [`with_engine`] owns the engine from start to stop: it is stopped and removed on success,
//! error, timeout and cancellation, and the body's value comes back unchanged. Nothing is
//! touched that does not carry our labels.

mod address;
mod amd;
mod attempt;
mod budget;
mod calls;
mod container;
mod creation;
mod credential_helper;
mod credentials;
mod cuda;
mod custody;
mod docker;
mod docker_config;
mod ending;
mod engine_container;
mod error;
mod facts;
mod guard;
mod heard;
mod image;
mod libraries;
mod lock;
mod logs;
mod mounts;
mod native;
mod network;
mod ollama;
mod owner;
mod place;
mod processes;
mod pull;
mod pull_failure;
mod pull_progress;
mod ready;
mod reaper;
mod recipe;
mod records;
mod redact;
mod refusal;
mod rootfs;
mod scope;
mod sentinel;
mod sink;
mod spawn;
mod startup;
mod streams;
mod survey;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use crate::secret::Secret;

pub use crate::context::DockerPlace;

pub use calls::{ApiVersion, Unusable};
pub use cuda::{DriverFacts, Fit, fits_driver};
pub use docker::{Daemon, connect};
pub use error::{LastWords, ServeError};
pub use facts::DaemonFacts;
pub use guard::this_program;
pub use image::{Image, fetch, image_of};
pub use lock::{Reservation, reserve};
pub use place::Rule;
pub use pull::PullLimits;
pub use pull_failure::PullFailure;
pub use reaper::{Cleanup, Sweep, cleanup};
pub use records::GuardReport;
pub use refusal::Fault;
pub use scope::with_engine;
pub use sentinel::guard;
pub use survey::{Survey, survey};

/// Label on everything kitt creates; its value is `1`.
pub const LABEL: &str = "dev.kitt-action.managed";

/// What `serve` needs to know beside the launch specification.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where the Docker daemon may be found.
    pub docker: DockerPlace,
    /// This program, to run as the guard that cleans up when this process is killed; `None` for
    /// no guard.
    pub guard: Option<PathBuf>,
    /// Folder of the GPU locks; `None` takes no locks.
    pub lock_dir: Option<PathBuf>,
    /// How long to wait for GPUs that somebody else uses.
    pub wait_for_gpu: Duration,
    /// GPUs that were locked before; `None` locks them for each engine.
    pub reservation: Option<Arc<Reservation>>,
    /// Environment of engines that run on this host.
    pub passed_on: BTreeMap<String, String>,
    /// Whether a missing image may be pulled (KITT's `--auto-pull`).
    pub auto_pull: bool,
    /// Limits of a pull.
    pub pull: PullLimits,
    /// Called with every secret that is found on the way, such as a registry's password: it must
    /// not reach a log.
    pub mask: Option<fn(&Secret)>,
    /// The driver of this machine's GPUs, where it is known: an image that is too new for it is
    /// refused.
    pub driver: Option<DriverFacts>,
    /// Unique per invocation; goes into the labels and the container's name.
    pub run_id: String,
    /// Where the engine's log goes, redacted.
    pub log_file: Option<PathBuf>,
    /// How long a stopping engine is waited for before it is killed.
    pub stop_timeout: Duration,
    /// Texts that must not reach the log.
    pub secrets: Vec<Secret>,
    /// Sent to a server that somebody else runs, as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
}

impl ServeOptions {
    /// Options of a run with that id: images are not pulled, no guard, no locks, no log.
    pub fn new(run_id: impl Into<String>) -> Self {
        Self {
            docker: DockerPlace::default(),
            guard: None,
            lock_dir: None,
            wait_for_gpu: Duration::ZERO,
            reservation: None,
            passed_on: BTreeMap::new(),
            auto_pull: false,
            pull: PullLimits::default(),
            mask: None,
            driver: None,
            run_id: run_id.into(),
            log_file: None,
            stop_timeout: Duration::from_secs(5),
            secrets: Vec::new(),
            bearer: None,
        }
    }
}

/// An engine that answers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Base URL, without a path.
    pub url: Url,
    /// What is known about what runs there.
    pub facts: EngineFacts,
    /// How long it took from start to the first good answer.
    pub startup: Duration,
    /// What of this host it is.
    pub runs: Runs,
}

/// What of this host an engine is: its processes are told from those of others by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// Part of this process.
    Here,
    /// A container on a daemon of this host, by its full id.
    Container(String),
    /// Processes of this host, by the number of their group.
    Group(u32),
    /// Not known: somebody else runs it, perhaps on another machine.
    Elsewhere,
}

/// What is known about a running engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Image reference as asked for.
    pub image: Option<String>,
    /// `sha256:…` of the image.
    pub image_digest: Option<String>,
    /// Version the engine reports.
    pub version: Option<String>,
    /// Arguments it was started with.
    pub args: Vec<String>,
    /// The daemon its container runs on.
    pub daemon: Option<DaemonFacts>,
}
