//! Suites and tests as scenarios, and the whole plan.

use std::num::NonZeroU32;

use super::{Plan, PlanError, Scenario, Test};
use crate::{
    context::Measure,
    engine::{self, LaunchRequest, SimSpec},
    ids::{self, ModelRef, ScenarioId},
};

/// A named list of tests.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// KITT's name.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// Its tests, in the order they run.
    pub tests: &'static [Test],
}

/// Every suite. KITT's quality tests are not among them yet, so `standard` is shorter here.
pub static SUITES: &[Suite] = &[
    Suite {
        name: "quick",
        summary: "one scenario, for every push",
        tests: &[Test::Throughput],
    },
    Suite {
        name: "standard",
        summary: "single requests in depth",
        tests: &[
            Test::WarmupAnalysis,
            Test::Throughput,
            Test::Latency,
            Test::StreamingLatency,
        ],
    },
    Suite {
        name: "performance",
        summary: "single requests and batches of 1, 4, 8 and 16",
        tests: &[
            Test::WarmupAnalysis,
            Test::Throughput,
            Test::Latency,
            Test::StreamingLatency,
            Test::BatchInference,
        ],
    },
];

/// Requests a median needs to gate (`research/regression-statistics.md` §6), and a few more.
const REQUESTS: u32 = 24;
/// Batches are driven until each slot has been used this often.
const ROUNDS: u32 = 6;
/// Levels of KITT's batch test.
const BATCHES: [u32; 4] = [1, 4, 8, 16];

/// What each test measures: prompt and answer lengths are KITT's where KITT has the test.
fn points(test: Test) -> Vec<(String, u32, u32, u32, u32, u32)> {
    // Name, concurrency, requests, warm-up requests, prompt tokens, answer tokens.
    let name = test.name().to_owned();
    match test {
        Test::Throughput => vec![(name, 1, REQUESTS, 3, 128, 256)],
        Test::Latency => vec![(name, 1, REQUESTS, 3, 128, 128)],
        Test::StreamingLatency => vec![(name, 1, REQUESTS, 3, 512, 128)],
        // Warming up first would hide what this test looks at.
        Test::WarmupAnalysis => vec![(name, 1, 10, 0, 128, 100)],
        Test::BatchInference => BATCHES
            .iter()
            .map(|&batch| {
                (
                    format!("{name}/c{batch}"),
                    batch,
                    (batch * ROUNDS).max(REQUESTS),
                    batch,
                    128,
                    128,
                )
            })
            .collect(),
    }
}

fn suite(name: &str) -> Result<&'static Suite, PlanError> {
    SUITES
        .iter()
        .find(|suite| suite.name == name)
        .ok_or_else(|| PlanError::UnknownSuite {
            name: name.chars().take(80).collect(),
            known: SUITES
                .iter()
                .map(|suite| suite.name)
                .collect::<Vec<_>>()
                .join(", "),
            closest: ids::closest(name, SUITES.iter().map(|suite| suite.name)).map(str::to_owned),
        })
}

fn test(name: &str) -> Result<Test, PlanError> {
    let names = || Test::ALL.iter().map(|test| test.name());
    Test::ALL
        .into_iter()
        .find(|test| test.name() == name)
        .ok_or_else(|| PlanError::UnknownTest {
            name: name.chars().take(80).collect(),
            known: names().collect::<Vec<_>>().join(", "),
            closest: ids::closest(name, names()).map(str::to_owned),
        })
}

