//! What holds on a branch, for an event, with a label, where certain paths change.

use std::process::Command;

use super::{Bench, PLAIN, SLOW};

/// Watches everywhere, blocks where it says.
fn blocking_where(condition: &str) -> Bench {
    let config = format!(
        "policy:\n  stage: observe\n  contexts:\n  - {{name: strict-place, {condition}, stage: block}}\n"
    );
    Bench::against(PLAIN, SLOW).config(&config)
}

#[test]
fn a_context_holds_by_branch_event_and_label() {
    for (condition, code) in [
        ("branches: [main, 'release/*']", 10),
        ("branches: [main]", 0),
        ("events: [pull_request]", 10),
        ("events: [schedule]", 0),
        ("labels: ['perf-*']", 10),
        ("labels: [other]", 0),
        ("branches: ['release/*'], labels: [other]", 0),
        (
            "branches: ['release/*'], events: ['pull_*'], labels: [perf-gate]",
            10,
        ),
    ] {
        let bench = blocking_where(condition).pull_request("release/1.2", &["x", "perf-gate"], "");
        bench
            .gate(&[])
            .ends(code)
            .logs("policy context strict-place");
    }
    let push = blocking_where("branches: [main]").variable("GITHUB_REF", "refs/heads/main");
    push.variable("GITHUB_EVENT_NAME", "push")
        .gate(&[])
        .ends(10)
        .logs("branch main");
}

#[test]
fn a_context_holds_by_the_paths_of_a_list() {
    let bench = blocking_where("paths: ['src/**', '*.toml']");
    bench.write("changed.txt", "docs/a.md\nsrc/x/y.rs\n");
    bench.write("docs.txt", "docs/a.md\n");
    let gate = |file: &str| bench.gate(&["--changed-files", file]);
    gate("changed.txt")
        .ends(10)
        .logs("src/x/y.rs changes, which matches src/**");
    gate("docs.txt").ends(0).logs("no changed path matches");
    gate("none.txt").ends(2).logs("changed-files");
}

#[test]
fn unknown_paths_tighten_and_never_relax() {
    blocking_where("paths: ['src/**']")
        .gate(&[])
        .ends(10)
        .logs("it relaxes nothing");
    let relaxing = "policy: {contexts: [{name: docs, paths: ['docs/**'], stage: observe}]}";
    let bench = Bench::against(PLAIN, SLOW).config(relaxing);
    bench.write("changed.txt", "docs/a.md\n");
    bench.gate(&[]).ends(10).logs("it could relax the gate");
    bench.gate(&["--changed-files", "changed.txt"]).ends(0);
}

#[test]
fn git_is_asked_for_the_paths_of_a_pull_request() {
    let bench = blocking_where("paths: ['src/**']");
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.org",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(args)
            .current_dir(bench.path(""))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "-q"]);
    git(&["commit", "-q", "--allow-empty", "-m", "base"]);
    let base = git(&["rev-parse", "HEAD"]);
    let head_of = |file: &str| {
        bench.write(file, "x");
        git(&["add", file]);
        git(&["commit", "-q", "-m", file]);
        git(&["rev-parse", "HEAD"])
    };
    let gate = |base: &str, head: &str| {
        let event = serde_json::json!({"number": 7, "pull_request": {"number": 7,
            "head": {"sha": head, "repo": {"id": 1}}, "base": {"sha": base, "ref": "main", "repo": {"id": 1}}}});
        bench.write("event.json", &event.to_string());
        let path = bench.path("event.json").display().to_string();
        let mut command = super::kitt();
        command.args(["gate", "results", "--baseline-dir", "base"]);
        command
            .current_dir(bench.path(""))
            .env("GITHUB_EVENT_PATH", path);
        super::Said::of(&command.output().unwrap())
    };
    let docs = head_of("docs/a.md");
    gate(&base, &docs).ends(0).logs("no changed path matches");
    let code = head_of("src/übung b.rs");
    gate(&base, &code).ends(10).logs("src/übung b.rs changes");
    gate(&docs, &code).ends(10);
    gate(&"c".repeat(40), &code).ends(10).logs("fetch-depth 0");
}

#[test]
fn contexts_are_applied_in_order_with_all_they_hold() {
    let config = "
policy:
  contexts:
  - {name: all, branches: ['**'], stage: warn, limits: [{metric: ttft_ms.p50, max: 1}]}
  - name: release
    branches: ['release/*']
    stage: block
    strict: true
    limits: [{metric: ttft_ms.p50, max: 100}]
    metrics: [{name: output_tps, stage: observe}]
  - {name: hotfix, labels: [hotfix], stage: observe}
";
    let bench = || Bench::against(PLAIN, SLOW).config(config);
    let release = || bench().pull_request("release/1.2", &[], "");
    // The later limit replaces the earlier one; what is unproven fails.
    let said = release().gate(&[]).ends(11).says("strict");
    said.row(&["ttft_ms.p50", "≤ 100", "pass"]);
    bench()
        .pull_request("main", &[], "")
        .gate(&[])
        .ends(0)
        .says("WARNING: TTFT p50 in latency");
    bench()
        .pull_request("release/1.2", &["hotfix"], "")
        .gate(&[])
        .ends(0);
    // What was asked of this very run stands above the file.
    let relaxed = "strict: true\npolicy: {contexts: [{name: a, branches: ['**'], strict: false}]}";
    let fresh = || {
        Bench::new(PLAIN)
            .config(relaxed)
            .pull_request("main", &[], "")
    };
    fresh().gate(&[]).ends(0);
    fresh().gate(&["--strict"]).ends(11);
}
