//! Baselines on a branch of the repository, for where artifacts cannot be had.
//!
//! The branch has a history of its own and holds `<folder>/<key>/<when>-<commit>/<file>`: the
//! folder is what an artifact would be called, the key the first digits of the conditions' digest.
//! Who can write it can write the repository, so what is on it is trusted as the base branch is.

mod push;

use std::{collections::BTreeMap, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

pub use push::{Entry, Pushed, push};

use super::{
    archive::FILES,
    discover::{Offer, Refused, Source, harmless},
};
use crate::{
    github::{
        GitHub, GitHubError,
        operations::{GET_BLOB, GET_GIT_COMMIT, GET_REF, GET_TREE},
    },
    ids::{CommitSha, RepoSlug},
};

/// Largest file of a baseline on a branch, in bytes. A branch is fetched whole by who clones it.
pub const MOST_BYTES: u64 = 8 << 20;

/// The folder of a branch that belongs to one name.
pub(super) struct Branch<'a> {
    pub(super) github: &'a GitHub,
    pub(super) repo: &'a RepoSlug,
    pub(super) name: &'a str,
    pub(super) folder: &'a str,
}

#[derive(Debug, Deserialize)]
struct Reference {
    object: Sha,
}

#[derive(Debug, Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Commit {
    tree: Sha,
}

