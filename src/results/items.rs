//! `items.jsonl`: the answers of an evaluation, item by item, that accuracy and calibration are
//! judged by.
//!
//! One JSON object a line: `{"task": …, "item": …, "correct": …, "confidence": …}`; blank lines
//! are skipped. Untrusted: it is written by whatever evaluates, or comes with an artifact. Whoever
//! evaluates hands the file to kitt, which checks it and keeps it beside `metrics.json`.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::Path};

use serde::Deserialize;

use super::{Limits, ResultsError, files, json};
use crate::ids::ScenarioId;

/// Name of the file in a results directory.
pub const ITEMS_FILE: &str = "items.jsonl";
/// The longest name of an item, in bytes.
const ITEM_BYTES: usize = 512;
/// Most items of a file: ten times the largest evaluation sets in use.
const MOST_ITEMS: usize = 500_000;
/// Most tasks of a file: each is a scenario of the report.
const MOST_TASKS: usize = 1000;

/// One evaluated item.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, Deserialize)]
pub struct Item {
    /// Whether the answer is right.
    pub correct: bool,
    /// How sure the model was of its answer, 0 to 1; `None` when it does not say.
    pub confidence: Option<f64>,
}

/// Evaluated items by task and name.
pub type Items = BTreeMap<String, BTreeMap<String, Item>>;

/// A line of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    task: String,
    item: String,
    correct: bool,
    #[serde(default)]
    confidence: Option<f64>,
}

/// Reads the items of a results directory; none when it holds no such file.
///
/// # Errors
/// As [`read_items`].
pub(super) fn of_directory(dir: &Path, limits: &Limits) -> Result<Items, ResultsError> {
    let path = dir.join(ITEMS_FILE);
    // A link could lead out of a downloaded artifact.
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() => read_items(&path, limits),
        Ok(_) => Err(wrong(&path, 0, "it is not a regular file".to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Items::new()),
        Err(error) => Err(files::failed("read", &path)(error)),
    }
}

/// Reads a file of items.
///
/// # Errors
/// The file cannot be read or is larger than `limits`; a line is not such an object, names an item
/// twice, or holds a confidence that is no probability; of one task some items have a confidence
/// and others have none. Every error names the file and the line.
pub fn read_items(path: &Path, limits: &Limits) -> Result<Items, ResultsError> {
    from_bytes(path, &json::read_file(path, limits.file_bytes)?, limits)
}

/// Checks a file of items and keeps a copy in a results directory, which is made if need be. Gives
/// the number of items. Without a file, those of an earlier run are removed.
///
/// # Errors
/// As [`read_items`]; the copy cannot be written, or the earlier one cannot be removed.
pub fn take_items(from: Option<&Path>, dir: &Path) -> Result<usize, ResultsError> {
    let Some(from) = from else {
        let path = dir.join(ITEMS_FILE);
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(files::failed("remove", &path)(error))
            }
            Ok(()) | Err(_) => Ok(0),
        };
    };
    let limits = Limits::default();
    let bytes = json::read_file(from, limits.file_bytes)?;
    let items = from_bytes(from, &bytes, &limits)?;
    fs::create_dir_all(dir).map_err(files::failed("create", dir))?;
    files::replace(dir, ITEMS_FILE, &bytes)?;
    Ok(items.values().map(BTreeMap::len).sum())
}

/// The pure part of [`read_items`]; `path` is only named in errors.
fn from_bytes(path: &Path, bytes: &[u8], limits: &Limits) -> Result<Items, ResultsError> {
    let mut items = Items::new();
    let mut count = 0_usize;
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        json::check_at(path, line, number, limits)?;
        let line: Line = json::parse(path, line, number)?;
        count += 1;
        if count > MOST_ITEMS {
            let detail = format!("more than {MOST_ITEMS} items");
            return Err(wrong(path, number, detail));
        }
        add(path, number, line, &mut items)?;
    }
    if items.is_empty() {
        let detail = "no item in it: give one JSON object a line".to_owned();
        return Err(wrong(path, 1, detail));
    }
    Ok(items)
}

fn add(path: &Path, number: usize, line: Line, items: &mut Items) -> Result<(), ResultsError> {
    let refuse = |detail: String| Err(wrong(path, number, detail));
    // A task stands in the report where scenarios stand.
    if let Err(error) = line.task.parse::<ScenarioId>() {
        return refuse(format!("task: {error}"));
    }
    if line.item.is_empty() || line.item.len() > ITEM_BYTES {
        return refuse(format!("an item's name has 1 to {ITEM_BYTES} bytes"));
    }
    let probability = |value: &f64| (0.0..=1.0).contains(value);
    if let Some(confidence) = line.confidence.filter(|value| !probability(value)) {
        return refuse(format!("confidence {confidence} is not between 0 and 1"));
    }
    if !items.contains_key(&line.task) && items.len() >= MOST_TASKS {
        return refuse(format!("more than {MOST_TASKS} tasks"));
    }
    let task = items.entry(line.task).or_default();
    let item = Item {
        correct: line.correct,
        confidence: line.confidence,
    };
    // Calibration over the items that happen to have a confidence would be that of a selection.
    let mixed = task
        .values()
        .next()
        .is_some_and(|first| first.confidence.is_some() != item.confidence.is_some());
    if mixed {
        let detail = "some items of this task have a confidence and others have none: give all \
                      of them one, or none";
        return refuse(detail.to_owned());
    }
    let name = json::printable(&line.item);
    if task.insert(line.item, item).is_some() {
        return refuse(format!("item {name} is there twice"));
    }
    Ok(())
}

