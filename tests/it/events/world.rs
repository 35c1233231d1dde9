//! A real git repository with the commits that the fixtures speak of, and a fake GitHub that knows
//! the same ones.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{
    super::{
        flow::Step,
        github::{GitHub, Level, State, Token},
        harness::kitt,
    },
    fixture::Fixture,
};

const BASE: &str = "5f2c8d1e9a7b4c6d3e0f1a2b5c8d7e9f0a1b2c3d";
const HEAD: &str = "c0ffee1234567890abcdef1234567890abcdef12";
const MERGE: &str = "0b5e5a7c9d1f2e3a4b6c8d0e1f2a3b4c5d6e7f80";
const OLD: &str = "9d8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a39281706";
const GROUP: &str = "7a6b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b";

pub const REPO: &str = "octo-org/engine";
pub const REPO_ID: u64 = 734_512_908;
pub const FORK: &str = "contributor/engine";
pub const FORK_ID: u64 = 812_345_670;
pub const PR: u64 = 17;

const TINY: &[&str] = &[
    "-m",
    "sim",
    "-e",
    "sim",
    "--input-tokens",
    "2",
    "--output-tokens",
    "2",
    "--skip-warmup",
    "--telemetry",
    "off",
];
const FAST: &str =
    "--prefill-base-ms=1 --decode-base-ms=1 --decode-per-sequence-ms=0.1 --run-cv=0.001";

/// The repository: `main` with two commits, a branch with one more, their merge, and an entry of
/// the merge queue.
pub struct World {
    dir: TempDir,
    pub old: String,
    pub base: String,
    pub head: String,
    pub merge: String,
    pub group: String,
}

/// A token of one's own, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    Write,
    Read,
    None,
}

impl World {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| git(dir.path(), args);
        git(&["init", "-q", "-b", "main"]);
        let commit = |file: &str| {
            fs::create_dir_all(dir.path().join("src")).unwrap();
            fs::write(dir.path().join(file), file).unwrap();
            git(&["add", "."]);
            git(&["commit", "-q", "-m", file]);
            git(&["rev-parse", "HEAD"])
        };
        let old = commit("src/old.cc");
        let base = commit("src/base.cc");
        git(&["checkout", "-q", "-b", "faster-decode"]);
        let head = commit("src/decode.cc");
        let merged = |onto: &str| {
            git(&["checkout", "-q", "--detach", onto]);
            git(&["merge", "-q", "--no-ff", "-m", "merge", &head]);
            git(&["rev-parse", "HEAD"])
        };
        let (merge, group) = (merged(&base), merged(&old));
        Self {
            dir,
            old,
            base,
            head,
            merge,
            group,
        }
    }

    /// An event about the commits of this repository.
    pub fn event(&self, name: &str) -> Fixture {
        let commits = [
            (BASE, self.base.as_str()),
            (HEAD, &self.head),
            (MERGE, &self.merge),
            (OLD, &self.old),
            (GROUP, &self.group),
        ];
        Fixture::with_commits(name, &commits)
    }

    /// A workspace with this commit checked out; made once for each name.
    pub fn workspace(&self, commit: &str) -> PathBuf {
        let path = self
            .dir
            .path()
            .join(".git")
            .join(format!("workspace-{commit}"));
        if !path.exists() {
            let text = path.to_str().unwrap();
            git(
                self.dir.path(),
                &["worktree", "add", "-q", "--detach", text, commit],
            );
        }
        path
    }

    /// A clone with this commit checked out.
    pub fn copy(&self, commit: &str, to: &Path) -> PathBuf {
        let from = self.dir.path().to_str().unwrap();
        let text = to.to_str().unwrap();
        git(
            self.dir.path(),
            &["clone", "-q", "--no-checkout", from, text],
        );
        git(to, &["checkout", "-q", "--detach", commit]);
        to.to_owned()
    }

    /// A GitHub that knows the repository, the fork, the commits and the pull request as this
    /// event has it.
    pub fn github(&self, event: &Fixture) -> GitHub {
        let mut state = State::default();
        state.fork(FORK);
        let fork = state.repo(FORK);
        fork.id = FORK_ID;
        fork.parent = Some(REPO.to_owned());
        state.rename("org/repo", REPO);
        state.renamed.clear();
        state.repositories[0].id = REPO_ID;
        let root = state.head(REPO, "main");
        let commits: [(&str, &[&str], &str); 5] = [
            (&self.old, &[&root], "src/old.cc"),
            (&self.base, &[&self.old], "src/base.cc"),
            (&self.head, &[&self.base], "src/decode.cc"),
            (&self.merge, &[&self.base, &self.head], "src/decode.cc"),
            (&self.group, &[&self.old, &self.head], "src/decode.cc"),
        ];
        for (sha, parents, file) in commits {
            state.commit_as(Some(sha), parents, &[(file, b"changed")]);
        }
        state.branch(REPO, "main", &self.base);
        let head_repo = match event.payload.pointer("/pull_request/head/repo") {
            Some(repo) => repo["id"].as_u64(),
            None => Some(REPO_ID),
        };
        let pull = state.pull(PR);
        pull.head_sha.clone_from(&self.head);
        pull.base_sha.clone_from(&self.base);
        "faster-decode".clone_into(&mut pull.head_ref);
        pull.head_repo = head_repo;
        if head_repo != Some(REPO_ID) {
            "contributor".clone_into(&mut pull.head_owner);
        }
        state
            .permissions
            .insert("octo-lead".to_owned(), "maintain".to_owned());
        state.tokens.insert("rw".to_owned(), Token::read_write());
        // What a workflow with `permissions: read-all` or a fork's pull request has.
        let read = Token::read_only().with("metadata", Level::Read);
        state.tokens.insert("ro".to_owned(), read);
        GitHub::with(state)
    }
}

/// A step that runs `kitt` for an event.
pub fn step(event: &Fixture, github: &GitHub, rights: Rights, args: &[&str]) -> (Step, Command) {
    let step = Step::new();
    let mut command = step.command(args);
    event.give(&mut command, &step.path(""));
    command.env("GITHUB_API_URL", &github.url);
    match rights {
        Rights::Write => command.env("KITT_INPUT_GITHUB_TOKEN", "rw"),
        Rights::Read => command.env("KITT_INPUT_GITHUB_TOKEN", "ro"),
        Rights::None => &mut command,
    };
    (step, command)
}

/// Measures a single request: enough to see that something was measured.
pub fn measuring(command: &mut Command) -> &mut Command {
    command
        .args(TINY)
        .args(["--requests", "1", "--engine-args", FAST])
}

/// Results of this machine that can be judged; `extra` is for the engine. Twenty requests is the
/// least for a median. A busy machine spoils a measurement now and then: then once more.
pub fn results(dir: &Path, extra: &str) {
    for _ in 0..20 {
        let mut command = kitt();
        command.args(["run", "-o"]).arg(dir).args(TINY);
        command.args([
            "--requests",
            "24",
            "--engine-args",
            &format!("{FAST} {extra}"),
        ]);
        let output = command.output().unwrap();
        let text = fs::read_to_string(dir.join("metrics.json")).unwrap();
        let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
        match output.status.code() {
            Some(0) if metrics["measurements"][0]["validity"] == "valid" => return,
            Some(0 | 21) => {}
            _ => panic!("{}", said(&output)),
        }
    }
    panic!("this machine is too busy to measure anything");
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=dev", "-c", "user.email=dev@example.org"])
        .args(["-c", "commit.gpgsign=false"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
