//! `kitt doctor`: looks at this host and says what would stop a run, what would spoil its
//! numbers, and what to do. Facts are collected first; judging them is pure.

mod bench;
mod collect;
mod collect_gpu;
mod docker;
mod finding;
mod gpu;
mod host;
mod locks;
mod places;
mod print;

pub(super) use collect::gpu_ways;

use super::out;
use crate::{
    cli::{DoctorArgs, Typed},
    context::{self, EnvSnapshot, Inputs},
    engine::{self, Mode},
    error::Error,
    exit::Exit,
    plan::PlanError,
};

/// `kitt doctor`.
///
/// # Errors
/// A setting is wrong. What is wrong with the host is a finding.
pub(super) async fn run(args: &DoctorArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&typed(args), env)?;
    if let Some(name) = &inputs.measure.engine {
        engine::find(name).map_err(PlanError::Launch)?;
    }
    let needs_docker = needs_docker(&inputs);
    // The only task: blocking harms nobody.
    let mut source = collect_gpu::open(&inputs.measure.machine.telemetry);
    let seen = collect_gpu::seen(source.as_mut());
    let facts = collect::all(&inputs, args, env, seen).await;
    let asked = docker::Asked {
        docker: needs_docker,
        gpus: matches!(&facts.gpus.seen, gpu::Seen::Gpus(_))
            && facts.gpus.wanted != gpu::Wanted::None,
    };
    let findings = [
        docker::judge(&facts.docker, asked),
        gpu::judge(&facts.gpus),
        host::judge(&facts.machine),
        places::judge(&facts.places),
    ]
    .concat();
    let timed = source.as_mut().ok().filter(|_| args.nvml_bench);
    let bench = timed.map(|source| bench::run(source.as_mut()));
    if args.json {
        let mut document = print::Document::new(&findings);
        document.nvml_bench = bench.and_then(|bench| serde_json::to_value(bench.ok()?).ok());
        out::text(&serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        out::text(&print::people(&findings));
        match bench {
            Some(Ok(bench)) => out::text(&bench::people(&bench)),
            Some(Err(error)) => tracing::warn!("the readings cannot be timed: {error}"),
            None => {}
        }
    }
    Ok(if print::usable(&findings) {
        Exit::Success
    } else {
        Exit::Host
    })
}

/// The arguments under their settings' names, so that the same rules and defaults hold as for a
/// run.
fn typed(args: &DoctorArgs) -> Typed {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.display().to_string());
    [
        ("engine", args.engine.clone()),
        ("mode", args.mode.clone()),
        ("image", args.image.clone()),
        ("gpus", args.gpus.clone()),
        ("docker-host", args.docker_host.clone()),
        ("results-dir", path(&args.output)),
        ("lock-dir", path(&args.lock_dir)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// Whether the asked-for engine runs in a container; without one, a container is assumed.
fn needs_docker(inputs: &Inputs) -> bool {
    let without = ["sim", "openai"];
    match (inputs.measure.mode, inputs.measure.engine.as_deref()) {
        (Some(mode), _) => mode == Mode::Docker,
        (None, Some(name)) => !without.contains(&name),
        (None, None) => true,
    }
}
