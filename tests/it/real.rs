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

/// What must be true whether or not this machine left the client in peace: whether kitt says that
/// it measured nothing, it says why.
fn doubts_are_told(code: Option<i32>, metrics: &Value, log: &str) {
    let doubted = metrics["measurements"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|point| point["validity"] == "client-limited")
        .inspect(|point| assert_ne!(point["notes"].as_array().unwrap().len(), 0, "{point}"))
        .count();
    assert!(code != Some(21) || doubted > 0, "{log}");
}

fn metrics(dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(dir.join("metrics.json")).unwrap()).unwrap()
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
    doubts_are_told(code, &metrics(&dir.join(results)), &log);
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
    let metrics = metrics(&second);
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

/// Processes of this host whose command line holds a text.
fn processes(text: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

#[test]
fn llama_cpp_runs_as_processes_of_this_host_and_leaves_none() {
    let (Some((_, model)), Some(server)) = (engine(), variable("KITT_LLAMA_SERVER")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    // Its own name for this model tells this run's server from those of others.
    let alias = format!("native-{}.gguf", std::process::id());
    let own = dir.path().join(&alias);
    std::os::unix::fs::symlink(&model, &own).unwrap();
    let output = kitt()
        .current_dir(dir.path())
        .args(["run", "-e", "llama_cpp", "--mode", "native", "-m", &alias])
        .args(["--engine-command", &server, "--tests", "throughput"])
        .args(["--requests", "10", "--output-tokens", "32", "-o", "out"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 21)), "{code:?}: {log}");
    let metrics = metrics(&dir.path().join("out"));
    doubts_are_told(code, &metrics, &log);
    let point = &metrics["measurements"][0];
    assert_eq!(point["ok"], 10, "{point}");
    assert_eq!(point["output_tokens_mean"], 32.0, "{point}");
    let version = metrics["provenance"]["engine_version"].as_str().unwrap();
    assert!(version.starts_with('b'), "{version}");
    assert_eq!(processes(&alias), [""; 0]);
}
