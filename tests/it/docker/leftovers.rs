//! What dead runs left behind.

use super::*;

/// Creates a container that nobody starts.
async fn create(docker: &Docker, name: &str, labels: &[(&str, &str)]) {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let body = ContainerCreateBody {
        image: Some(images().await.1.to_string()),
        labels: Some(
            labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        ),
        ..ContainerCreateBody::default()
    };
    docker.create_container(Some(options), body).await.unwrap();
}

#[tokio::test]
async fn leftovers_of_the_dead_are_reaped_and_nothing_else() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
    let dead = child.id().to_string();
    child.wait().unwrap();
    let own = std::process::id().to_string();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let process = std::fs::read_to_string("/proc/self/stat").unwrap();
    let start = process
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(19)
        .unwrap();
    let run = options("living").run_id;
    let labels = |pid, run| {
        [
            (serve::LABEL, "1"),
            ("dev.kitt-action.run", run),
            ("dev.kitt-action.owner-pid", pid),
            ("dev.kitt-action.owner-start", start),
            ("dev.kitt-action.boot-id", boot.trim()),
            ("dev.kitt-action.pid-namespace", namespace.to_str().unwrap()),
        ]
    };
    let name = |what: &str| format!("kitt-test-{own}-{what}");
    let (stale, living, foreign) = (name("stale"), name("living"), name("foreign"));
    create(&docker, &stale, &labels(&dead, "earlier")).await;
    create(&docker, &living, &labels(&own, &run)).await;
    // Someone else's, named like ours and with a label that only resembles ours.
    create(
        &docker,
        &foreign,
        &[
            ("dev.kitt-action.managed-by-me", "1"),
            ("dev.kitt-action.owner-pid", &dead),
        ],
    )
    .await;
    let swept = serve::cleanup(None, None).await.unwrap();
    // Another test's start may have swept it a moment before.
    assert!(!swept.kept.contains(&stale));
    assert!(docker.inspect_container(&stale, None).await.is_err());
    assert!(
        swept.kept.contains(&living) && !swept.removed.contains(&living),
        "{swept:?}"
    );
    let swept = serve::cleanup(None, Some(&run)).await.unwrap();
    assert!(swept.removed.contains(&living), "{swept:?}");
    assert!(docker.inspect_container(&living, None).await.is_err());
    // Created, not started, untouched.
    assert!(docker.inspect_container(&foreign, None).await.is_ok());
    let force = RemoveContainerOptionsBuilder::new().force(true).build();
    docker
        .remove_container(&foreign, Some(force))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_host_without_docker_is_clean() {
    let swept = serve::cleanup(Some("unix:///nonexistent/docker.sock"), Some("x"))
        .await
        .unwrap();
    assert!(swept.removed.is_empty() && swept.kept.is_empty());
}
