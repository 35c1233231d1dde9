//! The question that the settings make: which repository, which name, which commit.

use std::{path::Path, process::Command};

use serde::Deserialize;

use super::keep::{artifact_name, branch_name};
use crate::{
    context::{Inputs, Trigger},
    github::{GitHub, operations::GET_REPOSITORY},
    ids::{CommitSha, RepoSlug},
    store::discover::{self, Conditions, Parent, Place, Question, Search},
};

/// Looks for a baseline.
///
/// # Errors
/// In a sentence, why there is none: what is not known, or what GitHub refused.
pub(super) async fn search(
    inputs: &Inputs,
    conditions: &Conditions,
    scratch: &Path,
    given: Option<Parent>,
) -> Result<Search, String> {
    let asked = Asked::of(inputs).await?;
    let parent = if given.is_some() {
        given
    } else {
        let measured = checked_out(&inputs.workspace);
        let (github, repo) = (&asked.github, &asked.repo);
        discover::parent(github, repo, &inputs.trigger, measured.as_ref()).await
    };
    if let Some(parent) = &parent {
        tracing::info!(
            "a baseline of {} is looked for: {}",
            parent.commit,
            parent.is
        );
    }
    let question = Question {
        parent,
        ..asked.question(inputs, conditions, scratch)
    };
    let found = discover::discover(&asked.github, &question).await;
    found.map_err(|error| error.to_string())
}

/// What every question needs.
pub(super) struct Asked {
    /// The connection.
    pub(super) github: GitHub,
    /// The repository.
    pub(super) repo: RepoSlug,
    id: u64,
    name: String,
    branch: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    id: u64,
}

impl Asked {
    /// Connects, and learns the repository's id where the runner does not tell it.
    ///
    /// # Errors
    /// In a sentence, what is not known.
    pub(super) async fn of(inputs: &Inputs) -> Result<Self, String> {
        let publish = &inputs.publish;
        let (Some(token), Some(repo)) = (&publish.token, &publish.repo) else {
            return Err("no token or repository is known: give github-token and repo".to_owned());
        };
        let github =
            GitHub::new(&publish.api_url, token.clone()).map_err(|error| error.to_string())?;
        let trigger = &inputs.trigger;
        let told = trigger
            .repo_id
            .filter(|_| trigger.repo.as_ref() == Some(repo));
        let id = if let Some(id) = told {
            id
        } else {
            let request = GET_REPOSITORY.request(&[repo.owner(), repo.name()]);
            let answer = github.ask::<Repository>(&request).await;
            answer.map_err(|error| error.to_string())?.value.id
        };
        Ok(Self {
            github,
            repo: repo.clone(),
            id,
            name: artifact_name(inputs),
            branch: branch_name(inputs),
        })
    }

    /// The question without a parent.
    pub(super) fn question<'a>(
        &'a self,
        inputs: &Inputs,
        conditions: &'a Conditions,
        scratch: &'a Path,
    ) -> Question<'a> {
        Question {
            repo: &self.repo,
            repo_id: self.id,
            place: match &self.branch {
                Some(branch) => Place::Branch {
                    branch,
                    folder: &self.name,
                },
                None => Place::Artifacts(&self.name),
            },
            branches: branches(&inputs.trigger),
            own_run: own_run(&inputs.trigger),
            parent: None,
            conditions,
            scratch,
        }
    }
}

/// Branches whose baselines count: where the change goes, and the default branch, from which that
/// one came.
fn branches(trigger: &Trigger) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let names = [&trigger.base_branch, &trigger.default_branch];
    for name in names.into_iter().flatten() {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    found
}

/// The run's number, which begins the identity of the attempt.
fn own_run(trigger: &Trigger) -> Option<u64> {
    let id = trigger.run_id.as_deref()?;
    id.split('-').next()?.parse().ok()
}

/// The commit that is checked out, where git tells.
fn checked_out(workspace: &Path) -> Option<CommitSha> {
    let output = Command::new("git")
        .args(["rev-parse", "--verify", "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .current_dir(workspace)
        .output()
        .ok()?;
    let text = output.status.success().then_some(output.stdout)?;
    String::from_utf8(text).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_and_its_branches_are_known() {
        let trigger = Trigger {
            run_id: Some("123-2-bench".into()),
            base_branch: Some("release".into()),
            default_branch: Some("main".into()),
            ..Trigger::default()
        };
        assert_eq!(own_run(&trigger), Some(123));
        assert_eq!(branches(&trigger), ["release", "main"]);
        let same = Trigger {
            base_branch: Some("main".into()),
            ..trigger
        };
        assert_eq!(branches(&same), ["main"]);
        assert!(branches(&Trigger::default()).is_empty());
    }
}
