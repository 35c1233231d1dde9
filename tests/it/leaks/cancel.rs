//! SIGINT and SIGTERM at every moment of a run: it ends in time, says why, and leaves nothing.

use std::net::TcpListener;

use kitt_action::{
    results::RunStatus,
    serve::{ServeError, with_engine},
};
use tokio_util::sync::CancellationToken;

use super::{
    child::{Engine, Task},
    *,
};

/// A runner kills ten seconds after its first signal; half a second is for slow test machines.
const IN_TIME: Duration = Duration::from_millis(6500);
const LONG: [&str; 3] = ["--requests", "100000", "--skip-warmup"];

/// Sends the signal and waits for the end: in time, with the right code, nothing left, and
/// results that can be read.
async fn cancelled(mut subject: Subject, signal: Signal, docker: &Docker, phase: &str) {
    let begin = Instant::now();
    subject.signal(signal);
    let (status, _) = subject.ended(IN_TIME).await;
    let took = begin.elapsed();
    let took = took.as_millis();
    println!("{signal} while {phase}: ended after {took} ms, {status}");
    let code = if signal == Signal::SIGINT { 130 } else { 143 };
    assert_eq!(status.code(), Some(code), "{}", subject.log());
    assert_eq!(subject.left(Some(docker)).await, [""; 0], "{phase}");
    assert!(subject.guards().is_empty());
    assert!(
        matches!(subject.results_parse(), None | Some(RunStatus::Cancelled)),
        "{phase}"
    );
}

#[tokio::test]
async fn while_an_image_is_pulled() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    // A registry that takes the call and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("{}/kitt/none:1", silent.local_addr().unwrap());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let name = format!("pull-{signal}");
        let more = ["--image", &image, "--auto-pull"];
        let mut subject = Subject::kitt_of(&name, &more);
        subject.says("pulling").await;
        cancelled(subject, signal, &docker, "pulling").await;
    }
}

#[tokio::test]
async fn while_a_container_is_created_and_started() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let limit = Duration::from_mins(1);
    for (round, signal) in [Signal::SIGINT, Signal::SIGTERM].into_iter().enumerate() {
        for delay in [0, 40, 120] {
            let name = format!("create-{round}-{delay}");
            let subject = Subject::kitt(&name, &LONG).await;
            // The guard stands a moment before the container is created.
            eventually("a guard", limit, async || !subject.guards().is_empty()).await;
            tokio::time::sleep(Duration::from_millis(delay)).await;
            let phase = format!("creating, {delay} ms after the guard");
            cancelled(subject, signal, &docker, &phase).await;
        }
    }
}

#[tokio::test]
async fn while_the_engine_is_waited_for() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let more = ["--engine-args", "--startup-ms=60000"];
        let subject = Subject::kitt(&format!("ready-{signal}"), &more).await;
        docker::running(&docker, &ServeOptions::new(&subject.run)).await;
        cancelled(subject, signal, &docker, "waiting for the engine").await;
    }
}

#[tokio::test]
async fn while_it_measures() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut subject = Subject::kitt(&format!("load-{signal}"), &LONG).await;
        subject.says("sending").await;
        cancelled(subject, signal, &docker, "measuring").await;
    }
}

#[tokio::test]
async fn while_it_tears_down() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let more = ["--requests", "2", "--skip-warmup"];
        let mut subject = Subject::kitt(&format!("teardown-{signal}"), &more).await;
        subject.says("engine ready").await;
        // The scenario is in the results a moment before the engine is stopped.
        let limit = Duration::from_mins(1);
        eventually("a measured scenario", limit, async || {
            let written = subject.results().join("metrics.json").exists();
            written && !store::load(&subject.results()).unwrap().runs.is_empty()
        })
        .await;
        let begin = Instant::now();
        subject.signal(signal);
        let (status, _) = subject.ended(IN_TIME).await;
        println!(
            "{signal} while tearing down: ended after {:?}, {status}",
            begin.elapsed()
        );
        let code = if signal == Signal::SIGINT { 130 } else { 143 };
        // It may have been done.
        assert!(
            [code, 0].contains(&status.code().unwrap()),
            "{}",
            subject.log()
        );
        assert_eq!(subject.left(Some(&docker)).await, [""; 0]);
        assert!(subject.results_parse().is_some());
    }
}

/// The guards of this process.
fn own_guards() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap();
    let is_guard = |one: &Process| one.parent == own && one.args == ["kitt", "guard"];
    let guards = processes().into_iter().filter(is_guard);
    guards.map(|guard| guard.pid).collect()
}

