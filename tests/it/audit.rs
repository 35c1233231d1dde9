//! The client's own limits show in the validity of a result and nowhere else: a paused process,
//! a processor quota.

use std::{
    fs,
    io::{BufRead, BufReader},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kitt_action::sim::paced::{self, PacedRequest, PacedServer, PacedSpec, PacedTruth};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::harness::kitt;

fn server(itl: Duration) -> PacedServer {
    paced::start(PacedSpec {
        itl,
        ..PacedSpec::default()
    })
    .unwrap()
}

/// `kitt run` against a server with this concurrency and number of requests of 64 tokens.
fn client(server: &PacedServer, concurrency: u32, requests: u32, dir: &Path) -> Command {
    let mut command = kitt();
    command
        .args(["run", "-e", "openai", "-m", "paced", "--endpoint"])
        .arg(server.url())
        .args(["--concurrency", &concurrency.to_string()])
        .args(["--requests", &requests.to_string()])
        .args(["--input-tokens", "16", "--output-tokens", "64"])
        .args(["--warmup-requests", "0", "--json", "-o"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The first measurement of a metrics document.
fn measurement(document: &[u8]) -> Value {
    let document: Value = serde_json::from_slice(document).unwrap();
    document["measurements"][0].clone()
}

fn metric(measurement: &Value, name: &str) -> f64 {
    measurement["metrics"][name]["value"].as_f64().unwrap()
}

fn notes(measurement: &Value) -> String {
    measurement["notes"].to_string()
}

fn largest_gap_ms(truth: &PacedTruth) -> f64 {
    let gaps = truth.requests.iter().flat_map(PacedRequest::gaps_ns);
    gaps.max().unwrap() as f64 / 1e6
}

/// Waits until the client says that it sends.
fn until_sending(child: &mut Child) -> BufReader<std::process::ChildStderr> {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("sending") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended early");
    }
    lines
}

#[test]
fn a_paused_client_shows_in_its_audit_and_not_in_the_servers_itl() {
    const PAUSE: Duration = Duration::from_millis(50);
    let server = server(Duration::from_millis(10));
    let dir = tempfile::tempdir().unwrap();
    let mut child = client(&server, 8, 96, dir.path()).spawn().unwrap();
    let lines = until_sending(&mut child);
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // The pause itself is what is tested: nothing waits for anything here.
    for _ in 0..2 {
        thread::sleep(Duration::from_millis(600));
        kill(id, Signal::SIGSTOP).unwrap();
        thread::sleep(PAUSE);
        kill(id, Signal::SIGCONT).unwrap();
    }
    drop(lines);
    let output = child.wait_with_output().unwrap();
    let truth = server.stop().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let measured = measurement(&output.stdout);
    let worst = metric(&measured, "itl_ms.max");
    let true_worst = largest_gap_ms(&truth);
    assert!(
        worst < true_worst + 5.0,
        "{worst} ms, truth {true_worst} ms"
    );
    let stall = measured["audit"]["longest_stall_ms"].as_f64().unwrap();
    assert!(stall >= 40.0, "{stall} ms");
    assert!(
        notes(&measured).contains("stood still"),
        "{}",
        notes(&measured)
    );
}

/// A control group with a fifth of a processor; `None` where this system lets us make none.
struct Quota(Vec<PathBuf>);

impl Quota {
    fn new(name: &str) -> Option<Self> {
        let old = Path::new("/sys/fs/cgroup/cpu").join(name);
        if fs::create_dir(&old).is_ok() {
            fs::write(old.join("cpu.cfs_period_us"), "100000").ok()?;
            fs::write(old.join("cpu.cfs_quota_us"), "20000").ok()?;
            return Some(Self(vec![old]));
        }
        let new = Path::new("/sys/fs/cgroup").join(name);
        fs::create_dir(&new).ok()?;
        let quota = Self(vec![new.clone()]);
        fs::write(new.join("cpu.max"), "20000 100000").ok()?;
        Some(quota)
    }

    /// The command, started as a member.
    fn member(&self, command: &Command) -> Command {
        let mut joined = Command::new("/bin/sh");
        let groups: Vec<String> = self
            .0
            .iter()
            .map(|group| format!("echo $$ > {}/cgroup.procs", group.display()))
            .collect();
        joined
            .arg("-c")
            .arg(format!("{} && exec \"$@\"", groups.join(" && ")))
            .arg("sh")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("NO_COLOR", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        joined
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        for group in &self.0 {
            drop(fs::remove_dir(group));
        }
    }
}

#[test]
fn a_client_without_processor_time_says_so_and_exits_21() {
    let name = format!("kitt-test-{}", std::process::id());
    let Some(quota) = Quota::new(&name) else {
        assert_ne!(
            std::env::var("KITT_TEST_DOCKER").as_deref(),
            Ok("required"),
            "no control group can be made here, though this machine was set up for tests"
        );
        return;
    };
    let server = paced::start(PacedSpec {
        itl: Duration::from_millis(2),
        tokens: NonZeroU32::new(64),
        ..PacedSpec::default()
    })
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let command = client(&server, 256, 1024, dir.path());
    let output = quota.member(&command).output().unwrap();
    server.stop().unwrap();
    let measured = measurement(&output.stdout);
    assert_eq!(measured["validity"], "client-limited", "{measured:#}");
    assert_eq!(output.status.code(), Some(21));
    assert!(measured["audit"]["throttled_share"].as_f64().unwrap() > 0.01);
}