/// The scenarios of a suite or of a list of tests, with lengths and counts overridden where
/// asked.
///
/// # Errors
/// An unknown suite or test, or nothing to measure.
pub fn scenarios(measure: &Measure) -> Result<Vec<Scenario>, PlanError> {
    let suite = suite(&measure.suite)?;
    let tests = match &measure.tests {
        None => suite.tests.to_vec(),
        Some(names) => names
            .iter()
            .map(|name| test(name))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let mut scenarios = Vec::new();
    for test in tests {
        for (name, concurrency, requests, warmup, input, output) in points(test) {
            let count = |value: u32| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
            scenarios.push(Scenario {
                id: name.parse::<ScenarioId>().map_err(PlanError::Name)?,
                test,
                concurrency: count(concurrency),
                requests: measure.requests.unwrap_or(count(requests)),
                warmup_requests: if measure.skip_warmup { 0 } else { warmup },
                input_tokens: measure.input_tokens.unwrap_or(count(input)),
                output_tokens: measure.output_tokens.unwrap_or(count(output)),
            });
        }
    }
    if scenarios.is_empty() {
        Err(PlanError::Empty)
    } else {
        Ok(scenarios)
    }
}

/// The plan of a measurement. `gpus`: the UUIDs the container gets.
///
/// # Errors
/// An unknown engine, suite or test, or an engine that cannot do what is asked.
pub fn build(measure: &Measure, model: &ModelRef, gpus: Vec<String>) -> Result<Plan, PlanError> {
    let name = measure.engine.as_deref().unwrap_or_default();
    let engine = engine::find(name)?;
    let scenarios = scenarios(measure)?;
    let longest = |scenario: &Scenario| {
        scenario
            .input_tokens
            .saturating_add(scenario.output_tokens.get())
            .get()
    };
    let launch = engine.launch(&LaunchRequest {
        model: model.clone(),
        mode: measure.mode,
        image: measure.image.clone(),
        endpoint: measure.endpoint.clone(),
        args: measure.engine_args.clone(),
        env: measure.env.clone(),
        seed: measure.seed,
        max_concurrency: scenarios
            .iter()
            .map(|scenario| scenario.concurrency.get())
            .max()
            .unwrap_or(1),
        max_tokens_per_request: scenarios.iter().map(longest).max().unwrap_or(1),
        startup_timeout: measure.startup_timeout,
        gpus,
        memory: measure.memory,
        cpuset: measure.cpuset.clone(),
        sim: SimSpec::default(),
    })?;
    Ok(Plan {
        engine: engine.name(),
        suite: measure.suite.clone(),
        launch,
        runs: measure.runs,
        scenarios,
        seed: measure.seed,
        skip_warmup: measure.skip_warmup,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EnvSnapshot, resolve};

    fn measure(pairs: &[(&'static str, &str)]) -> Measure {
        let typed = pairs.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        resolve(&typed, &EnvSnapshot::default()).unwrap().measure
    }

    #[test]
    fn a_suite_is_its_tests_and_a_list_replaces_it() {
        let ids = |pairs: &[(&'static str, &str)]| -> Vec<String> {
            scenarios(&measure(pairs))
                .unwrap()
                .into_iter()
                .map(|s| s.id.to_string())
                .collect()
        };
        assert_eq!(ids(&[]), ["throughput"]);
        assert_eq!(ids(&[("tests", "latency")]), ["latency"]);
        assert_eq!(
            ids(&[("suite", "performance")]).last().unwrap(),
            "batch_inference/c16"
        );
    }

    #[test]
    fn unknown_and_unbuilt_names_stop() {
        let message =
            |pairs: &[(&'static str, &str)]| scenarios(&measure(pairs)).unwrap_err().to_string();
        assert!(message(&[("suite", "qick")]).contains("did you mean `quick`?"));
        assert!(message(&[("tests", "mmlu")]).contains("not available"));
        assert!(message(&[("tests", "latncy")]).contains("did you mean `latency`?"));
    }

    #[test]
    fn batches_use_every_slot_often_enough() {
        let all = scenarios(&measure(&[("suite", "performance")])).unwrap();
        for scenario in all
            .iter()
            .filter(|scenario| scenario.test == Test::BatchInference)
        {
            assert!(scenario.requests.get() >= ROUNDS * scenario.concurrency.get());
        }
        let few = scenarios(&measure(&[("requests", "5"), ("skip-warmup", "true")])).unwrap();
        assert_eq!((few[0].requests.get(), few[0].warmup_requests), (5, 0));
    }

    #[test]
    fn the_plan_needs_an_engine_that_exists() {
        let model = "m".parse().unwrap();
        let message = build(&measure(&[("engine", "lama_cpp")]), &model, vec![])
            .unwrap_err()
            .to_string();
        assert!(message.contains("did you mean `llama_cpp`?"), "{message}");
        assert_eq!(
            build(&measure(&[("engine", "sim")]), &model, vec![])
                .unwrap()
                .engine,
            "sim"
        );
    }
}
