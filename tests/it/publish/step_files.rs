//! Outputs, summary and commands, read back by the runner's grammar as actions/runner has it
//! (`FileCommandManager`, `ActionCommand`).

use std::{collections::BTreeMap, fs};

use kitt_action::{
    publish::{self, OUTPUTS, Outputs, PublishError, command},
    secret::Secret,
};
use proptest::prelude::*;

/// Reads an output file; `None` where the runner fails the step.
pub fn read_outputs(text: &str) -> Option<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    // The text after the last newline is a line of its own only when it is not empty.
    let mut lines = text.strip_suffix('\n').unwrap_or(text).split('\n');
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let equals = line.find('=').unwrap_or(usize::MAX);
        let heredoc = line.find("<<").unwrap_or(usize::MAX);
        if equals < heredoc {
            let (name, value) = line.split_once('=')?;
            found.insert(name.to_owned(), value.to_owned());
            continue;
        }
        let (name, delimiter) = line.split_once("<<")?;
        if name.is_empty() || delimiter.is_empty() {
            return None;
        }
        let mut value = Vec::new();
        loop {
            match lines.next()? {
                end if end == delimiter => break,
                line => value.push(line),
            }
        }
        found.insert(name.to_owned(), value.join("\n"));
    }
    Some(found)
}

#[derive(Debug, PartialEq)]
pub struct Parsed {
    name: String,
    properties: BTreeMap<String, String>,
    data: String,
}

fn unescape(text: &str, property: bool) -> String {
    let mut text = text.replace("%0D", "\r").replace("%0A", "\n");
    if property {
        text = text.replace("%3A", ":").replace("%2C", ",");
    }
    text.replace("%25", "%")
}

/// The commands the runner sees in what was printed.
pub fn read_commands(printed: &str) -> Vec<Parsed> {
    let lines = printed.split(['\r', '\n']).map(str::trim_start);
    let parse = |line: &str| {
        if line.contains("##[") {
            let name = "legacy".to_owned();
            return Some((name, BTreeMap::new(), line.to_owned()));
        }
        let (head, data) = line.strip_prefix("::")?.split_once("::")?;
        let (name, list) = head.split_once(' ').unwrap_or((head, ""));
        let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
        let properties = pairs.map(|(key, value)| (key.trim().to_owned(), unescape(value, true)));
        Some((name.to_owned(), properties.collect(), unescape(data, false)))
    };
    lines
        .filter_map(parse)
        .map(|(name, properties, data)| Parsed {
            name,
            properties,
            data,
        })
        .collect()
}

fn printed(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Texts of the pieces that break naive writers, and any text at all.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "::",
        "##[",
        "]",
        "%",
        "%0A",
        "%25",
        "\n",
        "\r",
        "\r\n",
        "=",
        "<<",
        "EOF",
        "kitt_",
        ",",
        ":",
        " ",
        "error",
        "add-mask",
        "title=",
        "$(id)",
        "`id`",
        "\"",
        "'",
        "\u{b}",
        "\u{85}",
        "\u{feff}",
        "é",
        "🚀",
        "passed=true",
        "ghadelimiter_",
        "stop-commands::x",
        "\r::error::x",
        "\n ::add-mask::x",
    ]);
    let made = prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => made, 1 => any::<String>()]
}

fn sample() -> Outputs {
    Outputs {
        verdict: "regressed".into(),
        passed: true,
        gate: "failed".into(),
        regressions: 2,
        improvements: 1,
        inconclusive: 3,
        results_path: "kitt-results/a b".into(),
        report_path: "kitt-results/report.html".into(),
        baseline_ref: Some("main".into()),
        metrics_json: "kitt-results/metrics.json".into(),
        metrics: Some("{\"a\":1}".into()),
        exit_code: Some(10),
        version: "0.1.0".into(),
        ..Outputs::default()
    }
}

#[test]
fn outputs_have_the_names_of_the_action() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    publish::write_outputs(&path, &sample()).unwrap();
    let read = read_outputs(&fs::read_to_string(&path).unwrap()).unwrap();
    let expected = [
        ("baseline-ref", "main"),
        ("exit-code", "10"),
        ("gate", "failed"),
        ("improvements", "1"),
        ("inconclusive", "3"),
        ("metrics", "{\"a\":1}"),
        ("metrics-json", "kitt-results/metrics.json"),
        ("passed", "true"),
        ("regressions", "2"),
        ("report-path", "kitt-results/report.html"),
        ("results-path", "kitt-results/a b"),
        ("store-baseline", "false"),
        ("verdict", "regressed"),
        ("version", "0.1.0"),
    ];
    let expected: BTreeMap<_, _> = expected
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(read, expected);
}

