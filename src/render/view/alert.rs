//! The one alert below the title.

use super::{
    Alert,
    basis::is_single,
    change,
    headline::broken,
    limits::bound,
    rows::{changed_metrics, scale, values},
};
use crate::{
    render::{NoBaseline, ReportInput, escape::clean, number::Scale},
    results::RunStatus,
    verdict::{Gate, Judged, LimitCheck, REQUESTS_NEEDED, Verdict},
};

/// Longest sentence from outside, in characters.
const SENTENCE: usize = 300;
/// Fingerprint keys named in the alert.
const KEYS: usize = 3;

/// The most urgent of what there is to say.
pub(super) fn alert(input: &ReportInput<'_>) -> Option<Alert> {
    let failed = !matches!(input.decision.gate, Gate::Off | Gate::Passed);
    let loud = if failed { "CAUTION" } else { "WARNING" };
    let metrics = changed_metrics(input);
    let first = |wanted: Verdict| metrics.iter().find(|judged| judged.verdict == wanted);
    let (kind, text) = if let Some(check) = broken(input).next() {
        (loud, limit_text(check))
    } else if let Some(worst) = first(Verdict::Regressed) {
        (loud, worst_text(input, worst))
    } else if input.current.status != RunStatus::Complete {
        ("WARNING", status_text(input.current.status).to_owned())
    } else if let Some(text) = drift(input) {
        ("WARNING", text)
    } else if let Err(NoBaseline(reason)) = input.baseline {
        ("NOTE", no_baseline(reason))
    } else if let Some(text) = nothing_to_judge(input) {
        let quiet = input.decision.gate == Gate::Off;
        (if quiet { "NOTE" } else { loud }, text)
    } else if let Some(judged) = first(Verdict::Missing)
        .or_else(|| first(Verdict::Incomparable))
        .or_else(|| first(Verdict::Inconclusive))
    {
        let kind = if failed { "CAUTION" } else { "NOTE" };
        (kind, open_text(input, judged))
    } else {
        return None;
    };
    Some(Alert { kind, text })
}

/// What is wrong when no metric gates: a gate that passes then has proven nothing.
fn nothing_to_judge(input: &ReportInput<'_>) -> Option<String> {
    let metrics = &input.decision.metrics;
    if metrics.iter().any(|judged| judged.gating) {
        return None;
    }
    let who = match input.decision.gate {
        Gate::Off => "There was",
        Gate::Passed | Gate::Regression(_) | Gate::NotProven(_) | Gate::LimitBroken(_) => {
            "The gate had"
        }
    };
    let why = if metrics.iter().any(|judged| judged.needs.is_some()) {
        format!(
            "every metric on the gating list rests on too few requests, so nothing is proven. \
             Send more requests: {REQUESTS_NEEDED}."
        )
    } else {
        "no metric on the gating list was measured, so nothing is proven. Hold the list against \
         the metrics below."
            .to_owned()
    };
    Some(format!("{who} nothing to judge: {why}"))
}

fn no_baseline(reason: &str) -> String {
    format!(
        "There is no baseline ({}). The numbers below are absolute; the next run can be compared with them.",
        clean(reason, SENTENCE)
    )
}

fn status_text(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => {
            "The run was killed before it ended: what is below is what it had measured by then."
        }
        RunStatus::Failed => {
            "The run stopped on an error: what is below is what it had measured by then."
        }
        RunStatus::Cancelled => {
            "The run was cancelled: what is below is what it had measured by then."
        }
        RunStatus::Complete => "The run is complete.",
    }
}

fn limit_text(check: &LimitCheck) -> String {
    let metric = &check.metric;
    let label = capital(&clean(&metric.label, SENTENCE));
    let place = check
        .scenario
        .as_ref()
        .map(|name| format!(" in {}", clean(name, SENTENCE)))
        .unwrap_or_default();
    let bound = bound(check);
    check.value.map_or_else(
        || format!("{label}{place} was not measured, so its limit ({bound}) does not hold."),
        |value| {
            let text = Scale::of(metric.unit, value).text(value);
            format!("{label}{place} is {text}; the limit is {bound}.")
        },
    )
}

/// An open row in words: what is seen and how far the proof reaches. What would settle it stands
/// among the things to do.
fn open_text(input: &ReportInput<'_>, judged: &Judged) -> String {
    let seen = judged.verdict == Verdict::Inconclusive && judged.interval.is_some();
    if !seen || judged.remedy.is_none() {
        return reason_text(judged);
    }
    // What one job against one can prove is said below the heading.
    let reach = if judged.detectable.is_none() || is_single(judged) {
        String::new()
    } else {
        let size = change::detectable(judged);
        format!(" A worsening below {size} cannot be proven like this.")
    };
    format!("Not proven either way: {}{reach}", seen_text(input, judged))
}

/// The worst row in words.
fn worst_text(input: &ReportInput<'_>, judged: &Judged) -> String {
    let counts = change::least(judged)
        .map(|least| format!(" More than {least} worse counts as a regression."))
        .unwrap_or_default();
    format!("{}{counts}", capital(&seen_text(input, judged)))
}

/// What is seen of a metric: `TPOT p50 in c32 is 10.7 % higher, 11.23 ms → 12.43 ms (99.8 %
/// interval +9.4 … +12.0 %, 5 pairs).`
fn seen_text(input: &ReportInput<'_>, judged: &Judged) -> String {
    let metric = &judged.change.metric;
    let scale = scale(judged);
    let sides = match values(input, judged) {
        (Some(base), Some(head)) => format!(", {} → {}", scale.text(base), scale.text(head)),
        _ => String::new(),
    };
    let difference = judged.points().or_else(|| judged.relative()).unwrap_or(0.0);
    let moved = if difference > 0.0 { "higher" } else { "lower" };
    let interval = change::spoken_interval(judged)
        .map(|interval| format!(" ({interval}, {})", change::rests(judged)))
        .unwrap_or_default();
    format!(
        "{} in {} is {} {moved}{sides}{interval}.",
        clean(&metric.label, SENTENCE),
        clean(&judged.change.scenario, SENTENCE),
        change::size(judged),
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Scenario and reason; the reason names the metric.
pub(super) fn reason_text(judged: &Judged) -> String {
    format!(
        "{}: {}.",
        clean(&judged.change.scenario, SENTENCE),
        clean(&judged.reason, SENTENCE)
    )
}

/// What the two sides differ in, when that stops the comparison.
fn drift(input: &ReportInput<'_>) -> Option<String> {
    let differences = &input.comparison.fingerprint_differences;
    if differences.is_empty() || input.baseline.is_err() {
        return None;
    }
    let mut named: Vec<String> = differences
        .iter()
        .take(KEYS)
        .map(|difference| {
            format!(
                "{}: {} → {}",
                clean(&difference.key, 60),
                clean(&difference.baseline, 60),
                clean(&difference.current, 60)
            )
        })
        .collect();
    let left = differences.len().saturating_sub(KEYS);
    if left > 0 {
        named.push(format!("and {left} more"));
    }
    Some(format!(
        "The two sides were not measured under the same conditions ({}), so a difference says nothing about the code.",
        named.join("; ")
    ))
}
