//! `kitt gate`: the policy held against results that exist already.

use serde_json::json;

use super::{out, policy, report};
use crate::{
    cli::GateArgs,
    context::{self, EnvSnapshot, Inputs},
    error::Error,
    exit::Exit,
    render,
    verdict::{self, Decision},
};

/// Applies the policy to results that exist already.
///
/// # Errors
/// No results, unreadable results, or a policy that makes no sense.
pub(super) fn run(args: &GateArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let mut typed = args.settings.0.clone();
    typed.insert("results-dir", args.results.display().to_string());
    let mut inputs = context::resolve(&typed, env)?;
    // Who calls this asks for a gate.
    inputs.policy.gate = true;
    policy::say_contexts(&inputs);
    report::existing(&inputs)?;
    let judgement = report::judge(&inputs.results_dir, inputs.baseline_dir.as_deref(), &inputs)?;
    let decision = &judgement.decision;
    let exit = report::gate_exit(&decision.gate);
    if args.json {
        out::text(&format!("{:#}", document(decision, &inputs, exit)));
    } else {
        print(decision);
    }
    Ok(exit)
}

fn document(decision: &Decision, inputs: &Inputs, exit: Exit) -> serde_json::Value {
    json!({
        "schema_version": 1,
        "verdict": decision.verdict,
        "gate": {
            "state": decision.gate.name(),
            "reason": decision.gate.reason(),
            "stage": decision.stage,
        },
        "exit": exit.code(),
        "rows": verdict::gate_rows(decision),
        "accepted": decision.accepted,
        "warnings": decision.warnings,
        "contexts": inputs.contexts,
    })
}

fn print(decision: &Decision) {
    let rows = verdict::gate_rows(decision);
    let nothing = || "no metric gates and no limit is set: there is nothing to hold".to_owned();
    out::text(&render::gate_table(&rows).unwrap_or_else(nothing));
    out::gate(decision);
}
