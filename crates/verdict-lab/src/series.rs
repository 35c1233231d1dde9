//! Change points on simulated histories: how often one is seen where there is none, and how
//! often one that is there is found.
//!
//! The series are those of `research/regression-statistics.md` §5, one log value per job.

use kitt_action::compare::change_points;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

use crate::{binomial, generator, table, threads};

/// How jobs vary around their level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Normal.
    Normal,
    /// Student's t with three degrees of freedom.
    HeavyTailed,
    /// Normal, 3 % of the jobs off by 8 standard deviations.
    Outliers,
    /// Normal around one of two levels, 30 % on the upper one, 3 standard deviations apart.
    Bimodal,
    /// Autocorrelated.
    Autoregressive(f64),
    /// Normal, one job in the middle off by 10 standard deviations.
    LoneOutlier,
}

impl Noise {
    const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::HeavyTailed => "Student t3",
            Self::Outliers => "3 % outliers of 8 sd",
            Self::Bimodal => "bimodal 30 %",
            Self::Autoregressive(_) => "AR(1) 0.5",
            Self::LoneOutlier => "one lone outlier",
        }
    }

    /// So many values around zero, in standard deviations.
    fn draw(self, count: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let normal = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };
        let heavy = StudentT::new(3.0).expect("three is positive");
        let mut state = normal(rng);
        (0..count)
            .map(|index| match self {
                Self::Normal => normal(rng),
                Self::HeavyTailed => {
                    let draw: f64 = heavy.sample(rng);
                    draw / 3.0_f64.sqrt()
                }
                Self::Outliers => {
                    let out = if rng.random::<f64>() < 0.03 { 8.0 } else { 0.0 };
                    let side = if rng.random::<bool>() { 1.0 } else { -1.0 };
                    normal(rng) + side * out
                }
                Self::Bimodal => {
                    let upper = if rng.random::<f64>() < 0.3 { 3.0 } else { 0.0 };
                    normal(rng) + upper
                }
                Self::Autoregressive(phi) => {
                    state = phi * state + (1.0 - phi * phi).sqrt() * normal(rng);
                    state
                }
                Self::LoneOutlier => normal(rng) + if index == count / 2 { 10.0 } else { 0.0 },
            })
            .collect()
    }
}

/// A history with known changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// How jobs vary.
    pub noise: Noise,
    /// Coefficient of variation of a job.
    pub cv: f64,
    /// Number of jobs.
    pub jobs: usize,
    /// First job of each new level, with the log of the step there.
    pub steps: Vec<(usize, f64)>,
}

impl Series {
    /// The values of one history.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let level = |job: usize| -> f64 {
            let reached = self.steps.iter().filter(|(at, _)| *at <= job);
            reached.map(|(_, step)| step).sum()
        };
        let noise = self.noise.draw(self.jobs, rng);
        let values = noise.iter().enumerate();
        values
            .map(|(job, noise)| 1000.0 * (level(job) + self.cv * noise).exp())
            .collect()
    }
}

/// A required share of series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// At most this share.
    AtMost(f64),
    /// At least this share.
    AtLeast(f64),
    /// Only shown.
    Shown,
}

/// One row: a kind of series, and the share in which something is found that should be, or, on a
/// flat one, should not be.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is.
    pub series: Series,
    /// What the share must be.
    pub bound: Bound,
}

fn flat(noise: Noise, jobs: usize, bound: Bound) -> Row {
    let series = Series {
        noise,
        cv: 0.02,
        jobs,
        steps: Vec::new(),
    };
    Row { series, bound }
}

fn step(noise: Noise, cv: f64, percent: f64, after: usize, bound: Bound) -> Row {
    let at = 40;
    let steps = vec![(at, (percent / 100.0).ln_1p())];
    let series = Series {
        noise,
        cv,
        jobs: at + after,
        steps,
    };
    Row { series, bound }
}

