//! Who accepted a regression, when, and for which commit: asked of GitHub once it was measured.
//!
//! A re-run is told of labels and description as they were when its event happened, and the label
//! mostly comes after the red cross. So both are read anew.
//!
//! Whether the label is for the measured commit is told by GitHub's clock alone: the label's event
//! must be later than the push that made the commit the branch's head. Commits carry dates too, and
//! whoever makes one can choose them. Sources, the best first:
//!
//! 1. the repository's activity, which lists pushes with their time;
//! 2. the event of this run, where the label is what happened, or the pull request was opened with it;
//! 3. when this workflow run was made, which is after the push, and no forced push since the label.
//!
//! What cannot be shown does not count.

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    context::{self, Accept, Expires, Inputs, Labelling, Role, SetBy, Standing, Trigger},
    github::{
        GitHub, GitHubError, Operation, Request,
        operations::{GET_PERMISSION, GET_PULL, GET_RUN, LIST_ACTIVITY, LIST_EVENTS},
    },
    ids::{CommitSha, PrNumber, RepoSlug},
};

/// Events of a pull request that are read.
const MOST_EVENTS: usize = 3_000;
/// Pushes to a branch that are read, the newest first.
const MOST_PUSHES: &str = "100";

#[derive(Debug, Deserialize)]
struct Pull {
    body: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    head: Head,
}

#[derive(Debug, Deserialize)]
struct Label {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Head {
    #[serde(rename = "ref")]
    branch: String,
    /// Gone with a deleted fork.
    repo: Option<Repo>,
}

#[derive(Debug, Deserialize)]
struct Repo {
    full_name: String,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "event")]
    kind: String,
    actor: Option<Actor>,
    label: Option<Label>,
    created_at: String,
}

#[derive(Debug, Deserialize)]
struct Actor {
    login: String,
}

/// A push, as the repository's activity tells of it.
#[derive(Debug, Deserialize)]
struct Push {
    after: String,
    timestamp: String,
}

#[derive(Debug, Deserialize)]
struct Run {
    head_sha: String,
    created_at: String,
}

#[derive(Debug, Deserialize)]
struct Permission {
    role_name: Option<String>,
    #[serde(default)]
    permission: String,
}

/// The inputs with labels and description as they are now. Where GitHub cannot be asked, the inputs
/// as they were, and the log says why.
pub(super) async fn heard(inputs: &Inputs) -> Inputs {
    let mut inputs = inputs.clone();
    let publish = &inputs.publish;
    let (Some(accept), Some(token), Some(repo), Some(pr)) = (
        &inputs.policy.accept,
        &publish.token,
        &publish.repo,
        publish.pr,
    ) else {
        return inputs;
    };
    let heard = match GitHub::new(&publish.api_url, token.clone()) {
        Ok(github) => {
            let question = Question {
                github,
                repo,
                pr,
                trigger: &inputs.trigger,
            };
            let setting = inputs.layers.text("accept-reason");
            question.answer(accept, setting).await
        }
        Err(error) => Err(error),
    };
    match heard {
        Ok(accept) => {
            let label = &accept.rule.label;
            tracing::info!("the label {label} {}", accept.standing);
            inputs.policy.accept = Some(accept);
        }
        Err(error) => {
            tracing::warn!("labels are those of the event, GitHub does not tell today's: {error}");
        }
    }
    inputs
}

/// Whom to ask about which pull request.
struct Question<'a> {
    github: GitHub,
    repo: &'a RepoSlug,
    pr: PrNumber,
    trigger: &'a Trigger,
}

