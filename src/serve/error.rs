//! Why an engine does not run, and what it said last.

use std::{fmt, path::PathBuf, time::Duration};

use super::{Fault, PullFailure, Unusable, ending};
use crate::engine::Diagnosis;

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
