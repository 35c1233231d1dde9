//! Locks on GPUs between processes. No GPU is needed: a lock is on a name.

use kitt_action::{
    engine::GpuSet,
    serve::{ServeError, reserve},
};
use tokio_util::sync::CancellationToken;

use super::{
    child::{Engine, Task, simulator},
    native::ready,
    *,
};

const GPUS: [&str; 2] = ["GPU-11111111-aaaa", "GPU-22222222-bbbb"];

fn task(name: &str) -> Task {
    Task {
        gpus: GPUS.map(str::to_owned).to_vec(),
        ..Task::new(name, Engine::Native(simulator(&[])))
    }
}

fn one() -> GpuSet {
    GpuSet::Nvidia(vec![GPUS[1].to_owned()])
}

/// One attempt, or waiting for so long.
async fn attempt(subject: &Subject, wait: Duration) -> Result<(), ServeError> {
    let options = ServeOptions {
        lock_dir: Some(subject.locks()),
        wait_for_gpu: wait,
        ..ServeOptions::new("other")
    };
    let cancel = CancellationToken::new();
    reserve(&one(), &options, &cancel, async || None)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_second_process_is_told_who_has_the_gpu_and_gets_it_when_it_is_free() {
    let mut subject = task("lock-holder").start().await;
    ready(&subject).await;
    let error = attempt(&subject, Duration::ZERO).await.unwrap_err();
    let text = error.to_string();
    println!("{text}");
    assert!(matches!(error, ServeError::GpuBusy { .. }), "{text}");
    let pid = format!("process {}", subject.pid());
    assert!(text.contains(&subject.run) && text.contains(&pid), "{text}");
    let (waited, ended) = tokio::join!(attempt(&subject, Duration::from_secs(20)), async {
        subject.signal(Signal::SIGTERM);
        eventually("the record is gone", Duration::from_secs(10), async || {
            marked(&subject.run).is_empty()
        })
        .await
    });
    waited.unwrap();
    println!("the engine was gone {ended:?} after SIGTERM, and its lock free");
    subject.ended(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_command_says_gpu_busy_and_ends_with_20() {
    let mut subject = task("lock-cli").start().await;
    ready(&subject).await;
    let output = harness::kitt()
        .args(["run", "-e", "sim", "-m", "sim-model", "--mode", "docker"])
        .args(["--gpus", GPUS[0], "--wait-for-gpu", "1s", "--lock-dir"])
        .arg(subject.locks())
        .arg("--output")
        .arg(subject.results())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(20), "{said}");
    assert!(
        said.contains("GPU busy") && said.contains(&subject.run),
        "{said}"
    );
    assert!(said.contains("waiting for a GPU"), "{said}");
    subject.signal(Signal::SIGTERM);
    subject.ended(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_lock_outlives_its_killed_owner_until_the_guard_is_done() {
    let mut subject = task("lock-guard").start().await;
    ready(&subject).await;
    let guard = subject.guards().remove(0);
    // Held up, so that there is something to see.
    kill(Pid::from_raw(guard.pid), Signal::SIGSTOP).unwrap();
    subject.kill_group();
    subject.ended(Duration::from_secs(5)).await;
    assert!(
        !marked(&subject.run).is_empty(),
        "the engine still has its GPU"
    );
    let error = attempt(&subject, Duration::from_millis(600)).await;
    assert!(
        matches!(error, Err(ServeError::GpuBusy { .. })),
        "{error:?}"
    );
    kill(Pid::from_raw(guard.pid), Signal::SIGCONT).unwrap();
    attempt(&subject, Duration::from_secs(20)).await.unwrap();
    assert_eq!(marked(&subject.run), [0; 0]);
    subject.nothing_left(None, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn without_a_guard_the_system_frees_the_lock() {
    let mut task = task("lock-alone");
    task.guard = false;
    let mut subject = task.start().await;
    ready(&subject).await;
    assert!(attempt(&subject, Duration::ZERO).await.is_err());
    subject.kill_group();
    subject.ended(Duration::from_secs(5)).await;
    // What the file says of its holder is not believed.
    attempt(&subject, Duration::ZERO).await.unwrap();
    for pid in marked(&subject.run) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
}
