//! Everything that can go wrong, one variant per stage, and the exit code of each.

use crate::{
    compare::CompareError,
    context::ContextError,
    exit::Exit,
    load::LoadError,
    measure::{MeasureError, UnknownDialect},
    plan::{NotRebuildable, PlanError},
    publish::PublishError,
    render::RenderError,
    results::{ResultsError, Side},
    serve::{Fault, PullFailure, ServeError},
    sim::SimError,
    store::StoreError,
    telemetry::NoGpu,
    verdict::VerdictError,
    workload::WorkloadError,
};

/// A failure of one stage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// What was asked for is not done here.
    #[error("{reason}")]
    Refused {
        /// What happened, in a few words.
        title: &'static str,
        /// Why, as a sentence fragment.
        reason: String,
        /// What a person does next.
        remedy: String,
    },
    /// No plan can be made of it.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The requests cannot be made: a tokenizer, a dataset or a trace.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// No load generator has this name.
    #[error(transparent)]
    Dialect(#[from] UnknownDialect),
    /// The engine does not run.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The simulated engine does not run.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// No load can be sent.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Nothing was measured.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// Warm-up requests failed: measuring on would measure errors.
    #[error("all {count} warm-up requests of `{scenario}` failed; the last one: {detail}")]
    Warmup {
        /// The scenario.
        scenario: String,
        /// How many were sent.
        count: u32,
        /// Why the last one failed.
        detail: String,
    },
    /// Every measured request of a scenario failed.
    #[error("no request of `{scenario}` succeeded ({outcomes})")]
    NoSuccess {
        /// The scenario.
        scenario: String,
        /// Requests by outcome.
        outcomes: String,
    },
    /// GPUs cannot be watched, and the run is worth nothing without.
    #[error("telemetry is required and unavailable ({0})")]
    Telemetry(NoGpu),
    /// A GPU failed while it was measured on.
    #[error("{0}")]
    Gpu(String),
    /// Results cannot be written.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Results cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Two results cannot be compared at all.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// No verdict can be reached.
    #[error(transparent)]
    Verdict(#[from] VerdictError),
    /// A scenario document is none.
    #[error("{path} is no scenario document: {detail}")]
    Document {
        /// The file.
        path: std::path::PathBuf,
        /// What was wrong.
        detail: String,
    },
    /// No document can be made.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Nobody can be told.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// There is no baseline, or it is not stored.
    #[error("{0}")]
    Baseline(String),
    /// A file of the report cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The results of even a small run would not fit on the disk.
    #[error(
        "{path} has {free} bytes free, and the results of a run need {least} at least: make room, or give another folder (--output)"
    )]
    NoSpace {
        /// The results directory.
        path: std::path::PathBuf,
        /// Bytes that are free there.
        free: u64,
        /// Bytes that must be.
        least: u64,
    },
    /// `kitt init` has nobody to ask.
    #[error("give {flags}: there is no terminal to ask on")]
    Unanswered {
        /// The flags that are needed, joined.
        flags: String,
    },
    /// An answer to `kitt init` that cannot be used.
    #[error("--{flag}: `{text}`: {why}")]
    Answer {
        /// The flag.
        flag: &'static str,
        /// The answer, shortened.
        text: String,
        /// What is wrong and what to write.
        why: String,
    },
    /// Files of somebody else stand where `kitt init` would write.
    #[error(
        "{files} would change: look at them first (--dry-run), then give --force; nothing was written"
    )]
    Exists {
        /// The files, joined.
        files: String,
    },
    /// The program could not start its own machinery.
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[source] std::io::Error),
    /// The other side of a comparison cannot be had.
    #[error(transparent)]
    Rebuild(#[from] NotRebuildable),
    /// One side of a comparison does not run.
    #[error("the {} side's engine failed twice in a row, so there are no pairs to compare", side.name())]
    Side {
        /// Which side.
        side: Side,
        /// What happened the second time.
        #[source]
        source: Box<Error>,
    },
    /// A signal arrived.
    #[error("cancelled by {signal}")]
    Cancelled {
        /// `SIGINT` or `SIGTERM`.
        signal: &'static str,
    },
}

