//! Pairs looked at a few times: decide as soon as the rules allow, and no sooner.
//!
//! In: the pairs of one metric. Out: the ruling of the first look that decides, or of the last
//! one. At 3, 4, 5, 6, 8, 10 and 12 pairs the error budgets are spent as
//! (`research/regression-statistics.md` §6), with t = n / most,
//!
//! ```text
//! alpha(t) = 2 − 2 Φ( z(1 − alpha/2) / √t )      O'Brien-Fleming type (Lan and DeMets 1983)
//! beta(t)  = beta · t                            linear (Kim and DeMets 1987)
//! ```
//!
//! and each look uses its increment as the level of its own t quantile (significance-level
//! approach, Jennison and Turnbull 2000), which is conservative: no multivariate integral.

use super::{
    Verdict, Zone,
    rule::{Levels, Ruling, rule},
};
use crate::{
    compare::{CompareError, Estimate, FEWEST_PAIRS, PairedLogs, Reference},
    metric::Better,
};

/// When pairs are looked at, up to the planned maximum.
const LOOKS: [usize; 7] = [3, 4, 5, 6, 8, 10, 12];

/// The looks of a design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    most: usize,
}

impl Looks {
    /// Fewest pairs that are ever judged.
    pub const FEWEST: usize = FEWEST_PAIRS;

    /// Looks up to `most` pairs; fewer than three count as three. Beyond twelve every second
    /// number is a look.
    pub const fn up_to(most: usize) -> Self {
        Self {
            most: if most < Self::FEWEST {
                Self::FEWEST
            } else {
                most
            },
        }
    }

    /// Most pairs.
    pub const fn most(self) -> usize {
        self.most
    }

    /// The numbers of pairs at which to look, ascending; the last is the most.
    pub fn at(self) -> Vec<usize> {
        let further = (14..self.most).step_by(2);
        let mut looks: Vec<usize> = LOOKS
            .into_iter()
            .chain(further)
            .filter(|look| *look < self.most)
            .collect();
        looks.push(self.most);
        looks
    }

    /// Each look with the levels it may use.
    ///
    /// # Errors
    /// The levels of the whole design are not between 0 and 0.5.
    pub fn spend(self, whole: Levels) -> Result<Vec<(usize, Levels)>, CompareError> {
        let (mut before, mut looks) = ((0.0, 0.0), Vec::new());
        for look in self.at() {
            let t = look as f64 / self.most as f64;
            let alpha = spent(whole.alpha, t)?;
            let beta = whole.beta * t;
            let levels = Levels {
                alpha: alpha - before.0,
                beta: beta - before.1,
            };
            before = (alpha, beta);
            looks.push((look, levels));
        }
        Ok(looks)
    }
}

/// How much of `alpha` is spent when a share `t` of the pairs is measured, 0 to 1: O'Brien-Fleming
/// type.
///
/// # Errors
/// `alpha` is not between 0 and 1.
pub(super) fn spent(alpha: f64, t: f64) -> Result<f64, CompareError> {
    let z = Reference::Normal.upper(alpha / 2.0)?;
    if t <= 0.0 {
        return Ok(0.0);
    }
    Ok(2.0 * Reference::Normal.tail(z / t.sqrt())?)
}

/// What looking at pairs gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sequential {
    /// The ruling of the look that decided, or of the last one.
    pub ruling: Ruling,
    /// The estimate it rests on.
    pub estimate: Estimate,
    /// The levels of that look.
    pub levels: Levels,
    /// Pairs it rests on.
    pub pairs: usize,
}

/// Looks at pairs in turn and stops at the first look that decides. What came later is not
/// looked at: who looks again after a decision spends error that was not planned. `None`: there
/// are fewer pairs than the first look needs.
///
/// # Errors
/// The levels are not between 0 and 0.5.
pub fn sequential(
    pairs: &PairedLogs,
    better: Better,
    zone: Zone,
    whole: Levels,
    looks: Looks,
) -> Result<Option<Sequential>, CompareError> {
    let mut last = None;
    for (look, levels) in looks.spend(whole)? {
        let Some(estimate) = pairs.first(look) else {
            break;
        };
        let ruling = rule(&estimate, better, zone, levels)?;
        last = Some(Sequential {
            ruling,
            estimate,
            levels,
            pairs: look,
        });
        if ruling.verdict != Verdict::Inconclusive {
            break;
        }
    }
    Ok(last)
}

