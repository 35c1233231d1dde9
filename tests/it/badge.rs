//! The badge among the results.

use serde_json::Value;

use super::{harness::kitt, sample};

fn badge(dir: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(dir.join("badge.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_run_leaves_a_badge_as_shields_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = |key: &str| {
        let output = kitt()
            .args(["ci", "run", "-m", "sim", "-e", "sim", "--requests", "24"])
            .args([
                "--input-tokens",
                "16",
                "--output-tokens",
                "16",
                "--key",
                key,
            ])
            .args(["--engine-args", "--prefill-base-ms=1 --decode-base-ms=1"])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        badge(&dir.path().join("kitt-results"))
    };
    let first = run("default");
    assert_eq!(first["schemaVersion"], 1);
    assert_eq!(first["label"], "KITT");
    assert_eq!(first["color"], "blue");
    assert_eq!(first["isError"], false);
    let message = first["message"].as_str().unwrap();
    assert!(
        message.starts_with("no baseline · ") && message.ends_with("tok/s"),
        "{message}"
    );
    assert_eq!(run("chat")["label"], "KITT chat");
}

#[test]
fn a_failure_is_a_badge_too() {
    let dir = tempfile::tempdir().unwrap();
    let output = kitt()
        .args([
            "ci",
            "run",
            "-m",
            "x",
            "-e",
            "openai",
            "--startup-timeout",
            "1",
        ])
        .args(["--endpoint", "http://127.0.0.1:1"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(22));
    let badge = badge(&dir.path().join("kitt-results"));
    assert_eq!(badge["isError"], true);
    assert_eq!(badge["message"], "the engine failed");
}

#[test]
fn the_worst_change_is_on_it_and_foreign_text_is_clean() {
    let message = |sample: &sample::Sample| {
        let badge = sample.render().badge;
        let badge: Value = serde_json::from_str(&badge).unwrap();
        (
            badge["message"].as_str().unwrap().to_owned(),
            badge["color"].as_str().unwrap().to_owned(),
        )
    };
    let mut sample = sample::regression();
    let (text, color) = message(&sample);
    assert!(
        text.starts_with("regressed · ") && text.contains('%'),
        "{text}"
    );
    assert_eq!(color, "red");
    for judged in &mut sample.decision.metrics {
        judged.change.metric.label = format!("x\u{202e}\n{}", "y".repeat(500));
    }
    let (text, _) = message(&sample);
    assert!(
        text.chars().count() <= 61 && !text.contains(['\n', '\u{202e}']),
        "{text}"
    );
}
