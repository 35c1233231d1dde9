//! What the writer writes, and that the reader gives it back.

use std::fs;

use kitt_action::results::{self, Limits, Origin, ResultsWriter, RunStatus};

use super::{
    json, load,
    support::{gpu_trace, header, host, measurement, record, report, scenario, write},
};

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let plan = [scenario("throughput"), scenario("batch_inference/c8")];
    let measured = measurement(4);
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    for run in [1, 2] {
        for scenario in &plan {
            write(&mut writer, run, scenario, &measured);
        }
    }
    let path = writer.finish(RunStatus::Complete, 12.5).unwrap();
    let set = load(&path);
    assert_eq!((set.origin, set.status), (Origin::Own, RunStatus::Complete));
    assert_eq!(set.total_time_s, Some(12.5));
    assert_eq!(set.runs.len(), 2);
    assert_eq!(set.provenance.kitt_version.as_deref(), Some("0.1.0"));
    let print = set.fingerprint.as_ref().unwrap();
    assert_eq!(print.strict, header().fingerprint.strict);
    assert_eq!(print.soft["client.version"], "0.1.0");
    for run in &set.runs {
        for scenario in &plan {
            assert_eq!(run.scenarios[scenario.id.as_str()], record(&measured));
        }
    }
}

#[test]
fn kitts_readers_find_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    for (name, level) in [("batch_inference/c1", 1), ("batch_inference/c8", 8)] {
        let scenario = scenario(name);
        let measured = measurement(2);
        let mut report = report(1, &scenario, &measured);
        report.kitt = serde_json::json!({
            "optimal_concurrency": level, format!("throughput_at_{level}"): 100.0 * f64::from(level)
        })
        .as_object()
        .unwrap()
        .clone();
        writer.scenario(report).unwrap();
    }
    let running = json(&dir.path().join("metrics.json"));
    assert_eq!(
        running["passed"], false,
        "a run that goes on has not passed"
    );
    let path = writer.finish(RunStatus::Complete, 3.0).unwrap();
    let written = json(&path);
    assert_eq!(written["passed"], true);
    assert_eq!(written["total_benchmarks"], 1);
    let result = &written["results"][0];
    assert_eq!(result["test_name"], "batch_inference");
    assert_eq!(result["metrics"]["throughput_at_1"], 100.0);
    assert_eq!(result["metrics"]["throughput_at_8"], 800.0);
    assert_eq!(result["metrics"]["optimal_concurrency"], 8);
    assert_eq!(result["warmup_times"].as_array().unwrap().len(), 4);
    assert_eq!(
        written["system_info"],
        json(&dir.path().join("hardware.json"))
    );
    let value = &written["measurements"][0]["metrics"]["ttft_ms.p50"];
    assert_eq!(value["unit"], "ms");
    assert_eq!(value["better"], "lower");
    assert_eq!(value["samples"], 2);
    for key in [
        "model",
        "engine",
        "suite",
        "skip_warmup",
        "runs_override",
        "timestamp",
    ] {
        assert!(
            json(&dir.path().join("config.json")).get(key).is_some(),
            "{key}"
        );
    }
    let summary = fs::read_to_string(dir.path().join("summary.md")).unwrap();
    assert!(
        summary.contains("| batch\\_inference | 1 | PASS |"),
        "{summary}"
    );
    assert!(summary.contains("**Status:** PASSED (1/1)"), "{summary}");
}

#[test]
fn every_request_has_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    write(&mut writer, 3, &scenario("latency"), &measurement(2));
    let packed = fs::read(dir.path().join("requests.jsonl.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let wanted = serde_json::json!({
        "run": 3, "scenario": "latency", "index": 1, "outcome": "ok",
        "scheduled_ns": 200_000_000, "sent_ns": 200_000_000, "finished_ns": 300_000_000,
        "stamps": "user",
        "chunk_kinds": "orcC", "chunk_delta_ns": [9_000_000, 1_000_000, 3_000_000, 0],
        "usage": {"prompt_tokens": 61, "completion_tokens": 32},
        "finish_reason": "length",
        "ttft_ms": 10.0 + 1.0 / 3.0, "tpot_ms": 3.0 + 1.0 / 3.0,
        "itl_mean_ms": 3.1 + 1.0 / 3.0, "e2e_ms": 100.0 + 1.0 / 3.0,
    });
    assert_eq!(lines[1], wanted);
}

