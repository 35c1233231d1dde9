//! The pull request's comment against the fake GitHub.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Method;
use kitt_action::{
    context::CommentWhen,
    github::{GitHub, GitHubError},
    ids::{PrNumber, RepoSlug},
    publish::{self, CommentOutcome, PublishError},
    render::{Form, Posted, Weight},
    secret::Secret,
};
use serde_json::{Value, json};

use super::fake::{self, Fake, Reply};

const PR: u64 = 7;
const COMMENTS: &str = "/repos/org/repo/issues/7/comments";

fn client(url: &str) -> GitHub {
    let token = Secret::new("ghs_test").unwrap();
    // Waits that GitHub does not dictate are cut to milliseconds.
    GitHub::new(url, token)
        .unwrap()
        .with_base_delay(Duration::from_millis(1))
}

async fn upsert_as(github: &GitHub, key: &str, text: &str) -> Result<CommentOutcome, PublishError> {
    let repo: RepoSlug = "org/repo".parse().unwrap();
    let pr: PrNumber = PR.to_string().parse().unwrap();
    let posted = posted(key, document(key, text));
    publish::upsert(github, &repo, pr, &posted, CommentWhen::Always).await
}

/// A report that has the comment of its key for itself.
pub fn posted(key: &str, body: String) -> Posted {
    Posted {
        key: key.parse().unwrap(),
        weight: Weight::Changed,
        form: Form::Whole {
            body,
            state: Box::default(),
        },
    }
}

fn address(outcome: &CommentOutcome) -> String {
    outcome.url().unwrap().to_owned()
}

async fn upsert(github: &GitHub, text: &str) -> Result<CommentOutcome, PublishError> {
    upsert_as(github, "default", text).await
}

fn document(key: &str, text: &str) -> String {
    format!("<!-- kitt-benchmark -->\n<!-- kitt-action key={key} -->\n{text}\n")
}

async fn only_comment(fake: &Fake) -> (u64, String) {
    let mut comments = fake.comments().await;
    assert_eq!(comments.len(), 1, "{comments:?}");
    comments.remove(0)
}

/// The answer with another account as every comment's author.
fn written_by(login: &str, answer: &Bytes, which: impl Fn(&Value) -> bool) -> Bytes {
    let mut json: Value = serde_json::from_slice(answer).unwrap();
    let rename = |comment: &mut Value| {
        if comment.get("user").is_some() && which(comment) {
            comment["user"]["login"] = login.into();
        }
    };
    if let Some(comments) = json.as_array_mut() {
        comments.iter_mut().for_each(rename);
    } else {
        rename(&mut json);
    }
    serde_json::to_vec(&json).unwrap().into()
}

#[tokio::test]
async fn one_comment_is_created_updated_and_left_alone() {
    let Some(fake) = fake::start(&[]) else { return };
    let github = client(&fake.url);
    let first = upsert(&github, "one").await.unwrap();
    assert!(matches!(first, CommentOutcome::Created(_)), "{first}");
    let (id, _) = only_comment(&fake).await;
    assert!(address(&first).ends_with(&format!("#issuecomment-{id}")));

    let second = upsert(&github, "two").await.unwrap();
    assert_eq!(second, CommentOutcome::Updated(address(&first)));
    let third = upsert(&github, "two  \n\n").await.unwrap();
    assert_eq!(third, CommentOutcome::Unchanged(address(&first)));

    assert_eq!(only_comment(&fake).await, (id, document("default", "two")));
    assert_eq!(fake.seen("POST", COMMENTS).await.len(), 1);
    assert_eq!(fake.seen("PATCH", "").await.len(), 1);
}

