//! The same evaluation items on both sides: how many right answers were lost and gained.
//!
//! In: the answers of both sides. Out: what the exact McNemar test and the limits of the
//! difference need. Items are their own controls: how hard an item is cancels out, only those that
//! changed tell anything.

use std::collections::BTreeMap;

use statrs::distribution::{Binomial, DiscreteCDF};

use super::{
    Change, CompareOptions, Obstacle,
    calibration::{self, Answer},
};
use crate::{
    metric::{Better, describe},
    results::{Item, Origin, ResultSet},
};

/// What changed on items that both sides answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ItemChanges {
    /// Items both sides answered; at least 1.
    pub items: u64,
    /// Items that were answered better before: right, and wrong now.
    pub lost: u64,
    /// Items that are answered better now.
    pub gained: u64,
    /// Sum over items of current minus baseline share of right answers: `gained - lost` where
    /// each side answered once.
    pub net: f64,
    /// Sum of the squares of those differences: `gained + lost` where each side answered once.
    pub squares: f64,
}

impl ItemChanges {
    /// From lost and gained items where each side answered once; `None` when there are more of
    /// them than items, or no item.
    pub fn once(items: u64, lost: u64, gained: u64) -> Option<Self> {
        let changed = lost.checked_add(gained)?;
        (items > 0 && changed <= items).then_some(Self {
            items,
            lost,
            gained,
            net: gained as f64 - lost as f64,
            squares: changed as f64,
        })
    }

    /// From runs over the same items, each a list of shares of right answers from 0 to 1 in item
    /// order. Several runs of one side are averaged item by item: asking again does not make more
    /// items. `None` when a side has no run, runs differ in length, or a value is no share.
    pub fn of_runs(baseline: &[&[f64]], current: &[&[f64]]) -> Option<Self> {
        let before = item_means(baseline)?;
        let after = item_means(current)?;
        if before.len() != after.len() {
            return None;
        }
        let mut changes = Self {
            items: before.len() as u64,
            lost: 0,
            gained: 0,
            net: 0.0,
            squares: 0.0,
        };
        for (before, after) in before.iter().zip(after) {
            let difference = after - before;
            // Means of unequal numbers of runs agree to rounding only.
            if difference.abs() > 1e-9 {
                changes.lost += u64::from(difference < 0.0);
                changes.gained += u64::from(difference > 0.0);
                changes.net += difference;
                changes.squares += difference * difference;
            }
        }
        Some(changes)
    }

    /// As it looks when `better` is better: what got worse is lost. Unchanged for
    /// [`Better::Higher`].
    #[must_use]
    pub fn towards(self, better: Better) -> Self {
        match better {
            Better::Higher => self,
            Better::Lower => Self {
                lost: self.gained,
                gained: self.lost,
                net: -self.net,
                ..self
            },
        }
    }

    /// So many times as many items that behave alike.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        let (count, number) = (u64::from(times), f64::from(times));
        Self {
            items: self.items * count,
            lost: self.lost * count,
            gained: self.gained * count,
            net: self.net * number,
            squares: self.squares * number,
        }
    }

    /// Change of the share of right answers, current minus baseline, -1 to 1.
    pub fn difference(&self) -> f64 {
        self.net / self.items as f64
    }

    /// Share of the items that changed, 0 to 1.
    pub fn discordance(&self) -> f64 {
        (self.lost + self.gained) as f64 / self.items as f64
    }

    /// The exact probability that chance loses as many items or more: one-sided McNemar test
    /// (McNemar 1947, *Psychometrika* 12, 153–157), the binomial tail of the lost ones among those
    /// that changed. With several runs a side it is the sign test on the items' mean differences.
    pub fn worse_p(&self) -> f64 {
        sign_test(self.lost, self.lost + self.gained)
    }

    /// As [`ItemChanges::worse_p`], for gained items.
    pub fn better_p(&self) -> f64 {
        sign_test(self.gained, self.lost + self.gained)
    }

    /// Lower and upper limit of [`ItemChanges::difference`], each at `z` standard errors: the
    /// adjusted Wald limits of Agresti and Min (2005, *Statistics in Medicine* 24, 729–740), which
    /// add half an item to each of the four cells.
    ///
    /// With c − b for `net` and c + b for `squares` these are theirs; with several runs the
    /// variance of the items' mean differences takes the place of that of their signs.
    pub fn limits(&self, z: f64) -> (f64, f64) {
        let (centre, error) = self.adjusted();
        (
            (centre - z * error).max(-1.0),
            (centre + z * error).min(1.0),
        )
    }

    /// By how many standard errors the adjusted difference is below `difference`; negative when
    /// above.
    pub fn deviations_below(&self, difference: f64) -> f64 {
        let (centre, error) = self.adjusted();
        (difference - centre) / error
    }

    /// The adjusted difference and its standard error; two pseudo-items, one lost and one gained
    /// by half a weight each, keep the error above zero.
    fn adjusted(&self) -> (f64, f64) {
        let n = self.items as f64 + 2.0;
        let variance = (self.squares + 1.0 - self.net * self.net / n).max(0.0);
        (self.net / n, variance.sqrt() / n)
    }
}

