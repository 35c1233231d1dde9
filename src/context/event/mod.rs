//! What GitHub says about the run: environment first, payload second, every field optional.
//!
//! What each kind of event means is written in docs/events.md; its tables are made by tests.

mod kind;
mod measured;
mod payload;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use kind::EventKind;
pub use measured::{Measured, Origin};
use payload::Payload;
pub(super) use payload::read as payload;
use serde_json::{Map, Value};

use super::{
    EnvSnapshot,
    checkout::{self, Checkout},
};
use crate::ids::{CommitSha, PrNumber, RepoSlug};

/// Where kitt runs and why.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of a run that do not depend on each other"
)]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trigger {
    /// `pull_request`, `push`, `workflow_dispatch`, …
    pub event: Option<String>,
    /// What kind of event that is.
    pub kind: EventKind,
    /// The repository.
    pub repo: Option<RepoSlug>,
    /// The pull request that this is about.
    pub pr: Option<PrNumber>,
    /// Whether the pull request's head and base are known: from the event, or from the API.
    pub described: bool,
    /// Id of the repository, which stays when it is renamed or its name is taken by another.
    pub repo_id: Option<u64>,
    /// Branch that pull requests go to by default.
    pub default_branch: Option<String>,
    /// `GITHUB_SHA`: what a checkout without further settings has. For a pull request the merge of
    /// head and base.
    pub sha: Option<CommitSha>,
    /// Id of the repository that a pull request comes from; `None` when it was deleted.
    pub head_repo_id: Option<u64>,
    /// Branch that a pull request comes from.
    pub head_branch: Option<String>,
    /// Whether the pull request is a draft.
    pub draft: bool,
    /// Whether the runner may be somebody's own machine: `RUNNER_ENVIRONMENT` does not say that it
    /// is GitHub's. Old runners do not say it at all.
    pub self_hosted: bool,
    /// Commit that the pull request or push is about.
    pub head: Option<CommitSha>,
    /// Commit it is based on.
    pub base: Option<CommitSha>,
    /// Branch or ref name.
    pub git_ref: Option<String>,
    /// Branch that the change goes to, without `refs/heads/`: a pull request's or a merge group's
    /// base, else the branch that the run is on.
    pub base_branch: Option<String>,
    /// Labels of the pull request, as they were when the event happened.
    pub labels: Vec<String>,
    /// The pull request's description, as it was then. Written by whoever opened it.
    pub body: Option<String>,
    /// Whether what this is about comes from another repository. What cannot be shown to be ours
    /// does: a deleted fork has no repository.
    pub fork: bool,
    /// Whether the push deleted its branch or tag, so that there is nothing to measure.
    pub deleted: bool,
    /// What is checked out in the workspace; `None` where git cannot tell.
    pub checkout: Option<Checkout>,
    /// What is checked out directly below the workspace.
    pub nested: Vec<Checkout>,
    /// Link to the run.
    pub run_url: Option<String>,
    /// Identity of this attempt, unique per job.
    pub run_id: Option<String>,
    /// `GITHUB_RUN_ID`: the workflow run, the same for all of its attempts.
    pub workflow_run: Option<u64>,
    /// Id of the job in the workflow, the same for all legs of a matrix.
    pub job: Option<String>,
    /// Attempt, from 1.
    pub attempt: Option<u32>,
    /// What the event did to the pull request's labels.
    pub labelling: Labelling,
}

/// What an event says of labels beyond their list: whether one was put there for this very commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Labelling {
    /// Nothing.
    #[default]
    Unknown,
    /// The pull request was opened: whatever label it has is for the commit it began with.
    Opened,
    /// This label was set, by this account, at this time (RFC 3339) as far as it is told.
    Set {
        /// The label.
        label: String,
        /// Who set it.
        by: Option<String>,
        /// When.
        at: Option<String>,
    },
}

impl Trigger {
    /// Reads the environment, the event's payload where it names one, and the workspace. Nothing
    /// here fails: a field that cannot be had is absent, and a payload that cannot be read is
    /// logged. `pull` is the pull request as the API describes it, for events that do not.
    pub fn read(env: &EnvSnapshot, pull: Option<&Value>) -> Self {
        let payload = env
            .get("GITHUB_EVENT_PATH")
            .and_then(|path| payload::read(Path::new(path)));
        let payload = with_pull(payload.unwrap_or(Value::Null), pull);
        let mut trigger = Self::from_parts(env, &payload);
        if let (Some(_), Some(workspace)) = (&trigger.event, env.get("GITHUB_WORKSPACE")) {
            trigger.checkout = checkout::at(Path::new(workspace));
            trigger.nested = checkout::below(Path::new(workspace));
        }
        trigger
    }

