//! `comparison.json`: the decision for other programs. Frozen: keys are added, never changed.

use serde_json::{Value, json};

use super::{Decision, Gate, Judged, LimitCheck};
use crate::compare::{Comparison, Difference, Estimate};

/// Version written into the document.
const SCHEMA_VERSION: u32 = 1;

/// The document. Shares are parts of one: 0.05 is 5 %. `null` is "not known", never zero.
pub fn comparison_json(decision: &Decision, comparison: &Comparison) -> Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "verdict": decision.verdict,
        "gate": { "state": decision.gate.name(), "reason": reason(&decision.gate) },
        "runs": { "baseline": comparison.runs.0, "current": comparison.runs.1 },
        "metrics": decision.metrics.iter().map(metric).collect::<Vec<_>>(),
        "limits": decision.limits.iter().map(limit).collect::<Vec<_>>(),
        "fingerprint_differences": differences(&comparison.fingerprint_differences),
        "soft_differences": differences(&comparison.soft_differences),
    })
}

fn reason(gate: &Gate) -> Option<&str> {
    match gate {
        Gate::Off | Gate::Passed => None,
        Gate::Regression(why) | Gate::NotProven(why) | Gate::LimitBroken(why) => Some(why),
    }
}

fn metric(judged: &Judged) -> Value {
    let change = &judged.change;
    json!({
        "scenario": change.scenario,
        "metric": change.metric.name,
        "unit": change.metric.unit,
        "better": change.metric.better,
        "baseline": change.baseline,
        "current": change.current,
        "change": judged.relative(),
        "interval": judged.interval,
        "confidence": judged.confidence,
        "detectable": judged.detectable,
        "zone": judged.zone,
        "requests": change.requests,
        "estimate": change.estimate.as_ref().map(estimate),
        "obstacle": change.obstacle,
        "verdict": judged.verdict,
        "gating": judged.gating,
        "reason": judged.reason,
    })
}

fn estimate(estimate: &Estimate) -> Value {
    json!({
        "log_ratio": estimate.log_ratio,
        "standard_error": estimate.standard_error,
        "design": estimate.design,
        "runs": { "baseline": estimate.runs.0, "current": estimate.runs.1 },
    })
}

fn limit(check: &LimitCheck) -> Value {
    json!({
        "metric": check.limit.metric,
        "scenario": check.scenario,
        "max": check.limit.max,
        "min": check.limit.min,
        "value": check.value,
        "holds": check.holds,
    })
}

fn differences(all: &[Difference]) -> Vec<Value> {
    let one = |difference: &Difference| json!({ "key": difference.key, "baseline": difference.baseline, "current": difference.current, "explanation": difference.explanation() });
    all.iter().map(one).collect()
}
