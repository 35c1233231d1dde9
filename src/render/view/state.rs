//! What a report leaves in its comment for later runs.

use super::headline;
use crate::{
    render::{
        GateWord, ReportContext, ReportInput,
        escape::clean,
        state::{MOST_EARLIER, MOST_REGRESSIONS, Outcome, State, VERSION},
    },
    verdict::Verdict,
};

/// The state of a decision.
pub(in crate::render) fn state(input: &ReportInput<'_>) -> State {
    let regressions = headline::regressions(input).into_iter();
    let overall = match input.baseline {
        Ok(_) => input.decision.verdict,
        Err(_) => Verdict::New,
    };
    let names = regressions.take(MOST_REGRESSIONS).map(|judged| {
        let change = &judged.change;
        clean(&format!("{} {}", change.scenario, change.metric.name), 120)
    });
    State {
        outcome: Outcome::Of(overall),
        gate: GateWord::from(&input.decision.gate),
        worst: headline::worst_change(input),
        regressions: names.collect(),
        ..error_state(input.context)
    }
}

/// The state of a measurement that could not be made.
pub(in crate::render) fn error_state(context: &ReportContext) -> State {
    let state = State {
        version: VERSION,
        section: context.section.clone(),
        head: context.head.clone(),
        updated: context.updated.clone(),
        run: context.run,
        attempt: context.attempt,
        url: context.run_url.clone(),
        earlier: context.earlier.iter().take(MOST_EARLIER).cloned().collect(),
        ..State::default()
    };
    state.cleaned()
}
