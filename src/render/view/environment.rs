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
};

/// Longest value in the table, in characters.
const VALUE: usize = 160;
/// Rows of differing keys.
const DIFFERENCES: usize = 40;
/// Rows of equal keys.
const EQUAL: usize = 60;
/// Lines of the configuration's difference.
const LINES: usize = 200;

pub(super) fn environment(input: &ReportInput<'_>, detail: &Detail) -> Option<Environment> {
    if detail.surroundings == Surroundings::None {
        return None;
    }
    let differences: Vec<DifferenceRow> = input
        .comparison
        .fingerprint_differences
        .iter()
        .map(|found| difference(found, true))
        .chain(
            input
                .comparison
                .soft_differences
                .iter()
                .map(|found| difference(found, false)),
        )
        .take(DIFFERENCES)
        .collect();
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
        // The commit under test differs on every pull request: only a reason not to compare is
        // worth the reader's first screen.
        open: !input.comparison.fingerprint_differences.is_empty(),
        differences,
        same,
        config,
    })
}

fn title(input: &ReportInput<'_>, differences: usize, config: bool) -> String {
    let stops = input.comparison.fingerprint_differences.len();
    let counted = plural(differences, "difference", "differences");
    if input.baseline.is_err() {
        "nothing to compare with".to_owned()
    } else if stops > 0 {
        format!("{counted}, ⚠️ {stops} of them a reason not to compare")
    } else if differences > 0 {
        counted
    } else if config {
        "the configuration differs".to_owned()
    } else {
        "no difference".to_owned()
    }
}

fn difference(found: &Difference, stops: bool) -> DifferenceRow {
    DifferenceRow {
        key: clean(&found.key, VALUE),
        base: clean(&found.baseline, VALUE),
        head: clean(&found.current, VALUE),
        note: found.explanation().map(str::to_owned),
        stops,
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
