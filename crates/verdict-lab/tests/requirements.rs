//! A reduced form of the tables: the requirements, as far as so few pull requests can tell. The
//! whole is `scripts/verdict-lab.sh --check`.

use kitt_action::{
    compare::{CompareOptions, PairedLogs, change_points},
    metric::describe,
    verdict::{Levels, Looks, Verdict, sequential},
};
use verdict_lab::{
    cells::{NOTHING, TAIL, THROUGHPUT},
    designs::{Design, Effect, Lab, PAIRS, Prior, PullRequest, stops_at, verdict_of},
    generator,
    laws::Law,
    requests::{Logs, METRICS},
    requirements::{Draws, designs, measure, robustness},
    rivals::{self, Rival},
    series,
    sides::{SCENARIO, pairs},
};

const SEED: u64 = 21;
const DRAWS: Draws = Draws {
    same: 120,
    changed: 100,
};

#[test]
fn pairs_meet_the_requirements() {
    let lab = Lab::new(DRAWS.same, SEED);
    let groups = designs();
    let learned = groups
        .first()
        .expect("pairs with a learned prior come first");
    let findings = measure(&lab, learned, DRAWS, false);
    assert_eq!(findings.checked, 7, "{}", findings.text);
    assert!(
        findings.broken.is_empty(),
        "{:#?}\n{}",
        findings.broken,
        findings.text
    );
}

#[test]
fn other_laws_block_no_unchanged_engine() {
    let few = Draws {
        same: 40,
        changed: 4,
    };
    let lab = Lab::new(few.same, SEED);
    let findings = measure(&lab, &robustness(), few, false);
    assert_eq!(findings.checked, 24);
    assert!(
        findings.broken.is_empty(),
        "{:#?}\n{}",
        findings.broken,
        findings.text
    );
}

/// Kitt stops measuring as soon as the rules allow. All twelve pairs given at once must lead to
/// the same verdict at the same pair, or the tables would not be about what runs.
#[test]
fn looking_at_all_pairs_stops_where_measuring_would() {
    let lab = Lab::new(60, SEED);
    let law = Law::usual(0.02);
    let prior = lab.profiles(&law, Prior::Learned(1.0), 10);
    let mut seen = std::collections::BTreeSet::new();
    for effect in [NOTHING, THROUGHPUT, TAIL] {
        for number in 0..15 {
            let request = PullRequest {
                law: &law,
                effect: &effect,
                number,
            };
            let (before, after) = lab.paired_runs(request, &mut generator(SEED, 3, number));
            let noise = &prior[number % prior.len()];
            let judge = |count: usize| {
                let options = CompareOptions {
                    noise: noise.clone(),
                    pairs: Some(pairs(count, PAIRS)),
                    ..CompareOptions::default()
                };
                lab.judge(&law, &before[..count], &after[..count], &options)
            };
            let whole = judge(PAIRS);
            let stop = Looks::up_to(PAIRS)
                .at()
                .into_iter()
                .find(|look| {
                    let decision = judge(*look);
                    let open = |verdict: Verdict| verdict == Verdict::Inconclusive;
                    decision.verdict == Verdict::Regressed
                        || METRICS
                            .iter()
                            .all(|metric| !open(verdict_of(&decision, metric)))
                })
                .unwrap_or(PAIRS);
            assert_eq!(stops_at(&whole), stop, "{} {number}", effect.name);
            assert_eq!(
                judge(stop).verdict,
                whole.verdict,
                "{} {number}",
                effect.name
            );
            for metric in METRICS {
                let alone = alone(&before, &after, metric, noise.of(SCENARIO, metric), &lab);
                assert_eq!(
                    alone,
                    verdict_of(&whole, metric),
                    "{} {number} {metric}",
                    effect.name
                );
            }
            seen.insert((whole.verdict, stop));
        }
    }
    assert!(seen.len() > 4, "too alike to tell anything: {seen:?}");
}

/// The verdict of one metric by the sequential rule itself.
fn alone(
    before: &[Logs],
    after: &[Logs],
    metric: &str,
    prior: Option<kitt_action::compare::Noise>,
    lab: &Lab,
) -> Verdict {
    let place = verdict_lab::requests::place(metric);
    let ratio = |(b, c): (&Logs, &Logs)| c[place] - b[place];
    let logs = PairedLogs {
        log_ratios: before.iter().zip(after).map(ratio).collect(),
        prior,
    };
    let (described, policy) = (describe(metric), lab.policy());
    let levels = Levels {
        alpha: policy.alpha / METRICS.len() as f64,
        beta: policy.beta,
    };
    let better = described.better.expect("it gates");
    let zone = policy.zone_of(&described, "chat");
    let found = sequential(&logs, better, zone, levels, Looks::up_to(PAIRS)).expect("levels");
    found.expect("there are twelve pairs").ruling.verdict
}

#[test]
fn the_verdict_is_more_to_be_trusted_than_simpler_rules() {
    let lab = Lab::new(200, SEED);
    let law = Law::usual(0.02);
    for (rival, least) in [
        (Rival::Kitt, 0.10),
        (Rival::Percent5, 0.25),
        (Rival::Welch, 0.10),
    ] {
        let (flagged, _) = rivals::run(&lab, rival, &law, &NOTHING, 200);
        assert!(
            flagged as f64 >= least * 200.0,
            "{rival:?} flags {flagged} of 200"
        );
    }
    let (_, caught) = rivals::run(&lab, Rival::Kitt, &law, &THROUGHPUT, 200);
    assert!(caught < 130, "KITT's rule catches {caught} of 200");
}

/// The interaction of host and change is a change of that job: it must be caught there too.
#[test]
fn a_slowdown_is_caught_in_the_right_direction_only() {
    let lab = Lab::new(40, SEED);
    let law = Law::usual(0.005);
    let faster = Effect {
        slower: -THROUGHPUT.slower,
        ..NOTHING
    };
    let profiles = lab.profiles(&law, Prior::Learned(1.0), 5);
    for number in 0..20 {
        let verdict = |effect: &Effect| {
            let request = PullRequest {
                law: &law,
                effect,
                number,
            };
            lab.decide(request, Design::Paired(Prior::Learned(1.0)), &profiles)
                .target
        };
        assert_eq!(verdict(&THROUGHPUT), Verdict::Regressed, "{number}");
        assert_eq!(verdict(&faster), Verdict::Improved, "{number}");
    }
}

#[test]
fn change_points_meet_the_acceptance_figures() {
    let (text, broken) = series::table(60, SEED);
    assert!(broken.is_empty(), "{broken:#?}\n{text}");
    assert!(change_points(&[1.0; 5]).is_empty());
}
