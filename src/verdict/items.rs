//! The rule for evaluation items: both sides answered the same ones.
//!
//! In: what was lost and gained. Out: a [`Ruling`] in points
//! (`research/regression-statistics.md` §6):
//!
//! ```text
//! regressed     exact McNemar p ≤ α, and where a smallest effect is asked for, the Agresti-Min
//!               lower limit of the drop at α is beyond it
//! passed        the Agresti-Min upper limit of the drop at β is below gate_effect
//!   improved    the same test the other way round at 0.5 %
//!   unchanged   otherwise
//! inconclusive  otherwise
//! ```

use super::{
    Verdict, Zone,
    rule::{IMPROVED_ALPHA, Levels, Quantiles, Ruling, place},
};
use crate::{
    compare::{CompareError, ItemChanges, Reference},
    metric::Better,
};

/// Rules on items; the zone is in points.
///
/// # Errors
/// A level is not between 0 and 0.5.
pub(super) fn rule_items(
    changes: &ItemChanges,
    better: Better,
    zone: Zone,
    levels: Levels,
) -> Result<Ruling, CompareError> {
    let quantiles = levels.quantiles(|tail| Reference::Normal.upper(tail))?;
    let verdict = verdict(changes, better, zone, (levels, quantiles));
    let (z, confidence) = levels.of(verdict, quantiles);
    Ok(Ruling {
        verdict,
        interval: changes.limits(z),
        confidence,
        detectable: detectable(changes, zone, (levels, quantiles)),
    })
}

fn verdict(
    changes: &ItemChanges,
    better: Better,
    zone: Zone,
    (levels, quantiles): (Levels, Quantiles),
) -> Verdict {
    let changes = changes.towards(better);
    // From here on the difference is the drop with its sign turned round.
    let at_least = |z: f64| -changes.limits(z).1;
    let at_most = |z: f64| -changes.limits(z).0;
    // Without a smallest effect to prove, the exact test alone decides.
    let beyond = |limit: f64, effect: f64| zone.min_effect <= 0.0 || limit > effect;
    let worse =
        changes.worse_p() <= levels.alpha && beyond(at_least(quantiles.alpha), zone.min_effect);
    let improved = changes.better_p() <= IMPROVED_ALPHA
        && beyond(-at_most(quantiles.improved), zone.min_effect);
    let passed = (at_most(quantiles.beta), zone.gate_effect);
    let yes = |holds: bool| f64::from(u8::from(holds));
    place((yes(worse), 0.5), passed, (-yes(improved), -0.5))
}

