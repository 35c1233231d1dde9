//! The GPUs of a session: who watches them, who else uses them, what they draw when idle.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::signal::Stop;
use crate::{
    context::{Machine, TelemetryChoice},
    engine::{GpuSet, Target},
    error::Error,
    measure,
    plan::Plan,
    serve::Runs,
    telemetry::{self, NoGpu, Owner, Watch},
};

/// How long the idle engine is watched: energy counters move in steps of 100 ms, and what is
/// shorter than ten seconds is no baseline.
const IDLE: Duration = Duration::from_millis(10_200);

/// Who else uses the GPUs; `None` when nobody does or nothing tells.
pub(super) async fn used_by_others(gpus: GpuSet) -> Option<String> {
    // Reading the GPUs blocks for seconds.
    let asked = tokio::task::spawn_blocking(move || telemetry::gpu_busy(&gpus));
    asked.await.ok().flatten()
}

/// Watches the GPUs the engine gets. Without any the run goes on, unless they are required.
pub(super) fn watch(plan: &Plan, machine: &Machine) -> Result<Result<Rc<Watch>, NoGpu>, Error> {
    let (gpus, own) = match &plan.launch.target {
        Target::Container(container) => (container.gpus.clone(), true),
        Target::Process(process) => (process.gpus.clone(), true),
        Target::InProcess(_) | Target::Endpoint(_) => (GpuSet::None, false),
    };
    // The energy of GPUs that do nothing says nothing about the engine.
    let unused = own && gpus.is_none() && machine.telemetry == TelemetryChoice::Auto;
    let watch = if unused {
        Err(NoGpu::NotUsed)
    } else {
        Watch::start(&machine.telemetry, &gpus).map(Rc::new)
    };
    if let Err(none) = &watch {
        if machine.require_telemetry {
            return Err(Error::Telemetry(none.clone()));
        }
        // Most machines have none, and an engine in this process or elsewhere needs none.
        let expected = gpus.is_none() && matches!(none, NoGpu::NoLibrary(_) | NoGpu::NoDevice);
        if expected {
            tracing::info!("telemetry: unavailable ({none})");
        } else if !matches!(none, NoGpu::NotUsed | NoGpu::Off) {
            tracing::warn!("telemetry: unavailable ({none})");
        }
    }
    Ok(watch)
}

/// A watcher, and where its readings come from in words.
pub(super) fn described(watch: Result<Rc<Watch>, NoGpu>) -> (Option<Rc<Watch>>, Option<String>) {
    match watch {
        Ok(watch) => {
            let text = format!("{}, {} GPU(s)", watch.source(), watch.devices().len());
            (Some(watch), Some(text))
        }
        Err(none) => (None, Some(none.to_string())),
    }
}

/// How many GPUs an engine that kitt starts gets, where that is known before they are watched.
pub(super) fn count(target: &Target) -> Option<u32> {
    let count = target.gpus().count().filter(|count| *count > 0)?;
    u32::try_from(count).ok()
}

/// Whose processes are to be on the GPUs while the engine runs.
pub(super) fn owner(runs: &Runs) -> Owner {
    match runs {
        // It uses none.
        Runs::Here => Owner::Nobody,
        Runs::Container(id) => Owner::Container(id.clone()),
        Runs::Group(leader) => Owner::Group(*leader),
        Runs::Elsewhere => Owner::Unknown,
    }
}

/// Watches the engine for a while before anything is asked of it. `None` when its power is not
/// known.
///
/// # Errors
/// A signal arrived.
pub(super) async fn idle_power(watch: &Watch, stop: &Stop) -> Result<Option<f64>, Error> {
    let (section, began) = (watch.section(), Instant::now());
    tokio::select! {
        () = tokio::time::sleep(IDLE) => {}
        () = stop.token().cancelled() => {}
    }
    stop.check()?;
    let window = Duration::ZERO..began.elapsed();
    let power = measure::idle_power(&section.stop(), &window);
    if let Some(watts) = power {
        tracing::info!("the idle engine draws {watts:.0} W");
    } else {
        tracing::warn!("the idle engine's power is not known");
    }
    Ok(power)
}
