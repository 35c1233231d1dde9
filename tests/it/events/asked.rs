//! What is asked of the API, where event and checkout do not say it.

use std::{fs, process::Output};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    super::{
        flow::Step,
        github::{GitHub, Rule, What},
        harness::fixture,
    },
    fixture::Fixture,
    world::{self, PR, Rights, World},
};

const POLICY: &str = "
policy:
  contexts:
  - name: decode
    paths: ['src/decode*']
    strict: true
  - name: perf
    labels: [performance]
    stage: block
";

/// Reports on stored results, with the policy above.
fn report(
    event: &Fixture,
    github: &GitHub,
    rights: Rights,
    workspace: Option<&str>,
) -> (Step, String) {
    let (step, mut command) = world::step(event, github, rights, &["ci", "report"]);
    fs::create_dir(step.path(".github")).unwrap();
    fs::write(step.path(".github/kitt.yml"), POLICY).unwrap();
    fs::create_dir(step.path("empty")).unwrap();
    let empty = step.path("empty");
    command
        .env("GITHUB_WORKSPACE", workspace.map_or(empty, Into::into))
        .arg("--results-dir")
        .arg(fixture("kitt/current"))
        .args(["--output", "comment.md"]);
    let output: Output = command.output().unwrap();
    let said = world::said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    (step, said)
}

fn files_asked(github: &GitHub) -> usize {
    github.seen("GET", "/files").len() + github.seen("GET", "/compare/").len()
}

#[test]
fn changed_paths_come_from_git_and_else_from_the_api() {
    let world = World::new();
    let event = world.event("pull_request-opened");
    let applies = "policy context decode applies: src/decode.cc changes";

    let github = world.github(&event);
    let deep = world.workspace(&world.merge);
    let (_, said) = report(&event, &github, Rights::Write, deep.to_str());
    assert!(said.contains(applies), "{said}");
    assert_eq!(files_asked(&github), 0, "git knows");

    let (_, said) = report(&event, &github, Rights::Read, None);
    assert!(said.contains(applies), "{said}");
    assert_eq!(files_asked(&github), 1, "one page");

    let (_, said) = report(&event, &github, Rights::None, None);
    assert!(said.contains("the changed paths are not known"), "{said}");
    assert_eq!(files_asked(&github), 1, "nobody to ask with");
    assert_eq!(github.violations(), [""; 0]);
}

#[test]
fn a_push_is_compared_with_what_was_there_before() {
    let world = World::new();
    for (name, range) in [
        ("push-forced", format!("{}...{}", world.old, world.head)),
        // A new branch has nothing before it: what left the default branch counts.
        ("push-new-branch", format!("main...{}", world.head)),
    ] {
        let event = world.event(name);
        let github = world.github(&event);
        let (_, said) = report(&event, &github, Rights::Read, None);
        assert!(
            said.contains("policy context decode applies: src/decode.cc"),
            "{said}"
        );
        assert_eq!(
            github.seen("GET", &format!("/compare/{range}")).len(),
            1,
            "{name}"
        );
        assert_eq!(github.violations(), [""; 0]);
    }
}

#[test]
fn a_list_that_github_cuts_is_not_the_whole_truth() {
    let world = World::new();
    let event = world.event("pull_request-opened");
    let github = world.github(&event);
    let file = |n: usize| {
        json!({
        "sha": world.head, "filename": format!("docs/{n}.md"), "status": "added", "additions": 1,
        "deletions": 0, "changes": 1, "blob_url": "https://github.com/b", "raw_url": "https://github.com/r",
        "contents_url": "https://api.github.com/c"})
    };
    github.state(|s| s.pull(PR).files = Some((0..3100).map(file).collect()));
    let (_, said) = report(&event, &github, Rights::Read, None);
    assert!(
        said.contains("not all known (GitHub lists the first 3000 files only)"),
        "{said}"
    );
    assert!(said.contains("it holds to be on the safe side"), "{said}");
    assert_eq!(files_asked(&github), 30);
}

#[test]
fn a_silent_github_stops_nobody() {
    let world = World::new();
    let event = world.event("issue_comment-pr");
    let github = world.github(&event);
    github.state(|s| {
        s.faults
            .push(Rule::on("GET", "/pulls/", What::Status(404)).times(9));
    });
    let (_, said) = report(&event, &github, Rights::Read, None);
    assert!(
        said.contains("going on without what GitHub knows of pull request 17"),
        "{said}"
    );
    assert!(said.contains("the changed paths are not known"), "{said}");
}

#[test]
fn a_pull_request_is_looked_up_where_the_event_has_its_number_only() {
    let world = World::new();
    for name in [
        "issue_comment-pr",
        "workflow_dispatch-pr",
        "workflow_run-own",
    ] {
        let event = world.event(name);
        let github = world.github(&event);
        github.state(|s| s.label(PR, "performance", "octo-lead"));
        let (step, said) = report(&event, &github, Rights::Read, None);
        assert!(
            said.contains("policy context perf applies: label performance"),
            "{name}: {said}"
        );
        let comment = fs::read_to_string(step.path("comment.md")).unwrap();
        // The comment remembers what it is about.
        let (_, state) = comment.split_once("<!-- kitt-state:").unwrap();
        let state = state.split_whitespace().nth(1).unwrap();
        let state = String::from_utf8(STANDARD.decode(state).unwrap()).unwrap();
        assert!(state.contains(&world.head), "{name}: {state}");
        assert_eq!(github.seen("GET", "/pulls/17?").len(), 1, "{name}");
    }
    // What the event tells is not asked.
    let event = world.event("pull_request-opened");
    let github = world.github(&event);
    let deep = world.workspace(&world.merge);
    report(&event, &github, Rights::Read, deep.to_str());
    assert_eq!(github.seen("GET", "/pulls/").len(), 0);
}
