//! The main job on a real engine: llama.cpp in a real container, twice, the first as baseline.
//!
//! Needs what `scripts/llama-image.sh` prints in the environment; `KITT_TEST_LLAMA=required`
//! makes its absence a failure.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use super::harness::kitt;

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Image and model, or why this test does nothing.
fn engine() -> Option<(String, String)> {
    if let (Some(image), Some(model)) = (variable("KITT_LLAMA_IMAGE"), variable("KITT_LLAMA_MODEL"))
    {
        return Some((image, model));
    }
    assert_ne!(
        variable("KITT_TEST_LLAMA").as_deref(),
        Some("required"),
        "export the lines that scripts/llama-image.sh prints"
    );
    println!("skipped: KITT_LLAMA_IMAGE and KITT_LLAMA_MODEL are not set (scripts/llama-image.sh)");
    None
}

fn measure(dir: &Path, image: &str, model: &str, threads: &str, [results, baseline]: [&str; 2]) {
    let output = kitt()
        .current_dir(dir)
        .args([
            "ci",
            "run",
            "-e",
            "llama_cpp",
            "-m",
            model,
            "--image",
            image,
            "--runs",
            "2",
        ])
        .args([
            "--input-tokens",
            "48",
            "--output-tokens",
            "24",
            "--requests",
            "20",
        ])
        .args([
            "--engine-args",
            &format!("-t {threads}"),
            "--results-dir",
            results,
        ])
        .args(["--baseline-dir", baseline, "--gate"])
        .env("GITHUB_OUTPUT", dir.join(format!("{results}.output")))
        .env(
            "GITHUB_STEP_SUMMARY",
            dir.join(format!("{results}.summary")),
        )
        .output()
        .unwrap();
    let code = output.status.code();
    let log = String::from_utf8_lossy(&output.stderr);
    // Whether a thread fewer is slower depends on how busy this machine is; that the gate then
    // closes is as good an end as that it does not. On a machine that takes the processor away
    // from the client kitt must say that it measured nothing, and why: that end is checked too.
    assert!(matches!(code, Some(0 | 10 | 21)), "{code:?}: {log}");
    let metrics = fs::read_to_string(dir.join(results).join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    let doubted = metrics["measurements"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|point| point["validity"] == "client-limited")
        .inspect(|point| assert_ne!(point["notes"].as_array().unwrap().len(), 0, "{point}"))
        .count();
    assert!(code != Some(21) || doubted > 0, "{log}");
}

#[test]
fn llama_cpp_is_measured_twice_and_leaves_nothing_behind() {
    let Some((image, model)) = engine() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    measure(
        dir.path(),
        &image,
        &model,
        "2",
        ["first", "no-baseline-yet"],
    );
    measure(dir.path(), &image, &model, "1", ["second", "first"]);
    let second = dir.path().join("second");
    let read = |name: &str| fs::read_to_string(second.join(name)).unwrap();
    let metrics: Value = serde_json::from_str(&read("metrics.json")).unwrap();
    assert_eq!(metrics["status"], "complete");
    for point in metrics["measurements"].as_array().unwrap() {
        assert_eq!(point["ok"], 20, "{point}");
        // Real tokens, exactly as many as asked for.
        assert_eq!(point["output_tokens_mean"], 24.0, "{point}");
        assert!(point["metrics"]["tpot_ms.p50"]["value"].as_f64().unwrap() > 0.0);
    }
    assert!(
        metrics["provenance"]["image_digest"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    let comparison: Value = serde_json::from_str(&read("comparison.json")).unwrap();
    let soft = comparison["soft_differences"].as_array().unwrap();
    assert!(
        soft.iter()
            .any(|difference| difference["key"] == "engine.args"),
        "{soft:?}"
    );
    assert!(
        comparison["fingerprint_differences"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert!(read("comment.md").contains("llama_cpp"));
    assert!(read("engine.log").contains("llama"));
    let output = fs::read_to_string(dir.path().join("second.output")).unwrap();
    assert!(output.contains("verdict<<") && output.contains("baseline-ref<<"));
    let left = Command::new("docker")
        .args([
            "ps",
            "-aq",
            "--filter",
            "label=dev.kitt-action.managed",
            "--filter",
        ])
        .arg(format!("ancestor={image}"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&left.stdout).trim(), "");
}
