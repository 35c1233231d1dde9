//! Results of a stranger to a verdict of our own: compared with the baseline, judged by the policy
//! and put into the words of this repository. What cannot be read is told as carefully.

use std::path::{Path, PathBuf};

use super::take::Taken;
use crate::{
    app::{baseline, report},
    context::{CompletedRun, EnvSnapshot, Foreign, Inputs},
    error::Error,
    exit::Exit,
    ids::{Section, is_hidden},
    publish::{Annotation, Conclusion, Outputs},
    render::{self, Documents, Problem, ReportContext},
    verdict::{Decision, comparison_json},
};

/// The file of a folder that was taken.
const METRICS: &str = "metrics.json";

/// One leg, ready to be told.
pub(super) struct Judged {
    /// Which part of the comment is its; `None`: all of it.
    pub(super) section: Option<Section>,
    /// Where its results and reports are.
    pub(super) dir: Option<PathBuf>,
    /// What people read.
    pub(super) documents: Documents,
    /// The comparison as JSON, where there is one.
    pub(super) comparison: Option<String>,
    pub(super) outputs: Outputs,
    pub(super) annotation: Annotation,
    pub(super) conclusion: Conclusion,
    /// What was decided; `None` where there is no verdict.
    pub(super) decision: Option<Decision>,
    pub(super) exit: Exit,
}

/// Judges every leg.
///
/// # Errors
/// This repository's own baseline, history or policy cannot be used.
pub(super) async fn all(
    taken: Taken,
    inputs: &Inputs,
    env: &EnvSnapshot,
    run: &CompletedRun,
    origin: Option<&str>,
) -> Result<Vec<Judged>, Error> {
    let context = |results: Option<String>| ReportContext {
        results,
        origin: origin.map(str::to_owned),
        ..report::context(inputs)
    };
    let legs = match taken {
        Taken::Legs(legs) => legs,
        Taken::Nothing(why) => return Ok(vec![no_results(inputs, run, &context(None), &why)?]),
    };
    let mut all = Vec::new();
    for (index, leg) in legs.into_iter().enumerate() {
        let name = leg.name.as_deref();
        let context = context(name.map(|name| format!("artifact {name}")));
        let mut own = inputs.clone();
        own.publish.section = name.and_then(|name| section(name, &inputs.foreign, index + 1));
        let judged = match leg.results {
            Ok(dir) => read(dir, name, &mut own, env, &context).await?,
            Err(why) => refused(&own, &context, &why)?,
        };
        all.push(Judged {
            section: own.publish.section,
            ..judged
        });
    }
    Ok(all)
}

/// The part of the comment for an artifact, whose name the run chose: what tells it from the other
/// legs' artifacts.
fn section(name: &str, foreign: &Foreign, number: usize) -> Option<Section> {
    let pattern = foreign.artifact.as_str();
    let common = pattern.split(['*', '?', '[', '{', '\\']).next();
    let own = name.strip_prefix(common.unwrap_or_default());
    let own = own.filter(|own| !own.is_empty()).unwrap_or(name);
    let visible: String = own.chars().filter(|c| !is_hidden(*c)).take(100).collect();
    let number = format!("leg {number}");
    visible.parse().or_else(|_| number.parse()).ok()
}

async fn read(
    dir: PathBuf,
    name: Option<&str>,
    inputs: &mut Inputs,
    env: &EnvSnapshot,
    context: &ReportContext,
) -> Result<Judged, Error> {
    let sides = match report::foreign_sides(&dir.join(METRICS)) {
        Ok(sides) => sides,
        Err(error) => return refused(inputs, context, &unplaced(&error.chain(), &dir)),
    };
    inputs.results_dir.clone_from(&dir);
    inputs.baseline_dir = inputs.baseline_dir.take().map(|all| of_leg(all, name));
    // What is downloaded lives until it was compared.
    let _downloaded = baseline::after(inputs, env).await?;
    let baseline = inputs.baseline_dir.as_deref();
    let report = report::make_of(sides, baseline, inputs, context.clone())?;
    let comparison = comparison_json(&report.decision, &report.comparison);
    let exit = report::gate_exit(&report.decision.gate);
    Ok(Judged {
        section: None,
        outputs: report::outputs(&report, &dir, exit),
        annotation: Annotation::of(&report.decision),
        conclusion: Conclusion::of(&report.decision, false),
        exit,
        comparison: serde_json::to_string_pretty(&comparison).ok(),
        documents: report.documents,
        decision: Some(report.decision),
        dir: Some(dir),
    })
}

/// An error without the folder of this host in it.
fn unplaced(text: &str, dir: &Path) -> String {
    text.replace(&format!("{}/", dir.display()), "")
}

/// The baseline of a leg: the folder of its name where baselines of several legs lie side by side.
/// The name is a stranger's, so only plain ones are looked for.
fn of_leg(all: PathBuf, name: Option<&str>) -> PathBuf {
    let plain = |name: &&str| {
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !name.starts_with('.') && name.bytes().all(letter)
    };
    let own = name.filter(plain).map(|name| all.join(name));
    own.filter(|dir| dir.is_dir()).unwrap_or(all)
}

/// The run left nothing to judge. It may have failed, which its pull request should hear of.
fn no_results(
    inputs: &Inputs,
    run: &CompletedRun,
    context: &ReportContext,
    why: &str,
) -> Result<Judged, Error> {
    let reason = format!(
        "The run ended with `{}` and left no results: {why}.",
        run.conclusion
    );
    let remedy = "See the log of the run linked above; a benchmark that failed says there why.";
    problem(inputs, context, "the run left no results", &reason, remedy)
}

fn refused(inputs: &Inputs, context: &ReportContext, why: &str) -> Result<Judged, Error> {
    let remedy = "Results are read as kitt writes them and as nothing else: upload its results \
                  directory as it is, and re-run the benchmark.";
    let reason = format!("The results of the run were refused: {why}.");
    problem(inputs, context, "the results were refused", &reason, remedy)
}

fn problem(
    inputs: &Inputs,
    context: &ReportContext,
    title: &str,
    reason: &str,
    remedy: &str,
) -> Result<Judged, Error> {
    let documents = render::failure(
        context,
        &Problem {
            title,
            reason,
            remedy: Some(remedy),
            ..Problem::default()
        },
    )?;
    tracing::warn!("{reason}");
    Ok(Judged {
        section: None,
        dir: None,
        documents,
        comparison: None,
        outputs: report::error_outputs(Path::new(""), Exit::Failure),
        annotation: Annotation::Warning(reason.to_owned()),
        conclusion: Conclusion::ActionRequired,
        decision: None,
        // Nothing was measured, so that a gate does not open.
        exit: if inputs.policy.gate {
            Exit::Failure
        } else {
            Exit::Success
        },
    })
}
