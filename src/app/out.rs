//! What a person or a program reads on standard output.

use std::{
    io::{IsTerminal, Write},
    path::Path,
};

use crate::{
    compare::Comparison,
    context::EnvSnapshot,
    publish::command,
    render::{self, Colour},
    verdict::{Acceptance, Decision},
};

/// Writes a text and a newline. Standard output may be closed (`kitt … | head`): then nobody
/// reads on, and that is no failure.
pub(super) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(command::text(&mut out, text).and_then(|()| out.flush()));
}

/// Writes rows of three columns, aligned.
pub(super) fn table(rows: &[(String, String, String)]) {
    let width =
        |column: fn(&(String, String, String)) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let first = width(|row| row.0.chars().count());
    let second = width(|row| row.1.chars().count()).min(60);
    let line =
        |row: &(String, String, String)| format!("{:first$}  {:second$}  {}", row.0, row.1, row.2);
    let lines: Vec<String> = rows.iter().map(line).collect();
    text(&lines.join("\n"));
}

/// Writes the verdict, what it rests on, and where the reports are.
pub(super) fn verdict(decision: &Decision, comparison: &Comparison, dir: &Path) {
    judgement(decision, comparison);
    let dir = dir.display();
    text(&format!(
        "comment: {dir}/comment.md   report: {dir}/report.html"
    ));
}

/// Writes the verdict and what it rests on; in colour on a terminal, unless `NO_COLOR` is set.
pub(super) fn judgement(decision: &Decision, comparison: &Comparison) {
    let plain = EnvSnapshot::read().get("NO_COLOR").is_some();
    let colour = if std::io::stdout().is_terminal() && !plain {
        Colour::On
    } else {
        Colour::Off
    };
    text(&render::terminal(decision, comparison, colour));
    let told = told(decision);
    if !told.is_empty() {
        text(&told.join("\n"));
    }
}

/// Writes what the gate says, below a table that has the verdicts already.
pub(super) fn gate(decision: &Decision) {
    let mut lines = vec![format!(
        "gate: {} (verdict: {}, stage: {})",
        decision.gate.name(),
        decision.verdict.name(),
        decision.stage.name()
    )];
    lines.extend(decision.gate.reason().map(str::to_owned));
    lines.extend(told(decision));
    text(&lines.join("\n"));
}

/// What was accepted, and what is only warned of.
fn told(decision: &Decision) -> Vec<String> {
    let accepted = decision.accepted.iter().map(Acceptance::sentence);
    let warnings = decision.warnings.iter();
    let warnings = warnings.map(|warning| format!("WARNING: {warning}"));
    accepted.chain(warnings).collect()
}
