//! One run against one: provisional, and never surer than the files allow.

use kitt_action::{
    compare::Design,
    results::ResultSet,
    verdict::{GatePolicy, Verdict},
};

use super::{decided, edit, judged, runs};

fn with_requests(factor: f64) -> ResultSet {
    let values: Vec<f64> = (0..200).map(|i| 100.0 + f64::from(i * 37 % 50)).collect();
    let side = runs("e2e_ms.mean", &[124.5 * factor]);
    edit(side, |record| {
        (record.sent, record.ok) = (Some(200), Some(200));
        let own = values.iter().map(|value| Some(value * factor)).collect();
        record.per_request.insert("e2e_ms".into(), own);
    })
}

#[test]
fn one_run_against_one_is_provisional() {
    let judge = |factor, cv| {
        let policy = GatePolicy {
            run_cv: cv,
            gating: vec!["e2e_ms.mean".into()],
            ..GatePolicy::default()
        };
        let (base, current) = (with_requests(1.0), with_requests(factor));
        decided(Some(&base), &current, &policy).metrics.remove(0)
    };
    let unsure = judge(1.08, None);
    assert_eq!(unsure.verdict, Verdict::Inconclusive);
    assert!(unsure.reason.contains("provisional"), "{}", unsure.reason);
    assert!(unsure.reason.contains("5 % (assumed"), "{}", unsure.reason);
    let declared = judge(1.08, Some(0.01));
    assert_eq!(declared.verdict, Verdict::Regressed, "{}", declared.reason);
    assert!(
        declared.reason.contains("1 % (as declared)"),
        "{}",
        declared.reason
    );
    assert_eq!(declared.change.estimate.unwrap().design, Design::Single);
    assert_eq!(judge(1.0, Some(0.01)).verdict, Verdict::Unchanged);
}

#[test]
fn a_spread_that_is_not_in_the_files_is_never_taken_for_none() {
    let (known, unknown) = (with_requests(1.0), runs("e2e_ms.mean", &[124.5]));
    let error = |side: &ResultSet| {
        let judged = judged(&known, side, "e2e_ms.mean");
        (
            judged.change.estimate.unwrap().standard_error,
            judged.reason,
        )
    };
    let (with, _) = error(&known);
    let (without, reason) = error(&unknown);
    assert!(without > with * 1.3, "{without} {with}");
    assert!(reason.contains("per-request values"), "{reason}");
}
