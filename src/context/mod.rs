//! Command line, environment, event payload and config file to one value: [`Inputs`].
//!
//! The only reader of the environment is [`EnvSnapshot`]. Text becomes a domain type here, once;
//! an error names the setting, where its text came from and what is allowed.

mod against;
mod arrivals;
mod changed;
mod checkout;
mod env;
mod event;
mod file;
mod foreign;
mod inputs;
mod installed;
mod layers;
mod length;
mod load;
mod machine;
mod model;
mod objective;
mod policy;
mod sweep;
mod text;

use std::path::PathBuf;

pub use against::{Against, BaselineMode, Discovered, WhenUnsure};
pub use arrivals::{Arrivals, ArrivalsError, Process, Rate, file_name};
pub use changed::Changed;
pub use checkout::Checkout;
pub use env::EnvSnapshot;
pub use event::{EventKind, Labelling, Measured, Origin, Trigger};
pub use file::{ConfigFile, read as read_config};
pub use foreign::{CompletedRun, Foreign, HeadRepository};
pub use inputs::{
    AllowForks, CommentWhen, Gpus, Inputs, Learned, Measure, Publish, StepFiles, resolve,
    resolve_as, resolve_with, revision,
};
pub use installed::version_of;
pub use layers::{Found, Layers, Source};
pub use length::{Length, LengthError};
pub use load::{ApiPath, LoadSettings, TokenizerSource, WarmupAsked};
pub use machine::{DockerPlace, Machine, Prices, TelemetryChoice};
pub use model::{is_path, read_model};
pub use objective::{Objective, ObjectiveError, Quantity};
pub use policy::{
    Accept, AcceptRule, ContextOutcome, ContextRule, Expires, GatePolicy, GivenReason, Glob,
    KITT_GATING, Limit, LimitRule, MetricRule, On, OnWritten, PathPattern, Pattern, PatternError,
    PolicyWritten, Reaction, Role, SetBy, Stage, Standing, Zone, is_same_label, reasons,
};
pub use sweep::{GOODPUT_SHARE, Sweep, SweepError};

/// Variables that look like inputs and are none, each with the closest known name.
pub fn unknown_variables(env: &EnvSnapshot) -> Vec<(String, Option<String>)> {
    inputs::unknown_variables(env)
}

/// What is wrong with what was asked for. Always exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A setting's text does not parse.
    #[error("{name} (from {source_name}): `{text}`: {why}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Where the text came from.
        source_name: String,
        /// The text, shortened.
        text: String,
        /// What is allowed.
        why: String,
    },
    /// A setting that is needed has no value.
    #[error("{name} is not set: {remedy}")]
    Missing {
        /// The setting.
        name: &'static str,
        /// Where to give it.
        remedy: String,
    },
    /// Two settings that exclude each other.
    #[error("{left} and {right} cannot be used together: {why}")]
    Conflict {
        /// One.
        left: &'static str,
        /// The other.
        right: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A value of the policy makes no sense.
    #[error("{place}: {detail}")]
    Policy {
        /// Where it stands.
        place: String,
        /// What is wrong.
        detail: String,
    },
    /// The config file cannot be read.
    #[error("cannot read config file {path}")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The config file is larger than a config file is.
    #[error("config file {path} is {size} bytes; at most {limit} are read")]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The model's files cannot be served.
    #[error("model {path}: {why}")]
    Model {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The config file is wrong at a place.
    #[error("{}:{line}:{column}: {detail}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// Line from 1; 0 when unknown.
        line: u64,
        /// Column from 1; 0 when unknown.
        column: u64,
        /// What is wrong.
        detail: String,
    },
}
