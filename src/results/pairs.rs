//! `pairs.json`: which runs of the two sides belong together, and why there are no more.
//!
//! Written after every pair beside the current side's `metrics.json`; the baseline side of the
//! pairs lies in the folder [`BASELINE_DIR`] next to it. Untrusted when read: it may come from an
//! artifact.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Limits, ResultsError, checks::wrong, files, json};

/// Name of the file.
pub const PAIRS_FILE: &str = "pairs.json";
/// Folder of the baseline side's results, inside the current side's directory.
pub const BASELINE_DIR: &str = "baseline";
/// Version of the document.
const VERSION: u32 = 1;
/// More pairs than a design ever asks for.
const MOST_PAIRS: usize = 1000;
/// The longest explanation, in bytes.
const LONGEST: usize = 1000;

/// Side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What is compared with.
    Baseline,
    /// What is under test.
    Current,
}

impl Side {
    /// The word in files and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Current => "current",
        }
    }

    /// The side it is compared with.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Baseline => Self::Current,
            Self::Current => Self::Baseline,
        }
    }
}

/// One baseline run and one current run, measured one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// Number of the run in the baseline's results.
    pub baseline: u32,
    /// Number of the run in the current results.
    pub current: u32,
    /// Which of the two was measured first.
    pub first: Side,
    /// Why the pair does not count, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub void: Option<String>,
}

/// The pairs of a job, in the order they were measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// Version of the document.
    pub schema_version: u32,
    /// Most pairs that were planned: the sequential looks depend on it.
    pub planned: u32,
    /// What was expected of the pairs before they were measured, in words: how long they take and
    /// what they can resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<String>,
    /// The pairs.
    pub pairs: Vec<Pair>,
    /// Why no more pairs were measured; `None` while they are.
    #[serde(default)]
    pub stopped: Option<String>,
}

impl Pairs {
    /// No pair yet, of at most `planned`.
    pub const fn new(planned: u32) -> Self {
        Self {
            schema_version: VERSION,
            planned,
            forecast: None,
            pairs: Vec::new(),
            stopped: None,
        }
    }

    /// Which side the next pair begins with: the order is B C C B B C …, so that a drift of the
    /// machine hits both sides alike. A pair that does not count is made up for in its own order.
    pub fn next_first(&self) -> Side {
        let last = self.pairs.iter().rfind(|pair| pair.void.is_none());
        last.map_or(Side::Baseline, |pair| pair.first.other())
    }

    /// Writes the file into the current side's results directory, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), ResultsError> {
        files::replace_json(dir, PAIRS_FILE, self)
    }

    /// The runs of the pairs that count: baseline's and current's number.
    pub fn counting(&self) -> impl Iterator<Item = (u32, u32)> {
        self.pairs
            .iter()
            .filter(|pair| pair.void.is_none())
            .map(|pair| (pair.baseline, pair.current))
    }

    /// Whether no pair counts.
    pub fn is_empty(&self) -> bool {
        self.counting().next().is_none()
    }

    /// Whether baseline and current took turns in being first, so that a drift hits both alike.
    /// Decided by the pairs that count; one or two are always fair.
    pub fn interleaved(&self) -> bool {
        let counting: Vec<Side> = self
            .pairs
            .iter()
            .filter(|pair| pair.void.is_none())
            .map(|pair| pair.first)
            .collect();
        let baseline_first = counting
            .iter()
            .filter(|side| **side == Side::Baseline)
            .count();
        let other = counting.len() - baseline_first;
        counting.len() < 3 || (baseline_first > 0 && other > 0)
    }
}

/// Reads the pairs in a results directory; `None` when it has none.
///
/// # Errors
/// The file cannot be read, is too large, or is not this document.
pub fn read_pairs(dir: &Path, limits: &Limits) -> Result<Option<Pairs>, ResultsError> {
    let path = dir.join(PAIRS_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = json::read_file(&path, limits.file_bytes)?;
    json::check(&path, &bytes, limits)?;
    let pairs: Pairs = json::parse(&path, &bytes, 1)?;
    if pairs.schema_version != VERSION {
        return Err(ResultsError::Schema {
            path,
            found: pairs.schema_version.into(),
            known: VERSION.into(),
        });
    }
    if pairs.pairs.len() > MOST_PAIRS || pairs.planned as usize > MOST_PAIRS {
        let detail = format!("at most {MOST_PAIRS} pairs are read");
        return Err(wrong(&path, "pairs", detail));
    }
    let voids = pairs.pairs.iter().filter_map(|pair| pair.void.as_ref());
    let mut texts = voids.chain(&pairs.forecast).chain(&pairs.stopped);
    if texts.any(|text| text.len() > LONGEST || text.contains(char::is_control)) {
        let detail = format!("an explanation is one line of at most {LONGEST} bytes");
        return Err(wrong(&path, ".", detail));
    }
    Ok(Some(pairs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(number: u32, first: Side, void: Option<&str>) -> Pair {
        Pair {
            baseline: number,
            current: number + 1,
            first,
            void: void.map(str::to_owned),
        }
    }

    #[test]
    fn pairs_are_written_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits::default();
        assert_eq!(read_pairs(dir.path(), &limits).unwrap(), None);
        let mut pairs = Pairs::new(12);
        pairs.pairs.push(pair(1, Side::Baseline, None));
        pairs.pairs.push(pair(2, Side::Current, Some("it died")));
        pairs.write(dir.path()).unwrap();
        let back = read_pairs(dir.path(), &limits).unwrap().unwrap();
        assert_eq!(back, pairs);
        assert_eq!(back.counting().collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn one_side_always_first_is_not_interleaved() {
        let with = |order: &[Side]| {
            let mut pairs = Pairs::new(12);
            pairs.pairs = (1..)
                .zip(order)
                .map(|(n, side)| pair(n, *side, None))
                .collect();
            pairs.interleaved()
        };
        let (b, c) = (Side::Baseline, Side::Current);
        assert!(with(&[b, c, b]) && with(&[b, b]) && with(&[]));
        assert!(!with(&[b, b, b]) && !with(&[c, c, c, c]));
    }

    #[test]
    fn sides_take_turns_and_a_void_pair_is_made_up_for() {
        let (b, c) = (Side::Baseline, Side::Current);
        let mut pairs = Pairs::new(12);
        let mut order = Vec::new();
        for (number, void) in (1..).zip([None, None, Some("it died"), None, None]) {
            let first = pairs.next_first();
            order.push(first);
            pairs.pairs.push(pair(number, first, void));
        }
        assert_eq!(order, [b, c, b, b, c]);
        assert!(pairs.interleaved());
    }

    #[test]
    fn explanations_are_short_lines() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["two\nlines".to_owned(), "x".repeat(1001)] {
            let mut pairs = Pairs::new(12);
            pairs.stopped = Some(text);
            pairs.write(dir.path()).unwrap();
            let error = read_pairs(dir.path(), &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("one line"), "{error}");
        }
    }

    #[test]
    fn a_newer_document_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"schema_version":2,"planned":12,"pairs":[]}"#;
        std::fs::write(dir.path().join(PAIRS_FILE), text).unwrap();
        let error = read_pairs(dir.path(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("update kitt"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_pairs_or_an_error(text in "[a-z0-9_\\[\\]{}:,\" ]{0,80}") {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(PAIRS_FILE), text).unwrap();
            drop(read_pairs(dir.path(), &Limits::default()));
        }
    }
}
