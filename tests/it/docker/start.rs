//! Starts that come to nothing: each is told apart, and nothing stays behind.

use super::*;

#[tokio::test]
async fn cancelling_the_start_removes_the_container_at_once() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (shell(HANG).await, options("start"));
    let cancel = CancellationToken::new();
    let stop = async {
        running(&docker, &options).await;
        cancel.cancel();
        Instant::now()
    };
    let (outcome, cancelled) =
        tokio::join!(with_engine(&spec, &options, &cancel, async |_| ()), stop);
    println!("cancelled start: gone after {:?}", cancelled.elapsed());
    assert!(
        matches!(outcome, Err(ServeError::Cancelled { .. })),
        "{outcome:?}"
    );
    assert!(cancelled.elapsed() < Duration::from_secs(5));
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn cancelling_at_any_moment_leaves_nothing() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let spec = shell(HANG).await;
    let runs = [0, 5, 10, 15, 20, 30, 40, 60, 80, 120, 200].map(|delay| {
        let (spec, docker) = (spec.clone(), docker.clone());
        async move {
            let options = options(&format!("at-{delay}"));
            let cancel = CancellationToken::new();
            let stop = async {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                cancel.cancel();
            };
            let (outcome, ()) =
                tokio::join!(with_engine(&spec, &options, &cancel, async |_| ()), stop);
            assert!(
                matches!(outcome, Err(ServeError::Cancelled { .. })),
                "{outcome:?}"
            );
            assert_eq!(left(&docker, &options).await, [""; 0], "{delay} ms");
            options
        }
    });
    let mut done = Vec::new();
    for run in runs {
        done.push(run.await);
    }
    // A creation that was given up would surface within a second and a half.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for options in &done {
        assert_eq!(left(&docker, options).await, [""; 0]);
    }
}

#[tokio::test]
async fn death_before_readiness_is_seen_at_once_with_its_last_words() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, options) = (
        shell("echo loading; echo 'ValueError: bad model' >&2; exit 3").await,
        options("died"),
    );
    let begin = Instant::now();
    let error = start_only(&spec, &options).await;
    println!("death in readiness: reported after {:?}", begin.elapsed());
    let ServeError::Died {
        code: 3,
        oom: false,
        last: LastWords { log, .. },
    } = &error
    else {
        panic!("{error}")
    };
    assert!(
        log.contains("ValueError: bad model") && log.contains("loading"),
        "{log}"
    );
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn an_engine_that_never_answers_runs_into_its_limit() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (mut spec, options) = (shell(HANG).await, options("late"));
    spec.startup_timeout = Duration::from_millis(1500);
    let error = start_only(&spec, &options).await;
    let ServeError::NotReady { limit, last, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*limit, last.log.as_str()), (spec.startup_timeout, "up"));
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn running_out_of_memory_is_named_whatever_the_exit_code() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let eat = "a=xxxxxxxx; while :; do a=$a$a; done";
    // In the second one a child is killed and its parent ends as it likes.
    for (run, script) in [
        ("oom", eat.to_owned()),
        ("oom-3", format!("({eat}); exit 3")),
    ] {
        let (mut spec, options) = (shell(&script).await, options(run));
        if let Target::Container(container) = &mut spec.target {
            container.memory = Some(Bytes(32 << 20));
        }
        let error = start_only(&spec, &options).await;
        let ServeError::Died {
            oom: true, code, ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(*code == 3, run == "oom-3");
        let text = error.to_string();
        assert!(
            text.contains("out of memory") && text.contains("memory limit 32 MiB"),
            "{text}"
        );
        nothing_left(&docker, &options).await;
    }
}

#[tokio::test]
async fn a_killed_engine_is_not_taken_for_one_without_memory() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    for (run, script, expected) in [
        ("kill", "kill -9 $$", "SIGKILL"),
        ("segv", "kill -11 $$", "SIGSEGV"),
        ("term", "kill -15 $$", "SIGTERM"),
        ("absent", "exec /no/such/program", "not found"),
    ] {
        let (spec, options) = (shell(script).await, options(run));
        let error = start_only(&spec, &options).await;
        let text = error.to_string();
        assert!(
            matches!(error, ServeError::Died { oom: false, .. }),
            "{text}"
        );
        assert!(text.contains(expected), "{text}");
        nothing_left(&docker, &options).await;
    }
}

#[tokio::test]
async fn the_log_file_holds_everything_but_secrets() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let script = "echo first; printf 'token=%s!\\n' \"$SECRET\" >&2; printf last; exit 1";
    let (spec, mut options) = (shell(script).await, options("log"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.log");
    options.log_file = Some(path.clone());
    options.secrets = Vec::from_iter(Secret::new("hf_very_secret"));
    let error = start_only(&spec, &options).await.to_string();
    let log = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<&str> = log.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["first", "last", "token=***!"]);
    assert!(
        !error.contains("hf_very_secret") && error.contains("token=***"),
        "{error}"
    );
}

#[tokio::test]
async fn a_log_file_that_cannot_be_written_stops_before_anything_starts() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    let (spec, mut options) = (shell(HANG).await, options("nolog"));
    options.log_file = Some(PathBuf::from("/nonexistent/engine.log"));
    let error = start_only(&spec, &options).await;
    assert!(matches!(error, ServeError::Log { .. }), "{error}");
    assert_eq!(left(&docker, &options).await, [""; 0]);
}

#[tokio::test]
async fn a_missing_image_is_named_and_a_failed_pull_explained() {
    let Some(_docker) = docker_or_skip().await else {
        return;
    };
    let absent: ImageRef = "kitt-no-such-image".parse().unwrap();
    let error = start_only(&launch(&absent, &[]), &options("absent")).await;
    assert!(
        matches!(&error, ServeError::ImageMissing { image } if image == "kitt-no-such-image:latest"),
        "{error}"
    );
    let mut options = options("pull");
    options.auto_pull = true;
    options.pull.pause = Duration::from_millis(100);
    // Nobody listens at port 1.
    let unreachable: ImageRef = "127.0.0.1:1/kitt/none:1".parse().unwrap();
    let error = start_only(&launch(&unreachable, &[]), &options).await;
    assert!(
        matches!(&error, ServeError::Pull { words, .. } if words.contains("refused")),
        "{error}"
    );
}

#[tokio::test]
async fn hostile_names_reach_no_path_of_the_daemon() {
    let Some(docker) = docker_or_skip().await else {
        return;
    };
    for hostile in [
        "../containers/victim",
        "a/../../containers/x",
        "x?force=1",
        "a b",
        "--privileged",
    ] {
        assert!(hostile.parse::<ImageRef>().is_err(), "{hostile}");
    }
    let (spec, mut options) = (shell("exit 4").await, options("name"));
    options.run_id = format!("../../{}?force=1&v=1 #\n", options.run_id);
    let error = start_only(&spec, &options).await;
    assert!(matches!(error, ServeError::Died { code: 4, .. }), "{error}");
    assert_eq!(left(&docker, &options).await, [""; 0]);
}
