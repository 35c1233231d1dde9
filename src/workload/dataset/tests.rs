//! Tests of reading datasets.

use std::{collections::BTreeSet, io::Write};

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn written(content: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn read(content: &str) -> Result<Arc<Dataset>, WorkloadError> {
    Dataset::read(written(content.as_bytes()).path())
}

fn questions(dataset: &Arc<Dataset>, seed: u64, count: usize) -> Vec<String> {
    let mut order = dataset.order(seed);
    let next = || order.next().map(|one| one.turns[0].user.to_string());
    std::iter::repeat_with(next)
        .take(count)
        .map(Option::unwrap)
        .collect()
}

#[test]
fn arrays_and_lines_are_told_by_their_content() {
    let array = json!([
        { "id": "1", "conversations": [{ "from": "human", "value": "a" }, { "from": "gpt", "value": "b" }] },
        { "id": "2", "conversations": [] },
    ]);
    for text in [array.to_string(), format!("\u{feff}\n {array:#}\n")] {
        let facts = read(&text).unwrap().facts();
        assert_eq!(
            (facts.format, facts.conversations, facts.skipped),
            ("array", 1, 1)
        );
    }
    let lines = "{\"prompt\": \"a\"}\r\n{\"question\": \"b\"}\n\n\n";
    let dataset = read(lines).unwrap();
    assert_eq!(dataset.facts().format, "lines");
    assert_eq!(dataset.facts().conversations, 2);
    assert_eq!(dataset.digest(), files::digest(lines.as_bytes()));
    assert_eq!(read(&array.to_string()).unwrap().digest().len(), 64);
}

#[test]
fn the_digest_is_of_the_whole_file() {
    let text = "[{\"prompt\": \"a\"}]  \n\n";
    assert_eq!(read(text).unwrap().digest(), files::digest(text.as_bytes()));
}

#[test]
fn errors_name_line_and_key() {
    for (text, line, key, says) in [
        (
            "{\"prompt\": \"a\"}\n{\"prompt\": 3}\n",
            2,
            Some("prompt"),
            "invalid type: integer",
        ),
        (
            "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\"}",
            2,
            None,
            "the line is empty",
        ),
        ("{\"prompt\": \"a\"}\n{\"prompt\"", 2, None, "EOF"),
        ("{\"prompt\": \"a\"} {}", 1, None, "something follows"),
        ("{}", 1, None, "none of the keys"),
        ("hello", 1, None, "expected value"),
        (
            "[{\"prompt\": \"a\"},\n {\"messages\": [{\"role\": 1}]}]",
            2,
            Some("[1].messages[0].role"),
            "invalid type",
        ),
        ("[\n\n{\"text\": \"\"}]", 3, Some("[0]"), "text is empty"),
        ("[{\"prompt\": \"a\"}]\n]", 2, None, "something follows"),
        ("[{\"prompt\": \"a\"}", 1, None, "EOF"),
    ] {
        let error = read(text).unwrap_err();
        let WorkloadError::Dataset {
            line: at,
            key: found,
            why,
            ..
        } = &error
        else {
            panic!("{text}: {error}");
        };
        assert_eq!((*at, found.as_deref()), (line, key), "{text}: {error}");
        assert!(
            why.contains(says) && !why.contains("column"),
            "{text}: {error}"
        );
    }
    let message = read("{\"prompt\": 3}").unwrap_err().to_string();
    assert!(
        message.contains("line 1, key prompt: invalid type"),
        "{message}"
    );
}

#[test]
fn a_dataset_without_a_question_is_none() {
    for text in ["", " \n\n", "[]", "[{\"conversations\": []}]"] {
        let error = read(text).unwrap_err();
        assert!(
            matches!(error, WorkloadError::EmptyDataset { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn the_order_is_seeded_and_without_replacement() {
    let lines: Vec<String> = (0..50)
        .map(|n| json!({ "prompt": n.to_string() }).to_string())
        .collect();
    let text = lines.join("\n");
    let dataset = read(&text).unwrap();
    let first = questions(&dataset, 1, 120);
    assert_eq!(first, questions(&dataset, 1, 120));
    assert_ne!(first[..50], questions(&dataset, 2, 50));
    let round = |from: usize| first[from..from + 50].iter().collect::<BTreeSet<_>>().len();
    assert_eq!((round(0), round(50)), (50, 50));
    assert_ne!(first[..50], first[50..100]);
}

proptest! {
    #[test]
    fn any_bytes_are_a_dataset_or_an_error(bytes in any::<Vec<u8>>()) {
        drop(parse(&mut &*bytes));
    }

    #[test]
    fn any_text_like_json_is_a_dataset_or_an_error(
        text in "[\\[\\{](\"(prompt|messages|conversations|role|from|value|content|text|max_tokens)\"|[\\[\\]\\{\\}:,\n ]|\"a\"|1|null){0,40}"
    ) {
        drop(parse(&mut text.as_bytes()));
    }

    #[test]
    fn any_questions_are_kept(questions in proptest::collection::vec("\\PC{0,20}[a-z]", 1..20)) {
        let lines: Vec<String> = questions
            .iter()
            .map(|text| json!({ "prompt": text }).to_string())
            .collect();
        let lines = lines.join("\n");
        let array = json!(questions.iter().map(|text| json!({ "text": text })).collect::<Vec<_>>());
        for text in [lines, array.to_string()] {
            let (_, records) = parse(&mut text.as_bytes()).unwrap();
            let found: Vec<String> = records
                .into_iter()
                .map(|record| record.0.unwrap().turns[0].user.to_string())
                .collect();
            prop_assert_eq!(&found, &questions);
        }
    }
}
