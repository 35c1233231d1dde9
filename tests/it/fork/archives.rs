//! Archives that try to be more than data: refused with a reason, which the pull request and the
//! summary are told.

use std::io::{Cursor, Write};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{Stage, results, tree};
use crate::github::{Rule, What, zip as zipped};

fn metrics() -> String {
    results(50.0).to_string()
}

#[track_caller]
fn refused(stage: &Stage, says: &str) {
    let told = stage.publish(&[], 0);
    let comment = told.comment().replace(['\\', '\u{200d}'], "");
    assert!(comment.contains("the results were refused"), "{comment}");
    assert!(comment.contains(says), "{says} is not in {comment}");
    assert!(
        told.summary.replace(['\\', '\u{200d}'], "").contains(says),
        "{told:?}"
    );
    assert!(told.out.contains("::warning title=KITT::"), "{told:?}");
    assert_eq!(
        tree(&stage.path("out")),
        ["badge.json", "comment.md", "report.html"]
    );
    assert!(!stage.dir.path().parent().unwrap().join("pwned").exists());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../../pwned/metrics.json",
        "/tmp/pwned/metrics.json",
        "..\\pwned\\metrics.json",
        "C:\\pwned\\metrics.json",
    ] {
        let stage = Stage::with(&[("metrics.json", metrics().as_bytes()), (name, b"{}")]);
        refused(&stage, "is refused");
    }
}

#[test]
fn links_are_refused() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("metrics.json", SimpleFileOptions::default())
        .unwrap();
    writer.write_all(metrics().as_bytes()).unwrap();
    writer
        .add_symlink("config.json", "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    let stage = Stage::new();
    stage.artifact("kitt-results", &writer.finish().unwrap().into_inner());
    refused(&stage, "a symbolic link");
}

#[test]
fn bombs_are_refused() {
    let mut bomb = metrics();
    bomb.push_str(&" ".repeat(15 << 20));
    refused(
        &Stage::with(&[("metrics.json", bomb.as_bytes())]),
        "more than 200 times its packed size",
    );
}

#[test]
fn sixty_five_megabytes_of_json_are_refused() {
    let mut large = metrics();
    large.push_str(&" ".repeat(65 << 20));
    refused(
        &Stage::with(&[("metrics.json", large.as_bytes())]),
        "metrics.json is 68158",
    );
    // The same without packing: the artifact itself is too large and is not fetched.
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    writer.start_file("metrics.json", stored).unwrap();
    writer.write_all(large.as_bytes()).unwrap();
    let stage = Stage::new();
    stage.artifact("kitt-results", &writer.finish().unwrap().into_inner());
    refused(&stage, "at most 67108864 are fetched");
    assert_eq!(stage.asked("/zip"), 0);
}

#[test]
fn what_is_no_archive_is_refused() {
    for (bytes, says) in [
        (
            &b"<html>not found</html>"[..],
            "neither a zip archive nor a JSON",
        ),
        (b"PK\x03\x04 and no more", "no zip archive"),
        (b"", "neither a zip archive nor a JSON"),
    ] {
        let stage = Stage::new();
        stage.artifact("kitt-results", bytes);
        refused(&stage, says);
    }
    refused(&Stage::with(&[("other.json", b"{}")]), "no metrics.json");
    // A bare document is what `archive: false` uploads.
    let bare = Stage::new();
    bare.artifact("kitt-results", metrics().as_bytes());
    assert!(bare.publish(&[], 0).comment().contains("Regressed"));
}

#[test]
fn bytes_that_are_not_those_stored_are_refused() {
    let stage = Stage::measured(50.0);
    stage
        .gh
        .state(|s| s.artifacts[0].digest = Some(format!("sha256:{}", "0".repeat(64))));
    refused(&stage, "cut or changed on the way");
}

#[test]
fn what_github_keeps_no_longer_is_said() {
    let stage = Stage::measured(50.0);
    stage.gh.state(|s| s.artifacts[0].expired = true);
    refused(&stage, "keeps the artifact no longer");
    // It goes between the list and the download.
    let late = Stage::measured(50.0);
    late.gh
        .state(|s| s.faults.push(Rule::on("GET", "/zip", What::Status(410))));
    refused(&late, "keeps it no longer");
}

#[test]
fn an_artifact_of_another_run_or_commit_is_none_of_this_run() {
    let stage = Stage::new();
    stage.gh.state(|s| {
        let other = s.run("pull_request", "pull-7", &"d".repeat(40)).id;
        let bytes = zipped(&[("metrics.json", metrics().as_bytes())]);
        s.artifact(other, "kitt-results", &bytes);
    });
    assert!(stage.publish(&[], 0).comment().contains("left no results"));
}
