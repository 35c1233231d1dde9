//! Results to a decision to documents, and the documents to people.
//!
//! Order, always: files first, the exit code last, and `publish::PUBLISHERS` between.

use std::path::Path;

use super::{
    baseline::Kept,
    clock, files, out,
    past::{self, Past},
    policy, tell,
};
use crate::{
    compare::{self, CompareOptions, Comparison},
    context::Inputs,
    error::Error,
    exit::Exit,
    publish::{self, Annotation, Audience, CheckState, Conclusion, Message, Outputs, Remote},
    render::{self, Documents, NoBaseline, Push, ReportContext, ReportInput},
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
    /// Name of the rule that found it, where it was looked for.
    baseline_rule: Option<&'static str>,
    /// What becomes the new baseline, if this run does.
    pub(super) kept: Option<Kept>,
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
pub(super) fn stored_baseline(inputs: &Inputs, dir: Option<&Path>) -> Result<BaselineSide, Error> {
    let Some(dir) = dir else {
        let searched = inputs.against.discovered.none.clone();
        return Ok(Err(searched.unwrap_or_else(|| "none was given".to_owned())));
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
fn baseline(
    dir: Option<&Path>,
    past: &Past,
    current: &ResultSet,
    inputs: &Inputs,
) -> Result<BaselineSide, Error> {
    let none = match stored_baseline(inputs, dir)? {
        Ok(stored) => return Ok(Ok(stored)),
        Err(none) => none,
    };
    let newest = past.baseline(current)?;
    // Where nobody named a baseline, the history is what there should be one in.
    let history = inputs.against.history.is_some() && dir.is_none();
    Ok(newest.map_err(|why| if history { why } else { none }))
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
pub(super) struct Sides {
    current: ResultSet,
    paired: Option<(Pairs, ResultSet)>,
    /// Whether nobody here measured it: it is compared, and nothing is learned from it.
    foreign: bool,
}

fn sides(dir: &Path) -> Result<Sides, Error> {
    Ok(Sides {
        current: store::load(dir)?,
        paired: store::load_pairs(dir)?,
        foreign: false,
    })
}

/// Results of somebody whom nobody trusts, in the file itself: without a baseline side of theirs,
/// and below narrower limits.
///
/// # Errors
/// They cannot be read, or hold what results cannot.
pub(super) fn foreign_sides(metrics: &Path) -> Result<Sides, Error> {
    Ok(Sides {
        current: results::read(metrics, &FOREIGN)?,
        paired: None,
        foreign: true,
    })
}

/// What a stranger's results may cost: a tenth of what our own may.
const FOREIGN: Limits = Limits {
    file_bytes: 16 << 20,
    depth: 32,
    string_bytes: 64 << 10,
    entries: 500_000,
    unpacked_bytes: 512 << 20,
};

fn judge_with(
    sides: Sides,
    past: &Past,
    baseline_dir: Option<&Path>,
    inputs: &Inputs,
) -> Result<Judgement, Error> {
    let Sides {
        current, paired, ..
    } = sides;
    let (pairs, baseline) = match paired {
        Some((pairs, side)) => (Some(pairs), Ok(side)),
        None => (None, baseline(baseline_dir, past, &current, inputs)?),
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
    earlier: Vec<Push>,
) -> Result<Report, Error> {
    let context = ReportContext {
        results: Some(current_dir.display().to_string()),
        reproduce,
        earlier,
        ..context(inputs)
    };
    make_of(sides(current_dir)?, baseline_dir, inputs, context)
}

/// As [`make`], for results that were read already.
///
/// # Errors
/// One of the later stages fails.
pub(super) fn make_of(
    sides: Sides,
    baseline_dir: Option<&Path>,
    inputs: &Inputs,
    context: ReportContext,
) -> Result<Report, Error> {
    let foreign = sides.foreign;
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
    if !foreign {
        decision.shifts = past.shifts(&decision.metrics);
        past.write(&current.path.with_file_name(""));
    }
    let base = baseline.as_ref().ok();
    let baseline_ref = base.map(baseline_name);
    let context = ReportContext {
        config_diff: base
            .map(|base| config_diff(base, &current))
            .unwrap_or_default(),
        base: baseline_ref
            .as_deref()
            .map(|name| with_rule(name, inputs, pairs.is_some())),
        ..context
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
        baseline_rule: inputs.against.discovered.rule,
        kept: None,
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
        run: run_number(trigger.run_id.as_deref()),
        section: inputs.publish.section.clone(),
        ..ReportContext::default()
    }
}

/// The baseline's name, with the rule that found it. Seven digits of a commit name it well.
fn with_rule(name: &str, inputs: &Inputs, in_pairs: bool) -> String {
    match inputs.against.discovered.words {
        // The baseline side of pairs was measured here.
        Some(words) if !in_pairs => {
            let short: String = name.chars().take(7).collect();
            let name = if name.len() == 40 { &short } else { name };
            format!("{name} ({words})")
        }
        _ => name.to_owned(),
    }
}

/// GitHub's number in `42-1-job`.
fn run_number(id: Option<&str>) -> Option<u64> {
    id?.split('-').next()?.parse().ok()
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
pub(super) fn write_files(report: &Report, dir: &Path) -> Result<(), Error> {
    let comparison = verdict::comparison_json(&report.decision, &report.comparison);
    let json = serde_json::to_string_pretty(&comparison).unwrap_or_default();
    files::write(&dir.join("comparison.json"), &json)?;
    write_documents(&report.documents, dir)
}

/// Writes comment, badge and report.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write_documents(documents: &Documents, dir: &Path) -> Result<(), Error> {
    files::write(&dir.join("comment.md"), &documents.comment)?;
    files::write(&dir.join("badge.json"), &documents.badge)?;
    files::write(&dir.join("report.html"), &documents.report_html)
}

/// The step outputs of a report.
pub(super) fn outputs(report: &Report, dir: &Path, exit: Exit) -> Outputs {
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
        baseline_ref: report.baseline_ref.clone(),
        baseline_rule: report.baseline_rule,
        store_baseline: report.kept.is_some(),
        baseline_artifact: report.kept.as_ref().map(|kept| kept.artifact.clone()),
        baseline_files: report.kept.as_ref().map(|kept| kept.files.clone()),
        metrics_json: dir.join("metrics.json").display().to_string(),
        metrics: Some(publish::metrics::of(decision)),
        regressed_metrics: Some(publish::metrics::regressed(decision)),
        exit_code: Some(exit.code()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Outputs::default()
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

/// The end of every run with a verdict: files, then everybody is told, and the exit code the gate
/// asks for. `invalid`: a measurement cannot be trusted, which neither blocks nor clears a pull
/// request, so that a gate that would have opened ends with a code of its own.
///
/// # Errors
/// A file cannot be written.
pub(super) async fn conclude(
    report: &Report,
    inputs: &Inputs,
    dir: &Path,
    invalid: bool,
    check: CheckState,
) -> Result<Exit, Error> {
    write_files(report, dir)?;
    let gate = &report.decision.gate;
    let exit = if invalid && *gate == Gate::Passed {
        Exit::Invalid
    } else {
        gate_exit(gate)
    };
    let mut outputs = outputs(report, dir, exit);
    outputs.passed &= !invalid;
    let conclusion = Conclusion::of(&report.decision, invalid);
    // What it came to was logged.
    drop(announce(report, inputs, &outputs, conclusion, check).await);
    out::verdict(&report.decision, &report.comparison, dir);
    Ok(exit)
}

/// Tells everybody of a report.
pub(super) async fn announce(
    report: &Report,
    inputs: &Inputs,
    outputs: &Outputs,
    conclusion: Conclusion,
    check: CheckState,
) -> tell::Commented {
    let audience = Audience {
        files: &inputs.publish.files,
        remote: Some(Remote {
            publish: &inputs.publish,
            trigger: &inputs.trigger,
            check,
        }),
    };
    let message = Message {
        outputs,
        documents: &report.documents,
        annotation: &Annotation::of(&report.decision),
        conclusion,
        decision: Some(&report.decision),
    };
    tell::tell(audience, message).await
}

/// Outputs of a run that came to no verdict.
pub(super) fn error_outputs(dir: &Path, exit: Exit) -> Outputs {
    let there = |path: &Path| {
        if path.exists() {
            path.display().to_string()
        } else {
            String::new()
        }
    };
    Outputs {
        verdict: "error".to_owned(),
        gate: "error".to_owned(),
        results_path: there(dir),
        report_path: there(&dir.join("report.html")),
        metrics_json: there(&dir.join("metrics.json")),
        exit_code: Some(exit.code()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Outputs::default()
    }
}
