//! What the fake knows. Tests read and change it directly.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::{
    auth::{App, Token},
    faults::{Chaos, Rule},
};

#[derive(Debug)]
pub struct State {
    pub repositories: Vec<Repository>,
    /// Old full names of renamed repositories and their ids.
    pub renamed: BTreeMap<String, u64>,
    pub comments: Vec<Comment>,
    pub commit_comments: Vec<CommitComment>,
    pub checks: Vec<Check>,
    pub pulls: Vec<Pull>,
    /// Events of issues and pull requests, oldest first.
    pub events: Vec<IssueEvent>,
    pub runs: Vec<Run>,
    pub artifacts: Vec<Artifact>,
    /// Commits, trees and blobs are shared by all repositories, as forks share them.
    pub commits: BTreeMap<String, Commit>,
    pub trees: BTreeMap<String, Tree>,
    pub blobs: BTreeMap<String, Arc<[u8]>>,
    /// `(full name, "heads/main")` and its commit.
    pub refs: BTreeMap<(String, String), String>,
    /// Pushes, oldest first.
    pub activity: Vec<Activity>,
    /// Roles of people: `admin`, `maintain`, `write`, `triage`, `read`, `none`.
    pub permissions: BTreeMap<String, String>,
    /// Logins that do not exist.
    pub unknown_users: BTreeSet<String>,
    /// The tokens that are known. When empty, every token is a `GITHUB_TOKEN` that may write.
    pub tokens: BTreeMap<String, Token>,
    /// The login in the answer of GraphQL's `viewer`; the token's when unset.
    pub viewer: Option<String>,
    pub rate: Rate,
    pub faults: Vec<Rule>,
    pub chaos: Option<(Chaos, ChaCha8Rng)>,
    pub log: Vec<Seen>,
    pub violations: Vec<String>,
    /// Paths that the full description does not know are violations.
    pub strict_paths: bool,
    /// Seconds that GitHub's clock is ahead of this machine's.
    pub clock_ahead: i64,
    /// Whether `commits/{sha}/pulls` of the base repository tells of a fork's pull request.
    pub fork_pulls_by_commit: bool,
    pub next_id: u64,
}

#[derive(Debug, Clone)]
pub struct Rate {
    pub limit: u64,
    pub remaining: u64,
    /// Seconds from now.
    pub reset_in: i64,
}

#[derive(Debug, Clone)]
pub struct Repository {
    pub id: u64,
    pub full_name: String,
    pub default_branch: String,
    pub private: bool,
    pub archived: bool,
    /// The full name of the repository that this one is a fork of.
    pub parent: Option<String>,
}

impl Repository {
    pub fn is(&self, full_name: &str) -> bool {
        self.full_name.eq_ignore_ascii_case(full_name)
    }

    pub fn owner(&self) -> &str {
        self.full_name.split('/').next().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.full_name.rsplit('/').next().unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
pub struct Comment {
    pub id: u64,
    pub repo: u64,
    pub issue: u64,
    pub author: String,
    pub app: Option<App>,
    pub body: String,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone)]
pub struct CommitComment {
    pub id: u64,
    pub repo: u64,
    pub sha: String,
    pub author: String,
    pub body: String,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone)]
pub struct Check {
    pub id: u64,
    pub repo: u64,
    pub name: String,
    pub head_sha: String,
    pub status: String,
    pub conclusion: Option<String>,
    pub started_at: String,
    pub completed_at: Option<String>,
    pub details_url: Option<String>,
    pub external_id: String,
    pub title: Option<String>,
    pub summary: Option<String>,
    pub text: Option<String>,
    pub annotations: Vec<Value>,
    pub actions: Value,
    pub app: App,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "as GitHub has it")]
pub struct Pull {
    /// The repository that it wants to change.
    pub repo: u64,
    pub number: u64,
    pub open: bool,
    pub draft: bool,
    pub locked: bool,
    pub title: String,
    pub body: Option<String>,
    pub author: String,
    pub labels: Vec<String>,
    pub head_ref: String,
    pub head_sha: String,
    /// The repository of its head; gone when the fork was deleted.
    pub head_repo: Option<u64>,
    /// The owner of the head's repository, which stays known when that one is gone.
    pub head_owner: String,
    pub base_ref: String,
    pub base_sha: String,
    pub merge_commit_sha: Option<String>,
    pub merged: bool,
    /// What `files` answers; the difference to the merge base when unset.
    pub files: Option<Vec<Value>>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone)]
pub struct IssueEvent {
    pub id: u64,
    pub repo: u64,
    pub issue: u64,
    /// `labeled`, `unlabeled`, `closed`, ...
    pub event: String,
    pub actor: String,
    pub label: Option<String>,
    pub commit_id: Option<String>,
    pub created_at: String,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_field_names, reason = "GitHub's names")]
pub struct Run {
    pub id: u64,
    pub repo: u64,
    pub name: String,
    /// `.github/workflows/bench.yml`
    pub path: String,
    pub workflow_id: u64,
    pub event: String,
    pub status: String,
    pub conclusion: Option<String>,
    pub head_sha: String,
    pub head_branch: Option<String>,
    pub head_repo: Option<u64>,
    pub run_number: u64,
    pub run_attempt: u64,
    pub actor: String,
    pub pulls: Vec<u64>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Debug, Clone)]
pub struct Artifact {
    pub id: u64,
    pub repo: u64,
    pub run: u64,
    pub name: String,
    pub bytes: Arc<[u8]>,
    pub expired: bool,
    /// `sha256:` and hexadecimal digits; old artifacts have none.
    pub digest: Option<String>,
    pub created_at: String,
    pub expires_at: String,
}

#[derive(Debug, Clone)]
pub struct Commit {
    pub sha: String,
    pub tree: String,
    pub parents: Vec<String>,
    pub message: String,
    pub author: String,
    pub date: String,
    /// The order in which commits were made, as the clock is coarse.
    pub order: u64,
}

/// A push, as the repository's activity lists it.
#[derive(Debug, Clone)]
pub struct Activity {
    pub id: u64,
    /// The repository's full name.
    pub repo: String,
    /// `refs/heads/main`
    pub reference: String,
    pub before: Option<String>,
    pub after: String,
    pub timestamp: String,
}

/// Every file below a folder: its path, mode and blob.
pub type Tree = BTreeMap<String, (String, String)>;

/// A request that arrived.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub seq: u64,
    pub method: String,
    /// Without `/api/v3` and the query, still percent-encoded.
    pub path: String,
    /// As it was sent.
    pub query: String,
    pub body: Option<Value>,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub accept: Option<String>,
    /// `x-github-api-version`
    pub version: Option<String>,
    /// It went to the artifacts' origin.
    pub blob: bool,
    /// What was answered; nothing when the connection was cut.
    pub status: Option<u16>,
    /// The state was asked, or changed.
    pub done: bool,
}
