//! `kitt ci run` and `kitt ci report`.

use std::path::Path;

use super::{clock, files, measure, out, pairs, policy, report, signal::Stop, tell};
use crate::{
    cli::{CiReportArgs, CiRunArgs},
    context::{self, EnvSnapshot, Inputs, StepFiles},
    error::Error,
    exit::Exit,
    ids::ModelRef,
    render::{self, Documents, Problem, ReportContext},
};

/// Measures, compares, reports and gates. A failure is reported as carefully as a verdict: the
/// outputs say `error`, the summary and the comment say why.
///
/// # Errors
/// Whatever stopped the measurement, after it was reported.
pub(super) async fn run(args: &CiRunArgs, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    // Before anything is measured: nobody waits half an hour to read of a typing error.
    let resolved = context::resolve(&args.settings.0, env)
        .and_then(|inputs| inputs.policy.check_names(Vec::new).map(|()| inputs));
    let inputs = match resolved {
        Ok(inputs) => inputs,
        Err(error) => {
            // Without inputs there is no comment, but a later step may still read the verdict.
            let error = error.into();
            unresolved(env, &error);
            return Err(error);
        }
    };
    tell::hide(&inputs);
    for (name, closest) in context::unknown_variables(env) {
        let hint = closest
            .map(|name| format!("; did you mean {name}?"))
            .unwrap_or_default();
        tracing::warn!("{name} is no input of kitt and is ignored{hint}");
    }
    if args.print_config {
        let settings = inputs.layers.explain().into_iter();
        let settings = settings.map(|(name, value, from)| (name.to_owned(), value, from));
        let rows: Vec<_> = settings.chain(inputs.policy_rows).collect();
        out::table(&rows);
        return Ok(Exit::Success);
    }
    policy::say_contexts(&inputs);
    match measure_and_judge(&inputs, stop).await {
        Ok(exit) => Ok(exit),
        Err(error) => {
            failed(&inputs, &error).await;
            Err(error)
        }
    }
}

async fn measure_and_judge(inputs: &Inputs, stop: &Stop) -> Result<Exit, Error> {
    let measured = pairs::measure(inputs, stop).await?;
    let report = report::make(
        &inputs.results_dir,
        inputs.baseline_dir.as_deref(),
        inputs,
        Some(measure::command_line(inputs)),
    )?;
    stop.check()?;
    report.learn(inputs, &inputs.results_dir);
    report::conclude(
        &report,
        &inputs.publish,
        &inputs.results_dir,
        measured.invalid && !(measured.in_pairs && report.is_settled()),
    )
    .await
}

/// Reports that there is no verdict. After a signal nothing goes over the network.
async fn failed(inputs: &Inputs, error: &Error) {
    let dir = &inputs.results_dir;
    let cancelled = matches!(error, Error::Cancelled { .. });
    let context = report::context(inputs);
    let measure = &inputs.measure;
    let subject = Problem {
        engine: measure.engine.as_deref(),
        model: measure.model.as_ref().map(ModelRef::as_str),
        suite: Some(&measure.suite),
        ..Problem::default()
    };
    let Some(documents) = explain(&context, error, dir, subject) else {
        return;
    };
    if dir.is_dir()
        && let Err(error) = report::write_documents(&documents, dir)
    {
        tracing::error!("{}", error.chain());
    }
    let mut publish = inputs.publish.clone();
    publish.post_comment &= !cancelled;
    let annotation = tell::Annotation::Error(error.chain());
    tell::tell(
        &publish,
        &report::error_outputs(dir),
        &documents,
        &annotation,
    )
    .await;
}

/// The documents that say why there is no verdict.
fn explain(
    context: &ReportContext,
    error: &Error,
    dir: &Path,
    subject: Problem<'_>,
) -> Option<Documents> {
    let problem = Problem {
        title: title(error.exit()),
        reason: &error.chain(),
        remedy: Some(remedy(error.exit(), dir)),
        ..subject
    };
    render::failure(context, &problem)
        .inspect_err(|error| tracing::error!("{error}"))
        .ok()
}

/// What happened, in a few words.
fn title(exit: Exit) -> &'static str {
    match exit {
        Exit::Usage => "the configuration is wrong",
        Exit::Host => "this host cannot run the benchmark",
        Exit::Engine => "the engine failed",
        Exit::Interrupted | Exit::Terminated => "the run was cancelled",
        Exit::Success
        | Exit::Failure
        | Exit::Regression
        | Exit::NotProven
        | Exit::LimitBroken
        | Exit::Invalid => "the benchmark failed",
    }
}

/// What a person does next, by kind of failure.
fn remedy(exit: Exit, dir: &Path) -> &'static str {
    match exit {
        Exit::Usage => {
            "Correct the setting named above; `kitt ci run --print-config` shows where each value comes from."
        }
        Exit::Host => {
            "This runner cannot run the benchmark; re-run the job on another one, or see the log of this step."
        }
        Exit::Engine if !dir.join("engine.log").exists() => {
            "Check that the server runs, and that endpoint and model are right."
        }
        Exit::Engine => {
            "The engine's own log is in the results directory (engine.log); the last lines usually name the cause."
        }
        Exit::Interrupted | Exit::Terminated => {
            "The job was cancelled; re-run it to measure again."
        }
        Exit::Success
        | Exit::Failure
        | Exit::Regression
        | Exit::NotProven
        | Exit::LimitBroken
        | Exit::Invalid => "See the log of this step, and re-run the job to measure again.",
    }
}

/// Reports settings that make no sense, as far as the runner's files alone allow: where a
/// comment would go is not known.
fn unresolved(env: &EnvSnapshot, error: &Error) {
    let nowhere = Path::new("");
    let context = ReportContext {
        updated: clock::now_to_the_second(),
        ..ReportContext::default()
    };
    if let Some(documents) = explain(&context, error, nowhere, Problem::default()) {
        let annotation = tell::Annotation::Error(error.chain());
        tell::step(
            &StepFiles::read(env),
            &report::error_outputs(nowhere),
            &documents,
            &annotation,
        );
    }
}

/// Compares and reports results that exist already; KITT's contract: `--output` writes and does
/// not post, without it the comment is posted when token, repository and pull request are
/// given, else printed.
///
/// # Errors
/// No results, unreadable results, or a comment that could not be posted.
pub(super) async fn report(args: &CiReportArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&args.settings.0, env)?;
    policy::say_contexts(&inputs);
    report::existing(&inputs)?;
    let report = report::make(
        &inputs.results_dir,
        inputs.baseline_dir.as_deref(),
        &inputs,
        None,
    )?;
    let comment = &report.documents.comment;
    if let Some(path) = &args.output {
        files::write(path, comment)?;
    } else {
        let mut publish = inputs.publish.clone();
        publish.post_comment = false;
        let outputs = report::outputs(&report, &inputs.results_dir);
        tell::tell(
            &publish,
            &outputs,
            &report.documents,
            &tell::Annotation::of(&report.decision),
        )
        .await;
        if !inputs.publish.post_comment || !tell::post_required(&inputs.publish, comment).await? {
            out::text(comment);
        }
    }
    Ok(report::gate_exit(&report.decision.gate))
}