#[test]
fn a_failed_scenario_fails_its_test_and_gives_no_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    write(
        &mut writer,
        1,
        &scenario("batch_inference/c1"),
        &measurement(2),
    );
    let broken = scenario("batch_inference/c8");
    writer
        .fail(1, &broken, "the engine died\n::error::x")
        .unwrap();
    let mut silent = measurement(2);
    silent.ok = 0;
    write(&mut writer, 1, &scenario("latency"), &silent);
    let path = writer.finish(RunStatus::Failed, 1.0).unwrap();
    let written = json(&path);
    assert_eq!(written["passed"], false);
    assert_eq!(
        (&written["passed_count"], &written["failed_count"]),
        (&0.into(), &2.into())
    );
    let set = load(&path);
    let scenarios = &set.runs[0].scenarios;
    assert!(scenarios["batch_inference/c1"].passed);
    assert!(!scenarios["batch_inference/c8"].passed);
    assert!(scenarios["latency"].metrics.is_empty());
    assert!(scenarios["latency"].per_request.is_empty());
    assert_eq!(scenarios["latency"].errors, ["no request ended well"]);
}

#[test]
fn what_becomes_known_later_reaches_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    let before = load(&writer.metrics_path()).fingerprint.unwrap();
    let mut provenance = header().provenance;
    provenance.image_digest = Some("sha256:abc".into());
    provenance.engine_args = vec!["--ctx".into(), "4096".into()];
    writer.provenance(provenance.clone()).unwrap();
    let after = load(&writer.metrics_path());
    let print = after.fingerprint.unwrap();
    assert_eq!(print.digest(), before.digest());
    assert_eq!(print.soft["engine.digest"], "sha256:abc");
    assert_eq!(after.provenance.image_digest, provenance.image_digest);
    let config = json(&dir.path().join("config.json"));
    assert_eq!(config["image_digest"], "sha256:abc");
    assert_eq!(config["effective"]["seed"], 7);
}

#[test]
fn nothing_private_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    writer.telemetry(1, &gpu_trace()).unwrap();
    writer.finish(RunStatus::Complete, 1.0).unwrap();
    let uuid = &host().gpus[0].uuid;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|end| end == "zst") {
            bytes = zstd::decode_all(bytes.as_slice()).unwrap();
            let lines = String::from_utf8_lossy(&bytes).lines().count();
            assert_eq!(lines, 3, "one line that begins and two samples");
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains(uuid), "{}", path.display());
    }
}

#[test]
fn an_old_run_in_the_same_place_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    write(&mut writer, 1, &scenario("latency"), &measurement(8));
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    assert!(load(&writer.metrics_path()).runs.is_empty());
    let short = measurement(1);
    write(&mut writer, 1, &scenario("latency"), &short);
    let set = load(&writer.metrics_path());
    assert_eq!(set.runs[0].scenarios["latency"], record(&short));
}

#[cfg(unix)]
#[test]
fn a_planted_link_is_not_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    for name in ["metrics.json", "requests.jsonl.zst", "summary.md"] {
        std::os::unix::fs::symlink(&victim, dir.path().join(name)).unwrap();
    }
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    write(&mut writer, 1, &scenario("latency"), &measurement(1));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = ResultsWriter::create(&file.path().join("x"), header()).unwrap_err();
    assert!(error.to_string().starts_with("cannot create "), "{error}");
}

#[test]
fn numbers_that_are_none_are_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut measured = measurement(1);
    measured.metrics.insert("tpot_ms.p50".into(), f64::NAN);
    measured.output_tokens_mean = Some(f64::INFINITY);
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    write(&mut writer, 1, &scenario("latency"), &measured);
    let path = writer.finish(RunStatus::Complete, f64::NAN).unwrap();
    let set = load(&path);
    let record = &set.runs[0].scenarios["latency"];
    assert!(!record.metrics.contains_key("tpot_ms.p50"));
    assert_eq!((record.output_tokens_mean, set.total_time_s), (None, None));
    let notes = json(&path)["measurements"][0]["notes"].to_string();
    assert!(
        notes.contains("tpot_ms.p50 was not a finite number"),
        "{notes}"
    );
    assert_eq!(
        results::timestamp(&path, &Limits::default()).unwrap(),
        set.timestamp
    );
}
