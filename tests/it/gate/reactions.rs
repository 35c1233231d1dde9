//! Stages, and what is done about results that prove nothing.

use super::{Bench, PLAIN, SLOW, Side};

/// As [`PLAIN`], a little slower: one run against one does not tell.
const UNSURE: Side<'_> = &[(
    "latency",
    &[
        ("output_tps", 95.0),
        ("ttft_ms.p50", 12.0),
        ("error_rate", 0.0),
    ],
)];
/// As [`PLAIN`], with a gating metric gone.
const GONE: Side<'_> = &[("latency", &[("ttft_ms.p50", 12.0), ("error_rate", 0.0)])];

#[test]
fn a_regression_goes_as_far_as_the_stage_lets_it() {
    for (config, code, says) in [
        ("", 10, "gating metrics regressed"),
        (
            "policy: {stage: warn}",
            0,
            "WARNING: 1 of 2 gating metrics regressed",
        ),
        ("policy: {stage: observe}", 0, "observed"),
        (
            "policy: {metrics: [{name: output_tps, stage: warn}]}",
            0,
            "WARNING: 1 of 2",
        ),
        (
            "policy: {metrics: [{name: 'output_*', stage: observe}]}",
            0,
            "gate: passed",
        ),
        (
            "policy: {metrics: [{name: 'output_*', stage: observe}, {name: output_tps, stage: block}]}",
            10,
            "FAIL",
        ),
        (
            "policy: {metrics: [{name: output_tps, scenario: 'lat*', stage: warn}]}",
            0,
            "WARNING",
        ),
        (
            "policy: {metrics: [{name: output_tps, min-effect: 1.5, gate-effect: 2}]}",
            0,
            "150…200 % worse",
        ),
        ("metrics: ['ttft_*']", 0, "gate: passed"),
        ("metrics: ['{output,total}_tps', ttft_ms.p50]", 10, "1 of 2"),
    ] {
        let said = Bench::against(PLAIN, SLOW).config(config).gate(&[]);
        let said = said.ends(code).says(says);
        let warned = said.out.contains("WARNING");
        assert_eq!(warned, says.contains("WARNING"), "{config}: {}", said.out);
    }
}

/// A kind of nothing proven, and results that are of this kind.
type Case = (&'static str, fn() -> Bench);

#[test]
fn each_kind_of_nothing_proven_has_its_own_reaction() {
    let other_gpu = || Bench::new(PLAIN).with_baseline(PLAIN, "A100");
    let cases: [Case; 4] = [
        ("inconclusive", || Bench::against(PLAIN, UNSURE)),
        ("incomparable", || {
            Bench::new(PLAIN).with_baseline(PLAIN, "A100")
        }),
        ("missing", || Bench::against(PLAIN, GONE)),
        ("no-baseline", || Bench::new(PLAIN)),
    ];
    for (kind, bench) in cases {
        let by_default = if kind == "missing" { 11 } else { 0 };
        bench().gate(&[]).ends(by_default);
        bench()
            .gate(&["--strict"])
            .ends(11)
            .says("`strict` asks for proof");
        for (reaction, code) in [("pass", 0), ("warn", 0), ("fail", 11)] {
            let config = format!("policy: {{on: {{{kind}: {reaction}}}}}");
            // The metric that nothing is wrong with is inconclusive too: it must not speak.
            let said = bench().config(&config).gate(&[]).ends(code);
            assert_eq!(
                said.out.contains("WARNING"),
                reaction == "warn",
                "{kind}: {}",
                said.out
            );
            let variable = format!("KITT_LIMIT_ON_{}", kind.to_uppercase().replace('-', "_"));
            bench().variable(&variable, reaction).gate(&[]).ends(code);
        }
    }
    // A metric of another machine's baseline may well be gone.
    Bench::new(GONE)
        .with_baseline(PLAIN, "A100")
        .gate(&[])
        .ends(0);
    other_gpu().gate(&["--on-unsure", "fail"]).ends(0);
    Bench::against(PLAIN, UNSURE)
        .gate(&["--on-unsure", "fail"])
        .ends(11);
}

#[test]
fn warn_makes_a_failing_reaction_a_warning() {
    let bench = Bench::new(PLAIN).config("policy: {stage: warn, on: {no-baseline: fail}}");
    bench.gate(&[]).ends(0).says("WARNING: The result is new");
}

#[test]
fn a_lost_metric_closes_the_gate_with_a_sentence() {
    let said = Bench::against(PLAIN, GONE).gate(&[]).ends(11);
    let line = said.row(&["A metric that gates is gone"]);
    insta::assert_snapshot!(line, @"A metric that gates is gone although nothing else changed; in latency: output throughput was not measured, and the baseline has it. Look in the run's log for why, or take it off the gating list.");
}
