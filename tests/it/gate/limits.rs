//! Absolute limits: own, by pattern, from a file, by environment.

use super::{Bench, PLAIN, Side};

/// Two scenarios of one metric.
const TWO: Side<'_> = &[
    (
        "batch/c32",
        &[("ttft_ms.p50", 80.0), ("ttft_ms.p99", 300.0)],
    ),
    ("latency", &[("ttft_ms.p50", 12.0), ("ttft_ms.p99", 40.0)]),
];

const ECE: &str = "limits: [{metric: quality.ece, file: eval/q.json, path: /calibration/ece, max: 0.05, unit: share}]";

#[test]
fn limits_hold_or_end_with_twelve() {
    for (limit, code, row) in [
        (
            "{metric: ttft_ms.p50, max: 100}",
            0,
            ["ttft_ms.p50", "≤ 100"],
        ),
        (
            "{metric: ttft_ms.p50, max: 50}",
            12,
            ["ttft_ms.p50", "FAIL"],
        ),
        (
            "{metric: ttft_ms.p50, scenario: latency, max: 50}",
            0,
            ["latency", "+76.0 %"],
        ),
        (
            "{metric: ttft_ms.p50, scenario: 'batch*', max: 50}",
            12,
            ["batch/c32", "−60.0 %"],
        ),
        (
            "{metric: 'ttft_ms.*', max: 200}",
            12,
            ["ttft_ms.p99", "FAIL"],
        ),
        (
            "{metric: 'ttft_ms.*', max: 200}",
            12,
            ["ttft_ms.p50", "pass"],
        ),
        ("{metric: ttft_ms.p50, min: 50}", 12, ["latency", "≥ 50"]),
        (
            "{metric: ttft_ms.p50, max: 50, stage: warn}",
            0,
            ["ttft_ms.p50", "warn"],
        ),
        (
            "{metric: ttft_ms.p50, max: 50, stage: observe}",
            0,
            ["ttft_ms.p50", "observed"],
        ),
        (
            "{metric: output_tps, min: 1}",
            12,
            ["output_tps", "not measured"],
        ),
        (
            "{metric: 'itl_ms.*', max: 1}",
            12,
            ["itl_ms.*", "not measured"],
        ),
        (
            "{metric: ttft_ms.p50, max: 50}, {metric: ttft_ms.p50, scenario: 'batch/*', max: 90}",
            0,
            ["batch/c32", "+11.1 %"],
        ),
    ] {
        let config = format!("limits: [{limit}]");
        let said = Bench::new(TWO).config(&config).gate(&[]).ends(code);
        said.row(&row);
        let inside = format!("policy: {{limits: [{limit}]}}");
        Bench::new(TWO).config(&inside).gate(&[]).ends(code);
    }
}

