//! Past jobs: a tree of results directories, or a `history.jsonl`.
//!
//! The jobs come from artifacts. In a tree one unreadable result is left out with a warning, since
//! the others say as much; a `history.jsonl` is one document, and a line that is wrong is an error.

use std::path::{Path, PathBuf};

use super::{StoreError, directory};
use crate::results::{self, Job, Limits, MOST_JOBS, Origin, Pairs, ResultSet};

/// Entries of a tree of results directories looked at, at most: [`MOST_RESULTS`] of them with the
/// files of a few runs each.
const ENTRIES: usize = 100_000;
/// Results read at most.
const MOST_RESULTS: usize = 2_000;
/// Largest `history.jsonl` that is read: 500 jobs of a hundred scenarios are half of it.
const FILE_BYTES: u64 = 256 << 20;
/// Values in one line at most.
const ENTRIES_OF_A_LINE: usize = 1_000_000;

/// A past job, and where its results are if they still are.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredJob {
    /// The job.
    pub job: Job,
    /// Its `metrics.json`; `None` when all that is left is a line.
    pub results: Option<PathBuf>,
}

/// Reads past jobs, oldest first, each once; at most the newest 500. `path` is a `history.jsonl`,
/// or a directory with results anywhere below it. `sum_up` makes a job of results. KITT's files
/// are left out: they do not say what they were measured on.
///
/// # Errors
/// The path does not exist, a directory cannot be listed or holds more than any history, or a
/// `history.jsonl` is not one.
pub fn history(
    path: &Path,
    sum_up: impl Fn(&ResultSet, Option<&Pairs>) -> Job,
) -> Result<Vec<StoredJob>, StoreError> {
    let mut jobs = if directory::is_directory(path)? {
        tree(path, sum_up)?
    } else {
        lines(path)?
    };
    // Stable: jobs that began at once keep the order they were found in.
    jobs.sort_by_key(|stored| stored.job.began());
    jobs.dedup_by(|later, earlier| later.job.is(&earlier.job));
    let surplus = jobs.len().saturating_sub(MOST_JOBS);
    jobs.drain(..surplus);
    Ok(jobs)
}

/// The jobs of a `history.jsonl`.
pub(super) fn lines(path: &Path) -> Result<Vec<StoredJob>, StoreError> {
    let limits = Limits {
        file_bytes: FILE_BYTES,
        entries: ENTRIES_OF_A_LINE,
        ..Limits::default()
    };
    let jobs = results::read_jobs(path, &limits)?;
    let stored = |job| StoredJob { job, results: None };
    Ok(jobs.into_iter().map(stored).collect())
}

fn tree(
    root: &Path,
    sum_up: impl Fn(&ResultSet, Option<&Pairs>) -> Job,
) -> Result<Vec<StoredJob>, StoreError> {
    let mut found = directory::candidates(root, ENTRIES)?;
    if found.len() > MOST_RESULTS {
        return Err(StoreError::TooMany {
            path: root.to_owned(),
            limit: MOST_RESULTS,
        });
    }
    // The order of a directory's entries is the file system's business.
    found.sort();
    let mut jobs = Vec::with_capacity(found.len());
    for path in found {
        match one(&path, &sum_up) {
            Ok(Some(job)) => jobs.push(StoredJob {
                job,
                results: Some(path),
            }),
            Ok(None) => tracing::info!(
                "{}: written by KITT, so it is no part of the history",
                path.display()
            ),
            Err(error) => {
                tracing::warn!("{error}: this job is left out of the history");
            }
        }
    }
    Ok(jobs)
}

fn one(
    path: &Path,
    sum_up: impl Fn(&ResultSet, Option<&Pairs>) -> Job,
) -> Result<Option<Job>, StoreError> {
    let limits = Limits::default();
    let set = results::read_numbers(path, &limits)?;
    if set.origin == Origin::Kitt {
        return Ok(None);
    }
    let pairs = match path.parent() {
        Some(dir) => results::read_pairs(dir, &limits)?,
        None => None,
    };
    Ok(Some(sum_up(&set, pairs.as_ref())))
}
