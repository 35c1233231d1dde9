//! How likely chance alone gives what each test saw, so that many tests can be weighed together.
//!
//! In: a change and its zone. Out: one-sided p-values: the probability of an estimate as far
//! beyond the smallest effect that matters as this one, or farther, when the true effect is just
//! that small. A p of at most the test's level is what [`super::rule()`] calls proven.

use super::{
    Zone,
    sequential::{Looks, spent},
};
use crate::{
    compare::{
        Change, CompareError, Counts, Estimate, ItemChanges, PairedLogs, Reference, Shift,
        difference_limits,
    },
    metric::Better,
};

/// One-sided p-values of one change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tails {
    /// Of being worse.
    pub(super) worse: f64,
    /// Of being better.
    pub(super) better: f64,
}

impl Tails {
    /// The p-value of a change in either direction.
    pub(super) fn either(self) -> f64 {
        (2.0 * self.worse.min(self.better)).min(1.0)
    }
}

/// The p-values of a change; `None` where nothing is tested: no direction is better, there is an
/// obstacle, or the quantity is deterministic.
///
/// # Errors
/// A number that has no tail probability.
pub(super) fn tails(
    change: &Change,
    zone: Zone,
    looks: Looks,
) -> Result<Option<Tails>, CompareError> {
    let Some(better) = change.metric.better.filter(|_| change.obstacle.is_none()) else {
        return Ok(None);
    };
    let opposite = match better {
        Better::Lower => Better::Higher,
        Better::Higher => Better::Lower,
    };
    let worse = tail(change, better, zone, looks)?;
    let improved = tail(change, opposite, zone, looks)?;
    Ok(worse
        .zip(improved)
        .map(|(worse, better)| Tails { worse, better }))
}

