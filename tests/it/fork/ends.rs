//! When nothing is published: quietly where nothing is wrong, with a code where something is.

use std::fs;

use super::{BRANCH, FORK, Stage};
use crate::github::{Level, Rule, Token, What};

#[test]
fn a_branch_that_moved_on_is_left_to_its_next_run() {
    let stage = Stage::measured(50.0);
    stage
        .gh
        .state(|s| s.push_pull(7, &[("src/lib.rs", b"more")]));
    let told = stage.publish(&["--gate"], 0);
    told.nothing("the pull request's branch has moved on since");
    assert_eq!(stage.asked("/zip"), 0, "nothing is fetched");
}

#[test]
fn another_repositorys_branch_of_the_same_name_is_another_branch() {
    // A pull request of the same branch name and commit, from another fork.
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        let commit = s.pull(7).head_sha.clone();
        s.fork_pull(7, "eve/repo");
        s.pull(7).head_sha = commit;
    });
    stage
        .publish(&[], 0)
        .nothing("no open pull request comes from the run's branch");
    // The fork was deleted and its name taken by another one.
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        let fresh = s.repository("mona/other");
        s.pull(7).head_repo = Some(fresh);
    });
    stage
        .publish(&[], 0)
        .nothing("no open pull request comes from the run's branch");
}

#[test]
fn the_pull_request_must_be_open_and_the_only_one() {
    let closed = Stage::measured(50.0);
    closed.gh.state(|s| s.pull(7).open = false);
    closed.publish(&[], 0).nothing("no open pull request");

    let two = Stage::measured(50.0);
    two.gh.state(|s| {
        let main = s.head("org/repo", "main");
        s.branch("org/repo", "next", &main);
        let mut second = s.pull(7).clone();
        (second.number, second.base_ref) = (8, "next".to_owned());
        s.pulls.push(second);
    });
    two.publish(&[], 0)
        .nothing("2 open pull requests come from the run's commit");
}

#[test]
fn a_deleted_fork_has_nobody_to_tell() {
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        s.pull(7).head_repo = None;
        s.runs[0].head_repo = None;
    });
    let told = stage.publish(&[], 0);
    told.nothing("the repository that the run's commit comes from is gone");
    assert_eq!(stage.asked(""), 0);
}

#[test]
fn runs_that_are_none_of_ours_are_passed_over() {
    for (event, conclusion, why) in [
        ("push", "success", "was not started by a pull request"),
        ("schedule", "failure", "was not started by a pull request"),
        (
            "workflow_run",
            "success",
            "was not started by a pull request",
        ),
        (
            "pull_request_target",
            "success",
            "was not started by a pull request",
        ),
        ("pull_request", "skipped", "was skipped"),
        (
            "pull_request",
            "action_required",
            "waits for somebody's approval",
        ),
    ] {
        let stage = Stage::measured(50.0);
        stage.gh.state(|s| {
            let run = &mut s.runs[0];
            run.event = event.to_owned();
            run.conclusion = Some(conclusion.to_owned());
        });
        stage.publish(&["--gate"], 0).nothing(why);
        assert_eq!(stage.asked(""), 0, "{event}");
    }
}

#[test]
fn only_the_expected_workflow_is_heard() {
    let stage = Stage::measured(50.0);
    stage
        .publish(&["--results-workflow", "nightly.yml"], 0)
        .nothing("is none of nightly.yml");
    // The same name in another folder or repository is another workflow.
    let forged = Stage::measured(50.0);
    forged
        .gh
        .state(|s| s.runs[0].path = ".github/workflows/x/bench.yml".to_owned());
    forged
        .publish(&["--results-workflow", "bench.yml"], 0)
        .nothing("is none of bench.yml");
    let told = Stage::measured(50.0).publish(&["--results-workflow", "bench.yml"], 0);
    told.comment();
}

