//! Decisions made by the stages themselves from invented measurements, for what a report owes
//! to their numbers and words.

use std::collections::BTreeMap;

use kitt_action::{
    compare::{CompareOptions, History, JobName, Noise, NoiseProfile, PastJob, compare},
    results::{Pair, Pairs, ResultSet, RunRecord, ScenarioRecord, Side as First},
    verdict::{GatePolicy, decide},
};

use super::{Sample, unchanged};

const SCENARIOS: [&str; 8] = [
    "batch_inference/c1",
    "batch_inference/c16",
    "batch_inference/c32",
    "batch_inference/c8",
    "latency",
    "long_context/8k",
    "open_loop/r2",
    "throughput",
];

/// What a side measures.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    pub scenarios: usize,
    pub runs: u32,
    pub requests: u64,
    /// Of all requests of a run.
    pub failed: u64,
    /// Right answers out of 500; 0: none were asked for.
    pub correct: f64,
    /// Whether energy is measured.
    pub energy: bool,
    /// How much slower decoding is: 1.08 is 8 %.
    pub decode: f64,
    /// How far apart two runs may be: 0.005 is half a per cent.
    pub noise: f64,
}

impl Side {
    pub const STEADY: Self = Self {
        scenarios: 8,
        runs: 4,
        requests: 200,
        failed: 0,
        correct: 0.0,
        energy: true,
        decode: 1.0,
        noise: 0.005,
    };

    /// `seed` tells the sides' wobbles apart.
    fn results(self, seed: u32) -> ResultSet {
        let mut set = unchanged().current;
        set.runs = (1..=self.runs)
            .map(|number| RunRecord {
                number,
                scenarios: SCENARIOS
                    .iter()
                    .take(self.scenarios)
                    .zip(1_u32..)
                    .map(|(name, place)| {
                        ((*name).to_owned(), self.record(number * 7 + seed, place))
                    })
                    .collect(),
            })
            .collect();
        set
    }

    fn record(self, run: u32, place: u32) -> ScenarioRecord {
        // A wobble from run to run, the same on every machine.
        let wobble = 1.0 + self.noise * (f64::from(run + place * 3) * 0.618_034).fract();
        let scale = 1.0 + f64::from(place) * 0.4;
        let decode = 11.2 * scale * self.decode * wobble;
        let prefill = 88.0 * scale * wobble;
        let times = [
            ("ttft_ms", prefill),
            ("itl_ms", decode),
            ("tpot_ms", decode * 1.01),
            ("e2e_ms", prefill + 128.0 * decode),
        ];
        let mut metrics = spread(&times);
        let speed = 1.0 / (self.decode * wobble);
        for (name, value) in [
            ("output_tps", 2_860.0 * speed / scale),
            ("total_tps", 5_720.0 * speed / scale),
            ("request_rps", 22.3 * speed / scale),
            ("goodput_rps", 21.9 * speed / scale),
            ("error_rate", self.failed as f64 / self.requests as f64),
            ("accuracy", self.correct / 500.0),
            ("correct", self.correct),
            ("total", 500.0),
            ("gpu_memory_peak_gb", 71.25),
            ("gpu_power_avg_w", 512.0 * wobble),
            ("gpu_utilisation_avg_pct", 96.0 * wobble),
            ("gpu_temperature_max_c", 61.0),
            ("gpu_sm_clock_avg_mhz", 1_755.0),
            ("energy_per_output_token_j", 0.18 * self.decode * wobble),
            ("energy_j", 52_000.0 * wobble),
        ] {
            metrics.insert(name.to_owned(), value);
        }
        if self.correct == 0.0 {
            for name in ["accuracy", "correct", "total"] {
                metrics.remove(name);
            }
        }
        if !self.energy {
            metrics.retain(|name, _| !name.starts_with("energy"));
        }
        let own = |middle: f64| {
            let value = |i: u64| Some(middle * (1.0 + 0.0001 * (i % 10) as f64));
            (0..self.requests).map(value).collect()
        };
        ScenarioRecord {
            metrics,
            sent: Some(self.requests),
            ok: Some(self.requests - self.failed),
            per_request: times
                .iter()
                .map(|(quantity, middle)| ((*quantity).to_owned(), own(*middle)))
                .collect(),
            ..unchanged().current.runs[0].scenarios["latency"].clone()
        }
    }
}

