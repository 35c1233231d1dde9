//! `kitt run`: one session from start to end.

use std::path::Path;

use super::{
    clock, out,
    session::{Finished, Session, SessionOptions},
    signal::Stop,
};
use crate::{
    cli::RunArgs,
    context::{self, ContextError, EnvSnapshot, Gpus, Inputs},
    engine,
    error::Error,
    exit::Exit,
    ids::ModelRef,
    measure::Dialect,
    plan, telemetry,
};

/// `kitt run`.
///
/// # Errors
/// Anything that stops the measurement.
pub(super) async fn run(args: &RunArgs, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    let mut typed = args.settings.0.clone();
    if let Some(dir) = &args.output {
        typed.insert("results-dir", dir.display().to_string());
    }
    let inputs = context::resolve(&typed, env)?;
    let dialects = args
        .dialects
        .iter()
        .map(|name| Dialect::parse(name))
        .collect::<Result<Vec<_>, _>>()?;
    let finished = measure(&inputs, &inputs.results_dir, &dialects, stop).await?;
    let metrics = finished.dir.join("metrics.json");
    if args.json {
        // Standard output belongs to the document alone.
        for table in &finished.tables {
            tracing::info!("\n{table}");
        }
        let wrong = |source| Error::Write {
            path: metrics.clone(),
            source,
        };
        out::text(std::fs::read_to_string(&metrics).map_err(wrong)?.trim_end());
    } else {
        for table in &finished.tables {
            out::text(table);
        }
        out::text(&format!("results: {}", finished.dir.display()));
    }
    Ok(if finished.invalid {
        Exit::Invalid
    } else {
        Exit::Success
    })
}

/// Measures everything the inputs ask for into a directory.
///
/// # Errors
/// The inputs make no plan, or a run fails; what was measured until then is in the directory.
pub(super) async fn measure(
    inputs: &Inputs,
    dir: &Path,
    dialects: &[Dialect],
    stop: &Stop,
) -> Result<Finished, Error> {
    let (plan, model) = plan(inputs)?;
    let options = SessionOptions {
        dir,
        model: &model,
        trigger: &inputs.trigger,
        docker_host: inputs.measure.docker_host.clone(),
        auto_pull: inputs.measure.auto_pull,
        request_timeout: inputs.measure.request_timeout,
        run_id: inputs
            .trigger
            .run_id
            .clone()
            .unwrap_or_else(clock::invocation),
        secrets: inputs
            .publish
            .token
            .iter()
            .chain(&inputs.measure.load.api_key)
            .cloned()
            .collect(),
        bearer: inputs.measure.load.api_key.clone(),
        dialects: dialects.to_vec(),
    };
    let runs = plan.runs.get();
    let mut session = Session::begin(plan, options)?;
    let mut outcome = Ok(());
    for number in 1..=runs {
        outcome = session.run_once(number, stop).await;
        if outcome.is_err() {
            break;
        }
    }
    let finished = session.end(&outcome)?;
    outcome.map(|()| finished)
}

fn plan(inputs: &Inputs) -> Result<(plan::Plan, ModelRef), Error> {
    let measure = &inputs.measure;
    if measure.engine.is_none() {
        let known: Vec<_> = engine::ENGINES.iter().map(|engine| engine.name()).collect();
        let remedy = format!("give --engine, one of {}", known.join(", "));
        return Err(ContextError::Missing {
            name: "engine",
            remedy,
        }
        .into());
    }
    let Some(model) = measure.model.clone() else {
        let remedy = "give --model: a path on this host or a hub id".to_owned();
        return Err(ContextError::Missing {
            name: "model",
            remedy,
        }
        .into());
    };
    let plan = plan::build(measure, &model, gpus(&measure.gpus))?;
    Ok((plan, model))
}

/// UUIDs of the GPUs for the container.
fn gpus(asked: &Gpus) -> Vec<String> {
    match asked {
        Gpus::None => Vec::new(),
        Gpus::Listed(uuids) => uuids.clone(),
        Gpus::Auto => match telemetry::gpus() {
            Ok(gpus) => gpus.into_iter().map(|gpu| gpu.uuid).collect(),
            Err(none) => {
                tracing::info!("{none}");
                Vec::new()
            }
        },
    }
}

/// One command that repeats this measurement, for the report. Only what was given: no token.
pub(super) fn command_line(inputs: &Inputs) -> String {
    let skip = [
        "github-token",
        "repo",
        "pr",
        "results-dir",
        "config",
        "post-comment",
        "key",
        "baseline-dir",
    ];
    let given = inputs.layers.explain().into_iter();
    let given = given.filter(|(name, _, source)| {
        !skip.contains(name) && source != "default" && source != "not set"
    });
    let words = given.flat_map(|(name, value, _)| [format!("--{name}={value}")]);
    let words: Vec<String> = ["kitt".to_owned(), "ci".to_owned(), "run".to_owned()]
        .into_iter()
        .chain(words)
        .collect();
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| "kitt ci run".to_owned())
}
