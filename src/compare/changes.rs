//! Two result sets to one [`Change`] per scenario and metric.
//!
//! In: results of one or several runs a side. Out: a [`Comparison`]; the procedure is
//! `research/regression-statistics.md` §6.

use std::collections::BTreeSet;

use super::{
    Bootstrap, Change, CompareError, Comparison, Estimate, Obstacle, differences,
    estimate::{declared, exact, is_exact, logs, welch},
    obstacles::{self, needed_requests},
    proportion,
    single::{run_cv, within},
};
use crate::{
    metric::{Metric, Unit, describe},
    results::ResultSet,
};

/// What a comparison may assume.
#[derive(Debug, Clone, PartialEq)]
pub struct CompareOptions {
    /// Declared coefficient of variation from run to run (0.02 = 2 %), for one run against one;
    /// `None`: 5 %.
    pub run_cv: Option<f64>,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Resamples of the bootstrap.
    pub bootstrap_draws: usize,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            run_cv: None,
            seed: 0,
            bootstrap_draws: 1000,
        }
    }
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
    let changes = names(baseline, current)
        .into_iter()
        .map(|(scenario, metric)| change(baseline, current, &scenario, &metric, options))
        .collect();
    let conditions = |find: fn(&ResultSet, &ResultSet) -> Vec<super::Difference>| {
        baseline.map_or_else(Vec::new, |baseline| find(baseline, current))
    };
    Ok(Comparison {
        changes,
        fingerprint_differences: conditions(differences::strict),
        soft_differences: conditions(differences::soft),
        runs: (
            baseline.map_or(0, |baseline| baseline.runs.len()),
            current.runs.len(),
        ),
    })
}

/// One value for several runs: the geometric mean, or the arithmetic one where a value has no
/// logarithm (an error rate of zero). `None` without a finite value.
pub fn level(values: &[f64]) -> Option<f64> {
    match logs(values) {
        Some(logs) => super::statistic::mean(&logs).map(f64::exp),
        None => super::statistic::mean(values).filter(|mean| mean.is_finite()),
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
    let before = baseline.map_or_else(Vec::new, |side| side.values(scenario, name));
    let after = current.values(scenario, name);
    let sides: Vec<&ResultSet> = baseline.into_iter().chain([current]).collect();
    let mut change = Change {
        scenario: scenario.to_owned(),
        baseline: level(&before),
        current: level(&after),
        requests: obstacles::requests(&sides, scenario, &metric),
        estimate: None,
        obstacle: None,
        counts: None,
        notes: Vec::new(),
        metric,
    };
    if let Some(baseline) = baseline
        && !before.is_empty()
        && !after.is_empty()
    {
        fill(&mut change, baseline, current, (&before, &after), options);
    }
    change
}

/// Adds the estimate, the counts or the obstacle to a change that has both values.
fn fill(
    change: &mut Change,
    baseline: &ResultSet,
    current: &ResultSet,
    values: (&[f64], &[f64]),
    options: &CompareOptions,
) {
    let scenario = change.scenario.clone();
    let proportion = change.metric.unit == Unit::Share;
    let logs = logs(values.0).zip(logs(values.1));
    if !proportion && logs.is_none() {
        change.obstacle = Some(Obstacle::NotPositive);
        return;
    }
    change.obstacle = obstacles::obstacle(baseline, current, &scenario, &change.metric);
    if change.obstacle.is_some() {
        return;
    }
    if proportion {
        let counts = |side| proportion::counts(side, &scenario, &change.metric.name);
        change.counts = counts(baseline).zip(counts(current));
        return;
    }
    if is_exact(&change.metric.name) {
        change.estimate = exact(values.0, values.1);
        if change.estimate.is_some() {
            return;
        }
        change.notes.push(
            "it does not repeat from run to run as a deterministic quantity should, so it was \
             judged as a noisy one"
                .to_owned(),
        );
    }
    if let Some((before, after)) = logs {
        replicate(change, baseline, current, (&before, &after), options);
    }
}

/// Welch over runs where both sides have several; otherwise one against one.
fn replicate(
    change: &mut Change,
    baseline: &ResultSet,
    current: &ResultSet,
    logs: (&[f64], &[f64]),
    options: &CompareOptions,
) {
    let needed = needed_requests(change.metric.statistic);
    let few = Some(Obstacle::TooFewRequests { needed });
    if let Some(estimate) = welch(logs.0, logs.1) {
        if obstacles::tails_differ(&[baseline, current], &change.scenario, &change.metric) {
            change.obstacle = few;
        } else {
            change.estimate = Some(estimate);
        }
    } else if change.requests.is_some_and(|requests| requests < needed) {
        change.obstacle = few;
    } else {
        change.estimate = provisional(change, baseline, current, logs, options);
    }
}

fn provisional(
    change: &mut Change,
    baseline: &ResultSet,
    current: &ResultSet,
    logs: (&[f64], &[f64]),
    options: &CompareOptions,
) -> Option<Estimate> {
    let cv = run_cv(change.metric.statistic, options.run_cv);
    let bootstrap = Bootstrap {
        draws: options.bootstrap_draws,
        seed: options.seed,
    };
    let (within, note) = within(
        baseline,
        current,
        &change.scenario,
        &change.metric,
        change.requests,
        bootstrap,
    );
    change
        .notes
        .push(provisional_note(&change.metric, cv, options));
    change.notes.extend(note);
    declared(logs.0, logs.1, cv, within)
}

fn provisional_note(metric: &Metric, cv: f64, options: &CompareOptions) -> String {
    let source = match options.run_cv {
        Some(_) => "as declared",
        None => "assumed, none was declared",
    };
    let percent = (cv * 1000.0).round() / 10.0;
    let label = &metric.label;
    format!("provisional: from run to run {label} varies by {percent} % ({source})")
}