/// The p-value of a worsening, if `better` is what is better.
fn tail(
    change: &Change,
    better: Better,
    zone: Zone,
    looks: Looks,
) -> Result<Option<f64>, CompareError> {
    if let Some(items) = &change.items {
        return of_items(items, better, zone).map(Some);
    }
    if let Some(shift) = &change.shift {
        return of_shift(shift, better, zone).map(Some);
    }
    if let Some((baseline, current)) = change.counts {
        return of_counts(baseline, current, better, zone).map(Some);
    }
    if let Some(pairs) = &change.pairs {
        return of_pairs(pairs, better, zone, looks);
    }
    match &change.estimate {
        Some(estimate) if estimate.reference != Reference::Exact => {
            of_estimate(estimate, better, zone).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

/// The probability of a normal or t variable beyond a distance from the smallest effect. Without
/// an error there is nothing left to chance.
fn beyond(reference: Reference, distance: f64, error: f64) -> Result<f64, CompareError> {
    if error > 0.0 {
        reference.tail(distance / error)
    } else {
        Reference::Exact.tail(distance)
    }
}

fn of_estimate(estimate: &Estimate, better: Better, zone: Zone) -> Result<f64, CompareError> {
    let worse = better.worse_sign() * estimate.log_ratio;
    let distance = worse - zone.min_effect.ln_1p();
    beyond(estimate.reference, distance, estimate.standard_error)
}

fn of_shift(shift: &Shift, better: Better, zone: Zone) -> Result<f64, CompareError> {
    let worse = better.worse_sign() * shift.difference;
    beyond(
        Reference::Normal,
        worse - zone.min_effect,
        shift.standard_error,
    )
}

fn of_items(items: &ItemChanges, better: Better, zone: Zone) -> Result<f64, CompareError> {
    let items = items.towards(better);
    if zone.min_effect <= 0.0 {
        return Ok(items.worse_p());
    }
    let by_limit = Reference::Normal.tail(items.deviations_below(-zone.min_effect))?;
    Ok(by_limit.max(items.worse_p()))
}

/// The level at which Newcombe's limit reaches the smallest effect: found by halving, since the
/// limit falls as the level does. 1 where not even the point estimate is beyond it.
fn of_counts(
    baseline: Counts,
    current: Counts,
    better: Better,
    zone: Zone,
) -> Result<f64, CompareError> {
    let proven = |z: f64| {
        let (low, high) = difference_limits(baseline, current, z);
        let least = match better {
            Better::Lower => low,
            Better::Higher => -high,
        };
        least > zone.min_effect
    };
    // Farther out than any level of a gate.
    let (mut low, mut high) = (0.0, 40.0);
    if !proven(low) {
        return Ok(1.0);
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if proven(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Reference::Normal.tail(low)
}

/// A p-value larger than this is not told apart from 1; beyond it what a look may spend no longer
/// grows with the level.
const LARGEST_SEQUENTIAL: f64 = 0.1;

/// The smallest level at which looking at these pairs would have proven a worsening at some look.
/// Whatever the level, all looks together spend no more than it, so this is a p-value however
/// often and whyever the pairs were looked at. `None`: too few pairs for a look.
fn of_pairs(
    pairs: &PairedLogs,
    better: Better,
    zone: Zone,
    looks: Looks,
) -> Result<Option<f64>, CompareError> {
    let (mut before, mut smallest) = (0.0, None);
    for look in looks.at() {
        let Some(estimate) = pairs.first(look) else {
            break;
        };
        let t = look as f64 / looks.most() as f64;
        let increment =
            |alpha: f64| Ok::<_, CompareError>(spent(alpha, t)? - spent(alpha, before)?);
        let p = level_of(of_estimate(&estimate, better, zone)?, increment)?;
        smallest = Some(smallest.unwrap_or(1.0_f64).min(p));
        before = t;
    }
    Ok(smallest)
}

/// The level whose increment is `p`.
fn level_of(
    p: f64,
    increment: impl Fn(f64) -> Result<f64, CompareError>,
) -> Result<f64, CompareError> {
    if increment(LARGEST_SEQUENTIAL)? < p {
        return Ok(1.0);
    }
    // Halving the logarithm: levels reach from 0.1 far down.
    let (mut low, mut high) = (1e-12_f64.ln(), LARGEST_SEQUENTIAL.ln());
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if increment(middle.exp())? < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(high.exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::Design,
        metric::describe,
        verdict::{
            Verdict,
            items::rule_items,
            rule::{Levels, rule, tests::ZONE},
            sequential::sequential,
            shares::{rule_counts, rule_shift},
        },
    };

    const LOOKS: Looks = Looks::up_to(12);

    fn levels(alpha: f64) -> Levels {
        Levels { alpha, beta: 0.05 }
    }

    /// A level a little above p proves it, one a little below does not.
    fn is_the_edge(p: f64, proven: impl Fn(Levels) -> bool) {
        assert!((1e-9..0.09).contains(&p), "{p}");
        assert!(proven(levels(p * 1.001)), "{p}");
        assert!(!proven(levels(p * 0.999)), "{p}");
    }

    #[test]
    fn the_p_value_of_an_estimate_is_the_edge_of_its_rule() {
        for reference in [Reference::Normal, Reference::StudentT(7.0)] {
            let estimate = Estimate {
                log_ratio: 0.05,
                standard_error: 0.015,
                reference,
                design: Design::History,
                runs: (8, 1),
            };
            let p = of_estimate(&estimate, Better::Lower, ZONE).unwrap();
            is_the_edge(p, |levels| {
                rule(&estimate, Better::Lower, ZONE, levels)
                    .unwrap()
                    .verdict
                    == Verdict::Regressed
            });
        }
    }

    #[test]
    fn the_p_value_of_counts_is_the_edge_of_their_rule() {
        let of = |events| Counts {
            events,
            trials: 500.0,
        };
        let p = of_counts(of(10.0), of(40.0), Better::Lower, ZONE).unwrap();
        is_the_edge(p, |levels| {
            let ruling = rule_counts(of(10.0), of(40.0), Better::Lower, ZONE, levels).unwrap();
            ruling.verdict == Verdict::Regressed
        });
        let none = of_counts(of(10.0), of(10.0), Better::Lower, ZONE).unwrap();
        assert!((none - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_p_value_of_items_and_shifts_is_the_edge_of_their_rule() {
        let items = ItemChanges::once(1000, 40, 8).unwrap();
        for min_effect in [0.0, 0.01] {
            let zone = Zone { min_effect, ..ZONE };
            let p = of_items(&items, Better::Higher, zone).unwrap();
            is_the_edge(p, |levels| {
                let ruling = rule_items(&items, Better::Higher, zone, levels).unwrap();
                ruling.verdict == Verdict::Regressed
            });
        }
        let shift = Shift {
            difference: 0.03,
            standard_error: 0.01,
            items: 900,
        };
        let p = of_shift(&shift, Better::Lower, ZONE).unwrap();
        is_the_edge(p, |levels| {
            let ruling = rule_shift(&shift, Better::Lower, ZONE, levels).unwrap();
            ruling.verdict == Verdict::Regressed
        });
    }

    #[test]
    fn the_p_value_of_pairs_is_the_edge_of_all_their_looks() {
        let pairs = PairedLogs {
            log_ratios: vec![0.03, 0.05, 0.02, 0.06, 0.035, 0.04, 0.03, 0.05],
            prior: None,
        };
        // Passing must not end the looking, so nothing passes.
        let zone = Zone {
            min_effect: 0.01,
            gate_effect: 0.01,
        };
        let p = of_pairs(&pairs, Better::Lower, zone, LOOKS)
            .unwrap()
            .unwrap();
        is_the_edge(p, |levels| {
            let found = sequential(&pairs, Better::Lower, zone, levels, LOOKS);
            found.unwrap().unwrap().ruling.verdict == Verdict::Regressed
        });
        let few = PairedLogs {
            log_ratios: vec![0.1; 2],
            prior: None,
        };
        assert_eq!(of_pairs(&few, Better::Lower, zone, LOOKS).unwrap(), None);
    }

    #[test]
    fn both_directions_are_seen_and_nothing_is_made_of_nothing() {
        let mut change = Change::new("s", describe("output_tps"));
        assert_eq!(tails(&change, ZONE, LOOKS).unwrap(), None);
        change.estimate = Some(Estimate {
            log_ratio: 0.2,
            standard_error: 0.02,
            reference: Reference::Normal,
            design: Design::Single,
            runs: (1, 1),
        });
        let found = tails(&change, ZONE, LOOKS).unwrap().unwrap();
        assert!(found.better < 1e-12 && found.worse > 0.99, "{found:?}");
        assert!((found.either() - 2.0 * found.better).abs() < 1e-15);
        change.estimate = change.estimate.map(|estimate| Estimate {
            reference: Reference::Exact,
            ..estimate
        });
        assert_eq!(tails(&change, ZONE, LOOKS).unwrap(), None);
    }
}
