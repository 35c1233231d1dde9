//! What a run leaves behind: the results directory, written as it grows and read from anywhere.
//!
//! In: [`Measurement`](crate::measure::Measurement)s. Out: the files of design §4.3. The other
//! way round, [`read()`] takes a `metrics.json` of kitt's own or of KITT's (the Python project's)
//! and gives a [`ResultSet`], and [`traces`] gives the requests behind it one by one.

mod checks;
mod files;
mod fingerprint;
mod host;
mod items;
mod jobs;
mod json;
mod kitt;
mod model;
mod noise;
mod outside;
mod pairs;
mod read;
mod requests;
mod schema_v1;
mod summary;
mod to_v1;
mod write;

pub use fingerprint::{
    BoardIds, Fingerprint, IdKey, KEYS, Key, METHOD, Part, SCHEMA, Subject, fingerprint, key,
    workload_digest,
};
pub use host::{HostFacts, PciBoard, Storage, Surroundings, Virtualisation};
pub use items::{ITEMS_FILE, Item, Items, read_items, take_items};
pub use jobs::{HISTORY_FILE, Job, JobScenario, JobValue, MOST_JOBS, read_jobs, write_jobs};
pub use json::Limits;
pub use model::{
    Origin, Provenance, ResultSet, RunFacts, RunRecord, RunStatus, ScenarioFacts, ScenarioRecord,
};
pub use noise::{
    NOISE_FILE, Noise, NoiseFile, NoiseProfile, NoiseSource, Unfit, read_noise, write_noise,
};
pub use outside::read_number;
pub use pairs::{BASELINE_DIR, PAIRS_FILE, Pair, Pairs, Side, read_pairs};
pub use read::{read, read_config, read_numbers, section, timestamp};
pub use requests::{LoggedRequest, LoggedTimes, RequestLog, Traces, traces};
pub use write::{ResultsWriter, RunHeader, ScenarioReport};

use std::path::PathBuf;

/// Why results cannot be written or read. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A file system operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// `create`, `write`, `read` …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than kitt reads.
    #[error("{path} is {size} bytes; at most {limit} are read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is not the JSON it should be.
    #[error("{path}:{line}:{column}: {key}: {detail}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// Path of the key at fault, `.` at the top.
        key: String,
        /// What was wrong.
        detail: String,
    },
    /// A value that JSON allows and a result does not.
    #[error("{path}: {key}: {detail}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        key: String,
        /// What was wrong and what is allowed.
        detail: String,
    },
    /// The file was written by a newer kitt.
    #[error("{path} has schema version {found}; this kitt reads up to {known}: update kitt")]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The newest known.
        known: u64,
    },
}
