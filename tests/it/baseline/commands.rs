//! `kitt baseline fetch`, `list` and `push`, as people call them.

use std::fs;

use serde_json::Value;

use super::{NAME, flow::Job};
use crate::{
    github::{Level, Token},
    history::Past,
};

fn past(hour: u32) -> Past {
    Past {
        hour,
        ..Past::default()
    }
}

fn stdout_json(log: &str) -> Value {
    let start = log.find('{').unwrap();
    serde_json::from_str(&log[start..]).unwrap()
}

#[test]
fn fetch_says_which_rule_and_leaves_a_results_directory() {
    let job = Job::new(3);
    job.world.stored(1, &past(1));
    let done = job.call(&job.pull(2), &["baseline", "fetch", "--to", "base"]);
    assert_eq!(done.code, 0, "{}", done.log);
    assert!(
        done.log.contains("nearest-ancestor: artifact"),
        "{}",
        done.log
    );
    assert!(done.log.contains(&job.world.commits[1]), "{}", done.log);
    assert!(job.path("base/metrics.json").exists());
    // It serves at once as a baseline.
    past(2).store(&job.path("kitt-results"));
    let report = job.call(
        &[],
        &["ci", "report", "--baseline-dir", "base", "--output", "c.md"],
    );
    assert_eq!(report.code, 0, "{}", report.log);
    let again = job.call(&job.pull(2), &["baseline", "fetch", "--to", "base"]);
    assert_eq!(again.code, 1);
    assert!(again.log.contains("base is there already"), "{}", again.log);
}

#[test]
fn fetch_takes_a_commit_and_conditions() {
    let job = Job::new(3);
    job.world.stored(0, &past(0));
    job.world.stored(
        1,
        &Past {
            cpu: "Other",
            ..past(1)
        },
    );
    past(2).store(&job.path("mine"));
    let commit = job.world.commits[1].clone();
    let any = job.call(
        &job.push(2),
        &["baseline", "fetch", "--to", "any", "--commit", &commit],
    );
    assert!(any.log.contains("exact-parent"), "{}", any.log);
    let like = [
        "baseline", "fetch", "--to", "like", "--commit", &commit, "--like", "mine",
    ];
    let like = job.call(&job.push(2), &like);
    assert!(like.log.contains("nearest-ancestor"), "{}", like.log);
    assert!(like.log.contains("cpu.model: Other there"), "{}", like.log);
}

#[test]
fn nothing_to_fetch_is_said_and_leaves_nothing() {
    let job = Job::new(2);
    let artifact = job.world.stored(1, &past(1));
    job.world.edit(artifact, |artifact| artifact.expired = true);
    let done = job.call(&job.pull(1), &["baseline", "fetch", "--to", "base"]);
    assert_eq!(done.code, 1);
    assert!(done.log.contains("1 expired"), "{}", done.log);
    assert!(!job.path("base").exists());
    assert_eq!(
        fs::read_dir(job.dir.path()).unwrap().count(),
        2,
        "event and output"
    );
}

#[test]
fn list_says_of_each_whether_it_may_be_a_baseline() {
    let job = Job::new(3);
    job.world.stored(0, &past(0));
    let failed = job.world.stored(1, &past(1));
    job.world
        .edit_run(failed, |run| run.conclusion = Some("failure".into()));
    let foreign = job.world.stored(2, &past(2));
    let fork = job.world.gh.state(|s| s.fork("mallory/repo"));
    job.world
        .edit_run(foreign, |run| run.head_repo = Some(fork));
    let table = job.call(&job.push(2), &["baseline", "list"]);
    assert_eq!(table.code, 0, "{}", table.log);
    for says in ["usable", "ended with `failure`", "another repository"] {
        assert!(table.log.contains(says), "{says}: {}", table.log);
    }
    let json = job.call(&job.push(2), &["baseline", "list", "--json"]);
    let document = stdout_json(&json.log[json.log.find("\n{").unwrap_or(0)..]);
    let stored = document["stored"].as_array().unwrap();
    let usable: Vec<bool> = stored
        .iter()
        .map(|row| row["usable"].as_bool().unwrap())
        .collect();
    assert_eq!(usable, [false, false, true], "newest first");
    assert_eq!(stored[0]["refused"], "of another repository");
    assert_eq!(stored[2]["commit"], job.world.commits[0]);
    assert!(job.world.gh.seen("GET", "/zip").is_empty());
}

