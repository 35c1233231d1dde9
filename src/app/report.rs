//! Results to a decision to documents, and the documents to people.
//!
//! Order, always: files → outputs → summary → annotations → comment → exit code.

use std::path::Path;

use super::{
    clock, files, out,
    past::{self, Past},
    policy, tell,
};
use crate::{
    compare::{self, CompareOptions, Comparison},
    context::{Inputs, Publish},
    error::Error,
    exit::Exit,
    publish::Outputs,
    render::{self, Documents, NoBaseline, ReportContext, ReportInput},
    results::{self, Fingerprint, Limits, Pairs, ResultSet},
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
    /// The conditions it was measured under.
    conditions: Option<Fingerprint>,
}

impl Report {
    /// Learns how much pairs scatter, after a job measured them; once a job.
    pub(super) fn learn(&self, inputs: &Inputs, dir: &Path) {
        if let Some(conditions) = &self.conditions {
            past::learn(inputs, conditions, &self.comparison.changes, dir);
        }
    }

    /// Whether the verdict says something about the engine.
    pub(super) const fn is_settled(&self) -> bool {
        !matches!(
            self.decision.verdict,
            Verdict::Incomparable | Verdict::Inconclusive
        )
    }
}

/// A baseline, or why there is none.
pub(super) type BaselineSide = Result<ResultSet, String>;

/// Reads the baseline. A directory that does not exist or holds nothing is "no baseline"; one
/// that holds something unreadable is an error, since a gate must not open on a broken file.
pub(super) fn stored_baseline(dir: Option<&Path>) -> Result<BaselineSide, Error> {
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

/// The stored baseline, or the newest comparable job of the history in its place.
fn baseline(dir: Option<&Path>, past: &Past, current: &ResultSet) -> Result<BaselineSide, Error> {
    let none = match stored_baseline(dir)? {
        Ok(stored) => return Ok(Ok(stored)),
        Err(none) => none,
    };
    let newest = past.baseline(current)?;
    // Where nobody named a baseline, the history is what there should be one in.
    Ok(newest.map_err(|why| if dir.is_some() { none } else { why }))
}

/// Results compared and judged.
pub(super) struct Judgement {
    pub(super) current: ResultSet,
    pub(super) baseline: BaselineSide,
    pairs: Option<Pairs>,
    pub(super) comparison: Comparison,
    pub(super) decision: Decision,
}

/// Refuses a results directory that does not exist.
///
/// # Errors
/// It does not.
pub(super) fn existing(inputs: &Inputs) -> Result<(), Error> {
    if inputs.results_dir.exists() {
        return Ok(());
    }
    let text = inputs.results_dir.display().to_string();
    let why = "there is no such directory".to_owned();
    Err(inputs.layers.refuse("results-dir", &text, why).into())
}

/// Compares and decides. Pairs bring their own baseline side; without them the stored baseline and
/// the history count.
///
/// # Errors
/// Results cannot be read, the policy names a metric that nobody knows, or one of the later
/// stages fails.
pub(super) fn judge(
    current_dir: &Path,
    baseline_dir: Option<&Path>,
    inputs: &Inputs,
) -> Result<Judgement, Error> {
    let sides = sides(current_dir)?;
    let past = match &sides.paired {
        Some(_) => Past::default(),
        None => Past::read(inputs, &sides.current, None)?,
    };
    judge_with(sides, &past, baseline_dir, inputs)
}

/// What was measured: the current side, and the other one where both were measured in pairs.
struct Sides {
    current: ResultSet,
    paired: Option<(Pairs, ResultSet)>,
}

fn sides(dir: &Path) -> Result<Sides, Error> {
    Ok(Sides {
        current: store::load(dir)?,
        paired: store::load_pairs(dir)?,
    })
}

fn judge_with(
    sides: Sides,
    past: &Past,
    baseline_dir: Option<&Path>,
    inputs: &Inputs,
) -> Result<Judgement, Error> {
    let Sides { current, paired } = sides;
    let (pairs, baseline) = match paired {
        Some((pairs, side)) => (Some(pairs), Ok(side)),
        None => (None, baseline(baseline_dir, past, &current)?),
    };
    let options = CompareOptions {
        run_cv: inputs.policy.run_cv,
        seed: inputs.measure.seed,
        pairs,
        noise: past::noise(inputs, current.fingerprint.as_ref()),
        history: past.history(),
        ..CompareOptions::default()
    };
    let base = baseline.as_ref().ok();
    let comparison = compare::compare(base, &current, &options)?;
    let policy = policy::of(inputs, &comparison)?;
    let decision = verdict::decide(&comparison, &current, base, &policy)?;
    Ok(Judgement {
        current,
        baseline,
        pairs: options.pairs,
        comparison,
        decision,
    })
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
    let sides = sides(current_dir)?;
    let pairs = sides.paired.as_ref().map(|(pairs, _)| pairs);
    let past = Past::read(inputs, &sides.current, pairs)?;
    past.tell();
    past::tell_noise(inputs, sides.current.fingerprint.as_ref());
    let Judgement {
        current,
        baseline,
        pairs,
        comparison,
        mut decision,
    } = judge_with(sides, &past, baseline_dir, inputs)?;
    if let Err(reason) = &baseline {
        tracing::info!("no baseline: {reason}");
    }
    past::tell_used(&decision.metrics);
    decision.shifts = past.shifts(&decision.metrics);
    past.write(&current.path.with_file_name(""));
    let base = baseline.as_ref().ok();
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
        pairs: pairs.as_ref(),
        context: &context,
    })?;
    Ok(Report {
        decision,
        comparison,
        documents,
        baseline_ref,
        conditions: current.fingerprint,
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

/// The difference of the two `config.json` files; empty when either is missing or unreadable,
/// since a comparison does not rest on it.
fn config_diff(baseline: &ResultSet, current: &ResultSet) -> String {
    let read = |results: &ResultSet| {
        let mut value = results::read_config(results.path.parent()?, &Limits::default()).ok()??;
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
    let closed = decision.gate.reason().is_some();
    let accepted = decision.accepted.is_some() && decision.gate == Gate::Passed;
    Outputs {
        verdict: decision.verdict.name().to_owned(),
        passed: !closed && (decision.verdict != Verdict::Regressed || accepted),
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
    out::verdict(&report.decision, &report.comparison, dir);
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
