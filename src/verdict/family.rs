//! Many metrics at once: at which level each is tested, and which informative ones are believed.
//!
//! Gating metrics share the family-wise error α. Each first gets α / m (Bonferroni). Those that are
//! not measured in pairs hand on what is left of theirs when one of them is rejected: Holm's
//! procedure over the h of them at α h / m. Pairs keep α / m: their level is spent look by look,
//! and a level that grew after a look with what other metrics showed would not be the one that the
//! looks before were made with.
//!
//! Metrics that do not gate are weighed by Benjamini and Hochberg: one is called regressed or
//! improved only with a q of at most 5 %.

use super::{
    GatePolicy, Judged, Verdict, judge::tested, multiplicity::tails, reason, sequential::Looks,
};
use crate::compare::{Change, CompareError, benjamini_hochberg, holm_levels};

/// Share of false alarms among the informative metrics that are called regressed or improved.
const FALSE_DISCOVERIES: f64 = 0.05;

/// Whether a change takes part of the family-wise error.
fn gates(change: &Change, policy: &GatePolicy) -> bool {
    policy.gates(&change.metric, &change.scenario) && tested(change)
}

/// How many gating metrics are really tested; at least 1.
pub(super) fn tests(changes: &[Change], policy: &GatePolicy) -> usize {
    let gating = changes.iter().filter(|change| gates(change, policy));
    gating.count().max(1)
}

/// The one-sided level of each change's test, in the order given.
///
/// # Errors
/// A number that has no tail probability.
pub(super) fn alphas(
    changes: &[Change],
    policy: &GatePolicy,
    looks: Looks,
) -> Result<Vec<f64>, CompareError> {
    let each = policy.alpha / tests(changes, policy) as f64;
    let (mut alphas, mut at_once) = (Vec::with_capacity(changes.len()), Vec::new());
    for (place, change) in changes.iter().enumerate() {
        let gating = gates(change, policy);
        alphas.push(if gating {
            each
        } else {
            FALSE_DISCOVERIES / 2.0
        });
        if gating && change.pairs.is_none() {
            let tails = tails(
                change,
                policy.zone_of(&change.metric, &change.scenario),
                looks,
            )?;
            at_once.push((place, tails.map_or(1.0, |tails| tails.worse)));
        }
    }
    let (places, p): (Vec<usize>, Vec<f64>) = at_once.into_iter().unzip();
    let levels = holm_levels(&p, each * p.len() as f64);
    for (place, level) in places.into_iter().zip(levels) {
        if let Some(alpha) = alphas.get_mut(place) {
            *alpha = level;
        }
    }
    Ok(alphas)
}

