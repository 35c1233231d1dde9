//! `kitt ci run` and `kitt ci report`.

use std::path::Path;

use super::{
    accept, baseline, check, clock, earlier, files, forks, learn, measure, merged, out, pairs,
    policy, report, signal::Stop, tell,
};
use crate::{
    cli::{CiReportArgs, CiRunArgs},
    context::{self, EnvSnapshot, Inputs, StepFiles},
    error::Error,
    exit::Exit,
    ids::ModelRef,
    publish::{Annotation, Audience, CheckState, Conclusion, Message, Remote},
    render::{self, Documents, Problem, RenderError, ReportContext},
    store,
};

/// Measures, compares, reports and gates. A failure is reported as carefully as a verdict: the
/// outputs say `error`, the summary and the comment say why.
///
/// # Errors
/// Whatever stopped the measurement, after it was reported.
pub(super) async fn run(args: &CiRunArgs, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    // Before anything is measured: nobody waits half an hour to read of a typing error.
    let resolved = learn::resolve(&args.settings.0, env)
        .await
        .and_then(|inputs| inputs.policy.check_names(Vec::new).map(|()| inputs));
    let mut inputs = match resolved {
        Ok(inputs) => inputs,
        Err(error) => {
            // Without inputs there is no comment, but a later step may still read the verdict.
            let error = error.into();
            unresolved(env, &error).await;
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
    let (begun, ended) = match forks::guard(&inputs) {
        Ok(()) => {
            let begun = check::begin(&inputs, stop).await;
            (begun, find_and_measure(&mut inputs, env, begun, stop).await)
        }
        Err(error) => (CheckState::None, Err(error)),
    };
    match ended {
        Ok(exit) => Ok(exit),
        Err(error) => {
            failed(&inputs, &error, begun).await;
            Err(error)
        }
    }
}

/// The baseline comes first: a missing right is told before a GPU is kept busy.
async fn find_and_measure(
    inputs: &mut Inputs,
    env: &EnvSnapshot,
    begun: CheckState,
    stop: &Stop,
) -> Result<Exit, Error> {
    let _downloaded = baseline::before(inputs, env).await?;
    stop.check()?;
    measure_and_judge(inputs, begun, stop).await
}

async fn measure_and_judge(inputs: &Inputs, begun: CheckState, stop: &Stop) -> Result<Exit, Error> {
    let measured = pairs::measure(inputs, stop).await?;
    let dir = &inputs.results_dir;
    // After the measurement: somebody may have accepted the cost meanwhile.
    let inputs = &accept::heard(inputs).await;
    let mut report = report::make(
        dir,
        inputs.baseline_dir.as_deref(),
        inputs,
        Some(measure::command_line(inputs)),
        earlier::earlier(inputs).await,
    )?;
    stop.check()?;
    report.learn(inputs, dir);
    let invalid = measured.invalid && !(measured.in_pairs && report.is_settled());
    report.kept = baseline::kept(inputs, &report.decision, dir, invalid);
    let exit = report::conclude(&report, inputs, dir, invalid, begun).await?;
    baseline::store(inputs, &report.decision, dir, invalid).await;
    Ok(exit)
}

/// Reports that there is no verdict. After a signal nothing goes over the network.
async fn failed(inputs: &Inputs, error: &Error, check: CheckState) {
    let dir = &inputs.results_dir;
    let cancelled = matches!(error, Error::Cancelled { .. });
    let context = ReportContext {
        earlier: if cancelled {
            Vec::new()
        } else {
            earlier::earlier(inputs).await
        },
        ..report::context(inputs)
    };
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
    let remote = Remote {
        publish: &inputs.publish,
        trigger: &inputs.trigger,
        check,
    };
    let audience = Audience {
        files: &inputs.publish.files,
        // The commit of a run after a deletion is that of another branch, which did nothing.
        remote: (!cancelled && !inputs.trigger.deleted).then_some(remote),
    };
    tell_failure(audience, dir, &documents, error).await;
}

async fn tell_failure(audience: Audience<'_>, dir: &Path, documents: &Documents, error: &Error) {
    let message = Message {
        outputs: &report::error_outputs(dir, error.exit()),
        documents,
        annotation: &Annotation::Error(error.chain()),
        conclusion: Conclusion::ActionRequired,
        decision: None,
    };
    // What it came to was logged.
    drop(tell::tell(audience, message).await);
}

/// The documents that say why there is no verdict.
pub(super) fn explain(
    context: &ReportContext,
    error: &Error,
    dir: &Path,
    subject: Problem<'_>,
) -> Option<Documents> {
    explained(context, error, dir, subject)
        .inspect_err(|error| tracing::error!("{error}"))
        .ok()
}

/// The same.
///
/// # Errors
/// A fault in kitt's own templates.
pub(super) fn explained(
    context: &ReportContext,
    error: &Error,
    dir: &Path,
    subject: Problem<'_>,
) -> Result<Documents, RenderError> {
    let problem = Problem {
        title: title(error),
        reason: &error.chain(),
        remedy: Some(remedy(error, dir)),
        ..subject
    };
    render::failure(context, &problem)
}

/// What happened, in a few words.
fn title(error: &Error) -> &'static str {
    if let Error::Refused { title, .. } = error {
        return title;
    }
    match error.exit() {
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
fn remedy<'a>(error: &'a Error, dir: &Path) -> &'a str {
    if let Error::Refused { remedy, .. } = error {
        return remedy;
    }
    match error.exit() {
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
pub(super) async fn unresolved(env: &EnvSnapshot, error: &Error) {
    let nowhere = Path::new("");
    let context = ReportContext {
        updated: clock::now_to_the_second(),
        ..ReportContext::default()
    };
    if let Some(documents) = explain(&context, error, nowhere, Problem::default()) {
        let audience = Audience {
            files: &StepFiles::read(env),
            remote: None,
        };
        tell_failure(audience, nowhere, &documents, error).await;
    }
}

/// Compares and reports results that exist already; KITT's contract: `--output` writes and does
/// not post, without it the comment is posted when token, repository and pull request are
/// given, else printed.
///
/// # Errors
/// No results, unreadable results, or a comment that could not be posted.
pub(super) async fn report(args: &CiReportArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let mut inputs = learn::resolve(&args.settings.0, env).await?;
    policy::say_contexts(&inputs);
    report::existing(&inputs)?;
    let legs = store::legs(&inputs.results_dir)?;
    if let Some(legs) = legs {
        let inputs = accept::heard(&inputs).await;
        return merged::report(&inputs, &legs, args.output.as_deref()).await;
    }
    let _downloaded = baseline::after(&mut inputs, env).await?;
    let inputs = accept::heard(&inputs).await;
    let report = report::make(
        &inputs.results_dir,
        inputs.baseline_dir.as_deref(),
        &inputs,
        None,
        // What goes into a file asks nobody.
        match &args.output {
            Some(_) => Vec::new(),
            None => earlier::earlier(&inputs).await,
        },
    )?;
    let comment = &report.documents.comment;
    let exit = report::gate_exit(&report.decision.gate);
    if let Some(path) = &args.output {
        files::write(path, comment)?;
    } else {
        let outputs = report::outputs(&report, &inputs.results_dir, exit);
        let conclusion = Conclusion::of(&report.decision, false);
        let commented =
            report::announce(&report, &inputs, &outputs, conclusion, CheckState::None).await;
        if !tell::required(commented)? {
            out::text(comment);
        }
    }
    Ok(exit)
}
