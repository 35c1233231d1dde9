//! `kitt gate` and the policy: what closes the gate, what is only said, and with which code.

mod accept;
mod contexts;
mod docs;
mod limits;
mod names;
mod reactions;
mod shown;

use std::{fs, path::PathBuf, process::Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::kitt;

/// What a side was measured as: metric and value, in scenario and metric.
pub type Side<'a> = &'a [(&'a str, &'a [(&'a str, f64)])];

/// An ordinary side.
pub const PLAIN: Side<'_> = &[(
    "latency",
    &[
        ("output_tps", 100.0),
        ("ttft_ms.p50", 12.0),
        ("error_rate", 0.0),
    ],
)];

/// The same, half as fast: proven even for one run against one.
pub const SLOW: Side<'_> = &[(
    "latency",
    &[
        ("output_tps", 50.0),
        ("ttft_ms.p50", 12.0),
        ("error_rate", 0.0),
    ],
)];

/// A workspace with results, a policy and an event.
pub struct Bench {
    dir: TempDir,
    variables: Vec<(String, String)>,
    baseline: bool,
}

impl Bench {
    /// These results, without a baseline.
    pub fn new(current: Side<'_>) -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            baseline: false,
        };
        bench.side("results", current, "H100");
        bench
    }

    /// These results and this baseline, of the same machine.
    pub fn against(baseline: Side<'_>, current: Side<'_>) -> Self {
        Self::new(current).with_baseline(baseline, "H100")
    }

    /// A baseline of a machine with this GPU.
    #[must_use]
    pub fn with_baseline(mut self, side: Side<'_>, gpu: &str) -> Self {
        self.side("base", side, gpu);
        self.baseline = true;
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The config file.
    #[must_use]
    pub fn config(self, text: &str) -> Self {
        self.write(".github/kitt.yml", text);
        self
    }

    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A pull request into a branch, as GitHub tells of it.
    #[must_use]
    pub fn pull_request(self, branch: &str, labels: &[&str], body: &str) -> Self {
        let label = |name: &&str| json!({"id": 1, "name": name, "color": "f29513"});
        let labels: Vec<Value> = labels.iter().map(label).collect();
        // Labels of the first commit are for it; what later ones need is tests/it/accepted.rs's.
        let event = json!({"action": "opened", "number": 7, "pull_request": {
            "number": 7, "body": body, "labels": labels,
            "head": {"sha": "a".repeat(40), "ref": "topic", "repo": {"id": 1}},
            "base": {"sha": "b".repeat(40), "ref": branch, "repo": {"id": 1}}}});
        self.write("event.json", &event.to_string());
        let path = self.path("event.json").display().to_string();
        self.variable("GITHUB_EVENT_NAME", "pull_request")
            .variable("GITHUB_EVENT_PATH", &path)
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut command = kitt();
        command.args(args).current_dir(self.dir.path());
        command.envs(self.variables.iter().cloned());
        command.output().unwrap()
    }

    /// Runs `kitt gate` with these arguments beside the results.
    pub fn gate(&self, args: &[&str]) -> Said {
        let mut all = vec!["gate", "results"];
        if self.baseline {
            all.extend(["--baseline-dir", "base"]);
        }
        all.extend(args);
        Said::of(&self.command(&all))
    }

    /// `kitt ci report` of the two sides.
    pub fn report(&self) -> Said {
        let sides = ["--results-dir", "results", "--baseline-dir", "base"];
        self.kitt(&[&["ci", "report"], &sides[..]].concat())
    }

    /// Runs any other command.
    pub fn kitt(&self, args: &[&str]) -> Said {
        Said::of(&self.command(args))
    }

    fn side(&self, name: &str, side: Side<'_>, gpu: &str) {
        let measurement = |(scenario, metrics): &(&str, &[(&str, f64)])| {
            let metrics: serde_json::Map<String, Value> = metrics
                .iter()
                .map(|(metric, value)| ((*metric).to_owned(), json!({"value": value})))
                .collect();
            json!({"run": 1, "scenario": scenario, "test": scenario, "passed": true, "errors": [],
                "metrics": metrics, "samples": {"ttft_ms": 200, "e2e_ms": 200},
                "outcomes": {"ok": 200}, "sent": 200, "ok": 200, "output_tokens_mean": 32.0,
                "input_tokens_mean": 61.5, "validity": "valid", "notes": [], "window_s": 30.0,
                "coalesced_share": 0.0})
        };
        let measurements: Vec<Value> = side.iter().map(measurement).collect();
        let document = json!({"schema_version": 1, "status": "complete", "kitt_version": "0.1.0",
            "suite_name": "standard", "timestamp": "2026-01-15T10:30:00+00:00",
            "engine": "llama_cpp", "model": "org/model", "passed": true, "total_benchmarks": 1,
            "passed_count": 1, "failed_count": 0, "total_time_seconds": 12.5,
            "fingerprint": {"strict": {"gpu.name": gpu, "workload": "abc"}, "soft": {}},
            "provenance": {}, "measurements": measurements, "results": []});
        self.write(&format!("{name}/metrics.json"), &document.to_string());
    }
}

/// What a command said and how it ended.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub log: String,
}

impl Said {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Asserts the exit code, showing everything if it is another.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.log);
        self
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "{text} is not in\n{}", self.out);
        self
    }

    #[track_caller]
    pub fn logs(self, text: &str) -> Self {
        assert!(self.log.contains(text), "{text} is not in\n{}", self.log);
        self
    }

    /// The table's line that holds these words.
    #[track_caller]
    pub fn row(&self, words: &[&str]) -> String {
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        let found = self.out.lines().find(holds);
        found
            .unwrap_or_else(|| panic!("no line with {words:?} in\n{}", self.out))
            .to_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}
