//! Faults of the load's side, through the whole program: bad engines, full disks, a client that
//! is stopped, limits of the system. Each has its exit code and leaves results that parse.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use kitt_action::{
    load::Outcome,
    sim::paced::{self, PacedServer, PacedSpec},
    store,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    harness::kitt,
    scripted::{Server, Step, chunk, good, head, word},
    sim,
};

const SLOW: Duration = Duration::from_mins(1);

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn metrics(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("metrics.json")).unwrap()).unwrap()
}

/// Measures the simulator with these switches.
fn simulated(dir: &Path, extra: &str) -> Output {
    let quick = "--prefill-base-ms=1 --decode-base-ms=1 --decode-per-sequence-ms=0.1";
    kitt()
        .args([
            "run",
            "-m",
            "sim",
            "-e",
            "sim",
            "--input-tokens",
            "16",
            "--output-tokens",
            "16",
        ])
        .args(["--requests", "60", "--runs", "1", "--skip-warmup"])
        .args(["--engine-args", &format!("{quick} {extra}")])
        .arg("-o")
        .arg(dir)
        .output()
        .unwrap()
}

/// A server with known times, and the flags to measure it.
fn server() -> PacedServer {
    paced::start(PacedSpec {
        ttft: Duration::from_millis(5),
        itl: Duration::from_millis(1),
        ..PacedSpec::default()
    })
    .unwrap()
}

fn against<'a>(command: &'a mut Command, server: &PacedServer) -> &'a mut Command {
    command
        .args(["-e", "openai", "--endpoint", &server.url(), "-m", "paced"])
        .args([
            "--input-tokens",
            "16",
            "--output-tokens",
            "16",
            "--skip-warmup",
            "--runs",
            "1",
        ])
}

#[test]
fn an_engine_that_answers_500_makes_the_measurement_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let output = simulated(dir.path(), "--error-rate=0.3");
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    let metrics = metrics(dir.path());
    let measured = &metrics["measurements"][0];
    assert_eq!(measured["validity"], "server-errored");
    let failed = measured["outcomes"]["http_error"].as_u64().unwrap();
    let ok = measured["ok"].as_u64().unwrap();
    assert!(
        failed > 0 && ok + failed == measured["sent"].as_u64().unwrap(),
        "{measured:#}"
    );
}

#[test]
fn cut_streams_are_no_successes() {
    let dir = tempfile::tempdir().unwrap();
    let output = simulated(dir.path(), "--truncate-rate=0.3");
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    let metrics = metrics(dir.path());
    let measured = &metrics["measurements"][0];
    let cut = measured["outcomes"]["truncated"].as_u64().unwrap();
    assert!(cut > 0, "{measured:#}");
    // Tokens of cut streams are not in the samples of good ones.
    assert_eq!(measured["samples"]["e2e_ms"], measured["ok"]);
}

#[tokio::test]
async fn a_stream_that_trickles_ends_at_the_requests_own_limit() {
    let mut slow = vec![head()];
    for _ in 0..200 {
        slow.extend([
            Step::Send(chunk(": \n")),
            Step::Gap(Duration::from_millis(50)),
        ]);
    }
    slow.insert(1, Step::Send(chunk(&word("a"))));
    let mut server = Server::playing(vec![slow, good()]).await;
    server.target_mut().timeout = Duration::from_secs(1);
    let traces = server.drive(2, 1).await;
    assert_eq!(traces[0].outcome, Outcome::Timeout);
    // Bytes that keep coming do not put it off.
    let took = traces[0].finished_at.saturating_sub(traces[0].sent_at);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // Its slot is free again.
    assert_eq!(traces[1].outcome, Outcome::Ok);
}

/// A small disk of its own; unmounted when dropped. `None` where this user may not mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "kitt-test"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => skipped(&stderr(&output)),
            Err(error) => skipped(&error.to_string()),
        }
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn skipped<T>(why: &str) -> Option<T> {
    eprintln!("skipped: no small disk can be mounted here: {why}");
    None
}

