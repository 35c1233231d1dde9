//! The rule for shares of requests or items: a difference in points.
//!
//! In: counts of both sides. Out: a [`Ruling`] by the same three questions as [`super::rule()`], with
//! Newcombe's limits of the difference in place of a log-ratio's.

use super::{
    Verdict, Zone,
    rule::{Levels, Ruling, place},
};
use crate::{
    compare::{CompareError, Counts, Reference, Shift, difference_limits},
    metric::Better,
};

/// Rules on a difference of proportions in points, by Newcombe's limits; the zone is in points.
///
/// When nothing failed on either side an error rate is unchanged whatever the number of
/// requests: no failures is the normal state, not missing proof, and what could have gone unseen
/// is in the reason. A share of right answers gets no such exception.
///
/// # Errors
/// A level is not between 0 and 0.5.
pub(super) fn rule_counts(
    baseline: Counts,
    current: Counts,
    better: Better,
    zone: Zone,
    levels: Levels,
) -> Result<Ruling, CompareError> {
    let quantiles = levels.quantiles(|tail| Reference::Normal.upper(tail))?;
    let worsening = |current: Counts, z: f64| {
        let (low, high) = difference_limits(baseline, current, z);
        match better {
            Better::Lower => (low, high),
            Better::Higher => (-high, -low),
        }
    };
    let verdict = if nothing_failed(baseline, current, better) {
        Verdict::Unchanged
    } else {
        place(
            (worsening(current, quantiles.alpha).0, zone.min_effect),
            (worsening(current, quantiles.beta).1, zone.gate_effect),
            (worsening(current, quantiles.improved).1, -zone.min_effect),
        )
    };
    let (z, confidence) = levels.of(verdict, quantiles);
    let provable = |points: f64| {
        let share = baseline.share() + better.worse_sign() * points;
        let events = share.clamp(0.0, 1.0) * current.trials;
        let worse = Counts { events, ..current };
        worsening(worse, quantiles.alpha).0 > zone.min_effect
    };
    Ok(Ruling {
        verdict,
        interval: difference_limits(baseline, current, z),
        confidence,
        detectable: smallest(provable),
    })
}

/// Rules on a difference in points with a standard error; limits are normal ones.
///
/// # Errors
/// A level is not between 0 and 0.5.
pub(super) fn rule_shift(
    shift: &Shift,
    better: Better,
    zone: Zone,
    levels: Levels,
) -> Result<Ruling, CompareError> {
    let quantiles = levels.quantiles(|tail| Reference::Normal.upper(tail))?;
    let (worse, se) = (better.worse_sign() * shift.difference, shift.standard_error);
    let verdict = place(
        (worse - quantiles.alpha * se, zone.min_effect),
        (worse + quantiles.beta * se, zone.gate_effect),
        (worse + quantiles.improved * se, -zone.min_effect),
    );
    let (z, confidence) = levels.of(verdict, quantiles);
    Ok(Ruling {
        verdict,
        interval: (shift.difference - z * se, shift.difference + z * se),
        confidence,
        detectable: Some(zone.min_effect + quantiles.alpha * se),
    })
}

/// Whether both sides are free of failures.
pub(super) fn nothing_failed(baseline: Counts, current: Counts, better: Better) -> bool {
    better == Better::Lower && baseline.events <= 0.0 && current.events <= 0.0
}

/// The smallest number of points, to a hundredth of a point, from which on `provable` holds; it
/// is monotone. `None` when not even 100 points can be proven.
fn smallest(provable: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut low, mut high) = (0_u32, 10_000_u32);
    let points = |hundredths: u32| f64::from(hundredths) / 1e4;
    if !provable(points(high)) {
        return None;
    }
    while high - low > 1 {
        let middle = u32::midpoint(low, high);
        if provable(points(middle)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(points(high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::rule::tests::{LEVELS, ZONE};

    fn counts(events: f64, trials: f64) -> Counts {
        Counts { events, trials }
    }

    #[test]
    fn no_failure_on_either_side_is_unchanged() {
        let judge = |b, c, better| rule_counts(b, c, better, ZONE, LEVELS).unwrap();
        let none = judge(counts(0.0, 20.0), counts(0.0, 20.0), Better::Lower);
        assert_eq!(none.verdict, Verdict::Unchanged);
        let perfect = judge(counts(20.0, 20.0), counts(20.0, 20.0), Better::Higher);
        assert_eq!(
            perfect.verdict,
            Verdict::Inconclusive,
            "20 right answers prove little"
        );
    }

    #[test]
    fn proportions_are_judged_in_points_and_by_direction() {
        let judge = |b, c, better| rule_counts(b, c, better, ZONE, LEVELS).unwrap().verdict;
        let (few, many) = (counts(10.0, 1000.0), counts(100.0, 1000.0));
        assert_eq!(judge(few, many, Better::Lower), Verdict::Regressed);
        assert_eq!(judge(many, few, Better::Lower), Verdict::Improved);
        assert_eq!(judge(few, many, Better::Higher), Verdict::Improved);
        assert_eq!(judge(few, few, Better::Lower), Verdict::Unchanged);
        let one = counts(1.0, 20.0);
        assert_eq!(
            judge(counts(0.0, 20.0), one, Better::Lower),
            Verdict::Inconclusive
        );
    }

    /// z(0.99) = 2.326, z(0.95) = 1.645, z(0.995) = 2.576; with an error of 1 point, a zone of
    /// [1, 5] points: regressed from 3.33 on, passed up to 3.35, improved up to −3.58.
    #[test]
    fn shifts_by_hand() {
        let verdict = |points: f64, better| {
            let shift = Shift {
                difference: points / 100.0,
                standard_error: 0.01,
                items: 1000,
            };
            rule_shift(&shift, better, ZONE, LEVELS).unwrap().verdict
        };
        assert_eq!(verdict(3.33, Better::Lower), Verdict::Regressed);
        assert_eq!(verdict(3.32, Better::Lower), Verdict::Unchanged);
        assert_eq!(verdict(-3.57, Better::Lower), Verdict::Unchanged);
        assert_eq!(verdict(-3.58, Better::Lower), Verdict::Improved);
        assert_eq!(verdict(-3.33, Better::Higher), Verdict::Regressed);
        let loud = Shift {
            difference: 0.0,
            standard_error: 0.1,
            items: 10,
        };
        let ruling = rule_shift(&loud, Better::Lower, ZONE, LEVELS).unwrap();
        assert_eq!(ruling.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn what_counts_could_have_proven_is_the_edge_of_regressed() {
        let (b, n) = (counts(800.0, 1000.0), 1000.0);
        let ruling = rule_counts(b, b, Better::Higher, ZONE, LEVELS).unwrap();
        let edge = ruling.detectable.unwrap();
        let at = |points: f64| {
            let current = counts((0.8 - points) * n, n);
            rule_counts(b, current, Better::Higher, ZONE, LEVELS)
                .unwrap()
                .verdict
        };
        assert_eq!(at(edge + 0.001), Verdict::Regressed);
        assert_ne!(at(edge - 0.001), Verdict::Regressed);
    }
}
