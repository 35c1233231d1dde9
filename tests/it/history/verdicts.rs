//! One job against the jobs before it, through the binary.

use std::fs;

use kitt_action::{measure::Validity, results::RunStatus};

use super::{Past, Stage, commit, usual};

const HISTORY: [&str; 2] = ["--history", "past"];

fn now(slower: f64) -> Past {
    Past {
        hour: 200,
        slower,
        event: Some("pull_request"),
        ..Past::default()
    }
}

#[test]
fn ten_jobs_clear_an_unchanged_one_without_a_baseline() {
    let stage = Stage::new();
    stage.past(usual(0..10));
    let said = stage.report(&now(1.0), &HISTORY);
    assert_eq!(said.verdict(), "unchanged", "{}", said.log());
    let words = "output throughput of latency: held against 10 jobs since abc0000 (2026-01-01)";
    assert!(said.log().contains(words), "{}", said.log());
    assert!(
        said.log()
            .contains("10 jobs in past, 10 of them comparable"),
        "{}",
        said.log()
    );
}

#[test]
fn a_job_a_fifth_slower_than_ten_others_is_regressed() {
    let stage = Stage::new();
    stage.past(usual(0..10));
    let said = stage.report(&now(1.2), &[&HISTORY[..], &["--gate"]].concat());
    assert_eq!(said.verdict(), "regressed", "{}", said.log());
    assert_eq!(said.code(), Some(10));
}

/// With seven jobs there is no history: the newest of them is the other side, and 5 % of assumed
/// variation leave it open.
#[test]
fn seven_jobs_are_too_few() {
    let stage = Stage::new();
    stage.past(usual(0..7));
    let said = stage.report(&now(1.0), &HISTORY);
    assert_eq!(said.verdict(), "inconclusive", "{}", said.log());
    let log = said.log();
    assert!(log.contains("provisional"), "{log}");
    assert!(log.contains("the history has 7 jobs since"), "{log}");
    let comment = said.comment();
    // The newest of the seven.
    assert!(comment.contains(&commit(6)[..7]), "{comment}");
}

#[test]
fn jobs_that_do_not_count_are_left_out() {
    for (what, spoil) in [
        (
            "pull requests",
            (|job| job.event = Some("pull_request")) as fn(&mut Past),
        ),
        ("other conditions", |job| job.cpu = "another processor"),
        ("failed", |job| job.status = RunStatus::Failed),
        ("killed", |job| job.status = RunStatus::Running),
        ("invalid", |job| job.validity = Validity::GpuInvalid),
    ] {
        let stage = Stage::new();
        stage.past(usual(0..7));
        // Twice as slow, so that it would be seen if they counted.
        stage.past((10..20).map(|hour| {
            let mut job = Past {
                hour,
                slower: 2.0,
                ..Past::default()
            };
            spoil(&mut job);
            job
        }));
        let said = stage.report(&now(1.0), &HISTORY);
        if what != "invalid" {
            assert!(
                said.log().contains("17 jobs in past, 7 of them"),
                "{what}: {}",
                said.log()
            );
        }
        assert_eq!(said.verdict(), "inconclusive", "{what}: {}", said.log());
        assert!(
            said.log().contains("the history has 7 jobs since"),
            "{what}: {}",
            said.log()
        );
        // Recorded they are.
        assert_eq!(stage.written().len(), 18, "{what}");
    }
}

#[test]
fn a_job_is_held_against_the_level_since_the_last_shift() {
    let stage = Stage::new();
    // Twelve jobs, then nine that are 20 % slower.
    stage.past(usual(0..12));
    stage.past(usual(12..21).map(|job| Past { slower: 1.2, ..job }));
    let said = stage.report(&now(1.2), &HISTORY);
    assert_eq!(said.verdict(), "unchanged", "{}", said.log());
    let words = "TTFT p50 of latency: held against 9 jobs since the level shifted by +20.";
    assert!(said.log().contains(words), "{}", said.log());
    assert!(
        said.log().contains("at abc000c (2026-01-01)"),
        "{}",
        said.log()
    );
    // The level before the shift is better than the one there is now.
    let said = stage.report(&now(1.0), &HISTORY);
    assert_eq!(said.verdict(), "improved", "{}", said.log());
}

#[test]
fn a_file_of_lines_serves_as_well_as_directories() {
    let stage = Stage::new();
    stage.past(usual(0..10));
    let from_directories = stage.report(&now(1.2), &HISTORY);
    assert_eq!(from_directories.verdict(), "regressed");
    // What was written beside those results is the next job's history.
    fs::rename(stage.path("current/history.jsonl"), stage.path("h.jsonl")).unwrap();
    let next = Past {
        hour: 201,
        ..now(1.2)
    };
    let said = stage.report(&next, &["--history", "h.jsonl"]);
    assert_eq!(said.verdict(), "regressed", "{}", said.log());
    assert!(
        said.log().contains("compared by their digest"),
        "{}",
        said.log()
    );
    assert!(
        said.log()
            .contains("11 jobs in h.jsonl, 10 of them comparable"),
        "{}",
        said.log()
    );
    let jobs = stage.written();
    assert_eq!(jobs.len(), 12);
    assert_eq!(jobs[11].commit.as_deref(), Some(&*commit(201)));
    assert_eq!(jobs[10].event.as_deref(), Some("pull_request"));
}

