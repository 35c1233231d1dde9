//! Results to a line of the history, and a line back to results as far as a comparison needs them.

use std::collections::BTreeMap;

use super::{level, obstacles};
use crate::{
    measure::Validity,
    results::{
        Fingerprint, Job, JobScenario, JobValue, Pairs, Provenance, ResultSet, RunFacts, RunRecord,
        ScenarioFacts, ScenarioRecord,
    },
};

/// Sums a job up: one value a scenario and metric, the geometric mean over its runs. Of a job that
/// was measured in pairs only the runs of counting pairs: what was run to warm up is no measurement.
pub fn sum_up(set: &ResultSet, pairs: Option<&Pairs>) -> Job {
    let counting: Option<Vec<u32>> = pairs
        .map(|pairs| pairs.counting().map(|(_, current)| current).collect())
        .filter(|counting: &Vec<u32>| !counting.is_empty());
    let counts = |run: &&RunRecord| {
        let listed = |counting: &Vec<u32>| counting.contains(&run.number);
        counting.as_ref().is_none_or(listed)
    };
    let mut records: BTreeMap<&str, Vec<&ScenarioRecord>> = BTreeMap::new();
    for run in set.runs.iter().filter(counts) {
        for (name, record) in &run.scenarios {
            records.entry(name).or_default().push(record);
        }
    }
    let conditions = set.fingerprint.clone().unwrap_or_default();
    Job {
        schema_version: Job::VERSION,
        timestamp: set.timestamp.clone().unwrap_or_default(),
        commit: set.provenance.commit.clone(),
        git_ref: set.provenance.git_ref.clone(),
        event: set.provenance.event.clone(),
        status: set.status,
        fingerprint: conditions.digest(),
        hw_key: conditions.hw_key(),
        soft: conditions.soft,
        scenarios: records
            .into_iter()
            .map(|(name, records)| (name.to_owned(), scenario(&records)))
            .collect(),
    }
}

fn scenario(records: &[&ScenarioRecord]) -> JobScenario {
    let lengths: Option<Vec<f64>> = records
        .iter()
        .map(|record| record.output_tokens_mean)
        .collect();
    JobScenario {
        validity: validity(records),
        sent: average(records, |record| record.sent),
        ok: average(records, |record| record.ok),
        output_tokens_mean: lengths.and_then(|lengths| super::statistic::mean(&lengths)),
        metrics: metrics(records),
    }
}

/// The worst of all runs: void before unsettled before valid.
fn validity(records: &[&ScenarioRecord]) -> Option<Validity> {
    let void = records.iter().find(|record| obstacles::is_void(record));
    let unsettled = || {
        let unsettled = |record: &&&ScenarioRecord| record.validity == Some(Validity::Inconclusive);
        records.iter().find(unsettled)
    };
    let worst = void.or_else(unsettled).or_else(|| records.first());
    worst.and_then(|record| record.validity)
}

/// Whole requests a run; `None` when a run does not tell.
fn average(records: &[&ScenarioRecord], count: fn(&ScenarioRecord) -> Option<u64>) -> Option<u64> {
    let counts: Option<Vec<u64>> = records.iter().map(|record| count(record)).collect();
    let total = counts?.into_iter().fold(0, u64::saturating_add);
    total.checked_div(records.len() as u64)
}

/// Nothing of a scenario that failed in a run: what is left would be a selection.
fn metrics(records: &[&ScenarioRecord]) -> BTreeMap<String, JobValue> {
    if !records.iter().all(|record| record.passed) {
        return BTreeMap::new();
    }
    let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for record in records {
        for (name, value) in &record.metrics {
            values.entry(name).or_default().push(*value);
        }
    }
    let one = |(name, values): (&str, Vec<f64>)| {
        let runs = u32::try_from(values.len()).ok()?;
        let value = level(&values)?;
        Some((name.to_owned(), JobValue { value, runs }))
    };
    values.into_iter().filter_map(one).collect()
}

/// A past job as the baseline of `current`, when its line is all that is left. The digests of both
/// are equal, so their strict conditions are; there is one run, and no request of it is known.
pub fn stand_in(job: &Job, current: &ResultSet) -> ResultSet {
    let strict = current.fingerprint.clone().unwrap_or_default().strict;
    let scenarios = job.scenarios.iter();
    ResultSet {
        path: "history.jsonl".into(),
        status: job.status,
        timestamp: Some(job.timestamp.clone()),
        total_time_s: None,
        provenance: Provenance {
            commit: job.commit.clone(),
            git_ref: job.git_ref.clone(),
            event: job.event.clone(),
            ..provenance(&job.soft)
        },
        fingerprint: Some(Fingerprint {
            strict,
            soft: job.soft.clone(),
            ids: None,
        }),
        runs: vec![RunRecord {
            number: 1,
            scenarios: scenarios
                .map(|(name, scenario)| (name.clone(), record(scenario)))
                .collect(),
        }],
        facts: RunFacts::default(),
        origin: current.origin,
        suite: current.suite.clone(),
        engine: current.engine.clone(),
        model: current.model.clone(),
    }
}

