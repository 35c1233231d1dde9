//! The machine's memory in the comment's last line: versioned JSON, base64, so that nothing in
//! it can end the HTML comment.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::headline::regressions;
use crate::render::{ReportContext, ReportInput, escape::clean};

/// Regressions that are remembered.
const REMEMBERED: usize = 20;

/// What a later run may want to know. Readers take what they know of the version they know.
#[derive(Serialize)]
struct State<'a> {
    version: u32,
    verdict: &'a str,
    gate: &'a str,
    head: Option<String>,
    updated: &'a str,
    regressions: Vec<String>,
}

pub(super) fn state(input: &ReportInput<'_>) -> String {
    let regressions = regressions(input).into_iter().take(REMEMBERED);
    encode(&State {
        version: 1,
        verdict: input.decision.verdict.name(),
        gate: input.decision.gate.name(),
        head: input.context.head.as_deref().map(|head| clean(head, 64)),
        updated: &input.context.updated,
        regressions: regressions
            .map(|judged| {
                let change = &judged.change;
                clean(&format!("{} {}", change.scenario, change.metric.name), 120)
            })
            .collect(),
    })
}

/// The state of a measurement that could not be made.
pub(super) fn error_state(context: &ReportContext) -> String {
    encode(&State {
        version: 1,
        verdict: "error",
        gate: "off",
        head: context.head.as_deref().map(|head| clean(head, 64)),
        updated: &context.updated,
        regressions: Vec::new(),
    })
}

fn encode(state: &State<'_>) -> String {
    // Strings and numbers always serialise.
    STANDARD.encode(serde_json::to_vec(state).unwrap_or_default())
}
