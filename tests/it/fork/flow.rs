//! A fork's results on their way to the pull request.

use std::fs;

use super::{FORK, Stage, results, tree, written};
use crate::github::zip;

/// What every document of a fork's numbers says.
const LABEL: &str = "Measured on fork code";

#[test]
fn numbers_are_judged_here_and_told_where_they_come_from() {
    let stage = Stage::measured(50.0);
    let told = stage.publish(&["--check-run"], 0);
    let comment = told.comment();
    assert!(comment.contains("### ❌ Regressed: "), "{comment}");
    assert!(
        comment.contains(&format!("**{LABEL}**: the code of {FORK}")),
        "{comment}"
    );
    let run = format!(
        "https://github.com/org/repo/actions/runs/{}/attempts/1",
        stage.run
    );
    assert!(comment.contains(&format!("[run]({run})")), "{comment}");
    assert!(
        comment.contains(&format!("head <code>{}</code>", &stage.head[..7])),
        "{comment}"
    );
    assert!(told.summary.contains(LABEL) && !told.summary.contains("<!--"));
    let html = fs::read_to_string(stage.path("out/results-1/report.html")).unwrap();
    assert!(html.contains(&format!("<li class=\"pill\">{LABEL}</li>")));
    assert_eq!(told.output("verdict"), "regressed");
    assert_eq!(told.output("results-path"), "out/results-1");
    assert!(told.output("comment-url").contains("/pull/7#issuecomment-"));
    assert_eq!(tree(&stage.path("out")), written());
}

#[test]
fn the_gate_is_this_repositorys_and_only_when_it_asks() {
    let stage = Stage::measured(50.0);
    stage.write(".github/kitt.yml", "gate: true\n");
    let told = stage.publish(&[], 10);
    assert!(told.comment().contains("gate failed"), "{told:?}");
    stage.write(
        ".github/kitt.yml",
        "gate: true\nlimits: [{metric: ttft_ms.p50, max: 1}]\n",
    );
    fs::remove_dir_all(stage.path("out")).unwrap();
    assert_eq!(
        Stage::measured(100.0)
            .publish(&["--gate"], 0)
            .output("passed"),
        "true"
    );
    let strict = Stage::measured(100.0);
    strict.publish(&["--gate", "--strict", "--baseline-dir", "absent"], 11);
}

#[test]
fn a_second_run_updates_the_comment_of_the_first() {
    let stage = Stage::measured(50.0);
    stage.publish(&[], 0);
    fs::remove_dir_all(stage.path("out")).unwrap();
    // The next attempt of the same run replaces its artifact.
    stage.artifact(
        "kitt-results",
        &zip(&[("metrics.json", results(100.0).to_string().as_bytes())]),
    );
    let told = stage.publish(&[], 0);
    assert!(!told.comment().contains("Regressed"), "{told:?}");
    assert_eq!(stage.gh.seen("POST", "/issues/7/comments").len(), 1);
}

#[test]
fn a_failed_run_is_reported_too() {
    let stage = Stage::measured(50.0);
    stage
        .gh
        .state(|s| s.runs[0].conclusion = Some("failure".to_owned()));
    assert!(stage.publish(&[], 0).comment().contains("Regressed"));

    let none = Stage::new();
    none.gh
        .state(|s| s.runs[0].conclusion = Some("failure".to_owned()));
    let told = none.publish(&[], 0);
    let comment = told.comment();
    assert!(
        comment.contains("Could not measure: the run left no results"),
        "{comment}"
    );
    assert!(comment.contains("ended with \\`failure\\`"), "{comment}");
    assert!(
        comment.contains(&format!("actions/runs/{}/", none.run)),
        "{comment}"
    );
    assert!(comment.contains(LABEL), "{comment}");
    assert!(told.summary.contains("left no results"), "{told:?}");
    assert_eq!(told.output("verdict"), "error");
    // A gate does not open on nothing.
    let gated = Stage::new();
    gated.publish(&["--gate"], 1);
}

