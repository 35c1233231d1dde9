//! Files that are no results, or hostile ones.

use std::{fs, path::PathBuf};

use kitt_action::results::{Limits, ResultsWriter, RunStatus, read};

use super::{
    load, refused,
    support::{header, measurement, scenario, write},
};
use crate::harness::fixture;

#[test]
fn each_kind_of_garbage_names_its_place() {
    for (name, words) in [
        ("truncated.json", "EOF while parsing"),
        (
            "nan.json",
            ":22:20: results[0].metrics.avg_tps: NaN is not a number JSON has",
        ),
        ("infinity.json", "-Infinity is not a number JSON has"),
        (
            "overflow.json",
            "results[0].metrics.avg_tps: number out of range",
        ),
        (
            "number-as-text.json",
            ":22:26: results[0].metrics.avg_tps: a number written as text",
        ),
        (
            "negative.json",
            "results[0].metrics.avg_tps: -100.1 is negative",
        ),
        (
            "wrong-type.json",
            "results[0].run_number: invalid type: sequence, expected u32",
        ),
        ("no-results.json", "no results file"),
        ("array.json", "array.json:1:"),
        ("empty.json", "empty.json:1:0: .: EOF while parsing"),
        (
            "two-documents.json",
            "two-documents.json:2:1: .: trailing characters",
        ),
    ] {
        let message = refused(&fixture(&format!("hostile/{name}")));
        assert!(message.contains(words), "{name}: {message}");
        assert!(message.contains(name), "{message}");
    }
}

