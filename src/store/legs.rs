//! The results of several jobs of one CI run, side by side, as `actions/download-artifact` leaves
//! them: a folder for each.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{StoreError, directory};
use crate::{
    ids::Section,
    results::{self, Limits},
};

/// The file that makes a directory a results directory.
const NAME: &str = "metrics.json";
/// A matrix has at most 256 jobs.
const MOST: usize = 256;

/// One job's results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegDir {
    /// The job, as its results say.
    pub section: Section,
    /// Their folder.
    pub dir: PathBuf,
    /// The folder's name.
    pub name: String,
}

/// The jobs whose results lie side by side in a directory, by name; `None` when it is the tree of
/// one job. It is of several when each folder in it that holds results holds those of one section,
/// each of another: sections are recorded by `kitt ci run`, so that a tree of results with time
/// stamps, of which the newest counts, is never taken for a matrix.
///
/// # Errors
/// The directory cannot be listed, or has more jobs than a matrix.
pub fn legs(dir: &Path) -> Result<Option<Vec<LegDir>>, StoreError> {
    if !directory::is_directory(dir)? || dir.join(NAME).exists() {
        return Ok(None);
    }
    let listing = |source| StoreError::List {
        path: dir.to_owned(),
        source,
    };
    let mut legs: Vec<LegDir> = Vec::new();
    for entry in fs::read_dir(dir).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        // The entry's own type: a link is no directory.
        if !entry.file_type().map_err(listing)?.is_dir() {
            continue;
        }
        let Ok(name) = entry.file_name().into_string() else {
            return Ok(None);
        };
        let section = match section_in(&entry.path())? {
            Found::Nothing => continue,
            Found::Mixed => return Ok(None),
            Found::One(section) => section,
        };
        if name.contains(char::is_control) || legs.iter().any(|leg| leg.section == section) {
            return Ok(None);
        }
        let dir = entry.path();
        legs.push(LegDir { section, dir, name });
        if legs.len() > MOST {
            return Err(StoreError::TooMany {
                path: dir_of(&legs),
                limit: MOST,
            });
        }
    }
    legs.sort_by(|one, two| one.section.cmp(&two.section));
    Ok((!legs.is_empty()).then_some(legs))
}

fn dir_of(legs: &[LegDir]) -> PathBuf {
    let first = legs.first().and_then(|leg| leg.dir.parent());
    first.map(Path::to_owned).unwrap_or_default()
}

/// What the results below a folder say they are of.
enum Found {
    Nothing,
    One(Section),
    /// Of no section, of several, or they cannot be read.
    Mixed,
}

fn section_in(dir: &Path) -> Result<Found, StoreError> {
    let mut found = Found::Nothing;
    for path in directory::candidates(dir, directory::ENTRIES)? {
        let told = results::section(&path, &Limits::default());
        found = match (found, told) {
            (Found::Nothing, Ok(Some(section))) => Found::One(section),
            (Found::One(known), Ok(Some(section))) if known == section => Found::One(known),
            _ => return Ok(Found::Mixed),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, place: &str, text: &str) {
        let dir = dir.join(place);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(NAME), text).unwrap();
    }

    fn of(section: &str) -> String {
        format!(r#"{{"provenance":{{"section":"{section}"}}}}"#)
    }

    fn found(dir: &Path) -> Option<Vec<String>> {
        let legs = legs(dir).unwrap()?;
        Some(
            legs.iter()
                .map(|leg| format!("{}={}", leg.name, leg.section))
                .collect(),
        )
    }

    #[test]
    fn folders_of_different_sections_are_the_jobs_of_a_matrix() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "kitt-results-2", &of("h100 · fp8"));
        put(dir.path(), "kitt-results-1/deeper", &of("a100"));
        fs::create_dir(dir.path().join("logs")).unwrap();
        let both = ["kitt-results-1=a100", "kitt-results-2=h100 · fp8"];
        assert_eq!(found(dir.path()).unwrap(), both);
    }

    #[test]
    fn a_tree_of_one_job_is_no_matrix() {
        let trees: [&[(&str, &str)]; 5] = [
            &[("2026-01-01", "{}"), ("2026-01-02", "{}")],
            &[("a", &of("x")), ("b", &of("x"))],
            &[("a", &of("x")), ("b", "{}")],
            &[("a", &of("x")), ("b", "{")],
            &[("", &of("x")), ("b", &of("y"))],
        ];
        for tree in trees {
            let dir = tempfile::tempdir().unwrap();
            for (place, text) in tree {
                put(dir.path(), place, text);
            }
            assert_eq!(found(dir.path()), None, "{tree:?}");
        }
        assert_eq!(found(tempfile::tempdir().unwrap().path()), None);
    }
}
