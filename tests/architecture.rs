//! Holds the shape of the code: data flows one way, files stay small, every file says its duty.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a panic is a failing test"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every stage may use these.
const LEAVES: [&str; 7] = [
    "units",
    "endpoint",
    "histogram",
    "ids",
    "limits",
    "metric",
    "secret",
];

/// The flow. A stage may use itself, the leaves and what stands before it.
const FLOW: [&str; 21] = [
    "exit",
    "engine",
    "cli",
    "context",
    "plan",
    "workload",
    "sim",
    "serve",
    "load",
    "telemetry",
    "measure",
    "results",
    "github",
    "store",
    "compare",
    "verdict",
    "render",
    "publish",
    "error",
    "app",
    "main",
];

fn sources() -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    found.sort();
    found
}

/// The stage a file belongs to: its folder, or its own name at the top.
fn stage(path: &Path) -> String {
    let below = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The first segment of every `crate::` path, `crate::{a::b, c}` included, comments left out.
fn uses(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "kitt_action::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            let Some(group) = rest.strip_prefix('{') else {
                found.insert(word(rest));
                continue;
            };
            let mut depth = 0;
            let mut start = 0;
            for (index, letter) in group.char_indices() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => {
                        found.insert(word(&group[start..index]));
                        break;
                    }
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        found.insert(word(&group[start..index]));
                        start = index + 1;
                    }
                    _ => {}
                }
            }
        }
    }
    found.remove("");
    found
}

/// What a file of `stage` uses although it stands later.
fn backward(stage: &str, uses: &BTreeSet<String>) -> Vec<String> {
    let position = |name: &str| FLOW.iter().position(|known| *known == name);
    let Some(own) = position(stage) else {
        // A leaf uses leaves only; `lib` uses nothing.
        return uses
            .iter()
            .filter(|name| !LEAVES.contains(&name.as_str()))
            .cloned()
            .collect();
    };
    let allowed = |name: &str| LEAVES.contains(&name) || position(name).is_some_and(|at| at <= own);
    uses.iter().filter(|name| !allowed(name)).cloned().collect()
}

#[test]
fn data_flows_one_way() {
    let mut wrong = Vec::new();
    for path in sources() {
        let found = backward(&stage(&path), &uses(&fs::read_to_string(&path).unwrap()));
        if !found.is_empty() {
            wrong.push(format!("{} uses {}", path.display(), found.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_backward_use_is_seen() {
    let text = "use crate::{\n    ids::{A, B},\n    publish::GitHub,\n};\nfn f() { crate::render::x() }\n// crate::app";
    assert_eq!(backward("measure", &uses(text)), ["publish", "render"]);
    assert_eq!(
        backward("units", &uses("use crate::engine::X;")),
        ["engine"]
    );
    assert!(backward("render", &uses("use crate::compare::Change;")).is_empty());
}

#[test]
fn every_stage_stands_in_the_flow_and_the_library() {
    let library =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for path in sources() {
        let stage = stage(&path);
        let known = FLOW.contains(&stage.as_str()) || LEAVES.contains(&stage.as_str());
        assert!(known || stage == "lib", "{stage} has no place in the flow");
        let listed = library.contains(&format!("pub mod {stage};"));
        assert!(
            listed || ["lib", "main"].contains(&stage.as_str()),
            "{stage} is not in lib.rs"
        );
    }
}

#[test]
fn files_are_small_and_say_their_duty() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", path.display());
        assert!(
            text.starts_with("//!"),
            "{} does not begin with its duty",
            path.display()
        );
    }
    let main =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs")).unwrap();
    assert!(
        main.lines().count() < 40,
        "main.rs parses, calls app and exits"
    );
}