/// The smallest worsening that `most` pairs whose log-ratios scatter by `log_sd_pair` would prove
/// 95 times out of 100, as a share (0.018 = 1.8 %): at the last look, with the degrees of freedom
/// of all pairs.
///
/// # Errors
/// The levels are not between 0 and 0.5.
pub fn resolvable(
    log_sd_pair: f64,
    prior_df: f64,
    zone: Zone,
    whole: Levels,
    looks: Looks,
) -> Result<f64, CompareError> {
    let n = looks.most() as f64;
    let reference = Reference::StudentT(prior_df + n - 1.0);
    let alpha = looks
        .spend(whole)?
        .last()
        .map_or(whole.alpha, |(_, levels)| levels.alpha);
    let quantiles = reference.upper(alpha)? + reference.upper(0.05)?;
    Ok((zone.min_effect.ln_1p() + quantiles * log_sd_pair / n.sqrt()).exp_m1())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{compare::Noise, verdict::rule::tests::ZONE};

    const WHOLE: Levels = Levels {
        alpha: 0.01 / 12.0,
        beta: 0.05,
    };

    #[test]
    fn the_looks_end_at_the_most_pairs() {
        assert_eq!(Looks::up_to(12).at(), [3, 4, 5, 6, 8, 10, 12]);
        assert_eq!(Looks::up_to(7).at(), [3, 4, 5, 6, 7]);
        assert_eq!(Looks::up_to(1).at(), [3]);
        assert_eq!(
            Looks::up_to(20).at(),
            [3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20]
        );
    }

    /// Lan and `DeMets` 1983, the O'Brien-Fleming type for a one-sided 2.5 %: with four equal
    /// looks alpha* is 0.0001, 0.0027 (rounded from 0.00274), 0.0096 and 0.0250 in total,
    /// with z(0.9875) = 2.2414: 2 − 2 Φ(4.4828), 2 − 2 Φ(3.1698), 2 − 2 Φ(2.5882).
    #[test]
    fn spending_by_hand() {
        let whole = Levels {
            alpha: 0.025,
            beta: 0.05,
        };
        let z = 2.241_402_727_604_947_f64;
        let looks = Looks::up_to(12).spend(whole).unwrap();
        let total: Vec<(usize, f64)> = looks
            .iter()
            .scan(0.0, |sum, (look, levels)| {
                *sum += levels.alpha;
                Some((*look, *sum))
            })
            .collect();
        for (look, spent) in total {
            let t = look as f64 / 12.0;
            let expected = 2.0 * (1.0 - normal_cdf(z / t.sqrt()));
            assert!(
                (spent - expected).abs() < 1e-9,
                "{look}: {spent} {expected}"
            );
        }
        let beta: f64 = looks.iter().map(|(_, levels)| levels.beta).sum();
        assert!((beta - 0.05).abs() < 1e-12);
        assert!((looks[0].1.beta - 0.0125).abs() < 1e-12);
    }

    /// Abramowitz and Stegun 26.2.17 is good to 7.5e-8 only, so the error function's series.
    fn normal_cdf(x: f64) -> f64 {
        // Φ(x) = 1/2 + φ(x) (x + x³/3 + x⁵/15 + …), 26.2.11.
        let (mut term, mut sum) = (x, x);
        for k in 1..200 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    fn quiet(log_ratio: f64, n: usize, sd: f64) -> PairedLogs {
        // Alternating about the mean, so that the sample deviation is close to `sd`.
        let log_ratios = (0..n)
            .map(|i| log_ratio + if i % 2 == 0 { sd } else { -sd })
            .collect();
        PairedLogs {
            log_ratios,
            prior: Some(Noise {
                log_sd_pair: sd,
                df: 20.0,
            }),
        }
    }

    fn verdict(pairs: &PairedLogs) -> (Verdict, usize) {
        let found = sequential(pairs, Better::Lower, ZONE, WHOLE, Looks::up_to(12))
            .unwrap()
            .unwrap();
        (found.ruling.verdict, found.pairs)
    }

    #[test]
    fn no_change_on_a_quiet_runner_ends_at_three_pairs() {
        assert_eq!(verdict(&quiet(0.0, 12, 0.007)), (Verdict::Unchanged, 3));
    }

    #[test]
    fn a_loss_of_five_per_cent_is_found_and_needs_more() {
        let (found, pairs) = verdict(&quiet(0.05, 12, 0.007));
        assert_eq!(found, Verdict::Regressed);
        assert!((4..=6).contains(&pairs), "{pairs}");
        assert_eq!(verdict(&quiet(-0.05, 12, 0.007)), (Verdict::Improved, 3));
    }

    #[test]
    fn a_loud_runner_says_that_it_does_not_know() {
        assert_eq!(verdict(&quiet(0.02, 12, 0.07)), (Verdict::Inconclusive, 12));
        // Between two looks only the last look counts.
        assert_eq!(verdict(&quiet(0.02, 7, 0.07)), (Verdict::Inconclusive, 6));
    }

    #[test]
    fn two_pairs_are_not_looked_at() {
        let looks = Looks::up_to(12);
        let none = sequential(&quiet(0.0, 2, 0.007), Better::Lower, ZONE, WHOLE, looks);
        assert_eq!(none.unwrap(), None);
    }

    #[test]
    fn what_is_resolvable_grows_with_noise() {
        let at = |sd| resolvable(sd, 8.0, ZONE, WHOLE, Looks::up_to(12)).unwrap();
        assert!(at(0.007) > 0.01 && at(0.007) < 0.03, "{}", at(0.007));
        assert!(at(0.028) > 0.04 && at(0.028) < 0.06, "{}", at(0.028));
    }
}
