//! `kitt gate`, and the policy as the gate of every command sees it.

use serde_json::json;

use super::{out, report};
use crate::{
    cli::GateArgs,
    compare::Comparison,
    context::{self, EnvSnapshot, GatePolicy, Inputs},
    error::Error,
    exit::Exit,
    render,
    results::{self, Limits},
    verdict::{self, Decision},
};

/// The policy for a comparison: names are known to be metrics, and the numbers that limits bring
/// in from files are read.
///
/// # Errors
/// A plain name that neither kitt nor the results know as a metric.
pub(super) fn policy(inputs: &Inputs, comparison: &Comparison) -> Result<GatePolicy, Error> {
    let mut policy = inputs.policy.clone();
    policy.check_names(|| {
        let names = comparison.changes.iter().map(|change| &change.metric.name);
        names.map(String::as_str).collect()
    })?;
    for limit in &mut policy.limits {
        if let (Some(file), Some(key)) = (&limit.file, &limit.path) {
            let path = inputs.workspace.join(file);
            let limits = Limits::default();
            limit.read = Some(results::read_number(&path, key, &limits));
        }
    }
    Ok(policy)
}

/// Says which contexts of the policy hold here, and why.
pub(super) fn say_contexts(inputs: &Inputs) {
    for context in &inputs.contexts {
        let word = if context.applies {
            "applies"
        } else {
            "does not apply"
        };
        tracing::info!("policy context {} {word}: {}", context.name, context.why);
    }
}

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
    say_contexts(&inputs);
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
