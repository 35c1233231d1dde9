//! What a run claims beside its numbers, and what its numbers can do.

use serde_json::{Value, json};

use super::{Stage, results, tree, written};
use crate::github::zip;

#[test]
fn supplied_words_verdicts_and_pull_request_numbers_do_not_count() {
    let metrics = results(50.0).to_string();
    let verdict = json!({"schema_version": 1, "verdict": "improved", "gate": {"state": "passed"}});
    let stage = Stage::with(&[
        ("metrics.json", metrics.as_bytes()),
        (
            "comment.md",
            b"<!-- kitt-benchmark -->\nAPPROVED by @org/team",
        ),
        ("summary.md", b"APPROVED"),
        ("report.html", b"<script>alert(1)</script>"),
        ("comparison.json", verdict.to_string().as_bytes()),
        ("pr-number.txt", b"1"),
        ("event.json", br#"{"pull_request": {"number": 1}}"#),
        (".github/kitt.yml", b"gate: false\nmetrics: []\n"),
    ]);
    stage.gh.state(|s| s.pull(1).number);
    let told = stage.publish(&["--gate"], 10);
    let comment = told.comment();
    assert!(
        comment.contains("Regressed") && !comment.contains("APPROVED"),
        "{comment}"
    );
    assert!(!told.summary.contains("APPROVED"));
    assert_eq!(tree(&stage.path("out")), written());
}

/// A job that measured baseline and current side by side has measured both of them itself.
#[test]
fn a_baseline_side_of_the_forks_own_is_not_believed() {
    let metrics = results(50.0).to_string();
    let pair = json!({"schema_version": 1, "planned": 3, "pairs": [
        {"baseline": 1, "current": 1, "first": "baseline"}]});
    let stage = Stage::with(&[
        ("metrics.json", metrics.as_bytes()),
        // The fork's own baseline is as slow: nothing would have changed.
        ("baseline/metrics.json", metrics.as_bytes()),
        ("pairs.json", pair.to_string().as_bytes()),
        ("history.jsonl", b"{}"),
        ("noise.json", b"{}"),
    ]);
    let told = stage.publish(&["--gate"], 10);
    assert!(told.comment().contains("Regressed"), "{told:?}");
    // Without a baseline of this repository there is none.
    let alone = Stage::with(&[
        ("metrics.json", metrics.as_bytes()),
        ("baseline/metrics.json", metrics.as_bytes()),
        ("pairs.json", pair.to_string().as_bytes()),
    ]);
    let told = alone.publish(&["--baseline-dir", "absent"], 0);
    assert!(told.comment().contains("No baseline yet"), "{told:?}");
}

#[test]
fn nothing_is_learned_from_a_fork_and_nothing_is_accepted_by_its_words() {
    let mut metrics = results(50.0);
    // It claims to be a job of the base branch.
    metrics["provenance"] = json!({"event": "push", "branch": "main", "run_id": "1-1-bench",
        "commit": "c".repeat(40)});
    let stage = Stage::with(&[("metrics.json", metrics.to_string().as_bytes())]);
    stage.gh.state(|s| {
        let pull = s.pull(7);
        pull.body = Some("kitt-accept: it is fine".to_owned());
        pull.labels.push("kitt/accept".to_owned());
    });
    stage.write("jobs/history.jsonl", "");
    stage.write(
        ".github/kitt.yml",
        "gate: true\nhistory: jobs/history.jsonl\npolicy: {accept: {label: kitt/accept}}\n",
    );
    let told = stage.publish(&["--noise-profile", "noise.json"], 10);
    assert!(!told.comment().contains("Accepted"), "{told:?}");
    let files = tree(stage.dir.path());
    assert!(
        !files
            .iter()
            .any(|file| file.contains("noise") || file == "out/results-1/history.jsonl"),
        "{files:?}"
    );
    assert_eq!(
        std::fs::read_to_string(stage.path("jobs/history.jsonl")).unwrap(),
        ""
    );
}

/// Values that JSON and the reader allow, at their edges: told, compared or refused, never a crash.
#[test]
fn extreme_numbers_are_told_or_refused() {
    let stage = |change: &dyn Fn(&mut Value)| {
        let mut metrics = results(100.0);
        change(&mut metrics);
        Stage::with(&[("metrics.json", metrics.to_string().as_bytes())])
    };
    let entry = |metrics: &mut Value, path: &str, value: Value| {
        *metrics
            .pointer_mut(&format!("/measurements/0{path}"))
            .unwrap() = value;
    };
    for value in [0.0, 5e-324, 1e-300, 1e300, f64::MAX] {
        let told = stage(&|m| entry(m, "/metrics/output_tps/value", json!(value))).publish(&[], 0);
        let comment = told.comment();
        assert!(
            !comment.contains("NaN") && !comment.contains("inf "),
            "{value}: {comment}"
        );
        assert!(comment.len() < 60_000);
    }
    for path in ["/sent", "/samples/ttft_ms", "/outcomes/ok"] {
        let told = stage(&|m| {
            entry(m, path, json!(u64::MAX));
            entry(m, "/ok", json!(200));
        });
        told.publish(&[], 0).comment();
    }
    stage(&|m| {
        entry(m, "/sent", json!(u64::MAX));
        entry(m, "/ok", json!(u64::MAX));
        entry(m, "/run", json!(u32::MAX));
        entry(m, "/output_tokens_mean", json!(1e308));
    })
    .publish(&[], 0)
    .comment();
}

#[test]
fn impossible_numbers_are_refused_with_the_place() {
    for (from, to, says) in [
        ("{\"value\":12.0}", "{\"value\":-12.0}", "negative"),
        ("{\"value\":12.0}", "{\"value\":NaN}", "NaN is not a number"),
        (
            "{\"value\":12.0}",
            "{\"value\":Infinity}",
            "Infinity is not a number",
        ),
        (
            "{\"value\":12.0}",
            "{\"value\":1e999}",
            "number out of range",
        ),
        (
            "\"ok\":200,\"outcomes",
            "\"ok\":201,\"outcomes",
            "more requests ended well",
        ),
        (
            "\"schema_version\":1",
            "\"schema_version\":2",
            "has schema version 2",
        ),
        (
            "\"schema_version\":1",
            "\"schema_version\":-1",
            "schema\\_version",
        ),
        ("\"run\":1", "\"run\":0", "counted from 1"),
        (
            "\"scenario\":\"latency\"",
            "\"scenario\":\"a\\n::error::b\"",
            "scenario",
        ),
        (
            "\"errors\":[]",
            "\"errors\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
            "levels of nesting",
        ),
    ] {
        let good = results(100.0).to_string();
        let bad = good.replacen(from, to, 1);
        assert_ne!(good, bad, "{from}");
        let stage = Stage::with(&[("metrics.json", bad.as_bytes())]);
        let told = stage.publish(&[], 0);
        let comment = told.comment();
        assert!(
            comment.contains("the results were refused"),
            "{to}: {comment}"
        );
        assert!(comment.contains(says), "{to}: {says} is not in {comment}");
        assert!(comment.contains("Measured on fork code"), "{comment}");
        assert!(
            !comment.contains("out/results"),
            "no folder of this host: {comment}"
        );
        assert!(told.summary.contains(says), "{told:?}");
        assert_eq!(told.output("verdict"), "error");
    }
}

#[test]
fn one_bad_leg_does_not_hide_the_others() {
    let stage = Stage::new();
    let good = results(50.0).to_string();
    stage.artifact("kitt-results-a", b"not a zip");
    stage.artifact("kitt-results-b", &zip(&[("metrics.json", good.as_bytes())]));
    let told = stage.publish(&["--results-artifact", "kitt-results-*", "--gate"], 10);
    assert!(told.summary.contains("Regressed"), "{told:?}");
    assert!(
        told.summary.contains("the results were refused"),
        "{told:?}"
    );
}

#[test]
fn a_flood_of_artifacts_is_refused_at_once() {
    let stage = Stage::new();
    let good = results(50.0).to_string();
    let bytes = zip(&[("metrics.json", good.as_bytes())]);
    for number in 0..130 {
        stage.artifact(&format!("kitt-results-{number}"), &bytes);
    }
    let told = stage.publish(&["--results-artifact", "kitt-results-*"], 0);
    assert!(
        told.comment()
            .contains("uploaded 130 artifacts of results; at most 64"),
        "{told:?}"
    );
    assert_eq!(stage.asked("/zip"), 0);
    // A plain name is asked for by name, so a flood of others hides nothing.
    let stage = Stage::measured(50.0);
    for number in 0..1_100 {
        stage.artifact(&format!("flood-{number}"), b"x");
    }
    assert!(stage.publish(&[], 0).comment().contains("Regressed"));
}