#[test]
fn a_job_is_in_its_history_once_however_often_it_is_reported() {
    let stage = Stage::new();
    stage.past(usual(0..3));
    stage.report(&now(1.0), &HISTORY);
    let once = stage.written();
    assert_eq!(once.len(), 4);
    // Its own results lie in the history now.
    stage.report_again(&["--history", "."]);
    assert_eq!(stage.written(), once);
    stage.report_again(&["--history", "current/history.jsonl"]);
    assert_eq!(stage.written(), once);
}

#[test]
fn the_baseline_of_pairs_is_no_job() {
    let stage = Stage::new();
    stage.past(usual(0..2));
    let job = stage.path("past/run-1");
    Past {
        hour: 50,
        ..Past::default()
    }
    .store(&job.join("baseline"));
    fs::write(
        job.join("pairs.json"),
        r#"{"schema_version":1,"planned":12,"pairs":[]}"#,
    )
    .unwrap();
    stage.report(&now(1.0), &HISTORY);
    let hours: Vec<_> = stage
        .written()
        .into_iter()
        .map(|job| job.commit.unwrap())
        .collect();
    assert_eq!(hours, [commit(0), commit(1), commit(200)]);
}

#[test]
fn a_broken_result_is_left_out_and_named() {
    let stage = Stage::new();
    stage.past(usual(0..10));
    fs::create_dir(stage.path("past/broken")).unwrap();
    fs::write(
        stage.path("past/broken/metrics.json"),
        "{\"schema_version\":1,",
    )
    .unwrap();
    let said = stage.report(&now(1.0), &HISTORY);
    assert_eq!(said.verdict(), "unchanged", "{}", said.log());
    assert!(
        said.log().contains("past/broken/metrics.json"),
        "{}",
        said.log()
    );
    assert!(
        said.log().contains("left out of the history"),
        "{}",
        said.log()
    );
}

#[test]
fn a_broken_line_is_an_error_and_a_half_written_last_one_is_not() {
    let stage = Stage::new();
    stage.past(usual(0..10));
    stage.report(&now(1.0), &HISTORY);
    let text = fs::read_to_string(stage.path("current/history.jsonl")).unwrap();
    let next = Past {
        hour: 201,
        ..now(1.0)
    };
    fs::write(stage.path("half.jsonl"), &text[..text.len() - 100]).unwrap();
    let said = stage.report(&next, &["--history", "half.jsonl"]);
    assert_eq!(said.verdict(), "unchanged", "{}", said.log());
    assert!(
        said.log().contains("half.jsonl:11: the last line ends"),
        "{}",
        said.log()
    );

    let broken = text.replacen("\"timestamp\"", "\"when\"", 3);
    fs::write(stage.path("broken.jsonl"), broken).unwrap();
    let said = stage.report(&next, &["--history", "broken.jsonl"]);
    assert_eq!(said.code(), Some(1));
    assert!(said.log().contains("broken.jsonl:1:"), "{}", said.log());
}

#[test]
fn no_history_yet_is_no_error() {
    let stage = Stage::new();
    let said = stage.report(&now(1.0), &HISTORY);
    assert_eq!(
        (said.code(), said.verdict().as_str()),
        (Some(0), "new"),
        "{}",
        said.log()
    );
    assert_eq!(stage.written().len(), 1);
}

#[test]
fn a_history_of_other_machines_is_no_baseline() {
    let stage = Stage::new();
    stage.past(usual(0..9).map(|job| Past {
        cpu: "another",
        ..job
    }));
    let said = stage.report(&now(1.0), &HISTORY);
    assert_eq!(said.verdict(), "new", "{}", said.log());
    assert!(
        said.log().contains("none of the 9 jobs in past"),
        "{}",
        said.log()
    );
}

/// The runs of one job share its host and its hour: five of them are no more jobs than one.
#[test]
fn many_runs_of_a_job_count_once() {
    let stage = Stage::new();
    stage.past(usual(0..3).map(|job| Past { runs: 5, ..job }));
    let said = stage.report(&now(1.0), &HISTORY);
    assert!(
        said.log().contains("the history has 3 jobs since"),
        "{}",
        said.log()
    );
    assert_eq!(said.verdict(), "inconclusive");
    let job = &stage.written()[0];
    assert_eq!(job.scenarios["latency"].metrics["output_tps"].runs, 5);
}

/// Seven jobs that vary by 10 % and more: nobody may take the next one for a regression because
/// its maker declared 1 %.
#[test]
fn too_few_jobs_still_tell_that_they_vary() {
    let stage = Stage::new();
    stage.past(usual(0..7).map(|job| Past {
        slower: if job.hour % 2 == 0 { 1.0 } else { 1.2 },
        ..job
    }));
    let said = stage.report(&now(1.2), &[&HISTORY[..], &["--run-cv", "0.01"]].concat());
    assert_eq!(said.verdict(), "inconclusive", "{}", said.log());
    assert!(
        said.log().contains("varies by 9.8 % (as past jobs showed)"),
        "{}",
        said.log()
    );
}