impl Question<'_> {
    async fn answer(&self, known: &Accept, setting: Option<&str>) -> Result<Accept, GitHubError> {
        let request = self.request(&GET_PULL, &[&self.pr.to_string()]);
        let pull: Pull = self.github.ask(&request).await?.value;
        let rule = known.rule.clone();
        let labelled = pull
            .labels
            .iter()
            .any(|label| context::is_same_label(&rule.label, &label.name));
        let standing = if labelled {
            self.standing(&rule, &pull).await
        } else {
            Standing::Absent
        };
        Ok(Accept {
            rule,
            standing,
            reasons: context::reasons(setting, pull.body.as_deref().unwrap_or_default()),
        })
    }

    async fn standing(&self, rule: &context::AcceptRule, pull: &Pull) -> Standing {
        let request = self.request(&LIST_EVENTS, &[&self.pr.to_string()]);
        let events = self.github.pages(request, MOST_EVENTS, |all| all).await;
        let events: Vec<Event> = match events {
            Ok(events) => events,
            // Then nobody knows who, and when; for a label without conditions that is no matter.
            Err(_) if rule.expires == Expires::Never && rule.by.is_none() => Vec::new(),
            Err(error) => return Standing::NotTold(error.to_string()),
        };
        let set = set_by(&events, &rule.label);
        if let Some(least) = rule.by
            && let Some(refused) = self.refused(&set, least).await
        {
            return refused;
        }
        if rule.expires == Expires::Never {
            return Standing::Counts(set);
        }
        self.fresh(&rule.label, set, &events, pull).await
    }

    /// Whether the label was set for the measured commit.
    async fn fresh(&self, label: &str, set: SetBy, events: &[Event], pull: &Pull) -> Standing {
        let Some(head) = self.trigger.head.clone() else {
            return Standing::NotTold("which commit was measured is not known".to_owned());
        };
        let Some(at) = set.at.as_deref().and_then(time) else {
            return Standing::NotTold("GitHub does not tell when it was set".to_owned());
        };
        let pushes = self.pushes(pull).await;
        if let Some(pushed) = pushed_at(&pushes, &head) {
            return if at > pushed && !forced_since(events, at) {
                Standing::Counts(set)
            } else {
                let meant = meant_at(&pushes, at).filter(|meant| *meant != head);
                Standing::Stale { set, meant, head }
            };
        }
        if self.event_shows(label) {
            return Standing::Counts(set);
        }
        match self.run_made().await {
            Ok(Some(made)) if at > made && !forced_since(events, at) => Standing::Counts(set),
            Ok(Some(_)) => Standing::Stale {
                set,
                meant: None,
                head,
            },
            Ok(None) => {
                Standing::NotTold("GitHub does not tell when this commit was pushed".to_owned())
            }
            Err(error) => Standing::NotTold(error.to_string()),
        }
    }

    /// Pushes to the pull request's branch, the newest first; none where GitHub does not tell.
    async fn pushes(&self, pull: &Pull) -> Vec<Push> {
        let name = pull.head.repo.as_ref().map(|repo| &repo.full_name);
        let Some(repo) = name.and_then(|name| name.parse::<RepoSlug>().ok()) else {
            return Vec::new();
        };
        let branch = format!("refs/heads/{}", pull.head.branch);
        let request = LIST_ACTIVITY
            .request(&[repo.owner(), repo.name()])
            .query("ref", &branch)
            .query("direction", "desc")
            .query("per_page", MOST_PUSHES);
        match self.github.ask::<Vec<Push>>(&request).await {
            Ok(answer) => answer.value,
            Err(error) => {
                tracing::info!("the pushes of {repo} are not told: {error}");
                Vec::new()
            }
        }
    }

    /// Whether this run's own event shows that the label is for its commit.
    fn event_shows(&self, label: &str) -> bool {
        let had = || {
            let mut labels = self.trigger.labels.iter();
            labels.any(|name| context::is_same_label(label, name))
        };
        match &self.trigger.labelling {
            Labelling::Set { label: set, .. } => context::is_same_label(label, set),
            Labelling::Opened => had(),
            Labelling::Unknown => false,
        }
    }

    /// When this workflow run was made; `None` where it is not one of the measured commit.
    async fn run_made(&self) -> Result<Option<Timestamp>, GitHubError> {
        let (Some(run), Some(head)) = (self.trigger.workflow_run, &self.trigger.head) else {
            return Ok(None);
        };
        let request = self.request(&GET_RUN, &[&run.to_string()]);
        let run: Run = self.github.ask(&request).await?.value;
        let same = run.head_sha == head.as_str();
        Ok(time(&run.created_at).filter(|_| same))
    }

    /// Why who set the label may not; `None` where they may.
    async fn refused(&self, set: &SetBy, least: Role) -> Option<Standing> {
        let Some(login) = &set.login else {
            let why = "GitHub does not tell who set it".to_owned();
            return Some(Standing::NotTold(why));
        };
        let request = self.request(&GET_PERMISSION, &[login]);
        let role = match self.github.ask::<Permission>(&request).await {
            Ok(answer) => role(&answer.value),
            // Somebody with no part in the repository, or a workflow.
            Err(GitHubError::Status { status: 404, .. }) => None,
            Err(error) => return Some(Standing::NotTold(error.to_string())),
        };
        let login = login.clone();
        (role < Some(least)).then_some(Standing::NotAllowed { login, least })
    }

    fn request(&self, operation: &'static Operation, rest: &[&str]) -> Request {
        let own = [self.repo.owner(), self.repo.name()];
        let values: Vec<&str> = own.into_iter().chain(rest.iter().copied()).collect();
        operation.request(&values)
    }
}

