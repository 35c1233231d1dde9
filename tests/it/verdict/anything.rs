//! Anything goes in, sense comes out.

use std::collections::BTreeMap;

use kitt_action::{
    compare::{CompareOptions, compare},
    measure::Validity,
    results::{Origin, ResultSet, ScenarioRecord},
    verdict::{Decision, GatePolicy, LimitRule, Verdict, decide},
};
use proptest::prelude::*;

use super::{judged, runs, set};

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => 0.001..1e4_f64,
        1 => prop_oneof![
            Just(0.0), Just(-1.0), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY),
            Just(1e-300), Just(1e300), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(1e17), Just(1e-11),
        ],
    ]
}

fn any_record() -> impl Strategy<Value = ScenarioRecord> {
    let names = prop::sample::select(vec![
        "ttft_ms.p50",
        "output_tps",
        "e2e_ms.p90",
        "ttft_ms.p99",
        "error_rate",
        "accuracy",
        "correct",
        "total",
        "gpu_memory_peak_gb",
        "gpu_power_avg_w",
        "total_iterations",
        "x",
        "ttft_ms.std_dev",
        "itl_ms.mean",
    ]);
    let metrics = prop::collection::btree_map(names.prop_map(str::to_owned), value(), 0..14);
    let requests = prop::collection::vec(prop::option::of(value()), 0..40);
    let count = prop::option::of(prop_oneof![0..5_u64, 0..3000_u64, Just(u64::MAX)]);
    let validity = prop::option::weighted(
        0.9,
        prop_oneof![
            8 => Just(Validity::Valid),
            1 => Just(Validity::Inconclusive),
            1 => Just(Validity::ClientLimited),
        ],
    );
    (
        metrics,
        requests,
        count.clone(),
        count,
        prop::option::of(value()),
        validity,
    )
        .prop_map(
            |(metrics, requests, sent, ok, output_tokens_mean, validity)| ScenarioRecord {
                passed: true,
                errors: Vec::new(),
                metrics,
                samples: BTreeMap::new(),
                sent,
                ok,
                output_tokens_mean,
                validity,
                per_request: ["ttft_ms", "e2e_ms", "itl_ms"]
                    .into_iter()
                    .map(|name| (name.to_owned(), requests.clone()))
                    .collect(),
                facts: kitt_action::results::ScenarioFacts::default(),
            },
        )
}

fn any_set() -> impl Strategy<Value = ResultSet> {
    let kitt = prop::bool::weighted(0.2);
    let records = prop::collection::vec((any_record(), any_record()), 1..4);
    (records, kitt).prop_map(|(records, kitt)| {
        let runs = records
            .into_iter()
            .map(|(a, b)| vec![("a", a), ("b", b)])
            .collect();
        let mut side = set(runs);
        if kitt {
            (side.origin, side.fingerprint) = (Origin::Kitt, None);
        }
        side
    })
}

fn check_sense(decision: &Decision) -> Result<(), TestCaseError> {
    for judged in &decision.metrics {
        let change = &judged.change;
        for number in [
            change.baseline,
            change.current,
            judged.relative(),
            judged.detectable,
        ] {
            prop_assert!(number.is_none_or(f64::is_finite), "{judged:?}");
        }
        if let Some(estimate) = change.estimate {
            prop_assert!(estimate.log_ratio.is_finite() && estimate.standard_error >= 0.0);
            prop_assert!(estimate.standard_error.is_finite());
            prop_assert!(change.obstacle.is_none());
        }
        if let Some((low, high)) = judged.interval {
            prop_assert!(
                low.is_finite() && high.is_finite() && low <= high,
                "{judged:?}"
            );
            if let Some(relative) = judged.relative() {
                let slack = 1e-9 * (1.0 + relative.abs());
                prop_assert!(
                    low <= relative + slack && relative <= high + slack,
                    "{judged:?}"
                );
            }
            prop_assert!(judged.confidence.is_some_and(|c| (0.9..=1.0).contains(&c)));
        }
        prop_assert!(
            !judged.reason.is_empty() && !judged.reason.contains("NaN"),
            "{}",
            judged.reason
        );
        prop_assert!(!judged.reason.contains("inf "), "{}", judged.reason);
        prop_assert!(!judged.reason.contains("-0"), "{}", judged.reason);
        prop_assert!(judged.reason.contains(&change.metric.label), "{judged:?}");
        prop_assert!(!judged.gating || judged.needs.is_none(), "{judged:?}");
    }
    let worst = decision
        .metrics
        .iter()
        .filter(|judged| judged.gating)
        .map(|judged| judged.verdict)
        .min();
    prop_assert!(
        worst.is_none_or(|worst| worst == decision.verdict) || decision.verdict == Verdict::New
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_two_result_sets_are_decided(
        baseline in prop::option::weighted(0.9, any_set()),
        current in any_set(),
        cv in prop::option::of(0.0..0.5_f64),
    ) {
        let policy = GatePolicy {
            gate: true,
            run_cv: cv,
            limits: vec![LimitRule { max: Some(5.0), ..LimitRule::of("ttft_ms.*".parse().unwrap()) }],
            ..GatePolicy::default()
        };
        let options = CompareOptions { run_cv: cv, seed: 3, bootstrap_draws: 30, ..CompareOptions::default() };
        let comparison = compare(baseline.as_ref(), &current, &options).unwrap();
        let decision = decide(&comparison, &current, baseline.as_ref(), &policy).unwrap();
        check_sense(&decision)?;
    }

    /// Swapping the sides turns what is larger into what is smaller, by the same factor. With more
    /// than one look the two may stop at different ones.
    #[test]
    fn swapped_sides_mirror_the_change(
        b in prop::collection::vec(1.0..100.0_f64, 1..4),
        c in prop::collection::vec(1.0..100.0_f64, 1..4),
    ) {
        let (b, c) = (runs("tpot_ms.p50", &b), runs("tpot_ms.p50", &c));
        let there = judged(&b, &c, "tpot_ms.p50").change.estimate.unwrap();
        let back = judged(&c, &b, "tpot_ms.p50").change.estimate.unwrap();
        prop_assert!((there.log_ratio + back.log_ratio).abs() < 1e-12);
        prop_assert!((there.standard_error - back.standard_error).abs() < 1e-12);
    }
}
