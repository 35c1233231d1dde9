//! A document judged.

use serde::Serialize;

use super::{Document, DocumentDesign, DocumentError, DocumentMetric, design::change};
use crate::{
    compare::{Design, change_points},
    metric::Statistic,
    verdict::{
        GatePolicy, Judged, Looks, Verdict, Zone,
        judge::{Terms, judge},
        rule::Levels,
    },
};

/// Most pairs of a document's design.
const MOST_PAIRS: usize = 12;

/// What is said of a document.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Two sides were judged.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// Pairs it rests on; `None` for other designs.
        pairs_used: Option<usize>,
        /// The relative change (0.05 = 5 % larger), in points for proportions.
        effect: Option<f64>,
        /// Two-sided interval of the effect, at the level the decision used.
        interval: Option<(f64, f64)>,
        /// The design that decided.
        design: &'static str,
        /// One sentence: why this verdict, and for an unsure one what would settle it.
        reason: String,
    },
    /// A series was segmented.
    Series {
        /// Index of the first point of each new level.
        change_points: Vec<usize>,
    },
}

/// Judges a document.
///
/// # Errors
/// The error levels that follow from its family have no quantile.
pub fn answer(document: &Document) -> Result<Answer, DocumentError> {
    let Some(asked) = &document.metric else {
        return Ok(series(document));
    };
    if document.design == DocumentDesign::Series {
        return Ok(series(document));
    }
    let judged = judge(
        &change(document, asked),
        true,
        zone(asked),
        terms(document, asked),
    )?;
    // A single metric always gates: what keeps it from gating keeps it from being decided.
    let verdict = if judged.needs.is_some() {
        Verdict::Inconclusive
    } else {
        judged.verdict
    };
    Ok(Answer::Verdict {
        verdict,
        pairs_used: pairs_used(&judged),
        effect: judged.points().or_else(|| judged.relative()),
        interval: judged.interval,
        design: design_of(document, &judged),
        reason: judged.reason,
    })
}

fn series(document: &Document) -> Answer {
    let values: Vec<f64> = document
        .series
        .iter()
        .flatten()
        .map(|value| value.unwrap_or(f64::NAN))
        .collect();
    Answer::Series {
        change_points: change_points(&values),
    }
}

fn zone(asked: &DocumentMetric) -> Zone {
    let default = Zone::of(Statistic::from(asked.statistic));
    Zone {
        min_effect: asked.min_effect.unwrap_or(default.min_effect),
        gate_effect: asked.gate_effect.unwrap_or(default.gate_effect),
    }
}

fn terms(document: &Document, asked: &DocumentMetric) -> Terms {
    let policy = GatePolicy::default();
    let family = f64::from(asked.family_size.unwrap_or(1));
    Terms {
        incomparable: document
            .fingerprint
            .as_ref()
            .is_some_and(|sides| sides.baseline != sides.current),
        levels: Levels {
            alpha: policy.alpha / family,
            beta: policy.beta,
        },
        chosen: true,
        looks: Looks::up_to(MOST_PAIRS),
    }
}

fn pairs_used(judged: &Judged) -> Option<usize> {
    judged.change.pairs.as_ref()?;
    judged.change.estimate.map(|estimate| estimate.runs.0)
}

fn design_of(document: &Document, judged: &Judged) -> &'static str {
    match judged.change.estimate.map(|estimate| estimate.design) {
        Some(Design::Paired) => "paired",
        Some(Design::History) => "history",
        Some(Design::Single) => "single",
        Some(Design::Exact) => "exact",
        None if judged.change.counts.is_some() => "proportion",
        None => match document.design {
            DocumentDesign::Paired => "paired",
            DocumentDesign::History => "history",
            DocumentDesign::Single => "single",
            DocumentDesign::Items => "items",
            DocumentDesign::Series => "series",
        },
    }
}
