//! Two sides as kitt reads them, with the latencies of every request.

use std::{collections::BTreeMap, hint::black_box, path::PathBuf};

use kitt_action::{
    compare::{CompareOptions, History, JobName, PastJob, compare},
    measure::Validity,
    results::{
        Origin, Pair, Pairs, Provenance, ResultSet, RunFacts, RunRecord, RunStatus, ScenarioFacts,
        ScenarioRecord, Side,
    },
    verdict::{GatePolicy, Verdict, answer, decide, parse},
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Runs of a side.
pub(crate) const RUNS: u32 = 12;
/// Samples of a metric in one run.
pub(crate) const SAMPLES: usize = 10_000;
const METRICS: [&str; 12] = [
    "output_tps",
    "request_rps",
    "ttft_ms.mean",
    "ttft_ms.p50",
    "ttft_ms.p90",
    "ttft_ms.p99",
    "itl_ms.mean",
    "tpot_ms.p50",
    "tpot_ms.p90",
    "e2e_ms.mean",
    "e2e_ms.p50",
    "e2e_ms.p90",
];
const QUANTITIES: [(&str, f64, f64); 4] = [
    ("ttft_ms", 150.0, 0.35),
    ("itl_ms", 20.0, 0.10),
    ("tpot_ms", 20.0, 0.10),
    ("e2e_ms", 2700.0, 0.30),
];

/// Both sides, the past jobs and the documents.
pub(crate) struct Sides {
    baseline: ResultSet,
    current: ResultSet,
    history: History,
    documents: Vec<Vec<u8>>,
    policy: GatePolicy,
}

impl Sides {
    /// Sides that do not differ.
    pub(crate) fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(12);
        let (baseline, current) = (side(&mut rng), side(&mut rng));
        let past = baseline
            .runs
            .iter()
            .filter_map(|run| run.scenarios.get("chat"));
        let job = |record: &ScenarioRecord| PastJob {
            name: JobName::default(),
            values: BTreeMap::from([("chat".to_owned(), record.metrics.clone())]),
        };
        let history = History {
            jobs: past.map(job).collect(),
        };
        let documents = METRICS
            .iter()
            .map(|name| document(&baseline, &current, name))
            .collect();
        let policy = GatePolicy {
            gating: METRICS.iter().map(|name| (*name).to_owned()).collect(),
            ..GatePolicy::default()
        };
        Self {
            baseline,
            current,
            history,
            documents,
            policy,
        }
    }

    fn decide(&self, options: &CompareOptions) {
        let comparison =
            compare(Some(&self.baseline), &self.current, options).expect("both sides have runs");
        let decision = decide(
            &comparison,
            &self.current,
            Some(&self.baseline),
            &self.policy,
        )
        .expect("the levels are the default");
        assert_ne!(decision.verdict, Verdict::Regressed);
        black_box(decision);
    }

    /// As `kitt ci run --baseline ab` decides.
    pub(crate) fn decide_pairs(&self) {
        let mut pairs = Pairs::new(RUNS);
        pairs.pairs.extend((1..=RUNS).map(|number| Pair {
            baseline: number,
            current: number,
            first: if number % 2 == 1 {
                Side::Baseline
            } else {
                Side::Current
            },
            void: None,
        }));
        self.decide(&CompareOptions {
            pairs: Some(pairs),
            ..CompareOptions::default()
        });
    }

    /// Against past jobs.
    pub(crate) fn decide_history(&self) {
        let history = Some(self.history.clone());
        self.decide(&CompareOptions {
            history,
            ..CompareOptions::default()
        });
    }

    /// One job against one: the requests are resampled.
    pub(crate) fn decide_single(&self) {
        self.decide(&CompareOptions::default());
    }

    /// As `kitt compare --scenario` decides, reading included.
    pub(crate) fn documents(&self) {
        for document in &self.documents {
            let document = parse(document).expect("a document of ours");
            black_box(answer(&document).expect("the levels are the default"));
        }
    }

    fn samples(&self) -> impl Iterator<Item = &Vec<Option<f64>>> {
        let runs = self.baseline.runs.iter().chain(&self.current.runs);
        let records = runs.flat_map(|run| run.scenarios.values());
        // Three metrics for each quantity: twelve lists a run.
        records.flat_map(|record| record.per_request.values().cycle().take(METRICS.len()))
    }

    /// Reads every sample of every metric once.
    pub(crate) fn one_pass(&self) {
        for values in self.samples() {
            black_box(values.iter().flatten().sum::<f64>());
        }
    }

    /// Sorts the samples of every metric of every run.
    pub(crate) fn sort_everything(&self) {
        for values in self.samples() {
            let mut values: Vec<f64> = values.iter().flatten().copied().collect();
            values.sort_by(f64::total_cmp);
            black_box(values);
        }
    }
}

