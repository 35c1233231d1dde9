//! What kitt does with GitHub's API, each as its real code does it.

use std::{pin::Pin, process::Command, time::Duration};

use kitt_action::{
    context::CommentWhen,
    github::{GitHub as Client, Operation, operations as ops, token_facts},
    publish,
    secret::Secret,
    store::{
        branch::{Entry, push as store_on},
        discover::Place,
    },
};
use serde_json::Value;
use tempfile::TempDir;

use super::judge::Door;
use crate::{
    baseline::{NAME, World, usual_conditions},
    fork::Stage,
    github::{GitHub, Token},
    harness::{fixture, kitt},
    history::Past,
    publish::comment::posted,
};

type Done<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Case = for<'a> fn(&'a Door) -> Done<'a>;

pub(super) const CASES: &[(&str, Case)] = &[
    ("the comment of a pull request", |door| {
        Box::pin(comment(door))
    }),
    ("an app's comment", |door| Box::pin(app(door))),
    ("check run and comment of a push", |door| {
        Box::pin(push(door))
    }),
    ("a look at the token", |door| Box::pin(look(door))),
    ("baselines in artifacts", |door| {
        artifacts(door);
        Box::pin(std::future::ready(()))
    }),
    ("baselines on a branch", |door| Box::pin(branch(door))),
    ("a fork's results", |door| Box::pin(fork(door))),
    ("what changed and who accepted", |door| {
        Box::pin(policy(door))
    }),
];

/// A GitHub at the end of the way, with pull request 7.
fn start(door: &Door) -> GitHub {
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    door.to(&gh);
    gh
}

fn client(api: &str) -> Client {
    let token = Secret::new("ghs_test").unwrap();
    let github = Client::new(api, token).unwrap();
    github.with_base_delay(Duration::from_millis(1))
}

async fn ask(
    api: &str,
    operation: &'static Operation,
    more: &[&str],
    body: Option<Value>,
) -> Value {
    let mut values = vec!["org", "repo"];
    values.extend(more);
    let mut request = operation.request(&values);
    if let Some(body) = body {
        request = request.json(body);
    }
    let answer = client(api).ask::<Value>(&request).await;
    answer.unwrap_or_else(|error| panic!("{error}")).value
}

/// The program in a job of the repository.
async fn run(api: &str, args: &[&str], env: &[(&str, &str)]) {
    let folder = TempDir::new().unwrap();
    let mut command = kitt();
    command
        .current_dir(folder.path())
        .args(args)
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_API_URL", api)
        .env("GITHUB_REPOSITORY", "org/repo")
        .env("GITHUB_RUN_ID", "77")
        .env("GITHUB_RUN_ATTEMPT", "1")
        .env("GITHUB_JOB", "bench")
        .env("RUNNER_TEMP", folder.path())
        .env("KITT_INPUT_GITHUB_TOKEN", "ghs_test")
        .envs(env.iter().copied());
    let output = finished(command).await;
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {log}");
}

async fn finished(mut command: Command) -> std::process::Output {
    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    done.await.unwrap()
}

/// Created, then brought up to date, by the program; a duplicate goes.
async fn comment(door: &Door) {
    let (gh, api) = (start(door), &door.api);
    let results = |name: &str| fixture(&format!("kitt/{name}")).display().to_string();
    for (current, baseline) in [("current", "baseline"), ("baseline", "current")] {
        let (current, baseline) = (results(current), results(baseline));
        let report = ["ci", "report", "--pr", "7", "--results-dir", &current];
        let args = [&report[..], &["--baseline-dir", &baseline]].concat();
        run(api, &args, &[]).await;
    }
    let comments = gh.state(|s| s.comments.clone());
    assert_eq!(comments.len(), 1);
    assert_ne!(comments[0].updated_at, "");
    let id = comments[0].id.to_string();
    ask(api, &ops::GET_COMMENT, &[&id], None).await;
    ask(api, &ops::DELETE_COMMENT, &[&id], None).await;
    assert!(gh.state(|s| s.comments.is_empty()));
}

/// With the token of an app's installation, whose account only GraphQL tells.
async fn app(door: &Door) {
    let (gh, api) = (start(door), &door.api);
    gh.state(|s| {
        let token = Token::app(9, "our-app");
        s.tokens.insert("ghs_test".to_owned(), token);
    });
    for text in ["one", "two"] {
        let body = format!("<!-- kitt-benchmark -->\n<!-- kitt-action key=default -->\n{text}\n");
        let (repo, pr) = ("org/repo".parse().unwrap(), "7".parse().unwrap());
        let posted = posted("default", body);
        let done = publish::upsert(&client(api), &repo, pr, &posted, CommentWhen::Always).await;
        done.unwrap();
    }
    let comments = gh.state(|s| s.comments.clone());
    assert_eq!(comments.len(), 1);
    assert_eq!(comments[0].author, "our-app[bot]");
}

