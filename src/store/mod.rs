//! Where results live: directories, as `actions/download-artifact` leaves them, artifacts of earlier
//! runs, a branch of baselines, and what jobs keep for later ones: history and noise.

pub mod archive;
pub mod branch;
mod directory;
pub mod discover;
mod history;
mod legs;
mod noise;
pub mod share;

pub use directory::{find, load, load_pairs};
pub use history::{StoredJob, history};
pub use legs::{LegDir, legs};
pub use noise::{noise, replace_noise, update_noise};

use std::path::PathBuf;

/// Why results cannot be had from a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory does not exist.
    #[error("{path} does not exist")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// There is no `metrics.json` anywhere below.
    #[error("no metrics.json in {path} or below it")]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory cannot be listed.
    #[error("cannot list {path}")]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// More directories or files than a results artifact can have.
    #[error("{path} holds more than {limit} entries: it is no results directory")]
    TooMany {
        /// The directory.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// An archive is refused.
    #[error("{path}: {source}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The reason.
        source: archive::ArchiveError,
    },
    /// GitHub did not do what was asked.
    #[error(transparent)]
    GitHub(#[from] crate::github::GitHubError),
    /// Others go on writing the branch.
    #[error("{branch} was written by others each of {attempts} times: try again later")]
    Contended {
        /// The branch.
        branch: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The results themselves cannot be read.
    #[error(transparent)]
    Results(#[from] crate::results::ResultsError),
}