#[derive(Debug, Deserialize)]
struct Tree {
    #[serde(default)]
    tree: Vec<Node>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Node {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    sha: Option<String>,
    size: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Blob {
    content: String,
    encoding: String,
}

/// A file of a stored baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    file: String,
    sha: String,
    size: u64,
}

/// The files of a folder, by entry.
type Entries = BTreeMap<String, Vec<Stored>>;

/// A branch as it stands.
struct Tip {
    /// Its commit.
    commit: String,
    /// Its files.
    tree: String,
    /// What is stored in the folder.
    entries: Entries,
}

impl Branch<'_> {
    /// The branch; `None` when there is none.
    async fn tip(&self) -> Result<Option<Tip>, GitHubError> {
        let (owner, name) = (self.repo.owner(), self.repo.name());
        let head = format!("heads/{}", self.name);
        let request = GET_REF.request(&[owner, name, &head]);
        let commit = match self.github.ask::<Reference>(&request).await {
            Ok(answer) => answer.value.object.sha,
            Err(GitHubError::Status { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let request = GET_GIT_COMMIT.request(&[owner, name, &commit]);
        let tree = self.github.ask::<Commit>(&request).await?.value.tree.sha;
        let request = GET_TREE
            .request(&[owner, name, &tree])
            .query("recursive", "1");
        let listed = self.github.ask::<Tree>(&request).await?.value;
        if listed.truncated {
            tracing::warn!(
                "the branch {} has more files than GitHub lists: some baselines are not seen",
                self.name
            );
        }
        Ok(Some(Tip {
            commit,
            tree,
            entries: entries(self.folder, listed.tree),
        }))
    }
}

/// What belongs to a folder: `<key>/<when>-<commit>` with the files that kitt reads.
fn entries(folder: &str, nodes: Vec<Node>) -> Entries {
    let mut found = Entries::new();
    for node in nodes {
        let parts: Vec<&str> = node.path.split('/').collect();
        let [first, key, entry, file] = parts.as_slice() else {
            continue;
        };
        let ours =
            *first == folder && is_key(key) && FILES.contains(file) && parse(entry).is_some();
        let (true, "blob", Some(sha)) = (ours, node.kind.as_str(), node.sha) else {
            continue;
        };
        found
            .entry(format!("{key}/{entry}"))
            .or_default()
            .push(Stored {
                file: (*file).to_owned(),
                sha,
                size: node.size.unwrap_or(u64::MAX),
            });
    }
    found
}

/// Whether a folder is one of conditions. Git allows line breaks in names.
fn is_key(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What a baseline is called: when it was measured, and its commit.
pub fn entry_name(when: jiff::Timestamp, commit: &CommitSha) -> String {
    format!("{}-{commit}", when.strftime("%Y%m%dT%H%M%SZ"))
}

/// Whether a name is one of [`entry_name`].
pub fn is_entry(name: &str) -> bool {
    parse(name).is_some()
}

/// When an entry was stored, and the commit that it measured.
fn parse(entry: &str) -> Option<(&str, &str)> {
    let (when, commit) = entry.split_once('-')?;
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let time = when.len() == 16 && when.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (time && matches!(commit.len(), 40 | 64) && hex(commit)).then_some((when, commit))
}

impl Source for Branch<'_> {
    async fn offers(&self) -> Result<Vec<(String, Result<Offer, Refused>)>, GitHubError> {
        let Some(tip) = self.tip().await? else {
            return Ok(Vec::new());
        };
        let offers = tip.entries.keys().filter_map(|id| {
            let (when, commit) = parse(id.rsplit('/').next()?)?;
            let offer = Offer {
                id: id.clone(),
                run: None,
                commit: commit.to_ascii_lowercase(),
                created: when.to_owned(),
                digest: None,
            };
            Some((format!("{}:{}/{id}", self.name, self.folder), Ok(offer)))
        });
        Ok(offers.collect())
    }

    /// Only writers of the repository put anything there.
    async fn vet(&self, _: &Offer) -> Result<(), Refused> {
        Ok(())
    }

    async fn fetch(&self, offer: &Offer, into: &Path) -> Result<(), Refused> {
        let failed = |error: GitHubError| Refused::Failed(error.to_string());
        let tip = self.tip().await.map_err(failed)?;
        let files = tip.and_then(|mut tip| tip.entries.remove(&offer.id));
        let files = files.ok_or_else(|| Refused::Failed("it is there no longer".to_owned()))?;
        let mut read = Vec::new();
        for stored in files {
            if stored.size > MOST_BYTES {
                let (file, size) = (stored.file, stored.size);
                let why = format!("{file} is {size} bytes; at most {MOST_BYTES} are read");
                return Err(Refused::Unusable(why));
            }
            let request = GET_BLOB.request(&[self.repo.owner(), self.repo.name(), &stored.sha]);
            let blob = self
                .github
                .ask::<Blob>(&request)
                .await
                .map_err(failed)?
                .value;
            read.push((stored.file, decode(&blob)?));
        }
        super::directory::place(into, &read).map_err(|error| {
            let text = format!("cannot write {}: {error}", into.display());
            Refused::Failed(harmless(&text, 300))
        })
    }
}

fn decode(blob: &Blob) -> Result<Vec<u8>, Refused> {
    let wrong = |why: &str| Refused::Unusable(why.to_owned());
    if blob.encoding != "base64" {
        return Err(wrong("GitHub sent a file in an encoding that is not known"));
    }
    let text: String = blob.content.split_ascii_whitespace().collect();
    let bytes = STANDARD.decode(text).ok();
    bytes.ok_or_else(|| wrong("GitHub sent a file that is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_baselines_belong_to_a_folder() {
        let commit = "a".repeat(40);
        let node = |path: &str, kind: &str| Node {
            path: path.to_owned(),
            kind: kind.to_owned(),
            sha: Some("b".repeat(40)),
            size: Some(1),
        };
        let good = format!("kitt-baseline/k/20260101T000000Z-{commit}/metrics.json");
        let nodes = vec![
            node(&good, "blob"),
            node(&good.replace("metrics.json", "../metrics.json"), "blob"),
            node(&good.replace("metrics.json", "run.sh"), "blob"),
            node(&good.replace("kitt-baseline", "other"), "blob"),
            node(&good.replace("/k/", "/k\n::error::/"), "blob"),
            node(&good.replace('Z', "/"), "blob"),
            node(&good.replace("metrics.json", "config.json"), "tree"),
            node("README.md", "blob"),
        ];
        let found = entries("kitt-baseline", nodes);
        let names: Vec<&String> = found.keys().collect();
        assert_eq!(names, [&format!("k/20260101T000000Z-{commit}")]);
        assert_eq!(found.values().next().unwrap().len(), 1);
    }

    #[test]
    fn blobs_are_base64_in_lines() {
        let blob = |content: &str, encoding: &str| Blob {
            content: content.into(),
            encoding: encoding.into(),
        };
        assert_eq!(decode(&blob("aGVs\nbG8=\n", "base64")).unwrap(), b"hello");
        assert!(decode(&blob("hello!", "base64")).is_err());
        assert!(decode(&blob("hello", "utf-8")).is_err());
    }
}
