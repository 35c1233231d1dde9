//! The table, its data, and where each value came from.

use super::{Bench, PLAIN, SLOW};

const CONFIG: &str = "
limits: [{metric: ttft_ms.p50, max: 200}]
policy:
  stage: warn
  metrics: [{name: 'ttft_ms.*', scenario: 'latency*', min-effect: 0.02, gate-effect: 0.1}]
  on: {no-baseline: warn}
  accept: {label: kitt/accept-regression}
  contexts:
  - {name: release, branches: ['release/*'], stage: block, on: {missing: fail}}
  - {name: nightly, events: [schedule], strict: true}
";

#[test]
fn the_table_has_limit_value_and_headroom() {
    let said = Bench::against(PLAIN, SLOW).config(CONFIG).gate(&[]).ends(0);
    let table: Vec<&str> = said.out.lines().take(3).collect();
    // The reasons are long and tested elsewhere.
    let short = table.iter().map(|line| {
        let line: String = line.chars().take(92).collect();
        line.trim_end().to_owned()
    });
    insta::assert_snapshot!(short.collect::<Vec<_>>().join("\n"), @r"
    scenario  metric       value     limit         headroom  result  why
    latency   output_tps   −50.0 %   1…5 % worse   −62.2 %   warn    output throughput is 50.0 %
    latency   ttft_ms.p50  12.00 ms  ≤ 200 ms      +94.0 %   pass    within its limit
    ");
}

#[test]
fn the_data_is_that_of_the_table() {
    let document = Bench::against(PLAIN, SLOW)
        .config(CONFIG)
        .gate(&["--json"])
        .ends(0)
        .json();
    let rows = document["rows"].as_array().unwrap();
    let row = |metric: &str, kind: &str| {
        let found = rows
            .iter()
            .find(|row| row["metric"] == metric && row["kind"] == kind);
        found.unwrap_or_else(|| panic!("{metric} {kind} in {document:#}"))
    };
    let limit = row("ttft_ms.p50", "limit");
    assert_eq!(
        (limit["value"].as_f64(), limit["max"].as_f64()),
        (Some(12.0), Some(200.0))
    );
    // (200 − 12) / 200.
    assert!((limit["headroom"].as_f64().unwrap() - 0.94).abs() < 1e-12);
    assert_eq!(
        (limit["result"].as_str(), limit["unit"].as_str()),
        (Some("pass"), Some("ms"))
    );
    let change = row("output_tps", "change");
    assert!((change["change"].as_f64().unwrap() + 0.5).abs() < 1e-12);
    assert_eq!(change["verdict"], "regressed");
    assert_eq!(change["result"], "warn");
    assert!(change["headroom"].as_f64().unwrap() < 0.0);
    assert_eq!(
        row("ttft_ms.p50", "change")["zone"].as_array().unwrap()[1],
        0.1
    );
    assert_eq!(document["exit"], 0);
    assert_eq!(document["gate"]["stage"], "warn");
    assert_eq!(document["contexts"][0]["name"], "release");
    assert_eq!(document["contexts"][0]["applies"], false);
}

#[test]
fn every_value_says_where_it_came_from() {
    let bench = Bench::new(PLAIN)
        .config(CONFIG)
        .pull_request(
            "release/1.2",
            &["kitt/accept-regression"],
            "kitt-accept: why",
        )
        .variable("KITT_LIMIT_TTFT_MS_P50_MAX", "300")
        .variable("KITT_LIMIT_ON_INCONCLUSIVE", "fail");
    let said = bench
        .kitt(&["ci", "run", "--print-config", "--run-cv", "0.02"])
        .ends(0);
    let policy = said.out.lines().filter(|line| {
        ["policy.", "limits ", "context "]
            .iter()
            .any(|start| line.starts_with(start))
    });
    let squeezed = policy.map(|line| {
        let words: Vec<&str> = line
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        words.join(" | ")
    });
    insta::assert_snapshot!(squeezed.collect::<Vec<_>>().join("\n"), @r"
    policy.stage | block | context release
    policy.on.inconclusive | fail | environment KITT_LIMIT_ON_INCONCLUSIVE
    policy.on.incomparable | pass | default
    policy.on.missing | fail | context release
    policy.on.no-baseline | warn | .github/kitt.yml
    limits ttft_ms.p50 | max 200 | .github/kitt.yml
    policy.metrics ttft_ms.* in latency* | min-effect 0.02, gate-effect 0.1 | .github/kitt.yml
    context release | applies | branch release/1.2 matches release/*
    context nightly | does not apply | event pull_request does not match
    limits ttft_ms.p50 | max 300 | environment KITT_LIMIT_TTFT_MS_P50_MAX
    policy.accept.label | kitt/accept-regression, which is there | .github/kitt.yml
    policy.accept.reason | why | the pull request's description
    ");
    said.row(&["run-cv", "0.02", "flag --run-cv"]);
}

#[test]
fn the_same_policy_stands_in_reports_and_outputs() {
    let bench = Bench::against(PLAIN, SLOW)
        .config("gate: true\npolicy: {accept: {label: ok}}")
        .pull_request("main", &["ok"], "kitt-accept: why")
        .variable("GITHUB_ACTIONS", "true");
    let output = bench.path("output").display().to_string();
    let bench = bench.variable("GITHUB_OUTPUT", &output);
    let report = [
        "ci",
        "report",
        "--results-dir",
        "results",
        "--baseline-dir",
        "base",
        "--post-comment=false",
    ];
    let said = bench.kitt(&report).ends(0);
    let outputs = std::fs::read_to_string(bench.path("output")).unwrap();
    assert!(outputs.contains("regressed"), "{outputs}");
    assert!(
        said.out
            .contains("::notice title=KITT::Accepted by the label `ok`: why"),
        "{}",
        said.out
    );
    let observed = Bench::against(PLAIN, SLOW)
        .config("gate: true\npolicy: {stage: observe}")
        .variable("GITHUB_ACTIONS", "true");
    let said = observed.kitt(&report).ends(0);
    assert!(
        !said.out.contains("\n::") && !said.out.starts_with("::"),
        "{}",
        said.out
    );
    let warned = Bench::against(PLAIN, SLOW)
        .config("gate: true\npolicy: {stage: warn}")
        .variable("GITHUB_ACTIONS", "true");
    warned
        .kitt(&report)
        .ends(0)
        .says("::warning title=KITT::1 of 2 gating metrics regressed");
    let closed = Bench::against(PLAIN, SLOW)
        .config("gate: true")
        .variable("GITHUB_ACTIONS", "true");
    closed
        .kitt(&report)
        .ends(10)
        .says("::error title=KITT::1 of 2");
}