fn side(rng: &mut ChaCha8Rng) -> ResultSet {
    let run = |number| RunRecord {
        number,
        scenarios: BTreeMap::from([("chat".to_owned(), record(rng))]),
    };
    ResultSet {
        origin: Origin::Own,
        path: PathBuf::new(),
        status: RunStatus::Complete,
        suite: "bench".to_owned(),
        engine: "simulated".to_owned(),
        model: "simulated".to_owned(),
        timestamp: None,
        total_time_s: None,
        provenance: Provenance::default(),
        fingerprint: None,
        runs: (1..=RUNS).map(run).collect(),
        facts: RunFacts::default(),
    }
}

fn record(rng: &mut ChaCha8Rng) -> ScenarioRecord {
    let normal = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };
    let shift = 0.005 * normal(rng);
    let mut values = |(name, level, spread): (&str, f64, f64)| {
        let mut value = || Some(level * (shift + spread * normal(rng)).exp());
        (
            name.to_owned(),
            (0..SAMPLES).map(|_| value()).collect::<Vec<_>>(),
        )
    };
    let per_request: BTreeMap<String, Vec<Option<f64>>> =
        QUANTITIES.into_iter().map(&mut values).collect();
    let metrics = METRICS
        .iter()
        .map(|name| ((*name).to_owned(), metric(name, &per_request)));
    ScenarioRecord {
        passed: true,
        errors: Vec::new(),
        metrics: metrics.collect(),
        samples: BTreeMap::new(),
        sent: Some(SAMPLES as u64),
        ok: Some(SAMPLES as u64),
        output_tokens_mean: Some(128.0),
        validity: Some(Validity::Valid),
        per_request,
        facts: ScenarioFacts::default(),
    }
}

fn metric(name: &str, per_request: &BTreeMap<String, Vec<Option<f64>>>) -> f64 {
    let (quantity, statistic) = name.split_once('.').unwrap_or(("e2e_ms", "rate"));
    let values = per_request.get(quantity).expect("a quantity of this bench");
    let mut values: Vec<f64> = values.iter().flatten().copied().collect();
    values.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        *values
            .get(values.len() * percent / 100)
            .expect("it is below the end")
    };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    match statistic {
        "rate" => 32_000.0 / mean,
        "p50" => at(50),
        "p90" => at(90),
        "p99" => at(99),
        _ => mean,
    }
}

/// A scenario document of pairs with the samples that a metric is made of.
fn document(baseline: &ResultSet, current: &ResultSet, name: &str) -> Vec<u8> {
    let (quantity, statistic) = name.split_once('.').unwrap_or(("e2e_ms", "mean"));
    let runs = |side: &ResultSet| -> Vec<Vec<Option<f64>>> {
        let records = side.runs.iter().filter_map(|run| run.scenarios.get("chat"));
        records
            .filter_map(|record| record.per_request.get(quantity).cloned())
            .collect()
    };
    let order: Vec<&str> = (0..2 * RUNS)
        .map(|slot| if matches!(slot % 4, 0 | 3) { "B" } else { "C" })
        .collect();
    let document = serde_json::json!({
        "schema": "kitt-action/scenario/1",
        "design": "paired",
        "metric": {"name": quantity, "statistic": statistic, "better": "lower", "family_size": 12},
        "noise": {"log_sd_pair": 0.01, "df": 20},
        "order": order,
        "baseline": runs(baseline),
        "current": runs(current),
    });
    document.to_string().into_bytes()
}
