//! Pulls that fail: each kind told apart, and asked for as often as it deserves.

use super::*;

#[tokio::test]
async fn an_unknown_tag_is_asked_for_once() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(setup(Fault::None)).await;
    let name = format!("{}:none-such", registry.name());
    let (kind, attempts, text) = failure(pull(&name, &options(None)).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::NotFound, 1));
    assert!(
        text.contains(&name) && text.contains("check name and tag"),
        "{text}"
    );
    assert!(text.contains(&registry.address.to_string()), "{text}");
    // One pull by the daemon: a question for the manifest's digest and maybe one for itself.
    assert!(registry.count("/manifests/") <= 2, "{:?}", registry.seen());
}

#[tokio::test]
async fn an_unknown_repository_is_not_found() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(setup(Fault::None)).await;
    let name = format!("{}/nobody/none:1", registry.address);
    let (kind, attempts, text) = failure(pull(&name, &options(None)).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::NotFound, 1));
}

#[tokio::test]
async fn a_registry_that_fails_is_tried_three_times() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let fault = Fault::Status {
        code: 500,
        times: u32::MAX,
    };
    let registry = Registry::start(setup(fault)).await;
    let name = format!("{}:1", registry.name());
    let (kind, attempts, text) = failure(pull(&name, &options(None)).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::Registry, 3));
    assert!(text.contains("in 3 attempts"), "{text}");
}

#[tokio::test]
async fn a_limit_of_requests_is_not_pushed() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let fault = Fault::Status {
        code: 429,
        times: u32::MAX,
    };
    let registry = Registry::start(setup(fault)).await;
    let name = format!("{}:1", registry.name());
    let (kind, attempts, text) = failure(pull(&name, &options(None)).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::RateLimited, 1));
}

#[tokio::test]
async fn a_layer_that_never_comes_ends_after_three_attempts() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let fault = Fault::Stall {
        after: 300_000,
        times: u32::MAX,
    };
    let registry = Registry::start(setup(fault)).await;
    let name = format!("{}:1", registry.name());
    let mut options = options(None);
    options.pull.fetching = Duration::from_millis(500);
    let (kind, attempts, text) = failure(pull(&name, &options).await);
    println!("{text}");
    let limit = options.pull.fetching;
    assert_eq!((kind, attempts), (PullFailure::Stalled(limit), 3));
    assert!(text.contains("it stood at"), "{text}");
    assert!(!is_there(&docker, &name).await);
}

#[tokio::test]
async fn nobody_at_the_address_is_a_network_failure() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    // Bound and dropped: nobody listens there now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/x:1", free.local_addr().unwrap());
    drop(free);
    let (kind, attempts, text) = failure(pull(&name, &options(None)).await);
    println!("{text}");
    assert_eq!((kind, attempts), (PullFailure::Network, 3));
    assert!(
        text.contains("connection refused") && text.contains("proxy"),
        "{text}"
    );
}