#[tokio::test]
async fn every_request_says_who_asks() {
    let Some(fake) = fake::start(&["--token", "ghs_test"]) else {
        return;
    };
    upsert(&client(&fake.url), "one").await.unwrap();
    upsert(&client(&fake.url), "two").await.unwrap();
    let seen = fake.seen("", "").await;
    assert!(seen.len() >= 5, "{seen:?}");
    for request in seen {
        assert_eq!(request.raw["authorized"], true, "{request:?}");
        let agent = request.raw["agent"].as_str().unwrap();
        assert!(agent.starts_with("kitt-action/"), "{request:?}");
        assert_eq!(request.raw["accept"], "application/vnd.github+json");
        assert_eq!(request.raw["version"], "2022-11-28");
    }
}

#[tokio::test]
async fn a_wrong_token_is_told_at_once() {
    let Some(fake) = fake::start(&["--token", "another"]) else {
        return;
    };
    let error = upsert(&client(&fake.url), "one").await.unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::GitHub(GitHubError::Status { status: 401, .. })
        ),
        "{error}"
    );
    assert_eq!(fake.seen("", "").await.len(), 1);
}

#[tokio::test]
async fn an_enterprise_server_is_reached_below_its_prefix() {
    let Some(fake) = fake::start(&[]) else { return };
    let github = client(&format!("{}/api/v3", fake.url));
    upsert(&github, "one").await.unwrap();
    let second = upsert(&github, "two").await.unwrap();
    assert!(matches!(second, CommentOutcome::Updated(_)), "{second}");
    let comments = fake.seen("", "/comments").await;
    assert!(
        comments
            .iter()
            .all(|seen| seen.path.starts_with("/api/v3/repos/"))
    );
    assert!(
        fake.seen("POST", "graphql")
            .await
            .iter()
            .all(|seen| seen.path == "/api/graphql")
    );
}

#[tokio::test]
async fn all_pages_are_searched() {
    let Some(fake) = fake::start(&[]) else { return };
    for number in 0..150 {
        fake.comment(PR, &format!("comment {number}")).await;
    }
    let github = client(&fake.url);
    let first = upsert(&github, "one").await.unwrap();
    assert!(matches!(first, CommentOutcome::Created(_)), "{first}");
    // Once before a comment is begun, and once after, for one that another job began meanwhile.
    assert_eq!(fake.seen("GET", "page=2").await.len(), 2);
    let second = upsert(&github, "two").await.unwrap();
    assert_eq!(second, CommentOutcome::Updated(address(&first)));
    let comments = fake.comments().await;
    assert_eq!(comments.len(), 151);
    assert_eq!(comments[150].1, document("default", "two"));
    assert!(
        comments[..150]
            .iter()
            .all(|(_, body)| body.starts_with("comment "))
    );
}

#[tokio::test]
async fn a_strangers_comment_with_our_marker_is_left_alone() {
    let Some(fake) = fake::start(&[]) else { return };
    let planted = document("default", "planted");
    let stranger = fake.comment(PR, &planted).await;
    let proxy = fake::proxy(&fake, move |_, _, status, body| {
        let theirs = |comment: &Value| comment["id"].as_u64() == Some(stranger);
        let body = match status {
            200 | 201 => written_by("mallory", &body, theirs),
            _ => body,
        };
        Reply::Send(status, body)
    })
    .await;
    let github = client(&proxy.url);
    let first = upsert(&github, "one").await.unwrap();
    assert!(matches!(first, CommentOutcome::Created(_)), "{first}");
    let second = upsert(&github, "two").await.unwrap();
    assert_eq!(second, CommentOutcome::Updated(address(&first)));

    let comments = fake.comments().await;
    assert_eq!(comments[0], (stranger, planted));
    assert_eq!(comments[1].1, document("default", "two"));
    assert_eq!(comments.len(), 2);
    let touched = fake.seen("PATCH", &stranger.to_string()).await;
    assert!(touched.is_empty(), "{touched:?}");
}