#[test]
fn what_others_wrote_stays_and_an_open_line_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    fs::write(&path, "earlier=1").unwrap();
    publish::write_outputs(&path, &sample()).unwrap();
    publish::write_output(
        &path,
        "comment-url",
        "https://github.com/o/r/pull/1#issuecomment-1",
    )
    .unwrap();
    let read = read_outputs(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(read["earlier"], "1");
    assert_eq!(read["verdict"], "regressed");
    assert!(read["comment-url"].ends_with("#issuecomment-1"));
}

#[test]
fn delimiters_differ_between_values_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("output");
    publish::write_outputs(&path, &sample()).unwrap();
    publish::write_outputs(&path, &sample()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut delimiters: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("<<"))
        .map(|(_, delimiter)| delimiter)
        .collect();
    let count = delimiters.len();
    assert_eq!(count, 28);
    delimiters.sort_unstable();
    delimiters.dedup();
    assert_eq!(delimiters.len(), count);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = publish::write_outputs(folder.path(), &sample()).unwrap_err();
    assert!(matches!(&error, PublishError::File { path, .. } if path == folder.path()));
}

#[test]
fn the_summary_is_appended_and_never_grows_past_a_mebibyte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("summary");
    fs::write(&path, "## earlier step").unwrap();
    publish::append_summary(&path, "## kitt").unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "## earlier step\n## kitt\n");
    let row = format!("| {} |\n", "é".repeat(50));
    publish::append_summary(&path, &row.repeat(20_000)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.len() <= 1024 * 1024 && text.len() > 1_000_000);
    assert!(text.starts_with("## earlier step\n## kitt\n| "));
    assert!(text.contains("Cut here"));
    let rows = text.lines().filter(|line| line.starts_with("| "));
    assert!(rows.into_iter().all(|line| format!("{line}\n") == row));
    publish::append_summary(&path, &row.repeat(20)).unwrap();
    assert!(fs::metadata(&path).unwrap().len() <= 1024 * 1024);
}

proptest! {
    #[test]
    fn any_value_comes_back_and_defines_nothing_else(first in hostile(), second in hostile()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output");
        let outputs = Outputs {
            verdict: first.clone(),
            results_path: second.clone(),
            comment_url: Some(first.clone()),
            baseline_ref: Some(second.clone()),
            ..sample()
        };
        publish::write_outputs(&path, &outputs).unwrap();
        let read = read_outputs(&fs::read_to_string(&path).unwrap()).unwrap();
        let known = OUTPUTS.iter().map(|output| output.name);
        prop_assert!(read.keys().all(|name| known.clone().any(|known| known == name)));
        prop_assert_eq!(&read["verdict"], &first);
        prop_assert_eq!(&read["results-path"], &second);
        prop_assert_eq!(&read["comment-url"], &first);
        prop_assert_eq!(&read["baseline-ref"], &second);
        prop_assert_eq!(&read["passed"], "true");
    }

    #[test]
    fn an_annotation_is_one_command_with_its_text(title in hostile(), text in hostile()) {
        // A legacy `##[` inside is data: the runner tries the new form first.
        // What hides or moves is shown as a replacement; line breaks are escaped and come back.
        let hides = |c: char| kitt_action::ids::is_hidden(c) && !"\r\n\t".contains(c);
        let plain = |text: &str| text.replace("##[", "").replace(hides, "\u{fffd}");
        let (title, text) = (plain(&title), plain(&text));
        let commands = read_commands(&printed(|out| command::warning(out, &title, &text)));
        let mut properties = BTreeMap::new();
        if !title.is_empty() {
            properties.insert("title".to_owned(), title);
        }
        let name = "warning".to_owned();
        prop_assert_eq!(commands, vec![Parsed { name, properties, data: text }]);
    }

    #[test]
    fn plain_text_never_is_a_command(text in hostile()) {
        let shown = printed(|out| command::text(out, &text));
        prop_assert_eq!(read_commands(&shown), vec![]);
        // Nothing is lost: only spaces are added.
        let words = |text: &str| text.replace(' ', "");
        prop_assert_eq!(words(&shown), words(&format!("{text}\n")));
    }

    #[test]
    fn a_mask_is_the_secret_itself(text in hostile()) {
        let Some(secret) = Secret::new(text.replace("##[", "")) else { return Ok(()) };
        let commands = read_commands(&printed(|out| command::mask(out, &secret)));
        prop_assert!(commands.iter().all(|command| command.name == "add-mask"));
        prop_assert_eq!(commands[0].data.as_str(), secret.expose());
    }
}
