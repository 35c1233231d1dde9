//! Redirects of the API: followed where the API is, and nowhere else.

use kitt_action::github::{
    GitHubError,
    operations::{CREATE_COMMENT, GET_PULL, UPDATE_COMMENT},
};
use serde_json::{Value, json};

use super::{
    TOKEN, about, client,
    origin::{self, Canned},
    repository,
};
use crate::github::GitHub;

#[tokio::test]
async fn a_renamed_repository_is_read_and_written_at_its_new_place() {
    for enterprise in [false, true] {
        let gh = GitHub::start();
        gh.state(|s| {
            s.pull(7);
            s.renamed.insert("org/old".to_owned(), 1);
        });
        let url = if enterprise {
            gh.enterprise()
        } else {
            gh.url.clone()
        };
        let github = client(&url);
        let pull = GET_PULL.request(&["org", "old", "7"]);
        let answer = github.ask::<Value>(&pull).await.unwrap();
        assert_eq!(answer.value["number"], 7);
        let comment = CREATE_COMMENT.request(&["org", "old", "7"]);
        let comment = comment.json(json!({ "body": "text" }));
        let made = github.ask::<Value>(&comment).await.unwrap().value;
        let id = made["id"].to_string();
        let change = UPDATE_COMMENT.request(&["org", "old", &id]);
        let change = change.json(json!({ "body": "another" }));
        github.ask::<Value>(&change).await.unwrap();
        assert_eq!(gh.state(|s| s.comments[0].body.clone()), "another");
        assert_eq!(gh.state(|s| s.comments.len()), 1);
        let by_id = gh.seen("", "/repositories/1/");
        let methods: Vec<_> = by_id.iter().map(|seen| seen.method.as_str()).collect();
        assert_eq!(methods, ["GET", "POST", "PATCH"]);
        assert!(by_id.iter().all(|seen| seen.authorization.is_some()));
    }
}

#[tokio::test]
async fn method_and_body_survive_every_kind_of_redirect() {
    for status in [301, 302, 307, 308] {
        let api = origin::start().await;
        let from = "/repos/org/repo/issues/7/comments";
        let to = "/repositories/1/issues/7/comments";
        api.site.at(from, Canned::to(status, to));
        api.site.at(to, Canned::ok("{\"id\": 1}"));
        let request = about(&CREATE_COMMENT, &["7"]).json(json!({ "body": "text" }));
        let github = client(&api.url);
        github.ask::<Value>(&request).await.unwrap();
        let seen = api.site.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (seen[1].method.as_str(), seen[1].path.as_str()),
            ("POST", to)
        );
        assert_eq!(seen[1].body, "{\"body\":\"text\"}");
        assert_eq!(seen[1].headers["authorization"], format!("Bearer {TOKEN}"));
    }
}

#[tokio::test]
async fn another_origin_never_sees_the_token() {
    let evil = origin::start().await;
    evil.site.at("/repositories/1", Canned::ok("{}"));
    let api = origin::start().await;
    let place = format!("{}/repositories/1", evil.url);
    for status in [301, 302, 307, 308] {
        api.site.at("/repos/org/repo", Canned::to(status, &place));
        let github = client(&api.url);
        let error = github.ask::<Value>(&repository()).await.unwrap_err();
        assert!(matches!(error, GitHubError::Redirected { .. }), "{error}");
        assert!(error.to_string().contains(&evil.url), "{error}");
    }
    assert!(evil.site.seen().is_empty());
}

#[tokio::test]
async fn a_login_page_is_not_the_api() {
    let api = origin::start().await;
    let from = "/api/v3/repos/org/repo";
    let login = Canned::to(302, "/login?return_to=%2Fapi%2Fv3");
    api.site.at(from, login);
    let github = client(&format!("{}/api/v3", api.url));
    let error = github.ask::<Value>(&repository()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Redirected { .. }), "{error}");
    assert_eq!(api.site.seen().len(), 1);
}

#[tokio::test]
async fn a_circle_ends() {
    let api = origin::start().await;
    api.site
        .at("/repos/org/repo", Canned::to(301, "/repositories/1"));
    api.site
        .at("/repositories/1", Canned::to(301, "/repos/org/repo"));
    let github = client(&api.url);
    let error = github.ask::<Value>(&repository()).await.unwrap_err();
    assert!(matches!(error, GitHubError::Redirected { .. }), "{error}");
    assert_eq!(api.site.seen().len(), 6);
}
