//! The pushes before this one, as the standing comment remembered them.

use super::{Earlier, EarlierRow, footer::moment, words};
use crate::{
    render::{
        GateWord, ReportContext, ReportInput,
        budget::Detail,
        escape::clean,
        number::NOTHING,
        state::{MOST_EARLIER, Outcome, Push},
    },
    verdict::{Gate, Verdict},
};

/// The block of earlier pushes; `None` when there are none or they do not fit.
pub(super) fn earlier(context: &ReportContext, detail: &Detail) -> Option<Earlier> {
    let rows: Vec<EarlierRow> = context
        .earlier
        .iter()
        .take(if detail.earlier { MOST_EARLIER } else { 0 })
        .map(row)
        .collect();
    (!rows.is_empty()).then(|| Earlier {
        title: rows.len().to_string(),
        pushes: rows,
    })
}

fn row(push: &Push) -> EarlierRow {
    let unknown = || NOTHING.to_owned();
    EarlierRow {
        icon: words::outcome_icon(push.outcome, push.gate),
        verdict: words::outcome(push.outcome),
        push: push.head.as_deref().map_or_else(unknown, commit),
        when: moment(&push.updated),
        worst: push.worst.clone().unwrap_or_else(unknown),
        gate_word: push.gate.name(),
    }
}

/// Seven digits of a commit, of which twelve are remembered.
fn commit(head: &str) -> String {
    if head.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        head.chars().take(7).collect()
    } else {
        clean(head, 12)
    }
}

/// What the push before had and this one has not: `abc1234 had regressed (TPOT p50 +10.7 %)`.
pub(super) fn resolved(input: &ReportInput<'_>) -> Option<String> {
    let before = input.context.earlier.first()?;
    let was_bad =
        before.outcome == Outcome::Of(Verdict::Regressed) || before.gate == GateWord::Failed;
    let is_good = input.baseline.is_ok()
        && matches!(input.decision.gate, Gate::Off | Gate::Passed)
        && input.decision.accepted.is_none()
        && matches!(
            input.decision.verdict,
            Verdict::Unchanged | Verdict::Improved
        );
    if !was_bad || !is_good {
        return None;
    }
    let push = before
        .head
        .as_deref()
        .map_or_else(|| "the push before".to_owned(), commit);
    let had = if before.outcome == Outcome::Of(Verdict::Regressed) {
        "had regressed"
    } else {
        "did not pass the gate"
    };
    Some(match before.worst.as_deref() {
        Some(worst) => format!("{push} {had} ({})", clean(worst, 100)),
        None => format!("{push} {had}"),
    })
}
