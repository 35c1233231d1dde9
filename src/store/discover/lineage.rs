//! Which commit a measured one should be held against, and those before it.
//!
//! A pull request is usually measured as the merge of its head into its base: then the base side
//! is that merge's first parent. Where the head itself was checked out, the base side is where it
//! branched off. Mixing the two bills a pull request for the work of others.

use serde::Deserialize;

use crate::{
    context::{Measured, Trigger},
    github::{
        GitHub, GitHubError,
        operations::{COMPARE, GET_COMMIT, LIST_COMMITS},
    },
    ids::{CommitSha, RepoSlug},
};

/// Commits looked back at, at most.
pub(super) const MOST: usize = 100;

/// The commit that should be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The commit.
    pub commit: String,
    /// What it is to the measured one, in words.
    pub is: &'static str,
}

#[derive(Debug, Deserialize)]
struct Commit {
    #[serde(default)]
    parents: Vec<Sha>,
}

#[derive(Debug, Deserialize)]
struct Sha {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Comparison {
    merge_base_commit: Sha,
}

/// How the commit is found: known from the event, or by asking.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Known(Parent),
    FirstParent(CommitSha, &'static str),
    MergeBase(String, CommitSha),
    Nobody,
}

/// The pure part: `measured` is the commit that was checked out, where that is known.
fn way(trigger: &Trigger, measured: Option<&CommitSha>) -> Way {
    let known = |commit: &CommitSha, is| {
        Way::Known(Parent {
            commit: commit.to_string(),
            is,
        })
    };
    // Git knows it without asking anybody.
    if let Measured::Merge { base } = trigger.measured() {
        return known(
            base,
            "the first parent of the merge commit that is measured",
        );
    }
    let real = |commit: &&CommitSha| commit.as_str().bytes().any(|byte| byte != b'0');
    let base = trigger.base.as_ref().filter(real);
    let event = trigger.event.as_deref().unwrap_or_default();
    match event {
        "merge_group" => base.map_or(Way::Nobody, |base| {
            known(base, "what this entry of the merge queue is put on")
        }),
        "push" => match (base, &trigger.head) {
            (Some(before), _) => known(before, "the commit before this push"),
            (None, Some(head)) => Way::FirstParent(head.clone(), "the commit before this one"),
            (None, None) => Way::Nobody,
        },
        _ if event.starts_with("pull_request") || trigger.described => {
            pull_request(trigger, measured)
        }
        _ => {
            let on_default =
                trigger.default_branch.is_none() || trigger.base_branch == trigger.default_branch;
            let own = measured.or(trigger.sha.as_ref());
            match (own, &trigger.default_branch) {
                (Some(own), Some(default)) if !on_default => {
                    Way::MergeBase(default.clone(), own.clone())
                }
                (Some(own), _) => known(own, "the same commit, measured before"),
                (None, _) => Way::Nobody,
            }
        }
    }
}

fn pull_request(trigger: &Trigger, measured: Option<&CommitSha>) -> Way {
    let merge = trigger.sha.as_ref().filter(|sha| {
        trigger.event.as_deref() == Some("pull_request") && trigger.head.as_ref() != Some(*sha)
    });
    let is_merge = match (merge, measured) {
        (Some(merge), Some(measured)) => merge == measured,
        // What a checkout without further settings has.
        (Some(_), None) => true,
        (None, _) => false,
    };
    match (merge, &trigger.head, &trigger.base) {
        (Some(merge), _, _) if is_merge => Way::FirstParent(
            merge.clone(),
            "the first parent of the merge commit that is measured",
        ),
        (_, Some(head), Some(base)) => Way::MergeBase(base.to_string(), head.clone()),
        (_, _, Some(base)) => Way::Known(Parent {
            commit: base.to_string(),
            is: "the base that the event names",
        }),
        _ => Way::Nobody,
    }
}

/// The commit to compare with; the event's base where GitHub does not tell more.
pub async fn parent(
    github: &GitHub,
    repo: &RepoSlug,
    trigger: &Trigger,
    measured: Option<&CommitSha>,
) -> Option<Parent> {
    let asked = match way(trigger, measured) {
        Way::Known(parent) => return Some(parent),
        Way::Nobody => return None,
        Way::FirstParent(commit, is) => first_parent(github, repo, commit.as_str(), is).await,
        Way::MergeBase(base, head) => merge_base(github, repo, &base, head.as_str()).await,
    };
    match asked {
        Ok(Some(parent)) => Some(parent),
        Ok(None) => named(trigger),
        Err(error) => {
            tracing::info!("the exact parent is not known: {error}");
            named(trigger)
        }
    }
}

fn named(trigger: &Trigger) -> Option<Parent> {
    let base = trigger.base.as_ref()?;
    Some(Parent {
        commit: base.to_string(),
        is: "the base that the event names",
    })
}

async fn first_parent(
    github: &GitHub,
    repo: &RepoSlug,
    commit: &str,
    is: &'static str,
) -> Result<Option<Parent>, GitHubError> {
    let request = GET_COMMIT.request(&[repo.owner(), repo.name(), commit]);
    let parents = github.ask::<Commit>(&request).await?.value.parents;
    let first = parents.into_iter().next();
    Ok(first.map(|parent| Parent {
        commit: parent.sha,
        is,
    }))
}

async fn merge_base(
    github: &GitHub,
    repo: &RepoSlug,
    base: &str,
    head: &str,
) -> Result<Option<Parent>, GitHubError> {
    let both = format!("{base}...{head}");
    let request = COMPARE
        .request(&[repo.owner(), repo.name(), &both])
        .query("per_page", "1");
    let comparison = github.ask::<Comparison>(&request).await?.value;
    Ok(Some(Parent {
        commit: comparison.merge_base_commit.sha,
        is: "where the measured commit branched off",
    }))
}

/// A commit and those before it, nearest first; the commit alone where GitHub does not tell.
pub(super) async fn ancestors(github: &GitHub, repo: &RepoSlug, commit: &str) -> Vec<String> {
    let request = LIST_COMMITS
        .request(&[repo.owner(), repo.name()])
        .query("sha", commit);
    let listed = github
        .pages(request, MOST, |page: Vec<Sha>| page)
        .await
        .unwrap_or_else(|error| {
            tracing::info!("the commits before {commit} are not known: {error}");
            Vec::new()
        });
    let mut found = vec![commit.to_ascii_lowercase()];
    for listed in listed {
        let sha = listed.sha.to_ascii_lowercase();
        if !found.contains(&sha) {
            found.push(sha);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha(letter: &str) -> CommitSha {
        letter.repeat(40).parse().unwrap()
    }

    fn trigger(event: &str) -> Trigger {
        Trigger {
            event: Some(event.into()),
            sha: Some(sha("c")),
            head: Some(sha("a")),
            base: Some(sha("b")),
            base_branch: Some("main".into()),
            default_branch: Some("main".into()),
            ..Trigger::default()
        }
    }

    #[test]
    fn a_pull_request_is_held_against_what_was_merged_into_it() {
        let pull = trigger("pull_request");
        let first = Way::FirstParent(
            sha("c"),
            "the first parent of the merge commit that is measured",
        );
        assert_eq!(way(&pull, None), first);
        assert_eq!(way(&pull, Some(&sha("c"))), first);
        let branched = Way::MergeBase(sha("b").to_string(), sha("a"));
        assert_eq!(way(&pull, Some(&sha("a"))), branched);
        // The token's event measures the head, if it measures anything of the pull request.
        assert_eq!(way(&trigger("pull_request_target"), None), branched);
        let headless = Trigger {
            sha: None,
            head: None,
            ..pull
        };
        assert!(matches!(way(&headless, None), Way::Known(_)));
    }

    #[test]
    fn every_other_event_has_its_own() {
        let of = |trigger: &Trigger| {
            let way = way(trigger, None);
            if let Way::Known(parent) = way {
                parent.commit
            } else {
                format!("{way:?}")
            }
        };
        assert_eq!(of(&trigger("merge_group")), "b".repeat(40));
        assert_eq!(of(&trigger("push")), "b".repeat(40));
        let new_branch = Trigger {
            base: Some(sha("0")),
            ..trigger("push")
        };
        assert!(matches!(way(&new_branch, None), Way::FirstParent(..)));
        assert_eq!(of(&trigger("schedule")), "c".repeat(40));
        let elsewhere = Trigger {
            base_branch: Some("feature".into()),
            ..trigger("workflow_dispatch")
        };
        assert_eq!(
            way(&elsewhere, None),
            Way::MergeBase("main".into(), sha("c"))
        );
        assert_eq!(way(&Trigger::default(), None), Way::Nobody);
    }
}