#[test]
fn a_disk_without_room_is_told_before_anything_starts() {
    let Some(disk) = SmallDisk::new("2m") else {
        return;
    };
    let output = kitt()
        .args(["run", "-m", "sim", "-e", "sim", "-o"])
        .arg(disk.path().join("results"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(20), "{}", stderr(&output));
    assert!(stderr(&output).contains("make room"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0);
}

/// Waits for something, and fails where it does not come.
fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let limit = Instant::now() + SLOW;
    while !there() {
        assert!(Instant::now() < limit, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(mut child: Child) -> Output {
    let limit = Instant::now() + SLOW;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > limit {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

fn is_running(dir: &Path) -> bool {
    let text = fs::read_to_string(dir.join("metrics.json")).unwrap_or_default();
    text.contains("\"running\"")
}

#[test]
fn a_disk_that_fills_up_ends_the_run_and_the_summary_says_so() {
    let Some(disk) = SmallDisk::new("12m") else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let summary = elsewhere.path().join("summary.md");
    let outputs = elsewhere.path().join("outputs");
    for file in [&summary, &outputs] {
        fs::write(file, "").unwrap();
    }
    let (server, dir) = (server(), disk.path().join("results"));
    let child = against(
        kitt().args(["ci", "run", "--results-dir"]).arg(&dir),
        &server,
    )
    .args([
        "--concurrency",
        "4",
        "--duration",
        "3s",
        "--post-comment=false",
    ])
    .env("GITHUB_STEP_SUMMARY", &summary)
    .env("GITHUB_OUTPUT", &outputs)
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    wait_until("the run's beginning", || is_running(&dir));
    fill(&disk.path().join("ballast"));
    let output = ended(child);
    assert_eq!(output.status.code(), Some(20), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("No space left"),
        "{}",
        stderr(&output)
    );
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.contains("No space left"), "{summary}");
    assert!(fs::read_to_string(outputs).unwrap().contains("error"));
    // What was written until then is whole.
    store::load(&dir).unwrap();
    server.stop().unwrap();
}

/// Writes until there is no room.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Stopped for longer than any send may be late: as a machine that was suspended.
#[test]
fn a_client_that_stood_still_is_seen_by_itself() {
    let (server, dir) = (sim::start(sim::exact()), tempfile::tempdir().unwrap());
    let mut child = kitt()
        .args([
            "run",
            "-e",
            "openai",
            "--endpoint",
            server.url().as_str(),
            "-m",
            "sim",
        ])
        .args([
            "--input-tokens",
            "16",
            "--output-tokens",
            "16",
            "--skip-warmup",
            "--runs",
            "1",
        ])
        .args([
            "--request-rate",
            "50",
            "--arrivals",
            "constant",
            "--duration",
            "6s",
            "-o",
        ])
        .arg(dir.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // 50 a second: once ten are answered, the load is under way.
    wait_until("the load", || {
        let early = child.try_wait().unwrap();
        assert!(early.is_none(), "it ended with {early:?}");
        sim::metric(&server, "request_success_total") >= 10
    });
    kill(process, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    kill(process, Signal::SIGCONT).unwrap();
    let output = ended(child);
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    let metrics = metrics(dir.path());
    let measured = &metrics["measurements"][0];
    let validity = measured["validity"].as_str().unwrap();
    assert!(
        ["schedule-missed", "client-limited"].contains(&validity),
        "{validity}"
    );
    // The clock of the measurement did not jump: nobody was answered before the prefill's 2 ms.
    assert!(
        measured["metrics"]["ttft_ms.p50"]["value"]
            .as_f64()
            .unwrap()
            >= 2.0
    );
    sim::stop(server);
}

#[test]
fn too_few_open_files_are_told_with_the_number_that_is_needed() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let script = "ulimit -n 64; exec \"$0\" \"$@\"";
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .args(["-c", script, env!("CARGO_BIN_EXE_kitt"), "run", "-o"])
        .arg(dir.path());
    let output = against(&mut command, &server)
        .args(["--concurrency", "200", "--requests", "400"])
        .output()
        .unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(20), "{text}");
    assert!(
        text.contains("needs 264 open files") && text.contains("allows 64"),
        "{text}"
    );
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(metrics(dir.path())["status"], "failed");
    server.stop().unwrap();
}
