//! The check run: pending while it is measured, one for a job however often it runs, never another
//! app's.

use std::{
    fs,
    process::{Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    github::{Check, GitHub, Level, Rule, Token, What},
    harness::kitt,
};

const FAST: &str =
    "--prefill-base-ms=1 --decode-base-ms=1 --decode-per-sequence-ms=0.1 --run-cv=0.001";

/// A job on a push of the default branch's tip.
struct Job {
    github: GitHub,
    dir: TempDir,
    sha: String,
}

impl Job {
    fn new() -> Self {
        let github = GitHub::start();
        let sha = github.state(|s| s.head("org/repo", "main"));
        Self {
            github,
            dir: tempfile::tempdir().unwrap(),
            sha,
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = kitt();
        command.args(args).current_dir(self.dir.path());
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "org/repo"),
            ("GITHUB_EVENT_NAME", "schedule"),
            ("GITHUB_RUN_ID", "77"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_JOB", "bench"),
            ("KITT_INPUT_GITHUB_TOKEN", "ghs_token"),
            ("KITT_INPUT_CHECK_RUN", "true"),
            ("KITT_INPUT_RESULTS_DIR", "results"),
        ] {
            command.env(name, value);
        }
        command
            .env("GITHUB_API_URL", &self.github.url)
            .env("GITHUB_SHA", &self.sha)
            .env("GITHUB_OUTPUT", self.dir.path().join("output"))
            .env("RUNNER_TEMP", self.dir.path());
        command
    }

    /// The simulated engine, quickly.
    fn measuring(&self) -> Command {
        self.sending("24")
    }

    fn sending(&self, requests: &str) -> Command {
        let mut command = self.command(&["ci", "run", "-m", "sim", "-e", "sim"]);
        command.args(["--input-tokens", "16", "--output-tokens", "16"]);
        command.args(["--requests", requests, "--engine-args", FAST]);
        command
    }

    fn checks(&self) -> Vec<Check> {
        assert_eq!(self.github.violations(), Vec::<String>::new());
        self.github.state(|s| s.checks.clone())
    }

    fn check(&self) -> Check {
        let checks = self.checks();
        assert_eq!(checks.len(), 1, "{checks:?}");
        checks[0].clone()
    }

    fn note(&self) -> std::path::PathBuf {
        self.dir.path().join("kitt-check-run.json")
    }

    fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }
}