#[tokio::test]
async fn each_key_has_its_own_comment_and_default_adopts_kitts() {
    let Some(fake) = fake::start(&[]) else { return };
    let old = fake
        .comment(PR, "<!-- kitt-benchmark -->\n## KITT Results")
        .await;
    let github = client(&fake.url);
    let leg = upsert_as(&github, "h100", "leg").await.unwrap();
    assert!(matches!(leg, CommentOutcome::Created(_)), "{leg}");
    let adopted = upsert(&github, "one").await.unwrap();
    assert!(
        address(&adopted).ends_with(&format!("#issuecomment-{old}")),
        "{adopted}"
    );
    let comments = fake.comments().await;
    assert_eq!(comments[0], (old, document("default", "one")));
    assert_eq!(comments[1].1, document("h100", "leg"));
    assert_eq!(comments.len(), 2);
}

#[tokio::test]
async fn the_oldest_of_several_own_comments_wins_and_the_others_go() {
    let Some(fake) = fake::start(&[]) else { return };
    let oldest = fake.comment(PR, &document("default", "a")).await;
    fake.comment(PR, &document("default", "b")).await;
    let other = fake.comment(PR, &document("other", "c")).await;
    upsert(&client(&fake.url), "new").await.unwrap();
    let expected = [
        (oldest, document("default", "new")),
        (other, document("other", "c")),
    ];
    assert_eq!(fake.comments().await, expected);
}

/// Through `url`, two different bodies make one comment.
async fn the_second_updates_the_first(fake: &Fake, url: &str) {
    upsert(&client(url), "one").await.unwrap();
    let second = upsert(&client(url), "two").await.unwrap();
    assert!(matches!(second, CommentOutcome::Updated(_)), "{second}");
    only_comment(fake).await;
}

#[tokio::test]
async fn a_users_token_is_known_by_its_login() {
    let Some(fake) = fake::start(&[]) else { return };
    let proxy = fake::proxy(&fake, |_, path, status, body| match (path, status) {
        ("/user", _) => Reply::Send(200, json!({ "login": "Octo-Cat" }).to_string().into()),
        (_, 200 | 201) => Reply::Send(status, written_by("octo-cat", &body, |_| true)),
        _ => Reply::Send(status, body),
    })
    .await;
    the_second_updates_the_first(&fake, &proxy.url).await;
}

#[tokio::test]
async fn an_apps_token_is_known_by_its_bot() {
    let Some(fake) = fake::start(&[]) else { return };
    let refused = json!({ "message": "Resource not accessible by integration" });
    let viewer = json!({ "data": { "viewer": { "login": "our-app[bot]" } } });
    let proxy = fake::proxy(&fake, move |_, path, status, body| match (path, status) {
        ("/user", _) => Reply::Send(403, refused.to_string().into()),
        ("/graphql", _) => Reply::Send(200, viewer.to_string().into()),
        (_, 200 | 201) => Reply::Send(status, written_by("our-app[bot]", &body, |_| true)),
        _ => Reply::Send(status, body),
    })
    .await;
    the_second_updates_the_first(&fake, &proxy.url).await;
}

#[tokio::test]
async fn a_read_only_token_is_forbidden_without_a_second_try() {
    let Some(fake) = fake::start(&[]) else { return };
    let how = json!({ "kind": "integration" });
    fake.fault("POST /repos/.*/comments", 1, how.clone()).await;
    let github = client(&fake.url);
    let error = upsert(&github, "one").await.unwrap_err();
    assert!(
        matches!(error, PublishError::GitHub(GitHubError::Forbidden { .. })),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("Resource not accessible by integration")
    );
    assert_eq!(fake.seen("POST", COMMENTS).await.len(), 1);

    fake.comment(PR, &document("h100", "old")).await;
    fake.fault("PATCH /repos/.*", 1, how).await;
    let error = upsert_as(&github, "h100", "new").await.unwrap_err();
    assert!(
        matches!(error, PublishError::GitHub(GitHubError::Forbidden { .. })),
        "{error}"
    );
    assert_eq!(fake.seen("PATCH", "").await.len(), 1);
}

