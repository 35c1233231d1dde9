//! Commands of a few lines each.

use std::{io::Read, net::SocketAddr, path::Path};

use super::{check, out, signal::Stop};
use crate::{
    cli::{AboutCommand, CleanupArgs, CompareArgs, SETTINGS, SimArgs},
    compare::{self, CompareOptions},
    context::{self, ConfigFile, EnvSnapshot, GatePolicy, Inputs},
    engine::SimSpec,
    error::Error,
    exit::Exit,
    github::{OPERATIONS, tables},
    plan::PlanError,
    publish::{OUTPUTS, Output},
    serve::{self, GuardReport, Sweep},
    sim, store, verdict,
};

/// `kitt sim`: serves until a signal.
///
/// # Errors
/// A parameter is wrong, or the address cannot be listened on.
pub(super) async fn simulate(args: &SimArgs, stop: &Stop) -> Result<Exit, Error> {
    let spec = SimSpec::default()
        .with_args(&args.parameters)
        .map_err(PlanError::Launch)?;
    let address = SocketAddr::new(args.host, args.port);
    let cancel = stop.token().clone();
    sim::serve_until(
        spec,
        address.ip(),
        address.port(),
        args.record.clone(),
        cancel,
    )
    .await?;
    // Being told to stop is how a server ends.
    Ok(Exit::Success)
}

/// `kitt cleanup`: removes what earlier runs left behind.
///
/// # Errors
/// Docker answers, but a leftover cannot be removed.
pub(super) async fn cleanup(args: &CleanupArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&crate::cli::Typed::new(), env)?;
    // The GPU comes first, and a GitHub that does not answer spoils nothing of that.
    let swept = sweep(args, &inputs).await;
    if let Err(error) = check::end(&inputs).await {
        tracing::warn!("the check run stays in progress: {}", error.chain());
    }
    swept.map(|()| Exit::Success)
}

async fn sweep(args: &CleanupArgs, inputs: &Inputs) -> Result<(), Error> {
    let machine = &inputs.measure.machine;
    let cleaned = serve::cleanup(&Sweep {
        docker: machine.docker.clone(),
        lock_dir: Some(machine.lock_dir.clone()),
        run: args
            .run_id
            .clone()
            .or_else(|| inputs.trigger.run_id.clone()),
        // Legs of one job's matrix on one host share the id that the environment tells.
        even_living: args.run_id.is_some(),
    })
    .await?;
    for report in &cleaned.reports {
        guarded(report);
    }
    for name in &cleaned.removed {
        tracing::info!("removed {name}");
    }
    tracing::info!("{} leftovers removed", cleaned.removed.len());
    Ok(())
}

/// What a guard did after its run was killed.
fn guarded(report: &GuardReport) {
    let GuardReport { run, took_ms, .. } = report;
    let removed = report.removed.join(", ");
    tracing::info!("the guard of run {run} removed, in {took_ms} ms: {removed}");
    if let Some(why) = &report.unfinished {
        tracing::warn!("the guard of run {run} gave up: {why}");
    }
}

/// `kitt compare`: two directories, one verdict; or a scenario document.
///
/// # Errors
/// A directory holds no readable results, or the document is none.
pub(super) fn compare(args: &CompareArgs) -> Result<Exit, Error> {
    match (&args.scenario, &args.baseline, &args.current) {
        (Some(document), _, _) => scenario(document, args.json),
        (None, Some(baseline), Some(current)) => directories(args, baseline, current),
        // The command line asks for both or the document.
        (None, _, _) => Ok(Exit::Usage),
    }
}

fn directories(args: &CompareArgs, baseline: &Path, current: &Path) -> Result<Exit, Error> {
    let pairs = store::load_pairs(current)?;
    let (baseline, current) = (store::load(baseline)?, store::load(current)?);
    let policy = GatePolicy {
        run_cv: args.run_cv,
        ..GatePolicy::default()
    };
    // Only with the side they were measured with are they pairs.
    let same = |one: &Path, other: &Path| {
        let real = |path: &Path| path.canonicalize().ok();
        real(one).is_some() && real(one) == real(other)
    };
    let pairs = pairs.filter(|(_, side)| same(&side.path, &baseline.path));
    let options = CompareOptions {
        run_cv: args.run_cv,
        pairs: pairs.map(|(pairs, _)| pairs),
        ..CompareOptions::default()
    };
    let comparison = compare::compare(Some(&baseline), &current, &options)?;
    let decision = verdict::decide(&comparison, &current, Some(&baseline), &policy)?;
    if args.json {
        out::text(&format!(
            "{:#}",
            verdict::comparison_json(&decision, &comparison)
        ));
    } else {
        out::judgement(&decision, &comparison);
    }
    Ok(Exit::Success)
}

/// Largest scenario document that is read.
const DOCUMENT_BYTES: u64 = 64 << 20;

/// Judges a scenario document by the rules that judge a pull request.
fn scenario(path: &Path, json: bool) -> Result<Exit, Error> {
    let wrong = |detail: String| Error::Document {
        path: path.to_owned(),
        detail,
    };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(error.to_string()))?;
    if bytes.len() as u64 > DOCUMENT_BYTES {
        let detail = format!("it is larger than the {DOCUMENT_BYTES} bytes that are read");
        return Err(wrong(detail));
    }
    let answer = verdict::parse(&bytes)
        .and_then(|document| verdict::answer(&document))
        .map_err(|error| wrong(error.to_string()))?;
    let text = if json {
        serde_json::to_string(&answer)
    } else {
        serde_json::to_string_pretty(&answer)
    };
    out::text(&text.unwrap_or_default());
    Ok(Exit::Success)
}

/// Facts about kitt itself, for tests and generators.
pub(super) fn about(command: &AboutCommand) -> Exit {
    let text = match command {
        AboutCommand::Settings => serde_json::to_string_pretty(SETTINGS).unwrap_or_default(),
        AboutCommand::ExitCodes => exit_codes(),
        AboutCommand::Outputs => outputs(),
        AboutCommand::ConfigSchema => {
            serde_json::to_string_pretty(&schemars::schema_for!(ConfigFile)).unwrap_or_default()
        }
        AboutCommand::Operations { json: true, .. } => {
            serde_json::to_string_pretty(OPERATIONS).unwrap_or_default()
        }
        AboutCommand::Operations { routes: true, .. } => tables::routes(),
        AboutCommand::Operations { .. } => tables::operations_table(),
        AboutCommand::Permissions => tables::features_table(),
        AboutCommand::MissingOnServer => tables::missing_table(),
    };
    out::text(&text);
    Exit::Success
}

fn outputs() -> String {
    let row = |output: &Output| format!("| `{}` | {} |", output.name, output.help);
    let rows: Vec<String> = OUTPUTS.iter().map(row).collect();
    format!("| output | meaning |\n|---|---|\n{}", rows.join("\n"))
}

fn exit_codes() -> String {
    let row = |exit: &Exit| format!("| {} | {} |", exit.code(), exit.meaning());
    let rows: Vec<String> = Exit::ALL.iter().map(row).collect();
    format!("| code | meaning |\n|--:|---|\n{}", rows.join("\n"))
}
