//! The fixed words and signs of the reports.

use crate::{
    compare::Design,
    metric::Better,
    render::{GateWord, Outcome},
    verdict::{Gate, Verdict},
};

pub(super) const fn icon(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "❌",
        Verdict::Missing => "❓",
        Verdict::Incomparable => "⚠️",
        Verdict::Inconclusive => "⚪",
        Verdict::Improved => "🟢",
        Verdict::New => "🆕",
        Verdict::Unchanged => "✅",
    }
}

/// The word in a row and in a count. `not comparable` reads better than the output's word.
pub(super) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "regressed",
        Verdict::Missing => "missing",
        Verdict::Incomparable => "not comparable",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Improved => "improved",
        Verdict::New => "new",
        Verdict::Unchanged => "unchanged",
    }
}

/// The sign of a remembered outcome. A closed gate is red whatever the verdict is called.
pub(in crate::render) const fn outcome_icon(outcome: Outcome, gate: GateWord) -> &'static str {
    match (outcome, gate) {
        (Outcome::Error, _) => "🛠",
        (_, GateWord::Failed) => "❌",
        (Outcome::Of(verdict), _) => icon(verdict),
    }
}

/// The word of a remembered outcome.
pub(in crate::render) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Error => "not measured",
        Outcome::Of(verdict) => word(verdict),
    }
}

pub(super) const fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed | Verdict::Missing => "bad",
        Verdict::Incomparable | Verdict::Inconclusive => "unsure",
        Verdict::Improved | Verdict::Unchanged => "good",
        Verdict::New => "neutral",
    }
}

pub(super) const fn gate(gate: &Gate) -> &'static str {
    match gate {
        Gate::Off => "gate off",
        Gate::Passed => "gate passed",
        Gate::Regression(_) | Gate::NotProven(_) | Gate::LimitBroken(_) => "gate failed",
    }
}

/// Which way is better; empty when neither is.
pub(super) const fn arrow(better: Option<Better>) -> &'static str {
    match better {
        Some(Better::Lower) => "↓",
        Some(Better::Higher) => "↑",
        None => "",
    }
}

/// The design in a sentence of the small print.
pub(super) const fn design_long(design: Design) -> &'static str {
    match design {
        Design::Paired => "interleaved pairs, moderated paired t with a sequential stop",
        Design::History => "Student's t against the comparable jobs before this one",
        Design::Single => "provisional: one job against one, with a declared variation",
        Design::Exact => "deterministic counts compared exactly",
    }
}

/// The design of shares in a sentence of the small print.
pub(super) const SHARES: &str = "Newcombe's limits for differences of shares";

/// The design of accuracy on the same items.
pub(super) const ITEMS: &str = "exact McNemar on the same items";

/// The design of calibration on the same items.
pub(super) const SHIFTS: &str = "paired item bootstrap";

/// How the column `Limits` is read.
pub(super) const ZONE: &str = "limits a / b: proven worse by more than a is a regression; proven not worse by b is unchanged; neither is inconclusive · provable: smallest worsening that this comparison could have proven · spread: standard deviation from run to run, from job to job with history";
