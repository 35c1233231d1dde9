//! Notifications on the base branch: where the level of a gating metric shifted of late.
//!
//! In: judged metrics and the history with the job itself at its end. Out: shifts among the last
//! jobs (`research/regression-statistics.md` §5). They are told and never block: what has happened
//! to the base branch is no fault of the next change.

use serde::Serialize;

use super::Judged;
use crate::{
    compare::{History, LevelShift},
    metric::Metric,
};

/// A shift is news for so many jobs. A rank test needs four jobs at the new level to see one.
const NEWS: usize = 10;

/// A lasting change of a gating metric on the base branch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shift {
    /// Scenario name.
    pub scenario: String,
    /// The metric's name.
    pub metric: String,
    /// Commit of the first job at the new level.
    pub commit: Option<String>,
    /// When that job was: RFC 3339.
    pub at: Option<String>,
    /// Median of the level before, in the metric's unit.
    pub before: f64,
    /// Median of the new level.
    pub after: f64,
    /// Whether it is for the worse; `None` where neither direction is.
    pub worse: Option<bool>,
    /// `shift since abc1234 (2026-01-15), +6.1 %`, with the metric's name before it.
    pub words: String,
}

/// The last shift of each gating metric, when it is among the newest ten jobs. `history` ends with
/// the job that `metrics` are of.
pub fn shifts(metrics: &[Judged], history: &History) -> Vec<Shift> {
    let gating = metrics.iter().filter(|judged| judged.gating);
    gating
        .filter_map(|judged| {
            let change = &judged.change;
            let (scenario, metric) = (&change.scenario, &change.metric);
            let shift = history.shifts(scenario, &metric.name).pop()?;
            let jobs = history.count(scenario, &metric.name);
            let news = jobs.saturating_sub(shift.index) <= NEWS;
            news.then(|| told(scenario, metric, shift))
        })
        .collect()
}

fn told(scenario: &str, metric: &Metric, shift: LevelShift) -> Shift {
    let worse = metric
        .better
        .map(|better| better.worse_sign() * (shift.after - shift.before) > 0.0);
    let words = format!(
        "{} of {scenario}: shift since {}, {:+.1} %",
        metric.label,
        shift.since,
        shift.relative() * 100.0
    );
    Shift {
        scenario: scenario.to_owned(),
        metric: metric.name.clone(),
        commit: shift.since.commit,
        at: shift.since.at,
        before: shift.before,
        after: shift.after,
        worse,
        words,
    }
}
