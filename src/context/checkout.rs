//! What lies in the workspace, asked of git: nothing else tells a merge commit from a head.
//!
//! A workspace may hold what a stranger wrote. No configuration of a bare repository planted in it
//! counts, and no hook, pager or helper is started.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::ids::CommitSha;

/// Folders directly below the workspace that are looked at: a second checkout with `path:`.
const MOST_NESTED: usize = 32;
/// Longest commit object that is read, in bytes; its head is all that counts.
const MOST_BYTES: usize = 1 << 20;

/// A commit that is checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The commit.
    pub commit: CommitSha,
    /// Its parents, in order, also those that a shallow clone does not have.
    pub parents: Vec<CommitSha>,
}

/// A git command that reads in a folder and never asks anybody anything.
pub(super) fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "safe.bareRepository=explicit"])
        .args(["-c", "core.fsmonitor=false"])
        .args(["-c", "core.hooksPath=/dev/null"])
        // Nothing is fetched that is not here.
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .current_dir(folder);
    command
}

/// What is checked out in a folder itself, not in one above it. `None` where git cannot tell.
pub(super) fn at(folder: &Path) -> Option<Checkout> {
    let folder = std::path::absolute(folder).ok()?;
    if !folder.join(".git").exists() {
        return None;
    }
    let mut child = git(&folder)
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let asked = child.stdin.take()?.write_all(b"HEAD\n");
    let output = child.wait_with_output().ok()?;
    asked.ok()?;
    parse(&String::from_utf8_lossy(
        output.stdout.get(..MOST_BYTES).unwrap_or(&output.stdout),
    ))
}

/// What is checked out directly below a folder, by `actions/checkout` with a `path`.
pub(super) fn below(folder: &Path) -> Vec<Checkout> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(".git").exists() && !path.ends_with(".git"))
        .collect();
    folders.sort();
    folders.truncate(MOST_NESTED);
    folders.iter().filter_map(|path| at(path)).collect()
}

/// An answer of `git cat-file --batch`: `<commit> commit <size>`, then the commit's own head up to
/// an empty line.
fn parse(text: &str) -> Option<Checkout> {
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let commit = first.next()?.parse().ok()?;
    if first.next() != Some("commit") {
        return None;
    }
    let head = lines.take_while(|line| !line.is_empty());
    let parents = head.filter_map(|line| line.strip_prefix("parent "));
    Some(Checkout {
        commit,
        parents: parents.filter_map(|sha| sha.parse().ok()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_answer_of_git_is_taken_apart() {
        let sha = |digit: &str| digit.repeat(40);
        let text = format!(
            "{} commit 300\ntree {}\nparent {}\nparent {}\nauthor A <a@b> 1 +0000\n\nparent of all: {}\n",
            sha("a"),
            sha("b"),
            sha("c"),
            sha("d"),
            sha("e"),
        );
        let found = parse(&text).unwrap();
        assert_eq!(found.commit.as_str(), sha("a"));
        let parents: Vec<&str> = found.parents.iter().map(CommitSha::as_str).collect();
        assert_eq!(parents, [sha("c"), sha("d")]);
        assert_eq!(parse("HEAD missing\n"), None);
        assert_eq!(parse(&format!("{} tag 10\n", sha("a"))), None);
    }

    #[test]
    fn where_nothing_is_checked_out_git_cannot_tell() {
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(at(empty.path()), None);
        assert_eq!(below(empty.path()), []);
        assert_eq!(at(&empty.path().join("gone")), None);
        // What is above the workspace is not what the workspace holds.
        let inside = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(at(&inside), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(text in "([0-9a-f]{40}| commit |parent |\n|\\PC){0,12}") {
            if let Some(found) = parse(&text) {
                prop_assert!(text.starts_with(found.commit.as_str()));
            }
        }
    }
}
