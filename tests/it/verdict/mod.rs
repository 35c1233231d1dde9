//! Result sets to decisions, through the library: every verdict, every obstacle, the error rates
//! of the whole procedure on simulated runs, and no input that breaks it.

mod anything;
mod document;
mod gate;
mod items;
mod kitt;
mod obstacles;
mod rates;
mod single;
mod verdicts;

use std::collections::BTreeMap;

use kitt_action::{
    compare::{CompareOptions, compare},
    measure::Validity,
    results::{
        Fingerprint, Origin, Pair, Pairs, ResultSet, RunRecord, RunStatus, ScenarioRecord, Side,
    },
    verdict::{Decision, GatePolicy, Judged, decide},
};

fn record(metrics: &[(&str, f64)]) -> ScenarioRecord {
    ScenarioRecord {
        passed: true,
        errors: Vec::new(),
        metrics: metrics
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        samples: BTreeMap::new(),
        sent: Some(40),
        ok: Some(40),
        output_tokens_mean: Some(64.0),
        validity: Some(Validity::Valid),
        per_request: BTreeMap::new(),
        facts: kitt_action::results::ScenarioFacts::default(),
    }
}

fn set(runs: Vec<Vec<(&str, ScenarioRecord)>>) -> ResultSet {
    let strict = [("gpu.name", "H100"), ("workload", "abc")];
    ResultSet {
        origin: Origin::Own,
        path: "metrics.json".into(),
        status: RunStatus::Complete,
        suite: "quick".into(),
        engine: "sim".into(),
        model: "m".into(),
        timestamp: None,
        total_time_s: None,
        provenance: kitt_action::results::Provenance::default(),
        fingerprint: Some(Fingerprint {
            strict: strict
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            ..Fingerprint::default()
        }),
        runs: (1..)
            .zip(runs)
            .map(|(number, scenarios)| RunRecord {
                number,
                scenarios: scenarios
                    .into_iter()
                    .map(|(name, record)| (name.to_owned(), record))
                    .collect(),
            })
            .collect(),
        facts: kitt_action::results::RunFacts::default(),
    }
}

/// Runs of one scenario `s` with one metric.
fn runs(metric: &str, values: &[f64]) -> ResultSet {
    set(values
        .iter()
        .map(|value| vec![("s", record(&[(metric, *value)]))])
        .collect())
}

fn edit(mut side: ResultSet, change: impl Fn(&mut ScenarioRecord)) -> ResultSet {
    for run in &mut side.runs {
        run.scenarios.values_mut().for_each(&change);
    }
    side
}

/// The nth run of one side with the nth of the other, in the order B C C B.
fn pairs(count: usize) -> Pairs {
    let pair = |number: u32| Pair {
        baseline: number,
        current: number,
        first: if number % 2 == 1 {
            Side::Baseline
        } else {
            Side::Current
        },
        void: None,
    };
    let count = u32::try_from(count).unwrap();
    Pairs {
        pairs: (1..=count).map(pair).collect(),
        ..Pairs::new(count)
    }
}

/// Three runs a side and more are pairs of one job; fewer are one job against one.
fn options(
    baseline: Option<&ResultSet>,
    current: &ResultSet,
    policy: &GatePolicy,
) -> CompareOptions {
    let runs = baseline.map_or(0, |side| side.runs.len().min(current.runs.len()));
    CompareOptions {
        run_cv: policy.run_cv,
        bootstrap_draws: 200,
        pairs: (runs >= 3).then(|| pairs(runs)),
        ..CompareOptions::default()
    }
}

fn decided(baseline: Option<&ResultSet>, current: &ResultSet, policy: &GatePolicy) -> Decision {
    let comparison = compare(baseline, current, &options(baseline, current, policy)).unwrap();
    decide(&comparison, current, baseline, policy).unwrap()
}

fn judged(baseline: &ResultSet, current: &ResultSet, metric: &str) -> Judged {
    let decision = decided(Some(baseline), current, &GatePolicy::default());
    let found = decision
        .metrics
        .into_iter()
        .find(|judged| judged.change.metric.name == metric);
    found.unwrap_or_else(|| panic!("{metric} was not judged"))
}

const STEADY: [f64; 4] = [10.0, 10.02, 9.98, 10.01];

fn times(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}
