//! `kitt ci report` on one comment with several jobs: racing processes, and one job for all.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use kitt_action::render::legs;
use serde_json::Value;

use super::{github::GitHub, harness::kitt};

/// A measurement of the simulated engine as the job of this name would leave it.
fn measured(dir: &Path, section: &str, slowdown: &str) {
    let output = kitt()
        .args(["ci", "run", "-m", "sim", "-e", "sim", "--runs", "3", "--requests", "24"])
        .args(["--input-tokens", "16", "--output-tokens", "16", "--baseline", "stored"])
        .args(["--section", section, "--results-dir"])
        .arg(dir)
        .arg(format!(
            "--engine-args=--prefill-base-ms=1 --decode-base-ms=1 --decode-per-sequence-ms=0.1 --run-cv=0.001 {slowdown}"
        ))
        .output()
        .unwrap();
    assert!(matches!(code(&output), 0 | 21), "{}", text(&output.stderr));
    let path = dir.join("metrics.json");
    let mut metrics: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(metrics["provenance"]["section"], section);
    // A busy machine may spoil a measurement; here the reports are what is tested.
    trusted(&mut metrics);
    fs::write(path, metrics.to_string()).unwrap();
}

/// Says of every measurement that it can be trusted.
fn trusted(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if name == "validity" && field.is_string() {
                    *field = "valid".into();
                }
                trusted(field);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(trusted),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn report(gh: &GitHub, results: &Path, run: &str) -> Command {
    let mut command = kitt();
    command
        .args([
            "ci",
            "report",
            "--repo",
            "org/repo",
            "--pr",
            "7",
            "--results-dir",
        ])
        .arg(results)
        .env("GITHUB_API_URL", &gh.url)
        .env("GITHUB_TOKEN", "ghs_test")
        .env("GITHUB_RUN_ID", run)
        .env("GITHUB_SHA", "a".repeat(40));
    command
}

fn comments(gh: &GitHub) -> Vec<String> {
    gh.state(|s| {
        s.comments
            .iter()
            .map(|comment| comment.body.clone())
            .collect()
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The same results as another job's.
fn renamed(from: &Path, to: &Path, section: &str) {
    copy(from, to);
    let path = to.join("metrics.json");
    let mut metrics: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    metrics["provenance"]["section"] = section.into();
    fs::write(path, metrics.to_string()).unwrap();
}

#[test]
fn five_processes_at_once_leave_one_comment() {
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path().join("results");
    measured(&results, "a", "");
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    for run in ["41", "42"] {
        let start = |name: usize| {
            let mut command = report(&gh, &results, run);
            command.args(["--section", &format!("job {name}")]);
            command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children: Vec<_> = (0..5).map(start).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        }
        let bodies = comments(&gh);
        assert_eq!(bodies.len(), 1, "one comment");
        let sections = legs(&bodies[0]);
        assert_eq!(sections.len(), 5);
        let newest = |leg: &kitt_action::render::Leg| leg.state().run == run.parse().ok();
        assert!(sections.iter().all(newest), "each has its latest report");
    }
}

/// Results and baselines of three jobs, one of them slower than its baseline.
fn matrix(dir: &Path) -> (PathBuf, PathBuf) {
    let (now, before) = (dir.join("now"), dir.join("before"));
    measured(&dir.join("steady"), "x", "");
    measured(&dir.join("slow"), "x", "--slowdown=4");
    for (folder, section, from) in [
        ("kitt-a100", "a100", "steady"),
        ("kitt-h100", "h100 · fp8", "slow"),
        ("kitt-l4", "l4", "steady"),
    ] {
        renamed(&dir.join("steady"), &before.join(folder), section);
        renamed(&dir.join(from), &now.join(folder), section);
    }
    fs::remove_dir_all(before.join("kitt-l4")).unwrap();
    fs::create_dir(before.join("kitt-l4")).unwrap();
    (now, before)
}

#[test]
fn one_job_reports_for_all_and_older_sections_go() {
    let dir = tempfile::tempdir().unwrap();
    let (now, before) = matrix(dir.path());
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    // A job of an earlier matrix has a section.
    let mut earlier = report(&gh, &now.join("kitt-l4"), "41");
    let output = earlier.args(["--section", "gone"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));

    let outputs = dir.path().join("outputs");
    let summary = dir.path().join("summary");
    let mut all = report(&gh, &now, "42");
    all.arg("--baseline-dir").arg(&before).arg("--gate");
    all.env("GITHUB_OUTPUT", &outputs)
        .env("GITHUB_STEP_SUMMARY", &summary);
    let output = all.output().unwrap();
    assert_eq!(code(&output), 10, "{}", text(&output.stderr));
    let bodies = comments(&gh);
    assert_eq!(bodies.len(), 1);
    let body = &bodies[0];
    let sections = legs(body);
    let names: Vec<&str> = sections.iter().map(|leg| leg.name().as_str()).collect();
    assert_eq!(names, ["a100", "h100 · fp8", "l4"]);
    assert!(body.contains("### ❌ Regressed: 1 of 3 jobs · "), "{body}");
    assert!(body.contains("— gate failed"), "{body}");
    assert!(body.contains("1 new"), "{body}");
    assert!(
        body.contains("<details open><summary>❌ <b>h100 · fp8</b>: regressed"),
        "{body}"
    );
    let outputs = fs::read_to_string(&outputs).unwrap();
    assert!(
        outputs.contains("\nregressed\n") && outputs.contains("\nfailed\n"),
        "{outputs}"
    );
    let summary = fs::read_to_string(&summary).unwrap();
    for name in ["## a100", "## h100 · fp8", "## l4"] {
        assert!(summary.contains(name), "{summary}");
    }
    assert!(!summary.contains("<!--"));
    let page = fs::read_to_string(now.join("report.html")).unwrap();
    assert!(page.contains("href=\"./kitt-h100/report.html\""), "{page}");
    assert!(now.join("kitt-h100/report.html").exists());
    assert!(now.join("kitt-a100/comparison.json").exists());
    fs::create_dir_all(Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports")).unwrap();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reports/matrix.comment.md");
    fs::write(kept, body).unwrap();
}

#[test]
fn a_job_without_readable_results_is_told_and_the_others_are_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (now, before) = matrix(dir.path());
    let broken = now.join("kitt-a100/metrics.json");
    let mut metrics: Value = serde_json::from_slice(&fs::read(&broken).unwrap()).unwrap();
    metrics["schema_version"] = 99.into();
    fs::write(&broken, metrics.to_string()).unwrap();
    let file = dir.path().join("comment.md");
    let run = |gate: bool| {
        let mut command = kitt();
        command.args(["ci", "report", "--results-dir"]).arg(&now);
        command
            .arg("--baseline-dir")
            .arg(&before)
            .arg("--output")
            .arg(&file);
        command.arg(format!("--gate={gate}")).output().unwrap()
    };
    let output = run(false);
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let comment = fs::read_to_string(&file).unwrap();
    let heading = comment.lines().nth(2).unwrap();
    assert!(heading.contains("1 not measured"), "{heading}");
    assert!(comment.contains("<b>a100</b>: not measured"), "{comment}");
    assert_eq!(legs(&comment).len(), 3);
    // A proven regression says more than a missing result.
    assert_eq!(code(&run(true)), 10);
}

#[test]
fn the_pushes_before_are_listed_in_the_comment() {
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path().join("results");
    measured(&results, "a", "");
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    for (run, commit) in [("41", "b"), ("42", "c"), ("43", "d")] {
        let mut command = report(&gh, &results, run);
        command.env("GITHUB_SHA", commit.repeat(40));
        let output = command.output().unwrap();
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    }
    let body = comments(&gh).remove(0);
    assert!(
        body.contains("<details><summary>Earlier pushes (2)</summary>"),
        "{body}"
    );
    let second = body.find("<code>cccccc").unwrap();
    assert!(
        second < body.find("<code>bbbbbb").unwrap(),
        "the newest first"
    );
}
