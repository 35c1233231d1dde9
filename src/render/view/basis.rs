//! How the two sides were compared, in a sentence for each design: what the answer rests on, and
//! before that what the policy makes of it.

use std::collections::BTreeMap;

use super::{Basis, change};
use crate::{
    compare::{Design, FEWEST_JOBS},
    render::{
        ReportContext, ReportInput,
        escape::clean,
        number::{plural, share},
    },
    results::Pairs,
    verdict::{Judged, Stage, Verdict},
};

/// Longest sentence from outside, in characters.
const SENTENCE: usize = 200;

/// One sentence for each design among the gating metrics; none for what repeats exactly.
pub(super) fn basis(input: &ReportInput<'_>) -> Vec<Basis> {
    let gating = || {
        let metrics = input.decision.metrics.iter();
        metrics.filter(|judged| judged.gating && judged.verdict != Verdict::Incomparable)
    };
    let has = |design: Design| {
        let of = |judged: &Judged| judged.change.estimate.map(|estimate| estimate.design);
        gating().any(|judged| of(judged) == Some(design))
    };
    let mut sentences: Vec<Basis> = origin(input.context).into_iter().collect();
    sentences.extend(policy(input));
    if gating().any(|judged| judged.change.pairs.is_some()) {
        sentences.push(in_pairs(input));
    }
    if has(Design::History) {
        sentences.push(with_history(input));
    }
    if has(Design::Single) {
        let singles: Vec<&Judged> = gating().filter(|judged| is_single(judged)).collect();
        sentences.push(provisional(&singles));
    }
    sentences
}

/// Longest sentence about where the numbers come from, in characters.
const ORIGIN: usize = 480;

/// What to take the numbers for when a stranger's code measured them.
pub(super) fn origin(context: &ReportContext) -> Option<Basis> {
    context.origin.as_deref().map(|words| Basis {
        mark: Some("Measured on fork code"),
        words: clean(words, ORIGIN),
    })
}

/// Warnings of the policy that are shown.
const WARNINGS: usize = 3;

/// What the policy makes of the verdict: what somebody accepted, that nothing can block, and what
/// is only warned of.
fn policy(input: &ReportInput<'_>) -> Vec<Basis> {
    let decision = input.decision;
    let mark = |mark: &'static str, words: String| Basis {
        mark: Some(mark),
        words,
    };
    let accepted = decision.accepted.as_ref().map(|accepted| {
        let words = format!(
            "{}, by the label {}{}: {}.",
            accepted.metrics.join(", "),
            accepted.label,
            accepted.setter(),
            accepted.reason
        );
        mark("Accepted", clean(&words, 2 * SENTENCE))
    });
    let stage = match decision.stage {
        Stage::Block => None,
        Stage::Warn => Some("the policy warns here and blocks nothing."),
        Stage::Observe => Some("the policy only observes here: nothing is warned of or blocked."),
    };
    let stage = stage.map(|words| mark("Stage", words.to_owned()));
    let warnings = decision.warnings.iter().take(WARNINGS);
    let warnings = warnings.map(|warning| mark("Warning", clean(warning, 2 * SENTENCE)));
    accepted.into_iter().chain(stage).chain(warnings).collect()
}

/// Whether it rests on one job against one.
pub(super) fn is_single(judged: &Judged) -> bool {
    let estimate = judged.change.estimate;
    estimate.is_some_and(|estimate| estimate.design == Design::Single)
}

fn plain(words: String) -> Basis {
    Basis { mark: None, words }
}

/// `12 runs in 6 pairs of fresh servers that took turns, stopped early: all gating metrics are
/// decided`.
fn in_pairs(input: &ReportInput<'_>) -> Basis {
    let comparison = input.comparison;
    let measured = input.pairs.map_or_else(
        || {
            let changes = comparison.changes.iter();
            let pairs = changes.filter_map(|change| change.pairs.as_ref());
            pairs
                .map(crate::compare::PairedLogs::len)
                .max()
                .unwrap_or(0)
        },
        |pairs| pairs.pairs.len(),
    );
    let runs = plural(2 * measured, "run", "runs");
    let pairs = plural(measured, "pair", "pairs");
    let stopped = comparison.stopped.as_ref().map(|stopped| {
        let early = comparison
            .planned_pairs
            .is_some_and(|planned| measured < planned as usize);
        let when = if early { "stopped early" } else { "ended" };
        format!(", {when}: {}", clean(stopped, SENTENCE))
    });
    let void = match input.pairs.map_or(0, void) {
        0 => String::new(),
        1 => "; 1 pair is void and does not count".to_owned(),
        many => format!("; {many} pairs are void and do not count"),
    };
    let stopped = stopped.unwrap_or_default();
    plain(format!(
        "{runs} in {pairs} of fresh servers that took turns{stopped}{void}."
    ))
}

fn void(pairs: &Pairs) -> usize {
    let is_void = pairs.pairs.iter().filter(|pair| pair.void.is_some());
    is_void.count()
}

/// `This job against 23 jobs since abc1234 (2026-01-15)`. Metrics whose level shifted have fewer
/// jobs than others.
fn with_history(input: &ReportInput<'_>) -> Basis {
    let of_history = |judged: &&Judged| {
        let design = judged.change.estimate.map(|estimate| estimate.design);
        judged.gating && design == Some(Design::History)
    };
    let metrics = input.decision.metrics.iter().filter(of_history);
    let mut pools: BTreeMap<usize, String> = BTreeMap::new();
    for past in metrics.filter_map(|judged| judged.change.history.as_ref()) {
        pools
            .entry(past.jobs)
            .or_insert_with(|| clean(&past.words(), SENTENCE));
    }
    let mut pools = pools.into_values().rev();
    let first = pools
        .next()
        .unwrap_or_else(|| "the jobs before it".to_owned());
    let shorter = pools.len();
    let others = if shorter > 0 {
        "; fewer for metrics whose level has shifted since"
    } else {
        ""
    };
    plain(format!("This job against {first}{others}."))
}

/// One job against one, with the smallest worsening that any of its metrics could have shown, and
/// the jobs that are too few to tell how jobs differ.
fn provisional(singles: &[&Judged]) -> Basis {
    let noisy = singles.iter().filter(|judged| !change::is_share(judged));
    let smallest = noisy
        .filter_map(|judged| judged.detectable)
        .min_by(f64::total_cmp);
    let limit = smallest.map_or_else(String::new, |smallest| {
        let size = share(smallest);
        format!(": a worsening below {size} cannot be proven like this")
    });
    let past = singles
        .iter()
        .filter_map(|judged| judged.change.history.as_ref())
        .max_by_key(|past| past.jobs);
    let few = past.map_or_else(String::new, |past| {
        let jobs = clean(&past.words(), SENTENCE);
        format!(" There are {jobs}; {FEWEST_JOBS} would tell.")
    });
    Basis {
        mark: Some("Provisional"),
        words: format!(
            "one job against one, and how much jobs differ by themselves is assumed, not \
             seen{limit}.{few}"
        ),
    }
}
