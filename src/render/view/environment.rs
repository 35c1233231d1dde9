//! What was around the measurement: keys that differ, keys that are equal, the configuration.

use super::{Code, CodeLine, DifferenceRow, Environment, Fact};
use crate::{
    compare::Difference,
    render::{
        ReportInput,
        budget::{Detail, Surroundings},
        escape::{clean, fenced},
        number::plural,
    },
    results::{Part, key},
};

/// Longest value in the table, in characters.
const VALUE: usize = 160;
/// Rows of differing keys.
const DIFFERENCES: usize = 40;
/// Rows of equal keys.
const EQUAL: usize = 60;
/// Lines of the configuration's difference.
const LINES: usize = 200;

/// Rows of conditions that stop a comparison, in a document that is nearly full.
const FEW: usize = 5;

/// Whether the two sides were measured under different conditions.
pub(super) fn is_drifted(input: &ReportInput<'_>) -> bool {
    input.baseline.is_ok() && !input.comparison.fingerprint_differences.is_empty()
}

/// The conditions that stop the comparison.
pub(super) fn differs(input: &ReportInput<'_>, detail: &Detail) -> Vec<DifferenceRow> {
    if !is_drifted(input) || !detail.steps {
        return Vec::new();
    }
    let rows = match detail.surroundings {
        Surroundings::All | Surroundings::Differences => DIFFERENCES,
        Surroundings::None => FEW,
    };
    let found = input.comparison.fingerprint_differences.iter();
    found.take(rows).map(difference).collect()
}

pub(super) fn environment(input: &ReportInput<'_>, detail: &Detail) -> Option<Environment> {
    if detail.surroundings == Surroundings::None {
        return None;
    }
    let found = input.comparison.soft_differences.iter();
    let differences: Vec<DifferenceRow> = found.take(DIFFERENCES).map(difference).collect();
    let full = detail.surroundings == Surroundings::All;
    let same = if full { facts(input) } else { Vec::new() };
    let config = (full && !input.context.config_diff.trim().is_empty())
        .then(|| code(&input.context.config_diff, LINES));
    if differences.is_empty() && same.is_empty() && config.is_none() {
        return None;
    }
    let title = title(input, differences.len(), config.is_some());
    Some(Environment {
        title,
        differences,
        same,
        config,
    })
}

fn title(input: &ReportInput<'_>, differences: usize, config: bool) -> String {
    let counted = plural(differences, "difference", "differences");
    if input.baseline.is_err() {
        "nothing to compare with".to_owned()
    } else if is_drifted(input) && differences > 0 {
        format!("{counted} beside those above")
    } else if is_drifted(input) {
        "no difference beside those above".to_owned()
    } else if differences > 0 {
        counted
    } else if config {
        "the configuration differs".to_owned()
    } else {
        "no difference".to_owned()
    }
}

fn difference(found: &Difference) -> DifferenceRow {
    DifferenceRow {
        key: clean(&found.key, VALUE),
        base: clean(&found.baseline, VALUE),
        head: clean(&found.current, VALUE),
        why_it_matters: why(found),
    }
}

/// What the key is, and whether it may differ.
pub(super) fn why(found: &Difference) -> String {
    if let Some(known) = found.explanation() {
        return known.to_owned();
    }
    match key(&found.key) {
        Some(key) if key.part == Part::Strict && key.hardware => {
            format!("{}: other hardware, other speed", key.meaning)
        }
        Some(key) if key.part == Part::Strict => format!("must be equal: {}", key.meaning),
        Some(key) => key.meaning.to_owned(),
        None => String::new(),
    }
}

/// The current side's facts that do not differ.
fn facts(input: &ReportInput<'_>) -> Vec<Fact> {
    let Some(fingerprint) = &input.current.fingerprint else {
        return Vec::new();
    };
    let differs = |key: &str| {
        let comparison = input.comparison;
        comparison
            .fingerprint_differences
            .iter()
            .chain(&comparison.soft_differences)
            .any(|difference| difference.key == key)
    };
    fingerprint
        .strict
        .iter()
        .chain(&fingerprint.soft)
        .filter(|(key, _)| !differs(key))
        .take(EQUAL)
        .map(|(key, value)| Fact {
            key: clean(key, VALUE),
            value: clean(value, VALUE),
        })
        .collect()
}

/// A block of code, coloured as a difference by its first characters.
pub(super) fn code(text: &str, longest: usize) -> Code {
    let (fence, lines) = fenced(text, longest);
    let class = |line: &str| match line.as_bytes().first() {
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "hunk",
        Some(_) | None => "",
    };
    Code {
        fence,
        lines: lines
            .into_iter()
            .map(|text| CodeLine {
                class: class(&text),
                text,
            })
            .collect(),
    }
}