#[test]
fn results_that_were_fetched_already_are_read_from_their_folder() {
    let mut stage = Stage::new();
    stage.write("fetched/metrics.json", &results(50.0).to_string());
    stage.set("KITT_INPUT_RESULTS_DIR", "fetched");
    let told = stage.publish(&[], 0);
    assert!(told.comment().contains("Regressed"), "{told:?}");
    assert_eq!(stage.asked("/artifacts"), 0);
    assert_eq!(
        tree(&stage.path("fetched")),
        ["metrics.json"],
        "it is left as it is"
    );

    let mut none = Stage::new();
    none.set("KITT_INPUT_RESULTS_DIR", "absent");
    assert!(none.publish(&[], 0).comment().contains("left no results"));
}

#[test]
fn a_pull_request_of_this_repository_is_told_without_the_label() {
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        let pull = s.pull(7);
        (pull.head_repo, pull.head_owner) = (Some(1), "org".to_owned());
        s.runs[0].head_repo = Some(1);
    });
    let told = stage.publish(&[], 0);
    assert!(told.comment().contains("Regressed"), "{told:?}");
    assert!(!told.comment().contains(LABEL), "{told:?}");
}

#[test]
fn the_policy_is_that_of_the_branch_the_change_goes_to() {
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| {
        let main = s.head("org/repo", "main");
        s.branch("org/repo", "release/1", &main);
        s.pull(7).base_ref = "release/1".to_owned();
    });
    stage.write(
        ".github/kitt.yml",
        "gate: true
policy:
  contexts:
    - {name: releases, branches: ['release/*'], metrics: [{name: output_tps, gate-effect: 0.9}]}
    - {name: pulls, events: [pull_request], stage: warn}
    - {name: nightly, events: [schedule, workflow_run], stage: block}
",
    );
    let told = stage.publish(&[], 0);
    for said in [
        "releases applies",
        "pulls applies",
        "nightly does not apply",
    ] {
        assert!(told.log.contains(said), "{said}: {told:?}");
    }
}

#[test]
fn every_leg_of_a_matrix_is_told() {
    let stage = Stage::new();
    for (name, tps) in [("kitt-results-a", 100.0), ("kitt-results-b", 50.0)] {
        let metrics = results(tps).to_string();
        stage.artifact(name, &zip(&[("metrics.json", metrics.as_bytes())]));
    }
    stage.artifact("logs", b"no results");
    let told = stage.publish(&["--results-artifact", "kitt-results-*", "--gate"], 10);
    assert_eq!(told.output("verdict"), "regressed");
    assert_eq!(told.output("results-path"), "out");
    assert_eq!(told.summary.matches(LABEL).count(), 2);
    assert!(told.summary.contains("Unchanged") || told.summary.contains("Inconclusive"));
    for number in [1, 2] {
        let file = format!("out/results-{number}/report.html");
        assert!(stage.path(&file).is_file(), "{file}");
    }
}

#[test]
fn a_baseline_for_each_leg_is_found_by_its_name() {
    let stage = Stage::new();
    for (name, tps) in [("kitt-results-a", 100.0), ("kitt-results-b", 50.0)] {
        let metrics = results(tps).to_string();
        stage.artifact(name, &zip(&[("metrics.json", metrics.as_bytes())]));
        stage.write(&format!("bases/{name}/metrics.json"), &metrics);
    }
    stage.publish(
        &[
            "--results-artifact",
            "kitt-results-*",
            "--gate",
            "--baseline-dir",
            "bases",
        ],
        0,
    );
}

#[test]
fn only_what_is_asked_for_is_published() {
    let stage = Stage::measured(50.0);
    let told = stage.publish(&["--post-comment=false"], 0);
    assert_eq!(told.comments, []);
    assert!(told.summary.contains("Regressed"));
    assert_eq!(told.output("verdict"), "regressed");
}

#[test]
fn a_folder_that_holds_something_is_refused() {
    let stage = Stage::measured(50.0);
    stage.write("out/mine.txt", "x");
    let told = stage.publish(&[], 1);
    assert!(told.log.contains("out: it is not empty"), "{told:?}");
    assert_eq!(told.comments, []);
}

#[test]
fn without_an_output_folder_a_new_one_is_made_in_the_runners() {
    let stage = Stage::measured(50.0);
    fs::create_dir(stage.path("temp")).unwrap();
    let mut command = stage.command(&[]);
    let output = command
        .env("RUNNER_TEMP", stage.path("temp"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let files = tree(&stage.path("temp"));
    assert!(
        files[0].starts_with("kitt-published-") && files[0].ends_with("results-1/badge.json"),
        "{files:?}"
    );
}
