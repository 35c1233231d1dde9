//! `kitt demo`: the whole flow on the simulated engine, interleaved, the second side slower.

use std::{num::NonZeroU32, path::Path};

use super::{
    clock,
    describe::ModelFiles,
    report,
    session::{Session, SessionOptions},
    signal::Stop,
};
use crate::{
    cli::{DemoArgs, Typed},
    context::{self, EnvSnapshot, Inputs},
    engine::{GpuSet, Target},
    error::Error,
    exit::Exit,
    plan::{self, Plan, Scenario, Test, Warmup},
};

/// Runs the demo: fresh servers in the order B C C B, so that a drift of the machine hits both
/// sides alike.
///
/// # Errors
/// A run fails, or a file cannot be written.
pub(super) async fn run(args: &DemoArgs, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    let (baseline_dir, current_dir) = (args.output.join("baseline"), args.output.join("current"));
    prepare(&args.output, [&baseline_dir, &current_dir])?;
    let inputs = inputs(args, env)?;
    let mut baseline = begin(args, &inputs, 0.0, &baseline_dir)?;
    let mut current = begin(args, &inputs, args.slowdown, &current_dir)?;
    let mut outcome = Ok(());
    for number in 1..=args.runs {
        // Odd pairs are B C, even pairs C B.
        let (first, second) = if number % 2 == 1 {
            (&mut baseline, &mut current)
        } else {
            (&mut current, &mut baseline)
        };
        outcome = first.run_once(number, stop).await;
        if outcome.is_ok() {
            outcome = second.run_once(number, stop).await;
        }
        if outcome.is_err() {
            break;
        }
    }
    baseline.end(&outcome)?;
    current.end(&outcome)?;
    outcome?;
    let reproduce = format!(
        "kitt demo --slowdown={} --seed={}",
        args.slowdown, args.seed
    );
    let report = report::make(&current_dir, Some(&baseline_dir), &inputs, Some(reproduce))?;
    report::conclude(&report, &inputs.publish, &args.output, false).await
}

/// Makes the directory anew. Only a demo's own directory is emptied.
fn prepare(dir: &Path, sides: [&Path; 2]) -> Result<(), Error> {
    let wrong = |source| Error::Write {
        path: dir.to_owned(),
        source,
    };
    for side in sides {
        if side.join("metrics.json").exists() {
            std::fs::remove_dir_all(side).map_err(wrong)?;
        }
        std::fs::create_dir_all(side).map_err(wrong)?;
    }
    Ok(())
}

fn inputs(args: &DemoArgs, env: &EnvSnapshot) -> Result<Inputs, Error> {
    let mut typed = Typed::new();
    typed.insert("engine", "sim".to_owned());
    typed.insert("model", "demo-model".to_owned());
    typed.insert("seed", args.seed.to_string());
    typed.insert("gate", args.gate.to_string());
    Ok(context::resolve(&typed, env)?)
}

fn begin(args: &DemoArgs, inputs: &Inputs, slowdown: f64, dir: &Path) -> Result<Session, Error> {
    let model = "demo-model".parse().map_err(plan::PlanError::Name)?;
    let options = SessionOptions {
        dir,
        model: &model,
        trigger: &inputs.trigger,
        machine: &inputs.measure.machine,
        auto_pull: false,
        request_timeout: inputs.measure.request_timeout,
        run_id: clock::invocation(),
        secrets: Vec::new(),
        mask: None,
        bearer: None,
        dialects: Vec::new(),
        files: ModelFiles::default(),
    };
    Session::begin(plan(args, inputs, slowdown, dir, &model)?, options)
}

/// A faster engine than the simulator's default, so that eight runs take half a minute; the two
/// sides draw independent noise.
fn plan(
    args: &DemoArgs,
    inputs: &Inputs,
    slowdown: f64,
    dir: &Path,
    model: &crate::ids::ModelRef,
) -> Result<Plan, Error> {
    let mut plan = plan::build(&inputs.measure, model, None, GpuSet::None)?;
    "demo".clone_into(&mut plan.suite);
    plan.runs = NonZeroU32::new(args.runs).unwrap_or(NonZeroU32::MIN);
    plan.scenarios = scenarios()?;
    if let Target::InProcess(spec) = &mut plan.launch.target {
        spec.decode_base_ms = 3.0;
        spec.decode_per_sequence_ms = 0.1;
        spec.slowdown = slowdown;
        // The sides differ in their directory's name; so must their noise.
        let side = u64::from(dir.ends_with("current"));
        spec.seed = args
            .seed
            .wrapping_mul(2)
            .wrapping_add(side)
            .wrapping_mul(1 << 20);
    }
    Ok(plan)
}

/// One scenario of single requests and one of eight at a time.
fn scenarios() -> Result<Vec<Scenario>, Error> {
    let point = |name: &str, test, concurrency: u32, requests: u32| {
        let count = |value| NonZeroU32::new(value).unwrap_or(NonZeroU32::MIN);
        Ok::<_, Error>(Scenario::closed(
            name.parse().map_err(plan::PlanError::Name)?,
            test,
            count(concurrency),
            count(requests),
            Warmup::requests(concurrency.max(2)),
            (count(128), count(32)),
        ))
    };
    Ok(vec![
        point("throughput", Test::Throughput, 1, 24)?,
        point("batch_inference/c8", Test::BatchInference, 8, 48)?,
    ])
}
