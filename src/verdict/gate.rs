//! Verdicts and absolute limits to pass or fail, with the sentences a person reads.

use super::{
    Acceptance, Gate, GatePolicy, Judged, LimitCheck, Reaction, Stage, Verdict,
    reason::{REQUESTS_NEEDED, percent, quantity},
};
use crate::context::{Accept, On};

/// What the gate looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    /// The policy.
    pub(super) policy: &'a GatePolicy,
    /// The overall verdict.
    pub(super) verdict: Verdict,
    /// Every metric, the most urgent first.
    pub(super) metrics: &'a [Judged],
    /// Every absolute limit.
    pub(super) limits: &'a [LimitCheck],
    /// Whether both sides are known to have been measured under the same conditions.
    pub(super) alike: bool,
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) gate: Gate,
    /// What a reader should hear although it does not block.
    pub(super) warnings: Vec<String>,
    /// What somebody accepted.
    pub(super) accepted: Option<Acceptance>,
    /// What is left to do for the worst regression to be accepted.
    pub(super) to_accept: Option<String>,
}

/// What a row does to the gate: a regression stands at its metric's stage unless it is accepted,
/// what proves nothing as the policy reacts to it.
pub(super) fn stands(judged: &Judged, policy: &GatePolicy, alike: bool) -> Stage {
    if !judged.gating {
        return Stage::Observe;
    }
    match reaction(policy.on, judged.verdict, alike) {
        Some(reaction) => reaction.stage().min(judged.stage),
        None if judged.verdict == Verdict::Regressed => match accepted(policy, judged) {
            Some(_) => Stage::Observe,
            None => judged.stage,
        },
        None => Stage::Observe,
    }
}

fn accepted<'a>(policy: &'a GatePolicy, judged: &Judged) -> Option<&'a str> {
    let accept = policy.accept.as_ref()?;
    accept.reason(&judged.change.metric.name)
}

/// The gate. A broken limit outranks a regression (it needs no baseline and no statistics), a
/// regression outranks what is merely unproven. What stands at the stage `warn` is said, what
/// stands at `observe` is not.
pub(super) fn gate(case: Case<'_>) -> Outcome {
    let policy = case.policy;
    let gating: Vec<&Judged> = case.metrics.iter().filter(|judged| judged.gating).collect();
    let regressed = of(&gating, |judged| judged.verdict == Verdict::Regressed);
    let mut taken: Vec<(&str, &str)> = regressed
        .iter()
        .filter_map(|judged| {
            let metric = judged.change.metric.name.as_str();
            Some((metric, accepted(policy, judged)?))
        })
        .collect();
    let accept = policy.accept.as_ref();
    let broken: Vec<&LimitCheck> = case.limits.iter().filter(|check| !check.holds).collect();
    let pardoned = of(&broken, |check| check.accepted);
    taken.extend(pardoned.iter().filter_map(|check| {
        let metric = check.limit.metric.as_str();
        Some((metric, accept?.reason(metric)?))
    }));
    let at = |stage: Stage| {
        let broken = of(&broken, |check| check.stage == stage && !check.accepted);
        let slower = of(&regressed, |judged| judged.stands == stage);
        let counts = (slower.len(), gating.len());
        let limit = broken.first();
        let limit = limit.map(|first| Gate::LimitBroken(broken_sentence(first, broken.len())));
        let worst = slower.first();
        let worst = worst.map(|worst| Gate::Regression(regression_sentence(worst, counts, accept)));
        let unproven = unproven(case, &gating, stage).map(Gate::NotProven);
        [limit, worst, unproven].into_iter().flatten()
    };
    let gate = if policy.gate {
        at(Stage::Block).next().unwrap_or(Gate::Passed)
    } else {
        Gate::Off
    };
    Outcome {
        gate,
        warnings: at(Stage::Warn).filter_map(Gate::into_reason).collect(),
        accepted: acceptance(accept, &taken),
        to_accept: regressed
            .first()
            .and_then(|worst| accept?.to_do(&worst.change.metric.name)),
    }
}

fn of<'a, T>(all: &[&'a T], keep: impl Fn(&T) -> bool) -> Vec<&'a T> {
    all.iter().copied().filter(|one| keep(one)).collect()
}

fn acceptance(accept: Option<&Accept>, taken: &[(&str, &str)]) -> Option<Acceptance> {
    let accept = accept?;
    let set = accept.set_by().cloned().unwrap_or_default();
    let mut reasons: Vec<&str> = Vec::new();
    let mut metrics: Vec<String> = Vec::new();
    for (metric, reason) in taken {
        if metrics.iter().all(|known| known != metric) {
            metrics.push((*metric).to_owned());
        }
        if !reasons.contains(reason) {
            reasons.push(reason);
        }
    }
    (!metrics.is_empty()).then(|| Acceptance {
        label: accept.rule.label.clone(),
        reason: reasons.join("; "),
        metrics,
        by: set.login,
        at: set.at,
    })
}

