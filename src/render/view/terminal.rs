//! The verdict for a terminal of 100 columns: a table of the gating metrics, then the reasons of
//! those that matter.

use std::collections::BTreeMap;

use super::{
    change, environment,
    rows::scale,
    words::{arrow, word},
};
use crate::{
    compare::{Comparison, Difference},
    render::{
        escape::clean,
        number::{NOTHING, interval, plural, points_interval},
    },
    verdict::{Acceptance, Decision, Gate, Judged, Verdict},
};

/// Columns of the terminal.
const WIDTH: usize = 100;
/// Rows of the table.
const ROWS: usize = 60;
/// Reasons that are listed, and conditions that differ.
const REASONS: usize = 12;
/// Longest name and sentence from outside, in characters.
const NAME: usize = 60;
const SENTENCE: usize = 400;
/// The metric's column is never narrower than this.
const NARROWEST: usize = 12;

/// Whether verdicts have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain text: a file, a pipe, or somebody who asked for none.
    Off,
    /// ANSI escapes: a terminal.
    On,
}

/// The text, without a newline at the end. Its first line is `verdict: WORD (gate: WORD)`.
pub fn terminal(decision: &Decision, comparison: &Comparison, colour: Colour) -> String {
    let (verdict, gate) = (decision.verdict.name(), decision.gate.name());
    let mut lines = vec![format!("verdict: {verdict} (gate: {gate})")];
    lines.extend(differing(comparison));
    lines.extend(table(decision, colour));
    lines.extend(reasons(decision));
    lines.extend(rest(decision, comparison));
    if let Gate::Regression(why) | Gate::NotProven(why) | Gate::LimitBroken(why) = &decision.gate {
        lines.push(String::new());
        lines.extend(wrapped(&clean(why, SENTENCE), "gate: ", "      "));
    }
    let accepted = decision.accepted.iter().map(Acceptance::sentence);
    let warnings = decision.warnings.iter().take(REASONS);
    let warnings = warnings.map(|warning| format!("WARNING: {warning}"));
    for words in accepted.chain(warnings) {
        lines.extend(wrapped(&clean(&words, SENTENCE), "", "  "));
    }
    lines.join("\n")
}

/// Conditions that stop the comparison.
fn differing(comparison: &Comparison) -> Vec<String> {
    let all = &comparison.fingerprint_differences;
    if all.is_empty() {
        return Vec::new();
    }
    let one = |found: &Difference| {
        let text = |text: &str| clean(text, NAME);
        let sides = format!("{} → {}", text(&found.baseline), text(&found.current));
        let words = format!(
            "{}: {sides} ({})",
            text(&found.key),
            environment::why(found)
        );
        wrapped(&words, "  ", "    ")
    };
    let mut lines = vec![
        String::new(),
        "not comparable, since these differ:".to_owned(),
    ];
    lines.extend(all.iter().take(REASONS).flat_map(one));
    let left = all.len().saturating_sub(REASONS);
    lines.extend((left > 0).then(|| format!("  and {left} more")));
    lines
}

/// The cells of one row, in the order of the columns.
struct Cells {
    metric: String,
    sides: String,
    change: String,
    limits: String,
    verdict: &'static str,
    rests: String,
}

impl Cells {
    fn of(judged: &Judged) -> Self {
        let change = &judged.change;
        let label = clean(&change.metric.label, NAME);
        Self {
            metric: format!("{label} {}", arrow(change.metric.better)),
            sides: sides(judged),
            change: moved(judged).replace("points", "pts"),
            limits: judged.zone.map_or_else(
                || NOTHING.to_owned(),
                |_| {
                    change::limits(judged)
                        .replace('\u{a0}', " ")
                        .replace("points", "pts")
                },
            ),
            verdict: word(judged.verdict),
            rests: change::rests(judged),
        }
    }

    const fn texts(&self) -> [&str; 6] {
        [
            self.metric.as_str(),
            self.sides.as_str(),
            self.change.as_str(),
            self.limits.as_str(),
            self.verdict,
            self.rests.as_str(),
        ]
    }
}

