//! Gaps between arrivals of a renewal process with one arrival per unit of time.
//!
//! Independent draws would miss the asked-for rate: the mean of 200 exponential gaps is off by
//! 7 % in a third of all runs, and two runs that are to be compared would get different loads.
//! So gaps are drawn in blocks, stratified: each of the block's `n` equally likely strata gives
//! one gap (`McKay`, Beckman and Conover, Technometrics 21 (1979) 239), a seeded permutation puts
//! them in order, and a factor close to 1 makes them sum to exactly `n`. The distribution stays
//! exponential or gamma, neighbours stay independent; only the number of arrivals over many
//! gaps varies less than it would by chance.

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Gamma};

use super::Process;

/// Gaps drawn together. Blocks keep the memory of long runs flat.
const BLOCK: usize = 4096;

/// Draws stay in the middle half of their stratum. The uppermost stratum has no upper end: a
/// draw far out in it would alone move the coefficient of variation of 200 gaps by 5 %.
const MARGIN: f64 = 0.25;

/// The distribution of gaps, with mean 1.
enum Law {
    Constant,
    Exponential,
    Gamma(Gamma),
}

impl Law {
    fn new(process: Process) -> Self {
        match process {
            Process::Constant => Self::Constant,
            Process::Poisson => Self::Exponential,
            Process::Gamma { cv } => {
                let shape = (cv * cv).recip();
                // Equal gaps are the limit of small coefficients of variation.
                Gamma::new(shape, shape).map_or(Self::Constant, Self::Gamma)
            }
        }
    }

    /// The gap that a share `at` of all gaps stays below; `at` above 0 and below 1.
    fn quantile(&self, at: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Exponential => -(-at).ln_1p(),
            Self::Gamma(gamma) => gamma.inverse_cdf(at),
        }
    }
}

/// An endless or counted stream of gaps.
pub(super) struct Gaps {
    law: Law,
    random: ChaCha8Rng,
    /// Blocks still to be drawn and the gaps in them; `None` is endless.
    left: Option<(u64, u64)>,
    block: std::vec::IntoIter<f64>,
}

impl Gaps {
    /// `count` gaps that sum to `count`, or endless ones of which each 4,096 sum to that.
    pub(super) fn new(process: Process, count: Option<u64>, random: ChaCha8Rng) -> Self {
        Self {
            law: Law::new(process),
            random,
            left: count.map(|count| (count.div_ceil(BLOCK as u64), count)),
            block: Vec::new().into_iter(),
        }
    }

    /// The size of the next block: blocks of a counted stream differ by at most one gap.
    fn size(&mut self) -> usize {
        let Some((blocks, gaps)) = self.left else {
            return BLOCK;
        };
        let size = gaps.div_ceil(blocks.max(1));
        self.left = Some((blocks.saturating_sub(1), gaps.saturating_sub(size)));
        usize::try_from(size).unwrap_or(BLOCK)
    }

    fn draw(&mut self, size: usize) -> Vec<f64> {
        let strata = size as f64;
        let mut gaps: Vec<f64> = (0..size)
            .map(|stratum| {
                let inside = MARGIN + (1.0 - 2.0 * MARGIN) * self.random.random::<f64>();
                self.law.quantile((stratum as f64 + inside) / strata)
            })
            .collect();
        let sum: f64 = gaps.iter().sum();
        // The sum is 0 for no gaps only.
        let factor = if sum > 0.0 { strata / sum } else { 1.0 };
        for gap in &mut gaps {
            *gap *= factor;
        }
        gaps.shuffle(&mut self.random);
        gaps
    }
}

