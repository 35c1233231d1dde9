//! Two result sets to one [`Change`] per scenario and metric.
//!
//! In: results of one or several runs a side. Out: a [`Comparison`]; the procedure is
//! `research/regression-statistics.md` §6.

use std::collections::BTreeSet;

use super::{
    Bootstrap, Change, CompareError, Comparison, Estimate, FEWEST_JOBS, History, Noise,
    NoiseProfile, Obstacle, PairedLogs, differences,
    estimate::{declared, exact, is_exact, logs, range},
    history, items,
    obstacles::{self, Records, needed_requests, records},
    proportion,
    single::{run_cv, within},
    statistic::{deviation, mean},
};
use crate::{
    metric::{Unit, describe},
    results::{Pairs, ResultSet, ScenarioRecord},
};

/// Fewest pairs that are ever judged.
pub const FEWEST_PAIRS: usize = 3;

/// What a comparison may assume, and what it has beside the two sides.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareOptions {
    /// Declared coefficient of variation from job to job (0.02 = 2 %), for one job against one;
    /// `None`: 5 %.
    pub run_cv: Option<f64>,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub bootstrap_draws: usize,
    /// How much pairs of this runner class scatter, as learned before.
    pub noise: NoiseProfile,
    /// Which runs of the two sides are pairs, when they were measured in turn in one job.
    pub pairs: Option<Pairs>,
    /// The comparable jobs before this one.
    pub history: Option<History>,
}

impl CompareOptions {
    /// How to resample.
    pub(super) const fn bootstrap(&self) -> Bootstrap {
        Bootstrap {
            draws: self.bootstrap_draws,
            seed: self.seed,
        }
    }
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            run_cv: None,
            seed: 0,
            bootstrap_draws: 1000,
            noise: NoiseProfile::default(),
            pairs: None,
            history: None,
        }
    }
}

/// The two sides of one scenario as far as they are compared.
struct Sides<'a> {
    baseline: Records<'a>,
    current: Records<'a>,
    /// Pairs that one side's run spoiled; 0 without pairs.
    spoiled: usize,
}

impl<'a> Sides<'a> {
    /// All runs, or those of the pairs that count: the nth record of either side is the nth pair.
    fn of(
        baseline: Option<&'a ResultSet>,
        current: &'a ResultSet,
        scenario: &str,
        pairs: Option<&Pairs>,
    ) -> Self {
        let (Some(baseline), Some(pairs)) = (baseline, pairs) else {
            let of = |side: &'a ResultSet| records(side, scenario);
            return Self {
                baseline: baseline.map_or_else(Vec::new, of),
                current: of(current),
                spoiled: 0,
            };
        };
        let mut sides = Self {
            baseline: Vec::new(),
            current: Vec::new(),
            spoiled: 0,
        };
        for (before, after) in pairs.counting() {
            let run = |side: &'a ResultSet, number| {
                let run = side.runs.iter().find(|run| run.number == number)?;
                run.scenarios.get(scenario).filter(|record| record.passed)
            };
            let (before, after) = (run(baseline, before), run(current, after));
            let usable = |record: &&ScenarioRecord| !obstacles::is_void(record);
            let pair = before.filter(usable).zip(after.filter(usable));
            if let Some((before, after)) = pair {
                sides.baseline.push(before);
                sides.current.push(after);
            } else {
                sides.spoiled += 1;
            }
        }
        sides
    }

    /// The pairs in which both sides have the metric, as logs of their ratios. `None` when a
    /// value has no logarithm.
    fn log_ratios(&self, metric: &str) -> Option<Vec<f64>> {
        let value = |record: &&ScenarioRecord| record.metrics.get(metric).copied();
        let pairs = self.baseline.iter().zip(&self.current);
        let (before, after): (Vec<f64>, Vec<f64>) = pairs
            .filter_map(|(before, after)| value(before).zip(value(after)))
            .unzip();
        let (before, after) = (logs(&before)?, logs(&after)?);
        Some(after.iter().zip(before).map(|(c, b)| c - b).collect())
    }

    /// Whether so many pairs are spoiled that those that are left may be a selection.
    fn mostly_spoiled(&self) -> bool {
        let left = self.baseline.len();
        self.spoiled > 0 && (left < FEWEST_PAIRS || 2 * self.spoiled > left)
    }
}

fn values(records: &[&ScenarioRecord], metric: &str) -> Vec<f64> {
    let value = |record: &&ScenarioRecord| record.metrics.get(metric).copied();
    records.iter().filter_map(value).collect()
}

