//! Runs as kitt reads them: result sets, pairs, histories and noise profiles.

use std::{collections::BTreeMap, path::PathBuf};

use kitt_action::{
    compare::{History, JobName, PastJob},
    measure::Validity,
    results::{
        Origin, Pair, Pairs, Provenance, ResultSet, RunFacts, RunRecord, RunStatus, ScenarioFacts,
        ScenarioRecord, Side,
    },
};

use crate::requests::{Logs, METRICS, Run};

/// Name of the only scenario.
pub const SCENARIO: &str = "chat";

/// The metrics of a run by name.
pub fn metrics(logs: &Logs) -> BTreeMap<String, f64> {
    let named = METRICS.iter().zip(logs);
    named
        .map(|(metric, log)| ((*metric).to_owned(), log.exp()))
        .collect()
}

/// A side of runs numbered from 1, each of so many requests.
pub fn side(runs: &[Logs], requests: usize, tokens_mean: f64) -> ResultSet {
    let records = runs.iter().map(|logs| record(logs, requests, tokens_mean));
    result_set(records)
}

/// A side of one run with the latencies of its requests.
pub fn side_with_requests(run: &Run, logs: &Logs, tokens_mean: f64) -> ResultSet {
    let mut record = record(logs, run.ttft.len(), tokens_mean);
    let quantities = [
        ("ttft_ms", &run.ttft),
        ("itl_ms", &run.tpot),
        ("tpot_ms", &run.tpot),
        ("e2e_ms", &run.e2e),
    ];
    for (name, values) in quantities {
        let values = values.iter().copied().map(Some).collect();
        record.per_request.insert(name.to_owned(), values);
    }
    result_set([record])
}

fn record(logs: &Logs, requests: usize, tokens_mean: f64) -> ScenarioRecord {
    ScenarioRecord {
        passed: true,
        errors: Vec::new(),
        metrics: metrics(logs),
        samples: BTreeMap::new(),
        sent: Some(requests as u64),
        ok: Some(requests as u64),
        output_tokens_mean: Some(tokens_mean),
        validity: Some(Validity::Valid),
        per_request: BTreeMap::new(),
        facts: ScenarioFacts::default(),
    }
}

/// A side of records, one run each.
pub fn result_set(records: impl IntoIterator<Item = ScenarioRecord>) -> ResultSet {
    let run = |(number, record)| RunRecord {
        number,
        scenarios: BTreeMap::from([(SCENARIO.to_owned(), record)]),
    };
    ResultSet {
        origin: Origin::Own,
        path: PathBuf::new(),
        status: RunStatus::Complete,
        suite: "lab".to_owned(),
        engine: "simulated".to_owned(),
        model: "simulated".to_owned(),
        timestamp: None,
        total_time_s: None,
        provenance: Provenance::default(),
        fingerprint: None,
        runs: (1..).zip(records).map(run).collect(),
        facts: RunFacts::default(),
    }
}

/// So many pairs of at most `planned`: run n with run n, in the order B C C B.
pub fn pairs(count: usize, planned: usize) -> Pairs {
    let number = |count: usize| u32::try_from(count).expect("few pairs");
    let mut pairs = Pairs::new(number(planned));
    pairs.pairs.extend((1..=number(count)).map(|number| Pair {
        baseline: number,
        current: number,
        first: if number % 2 == 1 {
            Side::Baseline
        } else {
            Side::Current
        },
        void: None,
    }));
    pairs
}

/// Slots of the two runs of a pair, from 0: B C C B B C C B …
pub const fn slots(pair: usize) -> (usize, usize) {
    if pair.is_multiple_of(2) {
        (2 * pair, 2 * pair + 1)
    } else {
        (2 * pair + 1, 2 * pair)
    }
}

/// A history of jobs with one value each.
pub fn history(jobs: &[Logs]) -> History {
    let job = |logs: &Logs| PastJob {
        name: JobName::default(),
        values: BTreeMap::from([(SCENARIO.to_owned(), metrics(logs))]),
    };
    History {
        jobs: jobs.iter().map(job).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_b_c_c_b_and_balances_a_linear_drift() {
        let order: Vec<(usize, usize)> = (0..4).map(slots).collect();
        assert_eq!(order, [(0, 1), (3, 2), (4, 5), (7, 6)]);
        let sum =
            |pick: fn((usize, usize)) -> usize| (0..12).map(|n| pick(slots(n))).sum::<usize>();
        assert_eq!(sum(|slots| slots.0), sum(|slots| slots.1));
        assert!(pairs(12, 12).interleaved());
    }
}
