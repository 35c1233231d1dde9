//! Who is let in, for every kind of event, workspace and permission.

use super::*;
use crate::context::Checkout;

const BASE: &str = "b";
const HEAD: &str = "c";
const MERGE: &str = "d";

fn at(commit: &str, parents: &[&str]) -> Checkout {
    let sha = |digit: &str| digit.repeat(40).parse().unwrap();
    Checkout {
        commit: sha(commit),
        parents: parents.iter().map(|digit| sha(digit)).collect(),
    }
}

/// A pull request of repository 2 into repository 1.
fn foreign(kind: EventKind) -> Trigger {
    let sha = |digit: &str| Some(digit.repeat(40).parse().unwrap());
    Trigger {
        kind,
        event: Some("event".to_owned()),
        pr: Some("7".parse().unwrap()),
        described: true,
        repo_id: Some(1),
        head_repo_id: Some(2),
        fork: true,
        self_hosted: true,
        sha: sha(if kind == EventKind::PullRequest {
            MERGE
        } else {
            BASE
        }),
        head: sha(HEAD),
        base: sha(BASE),
        ..Trigger::default()
    }
}

fn refused(trigger: &Trigger, allow: &AllowForks) -> bool {
    matches!(ruling(trigger, allow), Ruling::Refuse(..))
}

#[test]
fn a_strangers_pull_request_is_refused_on_a_machine_of_ones_own() {
    let mut trigger = foreign(EventKind::PullRequest);
    let Ruling::Refuse(reason, remedy) = ruling(&trigger, &AllowForks::No) else {
        panic!("not refused");
    };
    assert!(
        reason.contains("id 2") && reason.contains("self-hosted"),
        "{reason}"
    );
    for word in [
        "approved",
        "label",
        "docs/forks.md",
        "`allow-forks`",
        "`2`",
        "no wall",
    ] {
        assert!(remedy.contains(word), "{word}: {remedy}");
    }
    assert!(
        remedy.chars().count() < 480,
        "a report shows no more: {remedy}"
    );
    trigger.head_repo_id = None;
    assert!(
        refused(&trigger, &AllowForks::Ids(vec![2])),
        "a deleted fork has no id to allow"
    );
    trigger.self_hosted = false;
    assert_eq!(
        ruling(&trigger, &AllowForks::No),
        Ruling::Run,
        "a machine of GitHub is thrown away"
    );
}

#[test]
fn who_is_allowed_is_told_by_id() {
    let trigger = foreign(EventKind::PullRequest);
    assert!(refused(&trigger, &AllowForks::Ids(vec![1, 3])));
    assert_eq!(ruling(&trigger, &AllowForks::Ids(vec![3, 2])), Ruling::Run);
    assert_eq!(ruling(&trigger, &AllowForks::Yes), Ruling::Run);
}

#[test]
fn code_of_a_stranger_never_meets_secrets_unasked() {
    let privileged = [
        EventKind::PullRequestTarget,
        EventKind::WorkflowRun,
        EventKind::IssueComment,
    ];
    for kind in privileged {
        let mut trigger = foreign(kind);
        for self_hosted in [true, false] {
            trigger.self_hosted = self_hosted;
            let workspaces = [
                (Some(at(HEAD, &["a"])), true),
                (Some(at(MERGE, &[BASE, HEAD])), true),
                (Some(at("e", &["a"])), true),
                (None, true),
                (Some(at(BASE, &["a"])), false),
            ];
            for (checkout, expected) in workspaces {
                trigger.checkout = checkout;
                assert_eq!(refused(&trigger, &AllowForks::No), expected, "{trigger:?}");
                assert!(
                    matches!(ruling(&trigger, &AllowForks::Yes), Ruling::Warn(_)),
                    "{trigger:?}"
                );
            }
        }
        // The base in the workspace, and the pull request in a folder of it.
        trigger.nested = vec![at("f", &["a"]), at(HEAD, &["a"])];
        assert!(refused(&trigger, &AllowForks::No), "{kind:?}");
        trigger.nested.pop();
        assert!(!refused(&trigger, &AllowForks::No), "{kind:?}");
    }
}

#[test]
fn a_pull_request_that_nobody_describes_is_a_strangers() {
    let trigger = Trigger {
        kind: EventKind::IssueComment,
        pr: Some("7".parse().unwrap()),
        checkout: Some(at(HEAD, &[])),
        ..Trigger::default()
    };
    assert!(refused(&trigger, &AllowForks::No));
    assert!(refused(&trigger, &AllowForks::Ids(vec![2])));
}

#[test]
fn pull_request_target_is_never_silent() {
    let own = Trigger {
        fork: false,
        head_repo_id: Some(1),
        ..foreign(EventKind::PullRequestTarget)
    };
    for checkout in [Some(at(HEAD, &[])), Some(at(BASE, &[])), None] {
        let own = Trigger {
            checkout,
            ..own.clone()
        };
        assert!(
            matches!(ruling(&own, &AllowForks::No), Ruling::Warn(_)),
            "{own:?}"
        );
    }
}

#[test]
fn what_has_no_stranger_in_it_runs() {
    for kind in [
        EventKind::Push,
        EventKind::MergeGroup,
        EventKind::WorkflowDispatch,
        EventKind::Schedule,
        EventKind::IssueComment,
        EventKind::WorkflowRun,
        EventKind::Other,
    ] {
        let trigger = Trigger {
            kind,
            self_hosted: true,
            ..Trigger::default()
        };
        assert_eq!(ruling(&trigger, &AllowForks::No), Ruling::Run, "{kind:?}");
    }
}
