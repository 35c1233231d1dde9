//! Results to a decision to documents, and the documents to people.
//!
//! Order, always: files → outputs → summary → annotations → comment → exit code.

use std::path::Path;

use super::{clock, files, out, tell};
use crate::{
    compare::{self, CompareOptions, Comparison},
    context::{Inputs, Publish},
    error::Error,
    exit::Exit,
    publish::Outputs,
    render::{self, Documents, NoBaseline, ReportContext, ReportInput},
    results::ResultSet,
    store::{self, StoreError},
    verdict::{self, Decision, Gate, Verdict},
};

/// A finished report, not yet told to anybody.
pub(super) struct Report {
    /// What was decided.
    pub(super) decision: Decision,
    /// What it rests on.
    pub(super) comparison: Comparison,
    /// What people read.
    pub(super) documents: Documents,
    /// Where the baseline came from, if there is one.
    pub(super) baseline_ref: Option<String>,
}

/// A baseline, or why there is none.
type BaselineSide = Result<ResultSet, String>;

/// Reads the baseline. A directory that does not exist or holds nothing is "no baseline"; one
/// that holds something unreadable is an error, since a gate must not open on a broken file.
fn baseline(dir: Option<&Path>) -> Result<BaselineSide, Error> {
    let Some(dir) = dir else {
        return Ok(Err("none was given".to_owned()));
    };
    match store::load(dir) {
        Ok(results) => Ok(Ok(results)),
        Err(error @ (StoreError::Missing { .. } | StoreError::Empty { .. })) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Compares, decides and renders.
///
/// # Errors
/// Results cannot be read, or one of the later stages fails.
pub(super) fn make(
    current_dir: &Path,
    baseline_dir: Option<&Path>,
    inputs: &Inputs,
    reproduce: Option<String>,
) -> Result<Report, Error> {
    let current = store::load(current_dir)?;
    let baseline = baseline(baseline_dir)?;
    if let Err(reason) = &baseline {
        tracing::info!("no baseline: {reason}");
    }
    let options = CompareOptions {
        run_cv: inputs.policy.run_cv,
        seed: inputs.measure.seed,
        ..CompareOptions::default()
    };
    let base = baseline.as_ref().ok();
    let comparison = compare::compare(base, &current, &options)?;
    let decision = verdict::decide(&comparison, &current, base, &inputs.policy)?;
    let baseline_ref = base.map(baseline_name);
    let context = ReportContext {
        config_diff: base
            .map(|base| config_diff(base, &current))
            .unwrap_or_default(),
        results: Some(current_dir.display().to_string()),
        base: baseline_ref.clone(),
        reproduce,
        ..context(inputs)
    };
    let documents = render::render(&ReportInput {
        decision: &decision,
        comparison: &comparison,
        current: &current,
        baseline: baseline.as_ref().map_err(|reason| NoBaseline(reason)),
        context: &context,
    })?;
    Ok(Report {
        decision,
        comparison,
        documents,
        baseline_ref,
    })
}

/// What is known about where and when, without the results.
pub(super) fn context(inputs: &Inputs) -> ReportContext {
    let trigger = &inputs.trigger;
    ReportContext {
        key: Some(inputs.publish.key.clone()),
        head: trigger.head.as_ref().map(ToString::to_string),
        run_url: trigger.run_url.clone(),
        updated: clock::now_to_the_second(),
        attempt: trigger.attempt,
        ..ReportContext::default()
    }
}

/// The baseline's commit, else when it was measured, else where it was found.
fn baseline_name(baseline: &ResultSet) -> String {
    let commit = baseline.provenance.commit.clone();
    let found = || baseline.path.display().to_string();
    commit
        .or_else(|| baseline.timestamp.clone())
        .unwrap_or_else(found)
}

/// Largest `config.json` that is shown as a difference.
const CONFIG_BYTES: u64 = 1 << 20;

/// The difference of the two `config.json` files; empty when either is missing or unreadable,
/// since a comparison does not rest on it.
fn config_diff(baseline: &ResultSet, current: &ResultSet) -> String {
    let read = |results: &ResultSet| {
        let path = results.path.with_file_name("config.json");
        // The baseline may come from anywhere: no link is followed, nothing large is read.
        let file = std::fs::symlink_metadata(&path).ok()?;
        if !file.is_file() || file.len() > CONFIG_BYTES {
            return None;
        }
        let text = std::fs::read_to_string(path).ok()?;
        let mut value: serde_json::Value = serde_json::from_str(&text).ok()?;
        // Two runs always differ in when they were made.
        value.as_object_mut()?.remove("timestamp");
        Some(value)
    };
    match (read(baseline), read(current)) {
        (Some(baseline), Some(current)) => compare::config_diff(&baseline, &current),
        _ => String::new(),
    }
}

/// Writes comment, report and comparison beside the results.
///
/// # Errors
/// A file cannot be written.
fn write_files(report: &Report, dir: &Path) -> Result<(), Error> {
    let comparison = verdict::comparison_json(&report.decision, &report.comparison);
    let json = serde_json::to_string_pretty(&comparison).unwrap_or_default();
    files::write(&dir.join("comparison.json"), &json)?;
    write_documents(&report.documents, dir)
}

/// Writes comment and report.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write_documents(documents: &Documents, dir: &Path) -> Result<(), Error> {
    files::write(&dir.join("comment.md"), &documents.comment)?;
    files::write(&dir.join("report.html"), &documents.report_html)
}

/// The step outputs of a report.
pub(super) fn outputs(report: &Report, dir: &Path) -> Outputs {
    let decision = &report.decision;
    let count = |verdict: Verdict| {
        decision
            .metrics
            .iter()
            .filter(|judged| judged.gating && judged.verdict == verdict)
            .count()
    };
    let closed = matches!(
        decision.gate,
        Gate::Regression(_) | Gate::NotProven(_) | Gate::LimitBroken(_)
    );
    Outputs {
        verdict: decision.verdict.name().to_owned(),
        passed: !closed && decision.verdict != Verdict::Regressed,
        gate: decision.gate.name().to_owned(),
        regressions: count(Verdict::Regressed),
        improvements: count(Verdict::Improved),
        inconclusive: count(Verdict::Inconclusive),
        results_path: dir.display().to_string(),
        report_path: dir.join("report.html").display().to_string(),
        comment_url: None,
        baseline_ref: report.baseline_ref.clone(),
        metrics_json: dir.join("metrics.json").display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The exit code the gate asks for.
pub(super) fn gate_exit(gate: &Gate) -> Exit {
    match gate {
        Gate::Off | Gate::Passed => Exit::Success,
        Gate::Regression(_) => Exit::Regression,
        Gate::NotProven(_) => Exit::NotProven,
        Gate::LimitBroken(_) => Exit::LimitBroken,
    }
}

/// The end of every run with a verdict: files, outputs, summary, annotation, comment, and the
/// exit code the gate asks for. `invalid`: a measurement cannot be trusted, which neither blocks
/// nor clears a pull request, so that a gate that would have opened ends with a code of its own.
///
/// # Errors
/// A file cannot be written.
pub(super) async fn conclude(
    report: &Report,
    publish: &Publish,
    dir: &Path,
    invalid: bool,
) -> Result<Exit, Error> {
    write_files(report, dir)?;
    let mut outputs = outputs(report, dir);
    outputs.passed &= !invalid;
    tell::tell(
        publish,
        &outputs,
        &report.documents,
        &tell::Annotation::of(&report.decision),
    )
    .await;
    out::verdict(&report.decision, dir);
    let gate = &report.decision.gate;
    Ok(if invalid && *gate == Gate::Passed {
        Exit::Invalid
    } else {
        gate_exit(gate)
    })
}

/// Outputs of a run that came to no verdict.
pub(super) fn error_outputs(dir: &Path) -> Outputs {
    let there = |path: &Path| {
        if path.exists() {
            path.display().to_string()
        } else {
            String::new()
        }
    };
    Outputs {
        verdict: "error".to_owned(),
        passed: false,
        gate: "error".to_owned(),
        regressions: 0,
        improvements: 0,
        inconclusive: 0,
        results_path: there(dir),
        report_path: there(&dir.join("report.html")),
        comment_url: None,
        baseline_ref: None,
        metrics_json: there(&dir.join("metrics.json")),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