impl Error {
    /// Whether the engine is to blame, and neither the host nor what was asked for.
    pub fn is_of_the_engine(&self) -> bool {
        self.exit() == Exit::Engine || matches!(self, Self::NoSuccess { .. })
    }

    /// The exit code this failure ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Context(_)
            | Self::Refused { .. }
            | Self::Plan(_)
            | Self::Dialect(_)
            | Self::Rebuild(_)
            | Self::Unanswered { .. }
            | Self::Answer { .. }
            | Self::Exists { .. }
            | Self::Document { .. } => Exit::Usage,
            Self::Workload(error) => workload(error),
            Self::Serve(error) => serve(error),
            Self::Cancelled { signal: "SIGTERM" } => Exit::Terminated,
            Self::Cancelled { .. } => Exit::Interrupted,
            // Another runner may have more of both.
            Self::NoSpace { .. } | Self::Load(LoadError::Files { .. }) | Self::Telemetry(_) => {
                Exit::Host
            }
            Self::Results(ResultsError::Io { source, .. }) | Self::Write { source, .. }
                if is_full(source) =>
            {
                Exit::Host
            }
            Self::Load(_) | Self::Warmup { .. } | Self::Side { .. } => Exit::Engine,
            Self::Gpu(_) => Exit::Invalid,
            Self::Sim(_)
            | Self::Baseline(_)
            | Self::Measure(_)
            | Self::NoSuccess { .. }
            | Self::Results(_)
            | Self::Store(_)
            | Self::Compare(_)
            | Self::Verdict(_)
            | Self::Render(_)
            | Self::Publish(_)
            | Self::Write { .. }
            | Self::Runtime(_) => Exit::Failure,
        }
    }

    /// The message with every cause behind it, joined by colons.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Transparent wrappers and some libraries repeat their cause.
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }
}

/// Whether a disk is full, or this user's share of it.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Files and lengths were asked for; a tokenizer that stops answering is the engine's.
const fn workload(error: &WorkloadError) -> Exit {
    match error {
        WorkloadError::Read { .. }
        | WorkloadError::TooLarge { .. }
        | WorkloadError::Changed { .. }
        | WorkloadError::Tokenizer { .. }
        | WorkloadError::NoExactText { .. }
        | WorkloadError::Trace { .. }
        | WorkloadError::Dataset { .. }
        | WorkloadError::EmptyDataset { .. }
        | WorkloadError::NoTokenizeEndpoint { .. }
        | WorkloadError::ServerDisagrees { .. } => Exit::Usage,
        WorkloadError::Tokenize { .. } => Exit::Engine,
        WorkloadError::Stopped(_) => Exit::Failure,
    }
}

/// Host problems may go away on another runner; engine problems will not.
fn serve(error: &ServeError) -> Exit {
    match error {
        ServeError::NoDocker { .. }
        | ServeError::Docker { .. }
        | ServeError::DockerTimeout { .. }
        | ServeError::Undead
        | ServeError::GpuBusy { .. }
        | ServeError::Lock { .. }
        | ServeError::Driver { .. }
        | ServeError::DaemonLost { .. }
        | ServeError::Vanished
        | ServeError::NoGpu(_)
        | ServeError::Refused {
            fault: Fault::Host, ..
        } => Exit::Host,
        ServeError::Pull { failure, .. } if failure.is_of_this_host() => Exit::Host,
        ServeError::Pull {
            failure: PullFailure::Reference,
            ..
        }
        | ServeError::Mount { .. }
        | ServeError::Refused {
            fault: Fault::Settings,
            ..
        } => Exit::Usage,
        ServeError::ImageMissing { .. }
        | ServeError::Image { .. }
        | ServeError::Pull { .. }
        | ServeError::Died { .. }
        | ServeError::NotReady { .. }
        | ServeError::WrongModel { .. }
        | ServeError::NoAnswer { .. }
        | ServeError::Lost { .. }
        | ServeError::Program { .. }
        | ServeError::Stuck { .. }
        | ServeError::NotLoaded { .. }
        | ServeError::Refused {
            fault: Fault::Engine,
            ..
        }
        | ServeError::Sim(_) => Exit::Engine,
        ServeError::Cancelled { .. } => Exit::Interrupted,
        ServeError::Log { .. } => Exit::Failure,
    }
}
