//! Files of KITT: against each other, and against kitt's own.

use kitt_action::{
    compare::{CompareOptions, compare},
    results::{Origin, ResultSet},
    verdict::{GatePolicy, Verdict},
};

use super::{decided, edit, judged, record, runs, set};

fn kitt(tps: f64, ttft: Option<f64>) -> ResultSet {
    let mut metrics = vec![("avg_tps", tps), ("total_iterations", 25.0)];
    metrics.extend(ttft.map(|value| ("ttft_ms.p50", value)));
    let side = set((0..3)
        .map(|i| {
            let mut own = metrics.clone();
            own[0].1 *= 1.0 + 0.002 * f64::from(i);
            vec![("throughput", record(&own))]
        })
        .collect());
    let side = edit(side, |record| {
        (record.sent, record.ok) = (None, None);
        (record.output_tokens_mean, record.validity) = (None, None);
    });
    ResultSet {
        origin: Origin::Kitt,
        fingerprint: None,
        ..side
    }
}

#[test]
fn files_of_kitt_are_compared_with_each_other() {
    let decision = decided(
        Some(&kitt(100.0, None)),
        &kitt(80.0, None),
        &GatePolicy::default(),
    );
    assert_eq!(decision.verdict, Verdict::Regressed);
    let tps = &decision.metrics[0];
    assert_eq!(tps.change.metric.name, "avg_tps");
    assert_eq!((tps.change.requests, tps.gating), (Some(25), true));
    assert!(
        tps.reason.contains("not say on what hardware"),
        "{}",
        tps.reason
    );
}

#[test]
fn a_ttft_that_was_not_measured_is_missing_and_never_zero() {
    let judged = judged(&kitt(100.0, Some(20.0)), &kitt(100.0, None), "ttft_ms.p50");
    assert_eq!(judged.verdict, Verdict::Missing);
    assert_eq!((judged.change.current, judged.relative()), (None, None));
}

#[test]
fn another_model_is_incomparable_even_without_a_fingerprint() {
    let mut current = kitt(100.0, None);
    current.model = "other".into();
    let decision = decided(Some(&kitt(100.0, None)), &current, &GatePolicy::default());
    assert_eq!(decision.verdict, Verdict::Incomparable);
}

#[test]
fn two_programs_are_compared_over_the_names_both_have() {
    let own = set(vec![vec![(
        "throughput",
        record(&[("avg_tps", 100.0), ("output_tps", 90.0)]),
    )]]);
    let comparison = compare(Some(&kitt(100.0, None)), &own, &CompareOptions::default()).unwrap();
    let names: Vec<_> = comparison
        .changes
        .iter()
        .map(|c| c.metric.name.as_str())
        .collect();
    assert_eq!(names, ["avg_tps"]);
}

#[test]
fn accuracy_is_judged_by_its_counts_and_items_are_not_multiplied_by_runs() {
    let side = |correct: f64, runs: usize| {
        let metrics = [
            ("accuracy", correct / 500.0),
            ("correct", correct),
            ("total", 500.0),
        ];
        set((0..runs)
            .map(|_| vec![("mmlu", record(&metrics))])
            .collect())
    };
    let judge = |b: f64, c: f64, n| judged(&side(b, n), &side(c, n), "accuracy");
    assert_eq!(judge(400.0, 300.0, 1).verdict, Verdict::Regressed);
    let once = judge(400.0, 385.0, 1);
    let often = judge(400.0, 385.0, 20);
    assert_eq!(once.verdict, Verdict::Inconclusive);
    assert_eq!(
        (once.verdict, once.interval),
        (often.verdict, often.interval)
    );
    let uncounted = runs("accuracy", &[0.8, 0.8]);
    let unknown = judged(&uncounted, &uncounted, "accuracy");
    assert_eq!(unknown.verdict, Verdict::Inconclusive);
    assert!(
        unknown.reason.contains("out of how many"),
        "{}",
        unknown.reason
    );
}