fn wrong(path: &Path, line: usize, detail: String) -> ResultsError {
    ResultsError::Json {
        path: path.to_owned(),
        line,
        column: 1,
        key: ".".to_owned(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Items, ResultsError> {
        from_bytes(Path::new("i.jsonl"), text.as_bytes(), &Limits::default())
    }

    fn refused(text: &str) -> String {
        parsed(text).unwrap_err().to_string()
    }

    const GOOD: &str = r#"{"task":"gsm8k","item":"1","correct":true,"confidence":0.9}
{"task":"gsm8k","item":"2","correct":false,"confidence":0}

{"task":"mmlu","item":"1","correct":true}
"#;

    #[test]
    fn items_are_read_by_task_and_name() {
        let items = parsed(GOOD).unwrap();
        assert_eq!(items.keys().collect::<Vec<_>>(), ["gsm8k", "mmlu"]);
        assert_eq!(
            items["gsm8k"]["2"],
            Item {
                correct: false,
                confidence: Some(0.0)
            }
        );
        assert_eq!(items["mmlu"]["1"].confidence, None);
    }

    #[test]
    fn every_refusal_names_file_and_line() {
        let first = r#"{"task":"t","item":"1","correct":true}"#;
        for (second, said) in [
            (first, "item 1 is there twice"),
            (r#"{"task":"t","item":"2"}"#, "missing field `correct`"),
            (
                r#"{"task":"t","item":"2","correct":1}"#,
                "expected a boolean",
            ),
            (
                r#"{"task":"t","item":"2","correct":true,"confidence":NaN}"#,
                "NaN is not a number",
            ),
            (
                r#"{"task":"t","item":"2","correct":true,"confidence":1.5}"#,
                "1.5 is not between 0 and 1",
            ),
            (
                r#"{"task":"t","item":"2","correct":true,"confidence":0.5}"#,
                "others have none",
            ),
            (r#"{"task":"t","item":"","correct":true}"#, "1 to 512 bytes"),
            (r#"{"task":"a b","item":"2","correct":true}"#, "task: "),
            (
                r#"{"task":"t","item":"2","correct":true,"model":"x"}"#,
                "unknown field `model`",
            ),
            ("[]", "invalid"),
            (&"[".repeat(100), "levels of nesting"),
        ] {
            let error = refused(&format!("{first}\n{second}\n"));
            assert!(error.contains(said), "{error}");
            assert!(error.starts_with("i.jsonl:2:"), "{error}");
        }
        assert!(refused("\n \n").contains("no item"));
    }

    #[test]
    fn a_checked_file_is_kept_beside_the_results() {
        let (from, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let limits = Limits::default();
        assert!(of_directory(dir.path(), &limits).unwrap().is_empty());
        let path = from.path().join("mine.jsonl");
        fs::write(&path, GOOD).unwrap();
        assert_eq!(take_items(Some(&path), dir.path()).unwrap(), 3);
        assert_eq!(
            of_directory(dir.path(), &limits).unwrap(),
            parsed(GOOD).unwrap()
        );
        fs::write(&path, "no").unwrap();
        assert!(take_items(Some(&path), dir.path()).is_err());
        assert_eq!(
            of_directory(dir.path(), &limits).unwrap(),
            parsed(GOOD).unwrap()
        );
    }

    #[test]
    fn items_of_an_earlier_run_do_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(ITEMS_FILE), GOOD).unwrap();
        for _ in 0..2 {
            assert_eq!(take_items(None, dir.path()).unwrap(), 0);
            assert!(!dir.path().join(ITEMS_FILE).exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join(ITEMS_FILE)).unwrap();
        let error = of_directory(dir.path(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(ITEMS_FILE);
        fs::write(&path, GOOD).unwrap();
        let limits = Limits {
            file_bytes: 10,
            ..Limits::default()
        };
        assert!(matches!(
            read_items(&path, &limits),
            Err(ResultsError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_items_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(from_bytes(Path::new("i"), &bytes, &Limits::default()));
        }

        #[test]
        fn what_is_written_is_read_back(
            written in proptest::collection::btree_map("[a-z0-9]{1,8}", (any::<bool>(), 0.0..=1.0_f64), 1..20)
        ) {
            let lines: String = written
                .iter()
                .map(|(item, (correct, confidence))| {
                    serde_json::json!({"task": "t", "item": item, "correct": correct, "confidence": confidence})
                        .to_string() + "\n"
                })
                .collect();
            let items = parsed(&lines).unwrap();
            for (item, (correct, confidence)) in written {
                let read = items["t"][&item];
                prop_assert_eq!((read.correct, read.confidence), (correct, Some(confidence)));
            }
        }
    }
}
