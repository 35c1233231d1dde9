//! `policy` of the config file, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    accept::AcceptRule,
    contexts::ContextRule,
    rules::{LimitRule, MetricRule, OnWritten, Stage},
};

/// What gates where, how far it may go, and who may accept a regression.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PolicyWritten {
    /// How far anything may go: observe, warn or block.
    pub stage: Option<Stage>,
    /// Metrics that gate, with their effects and stages; later entries win.
    pub metrics: Vec<MetricRule>,
    /// Absolute limits, after those of the top level; later entries win.
    pub limits: Vec<LimitRule>,
    /// What the gate does about results that prove nothing.
    pub on: OnWritten,
    /// What else holds by branch, event, label or path; applied in order.
    pub contexts: Vec<ContextRule>,
    /// How a regression is accepted.
    pub accept: Option<AcceptRule>,
}

impl PolicyWritten {
    /// What is wrong with it, if anything.
    pub(in crate::context) fn wrong(&self) -> Option<String> {
        let within = |name: &str, wrong: String| format!("context `{name}`: {wrong}");
        let of_limits = |limits: &[LimitRule]| limits.iter().find_map(LimitRule::wrong);
        let of_metrics = |rules: &[MetricRule]| rules.iter().find_map(wrong_effects);
        let own = of_limits(&self.limits).or_else(|| of_metrics(&self.metrics));
        let label = self.accept.as_ref().map(|accept| accept.label.trim());
        own.or_else(|| {
            let empty = label.is_some_and(str::is_empty);
            empty.then(|| "`accept` needs a label".to_owned())
        })
        .or_else(|| {
            self.contexts.iter().find_map(|context| {
                let wrong = of_limits(&context.limits)
                    .or_else(|| of_metrics(&context.metrics))
                    .or_else(|| context.wrong());
                wrong.map(|wrong| within(&context.name, wrong))
            })
        })
    }
}

fn wrong_effects(rule: &MetricRule) -> Option<String> {
    let name = &rule.name;
    match (rule.min_effect, rule.gate_effect) {
        (Some(min), Some(gate)) if min > gate => Some(format!(
            "`{name}` has min-effect {min} above gate-effect {gate}: what is a regression must \
             not pass"
        )),
        (_, Some(0.0)) => Some(format!(
            "`{name}` has gate-effect 0, which no number of runs can prove"
        )),
        _ => None,
    }
}
