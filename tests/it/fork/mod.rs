//! `kitt ci publish` against the fake GitHub: what a fork's run left is told to its pull request,
//! and nothing that the run says beside its numbers counts.

mod archives;
mod claims;
mod ends;
mod flow;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    github::{self, GitHub},
    harness::kitt,
};

pub const FORK: &str = "mona/repo";
pub const BRANCH: &str = "pull-7";

/// The files that stand beside the only results that were taken: those and nothing else.
pub fn written() -> Vec<String> {
    let names = [
        "badge.json",
        "comment.md",
        "comparison.json",
        "metrics.json",
        "report.html",
    ];
    names.map(|name| format!("results-1/{name}")).into()
}

/// The second stage's job: a checkout of the default branch and the event of a completed run.
pub struct Stage {
    pub gh: GitHub,
    pub dir: TempDir,
    pub run: u64,
    pub head: String,
    pub variables: BTreeMap<String, String>,
}

impl Stage {
    /// A run of pull request 7 of `mona/repo` has completed, and left nothing yet.
    pub fn new() -> Self {
        let gh = GitHub::start();
        let (run, head) = gh.state(|s| {
            let pull = s.fork_pull(7, FORK).clone();
            let run = s.run("pull_request", &pull.head_ref, &pull.head_sha);
            run.head_repo = pull.head_repo;
            (run.id, pull.head_sha)
        });
        let stage = Self {
            gh,
            dir: tempfile::tempdir().unwrap(),
            run,
            head,
            variables: BTreeMap::new(),
        };
        stage.write("base/metrics.json", &results(100.0).to_string());
        stage
    }

    /// The same, and it left these files as `kitt-results`.
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        let stage = Self::new();
        stage.artifact("kitt-results", &github::zip(files));
        stage
    }

    /// The same, with this output throughput; the baseline's is 100.
    pub fn measured(output_tps: f64) -> Self {
        Self::with(&[("metrics.json", results(output_tps).to_string().as_bytes())])
    }

    pub fn artifact(&self, name: &str, bytes: &[u8]) -> u64 {
        self.gh.state(|s| s.artifact(self.run, name, bytes))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// Requests so far whose path or query hold this.
    pub fn asked(&self, path: &str) -> usize {
        self.gh.seen("", path).len()
    }

    /// The payload that GitHub makes of the run.
    pub fn payload(&self) -> Value {
        self.gh.state(|s| {
            let run = s.runs.iter().find(|run| run.id == self.run).unwrap();
            let head = s.repositories.iter().find(|r| Some(r.id) == run.head_repo);
            let head = head.map(|repo| {
                json!({"id": repo.id, "full_name": repo.full_name, "fork": true,
                    "owner": {"login": repo.owner()}})
            });
            json!({"action": "completed",
                "workflow_run": {"id": run.id, "name": run.name, "event": run.event,
                    "path": run.path, "head_sha": run.head_sha, "head_branch": run.head_branch,
                    "run_attempt": run.run_attempt, "conclusion": run.conclusion,
                    "status": "completed", "pull_requests": [], "head_repository": head,
                    "repository": {"id": 1, "full_name": "org/repo"}},
                "repository": {"id": 1, "full_name": "org/repo", "default_branch": "main"}})
        })
    }

    fn command(&self, args: &[&str]) -> Command {
        self.write("event.json", &self.payload().to_string());
        let mut command = kitt();
        command
            .args(["ci", "publish"])
            .args(args)
            .current_dir(self.dir.path())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_API_URL", &self.gh.url)
            .env("GITHUB_EVENT_NAME", "workflow_run")
            .env("GITHUB_EVENT_PATH", self.path("event.json"))
            .env("GITHUB_REPOSITORY", "org/repo")
            .env("GITHUB_REPOSITORY_ID", "1")
            .env("GITHUB_REF", "refs/heads/main")
            .env("GITHUB_SHA", "c".repeat(40))
            .env("GITHUB_RUN_ID", "99")
            .env("GITHUB_TOKEN", "ghs_stage_two")
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("KITT_INPUT_BASELINE_DIR", "base")
            .envs(&self.variables);
        command
    }

    /// Runs the command; asserts how it ends.
    #[track_caller]
    pub fn publish(&self, args: &[&str], code: i32) -> Told {
        let output = self
            .command(args)
            .args(["--output", "out"])
            .output()
            .unwrap();
        let told = Told::of(self, &output);
        assert_eq!(output.status.code(), Some(code), "{told:?}");
        assert_eq!(self.gh.violations(), Vec::<String>::new());
        told
    }
}

