//! The program itself, as a step of GitHub Actions sees it: standard output, standard error, files
//! and comment, with texts in results, names, branches, policy and an engine's log.

use std::{fs, path::Path};

use serde_json::json;

use super::{
    corpus,
    documents::{Words, document, harmless},
    readers::{commands, difference, html_shape, markdown_shape, references, unseen},
};
use crate::{
    fork::{Stage, Told},
    harness::kitt,
    publish::step_files::read_outputs,
};

/// Texts in one run of the program.
const TOGETHER: usize = 40;

fn texts() -> Vec<&'static str> {
    corpus().iter().map(|one| one.text.as_str()).collect()
}

/// Commands that the program itself means to give.
fn expected(line: &str) -> bool {
    ["error", "warning", "notice"]
        .iter()
        .any(|level| line.starts_with(&format!("::{level} title=KITT")))
        || line.starts_with("::add-mask::ghs_stage_two")
}

/// Asserts that what was printed commands nothing and moves nothing on a terminal.
#[track_caller]
fn harmless_print(printed: &str, from: &str) {
    let foreign: Vec<String> = commands(printed)
        .into_iter()
        .filter(|line| !expected(line))
        .collect();
    assert_eq!(foreign, Vec::<String>::new(), "{from}");
    assert_eq!(unseen(printed), Vec::<char>::new(), "{from}: {printed}");
}

#[track_caller]
fn same_structure(plain: &str, hostile: &str, from: &str) {
    let mut found = difference(&markdown_shape(plain), &markdown_shape(hostile));
    found.extend(references(hostile).difference(&references(plain)).cloned());
    assert_eq!(found, Vec::<String>::new(), "{from}");
}

/// Publishes a run whose results, names and branch say these texts.
fn published(texts: &[&str]) -> (Told, String) {
    let mut current = document(Words::new(texts, 0), "2", 50.0, "H100");
    // The conditions are those of the baseline, or there would be no verdict.
    current["fingerprint"]["strict"] = json!({"gpu.name": "H100"});
    let mut base = document(Words::new(texts, 0), "", 100.0, "H100");
    base["fingerprint"]["strict"] = json!({"gpu.name": "H100"});
    let config =
        |end: &str| json!({"model": format!("{}{end}", texts[0]), "args": texts}).to_string();
    let stage = Stage::with(&[
        ("metrics.json", current.to_string().as_bytes()),
        ("config.json", config("2").as_bytes()),
    ]);
    stage.write("base/metrics.json", &base.to_string());
    stage.write("base/config.json", &config(""));
    stage.gh.state(|s| {
        let branch = texts[texts.len() / 2].to_owned();
        s.pull(7).head_ref.clone_from(&branch);
        texts[0].clone_into(&mut s.pull(7).title);
        s.pull(7).body = Some(texts.join("\n"));
        s.pull(7).labels = texts.iter().map(|&text| text.to_owned()).collect();
        s.runs[0].head_branch = Some(branch);
        texts[0].clone_into(&mut s.runs[0].name);
        s.runs[0].conclusion = Some(texts[texts.len() / 3].to_owned());
    });
    let told = stage.publish(&[], 0);
    let html = fs::read_to_string(stage.path("out/results-1/report.html")).unwrap();
    (told, html)
}

