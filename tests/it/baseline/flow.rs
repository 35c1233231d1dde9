//! `kitt ci run` and `kitt ci report` as the action calls them: the baseline is found before
//! anything is measured, and a green run of the base branch offers the next one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{NAME, World, archive};
use crate::{
    github::{Level, Token, zip},
    harness::kitt,
    history::Past,
};

/// Little noise, so that what the tests are about is told apart by far; slow enough for a client
/// that shares two busy processors.
const ENGINE: &str =
    "--prefill-base-ms=20 --decode-base-ms=8 --decode-per-sequence-ms=0.1 --run-cv=0.001";

/// A step of a workflow on a fake GitHub.
pub struct Job {
    pub world: World,
    pub dir: TempDir,
    pub temp: TempDir,
}

/// How a step went.
pub struct Done {
    pub code: i32,
    pub log: String,
    pub outputs: BTreeMap<String, String>,
}

impl Job {
    pub fn new(commits: usize) -> Self {
        Self {
            world: World::new(commits),
            dir: tempfile::tempdir().unwrap(),
            temp: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The environment of a push to main.
    pub fn push(&self, at: usize) -> Vec<(String, String)> {
        let (sha, before) = (&self.world.commits[at], at.checked_sub(1));
        let before = before.map_or("0".repeat(40), |at| self.world.commits[at].clone());
        let event = json!({
            "ref": "refs/heads/main", "before": before, "after": sha,
            "repository": {"id": 1, "full_name": "org/repo", "default_branch": "main"},
        });
        self.environment("push", sha, "refs/heads/main", &event)
    }

    /// The environment of a pull request that was merged for measuring onto a commit of main.
    pub fn pull(&self, onto: usize) -> Vec<(String, String)> {
        let base = self.world.commits[onto].clone();
        let (head, merge) = self.world.gh.state(|s| {
            let head = s.pull(7).head_sha.clone();
            (head.clone(), s.commit(&[&base, &head], &[]))
        });
        // The event's base lags behind what was merged.
        let repo =
            json!({"id": 1, "full_name": "org/repo", "default_branch": "main", "fork": false});
        let event = json!({
            "number": 7, "action": "synchronize", "repository": repo,
            "pull_request": {
                "number": 7, "draft": false, "labels": [], "body": null,
                "head": {"sha": head, "ref": "pull-7", "repo": repo},
                "base": {"sha": self.world.commits[0], "ref": "main", "repo": repo},
            },
        });
        let mut environment = self.environment("pull_request", &merge, "refs/pull/7/merge", &event);
        environment.push(("GITHUB_BASE_REF".into(), "main".into()));
        environment
    }

    fn environment(
        &self,
        name: &str,
        sha: &str,
        git_ref: &str,
        event: &Value,
    ) -> Vec<(String, String)> {
        let path = self.path("event.json");
        fs::write(&path, event.to_string()).unwrap();
        let text = |path: &Path| path.display().to_string();
        [
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_API_URL", self.world.gh.url.clone()),
            ("GITHUB_TOKEN", "t0ken".to_owned()),
            ("GITHUB_REPOSITORY", "org/repo".to_owned()),
            ("GITHUB_REPOSITORY_ID", "1".to_owned()),
            ("GITHUB_EVENT_NAME", name.to_owned()),
            ("GITHUB_EVENT_PATH", text(&path)),
            ("GITHUB_SHA", sha.to_owned()),
            ("GITHUB_REF", git_ref.to_owned()),
            ("GITHUB_RUN_ID", "42".to_owned()),
            ("GITHUB_WORKSPACE", text(self.dir.path())),
            ("RUNNER_TEMP", text(self.temp.path())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// `kitt ci run` of the simulated engine.
    pub fn run(&self, environment: &[(String, String)], engine: &str, more: &[&str]) -> Done {
        let engine = format!("{ENGINE} {engine}");
        let arguments = [
            "ci",
            "run",
            "-m",
            "sim",
            "-e",
            "sim",
            "--input-tokens",
            "16",
            "--output-tokens",
            "8",
            "--requests",
            "16",
            "--runs",
            "3",
            "--baseline",
            "stored",
            "--post-comment=false",
            "--engine-args",
            &engine,
        ];
        self.call(environment, &[&arguments, more].concat())
    }

    pub fn call(&self, environment: &[(String, String)], arguments: &[&str]) -> Done {
        let output = self.path("output");
        fs::write(&output, "").unwrap();
        let done = kitt()
            .args(arguments)
            .current_dir(self.dir.path())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("GITHUB_OUTPUT", &output)
            .output()
            .unwrap();
        Done::of(&done, &fs::read_to_string(output).unwrap())
    }

    /// Uploads what a run offers, as the action's step does.
    pub fn upload(&self, at: usize, done: &Done) -> u64 {
        let files: Vec<(String, Vec<u8>)> = done.outputs["baseline-files"]
            .lines()
            .map(|path| {
                let path = self.path(path);
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read(path).unwrap())
            })
            .collect();
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        let sha = self.world.commits[at].clone();
        let name = &done.outputs["baseline-artifact"];
        self.world.gh.state(|s| {
            let run = s.run("push", "main", &sha).id;
            s.artifact(run, name, &zip(&files))
        })
    }
}

impl Done {
    fn of(output: &Output, outputs: &str) -> Self {
        let mut lines = outputs.lines();
        let mut found = BTreeMap::new();
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<").unwrap();
            let value: Vec<&str> = lines
                .by_ref()
                .take_while(|line| *line != delimiter)
                .collect();
            found.insert(name.to_owned(), value.join("\n"));
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code().unwrap(),
            log: text(&output.stderr) + &text(&output.stdout),
            outputs: found,
        }
    }

    pub fn output(&self, name: &str) -> &str {
        self.outputs.get(name).map_or("", String::as_str)
    }
}

/// Nothing of what was downloaded is left, wherever it was.
fn clean(job: &Job) {
    assert_eq!(fs::read_dir(job.temp.path()).unwrap().count(), 0);
    let hidden = fs::read_dir(job.dir.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".kitt")
    });
    assert_eq!(hidden.count(), 0);
}

#[test]
fn a_push_stores_what_the_next_pull_request_is_held_against() {
    let job = Job::new(3);
    let first = job.run(&job.push(1), "", &[]);
    assert_eq!(first.code, 0, "{}", first.log);
    assert_eq!(first.output("verdict"), "new");
    assert_eq!(first.output("baseline-rule"), "");
    assert!(
        first
            .log
            .contains("no artifact is called kitt-baseline yet"),
        "{}",
        first.log
    );
    assert_eq!(first.output("store-baseline"), "true", "{}", first.log);
    assert_eq!(first.output("baseline-artifact"), NAME);
    let files = first.output("baseline-files");
    for name in [
        "metrics.json",
        "config.json",
        "hardware.json",
        "history.jsonl",
    ] {
        assert!(files.contains(&format!("kitt-results/{name}")), "{files}");
    }
    for name in ["engine.log", "comment.md", "report.html", "telemetry"] {
        assert!(!files.contains(name), "{files}");
    }
    job.upload(1, &first);
    clean(&job);

    let pull = job.run(
        &job.pull(1),
        "",
        &["--results-dir", "pull", "--strict", "--gate"],
    );
    assert_eq!(pull.output("baseline-rule"), "exact-parent", "{}", pull.log);
    assert_eq!(pull.output("baseline-ref"), job.world.commits[1]);
    assert_eq!(pull.output("store-baseline"), "false");
    assert_eq!(pull.output("baseline-files"), "");
    assert!(
        pull.log.contains("first parent of the merge commit"),
        "{}",
        pull.log
    );
    let comment = fs::read_to_string(job.path("pull/comment.md")).unwrap();
    let base = format!("{} (exact parent)", &job.world.commits[1][..7]);
    assert!(comment.contains(&base), "{comment}");
    assert_ne!(pull.output("verdict"), "new");
    // The history came along: the push's job and this one.
    let history = fs::read_to_string(job.path("pull/history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 2);
    clean(&job);

    // A later push is held against the one before it. What regressed, or is not proven where that
    // is asked for, is not stored: a busy machine decides which of the two it is.
    let strict = ["--results-dir", "slow", "--gate", "--strict"];
    let slower = job.run(&job.push(2), "--slowdown=0.6", &strict);
    let said = &slower.log;
    assert_eq!(slower.output("baseline-rule"), "exact-parent", "{said}");
    assert_ne!(slower.code, 0, "{said}");
    assert_eq!(slower.output("store-baseline"), "false");
    assert_eq!(slower.output("baseline-artifact"), "");
    assert!(said.contains("not stored as a baseline: the"), "{said}");
    assert_eq!(job.world.gh.violations(), Vec::<String>::new());
    let all = [first.log, pull.log, slower.log].concat();
    assert!(!all.replace("::add-mask::t0ken", "").contains("t0ken"));
}

#[test]
fn a_token_that_may_not_read_artifacts_costs_the_baseline_and_not_the_run() {
    let job = Job::new(2);
    job.world.stored(1, &Past::default());
    job.world.gh.state(|s| {
        let token = Token::read_only().with("actions", Level::None);
        s.tokens.insert("t0ken".into(), token);
    });
    let done = job.run(&job.pull(1), "", &[]);
    assert_eq!(done.code, 0, "{}", done.log);
    assert_eq!(done.output("verdict"), "new");
    let found = done.log.find("actions: read").unwrap();
    let measured = done.log.find("verdict").unwrap_or(done.log.len());
    assert!(found < measured, "it is told before anything is measured");
    let comment = fs::read_to_string(job.path("kitt-results/comment.md")).unwrap();
    assert!(comment.contains("actions"), "{comment}");
    clean(&job);
}

#[test]
fn results_of_other_hardware_are_incomparable_and_not_regressed() {
    let job = Job::new(2);
    let first = job.run(&job.push(1), "", &[]);
    let path = job.path("kitt-results/metrics.json");
    let mut metrics: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    metrics["fingerprint"]["strict"]["cpu.model"] = json!("Another CPU");
    fs::write(&path, metrics.to_string()).unwrap();
    job.upload(1, &first);
    let done = job.run(&job.pull(1), "", &["--results-dir", "pull"]);
    assert_eq!(done.code, 0, "{}", done.log);
    let rule = done.output("baseline-rule");
    assert_eq!(rule, "other-conditions", "{}", done.log);
    assert_eq!(done.output("verdict"), "incomparable", "{}", done.log);
    assert!(done.log.contains("Another CPU there"), "{}", done.log);
}

#[test]
fn a_branch_of_baselines_serves_where_artifacts_do_not() {
    let job = Job::new(2);
    let branch = ["--baseline-branch", "kitt-baselines"];
    let mut push = job.push(1);
    // As on an enterprise server, whose artifacts current actions cannot upload.
    let enterprise = job.world.gh.enterprise();
    push.iter_mut()
        .filter(|(name, _)| name == "GITHUB_API_URL")
        .for_each(|(_, url)| url.clone_from(&enterprise));
    let first = job.run(&push, "", &branch);
    assert_eq!(first.code, 0, "{}", first.log);
    assert_eq!(first.output("store-baseline"), "false");
    assert!(
        first.log.contains("stored as a baseline on kitt-baselines"),
        "{}",
        first.log
    );
    let pull = job.run(
        &job.pull(1),
        "",
        &["--results-dir", "pull", branch[0], branch[1]],
    );
    assert_eq!(pull.output("baseline-rule"), "exact-parent", "{}", pull.log);
    assert_eq!(pull.output("baseline-ref"), job.world.commits[1]);
    // The default branch is no place for baselines.
    let wrong = job.run(&job.push(1), "", &["--baseline-branch", "refs/heads/main"]);
    assert_eq!(wrong.code, 0);
    assert!(
        wrong.log.contains("need a branch of their own"),
        "{}",
        wrong.log
    );
    assert_eq!(
        job.world.gh.state(|s| s.head("org/repo", "main")),
        job.world.commits[1]
    );
}

#[test]
fn a_baseline_may_be_an_archive_and_a_hostile_one_is_an_error() {
    let job = Job::new(1);
    let past = |hour| Past {
        hour,
        ..Past::default()
    };
    past(5).store(&job.path("kitt-results"));
    fs::write(job.path("baseline.zip"), archive(&past(4))).unwrap();
    let report = |file: &str| {
        job.call(
            &[],
            &[
                "ci",
                "report",
                "--baseline-dir",
                file,
                "--output",
                "comment.md",
            ],
        )
    };
    let good = report("baseline.zip");
    assert_eq!(good.code, 0, "{}", good.log);
    let comment = fs::read_to_string(job.path("comment.md")).unwrap();
    assert!(!comment.contains("No baseline"), "{comment}");
    fs::write(
        job.path("bad.zip"),
        zip(&[("metrics.json", b"{}"), ("../x", b"y")]),
    )
    .unwrap();
    let bad = report("bad.zip");
    assert_eq!(bad.code, 1, "{}", bad.log);
    assert!(
        bad.log.contains("bad.zip: the entry `../x` is refused"),
        "{}",
        bad.log
    );
    clean(&job);
}

#[test]
fn results_that_are_there_find_a_baseline_under_exactly_their_conditions() {
    let job = Job::new(3);
    let past = |hour, cpu| Past {
        hour,
        cpu,
        ..Past::default()
    };
    job.world.stored(1, &past(1, "AMD EPYC 9654"));
    job.world.stored(2, &past(2, "Intel Xeon 6972P"));
    past(3, "AMD EPYC 9654").store(&job.path("kitt-results"));
    let done = job.call(&job.pull(2), &["ci", "report", "--post-comment=false"]);
    assert_eq!(done.code, 0, "{}", done.log);
    assert!(done.log.contains("nearest ancestor"), "{}", done.log);
    assert_ne!(done.output("verdict"), "incomparable");
    // Outside of a workflow nothing is asked of anybody.
    let before = job.world.gh.seen("", "").len();
    let environment: Vec<_> = job
        .pull(2)
        .into_iter()
        .filter(|(name, _)| name != "GITHUB_ACTIONS")
        .collect();
    job.call(&environment, &["ci", "report", "--post-comment=false"]);
    let asked: Vec<_> = job
        .world
        .gh
        .seen("", "")
        .into_iter()
        .skip(before)
        .filter(|seen| seen.path.contains("artifacts"))
        .collect();
    assert!(asked.is_empty(), "{asked:?}");
}
