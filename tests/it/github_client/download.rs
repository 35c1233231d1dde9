//! Artifacts: the token stays with the API, and no more comes than was asked for.

use kitt_action::github::{GitHubError, Request, operations::DOWNLOAD_ARTIFACT};

use super::{
    about, client,
    origin::{self, Canned, Origin},
};
use crate::github::{GitHub, Rule, What};

const PATH: &str = "/repos/org/repo/actions/artifacts/7/zip";
const MIB: u64 = 1024 * 1024;

fn artifact(id: &str) -> Request {
    about(&DOWNLOAD_ARTIFACT, &[id, "zip"])
}

/// An API that redirects the artifact to this place.
async fn redirecting(location: &str) -> Origin {
    let api = origin::start().await;
    api.site.at(PATH, Canned::to(302, location));
    api
}

fn stored(gh: &GitHub, bytes: &[u8]) -> String {
    gh.state(|s| {
        let run = s.run("push", "main", "abc").id;
        s.artifact(run, "kitt-baseline", bytes).to_string()
    })
}

#[tokio::test]
async fn an_artifact_comes_from_another_origin_without_the_token() {
    let gh = GitHub::start();
    let id = stored(&gh, b"PK bytes");
    let bytes = client(&gh.url).download(&artifact(&id), MIB).await.unwrap();
    assert_eq!(bytes, b"PK bytes".as_slice());
    let blob = gh.seen("GET", "/blob/");
    assert_eq!(blob.len(), 1);
    assert!(blob[0].authorization.is_none());
    let api = gh.seen("GET", "/zip");
    assert_eq!(api[0].authorization.as_deref(), Some("Bearer ghs_test"));
}

#[tokio::test]
async fn an_expired_artifact_says_so() {
    let gh = GitHub::start();
    let id = stored(&gh, b"x");
    gh.state(|s| s.artifacts[0].expired = true);
    let error = client(&gh.url).download(&artifact(&id), MIB).await;
    let error = error.unwrap_err();
    assert!(matches!(error, GitHubError::Expired { .. }), "{error}");
    assert_eq!(gh.seen("GET", "").len(), 1);
}

#[tokio::test]
async fn a_storage_that_fails_is_asked_again_with_a_new_address() {
    let gh = GitHub::start();
    let id = stored(&gh, b"bytes that arrive whole in the end");
    for what in [
        What::Status(503),
        What::Status(403),
        What::CutBody,
        What::Cut,
    ] {
        gh.state(|s| s.fault(Rule::on("GET", "/blob/", what)));
    }
    let bytes = client(&gh.url).download(&artifact(&id), MIB).await.unwrap();
    assert_eq!(bytes, b"bytes that arrive whole in the end".as_slice());
    assert_eq!(gh.seen("GET", "/blob/").len(), 5);
    assert_eq!(gh.seen("GET", "/zip").len(), 5);
}

#[tokio::test]
async fn more_than_allowed_is_not_taken() {
    let storage = origin::start().await;
    storage.site.at("/blob", Canned::ok(vec![7; 1001]));
    let api = redirecting(&format!("{}/blob?sig=secret", storage.url)).await;
    let github = client(&api.url);
    let error = github.download(&artifact("7"), 1000).await.unwrap_err();
    assert!(
        matches!(error, GitHubError::TooLarge { most: 1000, .. }),
        "{error}"
    );
    assert_eq!(storage.site.seen().len(), 1);
    let bytes = github.download(&artifact("7"), 1001).await.unwrap();
    assert_eq!(bytes.len(), 1001);
}

#[tokio::test]
async fn the_signed_address_stands_in_no_error() {
    let storage = origin::start().await;
    storage.site.at(
        "/blob",
        Canned {
            status: 410,
            ..Canned::default()
        },
    );
    let api = redirecting(&format!("{}/blob?sig=secret", storage.url)).await;
    let gone = client(&api.url).download(&artifact("7"), MIB).await;
    let text = format!("{:?}", gone.unwrap_err());
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("410"), "{text}");
    // Nobody listens: the transport's own words would have the address.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}/blob?sig=secret", listener.local_addr().unwrap());
    drop(listener);
    let api = redirecting(&nobody).await;
    let cut = client(&api.url).download(&artifact("7"), MIB).await;
    let text = format!("{:?}", cut.unwrap_err());
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn the_storage_may_redirect_a_few_times() {
    let storage = origin::start().await;
    let hop = |number: usize| format!("/hop{number}");
    for number in 0..9 {
        let next = hop(number + 1);
        storage.site.at(&hop(number), Canned::to(307, &next));
    }
    storage.site.at("/hop9", Canned::ok("there"));
    let api = redirecting(&format!("{}/hop6", storage.url)).await;
    let bytes = client(&api.url).download(&artifact("7"), MIB).await;
    assert_eq!(bytes.unwrap(), "there");
    assert!(storage.site.seen().iter().all(|seen| !seen.has_token()));
    let api = redirecting(&format!("{}/hop5", storage.url)).await;
    let error = client(&api.url).download(&artifact("7"), MIB).await;
    let error = error.unwrap_err();
    assert!(matches!(error, GitHubError::Redirected { .. }), "{error}");
}

#[tokio::test]
async fn nothing_is_fetched_in_clear_text_from_elsewhere() {
    // Names and addresses that no packet must go to: documentation's own.
    for place in [
        "http://192.0.2.1/blob",
        "http://blob.example/blob",
        "ftp://127.0.0.1/blob",
        "http://me:secret@127.0.0.1:9/blob",
    ] {
        let api = redirecting(place).await;
        let error = client(&api.url).download(&artifact("7"), MIB).await;
        let error = error.unwrap_err();
        assert!(matches!(error, GitHubError::Redirected { .. }), "{error}");
        assert_eq!(api.site.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_compressed_answer_is_refused_and_none_is_asked_for() {
    let storage = origin::start().await;
    let packed = Canned::ok("packed").header("content-encoding", "gzip");
    storage.site.at("/blob", packed);
    let api = redirecting(&format!("{}/blob", storage.url)).await;
    let error = client(&api.url).download(&artifact("7"), MIB).await;
    assert!(error.unwrap_err().to_string().contains("gzip"));
    let seen = storage.site.seen();
    assert_eq!(seen[0].headers["accept-encoding"], "identity");
    assert!(!api.site.seen()[0].headers.contains_key("accept-encoding"));
}

#[tokio::test]
async fn a_server_that_answers_itself_is_as_good() {
    let api = origin::start().await;
    api.site.at(PATH, Canned::ok(vec![1; 100]));
    let github = client(&api.url);
    let bytes = github.download(&artifact("7"), 100).await.unwrap();
    assert_eq!(bytes.len(), 100);
    let error = github.download(&artifact("7"), 99).await.unwrap_err();
    assert!(matches!(error, GitHubError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_renamed_repository_still_has_its_artifacts() {
    let gh = GitHub::start();
    let id = stored(&gh, b"moved");
    gh.state(|s| s.renamed.insert("org/old".to_owned(), 1));
    let request = DOWNLOAD_ARTIFACT.request(&["org", "old", &id, "zip"]);
    let bytes = client(&gh.url).download(&request, MIB).await.unwrap();
    assert_eq!(bytes, b"moved".as_slice());
    assert!(gh.seen("GET", "/blob/")[0].authorization.is_none());
}
