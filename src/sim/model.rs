//! How long a prefill and a decode take. Pure; the formulas are in the module's
//! documentation (`sim/mod.rs`).

use std::time::Duration;

use super::{
    SimError,
    draws::{self, Noise},
};
use crate::engine::SimSpec;

/// An hour: longer parts of a step are typing errors.
const LONGEST_MS: f64 = 3_600_000.0;

/// The timing of one server.
#[derive(Debug)]
pub(super) struct Model {
    spec: SimSpec,
    run_factor: f64,
    noise: Noise,
}

impl Model {
    /// # Errors
    /// [`SimError::Parameter`] for a parameter outside its range.
    pub(super) fn new(spec: &SimSpec) -> Result<Self, SimError> {
        check(spec)?;
        Ok(Self {
            spec: spec.clone(),
            run_factor: draws::run_factor(spec),
            noise: Noise::of_steps(spec),
        })
    }

    /// The factor drawn for this server.
    pub(super) fn run_factor(&self) -> f64 {
        self.run_factor
    }

    /// Sequences running together.
    pub(super) fn max_batch(&self) -> usize {
        usize::try_from(self.spec.max_batch).unwrap_or(usize::MAX)
    }

    /// The next prefill of a prompt of that many tokens, in nanoseconds.
    pub(super) fn prefill_ns(&mut self, prompt_tokens: u32) -> u64 {
        let per_token = self.spec.prefill_per_token_ms * f64::from(prompt_tokens);
        self.noisy(self.spec.prefill_base_ms + per_token)
    }

    /// The next decode of that many sequences, in nanoseconds.
    pub(super) fn decode_ns(&mut self, batch: usize) -> u64 {
        let per_sequence = self.spec.decode_per_sequence_ms * batch as f64;
        self.noisy((self.spec.decode_base_ms + per_sequence) * (1.0 + self.spec.slowdown))
    }

    fn noisy(&mut self, ms: f64) -> u64 {
        nanoseconds(ms * self.run_factor * self.noise.factor())
    }
}

/// Milliseconds as whole nanoseconds, rounded; what is out of range is cut to it.
pub(super) fn nanoseconds(ms: f64) -> u64 {
    Duration::try_from_secs_f64(ms.max(0.0) / 1e3).map_or(u64::MAX, |time| {
        u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
    })
}

fn check(spec: &SimSpec) -> Result<(), SimError> {
    let time = "a time in milliseconds from 0 to an hour";
    let rate = "a share from 0 to 1";
    let variation = "a coefficient of variation from 0 to 2";
    let ranges = [
        (
            "prefill_base_ms",
            spec.prefill_base_ms,
            0.0,
            LONGEST_MS,
            time,
        ),
        (
            "prefill_per_token_ms",
            spec.prefill_per_token_ms,
            0.0,
            LONGEST_MS,
            time,
        ),
        ("decode_base_ms", spec.decode_base_ms, 0.0, LONGEST_MS, time),
        (
            "decode_per_sequence_ms",
            spec.decode_per_sequence_ms,
            0.0,
            LONGEST_MS,
            time,
        ),
        ("startup_ms", spec.startup_ms, 0.0, LONGEST_MS, time),
        (
            "max_batch",
            f64::from(spec.max_batch),
            1.0,
            f64::from(u32::MAX),
            "at least 1",
        ),
        ("noise_cv", spec.noise_cv, 0.0, 2.0, variation),
        ("run_cv", spec.run_cv, 0.0, 2.0, variation),
        (
            "slowdown",
            spec.slowdown,
            -0.9,
            100.0,
            "a ratio from -0.9 to 100",
        ),
        ("error_rate", spec.error_rate, 0.0, 1.0, rate),
        ("truncate_rate", spec.truncate_rate, 0.0, 1.0, rate),
    ];
    // A NaN is in no range.
    let wrong = ranges
        .into_iter()
        .find(|(_, value, low, high, _)| !(*low..=*high).contains(value));
    match wrong {
        None => Ok(()),
        Some((key, value, _, _, why)) => Err(SimError::Parameter { key, value, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(spec: SimSpec) -> Model {
        Model::new(&SimSpec {
            noise_cv: 0.0,
            run_cv: 0.0,
            ..spec
        })
        .unwrap()
    }

    #[test]
    fn times_follow_the_formulas() {
        let mut model = exact(SimSpec::default());
        // 8 + 0.05 · 100 = 13 ms; 6 + 0.2 · 1 = 6.2 ms; 6 + 0.2 · 16 = 9.2 ms.
        assert_eq!(model.prefill_ns(100), 13_000_000);
        assert_eq!(model.decode_ns(1), 6_200_000);
        assert_eq!(model.decode_ns(16), 9_200_000);
    }

    #[test]
    fn slowdown_touches_the_decode_only() {
        let mut model = exact(SimSpec {
            slowdown: 0.08,
            ..SimSpec::default()
        });
        assert_eq!(model.prefill_ns(100), 13_000_000);
        // 6.2 · 1.08 = 6.696 ms.
        assert_eq!(model.decode_ns(1), 6_696_000);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        type Spoil = fn(&mut SimSpec);
        let wrong: [(&str, Spoil); 9] = [
            ("decode_base_ms", |spec| spec.decode_base_ms = -1.0),
            ("prefill_base_ms", |spec| spec.prefill_base_ms = f64::NAN),
            ("startup_ms", |spec| spec.startup_ms = f64::INFINITY),
            ("max_batch", |spec| spec.max_batch = 0),
            ("slowdown", |spec| spec.slowdown = -0.95),
            ("noise_cv", |spec| spec.noise_cv = 3.0),
            ("run_cv", |spec| spec.run_cv = -0.1),
            ("error_rate", |spec| spec.error_rate = 1.5),
            ("truncate_rate", |spec| spec.truncate_rate = -0.1),
        ];
        for (name, spoil) in wrong {
            let mut spec = SimSpec::default();
            spoil(&mut spec);
            let Err(SimError::Parameter { key, .. }) = Model::new(&spec) else {
                panic!("{name} was accepted");
            };
            assert_eq!(key, name);
        }
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        assert_eq!(nanoseconds(f64::INFINITY), u64::MAX);
        assert_eq!(nanoseconds(f64::NAN), 0);
        assert_eq!(nanoseconds(-1.0), 0);
    }
}
