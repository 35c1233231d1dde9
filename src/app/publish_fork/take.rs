//! Results of a run that nobody trusts, taken as data: a few files by name, each below a size,
//! nothing else. Its comparison, its verdict, its comment, its history and the baseline side that
//! it may have measured in pairs stay where they are.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use crate::error::Error;

const MIB: u64 = 1 << 20;

/// The file that makes results of a folder.
const METRICS: &str = "metrics.json";

/// What is taken, and how large it may be in bytes.
const FILES: [(&str, u64); 4] = [
    (METRICS, 16 * MIB),
    ("config.json", MIB),
    ("items.jsonl", 16 * MIB),
    ("requests.jsonl.zst", 48 * MIB),
];

/// Legs of a matrix that are reported, at most: a run can upload as many artifacts as it likes.
pub(super) const LEGS: usize = 64;

/// Entries of a folder that are looked at.
const ENTRIES: usize = 10_000;

/// One job's results.
#[derive(Debug)]
pub(super) struct Leg {
    /// Name of its artifact, chosen by the run; `None` where there is only one.
    pub(super) name: Option<String>,
    /// The folder with the files that were taken, or why none were.
    pub(super) results: Result<PathBuf, String>,
}

/// Results that were taken and not yet judged.
#[derive(Debug)]
pub(super) enum Taken {
    /// The run left none, for this reason.
    Nothing(String),
    /// One or several.
    Legs(Vec<Leg>),
}

impl Taken {
    /// As many legs as may be reported; a name tells one from another, so a single one has none.
    pub(super) fn of(mut legs: Vec<Leg>) -> Self {
        if let [leg] = legs.as_mut_slice() {
            leg.name = None;
        }
        Self::Legs(legs)
    }
}

fn too_large(name: &str, size: u64, most: u64) -> String {
    format!("{name} is {size} bytes; at most {most} are read")
}

/// Takes results that `actions/download-artifact` has laid into a folder: those of one artifact at
/// its top, or a folder for each of several.
///
/// # Errors
/// The folder cannot be read, or the files cannot be written.
pub(super) fn from_folder(dir: &Path, out: &Path) -> Result<Taken, Error> {
    let names = match folders(dir) {
        Ok(names) => names,
        Err(why) => return Ok(Taken::Nothing(why)),
    };
    if dir.join(METRICS).symlink_metadata().is_ok() || names.is_empty() {
        let results = one(dir, out, 1)?;
        return Ok(Taken::of(vec![Leg {
            name: None,
            results,
        }]));
    }
    if names.len() > LEGS {
        return Ok(Taken::Nothing(too_many(names.len())));
    }
    let leg = |(number, name): (usize, String)| {
        let results = one(&dir.join(&name), out, number + 1)?;
        let name = Some(name);
        Ok(Leg { name, results })
    };
    let legs: Result<Vec<Leg>, Error> = names.into_iter().enumerate().map(leg).collect();
    Ok(Taken::of(legs?))
}

pub(super) fn too_many(count: usize) -> String {
    format!("the run uploaded {count} artifacts of results; at most {LEGS} are reported")
}

/// Folders directly inside, in the order of their names. Links are none.
fn folders(dir: &Path) -> Result<Vec<String>, String> {
    let unreadable = |error: std::io::Error| format!("no results were fetched: {error}");
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)?.take(ENTRIES) {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// Copies what is taken of one artifact to a new folder, numbered: no name of the run is part of a
/// path. The outer error is this host's, the inner one the run's.
pub(super) fn one(dir: &Path, out: &Path, number: usize) -> Result<Result<PathBuf, String>, Error> {
    let mut files = Vec::new();
    for (name, most) in FILES {
        match read(&dir.join(name), name, most) {
            Ok(Some(bytes)) => files.push((name, bytes)),
            Ok(None) if name == METRICS => {
                return Ok(Err(format!("there is no {METRICS} at its top")));
            }
            Ok(None) => {}
            Err(why) => return Ok(Err(why)),
        }
    }
    let wrong = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    let into = out.join(format!("results-{number}"));
    fs::create_dir(&into).map_err(wrong(&into))?;
    for (name, bytes) in files {
        let path = into.join(name);
        fs::write(&path, bytes).map_err(wrong(&path))?;
    }
    Ok(Ok(into))
}

/// A regular file of at most so many bytes; `None` when there is none.
fn read(path: &Path, name: &str, most: u64) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("{name} cannot be read: {error}");
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.is_file() => return Err(format!("{name} is no regular file")),
        Ok(found) if found.len() > most => return Err(too_large(name, found.len(), most)),
        Ok(_) => {}
    }
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let read = file
        .take(most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if read as u64 > most {
        return Err(too_large(name, read as u64, most));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), text).unwrap();
    }

    fn legs(taken: Taken) -> Vec<Leg> {
        match taken {
            Taken::Legs(legs) => legs,
            Taken::Nothing(why) => panic!("{why}"),
        }
    }

    #[test]
    fn only_numbers_are_taken() {
        let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in [
            "metrics.json",
            "config.json",
            "comment.md",
            "comparison.json",
            "report.html",
            "pairs.json",
            "baseline/metrics.json",
            "history.jsonl",
            "noise.json",
        ] {
            put(from.path(), name, "{}");
        }
        let legs = legs(from_folder(from.path(), out.path()).unwrap());
        assert_eq!((legs.len(), &legs[0].name), (1, &None));
        let dir = legs[0].results.as_ref().unwrap();
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["config.json", "metrics.json"]);
    }

    #[test]
    fn a_folder_for_each_artifact_is_a_leg_and_its_name_is_no_path() {
        let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(from.path(), "kitt-results-$(id)/metrics.json", "{}");
        put(from.path(), "kitt-results-b/other.json", "{}");
        let legs = legs(from_folder(from.path(), out.path()).unwrap());
        assert_eq!(legs[0].name.as_deref(), Some("kitt-results-$(id)"));
        assert!(legs[0].results.as_ref().unwrap().ends_with("results-1"));
        let why = legs[1].results.as_ref().unwrap_err();
        assert!(why.contains("no metrics.json"), "{why}");
        let absent = from_folder(&from.path().join("absent"), out.path()).unwrap();
        assert!(matches!(absent, Taken::Nothing(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_leads_nowhere_and_what_is_too_large_is_refused() {
        let (from, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(from.path(), "a/metrics.json", "{}");
        put(from.path(), "a/secret", "s");
        std::os::unix::fs::symlink("secret", from.path().join("a/items.jsonl")).unwrap();
        std::os::unix::fs::symlink("a", from.path().join("b")).unwrap();
        put(from.path(), "c/x", "");
        let large = fs::File::create(from.path().join("c/metrics.json")).unwrap();
        large.set_len(65 * MIB).unwrap();
        let legs = legs(from_folder(from.path(), out.path()).unwrap());
        assert_eq!(legs.len(), 2, "the link to a folder is no leg");
        let why = |leg: &Leg| leg.results.clone().unwrap_err();
        assert_eq!(why(&legs[0]), "items.jsonl is no regular file");
        assert!(
            why(&legs[1]).contains("68157440 bytes; at most 16777216"),
            "{}",
            why(&legs[1])
        );
    }
}
