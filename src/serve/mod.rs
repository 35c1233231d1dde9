//! Starting and stopping the engine: Docker, the simulated engine in this process, or nothing at
//! all for an endpoint that runs already.
//!
//! [`with_engine`] owns the engine from start to stop: it is stopped and removed on success,
//! error, timeout and cancellation, and the body's value comes back unchanged. Nothing is
//! touched that does not carry our labels.

mod container;
mod docker;
mod engine_container;
mod image;
mod libraries;
mod logs;
mod mounts;
mod owner;
mod pull;
mod ready;
mod reaper;
mod recipe;
mod redact;
mod rootfs;
mod scope;
mod streams;

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::secret::Secret;

pub use docker::{Daemon, connect};
pub use image::image_of;
pub use reaper::{Cleanup, cleanup};
pub use scope::with_engine;

/// Label on everything kitt creates; its value is `1`.
pub const LABEL: &str = "dev.kitt-action.managed";

/// What `serve` needs to know beside the launch specification.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Docker socket or URL; `None` looks for one.
    pub docker_host: Option<String>,
    /// Whether a missing image may be pulled (KITT's `--auto-pull`).
    pub auto_pull: bool,
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

/// An engine that answers.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Base URL, without a path.
    pub url: Url,
    /// What is known about what runs there.
    pub facts: EngineFacts,
    /// How long it took from start to the first good answer.
    pub startup: Duration,
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
}

/// Why an engine does not run. `app` maps the kinds to exit codes: host problems to 20, engine
/// problems to 22.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No Docker daemon can be used.
    #[error("Docker is not usable ({tried}): {remedy}")]
    NoDocker {
        /// What was tried.
        tried: String,
        /// What to do.
        remedy: &'static str,
        /// What the client said; `None` when no socket was found.
        #[source]
        source: Option<Box<bollard::errors::Error>>,
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
    /// A file to be mounted is not there.
    #[error("{path} cannot be mounted: {why}")]
    Mount {
        /// The host path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The engine ended before it answered.
    #[error("the engine ended with exit code {code} before it was ready{}; the last lines of its log: {log}", if *oom { " (out of memory)" } else { "" })]
    Died {
        /// Its exit code.
        code: i64,
        /// Whether the kernel killed it for memory.
        oom: bool,
        /// The end of its log, redacted, at most 2,000 characters.
        log: String,
    },
    /// The engine ended while it was measured.
    #[error("the engine ended with exit code {code} while it was measured{}; the last lines of its log: {log}", if *oom { " (out of memory)" } else { "" })]
    Lost {
        /// Its exit code.
        code: i64,
        /// Whether the kernel killed it for memory.
        oom: bool,
        /// The end of its log, redacted, at most 2,000 characters.
        log: String,
    },
    /// The engine did not answer in time.
    #[error(
        "the engine was not ready after {limit:?} (last answer: {last}); the last lines of its log: {log}"
    )]
    NotReady {
        /// The limit.
        limit: Duration,
        /// The last thing heard from it.
        last: String,
        /// The end of its log, redacted.
        log: String,
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
