//! What is written down about the requests is what the binary says.
//!
//! `KITT_UPDATE_README=1 cargo test documented` writes it anew.

use std::{fs, path::Path};

use crate::{harness::kitt, readme::with_section};

fn about(args: &[&str]) -> String {
    let output = kitt().arg("about").args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Holds a file equal to what it should be, or writes it.
fn held(name: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("KITT_UPDATE_README").is_some() {
        fs::write(&path, wanted).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        written, wanted,
        "{name} is out of date: KITT_UPDATE_README=1"
    );
}

#[test]
fn the_page_about_permissions_has_the_tables_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/permissions.md");
    let mut text = fs::read_to_string(path).unwrap();
    for (name, args) in [
        ("features", "permissions"),
        ("operations", "operations"),
        ("missing", "missing-on-server"),
    ] {
        text = with_section(&text, name, &about(&[args]));
    }
    held("docs/permissions.md", &text);
}

#[test]
fn the_list_that_the_description_is_cut_to_is_that_of_the_code() {
    let routes = about(&["operations", "--routes"]);
    let wanted = format!(
        "# `kitt about operations --routes`\n{}\n",
        routes.trim_end()
    );
    held("scripts/github-operations.txt", &wanted);
}

#[test]
fn operations_are_machine_readable() {
    let all: serde_json::Value = serde_json::from_str(&about(&["operations", "--json"])).unwrap();
    let comment = all.as_array().unwrap().iter().find(|operation| {
        operation["method"] == "POST"
            && operation["route"] == "/repos/{owner}/{repo}/issues/{issue_number}/comments"
    });
    let access = &comment.unwrap()["access"];
    assert_eq!(access["permission"], "pull-requests");
    assert_eq!(access["level"], "write");
}
