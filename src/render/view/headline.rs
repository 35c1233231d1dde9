//! The sentence that is read first.

use super::{Title, change, rows::changed_metrics, words};
use crate::{
    render::{ReportInput, escape::clean, number::plural},
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

/// Longest name in the heading, in characters.
const NAME: usize = 60;

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
        sentence(input, overall, number(overall), gating.len())
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

/// Which number, by how much: `TPOT p50 +10.7 % and 1 more of 7 gating metrics`.
fn worst(input: &ReportInput<'_>, verdict: Verdict, number: usize, metrics: &str) -> String {
    let found = changed_metrics(input).into_iter();
    let Some(worst) = found.into_iter().find(|judged| judged.verdict == verdict) else {
        return format!("{number} of {metrics}");
    };
    let label = clean(&worst.change.metric.label, NAME);
    let delta = change::delta(worst);
    match number.saturating_sub(1) {
        0 => format!("{label} {delta}, 1 of {metrics}"),
        more => format!("{label} {delta} and {more} more of {metrics}"),
    }
}

fn sentence(input: &ReportInput<'_>, overall: Verdict, number: usize, gating: usize) -> String {
    let metrics = plural(gating, "gating metric", "gating metrics");
    let part = format!("{number} of {metrics}");
    match overall {
        Verdict::Regressed => format!("Regressed: {}", worst(input, overall, number, &metrics)),
        Verdict::Missing => format!("Missing: {part} not measured this time"),
        Verdict::Incomparable => format!("Not comparable: {part}"),
        Verdict::Inconclusive => format!("Inconclusive: {part} not proven either way"),
        Verdict::Improved => format!("Improved: {}", worst(input, overall, number, &metrics)),
        Verdict::New => format!("No baseline yet: {metrics} measured, nothing to compare with"),
        Verdict::Unchanged if number == gating => format!("Unchanged: {metrics}"),
        Verdict::Unchanged => format!("Unchanged: {part}"),
    }
}

/// The worst change in a few words, for lists of reports: a broken limit, else the first
/// regression, else the first improvement.
pub(super) fn worst_change(input: &ReportInput<'_>) -> Option<String> {
    if let Some(check) = broken(input).next() {
        return Some(format!(
            "{}: limit broken",
            clean(&check.metric.label, NAME)
        ));
    }
    let found = changed_metrics(input).into_iter();
    let told = |judged: &&Judged| {
        input.baseline.is_ok() && matches!(judged.verdict, Verdict::Regressed | Verdict::Improved)
    };
    found.into_iter().find(told).map(|judged| {
        let label = clean(&judged.change.metric.label, NAME);
        format!("{label} {}", change::delta(judged))
    })
}

/// The worst gating regression, for the machine's memory.
pub(super) fn regressions<'a>(input: &ReportInput<'a>) -> Vec<&'a Judged> {
    let mut found = changed_metrics(input);
    found.retain(|judged| judged.verdict == Verdict::Regressed);
    found.sort_by(|a, b| b.severity().total_cmp(&a.severity()));
    found
}
