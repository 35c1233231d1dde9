//! The statistical rule: an estimate, a zone and error levels to a verdict.
//!
//! In: numbers. Out: a [`Ruling`]. Pure arithmetic of `research/regression-statistics.md` §6: with
//! m the log-ratio signed so that larger is worse,
//!
//! ```text
//! regressed   m − q(1−α)·se >  ln(1 + min_effect)
//! passed      m + q(1−β)·se <  ln(1 + gate_effect)
//!   improved  m + q(99.5 %)·se < −ln(1 + min_effect)
//!   unchanged otherwise
//! inconclusive otherwise
//! ```

use super::{Verdict, Zone};
use crate::{
    compare::{CompareError, Estimate, exact_tolerance},
    metric::Better,
};

/// One-sided error of the word "improved"; it never gates.
pub(super) const IMPROVED_ALPHA: f64 = 0.005;
/// Beyond a factor of a thousand a limit says nothing more; it is cut there unless the change
/// itself is larger.
const WIDEST: f64 = 1000.0;

/// One-sided error levels of one test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    /// Of calling it regressed when it is not worse than `min_effect`; between 0 and 0.5.
    pub alpha: f64,
    /// Of passing it when it is worse by `gate_effect`; between 0 and 0.5.
    pub beta: f64,
}

/// What the rule says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ruling {
    /// Regressed, improved, unchanged or inconclusive.
    pub verdict: Verdict,
    /// Two-sided interval of the relative change in the metric's own direction, or of the
    /// difference in points for counts.
    pub interval: (f64, f64),
    /// Its confidence: the level at which this verdict was reached; for an inconclusive one, the
    /// level of the regression test.
    pub confidence: f64,
    /// Smallest worsening that could have been proven.
    pub detectable: Option<f64>,
}

/// The quantiles of one test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quantiles {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) improved: f64,
}

impl Levels {
    pub(super) fn quantiles(
        self,
        quantile: impl Fn(f64) -> Result<f64, CompareError>,
    ) -> Result<Quantiles, CompareError> {
        let upper = |tail: f64| {
            if tail > 0.0 && tail < 0.5 {
                quantile(tail)
            } else {
                let df = f64::INFINITY;
                Err(CompareError::Quantile { p: 1.0 - tail, df })
            }
        };
        Ok(Quantiles {
            alpha: upper(self.alpha)?,
            beta: upper(self.beta)?,
            improved: upper(IMPROVED_ALPHA)?,
        })
    }

    /// The quantile and two-sided confidence that belong to a verdict.
    pub(super) fn of(self, verdict: Verdict, quantiles: Quantiles) -> (f64, f64) {
        match verdict {
            Verdict::Unchanged => (quantiles.beta, 1.0 - 2.0 * self.beta),
            Verdict::Improved => (quantiles.improved, 1.0 - 2.0 * IMPROVED_ALPHA),
            Verdict::Regressed
            | Verdict::Inconclusive
            | Verdict::Missing
            | Verdict::Incomparable
            | Verdict::New => (quantiles.alpha, 1.0 - 2.0 * self.alpha),
        }
    }
}

/// Rules on an estimate.
///
/// # Errors
/// A level is not between 0 and 0.5.
pub fn rule(
    estimate: &Estimate,
    better: Better,
    zone: Zone,
    levels: Levels,
) -> Result<Ruling, CompareError> {
    let quantiles = levels.quantiles(|tail| estimate.reference.upper(tail))?;
    let (worse, se) = (
        better.worse_sign() * estimate.log_ratio,
        estimate.standard_error,
    );
    let (d0, d1) = (zone.min_effect.ln_1p(), zone.gate_effect.ln_1p());
    let limit = |quantile: f64| worse + quantile * se;
    let verdict = place(
        (limit(-quantiles.alpha), d0),
        (limit(quantiles.beta), d1),
        (limit(quantiles.improved), -d0),
    );
    let (quantile, confidence) = levels.of(verdict, quantiles);
    let cut = estimate.log_ratio.abs().max(WIDEST.ln());
    let relative = |log: f64| log.clamp(-cut, cut).exp_m1();
    let half = quantile * se;
    Ok(Ruling {
        verdict,
        interval: (
            relative(estimate.log_ratio - half),
            relative(estimate.log_ratio + half),
        ),
        confidence,
        detectable: Some((d0 + quantiles.alpha * se).min(cut).exp_m1()).filter(|x| x.is_finite()),
    })
}

