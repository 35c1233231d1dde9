//! What the gate held against what, as rows: each absolute limit and each gating metric with how
//! far it is from its limit.

use serde::Serialize;

use super::{Decision, Judged, LimitCheck, Stage, Verdict};
use crate::metric::Unit;

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateRow {
    /// Whether a value or a change was held against a limit.
    pub kind: RowKind,
    /// The scenario; for a limit the worst one, `None` where there is none.
    pub scenario: Option<String>,
    /// The metric's name.
    pub metric: String,
    /// The unit of `value`, `max` and `min` of a limit.
    pub unit: Unit,
    /// The value that was held against an absolute limit; `None` for a change and for what was
    /// not measured.
    pub value: Option<f64>,
    /// Largest allowed value.
    pub max: Option<f64>,
    /// Smallest allowed value.
    pub min: Option<f64>,
    /// The change against the baseline: 0.05 is 5 % larger, or 5 points of a share.
    pub change: Option<f64>,
    /// The two effects that a change is held against: a worsening proven above the first is a
    /// regression, one proven below the second is none.
    pub zone: Option<(f64, f64)>,
    /// How far it is from its limit, positive on the good side: 0.05 is 5 per cent of the limit,
    /// or 5 points. Of a change: from the worst that is not ruled out to what would gate; of a
    /// regression: from what is proven to what is allowed.
    pub headroom: Option<f64>,
    /// Whether `change`, `zone` and `headroom` are points instead of per cent.
    pub points: bool,
    /// What it does to the gate.
    pub result: RowResult,
    /// The verdict on a change.
    pub verdict: Option<Verdict>,
    /// Why, as a sentence without a full stop.
    pub why: String,
}

/// What was held against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// A value against an absolute limit.
    Limit,
    /// A change against what it may be.
    Change,
}

/// What a row does to the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowResult {
    /// It closes it.
    Fail,
    /// It is warned of.
    Warn,
    /// It would do either, and is only observed.
    Observed,
    /// It would do either, and somebody accepted it.
    Accepted,
    /// Nothing is wrong, or the policy does not mind.
    Pass,
}

impl RowResult {
    /// The word in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fail => "FAIL",
            Self::Warn => "warn",
            Self::Observed => "observed",
            Self::Accepted => "accepted",
            Self::Pass => "pass",
        }
    }

    const fn of(stage: Stage) -> Self {
        match stage {
            Stage::Block => Self::Fail,
            Stage::Warn => Self::Warn,
            Stage::Observe => Self::Observed,
        }
    }
}

/// The rows: what fails first, then as the decision has them.
pub fn gate_rows(decision: &Decision) -> Vec<GateRow> {
    let limits = decision.limits.iter().map(of_limit);
    let gating = decision.metrics.iter().filter(|judged| judged.gating);
    let changes = gating.map(|judged| of_change(decision, judged));
    let mut rows: Vec<GateRow> = limits.chain(changes).collect();
    rows.sort_by_key(|row| row.result);
    rows
}

fn is_accepted(decision: &Decision, metric: &str) -> bool {
    let accepted = decision.accepted.as_ref();
    accepted.is_some_and(|accepted| accepted.metrics.iter().any(|name| name == metric))
}

fn of_limit(check: &LimitCheck) -> GateRow {
    let (limit, unit) = (&check.limit, check.metric.unit);
    let points = unit == Unit::Share;
    let distance = |bound: f64, room: f64| {
        let share = if points { room } else { room / bound.abs() };
        share.is_finite().then_some(share)
    };
    let headroom = check.value.and_then(|value| {
        let above = limit.max.map(|max| distance(max, max - value));
        let below = limit.min.map(|min| distance(min, value - min));
        match (above, below) {
            (Some(above), Some(below)) => Some(above?.min(below?)),
            (Some(room), None) | (None, Some(room)) => room,
            (None, None) => None,
        }
    });
    let result = if check.holds {
        RowResult::Pass
    } else if check.accepted {
        RowResult::Accepted
    } else {
        RowResult::of(check.stage)
    };
    let why = match (&check.value, check.holds) {
        (Some(_), true) => "within its limit".to_owned(),
        (Some(_), false) => "beyond its limit".to_owned(),
        (None, _) => match &check.absent {
            Some(why) => format!("not measured: {why}"),
            None => "not measured".to_owned(),
        },
    };
    GateRow {
        kind: RowKind::Limit,
        scenario: check.scenario.clone().or_else(|| limit.scenario.clone()),
        metric: limit.metric.clone(),
        unit,
        value: check.value,
        max: limit.max,
        min: limit.min,
        change: None,
        zone: None,
        headroom,
        points,
        result,
        verdict: None,
        why,
    }
}

fn of_change(decision: &Decision, judged: &Judged) -> GateRow {
    let change = &judged.change;
    let points = judged.points();
    let regressed = judged.verdict == Verdict::Regressed;
    let result = match judged.stands {
        Stage::Observe if regressed && is_accepted(decision, &change.metric.name) => {
            RowResult::Accepted
        }
        Stage::Observe if regressed => RowResult::Observed,
        Stage::Observe => RowResult::Pass,
        stage @ (Stage::Warn | Stage::Block) => RowResult::of(stage),
    };
    GateRow {
        kind: RowKind::Change,
        scenario: Some(change.scenario.clone()),
        metric: change.metric.name.clone(),
        unit: change.metric.unit,
        value: None,
        max: None,
        min: None,
        change: points.or_else(|| judged.relative()),
        zone: judged.zone.map(|zone| (zone.min_effect, zone.gate_effect)),
        headroom: room(judged),
        points: points.is_some(),
        result,
        verdict: Some(judged.verdict),
        why: judged.reason.clone(),
    }
}

/// How far a change is from what is allowed, as a relative worsening or in points.
fn room(judged: &Judged) -> Option<f64> {
    let (better, zone) = (judged.change.metric.better?, judged.zone?);
    let (low, high) = judged.interval?;
    // The ends as worsenings: of a metric that should be high, a smaller value is worse. A
    // worsening of a throughput is held against the effect as the ratio's inverse.
    let ratio = judged.points().is_none();
    let worse = |end: f64| {
        let sign = better.worse_sign();
        if ratio {
            (sign * end.ln_1p()).exp_m1()
        } else {
            sign * end
        }
    };
    let (one, other) = (worse(low), worse(high));
    let room = if judged.verdict == Verdict::Regressed {
        zone.min_effect - one.min(other)
    } else {
        zone.gate_effect - one.max(other)
    };
    room.is_finite().then_some(room)
}
