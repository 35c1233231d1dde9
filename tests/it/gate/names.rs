//! What is misspelt is told before it protects nobody.

use super::{Bench, PLAIN, SLOW};

#[test]
fn an_unknown_name_is_an_error_with_the_closest() {
    for (config, says) in [
        (
            "policy: {metrics: [{name: outptu_tps}]}",
            "did you mean `output_tps`?",
        ),
        ("metrics: [ttft_ms]", "did you mean `ttft_ms.p50`?"),
        (
            "limits: [{metric: ttft_ms.p5, max: 1}]",
            "did you mean `ttft_ms.p50`?",
        ),
        (
            "policy: {accept: {label: x, metrics: [itl_ms.meen]}}",
            "did you mean `itl_ms.mean`?",
        ),
        ("policy: {metrics: [{nmae: x}]}", ".github/kitt.yml:1:"),
        ("policy: {metrics: [{name: x, stage: loud}]}", "observe"),
        (
            "policy: {metrics: [{name: output_tps, min-effect: 50}]}",
            "0.05 is 5 %",
        ),
        (
            "policy: {metrics: [{name: output_tps, min-effect: 0.2, gate-effect: 0.1}]}",
            "above gate-effect",
        ),
        ("policy: {metrics: [{name: '[z-a]'}]}", "no pattern"),
        ("policy: {on: {inconclusiv: fail}}", "inconclusive"),
        (
            "policy: {contexts: [{name: a, stage: warn}]}",
            "no condition",
        ),
        (
            "policy: {contexts: [{name: a, labels: [x], limits: [{metric: output_tps}]}]}",
            "context `a`: the limit on `output_tps` has neither",
        ),
        ("policy: {accept: {label: ' '}}", "needs a label"),
        ("limits: [{metric: output_tps, max: .nan}]", "finite"),
    ] {
        let said = Bench::against(PLAIN, SLOW).config(config).gate(&[]).ends(2);
        assert!(said.log.contains(says), "{config}: {}", said.log);
    }
    let early = Bench::new(PLAIN).config("metrics: [ttft_ms.p5]");
    // Before anything is measured.
    early
        .kitt(&["ci", "run", "-m", "m", "-e", "sim"])
        .ends(2)
        .logs("did you mean `ttft_ms.p50`?");
}

#[test]
fn a_name_of_the_results_is_known() {
    let own = &[("latency", &[("my_latency_ms", 5.0)] as &[_])] as super::Side<'_>;
    let bench =
        |name: &str| Bench::new(own).config(&format!("limits: [{{metric: {name}, max: 6}}]"));
    bench("my_latency_ms").gate(&[]).ends(0);
    bench("my_latency_m")
        .gate(&[])
        .ends(2)
        .logs("did you mean `my_latency_ms`?");
}

#[test]
fn a_pattern_that_matches_nothing_is_told_at_the_end() {
    let config = "policy: {metrics: [{name: 'gpu_*'}, {name: output_tps, scenario: nowhere}]}";
    let said = Bench::against(PLAIN, PLAIN)
        .config(config)
        .gate(&[])
        .ends(0);
    said.row(&["WARNING: no measured metric matches the policy's `gpu_*`"]);
    said.row(&["WARNING", "`output_tps` in scenarios nowhere"]);
    let listed = Bench::against(PLAIN, PLAIN)
        .config("metrics: [itl_ms.mean]")
        .gate(&[])
        .ends(0);
    listed.row(&["WARNING: `itl_ms.mean` is on the gating list and was not measured"]);
}

#[test]
fn a_variable_that_means_nothing_is_an_error() {
    for (name, value, says) in [
        (
            "KITT_LIMIT_TTFT_MS_P5_MAX",
            "1",
            "did you mean KITT_LIMIT_TTFT_MS_P50_MAX?",
        ),
        (
            "KITT_LIMIT_TTFT_MS_P50_MAX",
            "fast",
            "`fast`: write a number",
        ),
        (
            "KITT_LIMIT_ON_MISING",
            "fail",
            "did you mean KITT_LIMIT_ON_MISSING?",
        ),
        ("KITT_LIMIT_STAGE", "Block!", "write observe, warn or block"),
    ] {
        let said = Bench::new(PLAIN).variable(name, value).gate(&[]).ends(2);
        assert!(
            said.log.contains(name) && said.log.contains(says),
            "{}",
            said.log
        );
    }
}

#[test]
fn a_directory_that_is_not_there_is_a_usage_error() {
    let bench = Bench::new(PLAIN);
    bench
        .kitt(&["gate", "nowhere"])
        .ends(2)
        .logs("there is no such directory");
    bench.write("empty/x", "");
    bench.kitt(&["gate", "empty"]).ends(1).logs("metrics.json");
}
