//! How much pairs of one runner class scatter when nothing changed: learned, and forgotten again.
//!
//! In: differences of pairs. Out: for each metric a standard deviation with degrees of freedom,
//! the prior of the moderated t (Smyth 2004; `research/regression-statistics.md` §6).

use super::statistic::mean;
pub use crate::results::{Noise, NoiseProfile};

/// A prior is never worth more than this many degrees of freedom, so that a wrong one is soon
/// overruled by what is seen (§4.3: O'Brien-Fleming with a cap of 8).
pub const MOST_PRIOR_DF: f64 = 8.0;
/// How much of what was learned remains when another job adds to it.
const FORGETTING: f64 = 0.95;
/// Fewest pairs that teach something: two agree by chance too easily.
const FEWEST_LESSONS: usize = 3;
/// Share of a run's variance that is its own; the rest is common to all runs of a job and cancels
/// in a pair (§4: 70 % shared).
const OWN_SHARE: f64 = 0.3;

impl Noise {
    /// The noise unless it cannot be used: not positive, not finite, beyond all measure.
    pub fn usable(self) -> Option<Self> {
        self.is_plausible().then_some(self)
    }

    /// The degrees of freedom it counts for as a prior.
    pub fn prior_df(self) -> f64 {
        self.df.min(MOST_PRIOR_DF)
    }

    /// Standard deviation of one run's log summary about its own job's level.
    pub fn run_sd(self) -> f64 {
        self.log_sd_pair / 2.0_f64.sqrt()
    }

    /// What the scatter of pairs says about the variation from job to job, which no pair shows:
    /// `√(run_sd² / 0.3)`, when 70 % of the variance is shared by all runs of a job.
    ///
    /// The share is that of one set of simulations, so the figure serves as a floor alone: it can
    /// make an assumed or declared variation larger, never smaller. A quiet job does not prove that
    /// the next one will be on as quiet a host, and one too small by 2.5 blocks 20–40 % of innocent
    /// changes (§0.7).
    pub fn job_cv(self) -> f64 {
        self.run_sd() / OWN_SHARE.sqrt()
    }
}

impl NoiseProfile {
    /// What is known of a metric.
    pub fn of(&self, scenario: &str, metric: &str) -> Option<Noise> {
        self.metrics.get(scenario)?.get(metric)?.usable()
    }

    /// Adds the scatter of one job's pairs around their own mean: a change that is common to all of
    /// them is no noise. What was known before fades by 5 %; fewer than three pairs teach nothing.
    pub fn learn(&mut self, scenario: &str, metric: &str, log_ratios: &[f64]) {
        if log_ratios.len() < FEWEST_LESSONS {
            return;
        }
        let Some(seen) = scatter(log_ratios) else {
            return;
        };
        let known = self.of(scenario, metric);
        let learned = known.map_or(seen, |known| combine(known, seen));
        self.metrics
            .entry(scenario.to_owned())
            .or_default()
            .insert(metric.to_owned(), learned);
    }
}

fn scatter(log_ratios: &[f64]) -> Option<Noise> {
    let centre = mean(log_ratios)?;
    let df = log_ratios.len().checked_sub(1)? as f64;
    let squares: f64 = log_ratios.iter().map(|d| (d - centre).powi(2)).sum();
    Noise {
        log_sd_pair: (squares / df).sqrt(),
        df,
    }
    .usable()
}

/// Variances weighted by their degrees of freedom.
fn combine(known: Noise, seen: Noise) -> Noise {
    let old = FORGETTING * known.df;
    let df = old + seen.df;
    let variance = (old * known.log_sd_pair.powi(2) + seen.df * seen.log_sd_pair.powi(2)) / df;
    Noise {
        log_sd_pair: variance.sqrt(),
        df,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1, 2, 3 % scatter by 1 % around their mean with two degrees of freedom. Known before: 2 %
    /// with ten, of which 9.5 remain: (9.5 · 4 + 2 · 1) / 11.5 = 40 / 11.5.
    #[test]
    fn what_is_learned_by_hand() {
        let mut profile = NoiseProfile::default();
        profile.learn("s", "m", &[0.01, 0.02, 0.03]);
        let first = profile.of("s", "m").unwrap();
        assert!((first.log_sd_pair - 0.01).abs() < 1e-12 && (first.df - 2.0).abs() < 1e-12);
        profile.metrics.get_mut("s").unwrap().insert(
            "m".to_owned(),
            Noise {
                log_sd_pair: 0.02,
                df: 10.0,
            },
        );
        profile.learn("s", "m", &[0.01, 0.02, 0.03]);
        let both = profile.of("s", "m").unwrap();
        assert!((both.log_sd_pair - (40.0_f64 / 11.5).sqrt() / 100.0).abs() < 1e-12);
        assert!((both.df - 11.5).abs() < 1e-12);
        assert!((both.prior_df() - 8.0).abs() < 1e-12);
    }

    /// Pairs scatter by 2 %: one run by √2 %, whose square is 30 % of the job's: √(2 / 0.3) %.
    #[test]
    fn a_job_varies_more_than_its_runs() {
        let noise = Noise {
            log_sd_pair: 0.02,
            df: 5.0,
        };
        assert!((noise.run_sd() - 0.02 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert!((noise.job_cv() - (2.0_f64 / 0.3).sqrt() / 100.0).abs() < 1e-12);
    }

    #[test]
    fn a_change_that_all_pairs_share_is_no_noise() {
        let mut profile = NoiseProfile::default();
        profile.learn("s", "m", &[0.51, 0.52, 0.53]);
        assert!((profile.of("s", "m").unwrap().log_sd_pair - 0.01).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_learned_from_nothing() {
        let mut profile = NoiseProfile::default();
        profile.learn("s", "m", &[]);
        profile.learn("s", "m", &[0.1]);
        profile.learn("s", "m", &[0.1, 0.2]);
        profile.learn("s", "m", &[0.1, 0.1, 0.1]);
        profile.learn("s", "m", &[0.1, 0.2, f64::NAN]);
        assert_eq!(profile, NoiseProfile::default());
    }
}
