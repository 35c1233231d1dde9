//! Verdicts and limits to pass or fail.

use kitt_action::{
    compare::{CompareOptions, compare},
    results::ResultSet,
    verdict::{Gate, GatePolicy, LimitRule, On, decide},
};

use super::{STEADY, decided, record, runs, set, times};

fn gate_of(base: Option<&ResultSet>, current: &ResultSet, policy: GatePolicy) -> Gate {
    let policy = GatePolicy {
        gate: true,
        ..policy
    };
    decided(base, current, &policy).gate
}

#[test]
fn the_gate_is_off_until_somebody_asks() {
    let base = runs("tpot_ms.p50", &STEADY);
    let slower = runs("tpot_ms.p50", &times(&STEADY, 1.2));
    assert_eq!(
        decided(Some(&base), &slower, &GatePolicy::default()).gate,
        Gate::Off
    );
    let closed = gate_of(Some(&base), &slower, GatePolicy::default());
    let Gate::Regression(sentence) = closed else {
        panic!("{closed:?}")
    };
    assert!(
        sentence.starts_with("1 of 1 gating metrics regressed"),
        "{sentence}"
    );
    assert_eq!(
        gate_of(Some(&base), &base, GatePolicy::default()),
        Gate::Passed
    );
}

#[test]
fn only_strict_asks_for_proof() {
    let base = runs("tpot_ms.p50", &STEADY);
    let strict = GatePolicy {
        on: On::STRICT,
        ..GatePolicy::default()
    };
    assert_eq!(gate_of(None, &base, GatePolicy::default()), Gate::Passed);
    let unproven = gate_of(None, &base, strict.clone());
    assert!(
        matches!(&unproven, Gate::NotProven(why) if why.contains("no baseline")),
        "{unproven:?}"
    );
    assert_eq!(gate_of(Some(&base), &base, strict.clone()), Gate::Passed);
    let informative = runs("ttft_ms.p99", &STEADY);
    let nothing = gate_of(Some(&informative), &informative, strict);
    assert!(
        matches!(&nothing, Gate::NotProven(why) if why.contains("none of the gating")),
        "{nothing:?}"
    );
}

#[test]
fn limits_hold_without_a_baseline_and_name_the_worst_scenario() {
    let current = set(vec![vec![
        ("a", record(&[("ttft_ms.p99", 510.0)])),
        ("b", record(&[("ttft_ms.p99", 600.0)])),
    ]]);
    let policy = |metric: &str, scenario: Option<&str>, max| GatePolicy {
        limits: vec![LimitRule {
            scenario: scenario.map(|name| name.parse().unwrap()),
            max: Some(max),
            ..LimitRule::of(metric.parse().unwrap())
        }],
        ..GatePolicy::default()
    };
    let broken = |policy| match gate_of(None, &current, policy) {
        Gate::LimitBroken(why) => why,
        other @ (Gate::Off | Gate::Passed | Gate::Regression(_) | Gate::NotProven(_)) => {
            panic!("{other:?}")
        }
    };
    let why = broken(policy("ttft_ms.p99", None, 500.0));
    assert!(
        why.starts_with("TTFT p99 in b is 600 ms, above its limit of 500 ms by 20 %"),
        "{why}"
    );
    let why = broken(policy("ttft_ms.p99", Some("a"), 500.0));
    assert!(why.contains("in a is 510 ms"), "{why}");
    let why = broken(policy("error_rate", None, 0.01));
    assert!(why.contains("was not measured"), "{why}");
    assert_eq!(
        gate_of(None, &current, policy("ttft_ms.p99", None, 600.0)),
        Gate::Passed
    );
}

#[test]
fn a_smallest_value_is_a_limit_too() {
    let current = runs("output_tps", &[80.0]);
    let policy = GatePolicy {
        limits: vec![LimitRule {
            min: Some(100.0),
            ..LimitRule::of("output_tps".parse().unwrap())
        }],
        ..GatePolicy::default()
    };
    let closed = gate_of(None, &current, policy);
    assert!(
        matches!(&closed, Gate::LimitBroken(why) if why.contains("below its limit of 100 tok/s by 20 %")),
        "{closed:?}"
    );
}

#[test]
fn error_levels_without_a_quantile_are_an_error() {
    let base = runs("tpot_ms.p50", &STEADY);
    let comparison = compare(Some(&base), &base, &CompareOptions::default()).unwrap();
    let policy = GatePolicy {
        alpha: 0.0,
        ..GatePolicy::default()
    };
    assert!(decide(&comparison, &base, Some(&base), &policy).is_err());
}
