//! Whether confidences are right as often as they say: expected calibration error, Brier score,
//! maximum calibration error, and by how much they differ between the sides.
//!
//! In: answers with confidences. Out: the numbers, and their differences with standard errors from
//! a paired bootstrap: items are drawn, each with both sides' answers, so that what is hard for
//! both cancels out.
//!
//! The bootstrap gives the standard error and the normal distribution the limits. A percentile of
//! resamples cannot serve at the levels of a gate: 1000 draws hold less than one beyond 0.08 %, and
//! the resampled ECE is larger than the measured one by a second dose of its own bias, which a
//! percentile interval takes for signal. Both sides have that bias, so it largely leaves their
//! difference.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Bootstrap, statistic::deviation};

/// The metrics, in the order of their values.
pub(super) const NAMES: [&str; 3] = ["ece", "brier", "mce"];
/// Bins of equal width (Guo et al. 2017, *On Calibration of Modern Neural Networks*).
const BINS: usize = 15;
/// Items drawn at most over all resamples: 0.2 s. With more items fewer resamples are drawn …
const MOST_DRAWN: usize = 20_000_000;
/// … but never fewer than this: they tell a standard error to 5 %.
const FEWEST_DRAWS: usize = 200;

/// Items below which a metric's difference is not judged. A bin of two or three answers can make
/// the largest gap alone, and resamples then show too little of what another set of items would:
/// of 200 items up to 12 % false alarms at a nominal 5 %, of 1000 at most 5 % (simulated; ECE 2 %,
/// Brier 5 % with any number).
pub(super) fn needed_items(metric: &str) -> u64 {
    if metric == "mce" { 1000 } else { 0 }
}

/// One side's answer to one item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    /// Whether it is right.
    pub(super) correct: bool,
    /// How sure the model was, 0 to 1.
    pub(super) confidence: f64,
}

/// A difference between the sides, estimated on the same items.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Current minus baseline, 0.05 = 5 points.
    pub difference: f64,
    /// Its standard error; not negative.
    pub standard_error: f64,
    /// Items it rests on.
    pub items: u64,
}

/// Values by [`NAMES`]; `None` without an answer.
pub(super) fn values(answers: &[Answer]) -> Option<[f64; 3]> {
    let mut tally = Tally::default();
    for answer in answers {
        tally.add(Binned::of(*answer));
    }
    tally.values()
}

/// Differences by [`NAMES`]; each item is the baseline's and the current answer. `None` without an
/// item.
pub(super) fn shifts(items: &[[Answer; 2]], bootstrap: Bootstrap) -> Option<[Shift; 3]> {
    let binned: Vec<[Binned; 2]> = items.iter().map(|item| item.map(Binned::of)).collect();
    let measured = differences(binned.iter())?;
    let draws = (MOST_DRAWN / items.len()).clamp(FEWEST_DRAWS, bootstrap.draws.max(FEWEST_DRAWS));
    let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
    let mut resampled = [const { Vec::new() }; 3];
    for _ in 0..draws {
        let resample =
            (0..items.len()).filter_map(|_| binned.get(rng.random_range(0..items.len())));
        for (of, value) in resampled.iter_mut().zip(differences(resample)?) {
            of.push(value);
        }
    }
    let mut found = measured.map(|difference| Shift {
        difference,
        standard_error: 0.0,
        items: items.len() as u64,
    });
    for (shift, values) in found.iter_mut().zip(&resampled) {
        shift.standard_error = deviation(values)?;
    }
    Some(found)
}

/// Current minus baseline by [`NAMES`].
fn differences<'a>(items: impl Iterator<Item = &'a [Binned; 2]>) -> Option<[f64; 3]> {
    let mut tallies = [Tally::default(), Tally::default()];
    for item in items {
        for (tally, answer) in tallies.iter_mut().zip(item) {
            tally.add(*answer);
        }
    }
    let [before, after] = tallies;
    let (before, mut after) = (before.values()?, after.values()?);
    for (after, before) in after.iter_mut().zip(before) {
        *after -= before;
    }
    Some(after)
}

/// An answer ready to be counted.
#[derive(Debug, Clone, Copy)]
struct Binned {
    bin: usize,
    /// 1 for a right answer, 0 for a wrong one, less the confidence.
    gap: f64,
}

impl Binned {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a bin's number; a saturating cast of what is no number gives the first bin"
    )]
    fn of(answer: Answer) -> Self {
        // Bin m holds the confidences in ((m − 1) / 15, m / 15]; zero belongs to the first.
        let bin = (answer.confidence * BINS as f64).ceil() as usize;
        Self {
            bin: bin.clamp(1, BINS) - 1,
            gap: f64::from(u8::from(answer.correct)) - answer.confidence,
        }
    }
}

/// Answers counted by bin.
#[derive(Debug, Clone, Default)]
struct Tally {
    count: [f64; BINS],
    gaps: [f64; BINS],
    squares: f64,
}

impl Tally {
    fn add(&mut self, answer: Binned) {
        let slots = self
            .count
            .get_mut(answer.bin)
            .zip(self.gaps.get_mut(answer.bin));
        if let Some((count, gaps)) = slots {
            *count += 1.0;
            *gaps += answer.gap;
            self.squares += answer.gap * answer.gap;
        }
    }