    fn from_parts(env: &EnvSnapshot, payload: &Value) -> Self {
        let kind = EventKind::of(env.get("GITHUB_EVENT_NAME"), payload);
        let payload = Payload(payload);
        let repo = env
            .get("GITHUB_REPOSITORY")
            .or_else(|| payload.text("/repository/full_name"));
        let repo_id = env
            .get("GITHUB_REPOSITORY_ID")
            .and_then(|id| id.parse().ok())
            .or_else(|| payload.id("/repository/id"));
        let own_id = repo_id.or_else(|| payload.id("/pull_request/base/repo/id"));
        let (head_repo_id, fork) = head_repo(kind, payload, own_id);
        Self {
            event: env.get("GITHUB_EVENT_NAME").map(str::to_owned),
            kind,
            repo: repo.and_then(|slug| slug.parse().ok()),
            pr: pr(kind, env, payload, fork),
            described: payload.is_object("/pull_request/head"),
            repo_id,
            default_branch: payload
                .text("/repository/default_branch")
                .map(str::to_owned),
            sha: env_sha(env),
            head_repo_id,
            head_branch: env
                .get("GITHUB_HEAD_REF")
                .or_else(|| payload.text("/pull_request/head/ref"))
                .or_else(|| payload.text("/workflow_run/head_branch"))
                .map(str::to_owned),
            draft: payload.flag("/pull_request/draft") || payload.flag("/issue/draft"),
            self_hosted: env.get("RUNNER_ENVIRONMENT") != Some("github-hosted"),
            head: head(kind, env, payload),
            base: base(kind, payload),
            git_ref: env
                .get("GITHUB_HEAD_REF")
                .or_else(|| env.get("GITHUB_REF"))
                .map(str::to_owned),
            base_branch: base_branch(kind, env, payload),
            labels: labels(payload),
            body: payload
                .text("/pull_request/body")
                .or_else(|| of_pull(payload)?.text("/issue/body"))
                .map(str::to_owned),
            fork,
            deleted: kind == EventKind::Push && payload.flag("/deleted"),
            checkout: None,
            nested: Vec::new(),
            run_url: run_url(env),
            run_id: run_id(env),
            workflow_run: env.get("GITHUB_RUN_ID").and_then(|id| id.parse().ok()),
            job: env.get("GITHUB_JOB").map(str::to_owned),
            labelling: labelling(kind, payload),
            attempt: env
                .get("GITHUB_RUN_ATTEMPT")
                .and_then(|text| text.parse().ok()),
        }
    }
}

/// The payload with the pull request where events have it.
fn with_pull(payload: Value, pull: Option<&Value>) -> Value {
    let Some(pull) = pull else { return payload };
    let mut map = if let Value::Object(map) = payload {
        map
    } else {
        Map::new()
    };
    map.insert("pull_request".to_owned(), pull.clone());
    Value::Object(map)
}

