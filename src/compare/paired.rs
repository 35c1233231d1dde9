//! Interleaved pairs of one job to an estimate: the moderated paired t.
//!
//! In: one log-ratio per pair and, where there is one, the noise learned before. Out: the
//! estimate after the first n pairs (`research/regression-statistics.md` §6):
//!
//! ```text
//! ν  = ν0 + n − 1      s² = max((ν0·s0² + SS) / ν, SS / (n − 1))      se = s / √n
//! ```
//!
//! The variance is shrunk towards what this class of runners showed before (Smyth 2004) and is
//! never smaller than what the pairs themselves show: without that floor a prior that is two or
//! three times too small blocks innocent changes (§4.3: 0.57 % instead of 0.23 % at the edge).

use super::{
    Design, Estimate, Reference,
    noise::Noise,
    statistic::{believed, deviation, mean},
};

/// The pairs of one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct PairedLogs {
    /// ln(current / baseline) of every pair that counts, in the order they were measured.
    pub log_ratios: Vec<f64>,
    /// What was known of their scatter before this job.
    pub prior: Option<Noise>,
}

impl PairedLogs {
    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.log_ratios.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.log_ratios.is_empty()
    }

    /// The estimate after the first `n` pairs; `None` with fewer than two, or fewer than `n`.
    pub fn first(&self, n: usize) -> Option<Estimate> {
        let logs = self.log_ratios.get(..n)?;
        let seen = believed(logs)?.powi(2);
        let freedom = (n - 1) as f64;
        let prior = self.prior.and_then(Noise::usable);
        let (nu0, s0) = prior.map_or((0.0, 0.0), |prior| (prior.prior_df(), prior.log_sd_pair));
        let nu = nu0 + freedom;
        let moderated = (nu0 * s0 * s0 + freedom * seen) / nu;
        let variance = moderated.max(seen);
        Some(Estimate {
            log_ratio: mean(logs)?,
            standard_error: (variance / n as f64).sqrt(),
            reference: Reference::StudentT(nu),
            design: Design::Paired,
            runs: (n, n),
        })
    }

    /// Standard deviation of the pairs' log-ratios; `None` with fewer than two.
    pub fn scatter(&self) -> Option<f64> {
        deviation(&self.log_ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }

    fn pairs(log_ratios: &[f64], prior: Option<(f64, f64)>) -> PairedLogs {
        PairedLogs {
            log_ratios: log_ratios.to_vec(),
            prior: prior.map(|(log_sd_pair, df)| Noise { log_sd_pair, df }),
        }
    }

    /// Mean 2 %, SS = 2e-4, so seen variance 1e-4. Prior 2 % with four degrees of freedom:
    /// (4 · 4e-4 + 2e-4) / 6 = 3e-4, above what is seen.
    #[test]
    fn a_louder_prior_by_hand() {
        let estimate = pairs(&[0.01, 0.02, 0.03, 9.0], Some((0.02, 4.0)))
            .first(3)
            .unwrap();
        close(estimate.log_ratio, 0.02);
        close(estimate.standard_error, (3e-4_f64 / 3.0).sqrt());
        assert_eq!(estimate.reference, Reference::StudentT(6.0));
        assert_eq!((estimate.runs, estimate.design), ((3, 3), Design::Paired));
    }

    /// A prior of 0.1 % would give (8 · 1e-6 + 2e-4) / 10; what is seen, 1e-4, counts.
    #[test]
    fn what_is_seen_is_the_floor() {
        let estimate = pairs(&[0.01, 0.02, 0.03], Some((0.001, 20.0)))
            .first(3)
            .unwrap();
        close(estimate.standard_error, (1e-4_f64 / 3.0).sqrt());
        assert_eq!(estimate.reference, Reference::StudentT(10.0));
    }

    #[test]
    fn without_a_prior_it_is_the_plain_paired_t() {
        let estimate = pairs(&[0.01, 0.02, 0.03], None).first(3).unwrap();
        close(estimate.standard_error, (1e-4_f64 / 3.0).sqrt());
        assert_eq!(estimate.reference, Reference::StudentT(2.0));
    }

    #[test]
    fn pairs_that_agree_to_the_last_digit_leave_room_for_noise() {
        let estimate = pairs(&[0.02; 3], None).first(3).unwrap();
        close(estimate.standard_error, 0.001 / 3.0_f64.sqrt());
    }

    #[test]
    fn too_few_pairs_give_nothing() {
        assert_eq!(pairs(&[0.1], None).first(1), None);
        assert_eq!(pairs(&[0.1, 0.2], None).first(3), None);
        assert!(pairs(&[], None).is_empty());
    }
}
