//! What differs between the conditions of two result sets.
//!
//! Strict differences make results incomparable; soft ones are shown, among them what is under
//! test: commit, image, engine version and arguments.

use std::collections::{BTreeMap, BTreeSet};

use super::Difference;
use crate::results::{Fingerprint, ResultSet};

/// Strict differences, sorted by key.
///
/// A key that only one side has is a difference: an unknown condition is not an equal one. Two
/// exceptions: files of different programs are held against each other only over the keys both
/// write; and where a side has no fingerprint at all (KITT's files without system information),
/// only the names of engine, model and suite can be checked, and the verdict's reason says so.
/// Where no workload was written down, the suite's name must be equal in its place.
pub(super) fn strict(baseline: &ResultSet, current: &ResultSet) -> Vec<Difference> {
    match (&baseline.fingerprint, &current.fingerprint) {
        (Some(b), Some(c)) => {
            let common_only = baseline.origin != current.origin;
            let mut found = map_differences(&b.strict, &c.strict, common_only);
            let workload = |side: &Fingerprint| side.strict.contains_key("workload");
            if !workload(b) && !workload(c) && baseline.suite != current.suite {
                found.push(difference(
                    "suite",
                    Some(&baseline.suite),
                    Some(&current.suite),
                ));
            }
            found
        }
        (None, _) | (_, None) => map_differences(&named(baseline), &named(current), false),
    }
}

fn named(side: &ResultSet) -> BTreeMap<String, String> {
    [
        ("engine.name", &side.engine),
        ("model", &side.model),
        ("suite", &side.suite),
    ]
    .into_iter()
    .map(|(key, name)| (key.to_owned(), name.clone()))
    .collect()
}

/// Soft differences, sorted by key: the fingerprints' soft parts and where the results came from.
pub(super) fn soft(baseline: &ResultSet, current: &ResultSet) -> Vec<Difference> {
    let all = |side: &ResultSet| {
        let mut facts = provenance(side);
        let fingerprint = side.fingerprint.clone();
        facts.extend(fingerprint.unwrap_or_default().soft);
        facts
    };
    map_differences(&all(baseline), &all(current), false)
}

/// Under the names a fingerprint uses, so that a fact that is in both is shown once.
fn provenance(side: &ResultSet) -> BTreeMap<String, String> {
    let from = &side.provenance;
    let arguments = (!from.engine_args.is_empty()).then(|| from.engine_args.join(" "));
    [
        ("client.version", &from.kitt_version),
        ("engine.image", &from.image),
        ("engine.digest", &from.image_digest),
        ("engine.version", &from.engine_version),
        ("engine.args", &arguments),
        ("source.commit", &from.commit),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)))
    .collect()
}

fn map_differences(
    baseline: &BTreeMap<String, String>,
    current: &BTreeMap<String, String>,
    common_only: bool,
) -> Vec<Difference> {
    let keys: BTreeSet<_> = baseline.keys().chain(current.keys()).collect();
    keys.into_iter()
        .map(|key| (key, baseline.get(key), current.get(key)))
        .filter(|(_, b, c)| b != c && !(common_only && (b.is_none() || c.is_none())))
        .map(|(key, b, c)| difference(key, b, c))
        .collect()
}

fn difference(key: &str, baseline: Option<&String>, current: Option<&String>) -> Difference {
    let text = |value: Option<&String>| value.map_or_else(|| "-".to_owned(), Clone::clone);
    Difference {
        key: key.to_owned(),
        baseline: text(baseline),
        current: text(current),
    }
}
