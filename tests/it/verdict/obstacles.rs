//! What keeps two present values from being compared.

use kitt_action::{
    compare::{CompareError, CompareOptions, Obstacle, compare},
    measure::Validity,
    results::{Origin, ResultSet, ScenarioRecord},
    verdict::{Gate, GatePolicy, On, Verdict},
};

use super::{STEADY, decided, edit, judged, record, runs, set, times};

#[test]
fn zero_has_no_ratio() {
    let zero = runs("goodput_rps", &[0.0, 0.0]);
    let judged = judged(&runs("goodput_rps", &[1.0, 1.0]), &zero, "goodput_rps");
    assert_eq!(judged.change.obstacle, Some(Obstacle::NotPositive));
    assert_eq!(judged.verdict, Verdict::Incomparable);
}

#[test]
fn survivors_are_not_compared() {
    let base = runs("ttft_ms.p50", &STEADY);
    let fewer = edit(base.clone(), |record| record.ok = Some(39));
    let judge = |b: &ResultSet, c: &ResultSet| judged(b, c, "ttft_ms.p50");
    assert_eq!(
        judge(&base, &fewer).change.obstacle,
        Some(Obstacle::Survivors)
    );
    assert_eq!(judge(&base, &fewer).verdict, Verdict::Incomparable);
    assert_eq!(judge(&fewer, &fewer).verdict, Verdict::Unchanged);
}

#[test]
fn other_lengths_stop_what_depends_on_length() {
    let metrics = [("output_tps", 10.0), ("ttft_ms.p50", 10.0)];
    let side = |tokens: f64| {
        let run = || vec![("s", record(&metrics))];
        edit(set(vec![run(), run(), run()]), |record| {
            record.output_tokens_mean = Some(tokens);
        })
    };
    let (base, longer, hardly) = (side(100.0), side(102.0), side(100.9));
    let tps = judged(&base, &longer, "output_tps");
    assert_eq!(tps.change.obstacle, Some(Obstacle::OutputLength));
    assert_eq!(tps.verdict, Verdict::Incomparable);
    assert_eq!(
        judged(&base, &longer, "ttft_ms.p50").verdict,
        Verdict::Unchanged
    );
    assert_eq!(
        judged(&base, &hardly, "output_tps").verdict,
        Verdict::Unchanged
    );
}

#[test]
fn an_invalid_measurement_is_no_evidence() {
    let base = runs("ttft_ms.p50", &STEADY);
    let with = |validity| edit(base.clone(), move |record| record.validity = Some(validity));
    for validity in [
        Validity::ClientLimited,
        Validity::ScheduleMissed,
        Validity::ServerErrored,
        Validity::GpuInvalid,
    ] {
        let judged = judged(&with(validity), &base, "ttft_ms.p50");
        assert_eq!(judged.change.obstacle, Some(Obstacle::Invalid));
        assert_eq!(judged.verdict, Verdict::Incomparable);
    }
    let brief = judged(&base, &with(Validity::Inconclusive), "ttft_ms.p50");
    assert_eq!(brief.change.obstacle, Some(Obstacle::Unsettled));
    assert_eq!(brief.verdict, Verdict::Inconclusive);
}

#[test]
fn few_requests_stop_one_run_against_one_and_only_ungate_several() {
    let one = runs("e2e_ms.p90", &[10.0]);
    let asked = GatePolicy {
        gating: vec!["e2e_ms.p90".to_owned()],
        ..GatePolicy::default()
    };
    let chosen = decided(Some(&one), &one, &asked);
    assert_eq!(chosen.verdict, Verdict::Inconclusive);
    let single = &chosen.metrics[0];
    assert!(single.gating, "{}", single.reason);
    let needed = Obstacle::TooFewRequests { needed: 100 };
    assert_eq!(single.change.obstacle, Some(needed.clone()));
    assert_eq!(single.verdict, Verdict::Inconclusive);
    assert!(
        single.reason.contains("only 40 requests"),
        "{}",
        single.reason
    );

    let base = runs("e2e_ms.p90", &STEADY);
    let slower = runs("e2e_ms.p90", &times(&STEADY, 1.2));
    let several = judged(&base, &slower, "e2e_ms.p90");
    assert_eq!(several.verdict, Verdict::Regressed);
    assert_eq!((several.gating, several.needs), (false, Some(100)));
    assert!(
        several.reason.contains("does not gate"),
        "{}",
        several.reason
    );

    let more = edit(slower, |record| {
        (record.sent, record.ok) = (Some(90), Some(90));
    });
    let unequal = judged(&base, &more, "e2e_ms.p90");
    assert_eq!(unequal.change.obstacle, Some(needed));
}

/// 24 requests never have a p90: under the default list, which nobody chose, it must not make
/// every comparison of a short suite inconclusive.
#[test]
fn by_default_a_metric_that_needs_more_requests_does_not_gate() {
    let metrics = [("tpot_ms.p50", 10.0), ("e2e_ms.p90", 10.0)];
    let alike = |record: &mut ScenarioRecord| {
        let own = (0..40).map(|i| Some(10.0 + f64::from(i) * 1e-4)).collect();
        record.per_request.insert("tpot_ms".into(), own);
    };
    let mut one = edit(set(vec![vec![("s", record(&metrics))]]), alike);
    for origin in [Origin::Own, Origin::Kitt] {
        one.origin = origin;
        let steady = GatePolicy {
            run_cv: Some(0.001),
            ..GatePolicy::default()
        };
        for policy in [steady.clone(), steady.with_kitt_names()] {
            let decision = decided(Some(&one), &one, &policy);
            assert_eq!(decision.verdict, Verdict::Unchanged);
            let tail = &decision.metrics[1];
            assert_eq!(tail.change.metric.name, "e2e_ms.p90");
            assert_eq!(tail.verdict, Verdict::Inconclusive);
            assert_eq!((tail.gating, tail.needs), (false, Some(100)));
            let said = "only 40 requests per run and needs 100";
            assert!(tail.reason.contains(said), "{}", tail.reason);
            assert!(tail.reason.contains("does not gate"), "{}", tail.reason);
        }
    }
}

#[test]
fn when_nothing_can_gate_the_verdict_is_inconclusive() {
    let few = edit(runs("tpot_ms.p50", &[10.0]), |record| {
        (record.sent, record.ok) = (Some(8), Some(8));
    });
    let policy = GatePolicy {
        gate: true,
        ..GatePolicy::default()
    };
    let decision = decided(Some(&few), &few, &policy);
    assert_eq!(decision.verdict, Verdict::Inconclusive);
    assert_eq!(decision.gate, Gate::Passed);
    let needs: Vec<_> = decision.metrics.iter().map(|judged| judged.needs).collect();
    assert_eq!(needs, [Some(20)]);
    let strict = GatePolicy {
        on: On::STRICT,
        ..policy
    };
    let closed = decided(Some(&few), &few, &strict).gate;
    assert!(
        matches!(&closed, Gate::NotProven(why) if why.contains("at least 20 requests")),
        "{closed:?}"
    );
}

#[test]
fn a_side_without_runs_is_an_error() {
    let (some, none) = (runs("output_tps", &[1.0]), set(Vec::new()));
    let options = CompareOptions::default();
    for (baseline, current, expected) in [(&some, &none, "current"), (&none, &some, "baseline")] {
        let error = compare(Some(baseline), current, &options).unwrap_err();
        assert!(matches!(error, CompareError::NoRuns { side } if side == expected));
    }
}
