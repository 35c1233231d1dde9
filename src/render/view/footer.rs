//! The small print: how to read the tables, what they rest on, when they were made.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Footer, change,
    words::{SHARES, ZONE, design_long, word},
};
use crate::{
    render::{
        ReportContext, ReportInput,
        escape::clean,
        number::{confidence, count, share},
    },
    verdict::{Judged, Verdict},
};

/// The small print of a decision.
pub(super) fn footer(input: &ReportInput<'_>) -> Footer {
    let gating: Vec<&Judged> = input
        .decision
        .metrics
        .iter()
        .filter(|judged| judged.gating)
        .collect();
    let mut method: Vec<String> = Vec::new();
    for estimate in gating.iter().filter_map(|judged| judged.change.estimate) {
        let words = design_long(estimate.design);
        if !method.iter().any(|known| known == words) {
            method.push(words.to_owned());
        }
    }
    if gating.iter().any(|judged| judged.change.counts.is_some()) {
        method.push(SHARES.to_owned());
    }
    if !method.is_empty() {
        let (base, head) = input.comparison.runs;
        method.push(format!("runs: {base} baseline + {head} current"));
        let requests = gating.iter().filter_map(|judged| judged.change.requests);
        if let Some(fewest) = requests.min() {
            method.push(format!("at least {fewest} requests per run"));
        }
        method.extend(detectable(&gating));
    }
    method.extend(too_few(&input.decision.metrics));
    Footer {
        version: env!("CARGO_PKG_VERSION"),
        legend: true,
        zone: gating
            .iter()
            .any(|judged| judged.zone.is_some())
            .then_some(ZONE),
        intervals: intervals(&input.decision.metrics),
        method,
        updated: moment(&input.context.updated),
        attempt: attempt(input.context),
    }
}

/// The smallest provable worsening, over the gating metrics.
fn detectable(gating: &[&Judged]) -> Option<String> {
    let mut sizes: Vec<f64> = gating
        .iter()
        // Points and per cent are not one range.
        .filter(|judged| judged.change.counts.is_none())
        .filter_map(|judged| judged.detectable)
        .collect();
    sizes.sort_by(f64::total_cmp);
    let (first, last) = (*sizes.first()?, *sizes.last()?);
    let range = if share(first) == share(last) {
        share(first)
    } else {
        format!("{} to {}", share(first), share(last))
    };
    Some(format!("smallest provable worsening {range}, by metric"))
}

/// `2026-01-31 17:05 UTC`; a text that is no RFC 3339 time stays as it is.
fn moment(text: &str) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(
        |_| clean(text, 40),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// The small print of a measurement that could not be made.
pub(super) fn bare(context: &ReportContext) -> Footer {
    Footer {
        version: env!("CARGO_PKG_VERSION"),
        method: Vec::new(),
        legend: false,
        zone: None,
        intervals: None,
        updated: moment(&context.updated),
        attempt: attempt(context),
    }
}

fn attempt(context: &ReportContext) -> Option<String> {
    context.attempt.map(|number| format!("attempt {number}"))
}

/// `intervals: 99.75 % for regressed and inconclusive, 90 % for unchanged`. Each verdict has the
/// level of the test that led to it.
fn intervals(metrics: &[Judged]) -> Option<String> {
    let mut levels: Vec<(String, Vec<&'static str>)> = Vec::new();
    for verdict in [
        Verdict::Regressed,
        Verdict::Inconclusive,
        Verdict::Improved,
        Verdict::Unchanged,
    ] {
        let own = |judged: &&Judged| {
            judged.verdict == verdict && judged.interval.is_some() && !change::is_exact(judged)
        };
        for judged in metrics.iter().filter(own) {
            let Some(level) = judged.confidence.map(confidence) else {
                continue;
            };
            let word = word(verdict);
            match levels.iter_mut().find(|(known, _)| *known == level) {
                Some((_, words)) if words.contains(&word) => {}
                Some((_, words)) => words.push(word),
                None => levels.push((level, vec![word])),
            }
        }
    }
    let parts: Vec<String> = levels
        .into_iter()
        .map(|(level, words)| format!("{level} for {}", listed(&words)))
        .collect();
    (!parts.is_empty()).then(|| format!("intervals: {}", parts.join(", ")))
}

/// `a`, `a and b`, `a, b and c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Which metrics of the gating list have too few requests to gate, and how many they need.
fn too_few(metrics: &[Judged]) -> Option<String> {
    let mut by_need: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for judged in metrics {
        if let Some(needed) = judged.needs {
            let labels = by_need.entry(needed).or_default();
            labels.insert(clean(&judged.change.metric.label, 80));
        }
    }
    let parts: Vec<String> = by_need
        .into_iter()
        .map(|(needed, labels)| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            format!("{} ({} per run)", listed(&labels), count(needed))
        })
        .collect();
    (!parts.is_empty()).then(|| format!("gating with more requests: {}", parts.join(", ")))
}
