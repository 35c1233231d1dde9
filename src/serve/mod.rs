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

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use crate::{
    engine::{ContainerSpec, Diagnosis, ImageSource},
    secret::Secret,
};

pub use crate::context::DockerPlace;

pub use calls::{ApiVersion, Unusable};
pub use cuda::{DriverFacts, Fit, fits_driver};
pub use docker::{Daemon, connect};
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

/// What an engine said last, and what that means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastWords {
    /// The end of its log, redacted, at most 2,000 characters.
    pub log: String,
    /// What the log says went wrong, where it is known.
    pub diagnosis: Option<Box<Diagnosis>>,
}

impl fmt::Display for LastWords {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(told) = &self.diagnosis {
            let Diagnosis {
                line,
                cause,
                remedy,
                ..
            } = told.as_ref();
            write!(out, "{cause} (`{line}`): {remedy}; ")?;
        }
        write!(out, "the last lines of its log: {}", self.log)
    }
}

/// An image on the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// What a container is created from.
    pub reference: String,
    /// `sha256:…` of the repository, or of the image itself when it came from no registry.
    pub digest: Option<String>,
}

/// Makes an image available on the daemon: it is there, it is pulled where the options allow it,
/// or it is made of the running binary.
///
/// # Errors
/// No daemon, an image that is not there and may not or cannot be pulled.
pub async fn make_image_available(
    options: &ServeOptions,
    source: &ImageSource,
) -> Result<ImageFacts, ServeError> {
    let daemon = connect(&options.docker).await?;
    // For no GPU yet: whether the driver suits it is asked when it is started.
    let spec = ContainerSpec::new(source.clone(), 0);
    let image = image::ensure(&daemon, &spec, options).await?;
    Ok(ImageFacts {
        reference: image.reference,
        digest: image.digest,
    })
}