/// The verdict from three limits of the worsening, each with what it is held against.
pub(super) fn place(regressed: (f64, f64), passed: (f64, f64), improved: (f64, f64)) -> Verdict {
    if regressed.0 > regressed.1 {
        Verdict::Regressed
    } else if passed.0 >= passed.1 || passed.0.is_nan() {
        Verdict::Inconclusive
    } else if improved.0 < improved.1 {
        Verdict::Improved
    } else {
        Verdict::Unchanged
    }
}

/// Rules on a deterministic quantity in GiB: any change beyond the larger of 1 % and 64 MiB is
/// real. `baseline` is in GiB; `range` holds the smallest and largest log-ratio where there are
/// several pairs, and then all of them must agree: between, it is inconclusive. Gives the zone
/// that was used beside the ruling.
pub(super) fn rule_exact(
    estimate: &Estimate,
    range: Option<(f64, f64)>,
    baseline: f64,
    better: Better,
) -> (Ruling, Zone) {
    let tolerance = exact_tolerance(baseline);
    let (low, high) = range.unwrap_or((estimate.log_ratio, estimate.log_ratio));
    let interval = (low.exp_m1(), high.exp_m1());
    let worse = |relative: f64| better.worse_sign() * relative * baseline;
    let (one, other) = (worse(interval.0), worse(interval.1));
    let (least, most) = (one.min(other), one.max(other));
    let verdict = if least > tolerance {
        Verdict::Regressed
    } else if most < -tolerance {
        Verdict::Improved
    } else if most <= tolerance {
        Verdict::Unchanged
    } else {
        Verdict::Inconclusive
    };
    let effect = tolerance / baseline;
    let ruling = Ruling {
        verdict,
        interval,
        confidence: 1.0,
        detectable: Some(effect),
    };
    let zone = Zone {
        min_effect: effect,
        gate_effect: effect,
    };
    (ruling, zone)
}

/// How many pairs would decide what these left open, if difference and noise stay as they are;
/// at most [`MOST_PAIRS`], `None` when even those would not.
pub(super) fn pairs_to_settle(
    estimate: &Estimate,
    better: Better,
    zone: Zone,
    whole: Levels,
) -> Option<usize> {
    let have = estimate.runs.0.max(1);
    let per_pair = estimate.standard_error * (have as f64).sqrt();
    (have + 1..=MOST_PAIRS).find(|pairs| {
        let larger = Estimate {
            standard_error: per_pair / (*pairs as f64).sqrt(),
            reference: crate::compare::Reference::StudentT((*pairs - 1) as f64),
            ..*estimate
        };
        rule(&larger, better, zone, whole)
            .is_ok_and(|ruling| ruling.verdict != Verdict::Inconclusive)
    })
}

