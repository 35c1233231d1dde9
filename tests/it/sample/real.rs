//! Decisions made by the stages themselves from invented measurements, for what a report owes
//! to their numbers and words.

use std::collections::BTreeMap;

use kitt_action::{
    compare::{CompareOptions, compare},
    results::{ResultSet, RunRecord, ScenarioRecord},
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
    /// Right answers out of 500.
    pub correct: f64,
    /// Whether energy is measured.
    pub energy: bool,
    /// How much slower decoding is: 1.08 is 8 %.
    pub decode: f64,
}

impl Side {
    pub const STEADY: Self = Self {
        scenarios: 8,
        runs: 4,
        requests: 200,
        failed: 0,
        correct: 412.0,
        energy: true,
        decode: 1.0,
    };

    fn results(self) -> ResultSet {
        let mut set = unchanged().current;
        set.runs = (1..=self.runs)
            .map(|number| RunRecord {
                number,
                scenarios: SCENARIOS
                    .iter()
                    .take(self.scenarios)
                    .zip(1_u32..)
                    .map(|(name, place)| ((*name).to_owned(), self.record(number, place)))
                    .collect(),
            })
            .collect();
        set
    }

    fn record(self, run: u32, place: u32) -> ScenarioRecord {
        // A wobble of half a per cent from run to run, the same on every machine.
        let wobble = 1.0 + 0.005 * (f64::from(run * 7 + place * 3) * 0.618_034).fract();
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

/// What the stages make of two sides.
pub fn decided(baseline: Option<Side>, current: Side, policy: &GatePolicy) -> Sample {
    let baseline = baseline.map(Side::results);
    let current = current.results();
    let options = CompareOptions {
        run_cv: policy.run_cv,
        bootstrap_draws: 100,
        ..CompareOptions::default()
    };
    let comparison = compare(baseline.as_ref(), &current, &options).unwrap();
    let decision = decide(&comparison, &current, baseline.as_ref(), policy).unwrap();
    Sample {
        decision,
        comparison,
        current,
        baseline,
        ..unchanged()
    }
}
