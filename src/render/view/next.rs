//! What to do now. Shown only when something is wrong or open.

use super::{Alert, Next, alert::reason_text, environment::code, rows::changed_metrics};
use crate::{
    compare::Design,
    render::{ReportInput, escape::clean, number::count},
    verdict::{Gate, Judged, Verdict},
};

/// Reasons of unsure metrics that are listed.
const REASONS: usize = 3;

/// The steps. What the alert already says is not said again.
pub(super) fn next(input: &ReportInput<'_>, alert: Option<&Alert>) -> Option<Next> {
    let failed = !matches!(input.decision.gate, Gate::Off | Gate::Passed);
    let verdict = input.decision.verdict;
    let unsure = match verdict {
        Verdict::Missing | Verdict::Incomparable | Verdict::Inconclusive => true,
        Verdict::Regressed | Verdict::Improved | Verdict::New | Verdict::Unchanged => false,
    };
    let open = (unsure || verdict == Verdict::Regressed) && input.baseline.is_ok();
    if !failed && !open {
        return None;
    }
    let mut steps: Vec<String> = Vec::new();
    steps.extend(of_gate(&input.decision.gate).map(str::to_owned));
    steps.extend(of_verdict(input, failed));
    if unsure {
        steps.extend(reasons(input, alert));
    }
    let reproduce = input.context.reproduce.as_deref();
    Some(Next {
        steps,
        reproduce: reproduce.map(|command| code(command, 20)),
    })
}

const fn of_gate(gate: &Gate) -> Option<&'static str> {
    match gate {
        Gate::Off | Gate::Passed | Gate::Regression(_) => None,
        Gate::LimitBroken(_) => Some("Make the absolute limit hold, or change it."),
        Gate::NotProven(_) => {
            Some("The gate is strict: it opens when every gating metric is proven not worse.")
        }
    }
}

fn of_verdict(input: &ReportInput<'_>, failed: bool) -> Vec<String> {
    let job = if failed { "the failed job" } else { "the job" };
    let step = match input.decision.verdict {
        Verdict::Regressed => {
            return vec![
                "Find what made it worse, or widen its limit if the cost is accepted.".to_owned(),
                format!("In doubt, re-run {job}: a real regression comes back, noise does not."),
            ];
        }
        Verdict::Missing => {
            format!("Look in the run's log for why the metric is gone, then re-run {job}.")
        }
        Verdict::Incomparable => format!(
            "Make the two sides alike, or measure a new baseline in this environment; then re-run \
             {job}."
        ),
        Verdict::Inconclusive => return of_inconclusive(input),
        Verdict::New => "Measure the base branch once and keep its results: the next run is \
                         compared with them."
            .to_owned(),
        Verdict::Improved | Verdict::Unchanged => return Vec::new(),
    };
    vec![step]
}

fn of_inconclusive(input: &ReportInput<'_>) -> Vec<String> {
    let metrics = &input.decision.metrics;
    if !metrics.iter().any(|judged| judged.gating) {
        return vec![more_requests(metrics)];
    }
    let undecided = || {
        let gating = changed_metrics(input).into_iter();
        gating.filter(|judged| judged.verdict == Verdict::Inconclusive)
    };
    if undecided().any(is_single) {
        let step = "Measure at least 4 runs a side (input “runs”): one run against one proves only \
                    large changes. If the runner is known to be steady, declare it (“run-cv”).";
        vec![step.to_owned()]
    } else if undecided().any(|judged| judged.change.estimate.is_some()) {
        vec!["More runs on both sides make the intervals narrower; so does a quieter host.".into()]
    } else {
        Vec::new()
    }
}

/// What makes the gate judge something.
fn more_requests(metrics: &[Judged]) -> String {
    let needed = metrics.iter().filter_map(|judged| judged.needs).max();
    let short = metrics.iter().filter(|judged| judged.needs.is_some());
    let have = short.filter_map(|judged| judged.change.requests).min();
    match (needed, have) {
        (Some(needed), have) => {
            let now = have.map_or_else(String::new, |have| format!(", now {}", count(have)));
            format!(
                "Raise the requests per scenario (input “requests”{now}) to at least {}: then \
                 every metric on the gating list can gate.",
                count(needed)
            )
        }
        (None, _) => "Put metrics on the gating list (input “metrics”) that this suite measures; \
                      the tables below name them."
            .to_owned(),
    }
}

fn is_single(judged: &Judged) -> bool {
    let estimate = judged.change.estimate;
    estimate.is_some_and(|estimate| estimate.design == Design::Single)
}

/// Why the first unsure metrics are unsure, and what would settle it.
fn reasons(input: &ReportInput<'_>, alert: Option<&Alert>) -> Vec<String> {
    let drifted = !input.comparison.fingerprint_differences.is_empty();
    let worth_saying = |judged: &&Judged| match judged.verdict {
        Verdict::Inconclusive => !is_single(judged),
        // One difference in the surroundings stops every metric: the alert names it.
        Verdict::Incomparable => !drifted,
        Verdict::Missing => true,
        Verdict::Regressed | Verdict::Improved | Verdict::New | Verdict::Unchanged => false,
    };
    // One fault in a scenario gives each of its metrics the same reason.
    let essence = |judged: &Judged| {
        let label = judged.change.metric.label.as_str();
        let reason = judged.reason.replacen(label, "", 1);
        (judged.change.scenario.clone(), reason)
    };
    let mut known = Vec::new();
    let mut lines = Vec::new();
    for judged in changed_metrics(input).into_iter().filter(worth_saying) {
        let (essence, line) = (essence(judged), clean(&reason_text(judged), 500));
        let said = known.contains(&essence);
        known.push(essence);
        if !said && alert.is_none_or(|alert| alert.text != line) {
            lines.push(line);
        }
        if lines.len() == REASONS {
            break;
        }
    }
    lines
}