/// P(X ≥ `events`) for a fair coin thrown `trials` times.
fn sign_test(events: u64, trials: u64) -> f64 {
    let Some(below) = events.checked_sub(1) else {
        return 1.0;
    };
    // Always a fair coin, so always a distribution.
    Binomial::new(0.5, trials).map_or(1.0, |coin| coin.sf(below))
}

/// Each item's mean over runs of equal length.
fn item_means(runs: &[&[f64]]) -> Option<Vec<f64>> {
    let (first, others) = runs.split_first()?;
    let share = |value: &f64| (0.0..=1.0).contains(value);
    let usable = |run: &&[f64]| run.len() == first.len() && run.iter().all(share);
    if first.is_empty() || !runs.iter().all(usable) {
        return None;
    }
    let mut sums = first.to_vec();
    for run in others {
        for (sum, value) in sums.iter_mut().zip(*run) {
            *sum += value;
        }
    }
    let count = runs.len() as f64;
    Some(sums.into_iter().map(|sum| sum / count).collect())
}

/// The items of one task by name.
type Task = BTreeMap<String, Item>;

/// One change per task and item metric; none where neither side has evaluated items. Where the
/// sides were written by different programs, only what both have.
pub(super) fn changes(
    baseline: Option<&ResultSet>,
    current: &ResultSet,
    options: &CompareOptions,
) -> Vec<Change> {
    let none = BTreeMap::new();
    let before = baseline.map_or(&none, |side| &side.facts.items);
    let after = &current.facts.items;
    let foreign = baseline.is_some_and(|side| side.origin != current.origin)
        || current.origin == Origin::Kitt;
    let tasks = before
        .keys()
        .chain(after.keys().filter(|task| !before.contains_key(*task)));
    tasks
        .filter(|task| !foreign || (before.contains_key(*task) && after.contains_key(*task)))
        .flat_map(|task| of_task(task, before.get(task), after.get(task), options))
        .collect()
}

fn of_task(
    task: &str,
    before: Option<&Task>,
    after: Option<&Task>,
    options: &CompareOptions,
) -> Vec<Change> {
    let mut accuracy = bare(task, "accuracy", before.map(share), after.map(share));
    let both = before.zip(after);
    accuracy.requests = both.map(|(before, after)| before.len().min(after.len()) as u64);
    let obstacle = both.and_then(|(before, after)| differing(before, after));
    if let (Some((before, after)), None) = (both, &obstacle) {
        accuracy.items = counted(before, after);
    }
    accuracy.obstacle.clone_from(&obstacle);
    let mut found = vec![accuracy];
    let values = [before, after].map(|side| calibration::values(&answers(side?)?));
    if values.iter().any(Option::is_some) {
        found.extend(calibrated(task, values, both, obstacle.as_ref(), options));
    }
    found
}

/// Calibration before, now and by how much they differ.
fn calibrated(
    task: &str,
    [before, after]: [Option<[f64; 3]>; 2],
    both: Option<(&Task, &Task)>,
    obstacle: Option<&Obstacle>,
    options: &CompareOptions,
) -> Vec<Change> {
    let alike = both.filter(|_| obstacle.is_none());
    let paired = alike.and_then(|(before, after)| {
        let both = answers(before)?.into_iter().zip(answers(after)?);
        Some(
            both.map(|(before, after)| [before, after])
                .collect::<Vec<_>>(),
        )
    });
    let shifts = paired.and_then(|items| calibration::shifts(&items, options.bootstrap()));
    let change = |(place, name): (usize, &str)| {
        let value = |side: Option<[f64; 3]>| side?.get(place).copied();
        let mut change = bare(task, name, value(before), value(after));
        change.requests = both.map(|(before, after)| before.len().min(after.len()) as u64);
        let both = change.baseline.is_some() && change.current.is_some();
        change.obstacle = obstacle.filter(|_| both).cloned();
        change.shift = shifts.and_then(|shifts| shifts.get(place).copied());
        let needed = calibration::needed_items(name);
        if change.shift.is_some_and(|shift| shift.items < needed) {
            change.obstacle = Some(Obstacle::TooFewItems { needed });
        }
        change
    };
    calibration::NAMES
        .into_iter()
        .enumerate()
        .map(change)
        .collect()
}

fn bare(task: &str, metric: &str, baseline: Option<f64>, current: Option<f64>) -> Change {
    Change {
        baseline,
        current,
        ..Change::new(task, describe(metric))
    }
}

fn share(task: &Task) -> f64 {
    let correct = task.values().filter(|item| item.correct).count();
    correct as f64 / task.len().max(1) as f64
}

