//! Change points on long histories, and a plain test of the same kind.

use std::hint::black_box;

use kitt_action::compare::change_points;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Jobs of a history.
pub(crate) const JOBS: usize = 10_000;
/// The plain test gets so many; its work grows with their square.
const FEWER: usize = JOBS / 10;
/// How much more work it would have with all jobs.
pub(crate) const SCALE: u32 = 10 * 10;

/// A history without a change, and one with a change every 500 jobs.
pub(crate) fn cases() -> [(&'static str, Vec<f64>); 2] {
    [
        ("a level that never changes", series(0.0)),
        ("a step of 5 % every 500 jobs", series(0.05)),
    ]
}

fn series(step: f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut value = |job: usize| {
        let noise: f64 = StandardNormal.sample(&mut rng);
        let level = if (job / 500).is_multiple_of(2) {
            0.0
        } else {
            step
        };
        1000.0 * (level + 0.02 * noise).exp()
    };
    (0..JOBS).map(&mut value).collect()
}

/// kitt's change points.
pub(crate) fn found(series: &[f64]) {
    black_box(change_points(series));
}

/// The largest |t| over all splits, each split's means and variances summed up anew.
pub(crate) fn plain(series: &[f64]) {
    let logs: Vec<f64> = series.iter().take(FEWER).map(|value| value.ln()).collect();
    let moments = |part: &[f64]| {
        let n = part.len() as f64;
        let mean = part.iter().sum::<f64>() / n;
        let squares: f64 = part.iter().map(|value| (value - mean).powi(2)).sum();
        (mean, squares / (n - 1.0) / n)
    };
    let mut largest = 0.0_f64;
    for split in 4..logs.len() - 4 {
        let (before, after) = logs.split_at(split);
        let ((a, va), (b, vb)) = (moments(before), moments(after));
        largest = largest.max((b - a).abs() / (va + vb).sqrt());
    }
    black_box(largest);
}