#[track_caller]
fn ends(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn it_is_pending_before_anything_is_measured_and_then_has_the_verdict() {
    let job = Job::new();
    ends(&job.measuring().output().unwrap(), 0);
    let check = job.check();
    assert_eq!(check.name, "KITT");
    assert_eq!(check.head_sha, job.sha);
    assert_eq!(check.status, "completed");
    // Nothing to compare with.
    assert_eq!(check.conclusion.as_deref(), Some("neutral"));
    let title = check.title.unwrap();
    assert!(title.starts_with("No baseline yet"), "{title}");
    assert!(check.summary.unwrap().contains("No baseline yet"));
    assert!(check.annotations.is_empty());
    assert_eq!(
        check.details_url.as_deref(),
        Some("https://github.com/org/repo/actions/runs/77/attempts/1")
    );
    let begun = &job.github.seen("POST", "/check-runs")[0];
    assert_eq!(begun.body.as_ref().unwrap()["status"], "in_progress");
    assert!(job.output().contains("\ncheck-url<<") || job.output().starts_with("check-url<<"));
    assert!(!job.note().exists(), "nothing is left to end");
}

#[test]
fn a_re_run_updates_its_own_and_leaves_those_of_others() {
    let job = Job::new();
    ends(&job.measuring().output().unwrap(), 0);
    let own = job.check();
    // Another app with the same name and even the same id of ours, and another run's.
    job.github.state(|s| {
        let mut foreign = own.clone();
        foreign.id += 1_000_000;
        foreign.app = Token::app(9, "copycat").app.unwrap();
        s.checks.push(foreign);
    });
    let mut again = job.measuring();
    again.env("GITHUB_RUN_ATTEMPT", "2");
    ends(&again.output().unwrap(), 0);
    let mut other = job.measuring();
    other.env("GITHUB_RUN_ID", "78");
    ends(&other.output().unwrap(), 0);
    let checks = job.checks();
    assert_eq!(checks.len(), 3, "{checks:?}");
    assert_eq!(checks[0].id, own.id);
    let details = checks[0].details_url.clone().unwrap();
    assert!(details.ends_with("/attempts/2"), "{details}");
    assert_eq!(checks[1].details_url, own.details_url, "the copycat's");
    assert_ne!(checks[2].external_id, own.external_id);
}

#[test]
fn key_and_section_are_in_the_name() {
    let job = Job::new();
    let mut command = job.measuring();
    command.env("KITT_MATRIX", r#"{"gpu":"h100"}"#);
    ends(&command.output().unwrap(), 0);
    assert_eq!(job.check().name, "KITT (h100)");
}

#[test]
fn what_could_not_be_measured_asks_for_a_person() {
    let job = Job::new();
    let mut command = job.command(&["ci", "run", "-m", "x", "-e", "openai"]);
    // Nothing listens on port 1.
    command.args(["--endpoint", "http://127.0.0.1:1", "--startup-timeout", "1"]);
    ends(&command.output().unwrap(), 22);
    let check = job.check();
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    assert!(check.title.unwrap().contains("Could not measure"));
    assert!(!job.note().exists());
}

#[test]
fn a_lost_answer_makes_no_second_one() {
    let job = Job::new();
    job.github.state(|s| {
        s.faults
            .push(Rule::on("POST", "/check-runs", What::CutAfter));
        s.faults
            .push(Rule::on("PATCH", "/check-runs/", What::StatusAfter(502)));
    });
    ends(&job.measuring().output().unwrap(), 0);
    assert_eq!(job.check().status, "completed");
}

#[test]
fn a_token_that_may_not_costs_a_warning_and_no_more() {
    for (token, says) in [
        (Token::read_only(), "checks: write"),
        (Token::user("octocat"), "personal access token"),
    ] {
        let job = Job::new();
        job.github.state(|s| {
            s.tokens
                .insert("ghs_token".to_owned(), token.with("contents", Level::Write));
        });
        let output = job.measuring().output().unwrap();
        let said = ends(&output, 0);
        assert!(said.contains(says), "{said}");
        let commands = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(
            commands.matches("::warning ").count(),
            1,
            "once, not twice: {commands}"
        );
        assert!(job.checks().is_empty());
        assert!(!job.output().contains("check-url"));
    }
}

/// Waits until the check run is begun, sends the signal, and gives the exit code.
#[cfg(unix)]
fn stopped_by(job: &Job, signal: &str) -> Option<i32> {
    // Long enough to be stopped in the middle.
    let mut command = job.sending("100000");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    while !job.note().exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &pid]).status();
    assert!(sent.unwrap().success());
    child.wait().unwrap().code()
}

#[cfg(unix)]
#[test]
fn what_a_stopped_run_left_open_is_ended_by_the_clean_up() {
    for (signal, code) in [("KILL", None), ("TERM", Some(143))] {
        let job = Job::new();
        assert_eq!(stopped_by(&job, signal), code);
        // A cancelled run has no time for the network, a killed one for nothing.
        assert_eq!(job.check().status, "in_progress", "{signal}");
        ends(&job.command(&["cleanup"]).output().unwrap(), 0);
        let check = job.check();
        assert_eq!(check.conclusion.as_deref(), Some("cancelled"));
        assert!(!job.note().exists());
        // There is nothing to do a second time.
        let before = job.github.seen("", "").len();
        ends(&job.command(&["cleanup"]).output().unwrap(), 0);
        assert_eq!(job.github.seen("", "").len(), before);
    }
}

#[test]
fn a_note_of_another_run_is_not_believed() {
    let job = Job::new();
    for note in [
        r#"{"run":1,"check":5}"#,
        r#"{"run":77,"check":"../../x"}"#,
        "not json",
        r#"{"run":77,"check":5,"repo":"evil/repo"}"#,
    ] {
        fs::write(job.note(), note).unwrap();
        ends(&job.command(&["cleanup"]).output().unwrap(), 0);
        assert!(job.github.seen("PATCH", "").is_empty(), "{note}");
    }
}