/// The payload, where it is about a comment on a pull request: to GitHub that is an issue too.
fn of_pull(payload: Payload<'_>) -> Option<Payload<'_>> {
    payload.is_object("/issue/pull_request").then_some(payload)
}

fn env_sha(env: &EnvSnapshot) -> Option<CommitSha> {
    env.get("GITHUB_SHA")?.parse().ok()
}

fn pr(kind: EventKind, env: &EnvSnapshot, payload: Payload<'_>, fork: bool) -> Option<PrNumber> {
    let described = || {
        let described = payload.is_object("/pull_request");
        described
            .then(|| payload.pr("/pull_request/number"))
            .flatten()
    };
    match kind {
        EventKind::IssueComment => of_pull(payload)?.pr("/issue/number"),
        EventKind::WorkflowDispatch => payload.pr("/inputs/pr"),
        // GitHub leaves the list empty for forks, and what stands there would not be proven.
        EventKind::WorkflowRun if fork => None,
        EventKind::WorkflowRun => {
            let pulls = payload.at("/workflow_run/pull_requests")?.as_array()?;
            match pulls.as_slice() {
                [_] => payload.pr("/workflow_run/pull_requests/0/number"),
                _ => None,
            }
        }
        EventKind::PullRequest | EventKind::PullRequestTarget => pr_of_ref(env)
            .or_else(described)
            .or_else(|| payload.pr("/number")),
        EventKind::Push | EventKind::MergeGroup | EventKind::Schedule | EventKind::Other => {
            described()
        }
    }
}

/// `refs/pull/<number>/merge`.
fn pr_of_ref(env: &EnvSnapshot) -> Option<PrNumber> {
    let rest = env.get("GITHUB_REF")?.strip_prefix("refs/pull/")?;
    rest.split_once('/')?.0.parse().ok()
}

/// The repository that the change comes from, and whether that is another one.
fn head_repo(kind: EventKind, payload: Payload<'_>, own: Option<u64>) -> (Option<u64>, bool) {
    let foreign = |id: Option<u64>| (id, id.is_none() || id != own);
    if payload.is_object("/pull_request") {
        return foreign(payload.id("/pull_request/head/repo/id"));
    }
    if kind == EventKind::WorkflowRun {
        foreign(payload.id("/workflow_run/head_repository/id"))
    } else {
        // The event is about a pull request and does not say whose.
        let hidden = matches!(kind, EventKind::PullRequest | EventKind::PullRequestTarget);
        (None, hidden)
    }
}

fn head(kind: EventKind, env: &EnvSnapshot, payload: Payload<'_>) -> Option<CommitSha> {
    let told = payload
        .sha("/pull_request/head/sha")
        .or_else(|| payload.sha("/merge_group/head_sha"))
        .or_else(|| payload.sha("/workflow_run/head_sha"));
    // Here GITHUB_SHA is the tip of the default branch, whatever the pull request is.
    let other =
        kind.is_privileged() && (kind != EventKind::IssueComment || of_pull(payload).is_some());
    told.or_else(|| if other { None } else { env_sha(env) })
}

fn base(kind: EventKind, payload: Payload<'_>) -> Option<CommitSha> {
    let told = payload
        .sha("/pull_request/base/sha")
        .or_else(|| payload.sha("/merge_group/base_sha"));
    told.or_else(|| payload.sha("/workflow_run/pull_requests/0/base/sha"))
        // Of a pull request this is the head before.
        .or_else(|| {
            let pushed = kind == EventKind::Push;
            pushed.then(|| payload.sha("/before")).flatten()
        })
}

fn base_branch(kind: EventKind, env: &EnvSnapshot, payload: Payload<'_>) -> Option<String> {
    let branch = |name: &str| name.strip_prefix("refs/heads/").map(str::to_owned);
    let base = env
        .get("GITHUB_BASE_REF")
        .or_else(|| payload.text("/pull_request/base/ref"))
        .or_else(|| payload.text("/workflow_run/pull_requests/0/base/ref"));
    if let Some(base) = base {
        return Some(branch(base).unwrap_or_else(|| base.to_owned()));
    }
    if kind == EventKind::IssueComment && of_pull(payload).is_some() {
        // Its ref is the default branch, and the pull request may go to another.
        return None;
    }
    // A tag or a pull request's own ref is no branch that anything goes to.
    payload
        .text("/merge_group/base_ref")
        .or_else(|| env.get("GITHUB_REF"))
        .and_then(branch)
}

fn labels(payload: Payload<'_>) -> Vec<String> {
    let labels = payload
        .at("/pull_request/labels")
        .or_else(|| of_pull(payload)?.at("/issue/labels"));
    let labels = labels.and_then(Value::as_array).into_iter().flatten();
    labels
        .filter_map(|label| Some(label.get("name")?.as_str()?.to_owned()))
        .collect()
}

fn labelling(kind: EventKind, payload: Payload<'_>) -> Labelling {
    let of_pull = matches!(kind, EventKind::PullRequest | EventKind::PullRequestTarget);
    let text = |pointer| payload.text(pointer).map(str::to_owned);
    match payload.text("/action") {
        Some("opened") if of_pull => Labelling::Opened,
        Some("labeled") if of_pull => {
            text("/label/name").map_or(Labelling::Unknown, |label| Labelling::Set {
                label,
                by: text("/sender/login"),
                at: text("/pull_request/updated_at"),
            })
        }
        _ => Labelling::Unknown,
    }
}

fn run_url(env: &EnvSnapshot) -> Option<String> {
    let server = env.get("GITHUB_SERVER_URL").unwrap_or("https://github.com");
    let (repo, run) = (env.get("GITHUB_REPOSITORY")?, env.get("GITHUB_RUN_ID")?);
    let attempt = env.get("GITHUB_RUN_ATTEMPT").unwrap_or("1");
    Some(format!(
        "{server}/{repo}/actions/runs/{run}/attempts/{attempt}"
    ))
}

fn run_id(env: &EnvSnapshot) -> Option<String> {
    let run = env.get("GITHUB_RUN_ID")?;
    let attempt = env.get("GITHUB_RUN_ATTEMPT").unwrap_or("1");
    let job = env.get("GITHUB_JOB").unwrap_or("job");
    Some(format!("{run}-{attempt}-{job}"))
}