/// The obstacle that the sides answered different items.
fn differing(before: &Task, after: &Task) -> Option<Obstacle> {
    let missing = |side: &Task, other: &Task| {
        side.keys()
            .filter(|item| !other.contains_key(*item))
            .count()
    };
    let (gone, new) = (missing(before, after), missing(after, before));
    (gone + new > 0).then_some(Obstacle::ItemsDiffer { gone, new })
}

fn counted(before: &Task, after: &Task) -> Option<ItemChanges> {
    let pairs = before.values().zip(after.values());
    let (mut lost, mut gained) = (0, 0);
    for (before, after) in pairs {
        lost += u64::from(before.correct && !after.correct);
        gained += u64::from(!before.correct && after.correct);
    }
    ItemChanges::once(before.len() as u64, lost, gained)
}

/// Answers with their confidences in the order of the items' names; `None` where one has none.
fn answers(task: &Task) -> Option<Vec<Answer>> {
    let answer = |item: &Item| {
        Some(Answer {
            correct: item.correct,
            confidence: item.confidence?,
        })
    };
    task.values().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    /// C(n, k) / 2ⁿ by hand: all of seven are lost in 1 of 128 cases; 2 or 3 of 3 in 4 of 8.
    #[test]
    fn the_sign_test_in_fractions() {
        for (lost, gained, p) in [
            (7, 0, 1.0 / 128.0),
            (0, 7, 1.0),
            (2, 1, 0.5),
            (9, 1, 11.0 / 1024.0),
            (0, 0, 1.0),
        ] {
            let changes = ItemChanges::once(100, lost, gained).unwrap();
            close(changes.worse_p(), p);
            let other = ItemChanges::once(100, gained, lost).unwrap();
            close(other.better_p(), p);
        }
    }

    #[test]
    fn one_run_a_side_counts_and_several_are_averaged() {
        let (before, after) = ([1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]);
        let once = ItemChanges::of_runs(&[&before], &[&after]).unwrap();
        assert_eq!(once, ItemChanges::once(4, 1, 1).unwrap());
        // The second item is right in one run of two: half lost.
        let again = [1.0, 1.0, 1.0, 0.0];
        let twice = ItemChanges::of_runs(&[&before, &before], &[&after, &again]).unwrap();
        assert_eq!((twice.lost, twice.gained), (1, 1));
        close(twice.net, 0.5);
        close(twice.squares, 1.25);
        close(twice.difference(), 0.125);
        close(twice.discordance(), 0.5);
    }

    #[test]
    fn thirds_do_not_differ_from_themselves_by_rounding() {
        let (yes, no) = ([1.0], [0.0]);
        let before: [&[f64]; 3] = [&yes, &no, &no];
        let after: [&[f64]; 6] = [&yes, &no, &no, &no, &yes, &no];
        let changes = ItemChanges::of_runs(&before, &after).unwrap();
        assert_eq!((changes.lost, changes.gained), (0, 0));
    }

    #[test]
    fn what_are_no_items_gives_nothing() {
        let (two, three) = ([1.0, 0.0], [1.0, 0.0, 1.0]);
        assert_eq!(ItemChanges::of_runs(&[&two], &[&three]), None);
        assert_eq!(ItemChanges::of_runs(&[&two, &three], &[&two]), None);
        assert_eq!(ItemChanges::of_runs(&[], &[&two]), None);
        assert_eq!(ItemChanges::of_runs(&[&[]], &[&[]]), None);
        for bad in [f64::NAN, -0.1, 1.1] {
            assert_eq!(ItemChanges::of_runs(&[&[bad]], &[&[1.0]]), None);
        }
        assert_eq!(ItemChanges::once(5, 3, 3), None);
        assert_eq!(ItemChanges::once(0, 0, 0), None);
    }

    #[test]
    fn towards_lower_turns_everything_round() {
        let changes = ItemChanges::once(100, 9, 1).unwrap();
        let turned = changes.towards(Better::Lower);
        close(turned.worse_p(), changes.better_p());
        let ((low, high), (a, b)) = (changes.limits(2.0), turned.limits(2.0));
        close(low, -b);
        close(high, -a);
        assert_eq!(changes.towards(Better::Higher), changes);
    }

    proptest! {
        #[test]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small counts"
        )]
        fn limits_are_in_range_and_hold_what_lies_between(
            items in 1_u64..5000, lost in 0.0..=1.0_f64, gained in 0.0..=1.0_f64, z in 0.0..6.0_f64,
        ) {
            let lost = (lost * items as f64) as u64;
            let gained = (gained * (items - lost) as f64) as u64;
            let changes = ItemChanges::once(items, lost, gained).unwrap();
            let (low, high) = changes.limits(z);
            prop_assert!((-1.0..=1.0).contains(&low) && low <= high && high <= 1.0);
            let at = changes.deviations_below(low);
            prop_assert!(low <= -1.0 || (at + z).abs() < 1e-6, "{at} {z}");
        }
    }
}
