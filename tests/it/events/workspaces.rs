//! Whose code is run where: the refusals, and what lifts them.

use std::{fs, path::Path, process::Output};

use super::{
    super::{flow::Step, readme::with_section},
    fixture::Fixture,
    world::{self, FORK_ID, PR, Rights, World},
};

/// Fixture, and whether the pull request is a stranger's where only the API says so.
const EVENTS: [(&str, bool); 8] = [
    ("pull_request-fork", false),
    ("pull_request_target-own", false),
    ("pull_request_target-fork", false),
    ("workflow_run-own", false),
    ("workflow_run-fork", false),
    ("issue_comment-pr", false),
    ("issue_comment-pr", true),
    ("workflow_dispatch-pr", true),
];

const WORKSPACES: [&str; 6] = [
    "the base",
    "the head",
    "the merge",
    "another commit",
    "nothing",
    "the base, the head in a folder",
];

/// Runs an event with this in the workspace.
fn run(
    world: &World,
    (event, foreign): (&Fixture, bool),
    workspace: &str,
    more: &[&str],
) -> (Step, Output) {
    let github = world.github(event);
    if foreign {
        github.state(|s| s.pull(PR).head_repo = Some(FORK_ID));
    }
    let (step, mut command) = world::step(event, &github, Rights::Write, &["ci", "run"]);
    let folder = step.path("workspace");
    fs::create_dir(&folder).unwrap();
    let workspace = match workspace {
        "the base" => world.workspace(&world.base),
        "the head" => world.workspace(&world.head),
        "the merge" => world.workspace(&world.merge),
        "another commit" => world.workspace(&world.group),
        "nothing" => folder,
        "the base, the head in a folder" => {
            let outer = world.copy(&world.base, &folder.join("outer"));
            world.copy(&world.head, &outer.join("pr"));
            outer
        }
        other => panic!("{other}"),
    };
    command.env("GITHUB_WORKSPACE", workspace);
    let output = world::measuring(&mut command).args(more).output().unwrap();
    (step, output)
}

/// How it ended; a refusal has started nothing, and says what to do.
fn outcome(step: &Step, output: &Output) -> &'static str {
    let stderr = world::said(output);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let started = stderr.contains("sending 1 request");
    match output.status.code() {
        // One request on a busy machine may be one that cannot be trusted.
        Some(0 | 21) => {
            assert!(started, "{stderr}");
            if stdout.contains("::warning ") {
                "measured, warned"
            } else {
                "measured"
            }
        }
        Some(2) => {
            assert!(!started && !step.path("kitt-results").exists(), "{stderr}");
            assert_eq!(step.outputs()["verdict"], "error");
            assert_eq!(step.outputs()["passed"], "false");
            let summary = fs::read_to_string(step.path("summary")).unwrap();
            for word in ["approved", "label", "docs/forks.md", "allow-forks"] {
                assert!(summary.contains(word), "{word}: {summary}");
            }
            assert_eq!(stdout.matches("::error ").count(), 1, "{stdout}");
            "refused"
        }
        other => panic!("{other:?}: {stderr}"),
    }
}

