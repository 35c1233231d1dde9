//! Puts the view together.

use super::{
    Alert, FailureView, Part, Title, View, absolute, alert, all, basis, cdf, earlier, environment,
    footer, forest, headline, limits, next, pairs, rows, server,
    state::{error_state, state},
};
use crate::{
    render::{
        DEFAULT_KEY, KITT_MARKER, Problem, ReportContext, ReportInput,
        budget::Detail,
        escape::{clean, link},
        marker_of,
    },
    results::ResultSet,
};

/// Longest name in the subject line, in characters.
const NAME: usize = 120;

/// Which documents the view is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::render) enum Pictures {
    /// Markdown: no pictures.
    None,
    /// HTML: charts are computed.
    Charts,
}

/// The view of a decision.
pub(in crate::render) fn report(
    input: &ReportInput<'_>,
    detail: &Detail,
    pictures: Pictures,
) -> View {
    let charts = pictures == Pictures::Charts;
    let alert = alert::alert(input);
    View {
        kitt_marker: KITT_MARKER,
        key_marker: marker(input.context),
        title: headline::title(input),
        nested: detail.nested,
        resolved: earlier::resolved(input),
        basis: basis::basis(input),
        subject: subject(input),
        compared: input.baseline.is_ok(),
        shortened: detail.is_shortened(),
        differs: environment::differs(input, detail),
        changed: rows::changed(input, detail),
        absolute: absolute::absolute(input, detail),
        limits: detail
            .steps
            .then(|| limits::limits(&input.decision.limits))
            .flatten(),
        all: all::all(input, detail),
        server: server::server(input, detail),
        environment: environment::environment(input, detail),
        shifts: shifts(input, detail),
        next: detail
            .steps
            .then(|| next::next(input, alert.as_ref()))
            .flatten(),
        alert,
        forest: charts.then(|| forest::forest(input)).flatten(),
        pair_by_pair: charts.then(|| pairs::pairs(input)).flatten(),
        distributions: if charts {
            cdf::distributions(input)
        } else {
            Vec::new()
        },
        footer: footer::footer(input),
        earlier: earlier::earlier(input.context, detail),
        state: state(input).encode(),
    }
}

/// The view of a measurement that could not be made.
pub(in crate::render) fn failure(
    context: &ReportContext,
    problem: &Problem<'_>,
    nested: bool,
) -> FailureView {
    FailureView {
        kitt_marker: KITT_MARKER,
        key_marker: marker(context),
        title: Title {
            icon: "🛠",
            sentence: format!("Could not measure: {}", clean(problem.title, 200)),
            counts: Vec::new(),
            gate: "no verdict",
            tone: "unsure",
        },
        nested,
        resolved: None,
        basis: basis::origin(context).into_iter().collect(),
        subject: known("model", problem.model)
            .into_iter()
            .chain(known("engine", problem.engine))
            .chain(known("suite", problem.suite))
            .chain(commit("base", context.base.as_deref()))
            .chain(commit("head", context.head.as_deref()))
            .chain(links(context))
            .collect(),
        alert: Some(Alert {
            kind: "WARNING",
            text: clean(problem.reason, 480),
        }),
        remedy: problem.remedy.map(|remedy| clean(remedy, 480)),
        reproduce: context
            .reproduce
            .as_deref()
            .map(|command| environment::code(command, 20)),
        footer: footer::bare(context),
        state: error_state(context).encode(),
    }
}

/// Shifts of the base branch that are listed.
const SHIFTS: usize = 10;

/// Where the base branch itself shifted of late; no part of the verdict.
fn shifts(input: &ReportInput<'_>, detail: &Detail) -> Vec<String> {
    let shown = if detail.steps { SHIFTS } else { 0 };
    let shifts = input.decision.shifts.iter().take(shown);
    shifts.map(|shift| clean(&shift.words, 200)).collect()
}

fn marker(context: &ReportContext) -> String {
    marker_of(context.key.as_ref().map_or(DEFAULT_KEY, |key| key.as_str()))
}

fn known(label: &'static str, text: Option<&str>) -> Option<Part> {
    text.map(|text| Part {
        label,
        text: clean(text, NAME),
        url: None,
    })
}

fn commit(label: &'static str, text: Option<&str>) -> Option<Part> {
    text.map(|text| Part {
        label,
        text: short(text),
        url: None,
    })
}

/// The run and the raw results; a place that is no clean link is shown as text.
fn links(context: &ReportContext) -> impl Iterator<Item = Part> {
    let part = |label, text: &str| Part {
        label,
        text: clean(text, NAME),
        url: link(text),
    };
    let run = context.run_url.as_deref().map(|url| part("run", url));
    let results = context
        .results
        .as_deref()
        .map(|place| part("results", place));
    run.into_iter().chain(results)
}

fn subject(input: &ReportInput<'_>) -> Vec<Part> {
    let current = input.current;
    let version = current.provenance.engine_version.as_deref();
    let engine = version.map_or_else(
        || current.engine.clone(),
        |version| format!("{} {version}", current.engine),
    );
    let of = |set: Option<&'_ ResultSet>| set.and_then(|set| set.provenance.commit.clone());
    let base = input
        .context
        .base
        .clone()
        .or_else(|| of(input.baseline.ok()));
    let head = input.context.head.clone().or_else(|| of(Some(current)));
    known("model", Some(&current.model))
        .into_iter()
        .chain(known("engine", Some(&engine)))
        .chain(known("suite", Some(&current.suite)))
        .chain(commit("base", base.as_deref()))
        .chain(commit("head", head.as_deref()))
        .chain(links(input.context))
        .collect()
}

/// Seven digits of a commit, anything else as it is.
pub(in crate::render) fn short(text: &str) -> String {
    let is_commit =
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit {
        text.chars().take(7).collect()
    } else {
        clean(text, 80)
    }
}
