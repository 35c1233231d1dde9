//! What was judged to everybody: files, outputs, summary, annotation, comment, in that order.

use std::path::Path;

use super::judge::Judged;
use crate::{
    app::{ci, clock, files, report, tell},
    context::{Inputs, StepFiles},
    error::Error,
    exit::Exit,
    publish::{self, Annotation, Audience, CheckState, Conclusion, Message, Outputs, Remote, Told},
    render::{self, Documents, Problem},
};

/// What an output says when there was nothing to do.
const SKIPPED: &str = "skipped";

/// Tells everybody, and gives the exit code that the gate asks for. A comment that cannot be posted
/// is a failure: it is what this command is for.
///
/// # Errors
/// A file cannot be written.
pub(super) async fn tell(inputs: &Inputs, out: &Path, judged: Vec<Judged>) -> Result<Exit, Error> {
    for one in &judged {
        write(one, out)?;
    }
    let Some(first) = worst(&judged) else {
        return Ok(nothing(inputs, "the run left no results").await);
    };
    let summaries: Vec<&str> = judged
        .iter()
        .map(|one| one.documents.summary.as_str())
        .collect();
    let together = Documents {
        summary: summaries.join("\n\n"),
        ..Documents::default()
    };
    let outputs = together_of(&judged, first, out);
    step(inputs, &outputs, &together, &first.annotation).await;
    let Err(error) = post(inputs, &judged).await else {
        return Ok(first.exit);
    };
    Ok(if first.exit == Exit::Success {
        error.exit()
    } else {
        first.exit
    })
}

/// Tells the runner alone.
async fn step(inputs: &Inputs, outputs: &Outputs, documents: &Documents, annotation: &Annotation) {
    let audience = Audience {
        files: &inputs.publish.files,
        remote: None,
    };
    let message = Message {
        outputs,
        documents,
        annotation,
        conclusion: Conclusion::Neutral,
        decision: None,
    };
    // What it came to was logged.
    drop(tell::tell(audience, message).await);
}

/// Writes what people read beside the results, or to the folder itself when there are none.
fn write(one: &Judged, out: &Path) -> Result<(), Error> {
    let dir = one.dir.as_deref().unwrap_or(out);
    if let Some(comparison) = &one.comparison {
        files::write(&dir.join("comparison.json"), comparison)?;
    }
    report::write_documents(&one.documents, dir)
}

/// Comment and check run of every leg. All are tried, and the first failure is told.
async fn post(inputs: &Inputs, judged: &[Judged]) -> Result<(), Error> {
    let mut done = Ok(());
    for one in judged {
        let mut publish = inputs.publish.clone();
        publish.section.clone_from(&one.section);
        let remote = Remote {
            publish: &publish,
            trigger: &inputs.trigger,
            check: CheckState::None,
        };
        let audience = Audience {
            // Outputs, summary and annotation of all legs are out already.
            files: &StepFiles::default(),
            remote: Some(remote),
        };
        let message = Message {
            outputs: &one.outputs,
            documents: &one.documents,
            annotation: &one.annotation,
            conclusion: one.conclusion,
            decision: one.decision.as_ref(),
        };
        match tell::tell(audience, message).await {
            Ok(Told::At { output, url }) => {
                if let Some(path) = &inputs.publish.files.output {
                    publish::write_output(path, output, &url)?;
                }
            }
            Ok(Told::Nothing | Told::Done) => {}
            Err(error) => {
                let everybody = Audience {
                    files: &inputs.publish.files,
                    remote: Some(remote),
                };
                tell::not_posted(everybody, publish::COMMENT, &error);
                done = done.and(Err(error.into()));
            }
        }
    }
    done
}

/// The leg that says most: the one with the worst end, and the first of these.
fn worst(judged: &[Judged]) -> Option<&Judged> {
    // The last of equals would win, so the order is turned round.
    judged.iter().rev().max_by_key(|one| one.exit.severity())
}

/// The outputs of all legs: the words of the worst one, the counts of all.
fn together_of(judged: &[Judged], worst: &Judged, out: &Path) -> Outputs {
    let sum = |count: fn(&Outputs) -> usize| judged.iter().map(|one| count(&one.outputs)).sum();
    let mut outputs = worst.outputs.clone();
    outputs.passed = judged.iter().all(|one| one.outputs.passed);
    outputs.regressions = sum(|outputs| outputs.regressions);
    outputs.improvements = sum(|outputs| outputs.improvements);
    outputs.inconclusive = sum(|outputs| outputs.inconclusive);
    if judged.len() > 1 {
        outputs.results_path = out.display().to_string();
    }
    outputs
}

/// Ends quietly: there is nothing to report, and that is no failure.
pub(super) async fn nothing(inputs: &Inputs, why: &str) -> Exit {
    let outputs = Outputs {
        verdict: SKIPPED.to_owned(),
        passed: true,
        gate: "off".to_owned(),
        ..report::error_outputs(Path::new(""), Exit::Success)
    };
    let text = format!("nothing is published: {why}");
    tracing::info!("{text}");
    let documents = Documents {
        summary: format!("KITT: {}\n", render::markdown(&text)),
        ..Documents::default()
    };
    step(inputs, &outputs, &documents, &Annotation::Notice(text)).await;
    Exit::Success
}

/// Tells the runner of a failure of our own; where a comment would go may not be known.
pub(super) async fn failed(inputs: &Inputs, error: &Error) {
    if matches!(error, Error::Cancelled { .. }) {
        return;
    }
    let context = render::ReportContext {
        updated: clock::now_to_the_second(),
        ..report::context(inputs)
    };
    let nowhere = Path::new("");
    let documents = ci::explain(&context, error, nowhere, Problem::default());
    if let Some(documents) = documents {
        let annotation = Annotation::Error(error.chain());
        let outputs = report::error_outputs(nowhere, error.exit());
        step(inputs, &outputs, &documents, &annotation).await;
    }
}