    /// ECE: |right answers − confidence| of each bin, weighted by its answers. Brier (1950,
    /// *Monthly Weather Review* 78, 1–3), of the event that the answer is right: the mean squared
    /// gap. MCE: the largest |mean gap| of a bin.
    fn values(&self) -> Option<[f64; 3]> {
        let all: f64 = self.count.iter().sum();
        let bins = || self.count.iter().zip(&self.gaps);
        let gaps: f64 = bins().map(|(_, gaps)| gaps.abs()).sum();
        let means = bins().filter(|(count, _)| **count > 0.0);
        let largest = means
            .map(|(count, gaps)| gaps.abs() / count)
            .fold(0.0, f64::max);
        (all > 0.0).then(|| [gaps / all, self.squares / all, largest])
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Beta, Distribution};

    use super::*;
    use crate::compare::normal_quantile;

    fn answer(correct: bool, confidence: f64) -> Answer {
        Answer {
            correct,
            confidence,
        }
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    /// Two answers at 0.9 (bin 14), one right: gaps 0.1 and −0.9, in sum 0.8; two at 0.3 (bin 5),
    /// none right: 0.6. ECE 1.4 / 4, MCE 0.8 / 2, Brier (0.01 + 0.81 + 2 · 0.09) / 4.
    #[test]
    fn four_answers_by_hand() {
        let answers = [
            answer(true, 0.9),
            answer(false, 0.9),
            answer(false, 0.3),
            answer(false, 0.3),
        ];
        let [ece, brier, mce] = values(&answers).unwrap();
        close(ece, 0.35);
        close(brier, 0.25);
        close(mce, 0.4);
        assert_eq!(values(&[]), None);
    }

    /// Guo et al. put a bin's upper edge into it: 1/15 is in the first, 0 too.
    #[test]
    fn edges_belong_to_the_bin_below() {
        let bin = |confidence| Binned::of(answer(true, confidence)).bin;
        assert_eq!([bin(0.0), bin(1.0 / 15.0), bin(0.07)], [0, 0, 1]);
        assert_eq!([bin(14.0 / 15.0), bin(0.94), bin(1.0)], [13, 14, 14]);
        assert_eq!(bin(f64::NAN), 0);
    }

    const BOOTSTRAP: Bootstrap = Bootstrap {
        draws: 1000,
        seed: 1,
    };

    /// Items whose answers are right as often as the confidences say; `over` is added to the
    /// second side's confidences.
    fn items(seed: u64, n: usize, over: f64) -> Vec<[Answer; 2]> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let confidences = Beta::new(4.0, 2.0).unwrap();
        (0..n)
            .map(|_| {
                let p: f64 = confidences.sample(&mut rng);
                let mut one = |over: f64| {
                    let own = (p + 0.05 * (rng.random::<f64>() - 0.5)).clamp(0.0, 1.0);
                    answer(rng.random_bool(own), (own + over).clamp(0.0, 1.0))
                };
                [one(0.0), one(over)]
            })
            .collect()
    }

    /// The Brier score is a mean, so the standard error of its difference is known.
    #[test]
    fn the_bootstrap_finds_the_error_of_a_mean() {
        let items = items(1, 800, 0.0);
        let brier = shifts(&items, BOOTSTRAP).unwrap()[1];
        let squares = |answer: &Answer| Binned::of(*answer).gap.powi(2);
        let each: Vec<f64> = items.iter().map(|[b, c]| squares(c) - squares(b)).collect();
        let expected = deviation(&each).unwrap() / 800.0_f64.sqrt();
        let ratio = brier.standard_error / expected;
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
        assert_eq!(brier.items, 800);
    }

    #[test]
    fn the_same_answers_differ_by_nothing() {
        let same: Vec<[Answer; 2]> = items(2, 100, 0.0).iter().map(|[b, _]| [*b, *b]).collect();
        for shift in shifts(&same, BOOTSTRAP).unwrap() {
            close(shift.difference, 0.0);
            close(shift.standard_error, 0.0);
        }
        assert_eq!(shifts(&[], BOOTSTRAP), None);
    }

    #[test]
    fn the_same_seed_gives_the_same_error() {
        let items = items(3, 100, 0.1);
        assert_eq!(shifts(&items, BOOTSTRAP), shifts(&items, BOOTSTRAP));
    }

    /// One-sided 5 % tests of no difference on pairs of sides that are equally good: 100 sets of
    /// 200 items give 5 false alarms in the mean, at most 11 in 99.5 % of cases. The largest gap of
    /// so few items gives more, which is why it is not judged.
    #[test]
    fn alarms_without_a_difference_are_as_rare_as_they_should_be() {
        let z = normal_quantile(0.95).unwrap();
        let few = Bootstrap {
            draws: FEWEST_DRAWS,
            seed: 4,
        };
        let mut alarms = [0; 3];
        for seed in 0..100 {
            let found = shifts(&items(100 + seed, 200, 0.0), few).unwrap();
            for (alarms, shift) in alarms.iter_mut().zip(found) {
                *alarms += i32::from(shift.difference > z * shift.standard_error);
            }
        }
        let [ece, brier, _] = alarms;
        assert!(ece <= 11 && brier <= 11, "{alarms:?}");
        assert!(needed_items("mce") > 200);
    }

    #[test]
    fn confidence_that_promises_too_much_is_seen() {
        let found = shifts(&items(5, 2000, 0.15), BOOTSTRAP).unwrap();
        for shift in found.iter().take(2) {
            assert!(shift.difference > 3.0 * shift.standard_error, "{found:?}");
        }
    }
}