#[test]
fn what_a_fork_says_is_told_as_text() {
    let all = texts();
    let visible: Vec<&str> = all
        .into_iter()
        .filter(|text| {
            kitt_action::render::markdown(text)
                .chars()
                .any(char::is_alphanumeric)
        })
        .collect();
    for texts in visible.chunks(TOGETHER) {
        let from = format!("{:.300}", format!("{texts:?}"));
        let plain = harmless(texts.len());
        let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
        let (harmless, plain_html) = published(&plain);
        let (told, html) = published(texts);
        for (plain, hostile) in [
            (harmless.comment(), told.comment()),
            (harmless.summary.as_str(), told.summary.as_str()),
        ] {
            same_structure(plain, hostile, &from);
        }
        let found = difference(&html_shape(&plain_html), &html_shape(&html));
        assert_eq!(found, Vec::<String>::new(), "{from}");
        harmless_print(&told.out, &from);
        harmless_print(&told.log, &from);
        let names = |told: &Told| -> Vec<String> {
            read_outputs(&told.outputs)
                .unwrap()
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(names(&told), names(&harmless), "{from}");
        assert_eq!(told.output("verdict"), harmless.output("verdict"));
    }
}

/// Results are told on a terminal too, by commands that print and never post.
#[test]
fn the_terminal_shows_text() {
    for texts in texts().chunks(TOGETHER) {
        let dir = tempfile::tempdir().unwrap();
        let side = |name: &str, end: &str, speed: f64| {
            fs::create_dir(dir.path().join(name)).unwrap();
            let document = document(Words::new(texts, 0), end, speed, "H100");
            fs::write(
                dir.path().join(name).join("metrics.json"),
                document.to_string(),
            )
            .unwrap();
        };
        side("base", "", 100.0);
        side("current", "2", 50.0);
        for args in [
            &["compare", "base", "current"][..],
            &["gate", "current", "--baseline-dir", "base"],
            &[
                "ci",
                "report",
                "--results-dir",
                "current",
                "--baseline-dir",
                "base",
                "--output",
                "out.md",
            ],
            &["compare", "absent", "current"],
        ] {
            let output = kitt()
                .args(args)
                .current_dir(dir.path())
                .env("GITHUB_ACTIONS", "true")
                .output()
                .unwrap();
            let from = format!("{args:?} {texts:.100?}");
            harmless_print(&String::from_utf8_lossy(&output.stdout), &from);
            harmless_print(&String::from_utf8_lossy(&output.stderr), &from);
        }
    }
}

/// The config file and the settings of a run are text from a pull request as well.
#[test]
fn wrong_settings_are_told_as_text() {
    let names = [
        "KITT_INPUT_RUNS",
        "KITT_INPUT_MODEL",
        "KITT_INPUT_IMAGE",
        "KITT_INPUT_ENGINE",
    ];
    for (number, one) in corpus().iter().enumerate().step_by(5) {
        let text = one.text.replace('\0', "");
        let dir = tempfile::tempdir().unwrap();
        let name = names[number % names.len()];
        let output = run(dir.path(), &[(name, &text)]);
        let from = format!("{name}={text:.60?}");
        harmless_print(&output.0, &from);
        harmless_print(&output.1, &from);
        let key: String = text.chars().take(100).collect();
        let config = json!({key.clone(): 1, "policy": {"contexts": [{"name": key}]}});
        fs::create_dir_all(dir.path().join(".github")).unwrap();
        fs::write(dir.path().join(".github/kitt.yml"), config.to_string()).unwrap();
        let output = run(dir.path(), &[]);
        harmless_print(&output.0, &format!("{text:.60?}"));
        harmless_print(&output.1, &format!("{text:.60?}"));
    }
}

fn run(dir: &Path, variables: &[(&str, &str)]) -> (String, String) {
    let output = kitt()
        .args(["ci", "run", "-m", "m"])
        .current_dir(dir)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_OUTPUT", dir.join("output"))
        .env("GITHUB_STEP_SUMMARY", dir.join("summary"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let outputs = fs::read_to_string(dir.join("output")).unwrap_or_default();
    assert!(read_outputs(&outputs).is_some(), "{outputs}");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// An engine that dies with such words: its log is relayed, and its last lines are the reason.
#[cfg(unix)]
#[test]
fn an_engines_last_words_are_told_as_text() {
    for texts in texts().chunks(TOGETHER) {
        let dir = tempfile::tempdir().unwrap();
        let words: Vec<String> = texts
            .iter()
            .map(|text| text.chars().take(600).collect())
            .collect();
        fs::write(dir.path().join("words"), words.join("\n")).unwrap();
        let told = |file: &str| {
            let output = kitt()
                .args(["ci", "run", "-m", "m", "-e", "openai", "--mode", "native"])
                .args([
                    "--engine-command",
                    &format!("sh -c 'cat {file} >&2; exit 3'"),
                ])
                .current_dir(dir.path())
                .env("GITHUB_ACTIONS", "true")
                .env("RUNNER_DEBUG", "1")
                .env(
                    "GITHUB_STEP_SUMMARY",
                    dir.path().join(format!("summary-{file}")),
                )
                .output()
                .unwrap();
            let out = String::from_utf8_lossy(&output.stdout).into_owned();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            let summary = fs::read_to_string(dir.path().join(format!("summary-{file}")));
            (out, log, summary.unwrap_or_default())
        };
        let from = format!("{texts:.100?}");
        let (out, log, summary) = told("words");
        harmless_print(&out, &from);
        harmless_print(&log, &from);
        fs::write(dir.path().join("plain"), "plain word\n".repeat(words.len())).unwrap();
        let (_, _, plain) = told("plain");
        assert!(plain.contains("Could not measure"), "{plain}");
        same_structure(&plain, &summary, &from);
    }
}
