//! The whole program on the simulated engine: files, verdicts, outputs, exit codes.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::{fixture, kitt};

/// A quick engine: a run of 24 requests takes about half a second.
const FAST: &str =
    "--prefill-base-ms=1 --decode-base-ms=1 --decode-per-sequence-ms=0.1 --run-cv=0.001";

fn small<'a>(command: &'a mut Command, extra: &str) -> &'a mut Command {
    command.args([
        "-m",
        "sim",
        "-e",
        "sim",
        "--input-tokens",
        "16",
        "--output-tokens",
        "16",
        "--requests",
        "24",
    ]);
    command.args(["--engine-args", &format!("{FAST} {extra}")])
}

fn run(dir: &Path, extra: &str, runs: u32) -> Output {
    let mut command = kitt();
    command
        .args(["run", "-o"])
        .arg(dir)
        .args(["--runs", &runs.to_string()]);
    small(&mut command, extra).output().unwrap()
}

fn ok(output: &Output) {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A pretended step of GitHub Actions: its files, and a directory to work in.
pub struct Step {
    dir: TempDir,
}

impl Step {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = kitt();
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary"));
        command
    }

    /// Step outputs, parsed as the runner does: heredocs and `name=value`.
    pub fn outputs(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.path("output")).unwrap();
        let mut lines = text.lines();
        let mut found = BTreeMap::new();
        while let Some(line) = lines.next() {
            if let Some((name, delimiter)) = line.split_once("<<") {
                let value: Vec<&str> = lines
                    .by_ref()
                    .take_while(|line| *line != delimiter)
                    .collect();
                found.insert(name.to_owned(), value.join("\n"));
            } else {
                let (name, value) = line.split_once('=').unwrap();
                found.insert(name.to_owned(), value.to_owned());
            }
        }
        found
    }
}

#[test]
fn evaluated_items_are_checked_before_the_run_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.jsonl");
    let out = dir.path().join("out");
    let with_items = || {
        let mut command = kitt();
        command.args(["run", "--runs", "1", "-o"]).arg(&out);
        command.arg("--items").arg(&file);
        small(&mut command, "").output().unwrap()
    };
    fs::write(&file, "{\"task\":\"t\",\"item\":\"1\"}\n").unwrap();
    let refused = with_items();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("mine.jsonl:1:"), "{said}");
    assert!(!out.join("metrics.json").exists(), "nothing was measured");
    fs::write(&file, "{\"task\":\"t\",\"item\":\"1\",\"correct\":true}\n").unwrap();
    ok(&with_items());
    let kept = fs::read_to_string(out.join("items.jsonl")).unwrap();
    assert_eq!(kept, fs::read_to_string(&file).unwrap());
}

#[test]
fn a_run_leaves_every_file_in_kitts_form() {
    let dir = tempfile::tempdir().unwrap();
    ok(&run(dir.path(), "", 2));
    for name in [
        "metrics.json",
        "hardware.json",
        "config.json",
        "summary.md",
        "requests.jsonl.zst",
    ] {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    let metrics = json(&dir.path().join("metrics.json"));
    assert_eq!(
        (metrics["passed"].as_bool(), metrics["status"].as_str()),
        (Some(true), Some("complete"))
    );
    assert_eq!(
        metrics["results"].as_array().unwrap().len(),
        2,
        "one per run"
    );
    let kitt = &metrics["results"][0];
    assert_eq!(kitt["test_name"], "throughput");
    assert!(kitt["metrics"]["avg_tps"].as_f64().unwrap() > 0.0);
    let own = &metrics["measurements"][0]["metrics"];
    for name in [
        "ttft_ms.p50",
        "tpot_ms.p50",
        "itl_ms.mean",
        "e2e_ms.p90",
        "output_tps",
        "error_rate",
    ] {
        assert!(own[name]["value"].is_number(), "{name} in {own}");
    }
    assert!(own.get("ttft_ms.p99").is_none(), "24 requests have no p99");
    assert_eq!(own["output_tps"]["better"], "higher");
}

#[test]
fn json_is_the_metrics_document_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = kitt();
    command.args(["run", "--json", "-o"]).arg(dir.path());
    let output = small(&mut command, "").output().unwrap();
    ok(&output);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document, json(&dir.path().join("metrics.json")));
}

#[test]
fn the_simulator_measures_as_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    ok(&run(dir.path(), "--decode-base-ms=5 --noise-cv=0", 1));
    let metrics = json(&dir.path().join("metrics.json"));
    let value = |name: &str| {
        metrics["measurements"][0]["metrics"][name]["value"]
            .as_f64()
            .unwrap()
    };
    // One sequence: 5 ms + 0.1 ms a step. A busy machine makes it slower, never faster.
    let tpot = value("tpot_ms.p50");
    assert!((5.0..8.0).contains(&tpot), "TPOT {tpot}");
    assert!(value("ttft_ms.p50") < value("e2e_ms.p50"));
}

