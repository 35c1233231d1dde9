//! The same pull requests through rules that others use, written down shortly.
//!
//! What each rule is: `research/regression-statistics.md` §1. One number per run and metric goes
//! in, as kitt's own rule gets it.

use kitt_action::compare::{normal_quantile, t_quantile};
use rand_chacha::ChaCha8Rng;

use crate::{
    designs::{Effect, Lab},
    generator,
    laws::{Law, sign, slow},
    requests::{Logs, METRICS, place},
    threads,
};

/// A rule of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    /// KITT's `auto_compare`: throughput −5 %, everything else +10 %, run against run.
    Kitt,
    /// Worse by 5 %, run against run.
    Percent5,
    /// Worse by 10 %, run against run.
    Percent10,
    /// Bencher's default: a prediction interval of Student's t at 99 % over 20 past jobs.
    Bencher,
    /// Welch's t at 5 %: runs of five past jobs against five runs of one job.
    Welch,
    /// benchstat: Mann-Whitney at 5 %, ten runs against ten of the same job, one side after the
    /// other.
    MannWhitney,
}

impl Rival {
    /// All, in the order of the table.
    pub const ALL: [Self; 6] = [
        Self::Kitt,
        Self::Percent5,
        Self::Percent10,
        Self::Bencher,
        Self::Welch,
        Self::MannWhitney,
    ];

    /// What the table calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kitt => "KITT: throughput −5 %, rest +10 %, 1 v 1",
            Self::Percent5 => "5 %, 1 v 1",
            Self::Percent10 => "10 %, 1 v 1",
            Self::Bencher => "Bencher's t 99 %, 20 past jobs, 1 run",
            Self::Welch => "Welch's t 5 %, 5 past jobs v 5 runs of one",
            Self::MannWhitney => "Mann-Whitney 5 %, 10 v 10 in one job",
        }
    }

    /// Runs that a pull request costs.
    pub const fn runs(self) -> usize {
        match self {
            Self::Kitt | Self::Percent5 | Self::Percent10 | Self::Bencher => 1,
            Self::Welch => 5,
            Self::MannWhitney => 20,
        }
    }

    /// Which runs it looks at: past jobs of one run, or runs of the same job, and current runs.
    const fn wants(self) -> (usize, bool, usize) {
        match self {
            Self::Kitt | Self::Percent5 | Self::Percent10 => (1, false, 1),
            Self::Bencher => (20, false, 1),
            Self::Welch => (5, false, 5),
            Self::MannWhitney => (10, true, 10),
        }
    }

    /// Whether it calls a metric worse. Both lists are logs, larger is worse.
    fn flags(self, metric: &str, before: &[f64], after: &[f64]) -> bool {
        let worse = mean(after) - mean(before);
        match self {
            Self::Kitt if metric.ends_with("ps") => worse > -(0.95_f64.ln()),
            Self::Kitt | Self::Percent10 => worse > beyond(metric, 0.10),
            Self::Percent5 => worse > beyond(metric, 0.05),
            Self::Bencher => {
                let n = before.len() as f64;
                let t = t_quantile(0.99, n - 1.0).expect("there are past jobs");
                worse > t * (variance(before) * (1.0 + 1.0 / n)).sqrt()
            }
            Self::Welch => {
                let (a, b) = (
                    variance(before) / before.len() as f64,
                    variance(after) / after.len() as f64,
                );
                let freedom = (a + b).powi(2)
                    / (a * a / (before.len() - 1) as f64 + b * b / (after.len() - 1) as f64);
                worse > t_quantile(0.975, freedom).expect("runs differ") * (a + b).sqrt()
            }
            Self::MannWhitney => mann_whitney(before, after) > normal_quantile(0.975).expect("p"),
        }
    }
}

