//! `kitt ci report` on the results of all jobs of a matrix: one report, one comment, no race.

use std::path::Path;

use super::{ci, earlier, files, out, report, tell};
use crate::{
    context::Inputs,
    error::Error,
    exit::Exit,
    publish::{Annotation, Audience, CheckState, Conclusion, Message, Outputs, Remote},
    render::{self, Documents, Problem, ReportContext},
    store::LegDir,
    verdict::{Decision, Verdict},
};

/// What one job came to.
struct Job {
    folder: String,
    name: String,
    documents: Documents,
    outputs: Outputs,
    exit: Exit,
    /// `None`: its results could not be read.
    decision: Option<Decision>,
}

/// Compares the results of each job with its own baseline and reports them as one. The exit code
/// is that of the worst job: a broken limit, then a regression, then results that cannot be read,
/// then what is not proven.
///
/// # Errors
/// A file cannot be written, or the comment could not be posted.
pub(super) async fn report(
    inputs: &Inputs,
    legs: &[LegDir],
    output: Option<&Path>,
) -> Result<Exit, Error> {
    let mut jobs = Vec::with_capacity(legs.len());
    for leg in legs {
        jobs.push(judge(inputs, leg, output.is_none()).await?);
    }
    let all = jobs
        .iter()
        .map(|job| (job.folder.clone(), job.documents.clone()));
    let documents = render::merged(&inputs.publish.key, &all.collect::<Vec<_>>())?;
    report::write_documents(&documents, &inputs.results_dir)?;
    let exit = jobs
        .iter()
        .map(|job| job.exit)
        .max_by_key(|exit| exit.severity());
    let exit = exit.unwrap_or(Exit::Success);
    if let Some(path) = output {
        files::write(path, &documents.comment)?;
        return Ok(exit);
    }
    if !tell::required(announce(inputs, &documents, &jobs, exit).await)? {
        out::text(&documents.comment);
    }
    Ok(exit)
}

async fn judge(inputs: &Inputs, leg: &LegDir, ask: bool) -> Result<Job, Error> {
    let mut own = inputs.clone();
    own.publish.section = Some(leg.section.clone());
    own.results_dir.clone_from(&leg.dir);
    own.baseline_dir = beside(inputs.baseline_dir.as_deref(), &leg.name);
    own.against.history = beside(inputs.against.history.as_deref(), &leg.name);
    let before = if ask {
        earlier::earlier(&own).await
    } else {
        Vec::new()
    };
    let base = own.baseline_dir.as_deref();
    let made = report::make(&leg.dir, base, &own, None, before.clone());
    let (folder, name) = (leg.name.clone(), leg.section.as_str().to_owned());
    Ok(match made {
        Ok(made) => {
            report::write_files(&made, &leg.dir)?;
            let exit = report::gate_exit(&made.decision.gate);
            Job {
                folder,
                name,
                outputs: report::outputs(&made, &leg.dir, exit),
                exit,
                documents: made.documents,
                decision: Some(made.decision),
            }
        }
        Err(error) => {
            tracing::error!("{name}: {}", error.chain());
            let context = ReportContext {
                earlier: before,
                ..report::context(&own)
            };
            let documents = ci::explained(&context, &error, &leg.dir, Problem::default())?;
            report::write_documents(&documents, &leg.dir)?;
            Job {
                folder,
                name,
                outputs: report::error_outputs(&leg.dir, Exit::Failure),
                exit: Exit::Failure,
                documents,
                decision: None,
            }
        }
    })
}

/// What belongs to one job in a folder of folders with the same names; the folder itself where it
/// has none of that name.
fn beside(dir: Option<&Path>, name: &str) -> Option<std::path::PathBuf> {
    let dir = dir?;
    let own = dir.join(name);
    Some(if own.is_dir() { own } else { dir.to_owned() })
}

async fn announce(
    inputs: &Inputs,
    documents: &Documents,
    jobs: &[Job],
    exit: Exit,
) -> tell::Commented {
    let outputs = outputs(inputs, jobs, exit);
    let worst = jobs.iter().max_by_key(|job| job.exit.severity());
    let worst = worst.filter(|job| job.exit != Exit::Success);
    let annotation = match worst {
        Some(job) => Annotation::Error(match &job.decision {
            Some(decision) => {
                let why = decision.gate.reason().unwrap_or_default();
                format!("{}: {why}", job.name)
            }
            None => format!("{}: its results cannot be read", job.name),
        }),
        None if outputs.regressions > 0 => Annotation::Warning(documents.title.clone()),
        None => Annotation::Notice(documents.title.clone()),
    };
    let message = Message {
        outputs: &outputs,
        documents,
        annotation: &annotation,
        conclusion: conclusion(jobs),
        decision: None,
    };
    let audience = Audience {
        files: &inputs.publish.files,
        remote: Some(Remote {
            publish: &inputs.publish,
            trigger: &inputs.trigger,
            check: CheckState::None,
        }),
    };
    tell::tell(audience, message).await
}

/// The colour of the whole: the worst of all.
fn conclusion(jobs: &[Job]) -> Conclusion {
    let of = |job: &Job| match &job.decision {
        Some(decision) => Conclusion::of(decision, false),
        None => Conclusion::ActionRequired,
    };
    let rank = |conclusion: &Conclusion| match conclusion {
        Conclusion::Success => 0,
        Conclusion::Neutral => 1,
        Conclusion::Cancelled => 2,
        Conclusion::ActionRequired => 3,
        Conclusion::Failure => 4,
    };
    jobs.iter()
        .map(of)
        .max_by_key(rank)
        .unwrap_or(Conclusion::Neutral)
}

/// Sums, and the worst of all.
fn outputs(inputs: &Inputs, jobs: &[Job], exit: Exit) -> Outputs {
    let dir = &inputs.results_dir;
    let sum = |pick: fn(&Outputs) -> usize| jobs.iter().map(|job| pick(&job.outputs)).sum();
    let verdicts = jobs
        .iter()
        .map(|job| job.decision.as_ref().map(|one| one.verdict));
    // No verdict is worse than any but a regression; verdicts are ordered, the most urgent first.
    let worst = verdicts.min_by_key(|verdict| match verdict {
        Some(Verdict::Regressed) => (0, None),
        None => (1, None),
        Some(other) => (2, Some(*other)),
    });
    let any = |word: &str| jobs.iter().any(|job| job.outputs.gate == word);
    let gate = ["failed", "error", "passed"]
        .into_iter()
        .find(|word| any(word));
    Outputs {
        verdict: worst.flatten().map_or("error", Verdict::name).to_owned(),
        passed: jobs.iter().all(|job| job.outputs.passed),
        gate: gate.unwrap_or("off").to_owned(),
        regressions: sum(|one| one.regressions),
        improvements: sum(|one| one.improvements),
        inconclusive: sum(|one| one.inconclusive),
        results_path: dir.display().to_string(),
        report_path: dir.join("report.html").display().to_string(),
        exit_code: Some(exit.code()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Outputs::default()
    }
}
