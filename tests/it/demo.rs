//! `kitt demo`: the whole flow in one command, as README shows it.

use std::fs;

use serde_json::Value;

use super::harness::kitt;

/// The verdict of one metric of one scenario in `comparison.json`.
fn verdict(comparison: &Value, scenario: &str, metric: &str) -> String {
    let metrics = comparison["metrics"].as_array().unwrap();
    let row = metrics
        .iter()
        .find(|row| row["scenario"] == scenario && row["metric"] == metric);
    row.unwrap()["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn a_slower_decode_is_found_and_the_first_token_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    // Twice the README's regression: this machine may be busy with other tests.
    let output = kitt()
        .args(["demo", "--slowdown", "0.16", "--gate", "-o"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(10),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for name in [
        "comment.md",
        "report.html",
        "comparison.json",
        "metrics.json",
        "pairs.json",
        "baseline/metrics.json",
    ] {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    let text = fs::read_to_string(dir.path().join("comparison.json")).unwrap();
    let comparison: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(comparison["verdict"], "regressed");
    assert_eq!(
        verdict(&comparison, "throughput", "tpot_ms.p50"),
        "regressed"
    );
    assert_ne!(
        verdict(&comparison, "throughput", "ttft_ms.p50"),
        "regressed"
    );
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        stdout
            .trim_end()
            .lines()
            .last()
            .unwrap()
            .contains("report.html"),
        "{stdout}"
    );
}

#[test]
fn identical_sides_are_not_called_regressed() {
    let dir = tempfile::tempdir().unwrap();
    let output = kitt()
        .args(["demo", "--slowdown", "0", "--gate", "--seed", "7", "-o"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A second demo in the same place starts anew.
    assert!(dir.path().join("baseline/metrics.json").exists());
}