/// The log beyond which a change by this share is worse: 5 % less for a rate, 5 % more else.
fn beyond(metric: &str, share: f64) -> f64 {
    if sign(metric) < 0.0 {
        -(-share).ln_1p()
    } else {
        share.ln_1p()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
    squares / (values.len() - 1) as f64
}

/// z of the U statistic with the correction for continuity; ties do not occur.
fn mann_whitney(before: &[f64], after: &[f64]) -> f64 {
    let above = |value: &f64| before.iter().filter(|other| value > *other).count();
    let u = after.iter().map(above).sum::<usize>() as f64;
    let (m, n) = (before.len() as f64, after.len() as f64);
    (u - m * n / 2.0 - 0.5) / (m * n * (m + n + 1.0) / 12.0).sqrt()
}

/// How many of so many pull requests a rival flags: on any metric, and on the effect's own.
pub fn run(lab: &Lab, rival: Rival, law: &Law, effect: &Effect, draws: usize) -> (usize, usize) {
    let flags = threads::map(draws, |number| {
        let mut rng = generator(lab.seed, 5, number);
        let (before, after) = runs(lab, rival, law, effect, number, &mut rng);
        let of = |metric: &str| {
            let values = |runs: &[Logs]| -> Vec<f64> {
                runs.iter()
                    .map(|logs| sign(metric) * logs[place(metric)])
                    .collect()
            };
            rival.flags(metric, &values(&before), &values(&after))
        };
        (METRICS.iter().any(|metric| of(metric)), of(effect.target))
    });
    let count = |pick: fn(&(bool, bool)) -> bool| flags.iter().filter(|one| pick(one)).count();
    (count(|one| one.0), count(|one| one.1))
}

fn runs(
    lab: &Lab,
    rival: Rival,
    law: &Law,
    effect: &Effect,
    number: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<Logs>, Vec<Logs>) {
    let (past, same_job, current) = rival.wants();
    let job = law.job(rng);
    let before = (0..past)
        .map(|index| {
            let mut logs = lab
                .bank(law)
                .logs(24 * number + index, crate::bank::Touched::All);
            let job = if same_job { job } else { law.job(rng) };
            job.add(&mut logs);
            law.process(rng).add(&mut logs);
            logs
        })
        .collect();
    let after = (0..current)
        .map(|index| {
            let mut logs = lab
                .bank(law)
                .logs(24 * number + past + index, effect.touched);
            job.add(&mut logs);
            law.process(rng).add(&mut logs);
            slow(&mut logs, effect.slower);
            logs
        })
        .collect();
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every one of ten above every one of ten: U = 100, its mean 50, its variance 175.
    #[test]
    fn rules_by_hand() {
        let before: Vec<f64> = (0..10).map(f64::from).collect();
        let after: Vec<f64> = (20..30).map(f64::from).collect();
        let expected = 49.5 / 175.0_f64.sqrt();
        assert!((mann_whitney(&before, &after) - expected).abs() < 1e-12);
        let change = |rival: Rival, metric: &str, log: f64| rival.flags(metric, &[0.0], &[log]);
        assert!(
            change(Rival::Kitt, "output_tps", 0.0514) && !change(Rival::Kitt, "output_tps", 0.0512)
        );
        assert!(
            change(Rival::Kitt, "ttft_ms.p50", 0.0954)
                && !change(Rival::Kitt, "ttft_ms.p50", 0.0952)
        );
        assert!(change(Rival::Percent5, "ttft_ms.p50", 0.0489));
        let steady = [0.0, 0.01, -0.01, 0.0, 0.01, -0.01];
        assert!(Rival::Bencher.flags("ttft_ms.p50", &steady, &[0.05]));
        assert!(!Rival::Bencher.flags("ttft_ms.p50", &steady, &[0.02]));
        assert!(Rival::Welch.flags("ttft_ms.p50", &steady, &[0.02, 0.03, 0.02]));
        assert!(!Rival::Welch.flags("ttft_ms.p50", &steady, &[0.0, 0.03, -0.02]));
    }
}
