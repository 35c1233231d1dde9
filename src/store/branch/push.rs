//! A baseline onto the branch, beside whoever else is writing it.
//!
//! Git's objects are made first; then the branch is moved without force. Where somebody else was
//! faster, GitHub refuses the move, and the tree is made again on what stands now: nobody's
//! baseline is lost.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Branch, Entries, Sha, Tip, entry_name};
use crate::{
    github::{
        GitHub, GitHubError,
        operations::{CREATE_BLOB, CREATE_COMMIT, CREATE_REF, CREATE_TREE, Operation, UPDATE_REF},
    },
    ids::{CommitSha, RepoSlug},
    store::StoreError,
};

/// How often the branch may have moved in between.
const ATTEMPTS: u32 = 12;
/// The shortest wait before another attempt.
const WAIT: Duration = Duration::from_millis(200);

/// What is stored.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// What an artifact would be called.
    pub folder: &'a str,
    /// First digits of the conditions' digest.
    pub key: &'a str,
    /// When it was measured.
    pub when: jiff::Timestamp,
    /// Commit that it measured.
    pub commit: &'a CommitSha,
    /// Its files.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Entry<'_> {
    fn name(&self) -> String {
        format!("{}/{}", self.key, entry_name(self.when, self.commit))
    }
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The branch's new commit.
    pub commit: String,
    /// Older baselines of the key that were taken off the branch.
    pub removed: usize,
    /// How often it was tried.
    pub attempts: u32,
}

/// Puts a baseline onto a branch, which is created when it is not there, and takes older ones of
/// the same key off so that `keep` stay.
///
/// # Errors
/// The token may not write, GitHub cannot be reached, or others never let go of the branch.
pub async fn push(
    github: &GitHub,
    repo: &RepoSlug,
    branch: &str,
    entry: &Entry<'_>,
    keep: usize,
) -> Result<Pushed, StoreError> {
    let place = Branch {
        github,
        repo,
        name: branch,
        folder: entry.folder,
    };
    let mut blobs = Vec::new();
    for (file, bytes) in &entry.files {
        let body = json!({ "content": STANDARD.encode(bytes), "encoding": "base64" });
        blobs.push((file.as_str(), place.create(&CREATE_BLOB, body).await?));
    }
    let mut ours: Option<String> = None;
    for attempt in 1..=ATTEMPTS {
        let tip = place.tip().await?;
        // A move that was cut off may have been done all the same.
        if let (Some(tip), Some(ours)) = (&tip, &ours)
            && tip.commit == *ours
        {
            return Ok(Pushed {
                commit: tip.commit.clone(),
                removed: 0,
                attempts: attempt,
            });
        }
        let (tree, removed) = changes(entry, &blobs, tip.as_ref(), keep);
        let commit = place.commit(tree, tip.as_ref(), entry).await?;
        match place.set(tip.is_some(), &commit).await {
            Ok(()) => {
                return Ok(Pushed {
                    commit,
                    removed,
                    attempts: attempt,
                });
            }
            Err(GitHubError::Status {
                status: 409 | 422,
                message,
                ..
            }) => {
                tracing::info!(
                    "{branch} has moved meanwhile ({message}); trying again on top of it"
                );
                ours = Some(commit);
                let jitter = 1.0 + rand::random::<f64>() * f64::from(attempt);
                tokio::time::sleep(WAIT.mul_f64(jitter)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Contended {
        branch: branch.to_owned(),
        attempts: ATTEMPTS,
    })
}

/// The tree's changes, and how many older baselines they take away.
fn changes(
    entry: &Entry<'_>,
    blobs: &[(&str, String)],
    tip: Option<&Tip>,
    keep: usize,
) -> (Value, usize) {
    let file = |path: String, sha: Value| json!({ "path": path, "mode": "100644", "type": "blob", "sha": sha });
    let name = entry.name();
    let mut nodes: Vec<Value> = blobs
        .iter()
        .map(|(blob, sha)| file(format!("{}/{name}/{blob}", entry.folder), json!(sha)))
        .collect();
    let surplus = tip.map_or_else(Vec::new, |tip| {
        surplus(&tip.entries, entry.key, &name, keep)
    });
    for (old, stored) in &surplus {
        for stored in *stored {
            let path = format!("{}/{old}/{}", entry.folder, stored.file);
            nodes.push(file(path, Value::Null));
        }
    }
    let tree = match tip {
        Some(tip) => json!({ "tree": nodes, "base_tree": tip.tree }),
        None => json!({ "tree": nodes }),
    };
    (tree, surplus.len())
}

/// The oldest entries of a key beyond what is kept, the new one counted.
fn surplus<'a>(
    entries: &'a Entries,
    key: &str,
    new: &str,
    keep: usize,
) -> Vec<(&'a String, &'a Vec<super::Stored>)> {
    let inside = format!("{key}/");
    // Names begin with the time, so their order is its order.
    let mut old: Vec<_> = entries
        .iter()
        .filter(|(name, _)| name.starts_with(&inside) && *name != new)
        .collect();
    let most = keep.saturating_sub(1);
    old.truncate(old.len().saturating_sub(most));
    old
}

impl Branch<'_> {
    async fn create(
        &self,
        operation: &'static Operation,
        body: Value,
    ) -> Result<String, GitHubError> {
        let request = operation
            .request(&[self.repo.owner(), self.repo.name()])
            .json(body);
        Ok(self.github.ask::<Sha>(&request).await?.value.sha)
    }

    async fn commit(
        &self,
        tree: Value,
        tip: Option<&Tip>,
        entry: &Entry<'_>,
    ) -> Result<String, GitHubError> {
        let tree = self.create(&CREATE_TREE, tree).await?;
        let parents: Vec<&str> = tip.iter().map(|tip| tip.commit.as_str()).collect();
        let message = format!("Baseline of {} for {}", entry.commit, entry.folder);
        let body = json!({ "message": message, "tree": tree, "parents": parents });
        self.create(&CREATE_COMMIT, body).await
    }

    /// Moves the branch, or creates it.
    async fn set(&self, exists: bool, commit: &str) -> Result<(), GitHubError> {
        let (owner, name) = (self.repo.owner(), self.repo.name());
        let request = if exists {
            let head = format!("heads/{}", self.name);
            let body = json!({ "sha": commit, "force": false });
            UPDATE_REF.request(&[owner, name, &head]).json(body)
        } else {
            let full = format!("refs/heads/{}", self.name);
            let body = json!({ "ref": full, "sha": commit });
            CREATE_REF.request(&[owner, name]).json(body)
        };
        self.github.ask::<Value>(&request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_key_go() {
        let entries: Entries = ["k/1", "k/2", "k/3", "other/1"]
            .map(|name| (name.to_owned(), Vec::new()))
            .into();
        let gone = |keep: usize, new: &str| {
            let gone = surplus(&entries, "k", new, keep).into_iter();
            gone.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(gone(2, "k/4"), ["k/1", "k/2"]);
        assert_eq!(gone(4, "k/4"), Vec::<&str>::new());
        assert_eq!(gone(3, "k/3"), Vec::<&str>::new(), "stored again");
        assert_eq!(gone(1, "k/3"), ["k/1", "k/2"]);
    }
}
