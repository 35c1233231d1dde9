//! News about the base branch: a shift of its level is told and blocks nobody.

use super::{Past, Stage, commit, usual};

fn last(event: &'static str) -> Past {
    Past {
        hour: 100,
        slower: 1.06,
        event: Some(event),
        ..Past::default()
    }
}

/// Twelve jobs, six that are 6 % slower, and this one.
fn stage() -> Stage {
    let stage = Stage::new();
    stage.past(usual(0..12));
    stage.past(usual(12..18).map(|job| Past {
        slower: 1.06,
        ..job
    }));
    stage
}

#[test]
fn a_push_tells_since_when_the_branch_is_slower() {
    for event in ["push", "schedule"] {
        let said = stage().report(&last(event), &["--history", "past", "--gate"]);
        let words = format!("shift since {} (2026-01-01), +6", &commit(12)[..7]);
        assert!(said.log().contains(&words), "{event}: {}", said.log());
        // Both gating metrics.
        assert_eq!(
            said.log().matches("shift since").count(),
            2,
            "{}",
            said.log()
        );
        assert_eq!(said.code(), Some(0), "{}", said.log());
    }
}

#[test]
fn a_pull_request_is_not_bothered_with_it() {
    let said = stage().report(&last("pull_request"), &["--history", "past"]);
    assert!(!said.log().contains("shift since"), "{}", said.log());
}

#[test]
fn old_news_are_no_news() {
    let stage = stage();
    stage.past(usual(20..26).map(|job| Past {
        slower: 1.06,
        ..job
    }));
    let said = stage.report(&last("push"), &["--history", "past"]);
    assert!(!said.log().contains("shift since"), "{}", said.log());
}

#[test]
fn a_steady_branch_has_no_news() {
    let stage = Stage::new();
    stage.past(usual(0..30));
    let steady = Past {
        slower: 1.0,
        ..last("push")
    };
    let said = stage.report(&steady, &["--history", "past"]);
    assert!(!said.log().contains("shift since"), "{}", said.log());
}