#[test]
fn a_regression_closes_the_gate_after_everything_is_written() {
    let step = Step::new();
    ok(&run(&step.path("baseline"), "", 3));
    let mut command = step.command(&[
        "ci",
        "run",
        "--runs",
        "3",
        "--baseline-dir",
        "baseline",
        "--baseline",
        "stored",
        "--gate",
    ]);
    let output = small(&mut command, "--slowdown=4").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(10), "{stderr}");
    let outputs = step.outputs();
    assert_eq!(
        (outputs["verdict"].as_str(), outputs["gate"].as_str()),
        ("regressed", "failed")
    );
    assert_eq!(outputs["passed"], "false");
    assert!(outputs["regressions"].parse::<u32>().unwrap() >= 1);
    let results = step.path("kitt-results");
    let comment = fs::read_to_string(results.join("comment.md")).unwrap();
    assert!(comment.starts_with("<!-- kitt-benchmark -->\n<!-- kitt-action key=default -->\n"));
    assert!(comment.contains("TPOT"), "{comment}");
    assert!(
        fs::read_to_string(step.path("summary"))
            .unwrap()
            .contains("regress")
    );
    assert!(
        fs::read_to_string(results.join("report.html"))
            .unwrap()
            .contains("</html>")
    );
    assert_eq!(
        json(&results.join("comparison.json"))["verdict"],
        "regressed"
    );
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        stdout
            .lines()
            .filter(|line| line.starts_with("::error "))
            .count(),
        1,
        "{stdout}"
    );
}

#[test]
fn without_a_baseline_the_gate_is_open_unless_strict() {
    for (strict, code) in [(false, 0), (true, 11)] {
        let step = Step::new();
        let mut command = step.command(&["ci", "run", "--baseline-dir", "nothing-here", "--gate"]);
        command.arg(format!("--strict={strict}"));
        let output = small(&mut command, "").output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(step.outputs()["verdict"], "new");
    }
}

#[test]
fn a_broken_limit_closes_the_gate() {
    let step = Step::new();
    fs::create_dir(step.path(".github")).unwrap();
    fs::write(
        step.path(".github/kitt.yml"),
        "gate: true\nlimits:\n- metric: ttft_ms.p50\n  max: 0.01\n",
    )
    .unwrap();
    let output = small(&mut step.command(&["ci", "run"]), "")
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(12),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(step.outputs()["gate"], "failed");
}

#[test]
fn a_failing_engine_is_reported_as_carefully_as_a_verdict() {
    let step = Step::new();
    let mut command = step.command(&["ci", "run", "-m", "m", "-e", "openai"]);
    // Nothing listens on port 1.
    let output = command
        .args(["--endpoint", "http://127.0.0.1:1", "--startup-timeout", "1"])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(22),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(step.outputs()["verdict"], "error");
    assert!(
        fs::read_to_string(step.path("summary"))
            .unwrap()
            .contains("127.0.0.1:1")
    );
    let metrics = json(&step.path("kitt-results/metrics.json"));
    assert_eq!(
        (metrics["status"].as_str(), metrics["passed"].as_bool()),
        (Some("failed"), Some(false))
    );
    let comment = fs::read_to_string(step.path("kitt-results/comment.md")).unwrap();
    assert!(comment.contains("Check that the server runs"), "{comment}");
}

#[test]
fn reports_of_an_earlier_run_are_not_left_beside_new_results() {
    let dir = tempfile::tempdir().unwrap();
    let stale = ["comparison.json", "comment.md", "report.html", "engine.log"];
    for name in stale {
        fs::write(dir.path().join(name), "of another run").unwrap();
    }
    ok(&run(dir.path(), "", 1));
    for name in stale {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn the_runner_is_asked_to_hide_the_token_and_nobody_else_sees_it() {
    let step = Step::new();
    let mut command = step.command(&["ci", "run"]);
    command.env("KITT_INPUT_GITHUB_TOKEN", "ghs_not_for_eyes");
    let output = small(&mut command, "").output().unwrap();
    ok(&output);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        stdout.starts_with("::add-mask::ghs_not_for_eyes\n"),
        "{stdout}"
    );
    assert_eq!(stdout.matches("ghs_not_for_eyes").count(), 1, "{stdout}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("ghs_not_for_eyes"));
    for entry in fs::read_dir(step.path("kitt-results")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("ghs_not_for_eyes"));
    }
}

#[test]
fn wrong_settings_leave_an_error_verdict_too() {
    let step = Step::new();
    let output = step
        .command(&["ci", "run"])
        .env("KITT_INPUT_RUNS", "many")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(step.outputs()["verdict"], "error");
    let summary = fs::read_to_string(step.path("summary")).unwrap();
    assert!(
        summary.contains("runs") && summary.contains("many"),
        "{summary}"
    );
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(stdout.matches("::error ").count(), 1, "{stdout}");
}

#[test]
fn errors_of_the_server_make_the_measurement_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), "--error-rate=0.3", 1);
    assert_eq!(
        output.status.code(),
        Some(21),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metrics = json(&dir.path().join("metrics.json"));
    assert_eq!(metrics["measurements"][0]["validity"], "server-errored");
}