/// Both sides in one unit: `3.80 → 4.11 ms`.
fn sides(judged: &Judged) -> String {
    let scale = scale(judged);
    let text = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), |v| scale.text(v));
    let (base, head) = (text(judged.change.baseline), text(judged.change.current));
    let unit = |text: &str| text.rsplit_once('\u{a0}').map(|(_, unit)| unit.to_owned());
    let number = match (unit(&base), unit(&head)) {
        (Some(one), Some(other)) if one == other => base.split('\u{a0}').next(),
        _ => None,
    };
    format!("{} → {head}", number.unwrap_or(&base))
}

/// The change with its interval: `+8.0 % (+6.5 … +9.5)`.
fn moved(judged: &Judged) -> String {
    let delta = change::delta(judged);
    let Some(limits) = judged.interval.filter(|_| has_interval(judged)) else {
        return delta;
    };
    let text = if change::is_share(judged) {
        points_interval(limits)
    } else {
        interval(limits)
    };
    format!("{delta} ({})", text.trim_end_matches(['%', '\u{a0}']))
}

fn has_interval(judged: &Judged) -> bool {
    change::is_comparable(judged) && !change::is_exact(judged)
}

const HEAD: [&str; 6] = [
    "metric",
    "baseline → current",
    "change (interval)",
    "limits",
    "verdict",
    "rests on",
];

/// The gating metrics by scenario, and where none gates the judged ones.
fn table(decision: &Decision, colour: Colour) -> Vec<String> {
    let compared = |judged: &&Judged| judged.change.metric.better.is_some();
    let gating = decision.metrics.iter().any(|judged| judged.gating);
    let shown = |judged: &&Judged| judged.gating || (!gating && judged.interval.is_some());
    let mut scenarios: BTreeMap<&str, Vec<(Verdict, Cells)>> = BTreeMap::new();
    let metrics = decision.metrics.iter().filter(compared).filter(shown);
    for judged in metrics.take(ROWS) {
        let rows = scenarios.entry(&judged.change.scenario).or_default();
        rows.push((judged.verdict, Cells::of(judged)));
    }
    let all = || scenarios.values().flatten().map(|(_, cells)| cells.texts());
    if all().next().is_none() {
        return Vec::new();
    }
    let width = |column: usize| {
        let cell = |texts: [&str; 6]| texts.get(column).map_or(0, |text| text.chars().count());
        all().chain([HEAD]).map(cell).max().unwrap_or(0)
    };
    let mut widths = [0, 1, 2, 3, 4, 5].map(width);
    let others: usize = widths.iter().skip(1).map(|width| width + 2).sum();
    if let Some(metric) = widths.first_mut() {
        let room = WIDTH.saturating_sub(others + 2).max(NARROWEST);
        *metric = (*metric).min(room);
    }
    let mut lines = vec![String::new(), line(HEAD, widths, None)];
    for (scenario, rows) in &scenarios {
        lines.push(clean(scenario, WIDTH));
        let row = |(verdict, cells): &(Verdict, Cells)| {
            line(cells.texts(), widths, paint(*verdict, colour))
        };
        lines.extend(rows.iter().map(row));
    }
    lines
}

/// One row; numbers stand at the right of their column, the verdict may have a colour.
fn line(cells: [&str; 6], widths: [usize; 6], paint: Option<&str>) -> String {
    let mut line = String::from("  ");
    for (column, (cell, width)) in cells.into_iter().zip(widths).enumerate() {
        let long = cell.chars().count() > width;
        let cell = clean(cell, if long { width.saturating_sub(1) } else { width });
        let space = " ".repeat(width.saturating_sub(cell.chars().count()));
        let right = matches!(column, 1..=3);
        let painted = match paint {
            Some(code) if column == 4 => format!("\u{1b}[{code}m{cell}\u{1b}[0m"),
            Some(_) | None => cell,
        };
        let (first, second) = if right {
            (space, painted)
        } else {
            (painted, space)
        };
        line.push_str(&first);
        line.push_str(&second);
        line.push_str("  ");
    }
    line.trim_end().to_owned()
}

