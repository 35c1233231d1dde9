//! Everything random, each kind from its own stream, so that one draw more of one kind never
//! moves another. Pure: the seed comes in.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Geometric, StandardNormal};

use crate::engine::SimSpec;

/// Chance of the end token at each position after `min_tokens`: mean 127 tokens before it.
const END_CHANCE: f64 = 1.0 / 128.0;

/// What a stream of random numbers is for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Run = 1,
    Step = 2,
    Fate = 3,
    Length = 4,
}

/// The key of a draw. Seeds given by a request and orders of arrival never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The request's own `seed`.
    Seed(i64),
    /// The how-many-th request this is.
    Arrival(u64),
}

impl Key {
    fn bytes(self) -> (u8, [u8; 8]) {
        match self {
            Self::Seed(seed) => (1, seed.to_le_bytes()),
            Self::Arrival(number) => (2, number.to_le_bytes()),
        }
    }
}

/// The generator for one purpose and key: its 32-byte key is the tuple itself.
fn generator(seed: u64, purpose: Purpose, key: Key) -> ChaCha8Rng {
    let (kind, key) = key.bytes();
    let parts = seed.to_le_bytes().into_iter().chain(key);
    let mut bytes = [0; 32];
    for (slot, byte) in bytes.iter_mut().zip(parts.chain([kind, purpose as u8])) {
        *slot = byte;
    }
    ChaCha8Rng::from_seed(bytes)
}

/// Lognormal factors with mean 1.
#[derive(Debug)]
pub(super) struct Noise {
    mu: f64,
    sigma: f64,
    generator: ChaCha8Rng,
}

impl Noise {
    /// `cv` is the coefficient of variation, at least 0. σ² = ln(1 + cv²), μ = −σ²/2.
    fn new(cv: f64, generator: ChaCha8Rng) -> Self {
        let variance = (cv * cv).ln_1p();
        Self {
            mu: -variance / 2.0,
            sigma: variance.sqrt(),
            generator,
        }
    }

    /// Noise of prefills and steps.
    pub(super) fn of_steps(spec: &SimSpec) -> Self {
        let generator = generator(spec.seed, Purpose::Step, Key::Arrival(0));
        Self::new(spec.noise_cv, generator)
    }

    /// The next factor; exactly 1 when the coefficient of variation is 0.
    pub(super) fn factor(&mut self) -> f64 {
        let normal: f64 = StandardNormal.sample(&mut self.generator);
        self.sigma.mul_add(normal, self.mu).exp()
    }
}

/// The factor of this server.
pub(super) fn run_factor(spec: &SimSpec) -> f64 {
    let generator = generator(spec.seed, Purpose::Run, Key::Arrival(0));
    Noise::new(spec.run_cv, generator).factor()
}

/// Which fault a request meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    /// Answered with status 500.
    pub error: bool,
    /// Its stream is cut half way.
    pub truncated: bool,
}

/// The fate of the request that arrived as number `arrival`.
pub(super) fn fate(spec: &SimSpec, arrival: u64) -> Fate {
    let mut generator = generator(spec.seed, Purpose::Fate, Key::Arrival(arrival));
    // Uniform in [0, 1): a rate of 0 never happens, a rate of 1 always does.
    Fate {
        error: generator.random::<f64>() < spec.error_rate,
        truncated: generator.random::<f64>() < spec.truncate_rate,
    }
}

/// How many tokens an answer has when nothing cuts it, at least `min_tokens` and at least 1.
pub(super) fn natural_length(seed: u64, key: Key, min_tokens: u32) -> u32 {
    let mut generator = generator(seed, Purpose::Length, key);
    let beyond = Geometric::new(END_CHANCE).map_or(0, |length| length.sample(&mut generator));
    min_tokens
        .max(1)
        .saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f64]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance.sqrt() / mean)
    }

    #[test]
    fn noise_has_mean_one_and_the_asked_for_variation() {
        let spec = SimSpec {
            noise_cv: 0.2,
            ..SimSpec::default()
        };
        let mut noise = Noise::of_steps(&spec);
        let values: Vec<f64> = (0..40_000).map(|_| noise.factor()).collect();
        let (mean, cv) = moments(&values);
        // Standard errors: 0.2/√40000 = 0.001 of the mean, about 0.0008 of the cv.
        assert!((mean - 1.0).abs() < 0.004, "mean {mean}");
        assert!((cv - 0.2).abs() < 0.004, "cv {cv}");
    }

    #[test]
    fn no_variation_is_exactly_one() {
        let spec = SimSpec {
            noise_cv: 0.0,
            run_cv: 0.0,
            ..SimSpec::default()
        };
        assert_eq!(Noise::of_steps(&spec).factor().to_bits(), 1.0_f64.to_bits());
        assert_eq!(run_factor(&spec).to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn run_factors_vary_between_seeds_with_run_cv() {
        let factor = |seed| {
            run_factor(&SimSpec {
                seed,
                run_cv: 0.05,
                ..SimSpec::default()
            })
        };
        let values: Vec<f64> = (0..10_000).map(factor).collect();
        let (mean, cv) = moments(&values);
        assert!((mean - 1.0).abs() < 0.002, "mean {mean}");
        assert!((cv - 0.05).abs() < 0.002, "cv {cv}");
        assert_eq!(factor(7).to_bits(), factor(7).to_bits());
    }

    #[test]
    fn fates_have_the_asked_for_shares_and_repeat() {
        let spec = SimSpec {
            error_rate: 0.25,
            truncate_rate: 0.1,
            ..SimSpec::default()
        };
        let fates: Vec<Fate> = (0..20_000).map(|arrival| fate(&spec, arrival)).collect();
        let errors = fates.iter().filter(|fate| fate.error).count();
        let cuts = fates.iter().filter(|fate| fate.truncated).count();
        // Four standard errors: 4·√(20000·0.25·0.75) = 245 and 4·√(20000·0.1·0.9) = 170.
        assert!(errors.abs_diff(5_000) < 245, "{errors}");
        assert!(cuts.abs_diff(2_000) < 170, "{cuts}");
        assert_eq!(fate(&spec, 3), fates[3]);
    }

    #[test]
    fn rates_of_zero_and_one_are_never_and_always() {
        let spec = SimSpec {
            error_rate: 0.0,
            truncate_rate: 1.0,
            ..SimSpec::default()
        };
        for arrival in 0..1_000 {
            let fate = fate(&spec, arrival);
            assert!(!fate.error && fate.truncated);
        }
    }

    #[test]
    fn natural_lengths_vary_around_their_mean_above_the_minimum() {
        let lengths: Vec<f64> = (0..20_000)
            .map(|arrival| f64::from(natural_length(1, Key::Arrival(arrival), 10)))
            .collect();
        let (mean, _) = moments(&lengths);
        // Geometric: mean 127, deviation 127.5; four standard errors are 3.6.
        assert!((mean - 137.0).abs() < 3.6, "mean {mean}");
        assert!(lengths.iter().all(|length| *length >= 10.0));
        assert_eq!(
            natural_length(1, Key::Seed(-5), 0),
            natural_length(1, Key::Seed(-5), 0)
        );
        assert_ne!(
            natural_length(1, Key::Seed(5), 0),
            natural_length(2, Key::Seed(5), 0)
        );
    }
}
