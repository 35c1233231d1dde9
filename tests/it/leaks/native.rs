//! Engines as processes of this host. None of these tests needs Docker.

use std::collections::BTreeMap;

use kitt_action::{
    engine::{LaunchSpec, ProcessSpec, Target},
    secret::Secret,
    serve::{Endpoint, LastWords, ServeError, Sweep, cleanup, with_engine},
};
use tokio_util::sync::CancellationToken;

use super::{
    child::{Engine, Task, native, shell, simulator},
    *,
};

/// A native engine in this process, with a folder for locks, records and the log.
struct Bench {
    dir: TempDir,
    task: Task,
    spec: LaunchSpec,
}

impl Bench {
    fn new(name: &str, command: Vec<String>) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            spec: native(&command, &[]),
            task: Task::new(name, Engine::Native(command)),
        }
    }

    fn process(&mut self) -> &mut ProcessSpec {
        let Target::Process(process) = &mut self.spec.target else {
            panic!("a native engine is a process")
        };
        process
    }

    async fn run<T>(&self, body: impl AsyncFnOnce(Endpoint) -> T) -> Result<T, ServeError> {
        let mut options = self.task.options(&self.dir.path().join("locks"));
        options.log_file = Some(self.dir.path().join("engine.log"));
        options.secrets = Vec::from_iter(Secret::new("hf_very_secret"));
        with_engine(&self.spec, &options, &CancellationToken::new(), body).await
    }

    fn records(&self) -> usize {
        let entries = fs::read_dir(self.dir.path().join("locks"))
            .unwrap()
            .flatten();
        entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("native-"))
            .count()
    }

    fn is_clean(&self) {
        assert_eq!(marked(&self.task.run), [0; 0]);
        assert_eq!(self.records(), 0);
    }
}

