//! Which entries of an archive are unpacked, and which names make it be refused. Pure.

use std::path::PathBuf;

use super::ArchiveError;
use crate::{
    ids::is_hidden,
    results::{BASELINE_DIR, HISTORY_FILE, ITEMS_FILE, NOISE_FILE, PAIRS_FILE},
};

/// The files of a results directory that a later job reads: numbers, conditions, pairs, history,
/// noise, items and the requests behind the numbers. Reports, logs and telemetry are for people:
/// they are neither stored as a baseline nor taken from an archive.
pub const FILES: [&str; 8] = [
    "metrics.json",
    "config.json",
    "hardware.json",
    "requests.jsonl.zst",
    PAIRS_FILE,
    ITEMS_FILE,
    HISTORY_FILE,
    NOISE_FILE,
];

/// Folders inside each other, at most: a results directory per leg of a matrix, and the baseline
/// side of pairs in it.
const DEPTH: usize = 3;
/// Longest name of a folder in bytes.
const LONGEST: usize = 100;

/// Where an entry goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To this path below the directory.
    At(PathBuf),
    /// Nowhere: nobody reads it.
    Skipped,
}

/// Judges a name as it stands in the archive. A harmless name that is not in [`FILES`] is skipped;
/// one that leads anywhere else makes the whole archive be refused.
pub(super) fn place(raw: &[u8], is_dir: bool) -> Result<Place, ArchiveError> {
    let refuse = |why| {
        Err(ArchiveError::Name {
            name: shown(raw),
            why,
        })
    };
    let Ok(name) = std::str::from_utf8(raw) else {
        return refuse("it is no UTF-8");
    };
    if name.chars().any(is_hidden) {
        return refuse("it holds a control character");
    }
    if name.contains('\\') {
        return refuse("a backslash separates folders on Windows");
    }
    if name.starts_with('/') {
        return refuse("it is an absolute path");
    }
    if name.contains(':') {
        return refuse("a colon names a drive or a stream on Windows");
    }
    let name = if is_dir {
        name.trim_end_matches('/')
    } else {
        name
    };
    let parts: Vec<&str> = name.split('/').collect();
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return refuse("it leads out of its folder");
    }
    let Some((file, folders)) = parts.split_last() else {
        return refuse("it is empty");
    };
    let plain = |part: &&&str| part.len() <= LONGEST && !part.starts_with('.');
    let taken = FILES.contains(file)
        && !is_dir
        && folders.len() <= DEPTH
        && folders.iter().filter(plain).count() == folders.len();
    Ok(if taken {
        Place::At(parts.iter().collect())
    } else {
        Place::Skipped
    })
}

/// A foreign name for a message.
pub(super) fn shown(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let safe = text.chars().map(|c| if is_hidden(c) { '?' } else { c });
    safe.take(80).collect()
}

/// Whether a place is in the folder of the other side of pairs.
pub(super) fn is_other_side(path: &std::path::Path) -> bool {
    let parent = path.parent().and_then(|parent| parent.file_name());
    parent.is_some_and(|name| name == BASELINE_DIR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn files_of_results_have_a_place() {
        for good in [
            "metrics.json",
            "requests.jsonl.zst",
            "baseline/metrics.json",
            "leg a=1/baseline/metrics.json",
            "…/metrics.json",
        ] {
            assert_eq!(
                place(good.as_bytes(), false).unwrap(),
                Place::At(good.into()),
                "{good}"
            );
        }
        for skipped in [
            "comment.md",
            "engine.log",
            "Metrics.json",
            ".git/metrics.json",
            "a/b/c/d/metrics.json",
            "x/.hidden",
        ] {
            assert_eq!(place(skipped.as_bytes(), false).unwrap(), Place::Skipped);
        }
        assert_eq!(place(b"baseline/", true).unwrap(), Place::Skipped);
    }

    #[test]
    fn names_that_lead_elsewhere_refuse_the_archive() {
        for bad in [
            "../metrics.json",
            "a/../../metrics.json",
            "a/./metrics.json",
            "/metrics.json",
            "//host/metrics.json",
            "C:/metrics.json",
            "C:metrics.json",
            "metrics.json:stream",
            "a\\..\\metrics.json",
            "\\\\host\\metrics.json",
            "a//metrics.json",
            "",
            "..",
            "a/",
            "metrics.json\0.txt",
            "a\n::error::/metrics.json",
            "\u{202e}nosj.scirtem",
        ] {
            let error = place(bad.as_bytes(), false).unwrap_err();
            let text = error.to_string();
            assert!(!text.contains(is_hidden), "{text:?}");
        }
        assert!(place(b"\xff/metrics.json", false).is_err());
    }

    proptest! {
        /// Whatever has a place stays below the directory it is joined to.
        #[test]
        fn a_place_is_always_below(name in "[a-z./\\\\:]{0,30}(metrics\\.json)?") {
            if let Ok(Place::At(path)) = place(name.as_bytes(), false) {
                let plain = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(path.components().all(plain), "{path:?}");
            }
        }
    }
}