/// The sentence of what is unproven at a stage, the most urgent first.
fn unproven(case: Case<'_>, gating: &[&Judged], stage: Stage) -> Option<String> {
    if gating.is_empty() {
        let reaction = reaction(case.policy.on, case.verdict, case.alike)?;
        let stands = reaction.stage().min(case.policy.stage) == stage;
        return stands.then(|| unproven_sentence(case, case.verdict, gating));
    }
    // They are sorted by urgency.
    let open = |judged: &&&Judged| judged.stands == stage && judged.verdict != Verdict::Regressed;
    let first = gating.iter().find(open)?;
    Some(unproven_sentence(case, first.verdict, gating))
}

/// What the policy does about a verdict; `None` where something is proven.
fn reaction(on: On, verdict: Verdict, alike: bool) -> Option<Reaction> {
    match verdict {
        Verdict::Regressed | Verdict::Improved | Verdict::Unchanged => None,
        Verdict::Missing => Some(on.missing.unwrap_or(if alike {
            Reaction::Fail
        } else {
            Reaction::Pass
        })),
        Verdict::Incomparable => Some(on.incomparable),
        Verdict::Inconclusive => Some(on.inconclusive),
        Verdict::New => Some(on.no_baseline),
    }
}

fn others(count: usize) -> String {
    match count.saturating_sub(1) {
        0 => String::new(),
        1 => " One more limit is broken.".to_owned(),
        more => format!(" {more} more limits are broken."),
    }
}

fn broken_sentence(check: &LimitCheck, count: usize) -> String {
    let label = &check.metric.label;
    let place = check
        .scenario
        .as_ref()
        .map(|scenario| format!(" in {scenario}"))
        .unwrap_or_default();
    let sentence = if let Some(value) = check.value {
        let above = check.limit.max.filter(|max| value > *max);
        let (side, limit) = match above {
            Some(max) => ("above", max),
            None => ("below", check.limit.min.unwrap_or(value)),
        };
        let by = value / limit - 1.0;
        let by = if by.is_finite() {
            format!(" by {}", percent(by))
        } else {
            String::new()
        };
        let unit = check.metric.unit;
        format!(
            "{label}{place} is {}, {side} its limit of {}{by}: make it hold, or change the \
                 limit.",
            quantity(value, unit),
            quantity(limit, unit),
        )
    } else {
        let why = check.absent.as_ref();
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{label} has a limit but was not measured{why}: measure it, or remove the limit.")
    };
    sentence + &others(count)
}

fn regression_sentence(
    worst: &Judged,
    (regressed, gating): (usize, usize),
    accept: Option<&Accept>,
) -> String {
    let to_do = accept.and_then(|accept| accept.to_do(&worst.change.metric.name));
    let to_do = to_do.map_or_else(
        || "Find what slowed it, or widen its limit if the cost is accepted.".to_owned(),
        |to_do| format!("Find what slowed it, or say why it is worth it. {to_do}"),
    );
    format!(
        "{regressed} of {gating} gating metrics regressed; the worst, in {}: {}. {to_do}",
        worst.change.scenario,
        without_notes(worst)
    )
}

/// Why this verdict, without how the estimate was made: who reads why the job failed wants to
/// know what to do, and finds the rest in the report.
fn without_notes(judged: &Judged) -> &str {
    let reason = judged.reason.as_str();
    let note = judged.change.notes.first();
    let cut = note.and_then(|note| reason.split_once(&format!("; {note}")));
    cut.map_or(reason, |(why, _)| why)
}

fn unproven_sentence(case: Case<'_>, verdict: Verdict, gating: &[&Judged]) -> String {
    let fresh = gating.iter().all(|judged| judged.verdict == Verdict::New);
    let first = gating.iter().find(|judged| judged.verdict == verdict);
    let detail = match (verdict == Verdict::New && fresh, first) {
        (true, _) => "there is no baseline to compare with: measure the base branch first".into(),
        (false, Some(judged)) => {
            format!("in {}: {}", judged.change.scenario, without_notes(judged))
        }
        (false, None) => {
            format!(
                "none of the gating metrics was measured with enough requests on both sides: send \
                 {REQUESTS_NEEDED}"
            )
        }
    };
    let on = case.policy.on;
    if verdict == Verdict::Missing && on.missing.is_none() {
        return format!(
            "A metric that gates is gone although nothing else changed; {detail}. Look in the \
             run's log for why, or take it off the gating list."
        );
    }
    let word = verdict.name();
    let asks = if on == On::STRICT {
        "`strict` asks for proof".to_owned()
    } else {
        let key = if verdict == Verdict::New {
            "no-baseline"
        } else {
            word
        };
        format!("the policy (`on: {key}`) asks for proof")
    };
    format!("The result is {word}, and {asks}; {detail}.")
}