/// What was told to whom.
#[derive(Debug)]
pub struct Told {
    pub out: String,
    pub log: String,
    pub summary: String,
    pub outputs: String,
    /// Bodies of our own comments by pull request.
    pub comments: Vec<(u64, String)>,
}

impl Told {
    fn of(stage: &Stage, output: &Output) -> Self {
        let read = |name: &str| fs::read_to_string(stage.path(name)).unwrap_or_default();
        let own = |c: &&github::Comment| c.author == "github-actions[bot]";
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
            summary: read("summary"),
            outputs: read("output"),
            comments: stage.gh.state(|s| {
                let own = s.comments.iter().filter(own);
                own.map(|c| (c.issue, c.body.clone())).collect()
            }),
        }
    }

    /// The one comment on pull request 7.
    #[track_caller]
    pub fn comment(&self) -> &str {
        match self.comments.as_slice() {
            [(7, body)] => body,
            _ => panic!("not one comment on 7: {self:?}"),
        }
    }

    /// Asserts that nothing was published, for this reason.
    #[track_caller]
    pub fn nothing(&self, why: &str) {
        assert_eq!(self.comments, [], "{self:?}");
        assert!(
            self.out
                .contains("::notice title=KITT::nothing is published: "),
            "{self:?}"
        );
        assert!(self.out.contains(why), "{why} is not in {self:?}");
        assert!(self.summary.contains("nothing is published"), "{self:?}");
        assert_eq!(self.output("verdict"), "skipped");
        assert_eq!(self.output("passed"), "true");
    }

    /// A step output; the later one of two wins.
    #[track_caller]
    pub fn output(&self, name: &str) -> String {
        let begin = format!("{name}<<");
        let mut lines = self
            .outputs
            .lines()
            .skip_while(|line| !line.starts_with(&begin));
        let head = lines
            .next()
            .unwrap_or_else(|| panic!("no {name}: {self:?}"));
        let end = head.strip_prefix(&begin).unwrap();
        let value: Vec<&str> = lines.take_while(|line| *line != end).collect();
        value.join("\n")
    }
}

/// A `metrics.json` of one valid run with this output throughput.
pub fn results(output_tps: f64) -> Value {
    json!({"schema_version": 1, "status": "complete", "kitt_version": "0.1.0",
        "suite_name": "standard", "timestamp": "2026-01-15T10:30:00+00:00",
        "engine": "llama_cpp", "model": "org/model", "total_time_seconds": 12.5,
        "fingerprint": {"strict": {"gpu.name": "H100", "workload": "abc"}, "soft": {}},
        "provenance": {}, "measurements": [
            {"run": 1, "scenario": "latency", "test": "latency", "passed": true, "errors": [],
                "metrics": {"output_tps": {"value": output_tps}, "ttft_ms.p50": {"value": 12.0},
                    "error_rate": {"value": 0.0}},
                "samples": {"ttft_ms": 200, "e2e_ms": 200}, "outcomes": {"ok": 200},
                "sent": 200, "ok": 200, "output_tokens_mean": 32.0, "input_tokens_mean": 61.5,
                "validity": "valid", "notes": [], "window_s": 30.0, "coalesced_share": 0.0}],
        "results": []})
}

/// Everything below a folder.
pub fn tree(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
