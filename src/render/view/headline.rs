//! The sentence that is read first.

use super::{Title, rows::changed_metrics, words};
use crate::{
    compare::Design,
    render::{ReportInput, number::plural},
    verdict::{Judged, LimitCheck, Verdict},
};

/// Every verdict, in the order of the counts.
const ORDER: [Verdict; 7] = [
    Verdict::Regressed,
    Verdict::Missing,
    Verdict::Incomparable,
    Verdict::Inconclusive,
    Verdict::Improved,
    Verdict::New,
    Verdict::Unchanged,
];

/// Whether the answer rests on one run against one.
pub(super) fn is_provisional(input: &ReportInput<'_>) -> bool {
    input
        .decision
        .metrics
        .iter()
        .filter(|judged| judged.gating)
        .filter_map(|judged| judged.change.estimate)
        .any(|estimate| estimate.design == Design::Single)
}

/// The limits that do not hold.
pub(super) fn broken<'a>(input: &ReportInput<'a>) -> impl Iterator<Item = &'a LimitCheck> {
    input.decision.limits.iter().filter(|check| !check.holds)
}

pub(super) fn title(input: &ReportInput<'_>) -> Title {
    let gating: Vec<Verdict> = input
        .decision
        .metrics
        .iter()
        .filter(|judged| judged.gating)
        .map(|judged| judged.verdict)
        .collect();
    let number = |wanted: Verdict| gating.iter().filter(|verdict| **verdict == wanted).count();
    let overall = match input.baseline {
        Ok(_) => input.decision.verdict,
        Err(_) => Verdict::New,
    };
    let many_broken = broken(input).count();
    let nothing = gating.is_empty();
    let sentence = if nothing {
        nothing_to_judge(input).to_owned()
    } else {
        sentence(overall, number(overall), gating.len())
    };
    // Without a gating metric nothing is proven, whatever the overall verdict is called.
    let shown = if nothing {
        Verdict::Inconclusive
    } else {
        overall
    };
    let mut counts: Vec<String> = ORDER
        .into_iter()
        .filter(|verdict| *verdict != overall && number(*verdict) > 0)
        .map(|verdict| format!("{} {}", number(verdict), words::word(verdict)))
        .collect();
    let base = Title {
        icon: words::icon(shown),
        gate: words::gate(&input.decision.gate),
        tone: words::tone(shown),
        provisional: is_provisional(input),
        sentence,
        counts: Vec::new(),
    };
    if many_broken == 0 {
        return Title { counts, ..base };
    }
    counts.insert(0, base.sentence);
    Title {
        icon: "❌",
        tone: "bad",
        sentence: format!(
            "Limit broken: {many_broken} of {}",
            plural(
                input.decision.limits.len(),
                "absolute limit",
                "absolute limits"
            )
        ),
        counts,
        ..base
    }
}

fn nothing_to_judge(input: &ReportInput<'_>) -> &'static str {
    if input.decision.metrics.iter().any(|one| one.needs.is_some()) {
        "Nothing to judge: too few requests for any gating metric"
    } else {
        "Nothing to judge: no gating metric was measured"
    }
}

fn sentence(overall: Verdict, number: usize, gating: usize) -> String {
    let metrics = plural(gating, "gating metric", "gating metrics");
    let part = format!("{number} of {metrics}");
    match overall {
        Verdict::Regressed => format!("Regressed: {part}"),
        Verdict::Missing => format!("Missing: {part} not measured this time"),
        Verdict::Incomparable => format!("Not comparable: {part}"),
        Verdict::Inconclusive => format!("Inconclusive: {part}"),
        Verdict::Improved => format!("Improved: {part}"),
        Verdict::New => format!("No baseline yet: {metrics} measured, nothing to compare with"),
        Verdict::Unchanged if number == gating => format!("Unchanged: {metrics}"),
        Verdict::Unchanged => format!("Unchanged: {part}"),
    }
}

/// The worst gating regression, for the machine's memory.
pub(super) fn regressions<'a>(input: &ReportInput<'a>) -> Vec<&'a Judged> {
    let mut found = changed_metrics(input);
    found.retain(|judged| judged.verdict == Verdict::Regressed);
    found.sort_by(|a, b| b.severity().total_cmp(&a.severity()));
    found
}