/// Compares every metric of every scenario that either side has. Results written by different
/// programs are compared over the names both have: the rest is not missing, it never was there.
///
/// # Errors
/// [`CompareError::NoRuns`] when a side holds no run.
pub fn compare(
    baseline: Option<&ResultSet>,
    current: &ResultSet,
    options: &CompareOptions,
) -> Result<Comparison, CompareError> {
    if current.runs.is_empty() {
        return Err(CompareError::NoRuns { side: "current" });
    }
    if baseline.is_some_and(|baseline| baseline.runs.is_empty()) {
        return Err(CompareError::NoRuns { side: "baseline" });
    }
    let mut changes: Vec<Change> = names(baseline, current)
        .into_iter()
        .map(|(scenario, metric)| change(baseline, current, &scenario, &metric, options))
        .collect();
    let items = items::changes(baseline, current, options);
    // What is known item by item tells more than the same number by itself.
    let place = |change: &Change| (change.scenario.clone(), change.metric.name.clone());
    changes.retain(|change| items.iter().all(|by_item| place(by_item) != place(change)));
    changes.extend(items);
    changes.sort_by_cached_key(place);
    let conditions = |find: fn(&ResultSet, &ResultSet) -> Vec<super::Difference>| {
        baseline.map_or_else(Vec::new, |baseline| find(baseline, current))
    };
    let (mut strict, mut soft) = (
        conditions(differences::strict),
        conditions(differences::soft),
    );
    let known = |side: &ResultSet| side.fingerprint.is_some();
    if options.pairs.is_some() && known(current) && baseline.is_some_and(known) {
        differences::model_under_test(&mut strict, &mut soft);
    }
    Ok(Comparison {
        changes,
        fingerprint_differences: strict,
        soft_differences: soft,
        runs: (
            baseline.map_or(0, |baseline| baseline.runs.len()),
            current.runs.len(),
        ),
        planned_pairs: options.pairs.as_ref().map(|pairs| pairs.planned),
        stopped: options
            .pairs
            .as_ref()
            .and_then(|pairs| pairs.stopped.clone()),
    })
}

/// One value for several runs: the geometric mean, or the arithmetic one where a value has no
/// logarithm (an error rate of zero). `None` without a finite value.
pub fn level(values: &[f64]) -> Option<f64> {
    match logs(values) {
        Some(logs) => mean(&logs).map(f64::exp),
        None => mean(values).filter(|mean| mean.is_finite()),
    }
}

fn names(baseline: Option<&ResultSet>, current: &ResultSet) -> BTreeSet<(String, String)> {
    let of = |side: &ResultSet| -> BTreeSet<(String, String)> {
        let scenarios = side.runs.iter().flat_map(|run| &run.scenarios);
        scenarios
            .flat_map(|(scenario, record)| {
                let name = |metric: &String| (scenario.clone(), metric.clone());
                record.metrics.keys().map(name)
            })
            .collect()
    };
    let mine = of(current);
    match baseline {
        None => mine,
        Some(baseline) if baseline.origin == current.origin => &of(baseline) | &mine,
        Some(baseline) => &of(baseline) & &mine,
    }
}

fn change(
    baseline: Option<&ResultSet>,
    current: &ResultSet,
    scenario: &str,
    name: &str,
    options: &CompareOptions,
) -> Change {
    let metric = describe(name);
    let sides = Sides::of(baseline, current, scenario, options.pairs.as_ref());
    let before = values(&sides.baseline, name);
    let after = values(&sides.current, name);
    let requests = obstacles::requests(&[&sides.baseline, &sides.current], &metric);
    let mut change = Change {
        baseline: level(&before),
        current: level(&after),
        requests,
        ..Change::new(scenario, metric)
    };
    if !before.is_empty() && !after.is_empty() {
        fill(&mut change, &sides, (&before, &after), options);
    } else if sides.spoiled > 0 {
        change.obstacle = Some(Obstacle::Invalid);
    } else if baseline.is_some() && options.pairs.as_ref().is_some_and(Pairs::is_empty) {
        let (have, needed) = (0, FEWEST_PAIRS);
        change.obstacle = Some(Obstacle::TooFewPairs { have, needed });
    }
    change
}

/// Adds the estimate, the counts, the pairs or the obstacle to a change that has both values.
fn fill(
    change: &mut Change,
    sides: &Sides<'_>,
    values: (&[f64], &[f64]),
    options: &CompareOptions,
) {
    let proportion = change.metric.unit == Unit::Share;
    let logs = logs(values.0).zip(logs(values.1));
    if !proportion && logs.is_none() {
        change.obstacle = Some(Obstacle::NotPositive);
        return;
    }
    change.obstacle = obstacle(change, sides, options);
    if change.obstacle.is_some() {
        return;
    }
    if sides.spoiled > 0 {
        let (spoiled, all) = (sides.spoiled, sides.spoiled + sides.baseline.len());
        let note = format!("{spoiled} of {all} pairs are void: a run of theirs is not valid");
        change.notes.push(note);
    }
    if proportion {
        let counts = |side: &Records<'_>| proportion::counts(side, &change.metric.name);
        change.counts = counts(&sides.baseline).zip(counts(&sides.current));
        return;
    }
    if is_exact(&change.metric.name) {
        change.estimate = exact(values.0, values.1);
        if change.estimate.is_some() {
            let pairs = options.pairs.as_ref();
            change.range = pairs.and_then(|_| range(&sides.log_ratios(&change.metric.name)?));
            return;
        }
        change.notes.push(
            "it does not repeat from run to run as a deterministic quantity should, so it was \
             judged as a noisy one"
                .to_owned(),
        );
    }
    if options.pairs.is_some() {
        pair(change, sides, options);
    } else if let Some((before, after)) = logs {
        unpaired(change, sides, (&before, &after), options);
    }
}

