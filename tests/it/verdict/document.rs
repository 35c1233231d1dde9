//! Scenario documents: judged by the code that judges results directories, and refused when they
//! are none.

use std::process::Command;

use kitt_action::verdict::{Answer, GatePolicy, answer, parse};
use serde_json::{Value, json};

use super::{decided, runs};

/// Runs of 40 requests around `level`, the same spread in each.
fn requests(levels: &[f64]) -> Vec<Vec<f64>> {
    let run = |level: &f64| {
        (0..40_i32)
            .map(|i| level * (1.0 + f64::from(i - 20) * 1e-3))
            .collect()
    };
    levels.iter().map(run).collect()
}

fn document(design: &str, baseline: &[f64], current: &[f64]) -> Value {
    json!({
        "schema": "kitt-action/scenario/1", "design": design,
        "metric": {"name": "tpot_ms", "statistic": "mean", "better": "lower",
                   "min_effect": 0.01, "gate_effect": 0.05, "family_size": 1},
        "baseline": requests(baseline), "current": requests(current), "noise": null,
    })
}

fn mean(run: &[f64]) -> f64 {
    run.iter().sum::<f64>() / run.len() as f64
}

/// The same numbers as results directories.
fn sides(document: &Value) -> [kitt_action::results::ResultSet; 2] {
    ["baseline", "current"].map(|side| {
        let lists: Vec<Vec<f64>> = serde_json::from_value(document[side].clone()).unwrap();
        let mut found = runs(
            "tpot_ms.mean",
            &lists.iter().map(|run| mean(run)).collect::<Vec<_>>(),
        );
        for (run, list) in found.runs.iter_mut().zip(lists) {
            for record in run.scenarios.values_mut() {
                let own = list.iter().copied().map(Some).collect();
                record.per_request.insert("tpot_ms".to_owned(), own);
            }
        }
        found
    })
}

#[test]
fn a_document_is_judged_by_the_code_that_judges_results() {
    let twelve = |factor: f64| -> Vec<f64> {
        (0..12)
            .map(|i| factor * (10.0 + 0.03 * f64::from(i * 7 % 5)))
            .collect()
    };
    for (design, count) in [("paired", 12), ("single", 1)] {
        for factor in [1.0, 1.03, 1.08, 1.3, 0.8] {
            let (base, head) = (twelve(1.0), twelve(factor));
            let document = document(design, &base[..count], &head[..count]);
            let found = answer(&parse(document.to_string().as_bytes()).unwrap()).unwrap();
            let [base, head] = sides(&document);
            let policy = GatePolicy {
                gating: vec!["tpot_ms.mean".to_owned()],
                ..GatePolicy::default()
            };
            let decision = decided(Some(&base), &head, &policy);
            let judged = &decision.metrics[0];
            let Answer::Verdict {
                verdict,
                effect,
                interval,
                ..
            } = found
            else {
                panic!("{found:?}")
            };
            assert_eq!(verdict, judged.verdict, "{design} {factor}");
            let close =
                |a: f64, b: f64| assert!((a - b).abs() < 2e-3, "{design} {factor}: {a} {b}");
            close(effect.unwrap(), judged.relative().unwrap());
            close(interval.unwrap().0, judged.interval.unwrap().0);
            close(interval.unwrap().1, judged.interval.unwrap().1);
        }
    }
}

fn verdict(document: &Value) -> Value {
    let found = answer(&parse(document.to_string().as_bytes()).unwrap()).unwrap();
    serde_json::to_value(found).unwrap()
}