/// Every statistic of each quantity.
fn spread(times: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    let shapes = [
        ("mean", 1.0),
        ("p50", 0.98),
        ("p90", 1.08),
        ("p95", 1.12),
        ("p99", 1.2),
        ("min", 0.9),
        ("max", 1.3),
        ("std_dev", 0.05),
    ];
    for (quantity, middle) in times {
        for (statistic, factor) in shapes {
            metrics.insert(format!("{quantity}.{statistic}"), middle * factor);
        }
    }
    metrics
}

/// The runs of two sides as pairs, in the order B C C B; those in `void` do not count.
fn in_turn(runs: u32, void: &[u32]) -> Pairs {
    let pair = |number: u32| Pair {
        baseline: number,
        current: number,
        first: if number % 2 == 1 {
            First::Baseline
        } else {
            First::Current
        },
        void: void
            .contains(&number)
            .then(|| "the engine of the current side died".to_owned()),
    };
    Pairs {
        pairs: (1..=runs).map(pair).collect(),
        stopped: Some("all gating metrics are decided".to_owned()),
        ..Pairs::new(12)
    }
}

/// Jobs of the base branch before this one.
fn past_jobs(side: Side, number: u32) -> History {
    let job = |place: u32| {
        let results = side.results(100 + place * 13);
        let scenarios = results.runs.into_iter().next().unwrap().scenarios;
        PastJob {
            name: JobName {
                commit: Some(format!("{place:08x}").repeat(5)),
                at: Some(format!("2026-01-{:02}T03:00:00Z", place % 28 + 1)),
            },
            values: scenarios
                .into_iter()
                .map(|(name, record)| (name, record.metrics))
                .collect(),
        }
    };
    History {
        jobs: (1..=number).map(job).collect(),
    }
}

/// What the stages make of two sides: pairs, if both have three runs and more.
pub fn decided(baseline: Option<Side>, current: Side, policy: &GatePolicy) -> Sample {
    let runs = baseline.map_or(0, |side| side.runs.min(current.runs));
    let options = CompareOptions {
        pairs: (runs >= 3).then(|| in_turn(runs, &[])),
        ..CompareOptions::default()
    };
    judged(baseline, current, policy, options)
}

/// Pairs of which some are void.
pub fn decided_without(baseline: Side, current: Side, void: &[u32]) -> Sample {
    let options = CompareOptions {
        pairs: Some(in_turn(baseline.runs, void)),
        ..CompareOptions::default()
    };
    judged(Some(baseline), current, &GatePolicy::default(), options)
}

/// One job against so many before it.
pub fn decided_by_history(side: Side, current: Side, jobs: u32) -> Sample {
    let options = CompareOptions {
        history: Some(past_jobs(side, jobs)),
        ..CompareOptions::default()
    };
    judged(Some(side), current, &GatePolicy::default(), options)
}

fn judged(
    baseline: Option<Side>,
    current: Side,
    policy: &GatePolicy,
    options: CompareOptions,
) -> Sample {
    let baseline = baseline.map(|side| side.results(0));
    let current = current.results(3);
    let options = CompareOptions {
        noise: known_noise(&current),
        run_cv: policy.run_cv,
        bootstrap_draws: 100,
        ..options
    };
    let comparison = compare(baseline.as_ref(), &current, &options).unwrap();
    let decision = decide(&comparison, &current, baseline.as_ref(), policy).unwrap();
    Sample {
        decision,
        comparison,
        current,
        baseline,
        pairs: options.pairs,
        ..unchanged()
    }
}

/// What a runner of this class has shown before: pairs that scatter by 0.4 %.
fn known_noise(side: &ResultSet) -> NoiseProfile {
    let noise = Noise {
        log_sd_pair: 0.004,
        df: 8.0,
    };
    let scenarios = side.runs.iter().flat_map(|run| &run.scenarios);
    NoiseProfile {
        metrics: scenarios
            .map(|(name, record)| {
                let metrics = record.metrics.keys();
                (
                    name.clone(),
                    metrics.map(|one| (one.clone(), noise)).collect(),
                )
            })
            .collect(),
    }
}
