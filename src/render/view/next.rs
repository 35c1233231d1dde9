//! What to do now, with the exact setting. Shown only when something is wrong or open.

use super::{
    Alert, Next, Setting, Step, alert::reason_text, basis::is_single, environment::code,
    rows::changed_metrics,
};
use crate::{
    compare::Design,
    render::{
        ReportInput,
        escape::clean,
        number::{count, plural, share},
    },
    verdict::{Gate, Judged, Remedy, Verdict},
};

/// Reasons of unsure metrics that are listed.
const REASONS: usize = 3;

fn say(sentence: impl Into<String>) -> Step {
    Step {
        setting: None,
        sentence: sentence.into(),
    }
}

/// The sentence goes on after the setting: it begins with a comma or a colon.
fn set(verb: &'static str, code: String, sentence: String) -> Step {
    Step {
        setting: Some(Setting { verb, code }),
        sentence,
    }
}

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
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(of_gate(&input.decision.gate).map(say));
    steps.extend(of_verdict(input, failed));
    if unsure {
        steps.extend(reasons(input, alert).into_iter().map(say));
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

fn of_verdict(input: &ReportInput<'_>, failed: bool) -> Vec<Step> {
    let job = if failed { "the failed job" } else { "the job" };
    let step = match input.decision.verdict {
        Verdict::Regressed => return of_regressed(input),
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
    vec![say(step)]
}

/// A regression that pairs have proven needs no second look; one between jobs may be the job's.
fn of_regressed(input: &ReportInput<'_>) -> Vec<Step> {
    let found = match &input.decision.to_accept {
        None => "Find what made it worse, or widen its limit if the cost is accepted.".to_owned(),
        // The label is the configuration's, the rest are kitt's words; names are cleaned all the same.
        Some(to_do) => format!("Find what made it worse. {}", clean(to_do, 400)),
    };
    let mut steps = vec![say(found)];
    let between_jobs = |judged: &Judged| {
        let design = judged.change.estimate.map(|estimate| estimate.design);
        matches!(design, Some(Design::Single | Design::History))
    };
    let regressed = changed_metrics(input).into_iter();
    let mut regressed = regressed.filter(|judged| judged.verdict == Verdict::Regressed);
    if regressed.any(between_jobs) {
        steps.push(in_turn("In doubt, set"));
    }
    steps
}

fn in_turn(verb: &'static str) -> Step {
    let sentence = ", so that baseline and current take turns on one machine. Three to twelve pairs \
                    mostly decide, since what differs from job to job then hits both alike.";
    set(verb, "baseline: ab".to_owned(), sentence.to_owned())
}

fn of_inconclusive(input: &ReportInput<'_>) -> Vec<Step> {
    let metrics = &input.decision.metrics;
    if !metrics.iter().any(|judged| judged.gating) {
        return vec![more_requests(metrics)];
    }
    let undecided = changed_metrics(input).into_iter();
    let undecided = undecided.filter(|judged| judged.verdict == Verdict::Inconclusive);
    let remedies: Vec<(&Judged, Remedy)> = undecided
        .filter_map(|judged| Some((judged, judged.remedy?)))
        .collect();
    let interleave = remedies
        .iter()
        .any(|(judged, remedy)| *remedy == Remedy::Interleave || is_single(judged));
    if interleave {
        // Whatever else is open is judged anew then.
        return vec![in_turn("Set")];
    }
    // On a runner on which some metric is hopeless more pairs are a waste for all.
    let pairs = quieter(&remedies).or_else(|| more_pairs(input, &remedies));
    [pairs, requests(&remedies), items(&remedies)]
        .into_iter()
        .flatten()
        .collect()
}

/// The largest of one kind of advice.
fn most<T: Ord>(remedies: &[(&Judged, Remedy)], pick: impl Fn(Remedy) -> Option<T>) -> Option<T> {
    remedies
        .iter()
        .filter_map(|(_, remedy)| pick(*remedy))
        .max()
}

fn more_pairs(input: &ReportInput<'_>, remedies: &[(&Judged, Remedy)]) -> Option<Step> {
    let needed = most(remedies, |remedy| match remedy {
        Remedy::Pairs(pairs) => Some(pairs),
        Remedy::Interleave | Remedy::Quieter(_) | Remedy::Requests(_) | Remedy::Items(_) => None,
    })?;
    let had = remedies
        .iter()
        .filter_map(|(judged, _)| judged.change.pairs.as_ref())
        .map(crate::compare::PairedLogs::len)
        .max()
        .unwrap_or(0);
    let planned = input.comparison.planned_pairs.unwrap_or(0) as usize;
    let about = format!(
        ": about {} would decide, and {had} were measured.",
        plural(needed, "pair", "pairs")
    );
    Some(if needed <= planned {
        set("Raise", "time-budget".to_owned(), about)
    } else {
        let about = format!("{about} More requests per run help latencies as well.");
        set("Set", format!("pairs: {needed}"), about)
    })
}

fn quieter(remedies: &[(&Judged, Remedy)]) -> Option<Step> {
    let loud = remedies.iter().filter_map(|(judged, remedy)| match remedy {
        Remedy::Quieter(limit) => Some((*judged, *limit)),
        Remedy::Interleave | Remedy::Pairs(_) | Remedy::Requests(_) | Remedy::Items(_) => None,
    });
    let loud: Vec<(&Judged, Option<f64>)> = loud.collect();
    let spread = loud.iter().filter_map(|(judged, _)| judged.change.spread);
    let spread = spread.fold(0.0, f64::max);
    let limit = loud
        .iter()
        .filter_map(|(_, limit)| *limit)
        .fold(0.0, f64::max);
    let wider = if limit > 0.0 && loud.iter().all(|(_, limit)| limit.is_some()) {
        format!(
            " Or widen the limit: with {} it would have passed.",
            share(limit)
        )
    } else {
        String::new()
    };
    (!loud.is_empty()).then(|| {
        say(format!(
            "Quieten the runner: one run differs from the next by {} here, and not even 30 pairs \
             would decide. Lock the clocks, keep the GPU to one job, and let kitt doctor say what \
             else disturbs it.{wider}",
            share(spread)
        ))
    })
}

fn requests(remedies: &[(&Judged, Remedy)]) -> Option<Step> {
    let needed = most(remedies, |remedy| match remedy {
        Remedy::Requests(requests) => Some(requests),
        Remedy::Interleave | Remedy::Quieter(_) | Remedy::Pairs(_) | Remedy::Items(_) => None,
    })?;
    let have = remedies
        .iter()
        .filter_map(|(judged, _)| judged.change.requests);
    let now = have.min().map_or_else(String::new, |have| {
        format!(" Each run had {}.", count(have))
    });
    let about = format!(
        ": about {} requests per run and scenario would decide.{now}",
        count(needed)
    );
    Some(set("Set", format!("requests: {needed}"), about))
}

fn items(remedies: &[(&Judged, Remedy)]) -> Option<Step> {
    let needed = most(remedies, |remedy| match remedy {
        Remedy::Items(items) => Some(items),
        Remedy::Interleave | Remedy::Quieter(_) | Remedy::Pairs(_) | Remedy::Requests(_) => None,
    })?;
    Some(say(format!(
        "Evaluate more items: about {} would decide; the same ones asked again tell \
         nothing new.",
        count(needed)
    )))
}

/// What makes the gate judge something.
fn more_requests(metrics: &[Judged]) -> Step {
    let needed = metrics.iter().filter_map(|judged| judged.needs).max();
    let short = metrics.iter().filter(|judged| judged.needs.is_some());
    let have = short.filter_map(|judged| judged.change.requests).min();
    let Some(needed) = needed else {
        let text = ": put metrics on the gating list that this suite measures; the tables below \
                    name them.";
        return set("Change", "metrics".to_owned(), text.to_owned());
    };
    let now = have.map_or_else(String::new, |have| format!(" (now {})", count(have)));
    let text = format!(
        ": from so many requests per scenario{now} on, every metric on the gating list can gate."
    );
    set("Set", format!("requests: {needed}"), text)
}

/// Why the first unsure metrics are unsure, where no setting settles them.
fn reasons(input: &ReportInput<'_>, alert: Option<&Alert>) -> Vec<String> {
    let drifted = !input.comparison.fingerprint_differences.is_empty();
    let worth_saying = |judged: &&Judged| match judged.verdict {
        Verdict::Inconclusive => judged.remedy.is_none(),
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