/// Why an engine does not run. `app` maps the kinds to exit codes: host problems to 20, engine
/// problems to 22.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No Docker daemon can be used.
    #[error("Docker is not usable ({tried}): {remedy}")]
    NoDocker {
        /// The kind of reason, of the place nearest to working.
        why: Unusable,
        /// What was tried.
        tried: String,
        /// What to do.
        remedy: String,
    },
    /// A call to the daemon failed.
    #[error("Docker could not {action}")]
    Docker {
        /// What was attempted, such as `create the container`.
        action: &'static str,
        /// What the client said.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// A call to the daemon took too long.
    #[error("Docker did not {action} within {limit:?}")]
    DockerTimeout {
        /// What was attempted.
        action: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The image is not there and may not be pulled.
    #[error("image {image} is not on this host: pull it first or set auto-pull")]
    ImageMissing {
        /// The reference.
        image: String,
    },
    /// The image could not be pulled or made.
    #[error("image {image} could not be made available: {detail}")]
    Image {
        /// The reference.
        image: String,
        /// Why.
        detail: String,
    },
    /// The image could not be pulled.
    #[error("image {image} could not be pulled from {registry}{}: {failure} ({words}): {}", tries(*attempts), failure.remedy())]
    Pull {
        /// The reference.
        image: String,
        /// The registry's host.
        registry: String,
        /// The kind of failure of the last attempt.
        failure: PullFailure,
        /// How many attempts were made.
        attempts: u32,
        /// What the daemon said, without secrets.
        words: String,
    },
    /// The image is too new for this machine's GPU driver.
    #[error("image {image} does not run on this machine's GPU driver: {why}")]
    Driver {
        /// The reference.
        image: String,
        /// What does not fit and what to do.
        why: String,
    },
    /// A file to be mounted is not there.
    #[error("{path} cannot be mounted: {why}")]
    Mount {
        /// The host path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The engine ended before it answered.
    #[error("the engine ended with exit code {code} before it was ready{}; {last}", ending::meaning(*code, *oom))]
    Died {
        /// Its exit code.
        code: i64,
        /// Whether the kernel killed it for memory.
        oom: bool,
        /// What it said last.
        last: LastWords,
    },
    /// The engine ended while it was measured.
    #[error("the engine ended with exit code {code} while it was measured{}; {last}", ending::meaning(*code, *oom))]
    Lost {
        /// Its exit code.
        code: i64,
        /// Whether the kernel killed it for memory.
        oom: bool,
        /// What it said last.
        last: LastWords,
    },
    /// The daemon refused to create or start the container, and why is known.
    #[error("Docker could not start the container: {cause}: {remedy} (Docker says: {detail})")]
    Refused {
        /// Whose fault it is.
        fault: Fault,
        /// What it means.
        cause: &'static str,
        /// What to do.
        remedy: &'static str,
        /// The daemon's own words.
        detail: String,
    },
    /// The GPUs asked for are not there.
    #[error("{0}")]
    NoGpu(String),
    /// The daemon went away while the engine ran.
    #[error(
        "the Docker daemon went away and did not come back: asked {attempts} times again within {after:.0?}; is it running (systemctl status docker)?"
    )]
    DaemonLost {
        /// How often it was asked again.
        attempts: usize,
        /// How long that took.
        after: Duration,
        /// What the last attempt said.
        #[source]
        source: Box<ServeError>,
    },
    /// Somebody else removed the container.
    #[error(
        "the engine's container was removed by somebody else: does another job on this host run `docker rm` or `docker system prune`?"
    )]
    Vanished,
    /// The engine's log says that it failed, yet it does not end.
    #[error("the engine failed while it started and did not end by itself; {last}")]
    Stuck {
        /// What it said last.
        last: LastWords,
    },
    /// The server is up, but the model could not be loaded.
    #[error("the engine could not load model `{model}`: {detail}")]
    NotLoaded {
        /// The model.
        model: String,
        /// What it answered.
        detail: String,
    },
    /// The engine did not answer in time.
    #[error("the engine was not ready after {limit:?} (last answer: {answer}); {last}")]
    NotReady {
        /// The limit.
        limit: Duration,
        /// The last thing heard from it.
        answer: String,
        /// What it said last.
        last: LastWords,
    },
    /// Another model than asked for is served.
    #[error("the server at {url} does not serve model `{wanted}`; it lists: {listed}")]
    WrongModel {
        /// The endpoint.
        url: String,
        /// What was asked for.
        wanted: String,
        /// What it lists.
        listed: String,
    },
    /// The endpoint does not answer.
    #[error("no server answers at {url}: {detail}")]
    NoAnswer {
        /// The endpoint.
        url: String,
        /// The last error.
        detail: String,
    },
    /// The engine's program cannot be run on this host.
    #[error("`{program}` cannot be run: install it, or name it with engine-command")]
    Program {
        /// What was to be run.
        program: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Processes of a stopped engine are still there.
    #[error("processes of the engine do not end; `kitt cleanup` tries again")]
    Undead,
    /// Somebody else uses the GPUs.
    #[error(
        "GPU busy: {gpus} is in use by {holder}, waited {waited:?}: give wait-for-gpu more time, or choose others with gpus"
    )]
    GpuBusy {
        /// The GPUs that were asked for.
        gpus: String,
        /// Who has them.
        holder: String,
        /// How long it was waited for them, in whole seconds.
        waited: Duration,
    },
    /// A GPU cannot be locked.
    #[error("cannot lock GPUs with {path}: give a folder that may be written with lock-dir")]
    Lock {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The simulated engine could not be started.
    #[error(transparent)]
    Sim(#[from] crate::sim::SimError),
    /// We were told to stop.
    #[error("cancelled while {phase}")]
    Cancelled {
        /// What was going on.
        phase: &'static str,
    },
    /// The engine's log cannot be written.
    #[error("cannot write {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn tries(attempts: u32) -> String {
    match attempts {
        0 | 1 => String::new(),
        more => format!(" in {more} attempts"),
    }
}
