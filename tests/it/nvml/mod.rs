//! GPUs without a GPU: the program loads a stand-in for NVIDIA's library that plays a script.

mod host;
mod inside;
mod runs;
mod tools;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::harness::kitt;

/// A script, and the library beside it.
pub(crate) struct Fake {
    dir: TempDir,
}

impl Fake {
    pub(crate) fn new(script: &str) -> Self {
        let fake = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let library = fake.dir.path().join("libnvidia-ml.so.1");
        std::os::unix::fs::symlink(built(), library).unwrap();
        fake.play(script);
        fake
    }

    /// Replaces the script at once: no reader sees half of it.
    pub(crate) fn play(&self, script: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, script).unwrap();
        fs::rename(new, self.script()).unwrap();
    }

    fn script(&self) -> PathBuf {
        self.dir.path().join("script")
    }

    fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    pub(crate) fn set_on(&self, command: &mut Command) {
        command
            .env("LD_LIBRARY_PATH", self.dir.path())
            .env("FAKE_NVML_SCRIPT", self.script());
    }

    fn kitt(&self) -> Command {
        let mut command = kitt();
        self.set_on(&mut command);
        command
    }

    /// A run on the simulated engine, whose requests take about 100 ms each, one at a time.
    fn run(&self, requests: u32, more: &[&str]) -> Command {
        let mut command = self.kitt();
        simulated(&mut command, &self.results(), requests, more);
        command
    }
}

fn simulated(command: &mut Command, results: &Path, requests: u32, more: &[&str]) {
    command
        .args([
            "run",
            "-m",
            "sim",
            "-e",
            "sim",
            "--runs",
            "1",
            "--concurrency",
            "1",
        ])
        .args([
            "--input-tokens",
            "16",
            "--output-tokens",
            "16",
            "--skip-warmup",
        ])
        .args(["--requests", &requests.to_string()])
        .args(["--engine-args", ENGINE])
        .arg("-o")
        .arg(results)
        .args(more);
}

/// 5 ms for the first token and 6 ms for each of the 16: about 100 ms.
const ENGINE: &str =
    "--prefill-base-ms=5 --decode-base-ms=6 --decode-per-sequence-ms=0.1 --run-cv=0.001";

/// The library as cargo built it for the tests.
fn built() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let library = tests.with_file_name("libfake_nvml.so");
    assert!(library.exists(), "{} was not built", library.display());
    library
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn metrics(dir: &Path) -> Value {
    let text = fs::read_to_string(dir.join("metrics.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The only scenario of the only run.
fn scenario(dir: &Path) -> Value {
    let document = metrics(dir);
    document["measurements"][0].clone()
}

/// The run went to its end, and the GPUs did not void it. That this machine's client was too slow
/// is none of these tests' business.
fn went_well(output: &Output, dir: &Path) {
    let found = scenario(dir);
    let validity = found["validity"].as_str().unwrap();
    assert_ne!(validity, "gpu-invalid", "{}", stderr(output));
    let code = if validity == "valid" { 0 } else { 21 };
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
}
