//! The run that a `workflow_run` job is about: what GitHub says of it in the event's payload.
//!
//! In: the payload, which GitHub wrote. Names in it (branch, repository) were chosen by whoever
//! opened the pull request: they are compared and encoded, and never used as they are.

use std::path::Path;

use serde_json::Value;

use super::{ContextError, EnvSnapshot, Layers, Pattern, event};
use crate::ids::{CommitSha, RepoSlug};

/// The event that brings a completed run.
const EVENT: &str = "workflow_run";

/// Results of another run, to be reported by this one.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Names of the artifacts that hold them.
    pub artifact: Pattern,
    /// File name of the workflow that must have made them; `None`: any.
    pub workflow: Option<String>,
}

/// Reads the settings.
///
/// # Errors
/// A pattern that is none.
pub(super) fn resolve(layers: &Layers) -> Result<Foreign, ContextError> {
    let artifact = layers.parse::<Pattern>("results-artifact")?;
    Ok(Foreign {
        artifact: artifact.unwrap_or_else(|| Pattern::plain("kitt-results")),
        workflow: layers.text("results-workflow").map(str::to_owned),
    })
}

/// A completed workflow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletedRun {
    /// Its id.
    pub id: u64,
    /// What started it: `pull_request`, `push` …
    pub event: String,
    /// The workflow's file, `.github/workflows/bench.yml`.
    pub path: String,
    /// Commit that it was about: the head of the pull request, not the merge.
    pub head_sha: CommitSha,
    /// Branch of that commit.
    pub head_branch: String,
    /// Repository of that branch; `None` when it was deleted.
    pub head_repository: Option<HeadRepository>,
    /// Attempt, from 1.
    pub attempt: u32,
    /// `success`, `failure`, `cancelled` …
    pub conclusion: String,
}

/// Where a branch lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadRepository {
    /// Its id, which stays when it is renamed.
    pub id: u64,
    /// `owner/name`.
    pub slug: RepoSlug,
}

impl CompletedRun {
    /// Reads the payload that the environment names.
    ///
    /// # Errors
    /// The job was not started by `workflow_run`, or the payload is not there or does not say which
    /// run it is about.
    pub fn read(env: &EnvSnapshot) -> Result<Self, ContextError> {
        let missing = |remedy: String| ContextError::Missing {
            name: EVENT,
            remedy,
        };
        let started_by = env.get("GITHUB_EVENT_NAME").unwrap_or("nothing");
        if started_by != EVENT {
            let shown: String = started_by.chars().take(40).collect();
            return Err(missing(format!(
                "this job was started by {shown}; `kitt ci publish` belongs into a workflow with \
                 `on: workflow_run: {{workflows: […], types: [completed]}}`"
            )));
        }
        let payload = env
            .get("GITHUB_EVENT_PATH")
            .and_then(|path| event::payload(Path::new(path)));
        payload
            .as_ref()
            .and_then(Self::from_payload)
            .ok_or_else(|| {
                missing("GITHUB_EVENT_PATH holds no payload that says which run it is".to_owned())
            })
    }

    fn from_payload(payload: &Value) -> Option<Self> {
        let run = payload.get(EVENT)?;
        let text = |name: &str| run.get(name).and_then(Value::as_str).map(str::to_owned);
        let attempt = run.get("run_attempt").and_then(Value::as_u64);
        Some(Self {
            id: run.get("id")?.as_u64()?,
            event: text("event")?,
            path: text("path").unwrap_or_default(),
            head_sha: text("head_sha")?.parse().ok()?,
            head_branch: text("head_branch").unwrap_or_default(),
            head_repository: run.get("head_repository").and_then(head_repository),
            attempt: attempt.and_then(|n| n.try_into().ok()).unwrap_or(1),
            conclusion: text("conclusion").unwrap_or_default(),
        })
    }

    /// Whether the run is one of this workflow file, given by its name or its path.
    pub fn is_of(&self, workflow: &str) -> bool {
        // A workflow of another repository or ref carries it behind an `@`.
        let path = self.path.split('@').next().unwrap_or_default();
        let name = path.strip_prefix(".github/workflows/");
        let wanted = workflow.strip_prefix("./").unwrap_or(workflow);
        path == wanted || name == Some(wanted)
    }
}

fn head_repository(value: &Value) -> Option<HeadRepository> {
    Some(HeadRepository {
        id: value.get("id")?.as_u64()?,
        slug: value.get("full_name")?.as_str()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn payload() -> Value {
        json!({"action": "completed", "workflow_run": {
            "id": 41, "event": "pull_request", "path": ".github/workflows/bench.yml",
            "head_sha": "a".repeat(40), "head_branch": "patch-1", "run_attempt": 2,
            "conclusion": "failure", "pull_requests": [],
            "head_repository": {"id": 9, "full_name": "mona/engine", "owner": {"login": "mona"}}}})
    }

    #[test]
    fn a_run_is_read() {
        let run = CompletedRun::from_payload(&payload()).unwrap();
        assert_eq!((run.id, run.attempt), (41, 2));
        assert_eq!(run.head_repository.unwrap().slug.owner(), "mona");
        assert_eq!(
            (run.event.as_str(), run.conclusion.as_str()),
            ("pull_request", "failure")
        );
    }

    #[test]
    fn a_deleted_fork_is_no_error_and_a_run_without_a_commit_is() {
        let mut deleted = payload();
        deleted["workflow_run"]["head_repository"] = Value::Null;
        let run = CompletedRun::from_payload(&deleted).unwrap();
        assert_eq!(run.head_repository, None);
        for name in ["id", "event", "head_sha"] {
            let mut broken = payload();
            broken["workflow_run"][name] = json!([]);
            assert_eq!(CompletedRun::from_payload(&broken), None, "{name}");
        }
    }

    #[test]
    fn a_workflow_is_named_by_file_or_path() {
        let mut run = CompletedRun::from_payload(&payload()).unwrap();
        for own in [
            "bench.yml",
            ".github/workflows/bench.yml",
            "./.github/workflows/bench.yml",
        ] {
            assert!(run.is_of(own), "{own}");
        }
        for other in ["", "ench.yml", "bench.yaml", "workflows/bench.yml"] {
            assert!(!run.is_of(other), "{other}");
        }
        run.path = ".github/workflows/bench.yml@refs/heads/main".to_owned();
        assert!(run.is_of("bench.yml"));
        run.path = ".github/workflows/evil/bench.yml".to_owned();
        assert!(!run.is_of("bench.yml"));
    }

    #[test]
    fn another_event_is_told_what_to_do() {
        let env = |name: &str| -> EnvSnapshot {
            [("GITHUB_EVENT_NAME".to_owned(), name.to_owned())]
                .into_iter()
                .collect()
        };
        let error = CompletedRun::read(&env("pull_request"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("started by pull_request"), "{error}");
        assert!(error.contains("on: workflow_run"), "{error}");
        let error = CompletedRun::read(&env("workflow_run")).unwrap_err();
        assert!(error.to_string().contains("GITHUB_EVENT_PATH"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_in_any_field_is_read_or_refused(field in 0_usize..8, text in any::<String>()) {
            let names = ["id", "event", "path", "head_sha", "head_branch", "head_repository",
                "run_attempt", "conclusion"];
            let mut odd = payload();
            odd["workflow_run"][names[field]] = json!(text);
            if let Some(run) = CompletedRun::from_payload(&odd) {
                prop_assert_eq!(run.head_sha.as_str().len(), 40);
            }
        }
    }
}
