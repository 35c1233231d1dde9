//! A binary's answers to scenario documents, held against their truth.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{table, threads};

/// How one document was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    scenario: String,
    id: String,
    /// The verdict, or the change points as text.
    said: String,
    mark: Mark,
    pairs: Option<u64>,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// What the truth asks for.
    Right,
    /// Neither asked for nor forbidden: mostly an honest "inconclusive".
    Open,
    /// What the truth forbids.
    Wrong,
    /// No answer at all.
    Failed,
}

/// Asks `kitt compare --scenario` about every document of a folder and gives the table, and the
/// documents that were answered wrongly or not at all.
///
/// # Errors
/// The folder cannot be read.
pub fn score(folder: &Path, kitt: &Path) -> io::Result<(String, Vec<String>)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    files.sort();
    let answers = threads::map(files.len(), |index| ask(kitt, &files[index]));
    Ok(sum_up(&answers))
}

fn ask(kitt: &Path, file: &Path) -> Answer {
    let id = file
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let failed = |said: String| Answer {
        scenario: id
            .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
            .to_owned(),
        id: id.clone(),
        said,
        mark: Mark::Failed,
        pairs: None,
    };
    let document: Value = match fs::read(file).map(|bytes| serde_json::from_slice(&bytes)) {
        Ok(Ok(document)) => document,
        Ok(Err(error)) => return failed(error.to_string()),
        Err(error) => return failed(error.to_string()),
    };
    let asked = Command::new(kitt)
        .arg("compare")
        .arg("--scenario")
        .arg(file)
        .arg("--json")
        .output();
    let output = match asked {
        Ok(output) if output.status.success() => output,
        Ok(output) => return failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => return failed(error.to_string()),
    };
    let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout) else {
        return failed("its standard output is no JSON".to_owned());
    };
    let (mark, said) = judge(&document["truth"], &answer);
    let scenario = document["scenario"].as_str();
    Answer {
        scenario: scenario.map_or_else(|| id.clone(), str::to_owned),
        id,
        said,
        mark,
        pairs: answer["pairs_used"].as_u64(),
    }
}

/// The mark of an answer. A contract lists what is expected; other truths list what is wrong and,
/// where something is to be found, what is right.
fn judge(truth: &Value, answer: &Value) -> (Mark, String) {
    if let Some(expected) = truth["change_points"].as_array() {
        return judge_series(expected, &truth["tolerance"], answer);
    }
    let Some(verdict) = answer["verdict"].as_str() else {
        return (Mark::Failed, "no verdict".to_owned());
    };
    let lists = |key: &str| {
        let list = truth[key].as_array();
        list.map(|list| list.iter().any(|word| word == verdict))
    };
    let mark = match (lists("expect"), lists("wrong"), lists("right")) {
        (Some(expected), _, _) => {
            if expected {
                Mark::Right
            } else {
                Mark::Wrong
            }
        }
        (None, Some(true), _) => Mark::Wrong,
        (None, _, Some(true)) => Mark::Right,
        (None, _, None) if verdict == "unchanged" => Mark::Right,
        (None, _, _) => Mark::Open,
    };
    (mark, verdict.to_owned())
}

fn judge_series(expected: &[Value], tolerance: &Value, answer: &Value) -> (Mark, String) {
    let Some(found) = answer["change_points"].as_array() else {
        return (Mark::Failed, "no change points".to_owned());
    };
    let tolerance = tolerance.as_u64().unwrap_or(3);
    let numbers = |list: &[Value]| list.iter().filter_map(Value::as_u64).collect::<Vec<_>>();
    let (expected, found) = (numbers(expected), numbers(found));
    let near = |at: u64, list: &[u64]| list.iter().any(|other| at.abs_diff(*other) <= tolerance);
    let mark = if found.iter().any(|at| !near(*at, &expected)) {
        Mark::Wrong
    } else if expected.iter().all(|at| near(*at, &found)) {
        Mark::Right
    } else {
        Mark::Open
    };
    (mark, format!("{found:?}"))
}

fn sum_up(answers: &[Answer]) -> (String, Vec<String>) {
    let mut groups: BTreeMap<&str, Vec<&Answer>> = BTreeMap::new();
    for answer in answers {
        groups.entry(&answer.scenario).or_default().push(answer);
    }
    let rows: Vec<Vec<String>> = groups
        .iter()
        .map(|(scenario, answers)| {
            let count = |mark: Mark| {
                answers
                    .iter()
                    .filter(|answer| answer.mark == mark)
                    .count()
                    .to_string()
            };
            let pairs: Vec<u64> = answers.iter().filter_map(|answer| answer.pairs).collect();
            let mean = pairs.iter().sum::<u64>() as f64 / pairs.len() as f64;
            vec![
                (*scenario).to_owned(),
                answers.len().to_string(),
                count(Mark::Right),
                count(Mark::Open),
                count(Mark::Wrong),
                count(Mark::Failed),
                if pairs.is_empty() {
                    "–".to_owned()
                } else {
                    format!("{mean:.1}")
                },
            ]
        })
        .collect();
    let head = [
        "scenario",
        "documents",
        "right",
        "open",
        "wrong",
        "failed",
        "mean pairs",
    ];
    let bad = answers.iter().filter(|answer| answer.mark >= Mark::Wrong);
    let wrong = bad
        .map(|answer| format!("{}: {}", answer.id, answer.said))
        .collect();
    (
        table::markdown("Answers to scenario documents", &head, &rows),
        wrong,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mark(truth: &Value, answer: &Value) -> Mark {
        judge(truth, answer).0
    }

    #[test]
    fn marks_follow_the_truth() {
        let null = json!({"class": "null", "wrong": ["regressed", "improved"]});
        let loss = json!({"wrong": ["unchanged", "improved"], "right": ["regressed"]});
        let contract = json!({"class": "contract", "expect": ["incomparable", "missing"]});
        for (truth, verdict, expected) in [
            (&null, "unchanged", Mark::Right),
            (&null, "inconclusive", Mark::Open),
            (&null, "regressed", Mark::Wrong),
            (&loss, "regressed", Mark::Right),
            (&loss, "inconclusive", Mark::Open),
            (&loss, "unchanged", Mark::Wrong),
            (&contract, "missing", Mark::Right),
            (&contract, "inconclusive", Mark::Wrong),
        ] {
            assert_eq!(
                mark(truth, &json!({"verdict": verdict})),
                expected,
                "{truth} {verdict}"
            );
        }
        assert_eq!(mark(&null, &json!({})), Mark::Failed);
    }

    #[test]
    fn a_step_must_be_found_where_it_is_and_nowhere_else() {
        let truth = json!({"change_points": [40], "tolerance": 3});
        for (found, expected) in [
            (json!([38]), Mark::Right),
            (json!([]), Mark::Open),
            (json!([40, 12]), Mark::Wrong),
            (json!([44]), Mark::Wrong),
        ] {
            assert_eq!(
                mark(&truth, &json!({"change_points": found})),
                expected,
                "{found}"
            );
        }
    }
}
