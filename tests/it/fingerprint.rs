//! `kitt fingerprint` on this machine, and the document made of its keys.

use std::{collections::BTreeSet, path::Path};

use kitt_action::results::{KEYS, SCHEMA};
use serde_json::Value;

use super::{harness::kitt, readme::with_section};

fn json(args: &[&str]) -> Value {
    let output = kitt()
        .args(["fingerprint", "--json"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_json_form_has_every_promised_key_and_repeats_itself() {
    let first = json(&["--no-host-ids"]);
    let keys: BTreeSet<&str> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let expected = [
        "digest",
        "hw_key",
        "ids",
        "label",
        "schema_version",
        "soft",
        "strict",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!(first["schema_version"], SCHEMA);
    assert_eq!(first["hw_key"].as_str().unwrap().len(), 64);
    assert!(first["strict"]["gpu.count"].is_string());
    assert!(first["ids"].is_null());
    assert_eq!(first, json(&["--no-host-ids"]));
}

#[test]
fn nothing_of_the_host_or_its_user_is_told() {
    let text = json(&[]).to_string();
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    for secret in [name.trim(), machine.trim(), "/home/", "/root/", "GPU-"] {
        // A host called `docker` would be found in the version.
        if secret.len() > 8 || secret.starts_with('/') || secret == "GPU-" {
            assert!(!text.contains(secret), "{secret} is told");
        }
    }
}

#[test]
fn people_get_a_label_a_key_and_a_table() {
    let output = kitt()
        .arg("fingerprint")
        .env("KITT_RUNNER_LABELS", "gpu, h100")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    let label = lines.next().unwrap();
    assert!(
        label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        "{label}"
    );
    assert!(lines.next().unwrap().starts_with("hardware "));
    assert!(text.contains("gpu.count"));
    assert!(
        text.lines()
            .any(|line| line.starts_with("runner.labels") && line.ends_with("gpu,h100"))
    );
}

#[test]
fn a_key_that_cannot_be_had_is_a_usage_error() {
    for place in ["env:NOT_SET", "file:/nonexistent/key", "somewhere"] {
        let output = kitt()
            .args(["fingerprint", "--salt-from", place])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{place}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("salt-from"), "{stderr}");
    }
    let short = kitt()
        .args(["fingerprint", "--salt-from", "env:KEY"])
        .env("KEY", "hunter2")
        .output()
        .unwrap();
    assert_eq!(short.status.code(), Some(2));
    assert!(!String::from_utf8(short.stderr).unwrap().contains("hunter2"));
}

fn table() -> String {
    let row = |key: &kitt_action::results::Key| {
        let hardware = if key.hardware { "yes" } else { "" };
        format!(
            "| `{}` | {} | {hardware} | {} | {} |",
            key.name,
            key.part.name(),
            key.since,
            key.meaning
        )
    };
    let rows: Vec<String> = KEYS.iter().map(row).collect();
    format!(
        "| key | part | hardware | since | what it holds |\n|---|---|---|--:|---|\n{}",
        rows.join("\n")
    )
}

#[test]
fn the_document_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fingerprint.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let wanted = with_section(&text, "keys", &table());
    #[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
    if std::env::var_os("KITT_UPDATE_README").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        text, wanted,
        "run `KITT_UPDATE_README=1 cargo test fingerprint`"
    );
    let names: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(names.len(), KEYS.len(), "a key is listed twice");
}
