//! README's tables are what the binary says.
//!
//! `KITT_UPDATE_README=1 cargo test readme` writes them anew.

use std::{path::Path, time::Duration};

use kitt_action::sim::paced::{self, PacedSpec};

use super::harness::kitt;

fn facts(args: &[&str]) -> String {
    let output = kitt().args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn settings() -> String {
    let settings: Vec<serde_json::Value> =
        serde_json::from_str(&facts(&["about", "settings"])).unwrap();
    let row = |setting: &serde_json::Value| {
        let text = |key: &str| setting[key].as_str().unwrap_or_default().to_owned();
        let default = match setting["default"].as_str() {
            Some(default) => format!("`{default}`"),
            None => String::new(),
        };
        format!(
            "| `{}` | {default} | {} |",
            text("name"),
            text("help").replace('|', "\\|")
        )
    };
    let rows: Vec<String> = settings.iter().map(row).collect();
    format!(
        "| name | default | meaning |\n|---|---|---|\n{}",
        rows.join("\n")
    )
}

fn engines() -> String {
    let engines: Vec<serde_json::Value> =
        serde_json::from_str(&facts(&["engines", "list", "--json"])).unwrap();
    let row = |engine: &serde_json::Value| {
        let words = |key: &str| {
            let words = engine[key].as_array().unwrap().iter();
            let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
            words.join(", ")
        };
        let images = engine["images"].as_object().unwrap();
        // One image may serve two kinds of devices.
        let mut names: Vec<String> = Vec::new();
        for image in images.values() {
            let name = format!("`{}`", image.as_str().unwrap());
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let [name, summary] = ["name", "summary"].map(|key| engine[key].as_str().unwrap());
        format!(
            "| `{name}` | {summary} | {} | {} | {} |",
            words("modes"),
            words("formats"),
            names.join("<br>")
        )
    };
    let rows: Vec<String> = engines.iter().map(row).collect();
    format!(
        "| name | what it is | modes | models | default images |\n|---|---|---|---|---|\n{}",
        rows.join("\n")
    )
}

pub fn with_section(text: &str, name: &str, body: &str) -> String {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&open).unwrap();
    let (_, after) = rest.split_once(&close).unwrap();
    format!("{before}{open}\n{}\n{close}{after}", body.trim_end())
}

#[test]
fn readme_tables_are_what_the_binary_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut wanted = with_section(&text, "settings", &settings());
    wanted = with_section(&wanted, "engines", &engines());
    wanted = with_section(&wanted, "exit-codes", &facts(&["about", "exit-codes"]));
    if std::env::var_os("KITT_UPDATE_README").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, wanted, "run `KITT_UPDATE_README=1 cargo test readme`");
}

#[test]
fn readme_names_only_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    for (at, _) in text.match_indices("](") {
        let target = text[at + 2..].split(')').next().unwrap();
        if !target.starts_with("http") {
            assert!(root.join(target).exists(), "README links to {target}");
        }
    }
    for script in ["scripts/demo.sh", "scripts/test.sh"] {
        assert!(
            text.contains(script) && root.join(script).exists(),
            "{script}"
        );
    }
}

#[test]
fn readme_workflow_uses_inputs_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("README.md")).unwrap();
    let action = std::fs::read_to_string(root.join("action.yml")).unwrap();
    let with = text
        .lines()
        .find(|line| line.trim_start().starts_with("with: {"))
        .unwrap();
    let body = with
        .split_once('{')
        .unwrap()
        .1
        .trim_end_matches('}')
        .trim_end();
    for pair in body.trim_end_matches('}').split(',') {
        let name = pair.split_once(':').unwrap().0.trim();
        assert!(
            action.contains(&format!("\n  {name}:\n")),
            "action.yml has no input {name}"
        );
    }
}

/// The `kitt run` lines of a document, each with a running server in the place of its own and
/// little to do.
fn run_lines(text: &str, url: &str, results: &Path) -> Vec<Vec<String>> {
    let lines = text.lines().filter(|line| line.starts_with("kitt run "));
    let words = |line: &str| {
        let line = line
            .replace("http://127.0.0.1:8000", url)
            .replace("-m my-model", "-m paced")
            .replace("--duration 2m", "--duration 2s")
            .replace("--requests 500", "--requests 130")
            .replace(" -o results", "");
        let mut words: Vec<String> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        words.extend(["-o".to_owned(), results.display().to_string()]);
        words
    };
    lines.map(words).collect()
}

#[test]
fn the_commands_that_measure_by_hand_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let server = paced::start(PacedSpec {
        ttft: Duration::from_millis(20),
        itl: Duration::from_millis(2),
        ..PacedSpec::default()
    })
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for document in ["README.md", "docs/measuring.md"] {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        for words in run_lines(&text, &server.url(), dir.path()) {
            let output = kitt().args(&words).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            // A busy machine may make it invalid; it was measured all the same.
            let code = output.status.code();
            assert!(
                matches!(code, Some(0 | 21)),
                "{words:?}: {code:?}\n{stderr}"
            );
            let metrics = std::fs::read(dir.path().join("metrics.json")).unwrap();
            let metrics: serde_json::Value = serde_json::from_slice(&metrics).unwrap();
            let measured = &metrics["measurements"][0];
            assert_eq!(metrics["status"], "complete");
            assert!(measured["metrics"]["ttft_ms.p50"]["value"].is_number());
            assert_eq!(measured["ok"], measured["sent"]);
            commands += 1;
        }
    }
    server.stop().unwrap();
    assert_eq!(commands, 3);
}
