//! `kitt demo`: the whole flow on the simulated engine, in pairs, the current side slower.

use std::{num::NonZeroU32, path::Path};

use super::{
    describe::ModelFiles,
    measure::{Prepared, Start},
    pairs::{Course, Forecast, Sides},
    report,
    signal::Stop,
};
use crate::{
    cli::{DemoArgs, Typed},
    context::{self, EnvSnapshot, Inputs},
    engine::{GpuSet, Target},
    error::Error,
    exit::Exit,
    ids::ModelRef,
    plan::{self, Scenario, Test, Warmup},
    publish::CheckState,
    results::{BASELINE_DIR, Side},
};

/// Name of the simulated model.
const MODEL: &str = "demo-model";

/// Runs the demo: pairs of fresh servers, as `kitt ci run --baseline ab` measures them. The current
/// side's results lie in the directory, the baseline's in a folder of it.
///
/// # Errors
/// A run fails, or a file cannot be written.
pub(super) async fn run(args: &DemoArgs, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    let dir = &args.output;
    prepare(dir)?;
    let inputs = inputs(args, env)?;
    let current = Start::new(&inputs, dir).begin(side(args, &inputs, args.slowdown)?)?;
    let beside = dir.join(BASELINE_DIR);
    let baseline = Start {
        side: Side::Baseline,
        beside: Some(&current),
        ..Start::new(&inputs, &beside)
    };
    let baseline = baseline.begin(side(args, &inputs, 0.0)?)?;
    let sides = Sides { baseline, current };
    let forecast = Forecast {
        run: None,
        reach: None,
        most: args.runs,
    };
    let course = Course::new(&inputs, sides, forecast, stop);
    Box::pin(course.measure(true)).await?;
    let reproduce = format!(
        "kitt demo --slowdown={} --seed={}",
        args.slowdown, args.seed
    );
    let report = report::make(dir, None, &inputs, Some(reproduce), Vec::new())?;
    report::conclude(&report, &inputs, dir, false, CheckState::None).await
}

/// Makes the directory anew. Only what is a demo's own is removed.
fn prepare(dir: &Path) -> Result<(), Error> {
    let wrong = |source| Error::Write {
        path: dir.to_owned(),
        source,
    };
    // Earlier demos had a folder for each side.
    for side in [BASELINE_DIR, "current"].map(|name| dir.join(name)) {
        if side.join("metrics.json").exists() {
            std::fs::remove_dir_all(&side).map_err(wrong)?;
        }
    }
    std::fs::create_dir_all(dir).map_err(wrong)
}

fn inputs(args: &DemoArgs, env: &EnvSnapshot) -> Result<Inputs, Error> {
    let mut typed = Typed::new();
    typed.insert("engine", "sim".to_owned());
    typed.insert("model", MODEL.to_owned());
    typed.insert("seed", args.seed.to_string());
    typed.insert("gate", args.gate.to_string());
    typed.insert("pairs", args.runs.to_string());
    Ok(context::resolve(&typed, env)?)
}

/// A faster engine than the simulator's default, so that all pairs take less than a minute.
fn side(args: &DemoArgs, inputs: &Inputs, slowdown: f64) -> Result<Prepared, Error> {
    let model: ModelRef = MODEL.parse().map_err(plan::PlanError::Name)?;
    let mut plan = plan::build(&inputs.measure, &model, None, GpuSet::None)?;
    "demo".clone_into(&mut plan.suite);
    plan.scenarios = scenarios()?;
    if let Target::InProcess(spec) = &mut plan.launch.target {
        spec.decode_base_ms = 3.0;
        spec.decode_per_sequence_ms = 0.1;
        spec.slowdown = slowdown;
        // Each run draws noise by its number: far apart for neighbouring seeds.
        spec.seed = args.seed.wrapping_mul(1 << 20);
    }
    Ok(Prepared {
        plan,
        model,
        files: ModelFiles::default(),
    })
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
            (count(128), count(24)),
        ))
    };
    Ok(vec![
        point("throughput", Test::Throughput, 1, 20)?,
        point("batch_inference/c8", Test::BatchInference, 8, 40)?,
    ])
}