/// The daemon makes a container although nobody waits for it any more.
#[tokio::test]
async fn a_run_dropped_within_the_creation_of_its_container_leaves_none() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let limit = Duration::from_secs(30);
    let mut runs = Vec::new();
    for delay in [2, 5, 10, 15, 20, 30, 40, 50, 60, 80] {
        let task = Task::new(
            &format!("drop{delay}"),
            Engine::Shell(docker::HANG.to_owned()),
        );
        let dir = tempfile::tempdir().unwrap();
        let (spec, options) = (task.spec().await, task.options(dir.path()));
        let cancel = CancellationToken::new();
        let earlier = own_guards();
        let engine = with_engine(&spec, &options, &cancel, async |_| ());
        let stands = async {
            // The guard hears of the daemon a moment before the creation.
            let stands = async || own_guards().iter().any(|guard| !earlier.contains(guard));
            eventually("a guard", limit, stands).await;
            tokio::time::sleep(Duration::from_millis(20 + delay)).await;
        };
        tokio::select! {
            ended = engine => panic!("{:?}", ended.map_err(|error| error.to_string())),
            () = stands => {}
        }
        runs.push((options, dir));
    }
    eventually("the guards end", limit, async || own_guards().is_empty()).await;
    let mut made = 0;
    for (options, dir) in &runs {
        assert_eq!(
            docker::left(&docker, options).await,
            [""; 0],
            "{}",
            options.run_id
        );
        let reports = fs::read_dir(dir.path()).unwrap().flatten();
        for report in reports.filter(|one| one.file_name().to_string_lossy().starts_with("guard-"))
        {
            let report: GuardReport =
                serde_json::from_slice(&fs::read(report.path()).unwrap()).unwrap();
            made += report.removed.len();
        }
    }
    println!("of {} dropped runs {made} had made a container", runs.len());
    assert!(made > 0, "no creation was hit");
}

/// A way to the daemon that hangs when it is told, and works again when it is told that.
struct Way {
    dir: TempDir,
    hung: CancellationToken,
    resumed: CancellationToken,
}

impl Way {
    fn open() -> Self {
        let way = Self {
            dir: tempfile::tempdir().unwrap(),
            hung: CancellationToken::new(),
            resumed: CancellationToken::new(),
        };
        let listener = tokio::net::UnixListener::bind(way.dir.path().join("docker.sock")).unwrap();
        let (hung, resumed) = (way.hung.clone(), way.resumed.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, hung.clone(), resumed.clone()));
            }
        });
        way
    }

    fn address(&self) -> String {
        format!("unix://{}", self.dir.path().join("docker.sock").display())
    }
}

async fn relay(
    mut near: tokio::net::UnixStream,
    hung: CancellationToken,
    resumed: CancellationToken,
) {
    if hung.is_cancelled() {
        resumed.cancelled().await;
    }
    let mut far = tokio::net::UnixStream::connect("/var/run/docker.sock")
        .await
        .unwrap();
    let hangs = async {
        hung.cancelled().await;
        if resumed.is_cancelled() {
            std::future::pending::<()>().await;
        }
        resumed.cancelled().await;
    };
    tokio::select! {
        biased;
        () = hangs => {}
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
    }
}

#[tokio::test]
async fn a_hanging_daemon_does_not_hold_up_the_end() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let way = Way::open();
    let task = Task::new("hung", Engine::Shell(docker::HANG.to_owned()));
    let mut options = task.options(&way.dir.path().join("locks"));
    options.docker.host = Some(way.address());
    let spec = task.spec().await;
    let cancel = CancellationToken::new();
    let stop = async {
        docker::running(&docker, &options).await;
        way.hung.cancel();
        cancel.cancel();
        Instant::now()
    };
    let (outcome, begin) = tokio::join!(with_engine(&spec, &options, &cancel, async |_| ()), stop);
    println!(
        "hanging daemon: ended {:?} after the signal",
        begin.elapsed()
    );
    assert!(begin.elapsed() < IN_TIME);
    assert!(
        matches!(outcome, Err(ServeError::Cancelled { .. })),
        "{outcome:?}"
    );
    assert_eq!(docker::left(&docker, &options).await.len(), 1);
    way.resumed.cancel();
    eventually(
        "the guard has removed it",
        Duration::from_secs(20),
        async || docker::left(&docker, &options).await.is_empty(),
    )
    .await;
}

/// The daemon hangs, so that the first signal alone would take seconds.
#[tokio::test]
async fn a_second_signal_ends_it_at_once_and_the_guard_does_the_rest() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    for (name, second) in [
        ("twice-int", Signal::SIGINT),
        ("twice-term", Signal::SIGTERM),
    ] {
        let way = Way::open();
        let address = way.address();
        let mut more = LONG.to_vec();
        more.extend(["--docker-host", &address]);
        let mut subject = Subject::kitt(name, &more).await;
        subject.says("sending").await;
        way.hung.cancel();
        let begin = Instant::now();
        subject.signal(Signal::SIGINT);
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(
            subject.child.try_wait().unwrap().is_none(),
            "nothing to insist on"
        );
        subject.signal(second);
        let (status, after) = subject.ended(Duration::from_millis(1100)).await;
        println!(
            "{name}: ended {after:?} after the second, {:?} after the first",
            begin.elapsed()
        );
        assert_eq!(status.code(), Some(130), "{}", subject.log());
        assert!(subject.results_parse().is_some());
        assert!(!subject.left(Some(&docker)).await.is_empty());
        way.resumed.cancel();
        let left = subject
            .nothing_left(Some(&docker), Duration::from_secs(20))
            .await;
        println!("{name}: the guard had removed everything {left:?} after the daemon was back");
    }
}
