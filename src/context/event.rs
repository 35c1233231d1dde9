//! What GitHub says about the run: environment first, payload second, every field optional.

use std::path::Path;

use serde_json::Value;

use super::EnvSnapshot;
use crate::ids::{CommitSha, PrNumber, RepoSlug};

/// Largest event payload kitt reads: GitHub's own are below 25 MB.
const MAX_BYTES: u64 = 32 << 20;

/// Where kitt runs and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trigger {
    /// `pull_request`, `push`, `workflow_dispatch`, …
    pub event: Option<String>,
    /// The repository.
    pub repo: Option<RepoSlug>,
    /// The pull request.
    pub pr: Option<PrNumber>,
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
    /// Whether the pull request comes from another repository, whose token is read-only.
    pub fork: bool,
    /// Link to the run.
    pub run_url: Option<String>,
    /// Identity of this attempt, unique per job.
    pub run_id: Option<String>,
    /// Attempt, from 1.
    pub attempt: Option<u32>,
}

impl Trigger {
    /// Reads the environment and, where it names one, the event's payload. Nothing here fails: a
    /// field that cannot be had is absent, and a payload that cannot be read is logged.
    pub fn read(env: &EnvSnapshot) -> Self {
        let payload = env
            .get("GITHUB_EVENT_PATH")
            .and_then(|path| payload(Path::new(path)));
        Self::from_parts(env, &payload.unwrap_or(Value::Null))
    }

    fn from_parts(env: &EnvSnapshot, payload: &Value) -> Self {
        let at = |pointer: &str| payload.pointer(pointer);
        let sha = |pointer: &str| at(pointer)?.as_str()?.parse().ok();
        let number = || {
            at("/pull_request/number")
                .or_else(|| at("/number"))?
                .as_u64()
        };
        let pull_request = at("/pull_request").is_some_and(Value::is_object);
        let head_repo = at("/pull_request/head/repo/id").and_then(Value::as_u64);
        let base_repo = at("/pull_request/base/repo/id").and_then(Value::as_u64);
        let env_sha = || env.get("GITHUB_SHA")?.parse().ok();
        Self {
            event: env.get("GITHUB_EVENT_NAME").map(str::to_owned),
            repo: env
                .get("GITHUB_REPOSITORY")
                .and_then(|slug| slug.parse().ok()),
            pr: pull_request
                .then(number)
                .flatten()
                .and_then(|number| number.to_string().parse().ok()),
            head: sha("/pull_request/head/sha")
                .or_else(|| sha("/merge_group/head_sha"))
                .or_else(env_sha),
            base: sha("/pull_request/base/sha")
                .or_else(|| sha("/merge_group/base_sha"))
                .or_else(|| sha("/before")),
            git_ref: env
                .get("GITHUB_HEAD_REF")
                .or_else(|| env.get("GITHUB_REF"))
                .map(str::to_owned),
            base_branch: base_branch(env, payload),
            labels: labels(payload),
            body: at("/pull_request/body")
                .and_then(Value::as_str)
                .map(str::to_owned),
            // A deleted fork has no head repository: what cannot be shown to be ours is foreign.
            fork: pull_request && (head_repo.is_none() || head_repo != base_repo),
            run_url: run_url(env),
            run_id: run_id(env),
            attempt: env
                .get("GITHUB_RUN_ATTEMPT")
                .and_then(|text| text.parse().ok()),
        }
    }
}

fn base_branch(env: &EnvSnapshot, payload: &Value) -> Option<String> {
    let at = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let branch = |name: &str| name.strip_prefix("refs/heads/").map(str::to_owned);
    let base = at("/pull_request/base/ref").or_else(|| env.get("GITHUB_BASE_REF"));
    if let Some(base) = base {
        return Some(branch(base).unwrap_or_else(|| base.to_owned()));
    }
    // A tag or a pull request's own ref is no branch that anything goes to.
    at("/merge_group/base_ref")
        .or_else(|| env.get("GITHUB_REF"))
        .and_then(branch)
}

fn labels(payload: &Value) -> Vec<String> {
    let labels = payload.pointer("/pull_request/labels");
    let labels = labels.and_then(Value::as_array).into_iter().flatten();
    labels
        .filter_map(|label| Some(label.get("name")?.as_str()?.to_owned()))
        .collect()
}