/// What a fingerprint repeats of the provenance.
fn provenance(soft: &BTreeMap<String, String>) -> Provenance {
    let fact = |key: &str| soft.get(key).cloned();
    Provenance {
        kitt_version: fact("client.version"),
        image: fact("engine.image"),
        image_digest: fact("engine.digest"),
        engine_version: fact("engine.version"),
        engine_args: fact("engine.args").into_iter().collect(),
        tokenizer: fact("tokenizer"),
        ..Provenance::default()
    }
}

fn record(scenario: &JobScenario) -> ScenarioRecord {
    let values = scenario.metrics.iter();
    ScenarioRecord {
        passed: true,
        errors: Vec::new(),
        metrics: values
            .map(|(name, value)| (name.clone(), value.value))
            .collect(),
        samples: BTreeMap::new(),
        sent: scenario.sent,
        ok: scenario.ok,
        output_tokens_mean: scenario.output_tokens_mean,
        validity: scenario.validity,
        per_request: BTreeMap::new(),
        facts: ScenarioFacts::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Origin, Pair, RunStatus, Side};

    fn one(value: f64, validity: Validity) -> ScenarioRecord {
        ScenarioRecord {
            sent: Some(25),
            ok: Some(24),
            validity: Some(validity),
            ..record(&JobScenario {
                output_tokens_mean: Some(value),
                metrics: [("m".to_owned(), JobValue { value, runs: 1 })].into(),
                ..JobScenario::default()
            })
        }
    }

    fn set(records: Vec<ScenarioRecord>) -> ResultSet {
        ResultSet {
            origin: Origin::Own,
            path: "metrics.json".into(),
            status: RunStatus::Complete,
            suite: "quick".into(),
            engine: "sim".into(),
            model: "m".into(),
            timestamp: Some("2026-01-15T10:00:00Z".into()),
            total_time_s: None,
            provenance: Provenance {
                commit: Some("abc".into()),
                event: Some("push".into()),
                ..Provenance::default()
            },
            fingerprint: Some(Fingerprint {
                strict: [("model".to_owned(), "m".to_owned())].into(),
                soft: [("engine.version".to_owned(), "7".to_owned())].into(),
                ids: None,
            }),
            runs: (1..)
                .zip(records)
                .map(|(number, record)| RunRecord {
                    number,
                    scenarios: [("s".to_owned(), record)].into(),
                })
                .collect(),
            facts: RunFacts::default(),
        }
    }

    /// The geometric mean of 1, 2 and 4 is 2.
    #[test]
    fn the_runs_of_a_job_count_once() {
        let records = [1.0, 2.0, 4.0].map(|value| one(value, Validity::Valid));
        let job = sum_up(&set(records.into()), None);
        let scenario = &job.scenarios["s"];
        assert!((scenario.metrics["m"].value - 2.0).abs() < 1e-12);
        assert_eq!(scenario.metrics["m"].runs, 3);
        assert_eq!((scenario.sent, scenario.ok), (Some(25), Some(24)));
        assert_eq!(scenario.validity, Some(Validity::Valid));
        assert_eq!(
            (job.commit.as_deref(), job.event.as_deref()),
            (Some("abc"), Some("push"))
        );
    }

    #[test]
    fn runs_outside_the_counting_pairs_are_no_part_of_a_job() {
        let records = [9.0, 2.0, 8.0, 2.0].map(|value| one(value, Validity::Valid));
        let pair = |current, void: Option<&str>| Pair {
            baseline: current,
            current,
            first: Side::Baseline,
            void: void.map(str::to_owned),
        };
        let pairs = Pairs {
            pairs: vec![pair(2, None), pair(3, Some("died")), pair(4, None)],
            ..Pairs::new(12)
        };
        let job = sum_up(&set(records.into()), Some(&pairs));
        assert_eq!(job.scenarios["s"].metrics["m"].runs, 2);
        assert!((job.scenarios["s"].metrics["m"].value - 2.0).abs() < 1e-12);
    }

    #[test]
    fn the_worst_run_tells_whether_a_scenario_counts() {
        use Validity::{GpuInvalid, Inconclusive, Valid};
        for (runs, worst, valid) in [
            (vec![Valid, Valid], Valid, true),
            (vec![Valid, Inconclusive], Inconclusive, false),
            (vec![Inconclusive, GpuInvalid, Valid], GpuInvalid, false),
        ] {
            let records = runs.into_iter().map(|validity| one(1.0, validity));
            let job = sum_up(&set(records.collect()), None);
            assert_eq!(job.scenarios["s"].validity, Some(worst));
            assert_eq!(job.scenarios["s"].is_valid(), valid);
        }
    }

    #[test]
    fn a_run_that_failed_takes_its_scenario_with_it() {
        let failed = ScenarioRecord {
            passed: false,
            metrics: BTreeMap::new(),
            ..one(1.0, Validity::Valid)
        };
        let job = sum_up(&set(vec![one(1.0, Validity::Valid), failed]), None);
        assert!(job.scenarios["s"].metrics.is_empty());
    }

    #[test]
    fn a_line_stands_in_for_its_results() {
        let results = set(vec![one(2.0, Validity::Valid)]);
        let job = sum_up(&results, None);
        let back = stand_in(&job, &results);
        assert_eq!(back.values("s", "m"), [2.0]);
        assert_eq!(back.fingerprint, results.fingerprint);
        assert_eq!(back.provenance.engine_version.as_deref(), Some("7"));
        assert_eq!(sum_up(&back, None), job);
    }
}
