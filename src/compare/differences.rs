//! What differs between the conditions of two result sets.
//!
//! Strict differences make results incomparable; soft ones are shown, among them what is under
//! test: commit, image, engine version and arguments.

use std::collections::{BTreeMap, BTreeSet};

use super::{ABSENT, Difference};
use crate::results::{Fingerprint, Key, ResultSet, key};

/// Strict differences, sorted by key.
///
/// A key that only one side has is a difference: an unknown condition is not an equal one. Three
/// exceptions: keys that came after the first form of results, which older files cannot have, are
/// then shown as soft differences; files of different programs are held against each other only over the keys both
/// write; and where a side has no fingerprint at all (KITT's files without system information),
/// only the names of engine, model and suite can be checked, and the verdict's reason says so.
/// Where no workload was written down, the suite's name must be equal in its place.
pub(super) fn strict(baseline: &ResultSet, current: &ResultSet) -> Vec<Difference> {
    match (&baseline.fingerprint, &current.fingerprint) {
        (Some(b), Some(c)) => {
            let common_only = baseline.origin != current.origin;
            let mut found = conditions(b, c, common_only);
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

/// In pairs somebody chose the model of each side, and both ran here in turn: another model is what
/// is being tested, and no accident of two jobs.
pub(super) fn model_under_test(strict: &mut Vec<Difference>, soft: &mut Vec<Difference>) {
    let of_model = |difference: &mut Difference| {
        matches!(
            difference.key.as_str(),
            "model" | "model.revision" | "model.quantisation"
        )
    };
    soft.extend(strict.extract_if(.., of_model));
    soft.sort_by(|one, other| one.key.cmp(&other.key));
}

/// Strict keys that differ. A key that moved between the parts is found in either.
fn conditions(baseline: &Fingerprint, current: &Fingerprint, common_only: bool) -> Vec<Difference> {
    strict_keys(baseline, current)
        .into_iter()
        .map(|key| (key, baseline.get(key), current.get(key)))
        .filter(|(key, b, c)| {
            let one_sided = b.is_none() || c.is_none();
            b != c && !(one_sided && (common_only || may_be_unknown(key)))
        })
        .map(|(key, b, c)| difference(key, b, c))
        .collect()
}

/// Keys that are strict on either side.
fn strict_keys<'a>(baseline: &'a Fingerprint, current: &'a Fingerprint) -> BTreeSet<&'a String> {
    baseline
        .strict
        .keys()
        .chain(current.strict.keys())
        .collect()
}

fn may_be_unknown(name: &str) -> bool {
    key(name).is_some_and(Key::may_be_unknown)
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

/// Soft differences, sorted by key: the fingerprints' soft parts, where the results came from, and
/// the strict keys that an older file cannot have.
pub(super) fn soft(baseline: &ResultSet, current: &ResultSet) -> Vec<Difference> {
    let all = |side: &ResultSet| {
        let mut facts = provenance(side);
        let fingerprint = side.fingerprint.clone();
        facts.extend(fingerprint.unwrap_or_default().soft);
        facts
    };
    let mut found = map_differences(&all(baseline), &all(current), false);
    if let (Some(b), Some(c)) = (&baseline.fingerprint, &current.fingerprint) {
        // A key that is strict on one side was judged there.
        let strict = strict_keys(b, c);
        found.retain(|difference| !strict.contains(&difference.key));
        if baseline.origin == current.origin {
            let unknown =
                |key: &&String| may_be_unknown(key) && b.get(key).is_none() != c.get(key).is_none();
            found.extend(
                strict
                    .into_iter()
                    .filter(unknown)
                    .map(|key| difference(key, b.get(key), c.get(key))),
            );
        }
        found.extend(boards(b, c));
        found.sort_by(|one, other| one.key.cmp(&other.key));
    }
    found
}

/// Another board of the same model is worth knowing: it may be the sick one.
fn boards(baseline: &Fingerprint, current: &Fingerprint) -> Option<Difference> {
    let (b, c) = (baseline.ids.as_ref()?, current.ids.as_ref()?);
    let other = b.same_boards(c) == Some(false);
    other.then(|| {
        difference(
            "gpu.boards",
            Some(&b.gpus.join(", ")),
            Some(&c.gpus.join(", ")),
        )
    })
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
        ("tokenizer", &from.tokenizer),
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
    let text = |value: Option<&String>| value.map_or_else(|| ABSENT.to_owned(), Clone::clone);
    Difference {
        key: key.to_owned(),
        baseline: text(baseline),
        current: text(current),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::results::{BoardIds, IdKey, Origin, Provenance, RunFacts, RunStatus};

    fn side(strict: &[(&str, &str)], soft: &[(&str, &str)]) -> ResultSet {
        let pairs = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        ResultSet {
            origin: Origin::Own,
            path: PathBuf::new(),
            status: RunStatus::Complete,
            suite: "s".into(),
            engine: "e".into(),
            model: "m".into(),
            timestamp: None,
            total_time_s: None,
            provenance: Provenance::default(),
            fingerprint: Some(Fingerprint {
                strict: pairs(strict),
                soft: pairs(soft),
                ids: None,
            }),
            runs: Vec::new(),
            facts: RunFacts::default(),
        }
    }

    fn keys(found: &[Difference]) -> Vec<&str> {
        found.iter().map(|one| one.key.as_str()).collect()
    }

    #[test]
    fn in_pairs_the_model_is_under_test_and_the_hardware_is_not() {
        let before = side(
            &[
                ("gpu.name", "H100"),
                ("model", "a"),
                ("model.revision", "1"),
            ],
            &[],
        );
        let after = side(
            &[
                ("gpu.name", "A100"),
                ("model", "b"),
                ("model.revision", "2"),
            ],
            &[],
        );
        let (mut hard, mut shown) = (strict(&before, &after), soft(&before, &after));
        assert_eq!(keys(&hard), ["gpu.name", "model", "model.revision"]);
        model_under_test(&mut hard, &mut shown);
        assert_eq!(keys(&hard), ["gpu.name"]);
        assert_eq!(keys(&shown), ["model", "model.revision"]);
    }

    #[test]
    fn what_an_older_file_cannot_know_is_a_note_and_no_difference() {
        let old = side(
            &[("gpu.name", "H100"), ("workload", "w")],
            &[("gpu.cuda", "12.4")],
        );
        let new = side(
            &[
                ("gpu.name", "H100"),
                ("workload", "w"),
                ("gpu.cuda", "12.4"),
                ("cpu.sockets", "2"),
            ],
            &[],
        );
        assert!(strict(&old, &new).is_empty());
        assert!(strict(&new, &old).is_empty());
        let notes = soft(&old, &new);
        assert_eq!(keys(&notes), ["cpu.sockets"]);
        assert_eq!(notes[0].explanation(), Some("not known on one side"));
    }

    #[test]
    fn a_key_that_became_strict_is_compared_with_its_soft_value() {
        let old = side(&[("workload", "w")], &[("gpu.cuda", "12.4")]);
        let new = side(&[("workload", "w"), ("gpu.cuda", "12.8")], &[]);
        assert_eq!(keys(&strict(&old, &new)), ["gpu.cuda"]);
        assert!(soft(&old, &new).is_empty());
    }

    #[test]
    fn a_condition_that_every_result_states_must_be_known() {
        let one = side(&[("gpu.name", "H100"), ("workload", "w")], &[]);
        let other = side(&[("workload", "w")], &[]);
        assert_eq!(keys(&strict(&one, &other)), ["gpu.name"]);
    }

    #[test]
    fn what_is_being_tested_explains_its_difference() {
        let with = |image: &str, driver: &str| {
            side(
                &[("workload", "w")],
                &[("engine.digest", image), ("gpu.driver", driver)],
            )
        };
        let found = soft(&with("a", "1"), &with("b", "2"));
        assert_eq!(keys(&found), ["engine.digest", "gpu.driver"]);
        assert_eq!(found[0].explanation(), Some("the change under test"));
        assert_eq!(found[1].explanation(), None);
    }

    #[test]
    fn another_board_of_the_same_kind_is_shown() {
        let key = IdKey::new(b"0123456789abcdef").unwrap();
        let with = |uuid: &str| {
            let gpu = crate::telemetry::GpuInfo {
                uuid: uuid.to_owned(),
                ..Default::default()
            };
            let mut side = side(&[("workload", "w")], &[]);
            if let Some(print) = &mut side.fingerprint {
                print.ids = Some(BoardIds::new(&[gpu], &key));
            }
            side
        };
        assert_eq!(keys(&soft(&with("a"), &with("b"))), ["gpu.boards"]);
        assert!(soft(&with("a"), &with("a")).is_empty());
        assert!(strict(&with("a"), &with("b")).is_empty());
    }
}
