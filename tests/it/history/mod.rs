//! Past jobs: results in many directories, lines of a file, and what a new job makes of them.

mod noise;
mod shifts;
mod verdicts;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use kitt_action::{
    measure::{Measurement, Validity},
    results::{Job, Limits, ResultsWriter, RunHeader, RunStatus, read_jobs},
};
use tempfile::TempDir;

use crate::{
    harness::kitt,
    results::support::{header, measurement, report, scenario},
};

/// A job to store: what differs from a plain push that measured one valid run.
#[derive(Debug, Clone)]
pub struct Past {
    /// Hours after the first of January 2026; also makes the commit.
    pub hour: u32,
    /// Times and speeds relative to the usual ones: 1.2 is 20 % slower.
    pub slower: f64,
    pub event: Option<&'static str>,
    pub status: RunStatus,
    pub validity: Validity,
    /// Another processor makes other conditions.
    pub cpu: &'static str,
    pub runs: u32,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            hour: 0,
            slower: 1.0,
            event: Some("push"),
            status: RunStatus::Complete,
            validity: Validity::Valid,
            cpu: "AMD EPYC 9654",
            runs: 1,
        }
    }
}

pub fn commit(hour: u32) -> String {
    format!("{:07x}{}", hour + 0xabc_0000, "0".repeat(33))
}

impl Past {
    pub fn header(&self) -> RunHeader {
        let mut header = header();
        let (day, hour) = (1 + self.hour / 24, self.hour % 24);
        header.started_at = format!("2026-01-{day:02}T{hour:02}:00:00Z")
            .parse()
            .unwrap();
        header.provenance.commit = Some(commit(self.hour));
        header.provenance.event = self.event.map(str::to_owned);
        let strict = &mut header.fingerprint.strict;
        strict.insert("cpu.model".to_owned(), self.cpu.to_owned());
        header
    }

    fn measured(&self, run: u32) -> Measurement {
        // From job to job and from run to run up to 0.4 % up and down, without a trend.
        let noise = |salt: u32| 0.002 * (f64::from((self.hour * 7 + run * 3 + salt) % 5) - 2.0);
        let slower = |salt: u32| self.slower * (1.0 + noise(salt));
        let mut measured = measurement(24);
        measured.validity = self.validity;
        measured.metrics = BTreeMap::from([
            ("ttft_ms.p50".to_owned(), 12.25 * slower(0)),
            ("output_tps".to_owned(), 88.8 / slower(1)),
            ("error_rate".to_owned(), 0.0),
        ]);
        measured
    }

    /// Writes the job's results into a directory.
    pub fn store(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        let mut writer = ResultsWriter::create(dir, self.header()).unwrap();
        let scenario = scenario("latency");
        for run in 1..=self.runs {
            let measured = self.measured(run);
            writer.scenario(report(run, &scenario, &measured)).unwrap();
        }
        writer.finish(self.status, 5.0).unwrap();
    }
}

/// Jobs in a directory each, and a new one to judge.
pub struct Stage {
    dir: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Stores jobs below `past/`.
    pub fn past(&self, jobs: impl IntoIterator<Item = Past>) {
        for job in jobs {
            // Downloaded artifacts lie in folders of their own.
            let dir = self.path("past").join(format!("run-{}", job.hour));
            job.store(&dir);
        }
    }

    /// Stores the job to judge, reports on it with these arguments, and gives back what was said.
    pub fn report(&self, current: &Past, arguments: &[&str]) -> Said {
        current.store(&self.path("current"));
        self.report_again(arguments)
    }

    pub fn report_again(&self, arguments: &[&str]) -> Said {
        let outputs = self.path("outputs");
        fs::write(&outputs, "").unwrap();
        let output = kitt()
            .args(["ci", "report", "--results-dir", "current"])
            .args(arguments)
            .current_dir(self.dir.path())
            .env("GITHUB_OUTPUT", &outputs)
            .output()
            .unwrap();
        Said {
            outputs: fs::read_to_string(outputs).unwrap(),
            output,
        }
    }

    /// The history that the last report wrote.
    pub fn written(&self) -> Vec<Job> {
        let path = self.path("current/history.jsonl");
        read_jobs(&path, &Limits::default()).unwrap()
    }
}

/// What a report said.
pub struct Said {
    outputs: String,
    output: Output,
}

impl Said {
    pub fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn comment(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// The verdict in the step's outputs.
    pub fn verdict(&self) -> String {
        let mut lines = self.outputs.lines();
        let found = lines.find_map(|line| {
            let (name, _) = line.split_once("<<")?;
            (name == "verdict").then_some(())
        });
        let plain = || {
            self.outputs
                .lines()
                .find_map(|line| line.strip_prefix("verdict="))
        };
        let value = match found {
            Some(()) => lines.next(),
            None => plain(),
        };
        let value = value.unwrap_or_else(|| panic!("no verdict: {}\n{}", self.outputs, self.log()));
        value.to_owned()
    }
}

/// Ordinary jobs at these hours.
pub fn usual(hours: impl IntoIterator<Item = u32>) -> impl Iterator<Item = Past> {
    hours.into_iter().map(|hour| Past {
        hour,
        ..Past::default()
    })
}
