//! Whether this run may measure what it was started for. Asked before anything is started.
//!
//! A safety net and no wall: the workflow of a `pull_request` comes with the pull request, and can
//! leave kitt out. What holds strangers off is GitHub's approval policy; docs/forks.md says how.

use super::tell;
use crate::{
    context::{AllowForks, EventKind, Inputs, Origin, Trigger},
    error::Error,
};

/// What is to be done about a run.
#[derive(Debug, PartialEq)]
enum Ruling {
    Run,
    /// It may run, and somebody should know this.
    Warn(String),
    /// It may not, for this reason; then what to do.
    Refuse(String, String),
}

/// Refuses a run that has nothing to measure, or would measure a stranger's code where that is not
/// allowed. Warns where a run is worth a second look.
///
/// # Errors
/// [`Error::Refused`], with what to do.
pub(super) fn guard(inputs: &Inputs) -> Result<(), Error> {
    let trigger = &inputs.trigger;
    if trigger.deleted {
        return Err(Error::Refused {
            title: "there is nothing to measure",
            reason: "this push deleted its branch or tag; the run is on the default branch instead"
                .to_owned(),
            remedy: "Leave such pushes out: `if: ${{ !github.event.deleted }}` at the job."
                .to_owned(),
        });
    }
    if trigger.kind == EventKind::IssueComment && trigger.pr.is_none() {
        tracing::info!("the event is about an issue and no pull request: there is no comment");
    }
    match ruling(trigger, &inputs.allow_forks) {
        Ruling::Run => Ok(()),
        Ruling::Warn(text) => {
            tracing::warn!("{text}");
            tell::warn(&inputs.publish, text);
            Ok(())
        }
        Ruling::Refuse(reason, remedy) => Err(Error::Refused {
            title: "code of another repository is not run here",
            reason,
            remedy,
        }),
    }
}

fn ruling(trigger: &Trigger, allow: &AllowForks) -> Ruling {
    let kind = trigger.kind;
    let whose = match trigger.origin() {
        Origin::Own => None,
        Origin::Foreign(Some(id)) => Some(format!("of another repository (id {id})")),
        Origin::Foreign(None) => {
            Some("of a repository that was deleted or is not named".to_owned())
        }
        Origin::Unknown => Some("of a pull request that the event does not describe".to_owned()),
    };
    let allowed = is_allowed(allow, trigger.head_repo_id);
    match (kind, whose) {
        (EventKind::PullRequest, Some(whose)) if trigger.self_hosted && !allowed => Ruling::Refuse(
            format!(
                "this run would measure code {whose} on a self-hosted runner; nothing was started"
            ),
            format!("{KEEPS} {}", ways(trigger)),
        ),
        _ if !kind.is_privileged() || trigger.pr.is_none() && !trigger.fork => Ruling::Run,
        (_, whose) => privileged(trigger, whose.as_deref(), allowed),
    }
}

/// A run with secrets that is about a pull request.
fn privileged(trigger: &Trigger, whose: Option<&str>, allowed: bool) -> Ruling {
    let event = trigger.event.as_deref().unwrap_or("this event");
    let code = trigger.has_code_of_pull_request();
    match (whose, code) {
        (_, Some(false)) => Ruling::Warn(format!(
            "{event}: the workspace holds the base and not the pull request. The numbers say \
             nothing about the pull request, unless an earlier step brought its change in as an \
             image or a model."
        )),
        (None, _) if trigger.kind == EventKind::PullRequestTarget => Ruling::Warn(format!(
            "{event}: code of a pull request is measured with this repository's secrets and a \
             token that may write. It is from a branch of this repository; use pull_request where \
             you can."
        )),
        (None, _) => Ruling::Run,
        (Some(whose), _) if allowed => Ruling::Warn(format!(
            "{event}: code {whose} is measured with this repository's secrets and a token that may \
             write, because allow-forks says so."
        )),
        (Some(whose), code) => {
            let sure = match code {
                None => {
                    "git cannot tell what the workspace holds, so it is taken for the pull request's"
                }
                _ => "the workspace does not hold the base",
            };
            Ruling::Refuse(
                format!(
                    "this {event} run has secrets and a token that may write, and would measure \
                     code {whose} ({sure}); nothing was started"
                ),
                format!("{SECRETS} {}", ways(trigger)),
            )
        }
    }
}

fn is_allowed(allow: &AllowForks, head_repo: Option<u64>) -> bool {
    match allow {
        AllowForks::No => false,
        AllowForks::Yes => true,
        AllowForks::Ids(ids) => head_repo.is_some_and(|id| ids.contains(&id)),
    }
}

const KEEPS: &str = "A self-hosted runner keeps what a run leaves behind.";
const SECRETS: &str =
    "Measure pull requests of strangers with `pull_request`, which has no secrets.";

/// What to do, from the safest.
fn ways(trigger: &Trigger) -> String {
    let id = match trigger.head_repo_id {
        Some(id) => format!("`true` or `{id}`, the id of that repository"),
        None => "`true`".to_owned(),
    };
    format!(
        "Have runs of outside contributors approved by hand, start the job by a label that \
         maintainers set, and report in a second workflow: docs/forks.md shows how. Then set \
         `allow-forks` to {id}. This check is a safety net and no wall: a pull request may bring a \
         workflow without it."
    )
}

#[cfg(test)]
mod tests;
