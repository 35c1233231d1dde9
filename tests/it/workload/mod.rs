//! Prompts of exact length: local tokenizers, the server's tokenizer, datasets.

mod data;
mod server;
mod tokenizers;

use std::num::NonZeroU32;

use kitt_action::{
    plan::{ApiPath, Job, Length, Prompt, PromptSource, Scenario, Slot, Test, Warmup},
    workload::{TokenCounter, Workload, WorkloadSpec},
};

pub fn tokens(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// A scenario of synthetic prompts of `input` tokens and answers of 5.
pub fn scenario(input: u32) -> Scenario {
    Scenario::closed(
        "throughput".parse().unwrap(),
        Test::Throughput,
        NonZeroU32::MIN,
        NonZeroU32::MIN,
        Warmup::Off,
        (tokens(input), tokens(5)),
    )
}

pub fn shared(mut scenario: Scenario, share: f64) -> Scenario {
    scenario.prompts = PromptSource::Synthetic {
        shared_prefix: share,
    };
    scenario
}

pub fn uniform(mut scenario: Scenario, min: u32, max: u32) -> Scenario {
    scenario.input_tokens = Length::Uniform {
        min: tokens(min),
        max: tokens(max),
    };
    scenario
}

pub fn workload(scenario: &Scenario, counter: &TokenCounter) -> Workload {
    with_api(scenario, counter, ApiPath::Chat)
}

pub fn with_api(scenario: &Scenario, counter: &TokenCounter, api: ApiPath) -> Workload {
    let spec = WorkloadSpec {
        scenario,
        seed: 42,
        api,
        tokens: counter.clone(),
        dataset: None,
    };
    Workload::prepare(spec).unwrap()
}

/// The first jobs of a phase of a closed loop.
pub fn jobs(workload: &Workload, phase: &str, count: usize) -> Vec<Job> {
    slots(workload, phase, vec![Slot::default(); count])
}

pub fn slots(workload: &Workload, phase: &str, slots: Vec<Slot>) -> Vec<Job> {
    workload.jobs(phase, Box::new(slots.into_iter())).collect()
}

/// The text of a job's first request.
pub fn text(job: &Job) -> &str {
    let Prompt::Text(text) = &job.turns[0].prompt else {
        panic!("not one text: {job:?}");
    };
    text
}

pub fn texts(jobs: &[Job]) -> Vec<&str> {
    jobs.iter().map(text).collect()
}
