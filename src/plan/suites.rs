//! Suites and tests as scenarios, and the whole plan.

use std::num::NonZeroU32;

use super::{
    Asked, Plan, PlanError, Scenario, Search, Test, Warmup,
    custom::{self, REQUESTS, ROUNDS},
};
use crate::{
    context::Measure,
    engine::{self, GpuSet, LaunchRequest, ModelFacts},
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

/// Requests in flight an engine is told to expect from an open loop that does not say.
const OPEN_IN_FLIGHT: u32 = 64;
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
        // Given by flags.
        Test::Custom => Vec::new(),
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
/// asked; or the load points that settings describe instead. Of a search it is what will be
/// measured for sure: all listed levels, or the first point.
///
/// # Errors
/// An unknown suite or test, or nothing to measure.
pub fn scenarios(measure: &Measure) -> Result<Vec<Scenario>, PlanError> {
    if let Some(search) = Search::new(measure) {
        return search.certain();
    }
    if measure.load.is_custom() {
        return Ok(vec![custom::scenario(measure)?]);
    }
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
            let warmup = NonZeroU32::new(warmup).map_or(Warmup::Off, Warmup::until_stable);
            let own = Scenario::closed(
                name.parse::<ScenarioId>().map_err(PlanError::Name)?,
                test,
                count(concurrency),
                count(requests),
                warmup,
                (count(input), count(output)),
            );
            scenarios.push(custom::refined(measure, own));
        }
    }
    if scenarios.is_empty() {
        Err(PlanError::Empty)
    } else {
        Ok(scenarios)
    }
}

/// The plan of a measurement. `facts`: what the model's files say of themselves, `gpus`: what the
/// engine gets.
///
/// # Errors
/// An unknown engine, suite or test, or an engine that cannot do what is asked.
pub fn build(
    measure: &Measure,
    model: &ModelRef,
    facts: Option<ModelFacts>,
    gpus: GpuSet,
) -> Result<Plan, PlanError> {
    let name = measure.engine.as_deref().unwrap_or_default();
    let engine = engine::find(name)?;
    let scenarios = scenarios(measure)?;
    let search = Search::new(measure);
    let longest = |scenario: &Scenario| {
        scenario
            .input_tokens
            .longest()
            .saturating_add(scenario.output_tokens.longest().get())
            .get()
    };
    let launch = engine.launch(&LaunchRequest {
        facts,
        revision: measure.model_revision.clone(),
        offline: measure.offline,
        cache: measure.cache_dir.clone(),
        hf_token: measure.hf_token.clone(),
        command: measure.engine_command.clone(),
        mode: measure.mode,
        image: measure.image.clone(),
        endpoint: measure.endpoint.clone(),
        args: measure.engine_args.clone(),
        env: measure.env.clone(),
        seed: measure.seed,
        max_concurrency: in_flight(&scenarios, search.as_ref()),
        max_tokens_per_request: scenarios.iter().map(longest).max().unwrap_or(1),
        startup_timeout: measure.startup_timeout,
        gpus,
        memory: measure.memory,
        cpuset: measure.cpuset.clone(),
        shm: measure.shm,
        ..LaunchRequest::new(model.clone())
    })?;
    let load = &measure.load;
    let suite = if load.is_custom() {
        Test::Custom.name()
    } else {
        &measure.suite
    };
    let typed = measure.model.as_ref().unwrap_or(model);
    let revision = measure.model_revision.as_deref();
    let args = &measure.engine_args;
    Ok(Plan {
        asked: Asked::of(engine.name(), &launch, (typed, revision), args),
        engine: engine.name(),
        suite: suite.to_owned(),
        launch,
        runs: measure.runs,
        scenarios,
        seed: measure.seed,
        skip_warmup: measure.skip_warmup,
        api: load.api,
        objectives: load.objectives.clone(),
        search,
        client_threads: load.client_threads,
        tokenizer: load.tokenizer.clone(),
    })
}

/// The most requests that the plan keeps in flight, as far as that is known.
fn in_flight(scenarios: &[Scenario], search: Option<&Search>) -> u32 {
    let own = scenarios.iter().map(|scenario| {
        scenario
            .max_in_flight()
            .map_or(OPEN_IN_FLIGHT, NonZeroU32::get)
    });
    own.chain(search.map(Search::most)).max().unwrap_or(1)
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
            let requests = scenario.stop.requests.unwrap().get();
            let concurrency = scenario.arrivals.concurrency().unwrap().get();
            assert!(requests >= ROUNDS * concurrency);
        }
        let throughput = &scenarios(&measure(&[])).unwrap()[0];
        let count = |number| NonZeroU32::new(number).unwrap();
        assert_eq!(
            throughput.warmup,
            Warmup::UntilStable {
                least: count(3),
                most: count(12)
            }
        );
        let cold = &scenarios(&measure(&[
            ("tests", "warmup_analysis"),
            ("warmup-requests", "5"),
        ]));
        assert_eq!(cold.as_ref().unwrap()[0].warmup, Warmup::Off);
        let few = scenarios(&measure(&[("requests", "5"), ("skip-warmup", "true")])).unwrap();
        assert_eq!(few[0].stop.requests.unwrap().get(), 5);
        assert_eq!(few[0].warmup, Warmup::Off);
    }

    #[test]
    fn the_plan_needs_an_engine_that_exists() {
        let model = "m".parse().unwrap();
        let message = build(
            &measure(&[("engine", "lama_cpp")]),
            &model,
            None,
            GpuSet::None,
        )
        .unwrap_err()
        .to_string();
        assert!(message.contains("did you mean `llama_cpp`?"), "{message}");
        assert_eq!(
            build(&measure(&[("engine", "sim")]), &model, None, GpuSet::None)
                .unwrap()
                .engine,
            "sim"
        );
    }

    #[test]
    fn an_engine_is_told_how_many_requests_to_expect() {
        let expect = |pairs: &[(&'static str, &str)]| {
            let measure = measure(pairs);
            in_flight(
                &scenarios(&measure).unwrap(),
                Search::new(&measure).as_ref(),
            )
        };
        assert_eq!(expect(&[("suite", "performance")]), 16);
        assert_eq!(expect(&[("concurrency", "100")]), 100);
        assert_eq!(expect(&[("request-rate", "2")]), 64);
        assert_eq!(expect(&[("request-rate", "2"), ("max-in-flight", "9")]), 9);
        assert_eq!(expect(&[("sweep", "concurrency:1,200,4")]), 200);
        assert_eq!(expect(&[("sweep", "concurrency")]), 64);
    }

    #[test]
    fn the_plan_keeps_what_is_not_a_scenarios() {
        let pairs = [
            ("engine", "sim"),
            ("sweep", "goodput:0.9"),
            ("slo", "ttft_ms=200"),
            ("api", "completions"),
            ("client-threads", "2"),
            ("tokenizer", "server"),
        ];
        let plan = build(&measure(&pairs), &"m".parse().unwrap(), None, GpuSet::None).unwrap();
        assert_eq!(plan.suite, "custom");
        assert_eq!(plan.api, super::super::ApiPath::Completions);
        assert_eq!(plan.objectives.len(), 1);
        assert!(plan.search.is_some() && plan.tokenizer.is_some());
        assert_eq!(plan.client_threads.unwrap().get(), 2);
        assert_eq!(plan.scenarios[0].id.as_str(), "custom/r1");
    }
}
