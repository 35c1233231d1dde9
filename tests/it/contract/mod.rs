//! Every request of kitt passes GitHub's own description of its API: that of github.com and that
//! of the newest Enterprise Server. prism is the judge; behind it is the tests' GitHub, so that
//! kitt's real code goes through to the end.
//!
//! To add a case: an entry in [`cases::CASES`]. An operation that no case sends fails the test.

mod cases;
mod judge;

use std::{collections::BTreeSet, env, path::Path, process::Command};

use kitt_action::github::{OPERATIONS, Operation, operations::GRAPHQL, tables};
use serde_json::Value;

use crate::github::GitHub;
use judge::Judge;

/// Where a script of the project says that something is; nothing, with a reason, when it is not
/// made yet and would have to be fetched.
fn tool(script: &str, args: &[&str]) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("scripts").join(script))
        .args(args)
        .env("KITT_OFFLINE", "1")
        .output()
        .map_err(|error| format!("{script}: {error}"))?;
    if output.status.success() {
        let path = String::from_utf8(output.stdout).unwrap();
        return Ok(path.trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Or says why the test is skipped. With `KITT_TEST_GITHUB=required` that is a failure.
fn wanted(found: Result<String, String>) -> Option<String> {
    let required = env::var_os("KITT_TEST_GITHUB").is_some_and(|value| value == "required");
    match found {
        Ok(path) => Some(path),
        Err(why) if required => panic!("the contract check is required: {why}"),
        Err(why) => {
            println!("skipped: {why} (scripts/setup.sh makes it)");
            None
        }
    }
}

/// The operation of a request.
fn operation(method: &str, path: &str) -> Option<&'static Operation> {
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |operation: &&&'static Operation| {
        let template: Vec<&str> = operation.route.split('/').collect();
        operation.method == method
            && template.len() == parts.len()
            && template
                .iter()
                .zip(&parts)
                .all(|(name, part)| name.starts_with('{') || name == part)
    };
    // A name in a route is closer than a hole.
    let holes = |operation: &&&'static Operation| operation.route.matches('{').count();
    OPERATIONS.iter().filter(fits).min_by_key(holes).copied()
}

async fn all_operations_pass(description: &[&str], prefix: &str) {
    let Some(prism) = wanted(tool("prism.sh", &[])) else {
        return;
    };
    let Some(spec) = wanted(tool("github-spec.sh", description)) else {
        return;
    };
    let mut sent = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut judge = Judge::start(&prism, &spec).await;
    for (name, case) in cases::CASES {
        let door = judge.door(prefix);
        case(&door).await;
        let requests = judge.requests();
        assert!(!requests.is_empty(), "{name} sends nothing");
        for request in requests {
            let found = operation(&request.method, &request.path);
            let Some(found) = found else {
                panic!(
                    "{name}: {} {} is no operation",
                    request.method, request.path
                );
            };
            sent.insert((found.method, found.route));
            let line = |why| format!("{name}: {} {}: {why}", request.method, request.path);
            wrong.extend(request.violations.iter().map(line));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<_> = OPERATIONS.iter().map(|o| (o.method, o.route)).collect();
    let unsent: Vec<_> = all.difference(&sent).collect();
    assert!(unsent.is_empty(), "no case sends {unsent:#?}");
    println!("{} operations, {}", sent.len(), judge.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pass_the_description_of_github_com() {
    all_operations_pass(&[], "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_pass_the_description_of_an_enterprise_server() {
    all_operations_pass(&["ghes"], "/api/v3").await;
}

/// What is said to be missing on an Enterprise Server is missing there, and nothing else.
#[test]
fn what_an_enterprise_server_lacks_is_known() {
    let Some(spec) = wanted(tool("github-spec.sh", &["ghes"])) else {
        return;
    };
    let spec = std::fs::read(spec).unwrap();
    let spec: Value = serde_json::from_slice(&spec).unwrap();
    let lacking: Vec<String> = OPERATIONS
        .iter()
        .filter(|operation| **operation != &GRAPHQL)
        .filter(|operation| {
            let method = operation.method.to_lowercase();
            spec["paths"][operation.route].get(method).is_none()
        })
        .map(|operation| format!("| `{} {}` |", operation.method, operation.route))
        .collect();
    let written = tables::missing_table();
    let written: Vec<&str> = written.lines().filter(|line| line.contains('/')).collect();
    assert_eq!(lacking, written);
}

/// prism itself would notice: a request that is wrong in each way that is looked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_judge_sees_what_is_wrong() {
    let (Some(prism), Some(spec)) = (
        wanted(tool("prism.sh", &[])),
        wanted(tool("github-spec.sh", &[])),
    ) else {
        return;
    };
    let mut judge = Judge::start(&prism, &spec).await;
    let gh = GitHub::start();
    gh.state(|s| s.pull(7).number);
    judge.door("").to(&gh);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, body: Value| {
        let request = http.post(format!("{}{path}", judge.url)).json(&body);
        drop(
            request
                .header("user-agent", "t")
                .bearer_auth("t")
                .send()
                .await,
        );
    };
    post(
        "/repos/o/r/issues/7/comments",
        serde_json::json!({"body": 7}),
    )
    .await;
    post(
        "/repos/o/r/issues/seven/comments",
        serde_json::json!({"body": "x"}),
    )
    .await;
    post("/repos/o/r/check-runs", serde_json::json!({"name": "x"})).await;
    post("/repos/o/r/nowhere", serde_json::json!({})).await;
    for request in judge.requests() {
        assert!(!request.violations.is_empty(), "{request:?}");
    }
}
