//! Small files in the folder of locks: engines that run on this host, for the reaper, and what
//! guards did, for `kitt cleanup`.
//!
//! Every user of the host may write there, so only regular files of this user count: what they
//! say decides which processes are killed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{owner::Owner, processes::Family};

/// More than this of a file is not read.
const LONGEST: u64 = 1 << 20;
const NATIVE: &str = "native-";
const REPORT: &str = "guard-";

/// An engine that runs, or ran, as processes of this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Native {
    pub(super) run: String,
    pub(super) owner: Owner,
    pub(super) family: Family,
}

impl Native {
    /// Where the record of this engine lies. Its mark is unique.
    pub(super) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{NATIVE}{}.json", word(&self.family.mark)))
    }
}

/// What a guard did after the process it watched was gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardReport {
    /// The run it watched.
    pub run: String,
    /// The process it watched.
    pub watched_pid: u32,
    /// When the process was gone, RFC 3339.
    pub at: String,
    /// How long cleaning up took, in milliseconds.
    pub took_ms: u64,
    /// Containers, networks and processes that were removed.
    pub removed: Vec<String>,
    /// Why something may be left; `None` when nothing is.
    pub unfinished: Option<String>,
}

/// Where a guard leaves its report.
pub(super) fn report_path(dir: &Path, pid: u32, run: &str) -> PathBuf {
    dir.join(format!("{REPORT}{pid}-{}.json", word(run)))
}

/// The engines of this user's runs.
pub(super) fn natives(dir: &Path) -> Vec<(PathBuf, Native)> {
    own(dir, NATIVE)
}

/// The reports of this user's guards. Each is given once.
pub(super) fn reports(dir: &Path) -> Vec<GuardReport> {
    let found = own(dir, REPORT).into_iter();
    let taken = found.map(|(path, report)| {
        forget(&path);
        report
    });
    taken.collect()
}

/// Writes all or nothing.
pub(super) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer_pretty(&mut file, value)?;
    file.persist(path)?;
    Ok(())
}

/// Removes a record. One that is gone already is no news.
pub(super) fn forget(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(%error, path = %path.display(), "a record stays");
    }
}

fn own<T: DeserializeOwned>(dir: &Path, prefix: &str) -> Vec<(PathBuf, T)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".json")
    });
    let read = |path: PathBuf| {
        let value = read(&path).ok()?;
        Some((path, value))
    };
    named.map(|entry| entry.path()).filter_map(read).collect()
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() || facts.uid() != geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// A part of a file name.
pub(super) fn word(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    text.chars().take(100).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(mark: &str) -> Native {
        Native {
            run: "r".into(),
            owner: Owner::this_process(),
            family: Family {
                mark: mark.into(),
                leader: None,
            },
        }
    }

    #[test]
    fn only_whole_regular_files_of_this_user_count() {
        let dir = tempfile::tempdir().unwrap();
        let record = native("../a b");
        let path = record.path(dir.path());
        assert_eq!(path.parent(), Some(dir.path()));
        write(&path, &record).unwrap();
        std::os::unix::fs::symlink(&path, dir.path().join("native-link.json")).unwrap();
        fs::write(dir.path().join("native-half.json"), "{\"run\": ").unwrap();
        fs::create_dir(dir.path().join("native-folder.json")).unwrap();
        let found = natives(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1.family.mark, "../a b");
        // Somebody else's, where this user may give files away.
        if nix::unistd::chown(&path, Some(1.into()), None).is_ok() {
            assert!(natives(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_report_is_given_once() {
        let dir = tempfile::tempdir().unwrap();
        let report = GuardReport {
            run: "r".into(),
            watched_pid: 7,
            at: "2026-01-01T00:00:00Z".into(),
            took_ms: 500,
            removed: vec!["container x".into()],
            unfinished: None,
        };
        write(&report_path(dir.path(), 7, "r"), &report).unwrap();
        assert_eq!(reports(dir.path()), [report]);
        assert_eq!(reports(dir.path()), []);
    }
}
