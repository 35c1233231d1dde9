//! A run that is killed, at any moment.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use kitt_action::{
    results::{ResultsWriter, RunStatus},
    store,
};

use super::{
    json, load,
    support::{header, measurement, record, scenario, write},
};

#[test]
fn a_writer_dropped_at_any_stage_leaves_whole_files() {
    let measured = measurement(3);
    for stage in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
        for run in 1..=stage {
            write(&mut writer, run, &scenario("latency"), &measured);
        }
        // As SIGKILL does: no destructor runs.
        std::mem::forget(writer);
        let set = store::load(dir.path()).unwrap();
        assert_eq!(set.status, RunStatus::Running);
        assert_eq!(set.runs.len(), stage as usize);
        for run in &set.runs {
            assert_eq!(run.scenarios["latency"], record(&measured));
        }
        for name in ["hardware.json", "config.json"] {
            assert!(json(&dir.path().join(name)).is_object());
        }
    }
}

#[test]
fn traces_cut_at_any_byte_give_their_whole_scenarios() {
    let dir = tempfile::tempdir().unwrap();
    let measured = measurement(3);
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    for run in 1..=3 {
        write(&mut writer, run, &scenario("latency"), &measured);
    }
    let path = writer.finish(RunStatus::Complete, 1.0).unwrap();
    let traces = dir.path().join("requests.jsonl.zst");
    let whole = fs::read(&traces).unwrap();
    let mut most = 0;
    for length in 0..=whole.len() {
        fs::write(&traces, &whole[..length]).unwrap();
        let set = load(&path);
        let records = set.runs.iter().map(|run| &run.scenarios["latency"]);
        let with_traces = records
            .clone()
            .filter(|r| !r.per_request.is_empty())
            .count();
        assert!(with_traces >= most, "more bytes gave fewer scenarios");
        most = with_traces;
        for found in records.filter(|r| !r.per_request.is_empty()) {
            assert_eq!(found.per_request, measured.per_request);
        }
    }
    assert_eq!(most, 3);
    fs::remove_file(&traces).unwrap();
    assert!(
        load(&path).runs[0].scenarios["latency"]
            .per_request
            .is_empty()
    );
}

/// The child of the test below: writes in its working directory until it is killed.
#[test]
#[ignore = "runs only as the child of `a_killed_process_leaves_whole_files`"]
fn write_until_killed() {
    if !Path::new("write-here").exists() {
        return;
    }
    let mut writer = ResultsWriter::create(Path::new("."), header()).unwrap();
    for run in 1..10_000 {
        write(&mut writer, run, &scenario("latency"), &measurement(20));
    }
}

#[test]
fn a_killed_process_leaves_whole_files() {
    for wanted in [1, 3, 8] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("write-here"), "").unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--ignored",
                "--exact",
                "results::killed::write_until_killed",
            ])
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let metrics = dir.path().join("metrics.json");
        let deadline = Instant::now() + Duration::from_mins(1);
        // Read as fast as it is written: no reader may ever see a half.
        while !metrics.exists() || load(&metrics).runs.len() < wanted {
            assert!(Instant::now() < deadline, "the child wrote too little");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let set = load(&metrics);
        assert_eq!(set.status, RunStatus::Running);
        let per_request = measurement(20).per_request;
        for run in &set.runs {
            assert_eq!(run.scenarios["latency"].per_request, per_request);
        }
    }
}
