//! Lists in pages.

use kitt_action::github::{
    GitHubError,
    operations::{LIST_ARTIFACTS, LIST_COMMENTS},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    about, client,
    origin::{self, Canned},
};
use crate::github::GitHub;

#[derive(Deserialize)]
struct Artifacts {
    artifacts: Vec<Value>,
}

fn with_artifacts(count: usize) -> GitHub {
    let gh = GitHub::start();
    gh.state(|s| {
        let run = s.run("push", "main", "abc").id;
        for _ in 0..count {
            s.artifact(run, "kitt-baseline", b"x");
        }
    });
    gh
}

#[tokio::test]
async fn all_pages_are_read_by_number() {
    let gh = with_artifacts(250);
    let request = about(&LIST_ARTIFACTS, &[]).query("name", "kitt-baseline");
    let github = client(&gh.url);
    let all = github.pages(request, 1000, |page: Artifacts| page.artifacts);
    assert_eq!(all.await.unwrap().len(), 250);
    let seen = gh.seen("GET", "");
    assert_eq!(seen.len(), 3);
    // Never by the links, which go by the repository's id.
    assert!(
        seen.iter()
            .all(|seen| seen.path == "/repos/org/repo/actions/artifacts")
    );
    assert_eq!(seen[2].query, "name=kitt-baseline&per_page=100&page=3");
}

#[tokio::test]
async fn no_more_are_read_than_wanted() {
    let gh = with_artifacts(250);
    let github = client(&gh.url);
    let list = |most| {
        let request = about(&LIST_ARTIFACTS, &[]);
        github.pages(request, most, |page: Artifacts| page.artifacts)
    };
    assert_eq!(list(150).await.unwrap().len(), 150);
    assert_eq!(gh.seen("GET", "").len(), 2);
    assert_eq!(list(10).await.unwrap().len(), 10);
    assert_eq!(gh.seen("GET", "per_page=10&").len(), 1);
}

#[tokio::test]
async fn a_next_link_to_another_host_is_not_followed() {
    let evil = origin::start().await;
    let api = origin::start().await;
    let link = format!("<{}/next?page=2>; rel=\"next\"", evil.url);
    let page = Canned::ok("[{\"id\": 1}]").header("link", &link);
    api.site.at("/repos/org/repo/issues/7/comments", page);
    let list = about(&LIST_COMMENTS, &["7"]);
    let found = client(&api.url)
        .pages(list, 3, |page: Vec<Value>| page)
        .await;
    assert_eq!(found.unwrap().len(), 3);
    assert!(evil.site.seen().is_empty());
    assert_eq!(api.site.seen().len(), 3);
}

#[tokio::test]
async fn a_list_without_an_end_is_stopped() {
    let api = origin::start().await;
    let page = Canned::ok("[{\"id\": 1}]").header("link", "</x>; rel=\"next\"");
    api.site.at("/repos/org/repo/issues/7/comments", page);
    let list = about(&LIST_COMMENTS, &["7"]);
    let github = client(&api.url);
    let error = github.pages(list, 9999, |page: Vec<Value>| page).await;
    let error = error.unwrap_err();
    assert!(matches!(error, GitHubError::Answer { .. }), "{error}");
    assert_eq!(api.site.seen().len(), 100);
}
