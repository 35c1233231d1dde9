//! Nothing stays behind, however a run ends: containers, networks, processes, locks.
//!
//! Each test has run ids, locks and folders of its own, and looks at nothing else.

mod cancel;
mod chaos;
mod child;
mod guard;
mod lock;
mod native;

use std::{
    collections::HashMap,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bollard::{Docker, query_parameters::ListNetworksOptionsBuilder};
use kitt_action::{
    serve::{GuardReport, ServeOptions},
    store,
};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{docker, harness};

/// Waits until it is so; how long that took.
async fn eventually(what: &str, limit: Duration, so: impl AsyncFn() -> bool) -> Duration {
    let begin = Instant::now();
    while !so().await {
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    begin.elapsed()
}

/// A run id that no other test has.
fn unique(name: &str) -> String {
    format!("leaks-{}-{name}", std::process::id())
}

/// A process under test, in a group of its own, with its folder.
struct Subject {
    child: Child,
    dir: TempDir,
    run: String,
}

impl Subject {
    /// Starts the command. Its standard error becomes the file `log`.
    fn start(mut command: Command, dir: TempDir, run: String) -> Self {
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command
            .current_dir(dir.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, dir, run }
    }

    /// `kitt run` with the simulator in a container.
    async fn kitt(name: &str, more: &[&str]) -> Self {
        let image = docker::images().await.0.to_string();
        let mut all = vec!["--image", &image];
        all.extend(more);
        Self::kitt_of(name, &all)
    }

    /// `kitt run` with an image of the caller's choice.
    fn kitt_of(name: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = harness::kitt();
        command
            .args(["run", "-e", "sim", "-m", "sim-model", "--mode", "docker"])
            .args([
                "--tests",
                "throughput",
                "--output",
                "results",
                "--lock-dir",
                "locks",
            ])
            .args(more)
            // A run id known beforehand, and what a runner looks for to kill what a job left.
            .env("GITHUB_RUN_ID", unique(name))
            .env("RUNNER_TRACKING_ID", "github_test");
        let run = format!("{}-1-job", unique(name));
        Self::start(command, dir, run)
    }

    fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    fn locks(&self) -> PathBuf {
        self.dir.path().join("locks")
    }

    fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Waits until it says that.
    async fn says(&mut self, text: &str) {
        let begin = Instant::now();
        while !self.log().contains(text) {
            let ended = self.child.try_wait().unwrap();
            let late = begin.elapsed() > Duration::from_mins(1);
            assert!(
                ended.is_none() && !late,
                "no `{text}`: {ended:?} {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// `kill -9` of everything in its group.
    fn kill_group(&self) {
        killpg(Pid::from_raw(self.pid()), Signal::SIGKILL).unwrap();
    }

    /// How it ended and when, counted from this call.
    async fn ended(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begin.elapsed());
            }
            assert!(
                begin.elapsed() < limit,
                "still there after {limit:?}: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Its guards.
    fn guards(&self) -> Vec<Process> {
        let own = self.pid();
        let is_guard =
            |process: &Process| process.parent == own && process.args == ["kitt", "guard"];
        processes().into_iter().filter(is_guard).collect()
    }

    /// Waits until nothing of the run is left anywhere.
    async fn nothing_left(&self, docker: Option<&Docker>, limit: Duration) -> Duration {
        let begin = Instant::now();
        loop {
            let left = self.left(docker).await;
            if left.is_empty() {
                return begin.elapsed();
            }
            assert!(
                begin.elapsed() < limit,
                "left of {}: {left:?}\n{}",
                self.run,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Everything of the run that is still there, in words.
    async fn left(&self, docker: Option<&Docker>) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(docker) = docker {
            left.extend(docker::left(docker, &ServeOptions::new(&self.run)).await);
            left.extend(networks(docker, &self.run).await);
        }
        left.extend(marked(&self.run).iter().map(|pid| format!("process {pid}")));
        for entry in fs::read_dir(self.locks()).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("native-") {
                left.push(format!("record {name}"));
            } else if is_locked(&entry.path()) {
                left.push(format!("lock {name}"));
            }
        }
        left
    }

    /// The reports of its guards, as `kitt cleanup` finds them.
    fn reports(&self) -> Vec<GuardReport> {
        let entries = fs::read_dir(self.locks()).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("guard-"))
            .map(|entry| serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap())
            .collect()
    }

    /// Whatever was written can be read; whether anything was.
    fn results_parse(&self) -> Option<kitt_action::results::RunStatus> {
        let written = self.results().join("metrics.json").exists();
        written.then(|| store::load(&self.results()).unwrap().status)
    }
}

impl Drop for Subject {
    /// A failing test must not leave its subject running.
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.kill_group();
            self.child.wait().unwrap();
        }
    }
}

/// Whether somebody holds the lock.
fn is_locked(path: &Path) -> bool {
    let file = File::open(path);
    file.is_ok_and(|file| file.try_lock().is_err())
}

/// A process that lives, from `/proc`.
#[derive(Debug, Clone)]
struct Process {
    pid: i32,
    parent: i32,
    group: i32,
    session: i32,
    args: Vec<String>,
}

fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(fields[0], "Z" | "X") {
        return None;
    }
    let args = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Process {
        pid,
        parent: fields[1].parse().ok()?,
        group: fields[2].parse().ok()?,
        session: fields[3].parse().ok()?,
        args: args.split_terminator('\0').map(str::to_owned).collect(),
    })
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn environ(pid: i32) -> Vec<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let text = String::from_utf8_lossy(&environ);
    text.split_terminator('\0').map(str::to_owned).collect()
}

/// Living processes with the mark of an engine of that run.
fn marked(run: &str) -> Vec<i32> {
    let mark = format!("KITT_RUN={run}-");
    let of_run = |process: &Process| {
        environ(process.pid)
            .iter()
            .any(|one| one.starts_with(&mark))
    };
    let found = processes().into_iter().filter(of_run);
    found.map(|process| process.pid).collect()
}

async fn networks(docker: &Docker, run: &str) -> Vec<String> {
    let label = format!("dev.kitt-action.run={run}");
    let filter: HashMap<&str, Vec<String>> = [("label", vec![label])].into();
    let query = ListNetworksOptionsBuilder::new().filters(&filter).build();
    let found = docker.list_networks(Some(query)).await.unwrap();
    found.into_iter().filter_map(|one| one.name).collect()
}