const fn paint(verdict: Verdict, colour: Colour) -> Option<&'static str> {
    match (colour, verdict) {
        (Colour::Off, _) | (Colour::On, Verdict::Unchanged | Verdict::New) => None,
        (Colour::On, Verdict::Regressed | Verdict::Missing) => Some("31"),
        (Colour::On, Verdict::Incomparable | Verdict::Inconclusive) => Some("33"),
        (Colour::On, Verdict::Improved) => Some("32"),
    }
}

/// Why, for the gating metrics that are neither unchanged nor new; a reason that several share
/// is said once.
fn reasons(decision: &Decision) -> Vec<String> {
    let matters = |judged: &&Judged| {
        judged.gating && !matches!(judged.verdict, Verdict::Unchanged | Verdict::New)
    };
    let found = decision.metrics.iter().filter(matters);
    let found: Vec<&Judged> = found.collect();
    if found.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    for judged in found.iter().take(REASONS) {
        let scenario = clean(&judged.change.scenario, NAME);
        let words = format!("{scenario}: {}", clean(&judged.reason, SENTENCE));
        lines.extend(wrapped(&words, "- ", "  "));
    }
    let left = found.len().saturating_sub(REASONS);
    lines.extend((left > 0).then(|| format!("- and {left} more")));
    lines
}

/// What is not in the table, and what the tests share.
fn rest(decision: &Decision, comparison: &Comparison) -> Vec<String> {
    let count = |pick: &dyn Fn(&Judged) -> bool| {
        let metrics = decision.metrics.iter();
        metrics.filter(|judged| pick(judged)).count()
    };
    let new = count(&|judged| judged.verdict == Verdict::New);
    let quiet = count(&|judged| !judged.gating);
    let mut parts = Vec::new();
    if let (Some(planned), Some(stopped)) = (comparison.planned_pairs, &comparison.stopped) {
        let stopped = clean(stopped, SENTENCE);
        parts.push(format!(
            "at most {planned} pairs were planned; stopped: {stopped}"
        ));
    }
    if new > 0 {
        let (metrics, have) = (
            plural(new, "metric", "metrics"),
            if new == 1 { "has" } else { "have" },
        );
        parts.push(format!("{metrics} {have} nothing to be compared with"));
    }
    if quiet > 0 {
        parts.push(format!(
            "{} and not gating: --json lists all",
            plural(quiet, "metric is informative", "metrics are informative")
        ));
    }
    let mut lines = vec![String::new()];
    lines.extend(parts.iter().flat_map(|part| wrapped(part, "", "  ")));
    if parts.is_empty() { Vec::new() } else { lines }
}

/// Words in lines of at most 100 columns; a longer word stays whole.
fn wrapped(words: &str, first: &str, next: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in words.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut line, next.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_wrapped_and_none_is_lost() {
        let words = "one two three ".repeat(30);
        let lines = wrapped(words.trim(), "- ", "  ");
        assert!(lines.len() > 3);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        let joined: Vec<&str> = lines.iter().map(|line| line.get(2..).unwrap()).collect();
        assert_eq!(joined.join(" "), words.trim());
        let long = "x".repeat(150);
        assert_eq!(wrapped(&long, "", ""), [long]);
    }

    #[test]
    fn columns_line_up_and_colours_take_no_room() {
        let widths = [8, 10, 6, 5, 9, 4];
        let cells = ["TPOT", "1 → 2 ms", "+1 %", "1/5", "regressed", "3"];
        let plain = line(cells, widths, None);
        let painted = line(cells, widths, Some("31"));
        assert_eq!(
            plain.chars().count() + "\u{1b}[31m\u{1b}[0m".chars().count(),
            painted.chars().count()
        );
        assert!(painted.contains("\u{1b}[31mregressed\u{1b}[0m"));
        assert!(!plain.contains('\u{1b}'));
        let narrow = line(
            ["a very long name of a metric", "", "", "", "", ""],
            [9, 0, 0, 0, 0, 0],
            None,
        );
        assert_eq!(narrow.trim(), "a very l…");
    }
}