#[test]
fn push_stores_green_runs_of_the_base_only() {
    let job = Job::new(3);
    past(1).store(&job.path("green"));
    Past {
        event: Some("pull_request"),
        ..past(2)
    }
    .store(&job.path("pull"));
    past(3).store(&job.path("red"));
    fs::write(
        job.path("red/comparison.json"),
        r#"{"verdict": "regressed", "gate": {"state": "failed", "reason": "x"}, "accepted": null}"#,
    )
    .unwrap();
    let push = |dir: &str, more: &[&str]| {
        let line = [
            "baseline",
            "push",
            dir,
            "--baseline-branch",
            "kitt-baselines",
        ];
        job.call(&job.push(2), &[&line, more].concat())
    };
    for (dir, says) in [("pull", "only push, schedule"), ("red", "gate is closed")] {
        let refused = push(dir, &[]);
        assert_eq!(refused.code, 1, "{}", refused.log);
        assert!(
            refused.log.contains(says) && refused.log.contains("--force"),
            "{}",
            refused.log
        );
    }
    let stored = push("green", &[]);
    assert_eq!(stored.code, 0, "{}", stored.log);
    assert!(
        stored.log.contains("stored on kitt-baselines as "),
        "{}",
        stored.log
    );
    let forced = push("red", &["--force", "--keep", "1"]);
    assert!(
        forced.log.contains("(1 older ones removed"),
        "{}",
        forced.log
    );
    let list = job.call(
        &job.push(2),
        &["baseline", "list", "--baseline-branch", "kitt-baselines"],
    );
    assert!(
        list.log.contains("kitt-baselines:kitt-baseline/"),
        "{}",
        list.log
    );
}

#[test]
fn push_to_a_share_needs_no_github() {
    let job = Job::new(1);
    past(1).store(&job.path("one"));
    past(2).store(&job.path("two"));
    for dir in ["one", "two"] {
        let environment = [
            ("GITHUB_EVENT_NAME".to_owned(), "push".to_owned()),
            ("GITHUB_REF".to_owned(), "refs/heads/main".to_owned()),
        ];
        let done = job.call(&environment, &["baseline", "push", dir, "--to", "share"]);
        assert_eq!(done.code, 0, "{}", done.log);
        assert!(
            done.log.contains("stored in share/kitt-baseline/"),
            "{}",
            done.log
        );
    }
    assert!(job.world.gh.seen("", "").is_empty());
    // A later job reads the share as it is: the newest is the baseline, all are the history.
    past(3).store(&job.path("kitt-results"));
    let share = job.path("share").join(NAME);
    let share = share.to_str().unwrap();
    let report = [
        "ci",
        "report",
        "--baseline-dir",
        share,
        "--history",
        share,
        "--output",
        "c.md",
    ];
    let report = job.call(&[], &report);
    assert_eq!(report.code, 0, "{}", report.log);
    assert!(report.log.contains("history: 2 jobs"), "{}", report.log);
}

#[test]
fn a_token_that_may_not_write_is_told_what_to_add() {
    let job = Job::new(2);
    past(1).store(&job.path("green"));
    job.world.gh.state(|s| {
        s.tokens.insert(
            "t0ken".into(),
            Token::read_write().with("contents", Level::Read),
        );
    });
    let line = [
        "baseline",
        "push",
        "green",
        "--baseline-branch",
        "kitt-baselines",
    ];
    let done = job.call(&job.push(1), &line);
    assert_eq!(done.code, 1);
    assert!(done.log.contains("contents: write"), "{}", done.log);
}
