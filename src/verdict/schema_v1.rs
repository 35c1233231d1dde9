//! `comparison.json`: the decision for other programs. Frozen: keys are added, never changed.
//!
//! Beside the verdict and the gate, the document holds
//!
//! | key | meaning |
//! |---|---|
//! | `accepted` | what was accepted, why, by which label, and who set it when; `null`: nothing |
//! | `to_accept` | what is left to do for the worst regression to be accepted, in words |
//! | `family` | `alpha`: the one-sided error that all gating tests share; `tests`: how many do |
//! | `planned_pairs` | most pairs that were planned; `null` without pairs |
//! | `stopped` | why no more pairs were measured, in words; `null` without pairs |
//!
//! and for each metric
//!
//! | key | meaning |
//! |---|---|
//! | `design` | `paired`, `history`, `single` (provisional), `exact`, `shares` or `items`; `null`: not compared |
//! | `estimate` | log-ratio, standard error, and the runs (past jobs, for `history`) it rests on |
//! | `interval`, `confidence` | two-sided interval of the change, and its confidence |
//! | `levels` | one-sided error levels of the test that led to the verdict: of the look that decided |
//! | `zone` | `min_effect`: a worsening proven above is a regression; `gate_effect`: below is none |
//! | `baseline`, `current` | geometric means over all runs that count; `change` is over the pairs used |
//! | `detectable` | smallest worsening that could have been proven (by all planned pairs) |
//! | `spread` | standard deviation of a run's log summary, from run to run or from job to job |
//! | `pairs` | `measured` and `used` pairs, their `log_ratios` in order, and the `prior` of their scatter |
//! | `counts` | what was counted of how many on each side, for shares |
//! | `items` | how many evaluation items both sides answered, and how many got worse (`lost`) or better (`gained`) |
//! | `q` | for what does not gate: false alarms to expect among as strong findings (Benjamini and Hochberg) |
//! | `history` | the past jobs it was held against, and the last shift of their level |
//! | `requests` | requests per run on the smaller side |
//! | `remedy` | what would settle an inconclusive metric: a setting and its value |

use serde_json::{Value, json};

use super::{Decision, Judged, LimitCheck, Remedy};
use crate::compare::{Change, Comparison, Counts, Design, Difference, Estimate, PairedLogs};

/// Version written into the document.
const SCHEMA_VERSION: u32 = 1;

/// The document. Shares are parts of one: 0.05 is 5 %. `null` is "not known", never zero.
pub fn comparison_json(decision: &Decision, comparison: &Comparison) -> Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "verdict": decision.verdict,
        "gate": { "state": decision.gate.name(), "reason": decision.gate.reason(), "stage": decision.stage },
        "accepted": decision.accepted,
        "to_accept": decision.to_accept,
        "warnings": decision.warnings,
        "runs": { "baseline": comparison.runs.0, "current": comparison.runs.1 },
        "family": decision.family,
        "planned_pairs": comparison.planned_pairs,
        "stopped": comparison.stopped,
        "metrics": decision.metrics.iter().map(metric).collect::<Vec<_>>(),
        "limits": decision.limits.iter().map(limit).collect::<Vec<_>>(),
        "fingerprint_differences": differences(&comparison.fingerprint_differences),
        "soft_differences": differences(&comparison.soft_differences),
        "shifts": decision.shifts,
    })
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
        "levels": judged.levels.map(|levels| json!({ "alpha": levels.alpha, "beta": levels.beta })),
        "detectable": judged.detectable,
        "zone": judged.zone,
        "requests": change.requests,
        "design": design(change),
        "estimate": change.estimate.as_ref().map(estimate),
        "pairs": change.pairs.as_ref().map(|logs| pairs(logs, change.estimate.as_ref())),
        "spread": change.spread,
        "counts": change.counts.map(counts),
        "items": items(change),
        "q": judged.q,
        "history": change.history,
        "obstacle": change.obstacle,
        "verdict": judged.verdict,
        "gating": judged.gating,
        "stage": judged.stage,
        "stands": judged.stands,
        "remedy": judged.remedy.map(remedy),
        "reason": judged.reason,
    })
}

fn design(change: &Change) -> Option<Value> {
    if change.items.is_some() || change.shift.is_some() {
        return Some(json!("items"));
    }
    if change.counts.is_some() {
        return Some(json!("shares"));
    }
    let made = change.estimate.map(|estimate| estimate.design);
    let paired = change.pairs.as_ref().map(|_| Design::Paired);
    made.or(paired).map(|design| json!(design))
}

fn estimate(estimate: &Estimate) -> Value {
    json!({
        "log_ratio": estimate.log_ratio,
        "standard_error": estimate.standard_error,
        "design": estimate.design,
        "runs": { "baseline": estimate.runs.0, "current": estimate.runs.1 },
    })
}

/// Pairs that were measured after the decision are there, and were not used.
fn pairs(pairs: &PairedLogs, estimate: Option<&Estimate>) -> Value {
    json!({
        "measured": pairs.len(),
        "used": estimate.map_or(0, |estimate| estimate.runs.0),
        "log_ratios": pairs.log_ratios,
        "prior": pairs.prior,
    })
}

/// Lost and gained items of accuracy; calibration knows how many it rests on.
fn items(change: &Change) -> Option<Value> {
    let changes = change
        .items
        .map(|items| json!({ "items": items.items, "lost": items.lost, "gained": items.gained }));
    changes.or_else(|| change.shift.map(|shift| json!({ "items": shift.items })))
}

fn counts((baseline, current): (Counts, Counts)) -> Value {
    let side = |counts: Counts| json!({ "events": counts.events, "trials": counts.trials });
    json!({ "baseline": side(baseline), "current": side(current) })
}

fn remedy(remedy: Remedy) -> Value {
    match remedy {
        Remedy::Interleave => json!({ "setting": "baseline", "value": "ab" }),
        Remedy::Pairs(pairs) => json!({ "setting": "pairs", "value": pairs }),
        Remedy::Quieter(effect) => json!({ "setting": "gate-effect", "value": effect }),
        Remedy::Requests(requests) => json!({ "setting": "requests", "value": requests }),
        Remedy::Items(items) => json!({ "setting": "items", "value": items }),
    }
}

fn limit(check: &LimitCheck) -> Value {
    json!({
        "metric": check.limit.metric,
        "scenario": check.scenario,
        "max": check.limit.max,
        "min": check.limit.min,
        "value": check.value,
        "holds": check.holds,
        "unit": check.metric.unit,
        "stage": check.stage,
        "absent": check.absent,
    })
}

fn differences(all: &[Difference]) -> Vec<Value> {
    let one = |difference: &Difference| json!({ "key": difference.key, "baseline": difference.baseline, "current": difference.current, "explanation": difference.explanation() });
    all.iter().map(one).collect()
}
