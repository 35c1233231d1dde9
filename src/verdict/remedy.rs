//! What would settle an open verdict: one setting, with its value.
//!
//! In: what was ruled on. Out: a [`Remedy`]. Everything rests on difference and noise staying as
//! they are, so the numbers are advice, not promises.

use super::{
    Verdict, Zone,
    items::{items_needed, rule_items},
    rule::{Levels, MOST_PAIRS, pairs_to_settle, rule},
    shares::rule_counts,
};
use crate::{
    compare::{Change, Counts, Design, Estimate, ItemChanges, Obstacle, is_of_requests},
    metric::Better,
};

/// The one step that would settle an inconclusive metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Remedy {
    /// Measure baseline and current in turn on one machine.
    Interleave,
    /// About so many pairs.
    Pairs(usize),
    /// No sensible number of pairs: less noise, or a limit of this size (0.12 = 12 %), with
    /// which these very pairs would have passed. `None`: no limit below 100 % would do.
    Quieter(Option<f64>),
    /// About so many requests per run.
    Requests(u64),
    /// About so many evaluated items.
    Items(u64),
}

/// More than this many times the requests are no advice.
const MOST_TIMES: u32 = 100;

impl Remedy {
    /// For an estimate that is left open.
    pub(super) fn of_estimate(
        estimate: &Estimate,
        better: Better,
        zone: Zone,
        whole: Levels,
    ) -> Self {
        match estimate.design {
            Design::Paired => pairs_to_settle(estimate, better, zone, whole).map_or_else(
                || Self::Quieter(wide_enough(estimate, better, zone, whole)),
                Self::Pairs,
            ),
            Design::Single | Design::History | Design::Exact => Self::Interleave,
        }
    }

    /// For counts that are left open: as many more trials as decide if the shares stay as they
    /// are. `None`: not even a hundred times as many, or nobody knows how many a run has.
    pub(super) fn of_counts(
        change: &Change,
        (baseline, current): (Counts, Counts),
        better: Better,
        zone: Zone,
        levels: Levels,
    ) -> Option<Self> {
        let times = (2..=MOST_TIMES).find(|times| {
            let more = |side: Counts| Counts {
                events: side.events * f64::from(*times),
                trials: side.trials * f64::from(*times),
            };
            rule_counts(more(baseline), more(current), better, zone, levels)
                .is_ok_and(|ruling| ruling.verdict != Verdict::Inconclusive)
        })?;
        if is_of_requests(&change.metric.name) {
            Some(Self::Requests(change.requests? * u64::from(times)))
        } else {
            // More runs ask the same items again: only more of them tell more.
            Some(Self::Items(whole_number(current.trials) * u64::from(times)))
        }
    }

    /// For items that are left open: as many as prove a drop of `gate_effect` if as large a share
    /// of them changes, or, where there are as many already, so many times as many that they
    /// decide if everything stays as it is. `None`: no sensible number.
    pub(super) fn of_items(
        items: &ItemChanges,
        better: Better,
        zone: Zone,
        levels: Levels,
    ) -> Option<Self> {
        let needed = items_needed(items.discordance(), zone, levels)
            .ok()
            .flatten();
        if let Some(needed) = needed.filter(|needed| *needed > items.items) {
            return Some(Self::Items(needed));
        }
        let times = (2..=MOST_TIMES).find(|times| {
            rule_items(&items.times(*times), better, zone, levels)
                .is_ok_and(|ruling| ruling.verdict != Verdict::Inconclusive)
        })?;
        Some(Self::Items(items.items * u64::from(times)))
    }

    /// For what could not be put to a rule.
    pub(super) const fn of_obstacle(obstacle: &Obstacle) -> Option<Self> {
        match obstacle {
            Obstacle::TooFewRequests { needed } => Some(Self::Requests(*needed)),
            Obstacle::TooFewItems { needed } => Some(Self::Items(*needed)),
            Obstacle::TooFewPairs { needed, .. } => Some(Self::Pairs(*needed)),
            Obstacle::NotInterleaved => Some(Self::Interleave),
            Obstacle::NotPositive
            | Obstacle::Survivors
            | Obstacle::OutputLength
            | Obstacle::ItemsDiffer { .. }
            | Obstacle::Invalid
            | Obstacle::Unsettled => None,
        }
    }

