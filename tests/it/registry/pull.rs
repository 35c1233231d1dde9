//! Pulls that succeed, at once or in the end.

use std::{process::Stdio, time::Instant};

use kitt_action::{
    engine::{ApiTraits, ContainerSpec, ImageSource, LaunchSpec, Target},
    serve::with_engine,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::harness::kitt;

#[tokio::test]
async fn a_pull_tells_its_progress_and_records_the_digest() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(setup(Fault::Slow(Duration::from_millis(40)))).await;
    let name = format!("{}:1", registry.name());
    let logged = Logged::default();
    let guard = logged.here();
    let pulled = pull(&name, &options(None)).await.unwrap();
    drop(guard);
    assert_eq!(pulled.reference, name);
    assert_eq!(pulled.digest.as_deref(), Some(registry.digest.as_str()));
    assert_eq!(pulled.env, ["CUDA_VERSION=12.4.1"]);
    let text = logged.text();
    let shares: Vec<u64> = text
        .lines()
        .filter_map(|line| line.split_once('(')?.1.split_once(" %)")?.0.parse().ok())
        .collect();
    // 16 pieces with 40 ms between them and a line each 100 ms.
    assert!(shares.len() >= 3, "{text}");
    assert!(
        shares.is_sorted() && shares.iter().all(|share| *share <= 100),
        "{text}"
    );
    assert!(shares.iter().any(|share| (5..95).contains(share)), "{text}");
    assert!(
        text.contains("(no credentials)") && text.contains("of 2 layers"),
        "{text}"
    );
    assert!(
        text.contains(&format!("pulled {name}: 1.1 MB in")),
        "{text}"
    );
    // It is there now: the registry is not asked again.
    let asked = registry.seen().len();
    assert_eq!(
        pull(&name, &options(None)).await.unwrap().digest,
        pulled.digest
    );
    assert_eq!(registry.seen().len(), asked);
    remove(&docker, &name).await;
}

#[tokio::test]
async fn a_digest_fixes_the_image() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(setup(Fault::None)).await;
    // With a tag beside it, as people copy it, the digest still decides.
    for tag in ["", ":none-such"] {
        let name = format!("{}{tag}@{}", registry.name(), registry.digest);
        let pulled = pull(&name, &options(None)).await.unwrap();
        assert_eq!(pulled.digest.as_deref(), Some(registry.digest.as_str()));
        remove(&docker, &name).await;
    }
    assert_eq!(registry.count("none-such"), 0, "{:?}", registry.seen());
}

#[tokio::test]
async fn a_bare_name_is_never_all_tags() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(setup(Fault::None)).await;
    let pulled = pull(&registry.name(), &options(None)).await.unwrap();
    assert_eq!(pulled.reference, format!("{}:latest", registry.name()));
    assert_eq!(registry.count("/tags/"), 0, "{:?}", registry.seen());
    assert!(registry.count("/manifests/latest") > 0);
    remove(&docker, &pulled.reference).await;
}

#[tokio::test]
async fn a_layer_that_stands_still_is_fetched_anew() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let fault = Fault::Stall {
        after: 300_000,
        times: 1,
    };
    let registry = Registry::start(setup(fault)).await;
    let name = format!("{}:1", registry.name());
    let logged = Logged::default();
    let guard = logged.here();
    let begin = Instant::now();
    let pulled = pull(&name, &options(None)).await.unwrap();
    drop(guard);
    println!("stalled for 1.5 s, pulled after {:?}", begin.elapsed());
    assert_eq!(pulled.digest.as_deref(), Some(registry.digest.as_str()));
    assert_eq!(registry.struck(), 1);
    let text = logged.text();
    assert!(text.contains("nothing arrived for 1.5 s"), "{text}");
    assert!(
        text.contains("nothing new for") && text.contains("once more in"),
        "{text}"
    );
    remove(&docker, &name).await;
}

#[tokio::test]
async fn a_layer_that_is_cut_is_continued_where_it_ended() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let fault = Fault::Cut {
        after: 300_000,
        times: 1,
    };
    let registry = Registry::start(setup(fault)).await;
    let name = format!("{}:1", registry.name());
    let mut options = options(None);
    // The daemon itself waits five seconds, counting them aloud, before it goes on.
    options.pull.fetching = Duration::from_secs(20);
    let pulled = pull(&name, &options).await.unwrap();
    assert_eq!(pulled.digest.as_deref(), Some(registry.digest.as_str()));
    assert_eq!(registry.struck(), 1);
    let resumed = registry.seen().iter().any(|one| one.from == 300_000);
    assert!(resumed, "{:?}", registry.seen());
    remove(&docker, &name).await;
}

#[tokio::test]
async fn a_registry_that_stumbles_is_asked_again() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let fault = Fault::Status {
        code: 503,
        times: 1,
    };
    let registry = Registry::start(setup(fault)).await;
    let name = format!("{}:1", registry.name());
    pull(&name, &options(None)).await.unwrap();
    assert_eq!(registry.struck(), 1);
    remove(&docker, &name).await;
}

#[tokio::test]
async fn cancelling_a_pull_ends_it_here_and_on_the_daemon() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    // 256 pieces: 13 s, were it not cancelled.
    let registry = Registry::start(Setup {
        layers: vec![16 << 20],
        login: None,
        fault: Fault::Slow(Duration::from_millis(50)),
    })
    .await;
    let name = format!("{}:1", registry.name());
    let spec = LaunchSpec {
        target: Target::Container(Box::new(ContainerSpec::new(
            ImageSource::Reference(image(&name)),
            8000,
        ))),
        api: ApiTraits::openai("none".to_owned()),
        startup_timeout: Duration::from_mins(1),
    };
    let mut options = options(None);
    options.pull = PullLimits::default();
    let cancel = CancellationToken::new();
    let stop = async {
        while registry.struck() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cancel.cancel();
        Instant::now()
    };
    let engine = async {
        let outcome = with_engine(&spec, &options, &cancel, async |_| ()).await;
        (outcome, Instant::now())
    };
    let ((outcome, ended), cancelled) = tokio::join!(engine, stop);
    println!("cancelled pull: back after {:?}", ended - cancelled);
    assert!(
        matches!(outcome, Err(ServeError::Cancelled { .. })),
        "{outcome:?}"
    );
    assert!(ended - cancelled < Duration::from_secs(1));
    // The daemon lets go of the registry: nothing is pulled behind our back.
    while registry.abandoned() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(
            cancelled.elapsed() < Duration::from_secs(10),
            "the daemon pulls on"
        );
    }
    println!("the daemon let go after {:?}", cancelled.elapsed());
    assert!(!is_there(&docker, &name).await);
}

#[tokio::test]
async fn an_interrupt_during_the_pull_ends_the_program() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let registry = Registry::start(Setup {
        layers: vec![16 << 20],
        login: None,
        fault: Fault::Slow(Duration::from_millis(50)),
    })
    .await;
    let name = format!("{}:1", registry.name());
    let out = tempfile::tempdir().unwrap();
    let mut child = kitt()
        .args(["run", "-m", "m", "-e", "sim", "--mode", "docker"])
        .args(["--auto-pull", "--image", &name, "-o"])
        .arg(out.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while registry.struck() == 0 {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before the pull");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let begin = Instant::now();
    let process = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap())
        .await
        .unwrap();
    println!("interrupted pull: exit after {:?}", begin.elapsed());
    assert_eq!(status.code(), Some(130));
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert!(!is_there(&docker, &name).await);
}