/// All rows, with the acceptance figures of `research/regression-statistics.md` §5.
pub fn rows() -> Vec<Row> {
    use Bound::{AtLeast, AtMost, Shown};
    let mut rows = vec![
        flat(Noise::Normal, 30, AtMost(0.03)),
        flat(Noise::Normal, 60, AtMost(0.03)),
        flat(Noise::Normal, 100, AtMost(0.03)),
        flat(Noise::HeavyTailed, 60, AtMost(0.03)),
        flat(Noise::Outliers, 60, AtMost(0.03)),
        flat(Noise::LoneOutlier, 60, AtMost(0.03)),
        flat(Noise::Bimodal, 60, AtMost(0.03)),
        flat(Noise::Autoregressive(0.5), 30, Shown),
        flat(Noise::Autoregressive(0.5), 100, AtMost(0.10)),
    ];
    for after in [4, 6, 10, 20] {
        let bound = if after >= 10 { AtLeast(0.80) } else { Shown };
        rows.push(step(Noise::Normal, 0.02, -5.0, after, bound));
    }
    for after in [4, 6, 10, 20] {
        let bound = if after >= 6 { AtLeast(0.80) } else { Shown };
        rows.push(step(Noise::Outliers, 0.02, 10.0, after, bound));
    }
    rows.push(step(Noise::Normal, 0.005, 2.0, 10, Shown));
    rows.push(step(Noise::Normal, 0.05, 10.0, 10, Shown));
    let pair = vec![(30, 1.06_f64.ln()), (60, 0.95_f64.ln())];
    rows.push(Row {
        series: Series {
            noise: Noise::Normal,
            cv: 0.01,
            jobs: 90,
            steps: pair,
        },
        bound: AtLeast(0.80),
    });
    rows
}

/// A change counts as found within so many jobs.
const TOLERANCE: usize = 3;

/// In how many of so many series something was found: on a flat one anything, else every step.
pub fn run(row: &Row, draws: usize, seed: u64) -> usize {
    let found = threads::map(draws, |number| {
        let values = row.series.draw(&mut generator(seed, 11, number));
        let found = change_points(&values);
        if row.series.steps.is_empty() {
            return !found.is_empty();
        }
        let near = |step: usize| found.iter().any(|at| at.abs_diff(step) <= TOLERANCE);
        row.series.steps.iter().all(|(at, _)| near(*at))
    });
    found.into_iter().filter(|found| *found).count()
}

/// Whether a bound holds, given the limits that the count leaves.
pub fn holds(bound: Bound, hits: usize, draws: usize) -> bool {
    match bound {
        Bound::AtMost(share) => binomial::lower(hits, draws, 0.95) <= share,
        Bound::AtLeast(share) => binomial::upper(hits, draws, 0.95) >= share,
        Bound::Shown => true,
    }
}

fn describe(series: &Series) -> String {
    let steps: Vec<String> = series
        .steps
        .iter()
        .map(|(at, step)| format!("{:+.0} % at {at}", 100.0 * step.exp_m1()))
        .collect();
    if steps.is_empty() {
        "flat".to_owned()
    } else {
        steps.join(", ")
    }
}

/// The table, and what does not hold.
pub fn table(draws: usize, seed: u64) -> (String, Vec<String>) {
    let (mut lines, mut broken) = (Vec::new(), Vec::new());
    for row in rows() {
        let hits = run(&row, draws, seed);
        let share = hits as f64 / draws as f64;
        let what = describe(&row.series);
        let required = match row.bound {
            Bound::AtMost(most) => format!("≤ {:.0}", 100.0 * most),
            Bound::AtLeast(least) => format!("≥ {:.0}", 100.0 * least),
            Bound::Shown => String::new(),
        };
        if !holds(row.bound, hits, draws) {
            broken.push(format!(
                "change points, {} {what}, {} jobs: {:.1} %, required {required} %",
                row.series.noise.name(),
                row.series.jobs,
                100.0 * share
            ));
        }
        lines.push(vec![
            row.series.noise.name().to_owned(),
            format!("{:.1}", 100.0 * row.series.cv),
            row.series.jobs.to_string(),
            what,
            table::rough(share),
            required,
        ]);
    }
    let head = ["noise", "CV %", "jobs", "levels", "found %", "required %"];
    let title = "Change points: any on flat series, every step within 3 jobs on the others";
    (table::markdown(title, &head, &lines), broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_its_steps_and_its_noise() {
        let row = step(Noise::Normal, 0.02, -5.0, 20, Bound::Shown);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let all: Vec<Vec<f64>> = (0..500)
            .map(|n| row.series.draw(&mut generator(1, 0, n)))
            .collect();
        let before: Vec<f64> = all.iter().map(|values| mean(&values[..40])).collect();
        let after: Vec<f64> = all.iter().map(|values| mean(&values[40..])).collect();
        let ratio = mean(&after) / mean(&before);
        assert!((ratio - 0.95).abs() < 0.003, "{ratio}");
        for noise in [
            Noise::Normal,
            Noise::HeavyTailed,
            Noise::Autoregressive(0.5),
        ] {
            let draws = noise.draw(50_000, &mut generator(2, 0, 0));
            let variance = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
            assert!((0.8..1.2).contains(&variance), "{noise:?} {variance}");
        }
    }
}
