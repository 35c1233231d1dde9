//! Each verdict, its words and the order of the rows.

use kitt_action::{
    compare::{CompareOptions, Design, compare},
    verdict::{GatePolicy, Verdict, decide},
};

use super::{STEADY, decided, edit, judged, record, runs, set, times};

#[test]
fn several_runs_a_side_prove_a_slowdown_and_a_speedup() {
    let base = runs("tpot_ms.p50", &STEADY);
    for (factor, verdict, words) in [
        (1.08, Verdict::Regressed, "8.0 % slower"),
        (0.92, Verdict::Improved, "8.0 % faster"),
        (1.0, Verdict::Unchanged, "a worsening of 5 % is ruled out"),
    ] {
        let current = runs("tpot_ms.p50", &times(&STEADY, factor));
        let judged = judged(&base, &current, "tpot_ms.p50");
        assert_eq!(judged.verdict, verdict, "{}", judged.reason);
        assert!(judged.reason.contains(words), "{}", judged.reason);
        assert!(judged.gating);
        assert!((judged.relative().unwrap() - (factor - 1.0)).abs() < 1e-9);
        assert_eq!(judged.change.estimate.unwrap().design, Design::Paired);
    }
}

#[test]
fn throughput_regresses_when_it_falls() {
    let base = runs("output_tps", &STEADY);
    let judge = |factor| {
        judged(
            &base,
            &runs("output_tps", &times(&STEADY, factor)),
            "output_tps",
        )
    };
    assert_eq!(judge(0.92).verdict, Verdict::Regressed);
    assert!(judge(0.92).reason.contains("8.0 % lower"));
    assert_eq!(judge(1.08).verdict, Verdict::Improved);
}

#[test]
fn noisy_runs_are_inconclusive_and_say_what_would_settle_it() {
    let base = runs("tpot_ms.p50", &[10.0, 10.6, 9.5, 10.2]);
    let current = runs("tpot_ms.p50", &[10.9, 10.4, 10.5, 9.9]);
    let judged = judged(&base, &current, "tpot_ms.p50");
    assert_eq!(judged.verdict, Verdict::Inconclusive);
    assert!(
        judged.reason.contains("pairs would settle it"),
        "{}",
        judged.reason
    );
    let detectable = judged.detectable.unwrap();
    assert!(detectable > judged.relative().unwrap(), "{detectable}");
}

#[test]
fn a_metric_on_one_side_only_is_missing_or_new() {
    let both = set(vec![vec![(
        "s",
        record(&[("output_tps", 1.0), ("tpot_ms.p50", 1.0)]),
    )]]);
    let one = runs("output_tps", &[1.0]);
    assert_eq!(judged(&both, &one, "tpot_ms.p50").verdict, Verdict::Missing);
    assert_eq!(judged(&one, &both, "tpot_ms.p50").verdict, Verdict::New);
    let decision = decided(Some(&both), &one, &GatePolicy::default());
    assert_eq!(decision.verdict, Verdict::Missing);
}

#[test]
fn without_a_baseline_everything_is_new() {
    let decision = decided(None, &runs("output_tps", &STEADY), &GatePolicy::default());
    assert_eq!(decision.verdict, Verdict::New);
    assert!(
        decision
            .metrics
            .iter()
            .all(|judged| judged.verdict == Verdict::New)
    );
}

#[test]
fn other_hardware_is_incomparable_however_large_the_change() {
    let base = runs("tpot_ms.p50", &STEADY);
    let mut current = runs("tpot_ms.p50", &times(&STEADY, 2.0));
    let strict = &mut current.fingerprint.as_mut().unwrap().strict;
    strict.insert("gpu.name".into(), "A100".into());
    strict.insert("gpu.mig".into(), "true".into());
    let options = CompareOptions::default();
    let comparison = compare(Some(&base), &current, &options).unwrap();
    let keys: Vec<_> = comparison.fingerprint_differences.iter().collect();
    assert_eq!(
        (keys[0].key.as_str(), keys[0].baseline.as_str()),
        ("gpu.mig", "-")
    );
    assert_eq!(
        (keys[1].baseline.as_str(), keys[1].current.as_str()),
        ("H100", "A100")
    );
    let decision = decide(&comparison, &current, Some(&base), &GatePolicy::default()).unwrap();
    assert_eq!(decision.verdict, Verdict::Incomparable);
    assert_eq!(decision.metrics[0].interval, None);
}

