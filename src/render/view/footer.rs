//! The small print: how to read the tables, what they rest on, when they were made.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Footer, change,
    words::{ITEMS, SHARES, SHIFTS, ZONE, design_long, word},
};
use crate::{
    compare::{Change, Design},
    render::{
        ReportContext, ReportInput,
        escape::clean,
        number::{confidence, count, share},
    },
    verdict::{Family, Judged, Verdict},
};

/// The small print of a decision.
pub(super) fn footer(input: &ReportInput<'_>) -> Footer {
    let metrics = &input.decision.metrics;
    let gating: Vec<&Judged> = metrics.iter().filter(|judged| judged.gating).collect();
    let mut method = designs(input, &gating);
    if !method.is_empty() {
        method.push(family(input.decision.family));
        method.extend(intervals(metrics));
        let requests = gating.iter().filter_map(|judged| judged.change.requests);
        if let Some(fewest) = requests.min() {
            method.push(format!("at least {} requests per run", count(fewest)));
        }
        // Points and per cent are not one range.
        let noisy = || gating.iter().filter(|one| !change::is_share(one));
        let provable = noisy().filter_map(|judged| judged.detectable);
        method.extend(range("smallest provable worsening", provable, share));
        let spreads = noisy().filter_map(|judged| judged.change.spread);
        method.extend(range("run-to-run spread", spreads, change::spread_size));
    }
    let forecast = input.pairs.and_then(|pairs| pairs.forecast.as_deref());
    method.extend(forecast.map(|text| format!("planned: {}", clean(text, 200))));
    method.extend(too_few(metrics));
    Footer {
        version: env!("CARGO_PKG_VERSION"),
        legend: true,
        zone: gating
            .iter()
            .any(|judged| judged.zone.is_some())
            .then_some(ZONE),
        method,
        updated: moment(&input.context.updated),
        attempt: attempt(input.context),
    }
}

/// Each design with its n.
fn designs(input: &ReportInput<'_>, gating: &[&Judged]) -> Vec<String> {
    let mut by_design: Vec<(Design, BTreeSet<usize>)> = Vec::new();
    for estimate in gating.iter().filter_map(|judged| judged.change.estimate) {
        let known = by_design
            .iter_mut()
            .find(|(design, _)| *design == estimate.design);
        match known {
            Some((_, runs)) => drop(runs.insert(estimate.runs.0)),
            None => by_design.push((estimate.design, BTreeSet::from([estimate.runs.0]))),
        }
    }
    let words = |(design, runs): &(Design, BTreeSet<usize>)| {
        let number = match (runs.first(), runs.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (first, _) => first.map_or_else(String::new, ToString::to_string),
        };
        let planned = input.comparison.planned_pairs;
        let of = planned.map_or_else(String::new, |planned| format!(" of at most {planned}"));
        match design {
            Design::Paired => format!("{}: {number}{of}", design_long(*design)),
            Design::History => format!("{}: {number}", design_long(*design)),
            Design::Single | Design::Exact => design_long(*design).to_owned(),
        }
    };
    let mut method: Vec<String> = by_design.iter().map(words).collect();
    let any = |pick: fn(&Change) -> bool| gating.iter().any(|judged| pick(&judged.change));
    if any(|change| change.counts.is_some() && change.items.is_none()) {
        method.push(SHARES.to_owned());
    }
    if any(|change| change.items.is_some()) {
        method.push(ITEMS.to_owned());
    }
    if any(|change| change.shift.is_some()) {
        method.push(SHIFTS.to_owned());
    }
    method
}

/// `error of all 7 gating tests together 1 %`.
fn family(family: Family) -> String {
    let alpha = share(family.alpha);
    if family.tests == 1 {
        format!("error of the gating test {alpha}")
    } else {
        let tests = count(u64::try_from(family.tests).unwrap_or(u64::MAX));
        format!("error of all {tests} gating tests together {alpha}")
    }
}

/// `run-to-run spread 0.40 % to 1.2 %`; nothing where there is no size.
fn range(
    what: &str,
    sizes: impl Iterator<Item = f64>,
    text: impl Fn(f64) -> String,
) -> Option<String> {
    let mut sizes: Vec<f64> = sizes.filter(|size| size.is_finite()).collect();
    sizes.sort_by(f64::total_cmp);
    let (first, last) = (text(*sizes.first()?), text(*sizes.last()?));
    Some(if first == last {
        format!("{what} {first}")
    } else {
        format!("{what} {first} to {last}")
    })
}

/// `2026-01-31 17:05 UTC`; a text that is no RFC 3339 time stays as it is.
pub(in crate::render) fn moment(text: &str) -> String {
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
        updated: moment(&context.updated),
        attempt: attempt(context),
    }
}

fn attempt(context: &ReportContext) -> Option<String> {
    context.attempt.map(|number| format!("attempt {number}"))
}

/// `intervals: 99.75 % for regressed and inconclusive, 90 % to 99 % for unchanged`. Each verdict
/// has the level of the test that led to it, and each look at pairs a level of its own.
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
        let own = metrics.iter().filter(own);
        let Some(level) = range("", own.filter_map(|judged| judged.confidence), confidence) else {
            continue;
        };
        let word = word(verdict);
        match levels.iter_mut().find(|(known, _)| *known == level) {
            Some((_, words)) => words.push(word),
            None => levels.push((level, vec![word])),
        }
    }
    let parts: Vec<String> = levels
        .into_iter()
        .map(|(level, words)| format!("{} for {}", level.trim_start(), listed(&words)))
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