#[tokio::test]
async fn a_native_engine_lives_and_ends_in_a_group_and_an_environment_of_its_own() {
    let mut bench = Bench::new("life", simulator(&[]));
    let secret = Secret::new("hf_very_secret").unwrap();
    let process = bench.process();
    process.env = BTreeMap::from([("OWN_PORT".to_owned(), "{port}".to_owned())]);
    process.secrets = BTreeMap::from([("HF_TOKEN".to_owned(), secret)]);
    process.cpuset = Some("0".to_owned());
    let port = bench
        .run(async |endpoint| {
            let answer = reqwest::get(endpoint.url.join("/v1/models").unwrap())
                .await
                .unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(endpoint.facts.args, ["sim", "--port", "{port}"]);
            let pids = marked(&bench.task.run);
            assert_eq!((pids.len(), bench.records()), (1, 1), "{pids:?}");
            let engine = process_of(pids[0]);
            assert_eq!(engine.group, engine.pid);
            assert_eq!(engine.parent, i32::try_from(std::process::id()).unwrap());
            assert!(!engine.args.join(" ").contains("hf_very_secret"));
            let status = fs::read_to_string(format!("/proc/{}/status", engine.pid)).unwrap();
            assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
            let input = fs::read_link(format!("/proc/{}/fd/0", engine.pid)).unwrap();
            assert_eq!(input, Path::new("/dev/null"));
            let port = endpoint.url.port().unwrap();
            let mut environ = environ(engine.pid);
            environ.retain(|one| !one.starts_with("KITT_RUN="));
            environ.sort();
            let own_port = format!("OWN_PORT={port}");
            let expected = [
                "CUDA_VISIBLE_DEVICES=",
                "HF_TOKEN=hf_very_secret",
                &own_port,
                "PATH=/usr/bin:/bin",
                "ROCR_VISIBLE_DEVICES=",
            ];
            assert_eq!(environ, expected);
            port
        })
        .await
        .unwrap();
    bench.is_clean();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

fn process_of(pid: i32) -> Process {
    process(pid).unwrap()
}

#[tokio::test]
async fn death_before_readiness_is_seen_at_once_with_its_last_words() {
    let script = "echo loading; echo \"ValueError: bad model $HF_TOKEN\" >&2; exit 3";
    let mut bench = Bench::new("died", shell(script));
    let secret = Secret::new("hf_very_secret").unwrap();
    bench.process().secrets = BTreeMap::from([("HF_TOKEN".to_owned(), secret)]);
    let begin = Instant::now();
    let error = bench.run(async |_| ()).await.unwrap_err();
    println!(
        "death of a native engine: reported after {:?}",
        begin.elapsed()
    );
    let ServeError::Died {
        code: 3,
        last: LastWords { log, .. },
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert!(
        log.contains("ValueError: bad model ***") && log.contains("loading"),
        "{log}"
    );
    let written = fs::read_to_string(bench.dir.path().join("engine.log")).unwrap();
    let mut lines: Vec<&str> = written.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["ValueError: bad model ***", "loading"]);
    bench.is_clean();
}

#[tokio::test]
async fn an_engine_that_never_answers_runs_into_its_limit() {
    let mut bench = Bench::new("late", shell("echo up; sleep 1000"));
    bench.spec.startup_timeout = Duration::from_millis(600);
    let error = bench.run(async |_| ()).await.unwrap_err();
    let ServeError::NotReady { last, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(last.log, "up");
    bench.is_clean();
}

#[tokio::test]
async fn what_cannot_be_started_is_named_and_leaves_nothing() {
    let bench = Bench::new("absent", vec!["/nonexistent/engine".to_owned()]);
    let error = bench.run(async |_| ()).await.unwrap_err();
    assert!(matches!(error, ServeError::Program { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/engine"), "{error}");
    bench.is_clean();
    let mut bench = Bench::new("pinned", simulator(&[]));
    bench.process().cpuset = Some("60000".to_owned());
    let error = bench.run(async |_| ()).await.unwrap_err();
    assert!(matches!(error, ServeError::Program { .. }), "{error}");
    bench.is_clean();
}

#[tokio::test]
async fn death_while_measured_is_no_success() {
    let bench = Bench::new("lost", simulator(&[]));
    let error = bench
        .run(async |_| {
            kill(Pid::from_raw(marked(&bench.task.run)[0]), Signal::SIGKILL).unwrap();
            std::future::pending::<()>().await;
        })
        .await
        .unwrap_err();
    assert!(
        matches!(error, ServeError::Lost { code: 137, .. }),
        "{error}"
    );
    // The body may end first.
    let bench = Bench::new("gone", simulator(&[]));
    let error = bench
        .run(async |_| {
            let pid = marked(&bench.task.run)[0];
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            let limit = Duration::from_secs(10);
            eventually("dead", limit, async || process(pid).is_none()).await;
        })
        .await;
    assert!(matches!(error, Err(ServeError::Lost { .. })), "{error:?}");
    bench.is_clean();
}

#[tokio::test]
async fn a_guard_that_cannot_be_started_is_missed_but_stops_nobody() {
    let bench = Bench::new("unguarded", simulator(&[]));
    let mut options = bench.task.options(&bench.dir.path().join("locks"));
    for program in ["/nonexistent/kitt", "/bin/true"] {
        options.guard = Some(program.into());
        let cancel = CancellationToken::new();
        let measured = with_engine(&bench.spec, &options, &cancel, async |_| 7).await;
        assert_eq!(measured.unwrap(), 7, "{program}");
    }
    bench.is_clean();
}

/// Answers, ignores SIGTERM, and has a child that ignores it too, in a session of its own.
fn stubborn() -> Vec<String> {
    let kitt = env!("CARGO_BIN_EXE_kitt");
    // `setsid` moves the sleeper out of the group, and its parent ends at once; only its
    // environment tells whose it is.
    shell(&format!(
        "trap '' TERM; (setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" &); \
         {kitt} sim --port {{port}} & wait; while :; do sleep 1; done"
    ))
}

#[tokio::test]
async fn an_engine_that_does_not_end_is_killed_with_those_who_left_its_group() {
    let bench = Bench::new("stubborn", stubborn());
    let ended = bench
        .run(async |_| {
            let limit = Duration::from_secs(10);
            let away = async || {
                let pids = marked(&bench.task.run);
                let all: Vec<Process> = pids.into_iter().filter_map(process).collect();
                all.iter().any(|one| one.session == one.pid)
            };
            eventually("a child in its own session", limit, away).await;
            Instant::now()
        })
        .await
        .unwrap();
    println!(
        "stubborn engine: gone {:?} after the measurement",
        ended.elapsed()
    );
    assert!(
        ended.elapsed() >= Duration::from_millis(900),
        "it was given its second"
    );
    bench.is_clean();
}

#[tokio::test]
async fn a_cancelled_start_leaves_no_process() {
    for delay in [0, 2, 5, 10, 20, 40, 80, 160] {
        let bench = Bench::new(&format!("cancel{delay}"), stubborn());
        let cancel = CancellationToken::new();
        let options = bench.task.options(&bench.dir.path().join("locks"));
        let stop = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            cancel.cancel();
            Instant::now()
        };
        // Readiness is noticed within milliseconds: some are cancelled while they are measured.
        let engine = with_engine(&bench.spec, &options, &cancel, async |_| {
            std::future::pending::<()>().await;
        });
        let (outcome, cancelled) = tokio::join!(engine, stop);
        assert!(
            matches!(outcome, Err(ServeError::Cancelled { .. })),
            "{outcome:?}"
        );
        assert!(cancelled.elapsed() < Duration::from_secs(3));
        bench.is_clean();
    }
}

#[tokio::test]
async fn a_future_that_is_dropped_takes_its_processes_along() {
    let mut bench = Bench::new("dropped", stubborn());
    bench.task.guard = false;
    let options = bench.task.options(&bench.dir.path().join("locks"));
    let cancel = CancellationToken::new();
    let engine = with_engine(&bench.spec, &options, &cancel, async |_| ());
    tokio::select! {
        _ = engine => panic!("it ended by itself"),
        _ = eventually("started", Duration::from_secs(20), async || {
            marked(&bench.task.run).len() > 2
        }) => {}
    }
    let gone = async || marked(&bench.task.run).is_empty();
    eventually("gone", Duration::from_secs(5), gone).await;
}

#[tokio::test]
async fn kill_9_of_the_whole_group_ends_the_engine_and_those_who_left_its_group() {
    let mut subject = Task::new("native-kill", Engine::Native(stubborn()))
        .start()
        .await;
    ready(&subject).await;
    // The shell, the simulator, the one with a session of its own and its sleep.
    let all = async || marked(&subject.run).len() >= 4;
    eventually("all are there", Duration::from_secs(10), all).await;
    let guards = subject.guards();
    assert_eq!(guards.len(), 1);
    subject.kill_group();
    let took = eventually("gone", Duration::from_secs(2), async || {
        marked(&subject.run).is_empty()
    })
    .await;
    println!("kill -9 of a native run: its processes were gone after {took:?}");
    subject.ended(Duration::from_secs(5)).await;
    subject.nothing_left(None, Duration::from_secs(10)).await;
    eventually("no guard", Duration::from_secs(10), async || {
        process(guards[0].pid).is_none()
    })
    .await;
    let reports = subject.reports();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (&reports[0].run, &reports[0].unfinished),
        (&subject.run, &None)
    );
    assert!(!reports[0].removed.is_empty());
}

pub(super) async fn ready(subject: &Subject) {
    let ready = subject.dir.path().join("ready");
    eventually("ready", Duration::from_mins(1), async || ready.exists()).await;
}

#[tokio::test]
async fn without_a_guard_the_next_run_ends_it_and_nothing_else() {
    let mut task = Task::new("native-reaped", Engine::Native(stubborn()));
    task.guard = false;
    let mut subject = task.start().await;
    ready(&subject).await;
    assert!(subject.guards().is_empty());
    // Somebody else's: a similar mark.
    let mut foreign = Command::new("/bin/sleep");
    foreign
        .arg("1000")
        .env("KITT_RUN", format!("{}x-1-2-0", subject.run));
    let mut foreign = foreign.spawn().unwrap();
    // Of this very process, which lives.
    let alive = Bench::new("native-alive", simulator(&[]));
    let mut options = alive.task.options(&subject.locks());
    options.guard = None;
    let cancel = CancellationToken::new();
    with_engine(&alive.spec, &options, &cancel, async |_| {
        subject.kill_group();
        subject.ended(Duration::from_secs(5)).await;
        assert!(
            !marked(&subject.run).is_empty(),
            "nobody was there to end it"
        );
        let swept = cleanup(&Sweep {
            docker: kitt_action::context::DockerPlace::at("unix:///nonexistent"),
            lock_dir: Some(subject.locks()),
            ..Sweep::default()
        })
        .await
        .unwrap();
        assert_eq!(swept.removed, [format!("processes of run {}", subject.run)]);
        assert_eq!(swept.kept, [format!("processes of run {}", alive.task.run)]);
        assert_eq!(marked(&subject.run), [0; 0]);
        assert_eq!(marked(&alive.task.run).len(), 1);
        assert!(foreign.try_wait().unwrap().is_none());
    })
    .await
    .unwrap();
    foreign.kill().unwrap();
    foreign.wait().unwrap();
    subject.nothing_left(None, Duration::from_secs(5)).await;
}
