//! What dead runs left behind.

use kitt_action::serve::Sweep;

use super::*;

/// Creates a container that nobody starts.
pub(super) async fn create(docker: &Docker, name: &str, labels: &[(&str, impl ToString)]) {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    let body = ContainerCreateBody {
        image: Some(images().await.1.to_string()),
        labels: Some(
            labels
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.to_string()))
                .collect(),
        ),
        ..ContainerCreateBody::default()
    };
    docker.create_container(Some(options), body).await.unwrap();
}

/// The number of a process that has ended.
fn dead_process() -> String {
    let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
    child.wait().unwrap();
    child.id().to_string()
}

/// The labels of what process `pid` would make on this host, had it the start time of this one.
fn labels(pid: &str, run: &str) -> [(&'static str, String); 6] {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap();
    let process = std::fs::read_to_string("/proc/self/stat").unwrap();
    let mut fields = process.rsplit_once(')').unwrap().1.split_whitespace();
    [
        (serve::LABEL, "1".to_owned()),
        ("dev.kitt-action.run", run.to_owned()),
        ("dev.kitt-action.owner-pid", pid.to_owned()),
        (
            "dev.kitt-action.owner-start",
            fields.nth(19).unwrap().to_owned(),
        ),
        ("dev.kitt-action.boot-id", boot.trim().to_owned()),
        (
            "dev.kitt-action.pid-namespace",
            namespace.display().to_string(),
        ),
    ]
}

#[tokio::test]
async fn leftovers_of_the_dead_are_reaped_and_nothing_else() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (dead, own) = (dead_process(), std::process::id().to_string());
    let run = options("living").run_id;
    let name = |what: &str| format!("kitt-test-{own}-{what}");
    let (stale, living, foreign) = (name("stale"), name("living"), name("foreign"));
    create(&docker, &stale, &labels(&dead, "earlier")).await;
    create(&docker, &living, &labels(&own, &run)).await;
    // Someone else's, named like ours and with a label that only resembles ours.
    create(
        &docker,
        &foreign,
        &[
            ("dev.kitt-action.managed-by-me", "1".to_owned()),
            ("dev.kitt-action.owner-pid", dead),
        ],
    )
    .await;
    let swept = serve::cleanup(&Sweep::default()).await.unwrap();
    // Another test's start may have swept it a moment before.
    assert!(!swept.kept.contains(&stale));
    assert!(docker.inspect_container(&stale, None).await.is_err());
    assert!(
        swept.kept.contains(&living) && !swept.removed.contains(&living),
        "{swept:?}"
    );
    // The run's id alone is not enough to end the living: legs of a matrix share one.
    let mut of_run = Sweep {
        run: Some(run),
        ..Sweep::default()
    };
    let swept = serve::cleanup(&of_run).await.unwrap();
    assert!(swept.kept.contains(&living), "{swept:?}");
    of_run.even_living = true;
    let swept = serve::cleanup(&of_run).await.unwrap();
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
    let nowhere = Sweep {
        docker: DockerPlace::at("unix:///nonexistent/docker.sock"),
        run: Some("x".to_owned()),
        ..Sweep::default()
    };
    let swept = serve::cleanup(&nowhere).await.unwrap();
    assert!(swept.removed.is_empty() && swept.kept.is_empty());
}
