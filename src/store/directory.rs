//! Results in a directory, as a run or `actions/download-artifact` leaves them.
//!
//! Below the directory that was named, no symbolic link is followed: an artifact must not lead
//! out of itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::StoreError;
use crate::results::{self, BASELINE_DIR, Limits, PAIRS_FILE, Pairs, ResultSet};

/// The file that makes a directory a results directory.
const NAME: &str = "metrics.json";

/// Files and directories looked at, at most. A campaign of a thousand results has a tenth of it.
pub(super) const ENTRIES: usize = 10_000;

/// Directories inside each other, at most; KITT's trees have six.
const DEPTH: usize = 16;

/// The newest results in a file, a directory or a tree of directories: by the time inside the
/// file, and among equal or unknown times the last in path order, as KITT chooses.
///
/// # Errors
/// The path does not exist, cannot be listed, holds more entries than results have, or holds no
/// results.
pub fn find(path: &Path) -> Result<PathBuf, StoreError> {
    if !is_directory(path)? {
        return Ok(path.to_owned());
    }
    let found = candidates(path, ENTRIES)?;
    // One result needs no choice, and its errors are told by whoever reads it.
    if let [only] = found.as_slice() {
        return Ok(only.clone());
    }
    let dated = found.into_iter().map(|path| (written_at(&path), path));
    match dated.max() {
        Some((_, newest)) => Ok(newest),
        None => Err(StoreError::Empty {
            path: path.to_owned(),
        }),
    }
}

/// Reads the newest results of [`find`].
///
/// # Errors
/// As [`find`] and [`results::read`].
pub fn load(path: &Path) -> Result<ResultSet, StoreError> {
    Ok(results::read(&find(path)?, &Limits::default())?)
}

/// The pairs that the newest results of [`find`] were measured in, with the baseline side; `None`
/// when they were not measured in pairs.
///
/// # Errors
/// As [`find`]; the pairs or the baseline side beside them cannot be read.
pub fn load_pairs(path: &Path) -> Result<Option<(Pairs, ResultSet)>, StoreError> {
    let found = find(path)?;
    let Some(dir) = found.parent() else {
        return Ok(None);
    };
    let limits = Limits::default();
    let Some(pairs) = results::read_pairs(dir, &limits)? else {
        return Ok(None);
    };
    let baseline = results::read(&dir.join(BASELINE_DIR).join(NAME), &limits)?;
    Ok(Some((pairs, baseline)))
}

/// Makes a directory with these files: all of them, or none.
pub(super) fn place(into: &Path, files: &[(String, Vec<u8>)]) -> std::io::Result<()> {
    let parent = into.parent().filter(|dir| !dir.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    let temporary = tempfile::Builder::new()
        .prefix(".kitt-store-")
        .tempdir_in(parent)?;
    for (name, bytes) in files {
        fs::write(temporary.path().join(name), bytes)?;
    }
    fs::rename(temporary.path(), into)
}

fn listing(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::List {
        path: path.to_owned(),
        source,
    }
}

/// Whether a path that somebody named is a directory.
pub(super) fn is_directory(path: &Path) -> Result<bool, StoreError> {
    let metadata = fs::metadata(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::NotFound {
            StoreError::Missing {
                path: path.to_owned(),
            }
        } else {
            listing(path)(source)
        }
    })?;
    Ok(metadata.is_dir())
}

/// Every regular `metrics.json` in the tree, which has at most so many entries.
pub(super) fn candidates(root: &Path, entries: usize) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    let mut waiting = vec![(root.to_owned(), 0_usize)];
    let mut seen = 0_usize;
    while let Some((dir, depth)) = waiting.pop() {
        for entry in fs::read_dir(&dir).map_err(listing(&dir))? {
            let entry = entry.map_err(listing(&dir))?;
            seen += 1;
            if seen > entries {
                return Err(StoreError::TooMany {
                    path: root.to_owned(),
                    limit: entries,
                });
            }
            let name = entry.file_name();
            // The entry's own type: a link is neither directory nor file.
            let kind = entry.file_type().map_err(listing(&dir))?;
            // A name with line breaks would write its own lines into a log.
            let plain = !name.to_string_lossy().contains(char::is_control);
            // The other side of pairs is no result of its own.
            let other_side = name == BASELINE_DIR && dir.join(PAIRS_FILE).exists();
            if kind.is_dir() && plain && !other_side && depth < DEPTH {
                waiting.push((entry.path(), depth + 1));
            } else if kind.is_file() && name == NAME {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// The time inside a file; KITT's naive one is taken as UTC. `None` sorts before every time.
fn written_at(path: &Path) -> Option<Timestamp> {
    let text = match results::timestamp(path, &Limits::default()) {
        Ok(text) => text?,
        Err(error) => {
            tracing::warn!(%error, "results that cannot be read are not chosen");
            return None;
        }
    };
    text.parse().ok().or_else(|| {
        let naive: DateTime = text.parse().ok()?;
        Some(naive.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}