#[test]
fn a_number_of_a_file_is_held_like_one_of_kitts_own() {
    let bench = Bench::new(PLAIN).config(ECE);
    bench.write("eval/q.json", r#"{"calibration": {"ece": 0.04}}"#);
    let said = bench.gate(&[]).ends(0);
    assert!(
        said.row(&["quality.ece", "pass"]).contains("+1.0 points"),
        "{}",
        said.out
    );
    bench.write("eval/q.json", r#"{"calibration": {"ece": 0.062}}"#);
    let said = bench.gate(&[]).ends(12);
    insta::assert_snapshot!(said.row(&["above its limit"]), @"quality.ece is 6.2 %, above its limit of 5 % by 24 %: make it hold, or change the limit.");
    // From the workspace, wherever the step stands.
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = elsewhere.path().display().to_string();
    let said = Bench::new(PLAIN)
        .config(ECE)
        .variable("GITHUB_WORKSPACE", &folder)
        .gate(&[]);
    said.ends(12).says("is not there");
}

#[test]
fn what_is_not_there_does_not_hold_and_is_named() {
    for (text, says) in [
        (None, "eval/q.json is not there"),
        (Some("{}"), "eval/q.json has no /calibration/ece"),
        (
            Some(r#"{"calibration": {"ece": null}}"#),
            "null, which means not measured",
        ),
        (
            Some("{\"calibration\": {\"ece\": NaN}}"),
            "NaN is not a number JSON has",
        ),
    ] {
        let bench = Bench::new(PLAIN).config(ECE);
        if let Some(text) = text {
            bench.write("eval/q.json", text);
        }
        let said = bench.gate(&[]).ends(12).says(says);
        said.row(&[
            "quality.ece has a limit but was not measured",
            "remove the limit.",
        ]);
    }
    let large = Bench::new(PLAIN).config(ECE);
    large.write("eval/q.json", &" ".repeat(33 << 20));
    large.gate(&[]).ends(12).says("at most 33554432 are read");
}

#[test]
fn a_file_outside_the_workspace_is_refused() {
    for file in ["/etc/hostname", "../q.json", "a/../../q.json"] {
        let config = ECE.replace("eval/q.json", file);
        let said = Bench::new(PLAIN).config(&config).gate(&[]).ends(2);
        said.logs("inside the workspace");
    }
}

#[test]
fn the_environment_stands_above_the_file() {
    let limit = "limits: [{metric: 'ttft_ms.*', max: 50}]";
    let bench = |name: &str, value: &str| Bench::new(TWO).config(limit).variable(name, value);
    Bench::new(TWO).config(limit).gate(&[]).ends(12);
    // Both metrics break the file's limit; each gets a wider one.
    bench("KITT_LIMIT_TTFT_MS_P50_MAX", "500")
        .variable("KITT_LIMIT_TTFT_MS_P99_MAX", "500")
        .gate(&[])
        .ends(0);
    bench("KITT_LIMIT_TTFT_MS_P50_MAX", "500")
        .gate(&[])
        .ends(12)
        .says("TTFT p99");
    bench("KITT_LIMIT_TTFT_MS_P50__BATCH_C32_MAX", "85")
        .variable("KITT_LIMIT_TTFT_MS_P99_STAGE", "observe")
        .gate(&[])
        .ends(12)
        .row(&["batch/c32", "ttft_ms.p50", "≤ 85", "pass"]);
    // Without a file, and an empty one is unset.
    Bench::new(TWO)
        .variable("KITT_LIMIT_TTFT_MS_P50_MAX", "50")
        .gate(&[])
        .ends(12);
    Bench::new(TWO)
        .variable("KITT_LIMIT_TTFT_MS_P50_MAX", "")
        .gate(&[])
        .ends(0);
    // Of a number from a file.
    let ece = Bench::new(PLAIN)
        .config(ECE)
        .variable("KITT_LIMIT_QUALITY_ECE_MAX", "0.1");
    ece.write("eval/q.json", r#"{"calibration": {"ece": 0.08}}"#);
    let said = ece.gate(&[]).ends(0);
    said.row(&["quality.ece", "≤ 10", "pass"]);
    assert_eq!(said.out.matches("quality.ece").count(), 1, "{}", said.out);
}

#[test]
fn effects_and_stages_by_environment() {
    let bench = |name: &str, value: &str| {
        Bench::against(PLAIN, super::SLOW)
            .variable(name, value)
            .gate(&[])
    };
    bench("KITT_LIMIT_OUTPUT_TPS_MIN_EFFECT", "1.5").ends(0);
    bench("KITT_LIMIT_OUTPUT_TPS__LATENCY_MIN_EFFECT", "1.5").ends(0);
    bench("KITT_LIMIT_OUTPUT_TPS__OTHER_MIN_EFFECT", "1.5").ends(10);
    bench("KITT_LIMIT_STAGE", "warn").ends(0).says("WARNING");
    bench("KITT_LIMIT_OUTPUT_TPS_STAGE", "observe").ends(0);
}

#[test]
fn a_broken_limit_says_which_by_how_much_and_what_to_do() {
    let config = "limits: [{metric: ttft_ms.p50, max: 50}, {metric: ttft_ms.p99, max: 100}]";
    let said = Bench::new(TWO).config(config).gate(&[]).ends(12);
    insta::assert_snapshot!(said.row(&["make it hold"]), @"TTFT p50 in batch/c32 is 80 ms, above its limit of 50 ms by 60 %: make it hold, or change the limit. One more limit is broken.");
    assert!(said.row(&["make it hold"]).matches(". ").count() < 3);
}