/// The finer word first; a role of the organisation's own is as much as the coarser one says.
fn role(told: &Permission) -> Option<Role> {
    let fine = told.role_name.as_deref().and_then(Role::of);
    fine.or_else(|| Role::of(&told.permission))
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// Who set the label last, and when. It is there, so that no later event took it away.
fn set_by(events: &[Event], label: &str) -> SetBy {
    let labelled = |event: &&Event| {
        let name = event.label.as_ref().map(|label| &label.name);
        event.kind == "labeled" && name.is_some_and(|name| context::is_same_label(label, name))
    };
    let last = events
        .iter()
        .filter(labelled)
        .max_by_key(|event| time(&event.created_at));
    SetBy {
        login: last.and_then(|event| Some(event.actor.as_ref()?.login.clone())),
        at: last.and_then(|event| Some(time(&event.created_at)?.to_string())),
    }
}

/// Whether the branch was pushed by force at or after a time: an earlier commit may be back then.
fn forced_since(events: &[Event], at: Timestamp) -> bool {
    events
        .iter()
        .filter(|event| event.kind == "head_ref_force_pushed")
        .any(|event| time(&event.created_at).is_none_or(|pushed| pushed >= at))
}

/// When a commit last became the head of its branch.
fn pushed_at(pushes: &[Push], head: &CommitSha) -> Option<Timestamp> {
    let same = |push: &&Push| push.after == head.as_str();
    let times = pushes.iter().filter(same);
    times.filter_map(|push| time(&push.timestamp)).max()
}

/// The head of the branch at a time.
fn meant_at(pushes: &[Push], at: Timestamp) -> Option<CommitSha> {
    let timed = |push: &Push| Some((time(&push.timestamp)?, push.after.clone()));
    let earlier = pushes
        .iter()
        .filter_map(timed)
        .filter(|(time, _)| *time < at);
    let (_, meant) = earlier.max_by_key(|(time, _)| *time)?;
    meant.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, label: &str, at: &str) -> Event {
        Event {
            kind: kind.to_owned(),
            actor: Some(Actor {
                login: format!("by-{at}"),
            }),
            label: Some(Label {
                name: label.to_owned(),
            }),
            created_at: at.to_owned(),
        }
    }

    fn push(letter: &str, at: &str) -> Push {
        Push {
            after: letter.repeat(40),
            timestamp: at.to_owned(),
        }
    }

    const T1: &str = "2026-01-01T10:00:00Z";
    const T2: &str = "2026-01-01T11:00:00Z";
    const T3: &str = "2026-01-01T12:00:00Z";

    #[test]
    fn the_last_time_the_label_was_set_counts() {
        let events = [
            event("labeled", "Accept", T2),
            event("labeled", "other", T3),
            event("unlabeled", "accept", T1),
            event("labeled", "accept", T1),
        ];
        let set = set_by(&events, "accept");
        assert_eq!(set.login.as_deref(), Some(&*format!("by-{T2}")));
        assert_eq!(set.at.as_deref(), Some(T2));
        assert_eq!(set_by(&events, "gone"), SetBy::default());
    }

    #[test]
    fn a_commit_that_came_back_counts_from_its_return() {
        let a: CommitSha = "a".repeat(40).parse().unwrap();
        let pushes = [push("a", T3), push("b", T2), push("a", T1)];
        assert_eq!(pushed_at(&pushes, &a), time(T3));
        assert_eq!(pushed_at(&pushes[1..], &a), time(T1));
        assert_eq!(pushed_at(&pushes[1..2], &a), None);
        let at = time("2026-01-01T11:30:00Z").unwrap();
        assert_eq!(meant_at(&pushes, at).unwrap().as_str(), "b".repeat(40));
        assert_eq!(meant_at(&pushes, time(T1).unwrap()), None);
    }

    #[test]
    fn a_forced_push_since_the_label_is_noticed() {
        let events = [event("head_ref_force_pushed", "", T2)];
        assert!(forced_since(&events, time(T1).unwrap()));
        assert!(forced_since(&events, time(T2).unwrap()));
        assert!(!forced_since(&events, time(T3).unwrap()));
        let odd = [event("head_ref_force_pushed", "", "yesterday")];
        assert!(
            forced_since(&odd, time(T3).unwrap()),
            "not known is not safe"
        );
    }

    #[test]
    fn roles_of_ones_own_are_as_much_as_their_base() {
        let told = |fine: Option<&str>, coarse: &str| {
            role(&Permission {
                role_name: fine.map(str::to_owned),
                permission: coarse.to_owned(),
            })
        };
        assert_eq!(told(Some("triage"), "read"), Some(Role::Triage));
        assert_eq!(told(Some("release-captain"), "write"), Some(Role::Write));
        assert_eq!(told(None, "admin"), Some(Role::Admin));
        assert_eq!(told(Some("read"), "read"), None);
    }
}
