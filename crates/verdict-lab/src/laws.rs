//! How runs and jobs differ when nothing changed: what a fresh process, a host and an hour add to
//! the metrics of a run.
//!
//! The usual law is that of `research/regression-statistics.md` §4: lognormal with a total
//! coefficient of variation of 0.5, 2 or 5 %, 70 % of the variance common to all runs of a job,
//! tails 1.3 times (p90) and twice (p99) as much. The others break it on purpose.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal, StudentT};

use crate::requests::{Logs, METRICS};

/// Share of the variance that all runs of a job have in common.
const SHARED: f64 = 0.7;
/// Share of the variance that all metrics of a run have in common.
const COMMON: f64 = 0.8;

/// The shape of a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Normal on the log scale.
    Lognormal,
    /// Student's t with three degrees of freedom, scaled to the same variance.
    HeavyTailed,
}

/// Which runs a law takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Usual weather.
    Usual,
    /// Random autocorrelation.
    Queues,
    /// A clock of two levels.
    Clocks,
}

/// How runs and jobs differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Law {
    /// What the table calls it.
    pub name: &'static str,
    /// Total coefficient of variation of a run of a new job (0.02 = 2 %).
    pub cv: f64,
    /// Shape of the shifts.
    pub shape: Shape,
    /// Where runs come from.
    pub source: Source,
    /// Slowdown from the first to the last slot of a job, as a log (0.02 = 2 %).
    pub session_drift: f64,
    /// Standard deviation of what a host does to the change itself: a shift of the ratio that all
    /// pairs of a job share.
    pub interaction: f64,
}

impl Law {
    /// The usual law with this coefficient of variation.
    pub const fn usual(cv: f64) -> Self {
        Self {
            name: "usual",
            cv,
            shape: Shape::Lognormal,
            source: Source::Usual,
            session_drift: 0.0,
            interaction: 0.0,
        }
    }

    /// What one job does to all its runs.
    pub fn job(&self, rng: &mut impl Rng) -> Shift {
        self.shift(SHARED, rng)
    }

    /// What one fresh process does to its run.
    pub fn process(&self, rng: &mut impl Rng) -> Shift {
        self.shift(1.0 - SHARED, rng)
    }

    /// What this host does to the change.
    pub fn host(&self, rng: &mut impl Rng) -> f64 {
        self.interaction * self.draw(rng)
    }

    fn shift(&self, share: f64, rng: &mut impl Rng) -> Shift {
        let deviation = self.cv * share.sqrt();
        let common = self.draw(rng);
        // Time to the first token, between tokens, and of whole requests each have a little of
        // their own.
        let own: [f64; 3] = std::array::from_fn(|_| self.draw(rng));
        let mix = |own: f64| COMMON.sqrt() * common + (1.0 - COMMON).sqrt() * own;
        Shift(own.map(|own| deviation * mix(own)))
    }

    fn draw(&self, rng: &mut impl Rng) -> f64 {
        match self.shape {
            Shape::Lognormal => StandardNormal.sample(rng),
            Shape::HeavyTailed => {
                let t = StudentT::new(3.0).expect("three is positive");
                // The variance of t with three degrees of freedom is 3.
                let draw: f64 = t.sample(rng);
                draw / 3.0_f64.sqrt()
            }
        }
    }
}

/// A slowdown of first tokens, of further tokens and of whole requests, as logs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shift([f64; 3]);

impl Shift {
    /// Adds it to the metrics of a run.
    pub fn add(&self, logs: &mut Logs) {
        let [ttft, itl, whole] = self.0;
        for (log, metric) in logs.iter_mut().zip(METRICS) {
            let slow = match metric.split_once('.') {
                Some(("ttft_ms", _)) => ttft,
                Some(("itl_ms" | "tpot_ms", _)) => itl,
                _ => whole,
            };
            *log += sign(metric) * tail(metric) * slow;
        }
    }
}

/// Makes a run slower by this log, all metrics alike.
pub fn slow(logs: &mut Logs, by: f64) {
    for (log, metric) in logs.iter_mut().zip(METRICS) {
        *log += sign(metric) * by;
    }
}

/// +1 where slower is more.
pub fn sign(metric: &str) -> f64 {
    if metric.ends_with("ps") { -1.0 } else { 1.0 }
}

/// How much more than its mean a statistic varies from run to run.
fn tail(metric: &str) -> f64 {
    match metric.rsplit_once('.') {
        Some((_, "p90")) => 1.3,
        Some((_, "p99")) => 2.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator;

    #[test]
    fn job_and_process_have_the_cv_together_and_rates_go_the_other_way() {
        for shape in [Shape::Lognormal, Shape::HeavyTailed] {
            let law = Law {
                shape,
                ..Law::usual(0.02)
            };
            let mut rng = generator(3, 0, 0);
            let shifts: Vec<Logs> = (0..40_000)
                .map(|_| {
                    let mut logs = [0.0; METRICS.len()];
                    law.job(&mut rng).add(&mut logs);
                    law.process(&mut rng).add(&mut logs);
                    logs
                })
                .collect();
            let deviation = |at: usize| {
                let squares: f64 = shifts.iter().map(|logs| logs[at].powi(2)).sum();
                (squares / shifts.len() as f64).sqrt()
            };
            assert!((deviation(0) / 0.02 - 1.0).abs() < 0.1, "{}", deviation(0));
            assert!((deviation(5) / 0.04 - 1.0).abs() < 0.1, "{}", deviation(5));
            assert!(shifts.iter().all(|logs| (logs[0] + logs[9]).abs() < 1e-12));
        }
    }
}