fn obstacle(change: &Change, sides: &Sides<'_>, options: &CompareOptions) -> Option<Obstacle> {
    let failures = change.metric.name == "error_rate";
    if sides.mostly_spoiled() && !failures {
        return Some(Obstacle::Invalid);
    }
    let measured = obstacles::obstacle(&sides.baseline, &sides.current, &change.metric);
    let interleaved = options.pairs.as_ref().is_none_or(Pairs::interleaved);
    measured.or_else(|| (!interleaved && !failures).then_some(Obstacle::NotInterleaved))
}

/// Pairs in turn: what each shows, for the verdict to look at one after the other.
fn pair(change: &mut Change, sides: &Sides<'_>, options: &CompareOptions) {
    let metric = &change.metric;
    let Some(log_ratios) = sides.log_ratios(&metric.name) else {
        change.obstacle = Some(Obstacle::NotPositive);
        return;
    };
    let both: [&[&ScenarioRecord]; 2] = [&sides.baseline, &sides.current];
    if obstacles::tails_differ(&both, metric) {
        let needed = needed_requests(metric.statistic);
        change.obstacle = Some(Obstacle::TooFewRequests { needed });
    } else if log_ratios.len() < FEWEST_PAIRS {
        let (have, needed) = (log_ratios.len(), FEWEST_PAIRS);
        change.obstacle = Some(Obstacle::TooFewPairs { have, needed });
    }
    let pairs = PairedLogs {
        prior: options.noise.of(&change.scenario, &metric.name),
        log_ratios,
    };
    // The difference of two runs varies by the root of two more than one of them.
    change.spread = pairs.scatter().map(|scatter| scatter / 2.0_f64.sqrt());
    change.pairs = Some(pairs);
}

/// History where there is enough of it, otherwise one job against one.
fn unpaired(
    change: &mut Change,
    sides: &Sides<'_>,
    logs: (&[f64], &[f64]),
    options: &CompareOptions,
) {
    let needed = needed_requests(change.metric.statistic);
    if change.requests.is_some_and(|requests| requests < needed) {
        change.obstacle = Some(Obstacle::TooFewRequests { needed });
        return;
    }
    let history_of = |history: &History| history.level(&change.scenario, &change.metric.name);
    let past = options.history.as_ref().and_then(history_of);
    change.history = past.as_ref().map(|level| level.jobs.clone());
    change.estimate = past.as_ref().and_then(|level| history(&level.logs, logs.1));
    match past {
        Some(level) if change.estimate.is_some() => {
            change.spread = level.jobs.spread;
            // What is shown must be what the change is relative to.
            change.baseline = mean(&level.logs).map(f64::exp).or(change.baseline);
            let words = level.jobs.words();
            change.notes.push(format!("held against {words}"));
        }
        past => {
            let seen = [logs.0, logs.1].into_iter().filter_map(deviation);
            change.spread = seen.reduce(f64::max);
            if let Some(level) = &past {
                let words = level.jobs.words();
                change.notes.push(format!(
                    "the history has {words}; {FEWEST_JOBS} are needed to judge by it"
                ));
            }
            change.estimate = provisional(change, sides, logs, options);
        }
    }
}

fn provisional(
    change: &mut Change,
    sides: &Sides<'_>,
    logs: (&[f64], &[f64]),
    options: &CompareOptions,
) -> Option<Estimate> {
    let (cv, source) = job_cv(change, options);
    let (within, note) = within(
        &sides.baseline,
        &sides.current,
        &change.metric,
        change.requests,
        options.bootstrap(),
    );
    let (label, percent) = (&change.metric.label, (cv * 1000.0).round() / 10.0);
    change.notes.push(format!(
        "provisional: from job to job {label} varies by {percent} % ({source})"
    ));
    change.notes.extend(note);
    declared(logs.0, logs.1, cv, within)
}

/// The variation from job to job that one job against one is judged by, and where it comes from.
/// What was seen makes an assumed or declared figure larger and never smaller: pairs do not show
/// what all runs of a job share, and the few past jobs there are may all have met the same host.
fn job_cv(change: &Change, options: &CompareOptions) -> (f64, &'static str) {
    let assumed = match options.run_cv {
        Some(_) => "as declared",
        None => "assumed, none was declared",
    };
    let noise = options.noise.of(&change.scenario, &change.metric.name);
    let past = change.history.as_ref().and_then(|past| past.spread);
    let seen = [
        (
            noise.map(Noise::job_cv),
            "as pairs on this class of runners showed",
        ),
        (past, "as past jobs showed"),
    ];
    let declared = (run_cv(change.metric.statistic, options.run_cv), assumed);
    seen.into_iter()
        .filter_map(|(cv, source)| Some((cv?, source)))
        .fold(
            declared,
            |most, one| if one.0 > most.0 { one } else { most },
        )
}