#[test]
fn another_event_or_no_payload_is_a_wrong_configuration() {
    for (name, value, says) in [
        (
            "GITHUB_EVENT_NAME",
            "pull_request",
            "started by pull_request",
        ),
        ("GITHUB_EVENT_NAME", "", "started by nothing"),
        ("GITHUB_EVENT_PATH", "absent.json", "no payload"),
        ("GITHUB_TOKEN", "", "github-token is not set"),
        ("KITT_INPUT_RESULTS_ARTIFACT", "[", "results-artifact"),
    ] {
        let mut stage = Stage::measured(50.0);
        stage.set(name, value);
        let told = stage.publish(&[], 2);
        assert!(told.log.contains(says), "{name}: {told:?}");
        assert_eq!(told.output("verdict"), "error");
        assert_eq!(told.comments, []);
    }
}

#[test]
fn a_read_only_token_fails_and_says_what_to_add() {
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        s.tokens
            .insert("ghs_stage_two".to_owned(), Token::read_only())
    });
    let told = stage.publish(&[], 1);
    assert!(
        told.out
            .contains("::warning title=KITT::the comment was not posted"),
        "{told:?}"
    );
    assert!(told.out.contains("pull-requests: write"), "{told:?}");
    assert!(told.summary.contains("Regressed"), "{told:?}");
    assert_eq!(
        told.summary.matches("### ").count(),
        1,
        "it is said once: {told:?}"
    );
    assert_eq!(told.output("verdict"), "regressed");
    // What the gate says is not hidden by it.
    let gated = Stage::measured(50.0);
    gated.gh.state(|s| {
        s.tokens
            .insert("ghs_stage_two".to_owned(), Token::read_only())
    });
    gated.publish(&["--gate"], 10);
}

#[test]
fn a_token_that_may_not_read_artifacts_is_told_which_right_is_missing() {
    let stage = Stage::measured(50.0);
    let token = Token::read_write().with("actions", Level::None);
    stage
        .gh
        .state(|s| s.tokens.insert("ghs_stage_two".to_owned(), token));
    let told = stage.publish(&[], 1);
    assert!(told.log.contains("actions: read"), "{told:?}");
    assert_eq!(told.output("verdict"), "error");
    assert!(told.summary.contains("actions: read"), "{told:?}");
    assert_eq!(told.comments, []);
}

#[test]
fn an_error_of_github_is_a_failure() {
    let stage = Stage::measured(50.0);
    stage
        .gh
        .state(|s| s.faults.push(Rule::on("GET", "/pulls", What::Status(404))));
    let told = stage.publish(&[], 1);
    assert!(
        told.log.contains("404 to find the pull request"),
        "{told:?}"
    );
}

#[test]
fn the_token_is_never_told_and_never_sent_to_the_storage() {
    let stage = Stage::measured(50.0);
    let told = stage.publish(&[], 0);
    let masks = told.out.matches("ghs_stage_two").count();
    assert_eq!(masks, told.out.matches("::add-mask::ghs_stage_two").count());
    assert!(!told.log.contains("ghs_stage_two") && !told.summary.contains("ghs_stage_two"));
    let blobs: Vec<_> = stage
        .gh
        .seen("", "")
        .into_iter()
        .filter(|seen| seen.blob)
        .collect();
    assert_eq!(blobs.len(), 1);
    assert!(blobs.iter().all(|seen| seen.authorization.is_none()));
}

#[test]
fn a_branch_name_stays_a_value() {
    let branch = "a&state=all&head=org:main#x";
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        s.pull(7).head_ref = branch.to_owned();
        s.runs[0].head_branch = Some(branch.to_owned());
    });
    stage.publish(&[], 0).comment();
    let asked = stage.gh.seen("GET", "/pulls?");
    assert!(
        asked[0]
            .query
            .contains("head=mona%3Aa%26state%3Dall%26head%3Dorg%3Amain%23x"),
        "{asked:?}"
    );
    assert_eq!(FORK.split('/').next(), Some("mona"));
    assert!(
        fs::read_to_string(stage.path("event.json"))
            .unwrap()
            .contains(branch)
    );
    assert_ne!(branch, BRANCH);
}
