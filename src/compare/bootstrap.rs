//! How much a comparison of single runs would move with other requests: the prompt-aligned
//! circular block bootstrap (Politis and Romano 1992; `research/regression-statistics.md` §4.2).
//!
//! In: per-request values of each run, in request order. Out: the standard deviation of the
//! log-ratio due to the requests alone. It says nothing about run-to-run variation and is never
//! taken as the whole error (§4.2: nominal 5 % then is 13–35 %).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::statistic::{deviation, summarise};
use crate::metric::Statistic;

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootstrap {
    /// Number of resamples; 1000 is enough for a standard deviation.
    pub draws: usize,
    /// Seed of the resampling; the same seed gives the same number on every platform.
    pub seed: u64,
}

/// Most values that are resampled for one deviation, all draws together: a report of many metrics
/// must not take seconds. Reached beyond 1000 requests on either side with 1000 draws.
const MOST_VALUES: usize = 2_000_000;
/// Draws are not reduced below this: the deviation of so many is itself known to 7 %,
/// 1 / √(2 · 100).
const FEWEST_DRAWS: usize = 100;

/// A run's values by request index; `None` where the request gave none.
pub(super) type Run<'a> = &'a [Option<f64>];

/// Standard deviation of mean ln(statistic) of the current runs minus that of the baseline
/// runs, under resampling of requests.
///
/// When all runs have the same number of requests, index i is the same prompt everywhere, and
/// the same indexes are drawn for every run: the spread between prompts, common to all, cancels
/// (resampling each side by itself overstates the deviation 1.3 to 1.7 times). Otherwise each
/// run is resampled by itself. `None`: a side has no run, or too few values for a logarithm.
pub(super) fn log_ratio_deviation(
    baseline: &[Run<'_>],
    current: &[Run<'_>],
    statistic: Statistic,
    bootstrap: Bootstrap,
) -> Option<f64> {
    if baseline.is_empty() || current.is_empty() {
        return None;
    }
    let (kept, share, bootstrap) = affordable(baseline, current, bootstrap);
    let (baseline, current) = (baseline.get(..kept.0)?, current.get(..kept.1)?);
    let deviation = resampled(baseline, current, statistic, bootstrap)?;
    Some(deviation * share.sqrt())
}

/// What is resampled when everything would take too long: the first runs of each side, at least
/// one, and fewer draws. Also the largest share of a side's runs that is kept: the mean of K runs
/// varies by √K less than one, and the first of them stand for all.
fn affordable(
    baseline: &[Run<'_>],
    current: &[Run<'_>],
    bootstrap: Bootstrap,
) -> ((usize, usize), f64, Bootstrap) {
    let all = || baseline.iter().chain(current);
    let longest = all().map(|run| run.len()).max().unwrap_or(0).max(1);
    let asked = bootstrap.draws.max(1);
    let runs = baseline.len() + current.len();
    let affordable = (MOST_VALUES / asked / longest).clamp(2, runs.max(2));
    let keep = |side: usize| (side * affordable / runs).clamp(1, side);
    let kept = (keep(baseline.len()), keep(current.len()));
    let share = |kept: usize, side: usize| kept as f64 / side as f64;
    let share = share(kept.0, baseline.len()).max(share(kept.1, current.len()));
    let values = longest * (kept.0 + kept.1);
    let fewest = FEWEST_DRAWS.min(bootstrap.draws);
    let draws = (MOST_VALUES / values).clamp(fewest, bootstrap.draws.max(fewest));
    (kept, share, Bootstrap { draws, ..bootstrap })
}

/// The deviation by resampling all runs that are given.
fn resampled(
    baseline: &[Run<'_>],
    current: &[Run<'_>],
    statistic: Statistic,
    bootstrap: Bootstrap,
) -> Option<f64> {
    let weigh = |runs: &[Run<'_>], sign: f64| sign / runs.len() as f64;
    let (before, after) = (weigh(baseline, -1.0), weigh(current, 1.0));
    let arms: Vec<_> = baseline
        .iter()
        .map(|run| (before, *run))
        .chain(current.iter().map(|run| (after, *run)))
        .collect();
    let length = baseline.first()?.len();
    if arms.iter().all(|(_, run)| run.len() == length) {
        return contrast_deviation(&arms, statistic, bootstrap);
    }
    let mut variance = 0.0;
    for arm in arms {
        variance += contrast_deviation(&[arm], statistic, bootstrap)?.powi(2);
    }
    Some(variance.sqrt())
}

/// Deviation of the weighted sum of log statistics over runs of equal length.
fn contrast_deviation(
    arms: &[(f64, Run<'_>)],
    statistic: Statistic,
    bootstrap: Bootstrap,
) -> Option<f64> {
    let requests = arms.first()?.1.len();
    if requests < 2 {
        return None;
    }
    let block = block_length(requests);
    let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
    let mut indexes = Vec::with_capacity(requests + block);
    let mut scratch = Vec::with_capacity(requests);
    let mut contrasts = Vec::with_capacity(bootstrap.draws);
    for _ in 0..bootstrap.draws {
        indexes.clear();
        while indexes.len() < requests {
            let start = rng.random_range(0..requests);
            indexes.extend((start..start + block).map(|index| index % requests));
        }
        indexes.truncate(requests);
        if let Some(contrast) = contrast(arms, &indexes, statistic, &mut scratch) {
            contrasts.push(contrast);
        }
    }
    // A draw is lost when it hits only failed requests; if that is the rule, there is no sample.
    if contrasts.len() * 2 < bootstrap.draws {
        return None;
    }
    deviation(&contrasts).filter(|sd| sd.is_finite())
}

fn contrast(
    arms: &[(f64, Run<'_>)],
    indexes: &[usize],
    statistic: Statistic,
    scratch: &mut Vec<f64>,
) -> Option<f64> {
    let mut sum = 0.0;
    for (weight, run) in arms {
        scratch.clear();
        scratch.extend(indexes.iter().filter_map(|index| run.get(*index).copied()?));
        let value = summarise(scratch, statistic)?;
        if !(value > 0.0 && value.is_finite()) {
            return None;
        }
        sum += weight * value.ln();
    }
    Some(sum)
}

/// Blocks of 2 n^(1/3), rounded up, so that neighbouring requests stay together.
fn block_length(requests: usize) -> usize {
    let volume = requests.saturating_mul(8);
    (1..requests)
        .find(|length| length.saturating_pow(3) >= volume)
        .unwrap_or(requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Normal};

    const BOOTSTRAP: Bootstrap = Bootstrap {
        draws: 300,
        seed: 7,
    };

    #[test]
    fn a_block_is_twice_the_cube_root() {
        assert_eq!(block_length(1000), 20);
        assert_eq!(block_length(27), 6);
        assert_eq!(block_length(28), 7);
        assert_eq!(block_length(2), 2);
    }

    /// A common prompt effect of 35 % and 5 % noise of each request, lognormal.
    fn pair(seed: u64, requests: usize) -> [Vec<Option<f64>>; 2] {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let prompts = Normal::new(0.0, 0.35).unwrap();
        let jitter = Normal::new(0.0, 0.05).unwrap();
        let prompts: Vec<f64> = (0..requests).map(|_| prompts.sample(&mut rng)).collect();
        [(); 2].map(|()| {
            prompts
                .iter()
                .map(|prompt| Some((4.0 + prompt + jitter.sample(&mut rng)).exp()))
                .collect()
        })
    }

    /// Without run-to-run variation the true log-ratio is 0, so an interval of ±1.96 deviations
    /// should hold it about 95 % of the time (§4.2: 90–97 %).
    #[test]
    fn aligned_intervals_cover_the_truth() {
        let covered = (0..200)
            .filter(|seed| {
                let [b, c] = pair(*seed, 100);
                let value = |run: &[Option<f64>]| {
                    let mut run: Vec<f64> = run.iter().flatten().copied().collect();
                    summarise(&mut run, Statistic::Mean).unwrap().ln()
                };
                let sd = log_ratio_deviation(&[&b], &[&c], Statistic::Mean, BOOTSTRAP).unwrap();
                (value(&c) - value(&b)).abs() <= 1.96 * sd
            })
            .count();
        assert!((176..=198).contains(&covered), "{covered} of 200 covered");
    }

    #[test]
    fn alignment_cancels_the_spread_between_prompts() {
        let [b, c] = pair(1, 200);
        let aligned = log_ratio_deviation(&[&b], &[&c], Statistic::P50, BOOTSTRAP).unwrap();
        let unaligned =
            log_ratio_deviation(&[&b], &[&c[..199]], Statistic::P50, BOOTSTRAP).unwrap();
        assert!(unaligned > 2.0 * aligned, "{aligned} {unaligned}");
    }

    #[test]
    fn failed_requests_are_left_out_and_identical_runs_have_no_error() {
        let [mut b, _] = pair(2, 50);
        b[3] = None;
        let sd = log_ratio_deviation(&[&b], &[&b], Statistic::P90, BOOTSTRAP).unwrap();
        assert!(sd.abs() < 1e-12, "{sd}");
    }

    #[test]
    fn many_runs_are_told_by_the_first_of_them() {
        let runs: Vec<[Vec<Option<f64>>; 2]> = (0..4).map(|seed| pair(seed, 1000)).collect();
        let side = |at: usize| -> Vec<Run<'_>> { runs.iter().map(|run| &run[at][..]).collect() };
        let (b, c) = (side(0), side(1));
        let asked = Bootstrap {
            draws: 1000,
            seed: 1,
        };
        let (kept, share, one) = affordable(&b, &c, asked);
        assert_eq!((kept, one.draws), ((1, 1), 1000));
        assert!((share - 0.25).abs() < 1e-12);
        let few = Bootstrap {
            draws: 200,
            seed: 1,
        };
        assert_eq!(affordable(&b, &c, few).0, (4, 4));
        let cut = log_ratio_deviation(&b, &c, Statistic::Mean, asked).unwrap();
        let whole = resampled(&b, &c, Statistic::Mean, few).unwrap();
        assert!((cut / whole - 1.0).abs() < 0.25, "{cut} {whole}");
        // One run of many requests: fewer draws, and never too few.
        let [long, other] = pair(9, 30_000);
        assert_eq!(affordable(&[&long], &[&other], asked).2.draws, FEWEST_DRAWS);
    }

    #[test]
    fn without_values_there_is_no_error_to_tell() {
        let none = [None, None, None];
        let one = [Some(1.0)];
        for run in [&none[..], &one[..], &[]] {
            assert_eq!(
                log_ratio_deviation(&[run], &[run], Statistic::Mean, BOOTSTRAP),
                None
            );
        }
        assert_eq!(
            log_ratio_deviation(&[], &[&one], Statistic::Mean, BOOTSTRAP),
            None
        );
    }

    #[test]
    fn the_same_seed_gives_the_same_number() {
        let [b, c] = pair(3, 60);
        let sd = || log_ratio_deviation(&[&b], &[&c], Statistic::P90, BOOTSTRAP).unwrap();
        assert!((sd() - sd()).abs() < f64::EPSILON);
    }
}
