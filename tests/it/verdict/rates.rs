//! Error rates of the whole procedure on simulated runs, with fixed seeds.

use kitt_action::{
    results::ResultSet,
    verdict::{Decision, GatePolicy, Judged, Verdict},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::{decided, record, set};

/// Metrics that gate, in five scenarios: 25 tests a comparison. The true decode slowdown acts
/// on everything but the first token.
fn simulated(seed: u64, sides: u64, run_cv: f64, decode: f64) -> ResultSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed * 2 + sides);
    let noise = Normal::new(0.0, run_cv).unwrap();
    let mut draw = |value: f64| value * noise.sample(&mut rng).exp();
    let names = ["a", "b", "c", "d", "e"];
    set((0..8)
        .map(|_| {
            names
                .iter()
                .map(|name| {
                    let metrics = [
                        ("ttft_ms.p50", draw(20.0)),
                        ("tpot_ms.p50", draw(10.0 * decode)),
                        ("itl_ms.mean", draw(10.0 * decode)),
                        ("output_tps", draw(100.0 / decode)),
                        ("e2e_ms.mean", draw(660.0 * decode)),
                    ];
                    (*name, record(&metrics))
                })
                .collect()
        })
        .collect())
}

fn decide_simulated(seed: u64, run_cv: f64, slowdown: f64) -> Decision {
    let mut policy = GatePolicy::default();
    policy.gating.push("e2e_ms.mean".into());
    let base = simulated(seed, 0, run_cv, 1.0);
    let current = simulated(seed, 1, run_cv, slowdown);
    decided(Some(&base), &current, &policy)
}

fn regressed(decision: &Decision) -> impl Iterator<Item = &Judged> {
    decision
        .metrics
        .iter()
        .filter(|judged| judged.verdict == Verdict::Regressed)
}

/// 400 comparisons of identical code, eight pairs, 2 % run-to-run variation: the
/// family-wise 1 % allows 4, and the 1 % indifference keeps it well below.
#[test]
fn identical_code_is_hardly_ever_called_regressed() {
    let wrong = (0..400)
        .filter(|seed| decide_simulated(*seed, 0.02, 1.0).verdict == Verdict::Regressed)
        .count();
    assert!(wrong <= 2, "{wrong} of 400");
    let named: usize = (0..400)
        .map(|seed| regressed(&decide_simulated(seed, 0.005, 1.0)).count())
        .sum();
    assert_eq!(named, 0, "any row, at 0.5 %");
}

/// What `kitt demo` relies on: decode 8 % slower, eight pairs.
#[test]
fn a_slower_decode_is_found_and_the_first_token_left_alone() {
    for (cv, found_at_least, rows_at_least) in [(0.003, 100, 1900), (0.01, 95, 900)] {
        let decisions: Vec<_> = (0..100)
            .map(|seed| decide_simulated(seed, cv, 1.08))
            .collect();
        let found = decisions
            .iter()
            .filter(|d| d.verdict == Verdict::Regressed)
            .count();
        let rows: Vec<_> = decisions.iter().flat_map(regressed).collect();
        let ttft = rows
            .iter()
            .filter(|judged| judged.change.metric.name == "ttft_ms.p50")
            .count();
        assert!(found >= found_at_least, "cv {cv}: {found}");
        assert!(rows.len() >= rows_at_least, "cv {cv}: {}", rows.len());
        assert_eq!(ttft, 0, "cv {cv}");
    }
}
