//! The badge: an answer of shields.io's endpoint schema. Pure.
//!
//! In: a report. Out: JSON with the verdict and one number. Schema: shields.io, "Endpoint Badge"
//! (`schemaVersion`, `label`, `message`, `color`, `isError`).

use serde_json::json;

use super::{change, rows::changed_metrics, words::word};
use crate::{
    metric,
    render::{DEFAULT_KEY, Problem, ReportContext, ReportInput, escape::clean, number::Scale},
    verdict::{Gate, Judged, Verdict},
};

/// Longest message, in characters: a badge is one line.
const MESSAGE: usize = 60;
/// The number on a badge without a change to tell of.
const HEADLINE: &str = "output_tps";

/// The badge of a decision.
pub(in crate::render) fn badge(input: &ReportInput<'_>) -> String {
    let decision = input.decision;
    let verdict = match input.baseline {
        Ok(_) => decision.verdict,
        Err(_) => Verdict::New,
    };
    let changed = || {
        let found = changed_metrics(input).into_iter();
        let mut found = found.filter(|judged| judged.verdict == verdict);
        let worst = found.next()?;
        let label = &worst.change.metric.label;
        Some(format!("{label} {}", change::delta(worst)))
    };
    let (words, color) = match verdict {
        _ if matches!(decision.gate, Gate::LimitBroken(_)) => ("limit broken".to_owned(), "red"),
        Verdict::Regressed if decision.accepted.is_some() => {
            (told("accepted", changed()), "yellow")
        }
        Verdict::Regressed | Verdict::Improved => {
            let color = if verdict == Verdict::Regressed {
                "red"
            } else {
                "brightgreen"
            };
            (told(word(verdict), changed()), color)
        }
        Verdict::Unchanged => (told(word(verdict), headline(input)), "green"),
        Verdict::New => (told("no baseline", headline(input)), "blue"),
        Verdict::Missing => (word(verdict).to_owned(), "orange"),
        Verdict::Incomparable | Verdict::Inconclusive => (word(verdict).to_owned(), "lightgrey"),
    };
    document(input.context, &words, color, false)
}

/// The badge of a measurement that could not be made.
pub(in crate::render) fn failed_badge(context: &ReportContext, problem: &Problem<'_>) -> String {
    document(context, problem.title, "lightgrey", true)
}

fn told(word: &str, detail: Option<String>) -> String {
    detail.map_or_else(|| word.to_owned(), |detail| format!("{word} · {detail}"))
}

/// The headline number, where there is one and not one for each scenario.
fn headline(input: &ReportInput<'_>) -> Option<String> {
    let metrics = input.decision.metrics.iter();
    let value = |judged: &Judged| judged.change.current;
    let wanted = |judged: &&Judged| judged.change.metric.name == HEADLINE;
    let mut values = metrics.filter(wanted).filter_map(value);
    let value = values.next()?;
    let alone = values.next().is_none();
    alone.then(|| Scale::of(metric::describe(HEADLINE).unit, value).text(value))
}

fn document(context: &ReportContext, message: &str, color: &str, error: bool) -> String {
    let key = context.key.as_ref().map(crate::ids::ReportKey::as_str);
    let label = match key {
        None | Some(DEFAULT_KEY) => "KITT".to_owned(),
        Some(key) => format!("KITT {}", clean(key, MESSAGE)),
    };
    let badge = json!({
        "schemaVersion": 1,
        "label": label,
        "message": clean(message, MESSAGE),
        "color": color,
        "isError": error,
    });
    format!("{badge:#}\n")
}
