//! The policy as the gate of every command sees it.

use crate::{
    compare::Comparison,
    context::{GatePolicy, Inputs},
    error::Error,
    results::{self, Limits},
};

/// The policy for a comparison: names are known to be metrics, and the numbers that limits bring
/// in from files are read.
///
/// # Errors
/// A plain name that neither kitt nor the results know as a metric.
pub(super) fn of(inputs: &Inputs, comparison: &Comparison) -> Result<GatePolicy, Error> {
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
