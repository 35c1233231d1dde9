//! Choosing among many results.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kitt_action::{results::ResultsWriter, store};

use super::{load, refused, support::header};

fn put(dir: &Path, place: &str, timestamp: &str) -> PathBuf {
    let dir = dir.join(place);
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("metrics.json");
    fs::write(
        &path,
        format!(r#"{{"results": [], "timestamp": {timestamp}}}"#),
    )
    .unwrap();
    path
}

#[test]
fn the_newest_by_its_own_time_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = put(
        dir.path(),
        "z/vllm/2026-01-01_000000",
        r#""2026-01-01T00:00:00.5""#,
    );
    let newest = put(dir.path(), "a/vllm/2025", r#""2026-03-01T00:30:00+00:00""#);
    put(dir.path(), "b", r#""2026-03-01T01:00:00+01:00""#);
    put(dir.path(), "zz", "null");
    put(dir.path(), "zzz", r#""yesterday""#);
    fs::write(put(dir.path(), "zzzz", "null"), "{ truncated").unwrap();
    assert_eq!(store::find(dir.path()).unwrap(), newest);
    assert_eq!(store::find(&file).unwrap(), file);
}

#[test]
fn equal_times_go_by_path_as_in_kitt() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", r#""2026-01-01T00:00:00""#);
    let last = put(dir.path(), "b", r#""2026-01-01T00:00:00""#);
    assert_eq!(store::find(dir.path()).unwrap(), last);
}

#[test]
fn nothing_there_is_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(
        store::find(&missing),
        Err(store::StoreError::Missing { .. })
    ));
    fs::create_dir_all(dir.path().join("outputs")).unwrap();
    assert!(matches!(
        store::find(dir.path()),
        Err(store::StoreError::Empty { .. })
    ));
    for number in 0..10_001 {
        fs::write(dir.path().join(format!("{number}")), "").unwrap();
    }
    assert!(matches!(
        store::find(dir.path()),
        Err(store::StoreError::TooMany { .. })
    ));
}

#[cfg(unix)]
#[test]
fn links_and_pipes_in_an_artifact_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let secret = put(outside.path(), "x", r#""2030-01-01T00:00:00""#);
    std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink(&secret, dir.path().join("metrics.json")).unwrap();
    assert!(matches!(
        store::find(dir.path()),
        Err(store::StoreError::Empty { .. })
    ));
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(refused(&pipe).starts_with("cannot read "));
    // A link beside real results must not be unpacked either.
    let own = tempfile::tempdir().unwrap();
    let writer = ResultsWriter::create(own.path(), header()).unwrap();
    std::os::unix::fs::symlink("/dev/zero", own.path().join("requests.jsonl.zst")).unwrap();
    assert!(load(&writer.metrics_path()).runs.is_empty());
}