/// The smallest drop that would be proven if as many items changed as did: of those, enough are
/// lost. An approximation: a larger drop changes more items than a smaller one. `None` when not
/// even losing every item would do.
fn detectable(changes: &ItemChanges, zone: Zone, terms: (Levels, Quantiles)) -> Option<f64> {
    let (items, seen) = (changes.items, changes.lost + changes.gained);
    let provable = |net: u64| {
        // Lost and gained differ by `net`: their sum is at least that, and as odd or even.
        let other = net
            .max(seen + (net + seen) % 2)
            .min(items - (net + items) % 2);
        let lost = u64::midpoint(other, net);
        ItemChanges::once(items, lost, other - lost).is_some_and(|changes| {
            verdict(&changes, Better::Higher, zone, terms) == Verdict::Regressed
        })
    };
    let (mut low, mut high) = (0, items);
    if !provable(high) {
        return None;
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if provable(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high as f64 / items as f64)
}

/// How many items prove a drop of `gate_effect` 95 times out of 100 when a share `discordance` of
/// them changes: `((z(1−α) + z(95 %)) / (gate_effect − min_effect))² · (discordance − gate_effect²)`.
/// `None` where no number does.
///
/// # Errors
/// A level is not between 0 and 0.5.
pub fn items_needed(
    discordance: f64,
    zone: Zone,
    levels: Levels,
) -> Result<Option<u64>, CompareError> {
    let quantiles = levels.quantiles(|tail| Reference::Normal.upper(tail))?;
    let power = Reference::Normal.upper(0.05)?;
    // A drop of so many points changes at least so many items.
    let variance = discordance.max(zone.gate_effect) - zone.gate_effect.powi(2);
    let room = zone.gate_effect - zone.min_effect;
    let needed = ((quantiles.alpha + power) / room).powi(2) * variance;
    let sensible = room > 0.0 && needed < 1e9;
    Ok(sensible.then(|| rounded_up(needed)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of items between 0 and 1e9"
)]
const fn rounded_up(count: f64) -> u64 {
    count.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::rule::tests::{LEVELS, ZONE};

    const NO_MINIMUM: Zone = Zone {
        min_effect: 0.0,
        gate_effect: 0.02,
    };

    fn judged(items: u64, lost: u64, gained: u64, zone: Zone) -> Ruling {
        let changes = ItemChanges::once(items, lost, gained).unwrap();
        rule_items(&changes, Better::Higher, zone, LEVELS).unwrap()
    }

    /// Six of six lost: 2⁻⁶ = 1.6 %; seven of seven: 0.8 %, below the level of 1 %.
    #[test]
    fn seven_lost_items_and_none_gained_are_proof() {
        assert_eq!(judged(100, 6, 0, NO_MINIMUM).verdict, Verdict::Inconclusive);
        let ruling = judged(100, 7, 0, NO_MINIMUM);
        assert_eq!(ruling.verdict, Verdict::Regressed);
        assert!(ruling.interval.1 < 0.0, "{:?}", ruling.interval);
        // 7 of 100 is more than 0, and not proven to be more than 5 points.
        let strict = Zone {
            min_effect: 0.05,
            gate_effect: 0.1,
        };
        assert_eq!(judged(100, 7, 0, strict).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_gain_is_improved_and_the_metric_says_which_way_is_better() {
        assert_eq!(judged(1000, 0, 8, NO_MINIMUM).verdict, Verdict::Improved);
        let changes = ItemChanges::once(1000, 0, 8).unwrap();
        let wrong_way = rule_items(&changes, Better::Lower, NO_MINIMUM, LEVELS).unwrap();
        assert_eq!(wrong_way.verdict, Verdict::Regressed);
        assert!(wrong_way.interval.0 > 0.0);
    }

    /// With a share of 4 % changing evenly the standard error of 2300 items is 0.42 points:
    /// 1.645 · 0.42 < 2. With 100 items it is 2 points.
    #[test]
    fn many_items_without_a_change_are_unchanged_and_few_are_not() {
        assert_eq!(judged(2300, 46, 46, NO_MINIMUM).verdict, Verdict::Unchanged);
        assert_eq!(judged(100, 2, 2, NO_MINIMUM).verdict, Verdict::Inconclusive);
        // Two pseudo-items leave 30 identical answers room for a drop of 2 points.
        assert_eq!(judged(30, 0, 0, NO_MINIMUM).verdict, Verdict::Inconclusive);
        assert_eq!(judged(300, 0, 0, NO_MINIMUM).verdict, Verdict::Unchanged);
    }

    #[test]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small counts"
    )]
    fn what_could_have_been_proven_is_the_edge_of_regressed() {
        let ruling = judged(1000, 20, 20, NO_MINIMUM);
        let net = (ruling.detectable.unwrap() * 1000.0).round() as u64;
        // 40 changed, net 16: 28 lost, 12 gained, p = 0.8 %; net 14: 27 and 13, p = 1.9 %.
        assert_eq!(net, 16);
        assert_eq!(judged(1000, 28, 12, NO_MINIMUM).verdict, Verdict::Regressed);
        assert_ne!(judged(1000, 27, 13, NO_MINIMUM).verdict, Verdict::Regressed);
        assert_eq!(judged(5, 0, 0, ZONE).detectable, None);
    }

    /// `research/regression-statistics.md` §6: with twelve gating metrics 4 % discordance needs
    /// about 2300 items for 2 points: (3.1427 + 1.6449)² · (0.04 − 0.0004) / 0.02² = 2269.
    #[test]
    fn two_points_at_four_per_cent_discordance_need_2300_items() {
        let levels = Levels {
            alpha: 0.01 / 12.0,
            beta: 0.05,
        };
        let needed = items_needed(0.04, NO_MINIMUM, levels).unwrap().unwrap();
        assert!((2260..=2280).contains(&needed), "{needed}");
        let same = Zone {
            min_effect: 0.02,
            gate_effect: 0.02,
        };
        assert_eq!(items_needed(0.04, same, levels).unwrap(), None);
    }

    #[test]
    fn a_level_without_a_quantile_is_an_error() {
        let changes = ItemChanges::once(10, 1, 1).unwrap();
        let levels = Levels {
            alpha: 0.0,
            beta: 0.05,
        };
        assert!(rule_items(&changes, Better::Higher, ZONE, levels).is_err());
        assert!(items_needed(0.04, ZONE, levels).is_err());
    }
}
