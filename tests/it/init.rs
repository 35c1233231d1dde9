//! `kitt init`: what it writes, what it leaves alone, and what it says when it cannot know.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::harness::kitt;

const ENOUGH: [&str; 6] = ["--offline", "--yes", "--engine", "sim", "--model", "sim"];

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost"])
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "--quiet", "--initial-branch=trunk"]);
    dir
}

fn init(dir: &Path, args: &[&str]) -> Output {
    let mut command = kitt();
    command.args(["init", "--path"]).arg(dir).args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Files below a folder, git's own left out.
fn files(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with(".git") {
                walk(root, &path, found);
            } else if path.is_file() {
                let below = path.strip_prefix(root).unwrap();
                found.push(below.to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

#[test]
fn without_a_terminal_every_missing_flag_is_named_and_nothing_is_written() {
    let dir = repository();
    let output = init(dir.path(), &["--offline"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("give --engine, --model: there is no terminal"));
    let output = init(dir.path(), &["--offline", "--engine", "openai", "--yes"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("give --model, --endpoint:"),
        "{}",
        stderr(&output)
    );
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[test]
fn what_is_written_is_read_by_kitt_and_says_what_comes_next() {
    let dir = repository();
    let flags = [
        "--offline",
        "--engine",
        "llama-cpp",
        "--model",
        "/models/ü: #1.gguf",
        "--gate=false",
    ];
    let output = init(dir.path(), &flags);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let wrote = [".github/kitt.yml", ".github/workflows/kitt-pr-gate.yml"];
    assert_eq!(files(dir.path()), wrote);
    let said = stdout(&output);
    for words in [
        "wrote .github/kitt.yml",
        "kitt doctor --engine llama_cpp",
        "--ref <40 digits>",
        "first push to trunk",
    ] {
        assert!(said.contains(words), "{words}\n{said}");
    }
    let workflow = fs::read_to_string(dir.path().join(wrote[1])).unwrap();
    assert!(workflow.contains("branches: [trunk]"), "{workflow}");
    let config = kitt()
        .args(["ci", "run", "--print-config"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(config.status.code(), Some(0), "{}", stderr(&config));
    let config = stdout(&config);
    let line = |name: &str| {
        let line = config
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("{name}\n{config}"))
            .to_owned()
    };
    assert!(
        line("model").contains("/models/ü: #1.gguf"),
        "{}",
        line("model")
    );
    assert!(line("engine").contains("llama_cpp") && line("engine").contains(".github/kitt.yml"));
    assert!(line("gate").contains("false"));
}

#[test]
fn nothing_is_overwritten_unasked() {
    let dir = repository();
    assert_eq!(init(dir.path(), &ENOUGH).status.code(), Some(0));
    let again = init(dir.path(), &ENOUGH);
    assert_eq!(again.status.code(), Some(0));
    assert!(stdout(&again).contains("kept  .github/workflows/kitt-pr-gate.yml"));

    let workflow = dir.path().join(".github/workflows/kitt-pr-gate.yml");
    fs::write(&workflow, "mine\n").unwrap();
    let more = [&ENOUGH[..], &["--kind", "both", "--suite", "standard"]].concat();
    let refused = init(dir.path(), &more);
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(
        said.contains(".github/workflows/kitt-pr-gate.yml, .github/kitt.yml would change"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&workflow).unwrap(), "mine\n");
    assert_eq!(files(dir.path()).len(), 2, "not even the new one");

    let forced = init(dir.path(), &[&more[..], &["--force"]].concat());
    assert_eq!(forced.status.code(), Some(0));
    assert!(
        fs::read_to_string(&workflow)
            .unwrap()
            .starts_with("# Benchmarks")
    );
    assert_eq!(files(dir.path()).len(), 3);
}

#[test]
fn a_workflow_is_added_to_the_configuration_that_is_there() {
    let dir = repository();
    fs::create_dir(dir.path().join(".github")).unwrap();
    let config = dir.path().join(".github/kitt.yml");
    fs::write(
        &config,
        "engine: vllm\nmodel: org/model\nsuite: performance\n",
    )
    .unwrap();
    let output = init(dir.path(), &["--offline", "--yes", "--kind", "dispatch"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        files(dir.path()),
        [".github/kitt.yml", ".github/workflows/kitt-dispatch.yml"]
    );
    assert!(
        fs::read_to_string(&config)
            .unwrap()
            .starts_with("engine: vllm\n")
    );
    let workflow =
        fs::read_to_string(dir.path().join(".github/workflows/kitt-dispatch.yml")).unwrap();
    assert!(workflow.contains("default: vllm") && workflow.contains("default: performance"));

    fs::write(&config, "engin: vllm\n").unwrap();
    let wrong = init(dir.path(), &["--offline", "--yes"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("engin"), "{}", stderr(&wrong));
}

#[test]
fn a_dry_run_shows_all_and_writes_nothing() {
    let dir = repository();
    let output = init(
        dir.path(),
        &[&ENOUGH[..], &["--dry-run", "--kind", "fork-safe,matrix"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0));
    let shown = stdout(&output);
    for file in [
        "kitt-fork-measure.yml",
        "kitt-fork-publish.yml",
        "kitt-matrix.yml",
        "kitt.yml",
    ] {
        assert!(shown.contains(&format!("{file} <==")), "{file}\n{shown}");
    }
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[test]
fn files_go_to_the_top_of_the_repository() {
    let dir = repository();
    let below = dir.path().join("src/deep");
    fs::create_dir_all(&below).unwrap();
    assert_eq!(init(&below, &ENOUGH).status.code(), Some(0));
    assert_eq!(
        files(dir.path()),
        [".github/kitt.yml", ".github/workflows/kitt-pr-gate.yml"]
    );

    let outside = tempfile::tempdir().unwrap();
    let output = init(outside.path(), &ENOUGH);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("no git repository"),
        "{}",
        stderr(&output)
    );
    let workflow = fs::read_to_string(outside.path().join(".github/workflows/kitt-pr-gate.yml"));
    assert!(workflow.unwrap().contains("branches: [main]"));
}

#[test]
fn wrong_flags_are_usage_errors_that_help() {
    let dir = repository();
    let cases: [(&[&str], &str); 8] = [
        (&["--engine", "vlm"], "did you mean `vllm`?"),
        (&["--suite", "qick"], "did you mean `quick`?"),
        (&["--labels", "a, b]\nx: [c"], "write labels of letters"),
        (&["--labels", "${{ secrets.X }}"], "write labels of letters"),
        (&["--branch", "rel*"], "write a name of letters"),
        (
            &["--model", "${{ github.token }}"],
            "which GitHub would evaluate",
        ),
        (&["--ref", "v1 # x"], "write a name of letters"),
        (&["--kind", "pr-gat"], "pr-gate"),
    ];
    for (flags, says) in cases {
        let output = init(
            dir.path(),
            &[
                &["--offline", "--yes", "--model", "m"],
                &["--engine", "sim"][..],
                flags,
            ]
            .concat(),
        );
        let output = if flags[0] == "--engine" || flags[0] == "--model" {
            let rest: &[&str] = if flags[0] == "--engine" {
                &["--model", "m"]
            } else {
                &["--engine", "sim"]
            };
            init(dir.path(), &[&["--offline", "--yes"], rest, flags].concat())
        } else {
            output
        };
        assert_eq!(
            output.status.code(),
            Some(2),
            "{flags:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{flags:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[test]
fn a_tag_is_pinned_by_the_commit_behind_it() {
    let action = repository();
    git(
        action.path(),
        &["commit", "--quiet", "--allow-empty", "--message=x"],
    );
    git(
        action.path(),
        &["tag", "--annotate", "--message=x", "v7.0.0"],
    );
    let sha = git(action.path(), &["rev-parse", "HEAD"]);
    let pinned = |tag: &str| {
        let dir = repository();
        let mut command = kitt();
        command
            .args(["init", "--yes", "--engine", "sim", "--ref", tag, "--path"])
            .arg(dir.path())
            .env("GIT_CONFIG_COUNT", "1")
            .env(
                "GIT_CONFIG_KEY_0",
                format!("url.file://{}.insteadOf", action.path().display()),
            )
            .env("GIT_CONFIG_VALUE_0", "https://github.com/org/kitt-action");
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let workflow = fs::read_to_string(dir.path().join(".github/workflows/kitt-pr-gate.yml"));
        (workflow.unwrap(), stdout(&output))
    };
    let (workflow, said) = pinned("v7.0.0");
    assert!(
        workflow.contains(&format!("uses: org/kitt-action@{sha} # v7.0.0\n")),
        "{workflow}"
    );
    assert!(!said.contains("Pin the action"), "{said}");
    let (workflow, said) = pinned("v8.0.0");
    assert!(
        workflow.contains("uses: org/kitt-action@v8.0.0\n"),
        "{workflow}"
    );
    assert!(said.contains("has no tag v8.0.0"), "{said}");
}

/// A terminal of its own, from util-linux.
#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_it_asks() {
    let dir = repository();
    let line = format!(
        "{} init --offline --path {}",
        env!("CARGO_BIN_EXE_kitt"),
        dir.path().display()
    );
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Kinds, a wrong engine, engine, model, suite, labels, branch, gate, confirmation.
    let typed = "pr-gate,nightly\nvlm\nvllm\norg/model\n\nself-hosted,h100\n\nno\nyes\n";
    child
        .stdin
        .take()
        .unwrap()
        .write_all(typed.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for words in [
        "Engine (vllm, ",
        "did you mean `vllm`?",
        "Branch that pull requests are compared with [trunk]",
        "Write .github/workflows/kitt-pr-gate.yml",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    let config = fs::read_to_string(dir.path().join(".github/kitt.yml")).unwrap();
    assert!(
        config.contains("\nmodel: org/model\n") && config.contains("\ngate: false\n"),
        "{config}"
    );
    let nightly = dir
        .path()
        .join(".github/workflows/kitt-nightly-history.yml");
    assert!(
        fs::read_to_string(nightly)
            .unwrap()
            .contains("runs-on: [self-hosted, h100]")
    );
}