/// Weighs what does not gate: sets the q of each tested metric and takes back what is not strong
/// enough among so many.
///
/// # Errors
/// A number that has no tail probability.
pub(super) fn weigh(metrics: &mut [Judged], looks: Looks) -> Result<(), CompareError> {
    let (mut weighed, mut p) = (Vec::new(), Vec::new());
    for judged in metrics.iter_mut().filter(|judged| !judged.gating) {
        // Without a zone it was not put to a rule.
        let Some(zone) = judged.zone else { continue };
        if let Some(tails) = tails(&judged.change, zone, looks)? {
            p.push(tails.either());
            weighed.push(judged);
        }
    }
    for (judged, q) in weighed.into_iter().zip(benjamini_hochberg(&p)) {
        judged.q = Some(q);
        let changed = matches!(judged.verdict, Verdict::Regressed | Verdict::Improved);
        if changed && q > FALSE_DISCOVERIES {
            // What is better is at least not worse.
            judged.verdict = if judged.verdict == Verdict::Improved {
                Verdict::Unchanged
            } else {
                Verdict::Inconclusive
            };
            judged.reason.push_str(&reason::one_of_many(q, p.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::{Design, Estimate, PairedLogs, Reference},
        metric::describe,
        verdict::{
            judge::{Terms, judge},
            rule::Levels,
        },
    };

    /// A change of `name` for the worse by so many standard errors beyond the smallest effect.
    fn change(name: &str, deviations: f64) -> Change {
        let metric = describe(name);
        let sign = metric.better.map_or(1.0, crate::metric::Better::worse_sign);
        let zone = GatePolicy::default().zone_of(&metric, "s");
        let se = 0.01;
        Change {
            requests: Some(1000),
            estimate: Some(Estimate {
                log_ratio: sign * (zone.min_effect.ln_1p() + deviations * se),
                standard_error: se,
                reference: Reference::Normal,
                design: Design::History,
                runs: (20, 1),
            }),
            baseline: Some(1.0),
            current: Some(1.0),
            ..Change::new("s", metric)
        }
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    /// Three gating tests, α = 1 %: z = 4 has p = 0.003 %, z = 2.6 has p = 0.47 % (beyond 0.33 %,
    /// within 0.5 %), z = 1 has p = 16 %. Holm gives 1/3, 1/2 and 1 of 1 %.
    #[test]
    fn what_one_test_leaves_goes_to_the_next() {
        let changes = [
            change("output_tps", 2.6),
            change("ttft_ms.p50", 4.0),
            change("itl_ms.mean", 1.0),
            change("e2e_ms.p50", 3.0),
        ];
        let policy = GatePolicy::default();
        let alphas = alphas(&changes, &policy, Looks::up_to(12)).unwrap();
        for (found, expected) in alphas.iter().zip([0.005, 0.01 / 3.0, 0.01, 0.025]) {
            close(*found, expected);
        }
    }

    #[test]
    fn pairs_keep_their_part() {
        let paired = Change {
            pairs: Some(PairedLogs {
                log_ratios: vec![0.2; 3],
                prior: None,
            }),
            ..change("output_tps", 0.0)
        };
        let changes = [
            paired,
            change("ttft_ms.p50", 9.0),
            change("itl_ms.mean", 0.0),
        ];
        let policy = GatePolicy::default();
        let alphas = alphas(&changes, &policy, Looks::up_to(12)).unwrap();
        let third = 0.01 / 3.0;
        for (found, expected) in alphas.iter().zip([third, third, 2.0 * third]) {
            close(*found, expected);
        }
    }

    fn judged(deviations: &[f64]) -> Vec<Judged> {
        let terms = Terms {
            incomparable: false,
            levels: Levels {
                alpha: 0.025,
                beta: 0.05,
            },
            chosen: false,
            looks: Looks::up_to(12),
        };
        let policy = GatePolicy::default();
        let mut metrics: Vec<Judged> = deviations
            .iter()
            .map(|deviations| {
                let change = change("e2e_ms.p50", *deviations);
                judge(
                    &change,
                    false,
                    policy.zone_of(&change.metric, &change.scenario),
                    terms,
                )
                .unwrap()
            })
            .collect();
        weigh(&mut metrics, terms.looks).unwrap();
        metrics
    }

    /// z = 2.1 has a two-sided p of 3.6 %: proof by itself, and with nine that show nothing a q of
    /// at least 36 %.
    #[test]
    fn one_alarm_among_many_is_not_believed() {
        let alone = judged(&[2.1]);
        assert_eq!(alone[0].verdict, Verdict::Regressed);
        assert!((alone[0].q.unwrap() - 0.0357).abs() < 1e-4);
        let mut many = vec![-1.0; 9];
        many.push(2.1);
        let many = judged(&many);
        let last = many.last().unwrap();
        assert_eq!(last.verdict, Verdict::Inconclusive, "{}", last.reason);
        assert!(last.q.unwrap() > 0.3);
        assert!(last.reason.contains("one of 10 metrics"), "{}", last.reason);
        // A strong one stays.
        let strong = judged(&[-1.0, -1.0, -1.0, -1.0, 4.0]);
        assert_eq!(strong[4].verdict, Verdict::Regressed);
        assert!(strong[4].q.unwrap() < 0.001);
    }

    /// Better than the smallest gain that counts by 4.6 − 2 · 0.995 = 2.61 standard errors: a
    /// two-sided p of 0.9 %, ten times that among ten.
    #[test]
    fn a_gain_that_may_be_chance_is_no_loss() {
        let mut gains = vec![-1.0; 10];
        gains[0] = -4.6;
        assert_eq!(judged(&gains[..1])[0].verdict, Verdict::Improved);
        let gains = judged(&gains);
        assert_eq!(gains[0].verdict, Verdict::Unchanged, "{}", gains[0].reason);
        assert!(gains[0].reason.contains("chance"));
    }
}
