//! `baseline: auto`: stored results first, pairs where they leave it open.

use super::*;

/// Stored results of the baseline, in `baseline`.
fn store(bench: &Bench, engine_args: &str, mode: &[&str]) {
    let mut command = bench.here(engine_args, mode);
    command.args(["--results-dir", "baseline"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

const STORED: [&str; 2] = ["--baseline-dir", "baseline"];

#[tokio::test]
async fn an_open_verdict_on_stored_results_is_decided_by_pairs() {
    if docker::docker_or_skip().await.is_none() {
        return;
    }
    let bench = Bench::new("auto");
    store(&bench, ENGINE, &["--mode", "docker", "--gpus", "none"]);
    // One job against one proves nothing below a fifth.
    let slower = format!("{ENGINE} --slowdown=0.18");
    let output = bench.in_container(&slower, &STORED).output().unwrap();
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(10), "{log}");
    assert!(
        log.contains("pairs: the verdict on stored results is open"),
        "{log}"
    );
    assert_eq!(bench.verdict(), "regressed");
    let pairs = bench.pairs();
    // The run that was compared with stored results warmed the machine up.
    assert_eq!((pairs.pairs[0].baseline, pairs.pairs[0].current), (1, 2));
    let baseline = json(&bench.results().join("baseline/config.json"));
    let stored = json(&bench.path("baseline/config.json"));
    let asked = |config: &Value| config["effective"]["asked"].clone();
    assert_eq!(asked(&baseline), asked(&stored));
}

#[test]
fn what_cannot_be_rebuilt_stands() {
    let bench = Bench::new("stands");
    store(&bench, ENGINE, &[]);
    let path = bench.path("baseline/config.json");
    let untouched = json(&path);
    let refuse = |change: fn(&mut Value), says: &str| {
        let mut config = untouched.clone();
        change(&mut config);
        fs::write(&path, config.to_string()).unwrap();
        let output = bench.here(ENGINE, &STORED).output().unwrap();
        let log = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{log}");
        assert!(log.contains("no pairs: ") && log.contains(says), "{log}");
        assert!(!bench.results().join("pairs.json").exists());
    };
    refuse(
        |config| config["effective"]["asked"] = Value::Null,
        "measure the baseline again",
    );
    refuse(
        |config| config["effective"]["asked"]["model"] = "--hostile".into(),
        "is not believed",
    );
    refuse(
        |config| config["effective"]["asked"]["engine"] = "vllm".into(),
        "pairs compare one engine",
    );
}

#[test]
fn settings_keep_pairs_away_and_say_which() {
    let bench = Bench::new("away");
    store(&bench, ENGINE, &[]);
    let said = |more: &[&str], says: &str| {
        let output = bench
            .here(ENGINE, &[&STORED[..], more].concat())
            .output()
            .unwrap();
        let log = stderr(&output);
        assert!(
            log.contains(&format!("no pairs: {says}")),
            "{more:?}: {log}"
        );
        assert!(!bench.results().join("pairs.json").exists());
    };
    said(&["--baseline", "stored"], "`baseline: stored`");
    said(&["--on-unsure", "neutral"], "`on-unsure: neutral`");
    said(&["--time-budget", "100ms"], "another pair takes");
    let output = bench
        .here(ENGINE, &["--baseline-dir", "nothing"])
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("there is no baseline"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn pairs_without_any_baseline_are_a_usage_error() {
    let bench = Bench::new("none");
    let output = bench.here(ENGINE, &["--baseline", "ab"]).output().unwrap();
    let log = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(
        log.contains("--baseline-dir") && log.contains("--baseline-image"),
        "{log}"
    );
}

#[test]
fn the_stored_baseline_is_never_overwritten() {
    let bench = Bench::new("overwritten");
    fs::create_dir(bench.results()).unwrap();
    let output = bench
        .here(ENGINE, &["--results-dir", "results/baseline"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let path = bench.path("results/baseline/metrics.json");
    let before = fs::read(&path).unwrap();
    let stored = ["--baseline-dir", "results/baseline"];
    let output = bench
        .here(ENGINE, &[&stored[..], &["--baseline", "ab"]].concat())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let output = bench.here(ENGINE, &stored).output().unwrap();
    assert!(
        stderr(&output).contains("where the baseline side of pairs goes"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}