/// More pairs than this are no advice.
pub(super) const MOST_PAIRS: usize = 30;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::compare::{Design, Reference};

    pub(in crate::verdict) const LEVELS: Levels = Levels {
        alpha: 0.01,
        beta: 0.05,
    };
    pub(in crate::verdict) const ZONE: Zone = Zone {
        min_effect: 0.01,
        gate_effect: 0.05,
    };

    fn estimate(percent: f64, se: f64) -> Estimate {
        Estimate {
            log_ratio: (percent / 100.0).ln_1p(),
            standard_error: se,
            reference: Reference::Normal,
            design: Design::Single,
            runs: (1, 1),
        }
    }

    fn verdict(percent: f64, se: f64, better: Better) -> Verdict {
        rule(&estimate(percent, se), better, ZONE, LEVELS)
            .unwrap()
            .verdict
    }

    /// z(0.99) = 2.326, z(0.95) = 1.645, z(0.995) = 2.576; ln 1.01 = 0.00995, ln 1.05 = 0.04879.
    /// With se 1 %: regressed from 0.00995 + 0.02326 = 3.38 % on, passed up to 0.04879 − 0.01645
    /// = 3.29 %, improved up to −(0.00995 + 0.02576) = −3.51 %.
    #[test]
    fn limits_by_hand() {
        for (percent, expected) in [
            (3.40, Verdict::Regressed),
            (3.34, Verdict::Inconclusive),
            (3.25, Verdict::Unchanged),
            (0.0, Verdict::Unchanged),
            (-3.45, Verdict::Unchanged),
            (-3.55, Verdict::Improved),
        ] {
            assert_eq!(verdict(percent, 0.01, Better::Lower), expected, "{percent}");
        }
    }

    #[test]
    fn larger_is_worse_or_better_as_the_metric_says() {
        assert_eq!(verdict(8.0, 0.005, Better::Lower), Verdict::Regressed);
        assert_eq!(verdict(8.0, 0.005, Better::Higher), Verdict::Improved);
        assert_eq!(verdict(-8.0, 0.005, Better::Lower), Verdict::Improved);
        assert_eq!(verdict(-8.0, 0.005, Better::Higher), Verdict::Regressed);
    }

    #[test]
    fn the_interval_agrees_with_the_verdict() {
        let ruling = rule(&estimate(8.0, 0.01), Better::Lower, ZONE, LEVELS).unwrap();
        assert!((ruling.confidence - 0.98).abs() < 1e-12);
        let expected = (1.08_f64.ln() - 0.023_263_5).exp_m1();
        assert!((ruling.interval.0 - expected).abs() < 1e-6);
        assert!(ruling.interval.0 > ZONE.min_effect);
        let passed = rule(&estimate(0.5, 0.01), Better::Lower, ZONE, LEVELS).unwrap();
        assert!((passed.confidence - 0.90).abs() < 1e-12);
        assert!(passed.interval.1 < ZONE.gate_effect);
        let detectable = ruling.detectable.unwrap();
        assert!((detectable - (1.01_f64.ln() + 0.023_263_5).exp_m1()).abs() < 1e-6);
    }

    #[test]
    fn an_absurd_error_gives_a_bounded_interval() {
        let wide = rule(&estimate(5.0, 1e6), Better::Lower, ZONE, LEVELS).unwrap();
        assert_eq!(wide.verdict, Verdict::Inconclusive);
        assert!((wide.interval.0 - (1.0 / WIDEST - 1.0)).abs() < 1e-9);
        assert!((wide.interval.1 - (WIDEST - 1.0)).abs() < 1e-6);
    }

    #[test]
    fn a_level_without_a_quantile_is_an_error() {
        for alpha in [0.0, 0.5, 1.0, f64::NAN] {
            let levels = Levels { alpha, beta: 0.05 };
            assert!(rule(&estimate(1.0, 0.1), Better::Lower, ZONE, levels).is_err());
        }
    }

    #[test]
    fn memory_changes_beyond_one_percent_and_64_mib() {
        let verdict = |b: f64, c: f64| {
            let change = estimate((c / b - 1.0) * 100.0, 0.0);
            rule_exact(&change, None, b, Better::Lower).0.verdict
        };
        assert_eq!(verdict(2.0, 2.06), Verdict::Unchanged, "61 MiB");
        assert_eq!(verdict(2.0, 2.07), Verdict::Regressed, "72 MiB");
        assert_eq!(verdict(70.0, 70.6), Verdict::Unchanged, "0.9 %");
        assert_eq!(verdict(70.0, 70.8), Verdict::Regressed, "1.1 %");
        assert_eq!(verdict(70.0, 60.0), Verdict::Improved);
    }

    #[test]
    fn every_pair_must_show_that_memory_changed() {
        let change = estimate(5.0, 0.0);
        let verdict = |low: f64, high: f64, better| {
            let range = Some((low.ln_1p(), high.ln_1p()));
            rule_exact(&change, range, 20.0, better).0.verdict
        };
        // 1 % of 20 GiB counts.
        assert_eq!(verdict(0.011, 0.02, Better::Lower), Verdict::Regressed);
        assert_eq!(verdict(0.009, 0.02, Better::Lower), Verdict::Inconclusive);
        assert_eq!(verdict(-0.02, 0.009, Better::Lower), Verdict::Unchanged);
        assert_eq!(verdict(-0.02, -0.011, Better::Lower), Verdict::Improved);
        assert_eq!(verdict(-0.02, -0.011, Better::Higher), Verdict::Regressed);
        assert_eq!(
            verdict(-0.02, -0.009, Better::Higher),
            Verdict::Inconclusive
        );
    }

    #[test]
    fn advice_on_pairs_is_enough_pairs() {
        let unsure = Estimate {
            reference: Reference::StudentT(3.0),
            design: Design::Paired,
            runs: (4, 4),
            ..estimate(3.0, 0.01)
        };
        let pairs = pairs_to_settle(&unsure, Better::Lower, ZONE, LEVELS).unwrap();
        assert!((5..=MOST_PAIRS).contains(&pairs), "{pairs}");
        let hopeless = Estimate {
            standard_error: 0.5,
            ..unsure
        };
        assert_eq!(
            pairs_to_settle(&hopeless, Better::Lower, ZONE, LEVELS),
            None
        );
    }
}