#[test]
fn what_the_workspace_holds_decides_about_secrets() {
    let world = World::new();
    let mut rows = Vec::new();
    for (name, foreign) in EVENTS {
        let event = world.event(name);
        let cells = WORKSPACES.map(|workspace| {
            let (step, output) = run(&world, (&event, foreign), workspace, &[]);
            outcome(&step, &output)
        });
        let whose = if foreign { " of a fork" } else { "" };
        rows.push(format!("| `{name}`{whose} | {} |", cells.join(" | ")));
    }
    let dashes = "---|".repeat(WORKSPACES.len());
    let made = format!(
        "| event | {} |\n|---|{dashes}\n{}",
        WORKSPACES.join(" | "),
        rows.join("\n")
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/events.md");
    let text = fs::read_to_string(&path).unwrap();
    let wanted = with_section(&text, "workspaces", &made);
    if std::env::var_os("KITT_UPDATE_README").is_some() {
        fs::write(&path, &wanted).unwrap();
        return;
    }
    assert!(
        text == wanted,
        "docs/events.md is not what the binary does:\n{made}"
    );
}

#[test]
fn allow_forks_lets_in_whom_it_names() {
    let world = World::new();
    let event = world.event("pull_request-fork");
    let ended = |more: &[&str]| {
        let (step, output) = run(&world, (&event, false), "the merge", more);
        outcome(&step, &output)
    };
    assert_eq!(ended(&["--allow-forks", "true"]), "measured");
    assert_eq!(ended(&["--allow-forks", "1,812345670"]), "measured");
    // The id of the repository itself, and of nobody.
    assert_eq!(ended(&["--allow-forks", "734512908"]), "refused");
    assert_eq!(ended(&["--allow-forks", "false"]), "refused");
}

#[test]
fn a_runner_that_does_not_say_whose_it_is_counts_as_ones_own() {
    let world = World::new();
    for (environment, expected) in [
        (Some("github-hosted"), "measured"),
        (Some("self-hosted"), "refused"),
        (Some("something-new"), "refused"),
        (None, "refused"),
    ] {
        let mut event = world.event("pull_request-fork");
        event.env.remove("RUNNER_ENVIRONMENT");
        let set = environment.map(|text| ("RUNNER_ENVIRONMENT".to_owned(), text.to_owned()));
        event.env.extend(set);
        let (step, output) = run(&world, (&event, false), "the merge", &[]);
        assert_eq!(outcome(&step, &output), expected, "{environment:?}");
    }
}

/// The file lies in the workspace, so whoever wrote the code wrote the file.
#[test]
fn a_file_of_the_workspace_allows_nothing() {
    let world = World::new();
    let event = world.event("pull_request-fork");
    let github = world.github(&event);
    let (step, mut command) = world::step(&event, &github, Rights::Read, &["ci", "run"]);
    fs::create_dir(step.path(".github")).unwrap();
    fs::write(step.path(".github/kitt.yml"), "allow-forks: true\n").unwrap();
    let output = world::measuring(&mut command).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", world::said(&output));
    assert!(
        world::said(&output).contains("allow-forks"),
        "{}",
        world::said(&output)
    );
    assert!(!step.path("kitt-results").exists());
}

#[test]
fn a_deleted_branch_is_no_measurement_and_no_baseline() {
    let world = World::new();
    let event = world.event("push-deleted");
    let github = world.github(&event);
    let (step, mut command) = world::step(&event, &github, Rights::Write, &["ci", "run"]);
    let output = world::measuring(&mut command).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", world::said(&output));
    assert_eq!(step.outputs()["passed"], "false");
    let summary = fs::read_to_string(step.path("summary")).unwrap();
    assert!(summary.contains("nothing to measure"), "{summary}");
    assert!(summary.contains("github.event.deleted"), "{summary}");
    assert!(!step.path("kitt-results").exists());
    let written = github.seen("POST", "");
    assert!(written.is_empty(), "main did nothing: {written:?}");
}

#[test]
fn results_belong_to_the_commit_that_was_in_the_workspace() {
    let world = World::new();
    let commit = |event: &str, workspace: &str| {
        let (step, output) = run(&world, (&world.event(event), false), workspace, &[]);
        assert!(
            matches!(output.status.code(), Some(0 | 21)),
            "{}",
            world::said(&output)
        );
        let text = fs::read_to_string(step.path("kitt-results/metrics.json")).unwrap();
        let metrics: serde_json::Value = serde_json::from_str(&text).unwrap();
        metrics["provenance"]["commit"].as_str().unwrap().to_owned()
    };
    assert_eq!(commit("pull_request-opened", "the merge"), world.head);
    assert_eq!(commit("pull_request-opened", "nothing"), world.head);
    // The head's name on the base's numbers would be a lie.
    assert_eq!(commit("pull_request_target-own", "the base"), world.base);
    assert_eq!(commit("push-branch", "the base"), world.base);
    assert_eq!(commit("schedule", "another commit"), world.group);
}