async fn push(door: &Door) {
    let (gh, api) = (start(door), &door.api);
    let sha = gh.state(|s| s.head("org/repo", "main"));
    let results = fixture("kitt/current").display().to_string();
    let env = [
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_SHA", sha.as_str()),
        ("KITT_INPUT_CHECK_RUN", "true"),
        ("KITT_INPUT_COMMIT_COMMENT", "true"),
    ];
    let baseline = fixture("kitt/baseline").display().to_string();
    let report = ["ci", "report", "--results-dir", &results];
    run(api, &report, &env).await;
    let again = [&report[..], &["--baseline-dir", &baseline]].concat();
    run(api, &again, &env).await;
    assert_eq!(gh.state(|s| s.checks.len()), 1);
    assert_eq!(gh.state(|s| s.commit_comments.len()), 1);
}

async fn look(door: &Door) {
    let _gh = start(door);
    let repo = "org/repo".parse().unwrap();
    token_facts(&client(&door.api), &repo).await.unwrap();
}

/// Found by the rules, among others that do not fit.
fn artifacts(door: &Door) {
    let world = World::new(4);
    door.to(&world.gh);
    world.stored(1, &Past::default());
    world.stored(2, &Past::default());
    let search = |at| {
        let conditions = usual_conditions();
        let place = Place::Artifacts(NAME);
        let search = || world.search_at(&door.api, place, Some(at), &conditions);
        tokio::task::block_in_place(search).unwrap()
    };
    assert!(search(3).found.is_ok());
    assert!(search(2).found.is_ok());
}

/// Two of them, the second on top of the first, then found again.
async fn branch(door: &Door) {
    let world = World::new(4);
    door.to(&world.gh);
    let past = Past::default();
    for at in [1, 2] {
        let folder = TempDir::new().unwrap();
        past.store(folder.path());
        let read = |name: &str| {
            let bytes = std::fs::read(folder.path().join(name)).unwrap();
            (name.to_owned(), bytes)
        };
        let entry = Entry {
            folder: NAME,
            key: "0123456789abcdef",
            when: past.header().started_at,
            commit: &world.commits[at].parse().unwrap(),
            files: vec![read("metrics.json"), read("config.json")],
        };
        let repo = "org/repo".parse().unwrap();
        let pushed = store_on(&client(&door.api), &repo, "kitt", &entry, 5).await;
        assert_eq!(pushed.unwrap().attempts, 1);
    }
    let place = Place::Branch {
        branch: "kitt",
        folder: NAME,
    };
    let conditions = usual_conditions();
    let search = || world.search_at(&door.api, place, Some(2), &conditions);
    assert!(tokio::task::block_in_place(search).unwrap().found.is_ok());
}

/// `kitt ci publish` of a completed run.
async fn fork(door: &Door) {
    let mut stage = Stage::measured(100.0);
    stage.set("GITHUB_API_URL", &door.api);
    door.to(&stage.gh);
    tokio::task::block_in_place(|| stage.publish(&[], 0));
    assert_eq!(stage.gh.state(|s| s.comments.len()), 1);
    let run = stage.run.to_string();
    ask(&door.api, &ops::GET_RUN, &[&run], None).await;
}

/// As the policy asks them.
async fn policy(door: &Door) {
    let gh = start(door);
    let sha = gh.state(|s| s.head("org/repo", "main"));
    let api = &door.api;
    ask(api, &ops::GET_PULL, &["7"], None).await;
    let about = |operation: &'static Operation, more: &[&str]| {
        let values = [&["org", "repo"], more].concat();
        operation.request(&values)
    };
    let one = |value: Value| vec![value];
    let github = client(api);
    for list in [
        about(&ops::LIST_PULL_FILES, &["7"]),
        about(&ops::LIST_EVENTS, &["7"]),
    ] {
        github.pages(list, 100, one).await.unwrap();
    }
    // The newest pushes: this list knows no numbers of pages.
    let pushes = about(&ops::LIST_ACTIVITY, &[]);
    let pushes = pushes.query("ref", "refs/heads/main");
    let pushes = pushes.query("direction", "desc").query("per_page", "30");
    github.ask::<Value>(&pushes).await.unwrap();
    ask(api, &ops::GET_PERMISSION, &["dev"], None).await;
    ask(api, &ops::COMPARE, &[&format!("{sha}...{sha}")], None).await;
}