impl Iterator for Gaps {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if let Some(gap) = self.block.next() {
            return Some(gap);
        }
        let size = self.size();
        self.block = self.draw(size).into_iter();
        self.block.next()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::random::stream, *};

    fn gaps(process: Process, count: u64, seed: u64) -> Vec<f64> {
        Gaps::new(process, Some(count), stream(&[&seed.to_le_bytes()])).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn variation(gaps: &[f64]) -> f64 {
        let centre = mean(gaps);
        let squares: Vec<f64> = gaps.iter().map(|gap| (gap - centre).powi(2)).collect();
        mean(&squares).sqrt() / centre
    }

    /// Lag-1 autocorrelation.
    fn correlation(gaps: &[f64]) -> f64 {
        let centre = mean(gaps);
        let pairs: f64 = gaps
            .windows(2)
            .map(|pair| (pair[0] - centre) * (pair[1] - centre))
            .sum();
        pairs / gaps.iter().map(|gap| (gap - centre).powi(2)).sum::<f64>()
    }

    /// The Kolmogorov-Smirnov p-value against a distribution function, by the asymptotic series
    /// with Stephens' correction (Numerical Recipes, §14.3). Gaps below a millionth of the mean
    /// are as good as 0, however they are distributed.
    fn ks(gaps: &[f64], cdf: impl Fn(f64) -> f64) -> f64 {
        let mut sorted = gaps.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let distance = sorted
            .iter()
            .enumerate()
            .filter(|(_, gap)| **gap > 1e-6)
            .map(|(rank, gap)| {
                let at = cdf(*gap);
                (at - rank as f64 / n).max((rank as f64 + 1.0) / n - at)
            })
            .fold(0.0, f64::max);
        let scaled = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
        if scaled < 0.3 {
            return 1.0;
        }
        let term = |k: i32| {
            let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
            sign * (-2.0 * f64::from(k * k) * scaled * scaled).exp()
        };
        (1..=100).map(term).sum()
    }

    #[test]
    fn poisson_gaps_have_the_asked_rate_spread_and_distribution() {
        for seed in 0..40 {
            for count in [199, 1_000, 9_999] {
                let gaps = gaps(Process::Poisson, count, seed);
                let n = count as f64;
                assert_eq!(gaps.len() as u64, count);
                assert!((gaps.iter().sum::<f64>() / n - 1.0).abs() < 1e-12);
                let cv = variation(&gaps);
                assert!((cv - 1.0).abs() < 0.025, "seed {seed}, n {count}: cv {cv}");
                assert!(ks(&gaps, |gap| 1.0 - (-gap).exp()) > 0.01);
                // Four standard errors of a correlation of independent values.
                let lag = correlation(&gaps);
                assert!(lag.abs() < 4.0 / n.sqrt(), "seed {seed}, n {count}: {lag}");
            }
        }
    }

    #[test]
    fn the_test_of_the_distribution_can_fail() {
        let even = gaps(Process::Gamma { cv: 0.7 }, 1_000, 1);
        assert!(ks(&even, |gap| 1.0 - (-gap).exp()) < 1e-6);
    }

    #[test]
    fn gamma_gaps_have_the_asked_spread_and_distribution() {
        for cv in [0.05, 0.3, 1.0, 2.0, 4.0, 10.0] {
            let shape = 1.0 / (cv * cv);
            let gamma = Gamma::new(shape, shape).unwrap();
            for seed in 0..3 {
                let gaps = gaps(Process::Gamma { cv }, 2_000, seed);
                assert!((mean(&gaps) - 1.0).abs() < 1e-12);
                let got = variation(&gaps);
                // The tail of very bursty gaps lies beyond what 2,000 of them can show.
                let allowed = if cv > 5.0 { 0.12 } else { 0.03 };
                assert!(
                    (got / cv - 1.0).abs() < allowed,
                    "cv {cv}, seed {seed}: {got}"
                );
                assert!(
                    ks(&gaps, |gap| gamma.cdf(gap)) > 0.01,
                    "cv {cv}, seed {seed}"
                );
            }
        }
    }

    #[test]
    fn quantiles_of_the_gamma_law_are_those_of_tables() {
        // Shape 1 is exponential: the 95 % quantile is ln 20. Shape 0.5 with rate 0.5 is
        // chi-square with one degree of freedom: 3.841459 (any table). Shape 4 with rate 4 is
        // chi-square with eight, divided by eight: 15.507313 / 8.
        let at95 = |cv: f64| Law::new(Process::Gamma { cv }).quantile(0.95);
        assert!((at95(1.0) - 20_f64.ln()).abs() < 1e-9);
        assert!((at95(2_f64.sqrt()) - 3.841_459).abs() < 1e-5);
        assert!((at95(0.5) - 15.507_313 / 8.0).abs() < 1e-6);
    }

    #[test]
    fn an_endless_stream_keeps_its_rate_in_every_block() {
        let all = Gaps::new(Process::Poisson, None, stream(&[b"endless"]));
        let gaps: Vec<f64> = all.take(3 * BLOCK).collect();
        for block in gaps.chunks(BLOCK) {
            assert!((mean(block) - 1.0).abs() < 1e-12);
        }
        assert_ne!(gaps[..BLOCK], gaps[BLOCK..2 * BLOCK]);
    }

    #[test]
    fn seeds_decide_and_counts_are_kept() {
        assert_eq!(
            gaps(Process::Poisson, 500, 1),
            gaps(Process::Poisson, 500, 1)
        );
        assert_ne!(
            gaps(Process::Poisson, 500, 1),
            gaps(Process::Poisson, 500, 2)
        );
        for count in [0, 1, 2, 4_095, 4_096, 4_097, 10_000] {
            assert_eq!(gaps(Process::Poisson, count, 3).len() as u64, count);
        }
        assert_eq!(gaps(Process::Constant, 3, 1), [1.0, 1.0, 1.0]);
        assert_eq!(gaps(Process::Gamma { cv: f64::NAN }, 2, 1), [1.0, 1.0]);
    }
}
