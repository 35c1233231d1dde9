//! Failures, budgets and signals: pairs end with a reason, and files that can be read.

use super::*;

/// Kills the containers of the run.
async fn kill(bench: &Bench, docker: &bollard::Docker) {
    for name in bench.left(docker).await {
        let options = None::<bollard::query_parameters::KillContainerOptions>;
        drop(
            docker
                .kill_container(name.trim_start_matches('/'), options)
                .await,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_voids_its_pair_and_no_more() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let bench = Bench::new("void");
    let ab = ["--baseline", "ab", "--baseline-args", ENGINE];
    let slower = format!("{ENGINE} --slowdown=0.5");
    let command = bench.in_container(&slower, &ab);
    let (mut second, mut killed) = (false, false);
    let runtime = tokio::runtime::Handle::current();
    let (status, log) = tokio::task::block_in_place(|| {
        heard(command, |line, _| {
            second |= line.contains("pair 2: the current side");
            if second && !killed && line.contains("sending 20 requests") {
                killed = true;
                runtime.block_on(kill(&bench, &docker));
            }
        })
    });
    assert_eq!(status.code(), Some(10), "{log}");
    let pairs = bench.pairs();
    let void: Vec<_> = pairs
        .pairs
        .iter()
        .filter(|pair| pair.void.is_some())
        .collect();
    assert_eq!(void.len(), 1, "{pairs:?}");
    let why = void[0].void.as_ref().unwrap();
    assert!(why.starts_with("the current side's engine failed"), "{why}");
    assert!(pairs.interleaved());
    // The pair that makes up for it is measured in the same order.
    assert_eq!(pairs.pairs[1].first, pairs.pairs[2].first);
    assert_eq!(bench.status(), [RunStatus::Complete; 2]);
    assert_eq!(bench.left(&docker).await, [""; 0]);
}

#[tokio::test]
async fn an_engine_that_always_fails_is_named_by_its_side() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    for (side, own, other) in [
        ("current", " --startup-ms=60000", ""),
        ("baseline", "", " --startup-ms=60000"),
    ] {
        let bench = Bench::new(&format!("dead-{side}"));
        let baseline = format!("{ENGINE}{other}");
        let ab = [
            "--baseline",
            "ab",
            "--baseline-args",
            &baseline,
            "--startup-timeout",
            "3",
        ];
        let output = bench
            .in_container(&format!("{ENGINE}{own}"), &ab)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(22), "{}", stderr(&output));
        let said = format!("the {side} side's engine failed twice in a row");
        assert!(stderr(&output).contains(&said), "{}", stderr(&output));
        let comment = fs::read_to_string(bench.results().join("comment.md")).unwrap();
        assert!(comment.contains(&said), "{comment}");
        let pairs = bench.pairs();
        assert!(pairs.counting().count() == 0 && pairs.stopped.unwrap().contains(&said));
        assert_eq!(bench.status(), [RunStatus::Failed; 2]);
        assert_eq!(bench.left(&docker).await, [""; 0]);
    }
}

#[test]
fn a_time_budget_ends_in_inconclusive_and_says_so() {
    let bench = Bench::new("budget");
    // Two pairs fit: fewer than the first look needs.
    let ab = [
        "--baseline",
        "ab",
        "--baseline-args",
        ENGINE,
        "--time-budget",
        "9s",
    ];
    let output = bench.here(ENGINE, &ab).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(bench.verdict(), "inconclusive");
    let pairs = bench.pairs();
    assert!((1..3).contains(&pairs.counting().count()), "{pairs:?}");
    let why = pairs.stopped.unwrap();
    assert!(why.contains("time budget of 9.0 s"), "{why}");
}

#[tokio::test]
async fn a_signal_midway_leaves_files_that_parse_and_nothing_else() {
    let Some(docker) = docker::docker_or_skip().await else {
        return;
    };
    let bench = Bench::new("signal");
    let ab = ["--baseline", "ab", "--baseline-args", ENGINE];
    let (mut second, mut sent) = (false, false);
    let (status, log) = heard(bench.in_container(ENGINE, &ab), |line, pid| {
        second |= line.contains("pair 2:");
        if second && !sent && line.contains("sending 20 requests") {
            sent = true;
            let kill = Command::new("kill")
                .args(["-TERM", &pid.to_string()])
                .status();
            assert!(kill.unwrap().success());
        }
    });
    assert_eq!(status.code(), Some(143), "{log}");
    assert_eq!(bench.status(), [RunStatus::Cancelled; 2]);
    let pairs = bench.pairs();
    assert_eq!(pairs.counting().count(), 1, "{pairs:?}");
    assert!(pairs.stopped.unwrap().contains("SIGTERM"));
    assert_eq!(bench.left(&docker).await, [""; 0]);
    for entry in fs::read_dir(bench.results()).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            !name.to_string_lossy().starts_with('.'),
            "{name:?} is half-written"
        );
    }
}