/// What is replaced in a good file, by what, and what the error says.
const DAMAGE: &[(&str, &str, &str)] = &[
    (
        r#""value": 12.25"#,
        r#""value": "12.25""#,
        "value: invalid type: string",
    ),
    (
        r#""value": 12.25"#,
        r#""value": -1"#,
        "ttft_ms.p50: -1 is negative",
    ),
    (
        r#""value": 12.25"#,
        r#""value": null"#,
        "value: invalid type: null",
    ),
    (
        r#""run": 1"#,
        r#""run": 0"#,
        "measurements[0].run: runs are counted from 1",
    ),
    (r#""run": 2"#, r#""run": 1"#, "is there twice"),
    (
        r#""scenario": "latency""#,
        r#""scenario": "a b""#,
        "measurements[0].scenario: `a b` is not",
    ),
    (
        r#""sent": 5"#,
        r#""sent": 3"#,
        "more requests ended well than were sent",
    ),
    (
        r#""sent": 5"#,
        r#""sent": -5"#,
        "sent: invalid value: integer `-5`, expected u64",
    ),
    (
        r#""status": "complete""#,
        r#""status": "done""#,
        "status: unknown variant `done`",
    ),
    (
        r#""validity": "valid""#,
        r#""validity": "fine""#,
        "validity: unknown variant `fine`",
    ),
    (
        r#""2026-01-15T10:30:00.123456+00:00""#,
        r#""now""#,
        "timestamp: it must be a time",
    ),
    (
        r#""measurements""#,
        r#""unknown""#,
        "missing field `measurements`",
    ),
];

#[test]
fn our_own_files_are_strict() {
    let good = fs::read_to_string(fixture("results/v1/complete/metrics.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    for (old, new, words) in DAMAGE {
        let bad = good.replacen(old, new, 1);
        assert_ne!(bad, good, "{old}");
        fs::write(&path, bad).unwrap();
        let message = refused(&path);
        assert!(message.contains(words), "{new}: {message}");
    }
}

#[test]
fn keys_from_the_future_are_ignored() {
    let good = fs::read_to_string(fixture("results/v1/complete/metrics.json")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    let extended = good.replacen(r#""status""#, r#""later": [{"x": 1}], "status""#, 1);
    fs::write(&path, extended).unwrap();
    assert_eq!(load(&path).runs.len(), 2);
}

#[test]
fn sizes_and_depths_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    let file = fs::File::create(&path).unwrap();
    file.set_len(60 << 20).unwrap();
    assert!(refused(&path).ends_with("is 62914560 bytes; at most 33554432 are read"));
    for deep in ["[".repeat(2_000_000), "{\"a\":".repeat(2_000_000)] {
        fs::write(&path, deep).unwrap();
        assert!(refused(&path).contains("more than 32 levels of nesting"));
    }
    fs::write(
        &path,
        format!("{{\"engine\": \"{}\"}}", "x".repeat(1 << 20)),
    )
    .unwrap();
    assert!(refused(&path).contains("a text longer than 262144 bytes"));
    fs::write(
        &path,
        format!("{{\"results\": [{}{{}}]}}", "{},".repeat(1 << 20)),
    )
    .unwrap();
    assert!(refused(&path).contains("more than 1000000 values"));
}

#[test]
fn a_small_file_cannot_cost_much_time_or_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    // The same nameless test again and again: each is a run of its own.
    let nameless = |count: usize| format!("{{\"results\": [{}{{}}]}}", "{},".repeat(count - 1));
    fs::write(&path, nameless(20_000)).unwrap();
    assert_eq!(load(&path).runs.len(), 20_000);
    fs::write(&path, nameless(20_001)).unwrap();
    assert!(refused(&path).contains("results: 20001 entries; at most 20000 are read"));
    // Long keys inside each other, with a million values below: terabytes of dotted names.
    let key = format!("{{\"{}\":", "k".repeat(200_000));
    let leaves: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
    let metrics = format!(
        "{}{{{}}}{}",
        key.repeat(20),
        leaves.join(","),
        "}".repeat(20)
    );
    fs::write(
        &path,
        format!("{{\"results\": [{{\"metrics\": {metrics}}}]}}"),
    )
    .unwrap();
    assert!(refused(&path).contains("a metric's name has 1 to 200 bytes"));
}

#[test]
fn hostile_texts_are_data() {
    let set = load(&fixture("hostile/strings.json"));
    assert!(set.suite.contains("::error::"));
    assert_eq!(set.runs[0].scenarios.len(), 2);
    let mut header = header();
    header.model = set.model.clone();
    header.suite = set.suite.clone();
    header.engine = set.engine.clone();
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header).unwrap();
    let name = "a|b\n::error::<script>\u{202e}";
    writer.fail(1, &scenario("latency"), name).unwrap();
    let path = writer.finish(RunStatus::Failed, 1.0).unwrap();
    assert_eq!(load(&path).model, set.model);
    let summary = fs::read_to_string(dir.path().join("summary.md")).unwrap();
    assert!(!summary.contains("<script>") && !summary.contains('\u{202e}'));
    assert!(
        !summary.lines().any(|line| line.starts_with("::")),
        "{summary}"
    );
    assert!(!summary.contains("](https://"), "{summary}");
}

fn with_traces(lines: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    write(&mut writer, 1, &scenario("latency"), &measurement(1));
    let path = writer.finish(RunStatus::Complete, 1.0).unwrap();
    let packed = zstd::encode_all(lines, 3).unwrap();
    fs::write(dir.path().join("requests.jsonl.zst"), packed).unwrap();
    (dir, path)
}

#[test]
fn hostile_traces_are_refused() {
    for (lines, words) in [
        (vec![b' '; 300 << 20], "requests.jsonl.zst:1:"),
        (b"{}\n".repeat(3), "requests.jsonl.zst:1:2: .: missing field `run`"),
        (
            b"{\"run\":1,\"scenario\":\"latency\",\"index\":4294967295,\"e2e_ms\":1}\n".to_vec(),
            "speaks of more than 1000000 requests",
        ),
        (
            b"{\"run\":1,\"scenario\":\"latency\",\"index\":0,\"e2e_ms\":1}\n{\"run\":1,\"scenario\":\"latency\",\"index\":1,\"e2e_ms\":-1}\n".to_vec(),
            "line 2, e2e_ms: a time cannot be negative",
        ),
    ] {
        let (_dir, path) = with_traces(&lines);
        let message = refused(&path);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_decompression_bomb_stops_at_the_limit() {
    let line = b"{\"run\":1,\"scenario\":\"latency\",\"index\":0}\n".repeat(1000);
    let (_dir, path) = with_traces(&line);
    let limits = Limits {
        unpacked_bytes: 4_000,
        ..Limits::default()
    };
    let error = read(&path, &limits).unwrap_err().to_string();
    assert!(
        error.contains("it unpacks to more than 4000 bytes"),
        "{error}"
    );
}

#[test]
fn traces_that_are_no_zstd_are_as_good_as_absent() {
    let (dir, path) = with_traces(b"");
    fs::write(dir.path().join("requests.jsonl.zst"), [0_u8; 64]).unwrap();
    assert!(
        load(&path).runs[0].scenarios["latency"]
            .per_request
            .is_empty()
    );
}