#[tokio::test]
async fn two_bad_gateways_are_survived() {
    let Some(fake) = fake::start(&[]) else { return };
    let github = client(&fake.url);
    let how = json!({ "status": 502 });
    fake.fault("GET /repos/.*/comments", 2, how.clone()).await;
    fake.fault("POST /repos/.*/comments", 2, how.clone()).await;
    let first = upsert(&github, "one").await.unwrap();
    assert!(matches!(first, CommentOutcome::Created(_)), "{first}");
    assert_eq!(fake.seen("POST", COMMENTS).await.len(), 3);
    fake.fault("PATCH /repos/.*", 2, how).await;
    upsert(&github, "two").await.unwrap();
    assert_eq!(fake.seen("PATCH", "").await.len(), 3);
    assert_eq!(only_comment(&fake).await.1, document("default", "two"));
}

#[tokio::test]
async fn a_lasting_fault_ends_after_five_attempts() {
    let Some(fake) = fake::start(&[]) else { return };
    fake.fault("GET /repos/.*/comments", 99, json!({ "status": 503 }))
        .await;
    let error = upsert(&client(&fake.url), "one").await.unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::GitHub(GitHubError::Unreachable { attempts: 5, .. })
        ),
        "{error}"
    );
    assert_eq!(fake.seen("GET", COMMENTS).await.len(), 5);
    assert!(fake.seen("POST", COMMENTS).await.is_empty());
}

#[tokio::test]
async fn a_connection_cut_before_an_answer_is_retried() {
    let Some(fake) = fake::start(&[]) else { return };
    fake.fault("GET /repos/.*/comments", 2, json!({ "drop": true }))
        .await;
    upsert(&client(&fake.url), "one").await.unwrap();
    only_comment(&fake).await;
}

#[tokio::test]
async fn a_lost_answer_to_a_stored_post_makes_no_second_comment() {
    let Some(fake) = fake::start(&[]) else { return };
    let cut_once = AtomicBool::new(true);
    let proxy = fake::proxy(&fake, move |method, path, status, body| {
        let stored = method == Method::POST && path.ends_with("/comments") && status == 201;
        if stored && cut_once.swap(false, Ordering::SeqCst) {
            return Reply::Cut;
        }
        Reply::Send(status, body)
    })
    .await;
    let outcome = upsert(&client(&proxy.url), "one").await.unwrap();
    assert!(matches!(outcome, CommentOutcome::Created(_)), "{outcome}");
    assert_eq!(only_comment(&fake).await.1, document("default", "one"));
    assert_eq!(fake.seen("POST", COMMENTS).await.len(), 1);
    assert_eq!(fake.seen("GET", COMMENTS).await.len(), 2);
}

#[tokio::test]
async fn a_secondary_limit_is_waited_out() {
    let Some(fake) = fake::start(&[]) else { return };
    let how = json!({ "kind": "secondary", "retryAfter": 1 });
    fake.fault("POST /repos/.*/comments", 1, how).await;
    let start = Instant::now();
    upsert(&client(&fake.url), "one").await.unwrap();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert_eq!(fake.seen("POST", COMMENTS).await.len(), 2);
    only_comment(&fake).await;
}

#[tokio::test]
async fn a_text_too_long_is_not_even_sent() {
    let Some(fake) = fake::start(&[]) else { return };
    let error = upsert(&client(&fake.url), &"x".repeat(65_536)).await;
    assert!(error.is_err());
    assert!(fake.seen("", "").await.is_empty());
    let room = 65_536 - document("default", "").len();
    upsert(&client(&fake.url), &"x".repeat(room)).await.unwrap();
}

#[tokio::test]
async fn nobody_listening_is_unreachable_and_keeps_the_token_to_itself() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = upsert(&client(&url), "one").await.unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::GitHub(GitHubError::Unreachable { attempts: 5, .. })
        ),
        "{error}"
    );
    let debug = format!("{error:?} {:?}", client(&url));
    assert!(!debug.contains("ghs_test"), "{debug}");
}