#[test]
fn what_is_under_test_may_differ_and_is_shown() {
    let base = runs("tpot_ms.p50", &STEADY);
    let mut current = base.clone();
    current.provenance.commit = Some("c1".into());
    current.provenance.engine_args = vec!["--threads".into(), "1".into()];
    let comparison = compare(Some(&base), &current, &CompareOptions::default()).unwrap();
    let shown: Vec<_> = comparison
        .soft_differences
        .iter()
        .map(|d| (d.key.as_str(), d.current.as_str()))
        .collect();
    assert_eq!(
        shown,
        [("engine.args", "--threads 1"), ("source.commit", "c1")]
    );
    assert!(comparison.fingerprint_differences.is_empty());
}

#[test]
fn a_metric_without_a_direction_is_shown_and_not_judged() {
    let base = runs("gpu_power_avg_w", &STEADY);
    let current = runs("gpu_power_avg_w", &times(&STEADY, 3.0));
    let judged = judged(&base, &current, "gpu_power_avg_w");
    assert_eq!(judged.verdict, Verdict::Unchanged);
    assert!(!judged.gating && judged.reason.contains("not judged"));
    assert!((judged.relative().unwrap() - 2.0).abs() < 1e-9);
}

#[test]
fn peak_memory_is_compared_exactly() {
    let base = runs("gpu_memory_peak_gb", &[10.0]);
    let judge = |gib| {
        judged(
            &base,
            &runs("gpu_memory_peak_gb", &[gib]),
            "gpu_memory_peak_gb",
        )
    };
    assert_eq!(judge(10.2).verdict, Verdict::Regressed);
    assert_eq!(judge(10.05).verdict, Verdict::Unchanged);
    assert_eq!(judge(10.2).change.estimate.unwrap().design, Design::Exact);
    let loose = runs("gpu_memory_peak_gb", &[10.0, 12.0, 11.0]);
    let noisy = judged(&loose, &loose, "gpu_memory_peak_gb");
    assert_eq!(noisy.change.estimate.unwrap().design, Design::Paired);
    assert!(noisy.reason.contains("does not repeat"), "{}", noisy.reason);
}

#[test]
fn an_error_rate_of_zero_on_both_sides_is_unchanged() {
    let base = runs("error_rate", &[0.0, 0.0]);
    let same = judged(&base, &base, "error_rate");
    assert_eq!(same.verdict, Verdict::Unchanged);
    assert!(same.reason.contains("0 of 80"), "{}", same.reason);
    let failing = edit(runs("error_rate", &[0.5, 0.5]), |record| {
        record.ok = Some(20);
    });
    let worse = judged(&base, &failing, "error_rate");
    assert_eq!(worse.verdict, Verdict::Regressed, "{}", worse.reason);
    assert!(worse.reason.contains("+50.0 points"), "{}", worse.reason);
    let one_point = "proven worse by more than 1 point";
    assert!(worse.reason.ends_with(one_point), "{}", worse.reason);
    assert_eq!((worse.relative(), worse.points()), (None, Some(0.5)));
    assert!(
        (worse.severity() - 25.0).abs() < 1e-9,
        "50 points of 2 that gate"
    );
}

#[test]
fn rows_are_ordered_by_urgency() {
    let metrics = |tpot, itl, ttft| {
        set((0..4)
            .map(|i| {
                let noise = 1.0 + 0.001 * f64::from(i);
                let all = [
                    ("tpot_ms.p50", tpot * noise),
                    ("itl_ms.mean", itl * noise),
                    ("ttft_ms.p50", ttft * noise),
                    ("e2e_ms.p50", 50.0 * noise),
                    ("gpu_power_avg_w", 300.0),
                ];
                vec![("s", record(&all))]
            })
            .collect())
    };
    let decision = decided(
        Some(&metrics(10.0, 10.0, 10.0)),
        &metrics(10.8, 12.0, 10.0),
        &GatePolicy::default(),
    );
    let order: Vec<_> = decision
        .metrics
        .iter()
        .map(|judged| judged.change.metric.name.as_str())
        .collect();
    let expected = [
        "itl_ms.mean",
        "tpot_ms.p50",
        "ttft_ms.p50",
        "e2e_ms.p50",
        "gpu_power_avg_w",
    ];
    assert_eq!(order, expected);
}