    /// The advice as the end of a sentence: `about 9 pairs would settle it`.
    pub(super) fn sentence(self) -> String {
        match self {
            Self::Interleave => "measure baseline and current in pairs (`baseline: ab`)".to_owned(),
            Self::Pairs(pairs) => format!("about {pairs} pairs would settle it"),
            Self::Quieter(_) => format!(
                "not even {MOST_PAIRS} pairs would settle it; use a quieter runner (exclusive \
                 GPU, locked clocks) or a wider limit"
            ),
            Self::Requests(requests) => {
                format!("about {requests} requests per run would settle it")
            }
            Self::Items(items) => format!("about {items} evaluated items would settle it"),
        }
    }
}

/// The smallest whole per cent of `gate_effect` with which an estimate passes.
fn wide_enough(estimate: &Estimate, better: Better, zone: Zone, whole: Levels) -> Option<f64> {
    let wider = |percent: u32| f64::from(percent) / 100.0;
    (1..100_u32)
        .map(wider)
        .filter(|gate_effect| *gate_effect > zone.gate_effect)
        .find(|gate_effect| {
            let zone = Zone {
                gate_effect: *gate_effect,
                ..zone
            };
            rule(estimate, better, zone, whole)
                .is_ok_and(|ruling| ruling.verdict != Verdict::Inconclusive)
        })
}

/// A count, as a number of things.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a saturating cast of a count of items"
)]
const fn whole_number(count: f64) -> u64 {
    count as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compare::Reference,
        verdict::rule::tests::{LEVELS, ZONE},
    };

    fn paired(percent: f64, se: f64) -> Estimate {
        Estimate {
            log_ratio: (percent / 100.0).ln_1p(),
            standard_error: se,
            reference: Reference::StudentT(11.0),
            design: Design::Paired,
            runs: (12, 12),
        }
    }

    /// t(0.95; 11) = 1.7959: 3 % and an error of 10 % reach exp(0.02956 + 0.17959) − 1 = 23.3 %,
    /// so 24 % is the first whole limit above.
    #[test]
    fn a_loud_runner_needs_quiet_or_a_wider_limit() {
        let remedy = Remedy::of_estimate(&paired(3.0, 0.1), Better::Lower, ZONE, LEVELS);
        assert_eq!(remedy, Remedy::Quieter(Some(0.24)));
        assert!(remedy.sentence().contains("not even 30 pairs"));
        let hopeless = Remedy::of_estimate(&paired(3.0, 1.0), Better::Lower, ZONE, LEVELS);
        assert_eq!(hopeless, Remedy::Quieter(None));
    }

    #[test]
    fn one_job_against_one_wants_pairs() {
        for design in [Design::Single, Design::History] {
            let estimate = Estimate {
                design,
                ..paired(3.0, 0.02)
            };
            let remedy = Remedy::of_estimate(&estimate, Better::Lower, ZONE, LEVELS);
            assert_eq!(remedy, Remedy::Interleave);
        }
    }

    /// §6: 4 % discordance and twelve gating metrics need 2269 items for 2 points.
    #[test]
    fn a_thousand_items_are_too_few_for_two_points() {
        let zone = Zone {
            min_effect: 0.0,
            gate_effect: 0.02,
        };
        let levels = Levels {
            alpha: 0.01 / 12.0,
            beta: 0.05,
        };
        let of = |items, lost, gained| {
            let items = ItemChanges::once(items, lost, gained).unwrap();
            Remedy::of_items(&items, Better::Higher, zone, levels)
        };
        let Some(Remedy::Items(few)) = of(1000, 27, 13) else {
            panic!("no advice");
        };
        assert!((2260..=2280).contains(&few), "{few}");
        // 1.7 points lost of 5000: enough items, and not yet decided.
        let Some(Remedy::Items(more)) = of(5000, 140, 60) else {
            panic!("no advice");
        };
        assert!(more >= 10_000, "{more}");
    }

    #[test]
    fn so_many_more_trials_decide() {
        let change = Change {
            requests: Some(500),
            ..Change::new("quality", crate::metric::describe("accuracy"))
        };
        let sides = |times: f64| {
            let of = |events: f64| Counts {
                events: events * times,
                trials: 500.0 * times,
            };
            (of(412.0), of(405.0))
        };
        let verdict = |times: f64| {
            let (b, c) = sides(times);
            let ruling = rule_counts(b, c, Better::Higher, ZONE, LEVELS).unwrap();
            ruling.verdict
        };
        let remedy = Remedy::of_counts(&change, sides(1.0), Better::Higher, ZONE, LEVELS);
        let Some(Remedy::Items(items)) = remedy else {
            panic!("{remedy:?}");
        };
        let times = items as f64 / 500.0;
        assert_ne!(verdict(times), Verdict::Inconclusive);
        assert_eq!(verdict(times - 1.0), Verdict::Inconclusive);
    }
}
