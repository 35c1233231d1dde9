//! What a person or a program reads on standard output.

use std::{io::Write, path::Path};

use crate::{
    publish::command,
    verdict::{Decision, Gate, Verdict},
};

/// Writes a text and a newline. Standard output may be closed (`kitt … | head`): then nobody
/// reads on, and that is no failure.
pub(super) fn text(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(command::text(&mut out, text).and_then(|()| out.flush()));
}

/// Writes rows of three columns, aligned.
pub(super) fn table(rows: &[(&str, String, String)]) {
    let width =
        |column: fn(&(&str, String, String)) -> usize| rows.iter().map(column).max().unwrap_or(0);
    let first = width(|row| row.0.chars().count());
    let second = width(|row| row.1.chars().count()).min(60);
    let line =
        |row: &(&str, String, String)| format!("{:first$}  {:second$}  {}", row.0, row.1, row.2);
    let lines: Vec<String> = rows.iter().map(line).collect();
    text(&lines.join("\n"));
}

/// Writes the verdict and the rows that matter, and where the reports are.
pub(super) fn verdict(decision: &Decision, dir: &Path) {
    judgement(decision);
    let dir = dir.display();
    text(&format!(
        "comment: {dir}/comment.md   report: {dir}/report.html"
    ));
}

/// Writes the verdict and the rows that matter.
pub(super) fn judgement(decision: &Decision) {
    let mut lines = vec![format!(
        "verdict: {} (gate: {})",
        decision.verdict.name(),
        decision.gate.name()
    )];
    let matters = |judged: &&crate::verdict::Judged| {
        judged.gating && !matches!(judged.verdict, Verdict::Unchanged | Verdict::New)
    };
    for judged in decision.metrics.iter().filter(matters).take(20) {
        lines.push(format!(
            "  {:12} {}: {}",
            judged.verdict.name(),
            judged.change.scenario,
            judged.reason
        ));
    }
    let new = decision
        .metrics
        .iter()
        .filter(|judged| judged.verdict == Verdict::New)
        .count();
    if new > 0 {
        lines.push(format!("  {new} metrics have nothing to be compared with"));
    }
    if let Gate::Regression(why) | Gate::NotProven(why) | Gate::LimitBroken(why) = &decision.gate {
        lines.push(why.clone());
    }
    text(&lines.join("\n"));
}
