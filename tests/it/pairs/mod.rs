//! Pairs, end to end: two sides of the simulated engine in containers, fresh servers in turn.
//!
//! Where no daemon can be used the tests that need one are skipped, as in `docker`.

mod auto;
mod endings;
mod same;
mod spoiled;
mod worse;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
};

use kitt_action::{
    results::{Limits, Pairs, RunStatus, read_pairs},
    store,
};
use serde_json::Value;
use tempfile::TempDir;

use super::{docker, harness::kitt};

/// An engine whose times are long beside a busy machine's delays: 20 ms to the first token, 8 ms
/// for each further one.
const ENGINE: &str =
    "--prefill-base-ms=20 --decode-base-ms=8 --decode-per-sequence-ms=0.1 --prefill-per-token-ms=0";

/// A place for results, and runs that nobody else has.
struct Bench {
    dir: TempDir,
    run: String,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            run: format!("pairs-{}-{name}", std::process::id()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn results(&self) -> PathBuf {
        self.path("results")
    }

    /// `kitt ci run` in a container: one scenario of 20 short requests, about two seconds a run.
    fn in_container(&self, engine_args: &str, more: &[&str]) -> Command {
        let mut command = self.here(engine_args, more);
        command.args(["--mode", "docker", "--gpus", "none"]);
        command
    }

    /// The same inside the process.
    fn here(&self, engine_args: &str, more: &[&str]) -> Command {
        let mut command = kitt();
        command
            .current_dir(self.dir.path())
            .args([
                "ci",
                "run",
                "-e",
                "sim",
                "-m",
                "sim",
                "--gate",
                "--skip-warmup",
            ])
            .args(["--concurrency", "1", "--requests", "20"])
            .args(["--input-tokens", "16"])
            .args(["--engine-args", engine_args])
            .args(more)
            // Where a test says nothing else.
            .env("KITT_INPUT_OUTPUT_TOKENS", "8")
            .env("KITT_INPUT_RESULTS_DIR", "results")
            .env("GITHUB_RUN_ID", &self.run);
        command
    }

    fn pairs(&self) -> Pairs {
        read_pairs(&self.results(), &Limits::default())
            .unwrap()
            .expect("there are pairs")
    }

    fn verdict(&self) -> String {
        let comparison = json(&self.results().join("comparison.json"));
        comparison["verdict"].as_str().unwrap().to_owned()
    }

    /// Both sides' files can be read, and say how far they came.
    fn status(&self) -> [RunStatus; 2] {
        ["results", "results/baseline"].map(|side| store::load(&self.path(side)).unwrap().status)
    }

    /// Containers of this run.
    async fn left(&self, docker: &bollard::Docker) -> Vec<String> {
        let run = format!("{}-1-job", self.run);
        docker::left(docker, &kitt_action::serve::ServeOptions::new(run)).await
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command and tells every line of its log while it runs.
fn heard(mut command: Command, mut hear: impl FnMut(&str, u32)) -> (ExitStatus, String) {
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = String::new();
    for line in lines.map_while(Result::ok) {
        hear(&line, child.id());
        log.push_str(&line);
        log.push('\n');
    }
    (child.wait().unwrap(), log)
}