#[test]
fn a_signal_in_the_middle_leaves_whole_files_and_an_error_verdict() {
    for (signal, code, status) in [("-INT", 130, "cancelled"), ("-TERM", 143, "cancelled")] {
        let step = Step::new();
        let mut command = step.command(&["ci", "run", "--requests", "10000"]);
        command.args(["-m", "sim", "-e", "sim", "--output-tokens", "16"]);
        let mut child = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        // The load is on its way once the log says so.
        assert!(log.any(|line| line.unwrap().contains("sending 10000 requests")));
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        let rest: Vec<String> = log.map_while(Result::ok).collect();
        assert_eq!(
            child.wait().unwrap().code(),
            Some(code),
            "{}",
            rest.join("\n")
        );
        assert_eq!(step.outputs()["verdict"], "error");
        let metrics = json(&step.path("kitt-results/metrics.json"));
        assert_eq!(metrics["status"], status);
    }
}

#[test]
fn a_killed_run_leaves_files_that_parse() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = kitt();
    command
        .args(["run", "--requests", "10000", "-m", "sim", "-e", "sim", "-o"])
        .arg(dir.path());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("sending 10000 requests")));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(json(&dir.path().join("metrics.json"))["status"], "running");
    for entry in fs::read_dir(dir.path()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            !name.to_string_lossy().starts_with(".tmp"),
            "{name:?} is half-written"
        );
    }
}

#[test]
fn other_hardware_is_incomparable_and_never_regressed() {
    let step = Step::new();
    ok(&run(&step.path("baseline"), "", 1));
    let path = step.path("baseline/metrics.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut metrics: Value = serde_json::from_str(&text).unwrap();
    metrics["fingerprint"]["strict"]["cpu.model"] = "Another Processor".into();
    fs::write(&path, metrics.to_string()).unwrap();
    let mut command = step.command(&["ci", "run", "--baseline-dir", "baseline", "--gate"]);
    command.args(["--baseline", "stored"]);
    let output = small(&mut command, "--slowdown=2").output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(step.outputs()["verdict"], "incomparable");
    let comment = fs::read_to_string(step.path("kitt-results/comment.md")).unwrap();
    assert!(
        comment.contains("cpu.model") && comment.contains("Another Processor"),
        "{comment}"
    );
}

#[test]
fn report_keeps_kitts_contract() {
    let dir = tempfile::tempdir().unwrap();
    let results = fixture("kitt/current");
    let report = |args: &[&str]| kitt().args(["ci", "report"]).args(args).output().unwrap();
    let results = results.to_str().unwrap();
    // --output writes and never posts, even with everything that posting needs.
    let file = dir.path().join("comment.md");
    let output = report(&[
        "--results-dir",
        results,
        "--output",
        file.to_str().unwrap(),
        "--github-token",
        "t",
        "--repo",
        "o/r",
        "--pr",
        "1",
    ]);
    ok(&output);
    assert!(
        fs::read_to_string(&file)
            .unwrap()
            .starts_with("<!-- kitt-benchmark -->\n")
    );
    // Nothing to post to: printed.
    let output = report(&["--results-dir", results, "--baseline-dir", "/nonexistent"]);
    ok(&output);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("<!-- kitt-benchmark -->\n"));
    // A directory that does not exist is a usage error, an empty one has no results.
    assert_eq!(
        report(&["--results-dir", "/nonexistent"]).status.code(),
        Some(2)
    );
    let empty = tempfile::tempdir().unwrap();
    let output = report(&["--results-dir", empty.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("metrics.json"));
}

#[test]
fn garbage_is_refused_with_file_and_reason_and_nothing_is_written() {
    let mut huge = String::from("{\"results\":[],\"engine\":\"");
    huge.push_str(&"x".repeat(60_000_000));
    huge.push_str("\"}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let cases: [(&str, &str); 7] = [
        ("{\"results\": [", "truncated"),
        (&huge, "huge"),
        (&deep, "deep"),
        (
            "{\"results\":[{\"test_name\":\"throughput\",\"passed\":true,\"metrics\":{\"avg_tps\":NaN}}]}",
            "NaN",
        ),
        ("{\"results\": 7}", "wrong kind"),
        ("[]", "no object"),
        ("\u{feff}::error::x", "no JSON"),
    ];
    for (text, name) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("metrics.json"), text).unwrap();
        let out = dir.path().join("comment.md");
        let output = kitt()
            .args(["ci", "report", "--results-dir"])
            .arg(dir.path())
            .arg("--output")
            .arg(&out)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains("metrics.json"), "{name}: {stderr}");
        assert!(stderr.len() < 2_000, "{name}: a reader wants a sentence");
        assert!(!out.exists(), "{name} left a comment");
        assert!(
            !stderr
                .lines()
                .any(|line| line.trim_start().starts_with("::")),
            "{name}: {stderr}"
        );
    }
}

#[test]
fn a_broken_baseline_is_an_error_and_never_no_baseline() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("metrics.json"), "{").unwrap();
    let output = kitt()
        .args(["ci", "report", "--results-dir"])
        .arg(fixture("kitt/current"))
        .arg("--baseline-dir")
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