fn payload(path: &Path) -> Option<Value> {
    let readable = std::fs::metadata(path).is_ok_and(|file| file.len() <= MAX_BYTES);
    let text = if readable {
        std::fs::read_to_string(path).ok()
    } else {
        None
    };
    let value = text.and_then(|text| serde_json::from_str(&text).ok());
    if value.is_none() {
        tracing::warn!(path = %path.display(), "the event payload cannot be read; going on without it");
    }
    value
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> EnvSnapshot {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_pull_request_of_a_fork_is_one() {
        let sha = "a".repeat(40);
        let pr = |head: Value| {
            let payload = json!({"number": 7, "pull_request": {
                "number": 7, "head": {"sha": sha, "repo": head}, "base": {"sha": sha, "repo": {"id": 1}}}});
            Trigger::from_parts(&env(&[("GITHUB_REPOSITORY", "o/r")]), &payload)
        };
        let own = pr(json!({"id": 1}));
        assert_eq!(
            (own.pr.unwrap().to_string().as_str(), own.fork),
            ("7", false)
        );
        assert_eq!(own.head.unwrap().as_str(), sha);
        assert!(pr(json!({"id": 2})).fork);
        assert!(pr(Value::Null).fork, "a deleted fork is still one");
    }

    #[test]
    fn an_issue_number_is_no_pull_request() {
        let payload = json!({"number": 7, "issue": {}});
        assert_eq!(Trigger::from_parts(&env(&[]), &payload).pr, None);
    }

    /// Keys and nesting as GitHub sends them: labels are objects, refs are short in a pull request
    /// and full in a merge group.
    #[test]
    fn labels_base_and_description_are_those_of_the_event() {
        let label =
            |name: &str| json!({"id": 208, "name": name, "color": "f29513", "default": false});
        let payload = json!({"action": "labeled", "number": 7, "pull_request": {
            "number": 7, "body": "Adds a layer.\r\nkitt-accept: two more layers",
            "labels": [label("perf"), label("kitt/accept-regression")],
            "base": {"ref": "release/1.2", "repo": {"id": 1}}, "head": {"ref": "x", "repo": {"id": 1}}}});
        let env = env(&[("GITHUB_REF", "refs/pull/7/merge")]);
        let trigger = Trigger::from_parts(&env, &payload);
        assert_eq!(trigger.labels, ["perf", "kitt/accept-regression"]);
        assert_eq!(trigger.base_branch.as_deref(), Some("release/1.2"));
        assert!(trigger.body.unwrap().contains("two more layers"));
    }

    #[test]
    fn every_event_has_the_branch_it_goes_to() {
        let of = |pairs: &[(&str, &str)], payload: Value| {
            Trigger::from_parts(&env(pairs), &payload).base_branch
        };
        let main = Some("main".to_owned());
        assert_eq!(of(&[("GITHUB_REF", "refs/heads/main")], Value::Null), main);
        let merge = json!({"merge_group": {"base_ref": "refs/heads/main", "head_ref": "refs/heads/gh-readonly-queue/main/pr-1-a"}});
        assert_eq!(
            of(
                &[("GITHUB_REF", "refs/heads/gh-readonly-queue/main/pr-1-a")],
                merge
            ),
            main
        );
        assert_eq!(
            of(
                &[
                    ("GITHUB_BASE_REF", "main"),
                    ("GITHUB_REF", "refs/pull/7/merge")
                ],
                Value::Null
            ),
            main
        );
        assert_eq!(of(&[("GITHUB_REF", "refs/tags/v1")], Value::Null), None);
        let odd = json!({"pull_request": {"labels": [{"name": 7}, "x", {}], "body": null}});
        let odd = Trigger::from_parts(&env(&[]), &odd);
        assert_eq!((odd.labels, odd.body), (Vec::new(), None));
    }

    #[test]
    fn nothing_known_is_no_error() {
        assert_eq!(
            Trigger::from_parts(&env(&[]), &Value::Null),
            Trigger::default()
        );
        let broken = env(&[("GITHUB_REPOSITORY", "not a slug"), ("GITHUB_SHA", "zz")]);
        assert_eq!(Trigger::from_parts(&broken, &json!([1])).repo, None);
    }
}