#[test]
fn what_stands_in_the_way_is_told_before_any_statistics() {
    let whole = document("paired", &[10.0; 6], &[12.0; 6]);
    let with = |key: &str, value: Value| {
        let mut document = whole.clone();
        document[key] = value;
        verdict(&document)["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(with("noise", Value::Null), "regressed");
    let differ = json!({"baseline": {"gpu": "a"}, "current": {"gpu": "b"}});
    assert_eq!(with("fingerprint", differ), "incomparable");
    let survivors =
        json!({"baseline": {"sent": 100, "ok": 100}, "current": {"sent": 100, "ok": 98}});
    assert_eq!(with("requests", survivors), "incomparable");
    assert_eq!(with("current", json!([])), "missing");
    assert_eq!(with("current", json!([[], []])), "missing");
    assert_eq!(with("baseline", json!([])), "new");
    assert_eq!(with("current", json!([[1.0, null]])), "incomparable");
    assert_eq!(
        with("current", json!(vec![vec![0.0; 40]; 6])),
        "incomparable"
    );
    assert_eq!(
        with("current", json!(vec![vec![12.0; 19]; 6])),
        "inconclusive"
    );
    assert_eq!(
        with("current", json!(vec![vec![12.0; 40]; 2])),
        "inconclusive"
    );
    let blocks: Vec<&str> = [["B"; 6], ["C"; 6]].concat();
    assert_eq!(with("order", json!(blocks)), "inconclusive");
}

#[test]
fn other_items_are_no_comparison() {
    let mut document = document("items", &[10.0], &[10.0]);
    document["metric"]["statistic"] = json!("proportion");
    document["metric"]["better"] = json!("higher");
    let sides = |baseline: usize, current: usize| {
        let mut document = document.clone();
        document["baseline"] = json!([vec![1; baseline]]);
        document["current"] = json!([vec![1; current]]);
        verdict(&document)["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(sides(500, 500), "unchanged");
    assert_eq!(sides(500, 499), "incomparable");
}

#[test]
fn a_failed_run_voids_its_pair() {
    let mut document = document("paired", &[10.0; 6], &[12.0; 6]);
    document["current"][1] = json!([]);
    let said = verdict(&document);
    assert_eq!(said["verdict"], "regressed", "{said}");
    document["current"][2] = json!([]);
    document["baseline"][0] = json!([]);
    document["baseline"][3] = json!([]);
    let said = verdict(&document);
    assert_eq!(said["verdict"], "inconclusive", "{said}");
    assert!(
        said["reason"]
            .as_str()
            .unwrap()
            .contains("2 pairs that count"),
        "{said}"
    );
}

#[test]
fn history_starts_after_the_last_change() {
    // Twelve jobs at 20 ms and ten at 10 ms: 10.02 ms is nothing new.
    let mut jobs: Vec<f64> = (0..12).map(|i| 20.0 + 0.02 * f64::from(i % 3)).collect();
    jobs.extend((0..10).map(|i| 10.0 + 0.01 * f64::from(i % 4)));
    let said = verdict(&document("history", &jobs, &[10.02]));
    assert_eq!(
        (&said["verdict"], &said["design"]),
        (&json!("unchanged"), &json!("history")),
        "{said}"
    );
    let slower = verdict(&document("history", &jobs, &[11.0]));
    assert_eq!(slower["verdict"], "regressed", "{slower}");
    let few = verdict(&document("history", &jobs[15..], &[10.02]));
    assert_eq!(few["design"], "single", "{few}");
    assert!(
        few["reason"]
            .as_str()
            .unwrap()
            .contains("7 comparable jobs"),
        "{few}"
    );
}

fn compare(args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitt"));
    let output = command
        .env_clear()
        .arg("compare")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn the_command_answers_with_one_line_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document.json");
    let path = path.to_str().unwrap();
    std::fs::write(path, document("paired", &[10.0; 6], &[12.0; 6]).to_string()).unwrap();
    let (code, out, _) = compare(&["--scenario", path, "--json"]);
    assert_eq!((code, out.lines().count()), (Some(0), 1));
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(said["verdict"], "regressed");
    // The third pair may spend too little of the error, whatever the difference.
    assert_eq!(said["pairs_used"], 4);
    assert!((said["effect"].as_f64().unwrap() - 0.2).abs() < 1e-9);

    std::fs::write(
        path,
        r#"{"design": "series", "series": [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]}"#,
    )
    .unwrap();
    let (code, out, _) = compare(&["--scenario", path, "--json"]);
    assert_eq!((code, out.trim()), (Some(0), r#"{"change_points":[6]}"#));
}

#[test]
fn what_is_no_document_ends_with_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document.json");
    let path = path.to_str().unwrap();
    for text in ["", "{", "[]", r#"{"design": "paired"}"#, "\u{0}\u{1}"] {
        std::fs::write(path, text).unwrap();
        let (code, out, err) = compare(&["--scenario", path, "--json"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{text}");
        assert!(err.contains("is no scenario document"), "{err}");
    }
    let (code, _, err) = compare(&["--scenario", "/nonexistent/document.json"]);
    assert_eq!(code, Some(2), "{err}");
    assert_eq!(compare(&[]).0, Some(2));
    assert_eq!(compare(&["--scenario", path, "a", "b"]).0, Some(2));
}

#[test]
fn the_family_divides_the_error() {
    let mut document = document("single", &[10.0], &[11.0]);
    let width = |document: &Value| {
        let said = verdict(document);
        said["interval"][1].as_f64().unwrap() - said["interval"][0].as_f64().unwrap()
    };
    let one = width(&document);
    document["metric"]["family_size"] = json!(12);
    assert!(width(&document) > one);
}
