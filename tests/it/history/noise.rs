//! The noise profile: learned once a job, by many jobs at once, and believed only where it fits.

use std::{collections::BTreeSet, fs, sync::Barrier, thread};

use kitt_action::{
    results::{Fingerprint, Noise, NoiseFile, NoiseSource, read_noise, write_noise},
    store,
};

use super::{Past, Stage, usual};

fn conditions(gpu: &str) -> Fingerprint {
    Fingerprint {
        strict: [("gpu.name".to_owned(), gpu.to_owned())].into(),
        ..Fingerprint::default()
    }
}

fn now() -> jiff::Timestamp {
    "2026-01-15T10:00:00Z".parse().unwrap()
}

fn lesson(metric: &str) -> impl FnOnce(&mut NoiseFile) {
    let noise = Noise {
        log_sd_pair: 0.01,
        df: 2.0,
    };
    let metric = metric.to_owned();
    move |file| {
        let metrics = file.metrics.entry("s".to_owned()).or_default();
        metrics.insert(metric, noise);
    }
}

#[test]
fn twenty_jobs_at_once_lose_no_lesson() {
    let dir = tempfile::tempdir().unwrap();
    // Also the folder is made by whoever comes first.
    let path = dir.path().join("profiles").join("noise.json");
    let start = Barrier::new(20);
    thread::scope(|scope| {
        for n in 0..20 {
            let (path, start) = (&path, &start);
            scope.spawn(move || {
                start.wait();
                let (conditions, metric) = (conditions("H100"), format!("m{n}"));
                let source = NoiseSource::Pairs;
                store::update_noise(path, &conditions, source, now(), lesson(&metric)).unwrap();
            });
        }
    });
    let file = read_noise(&path).unwrap();
    assert_eq!(file.jobs, 20);
    let expected: BTreeSet<String> = (0..20).map(|n| format!("m{n}")).collect();
    assert_eq!(
        file.metrics["s"].keys().cloned().collect::<BTreeSet<_>>(),
        expected
    );
    let names: BTreeSet<_> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(
        names,
        [".noise.json.lock", "noise.json"].map(str::to_owned).into()
    );
}

#[test]
fn what_does_not_fit_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise.json");
    let update = |gpu: &str, now: jiff::Timestamp, metric: &str| {
        let source = NoiseSource::Pairs;
        store::update_noise(&path, &conditions(gpu), source, now, lesson(metric)).unwrap()
    };
    update("H100", now(), "a");
    let both = update("H100", now(), "b");
    assert_eq!((both.jobs, both.metrics["s"].len()), (2, 2));
    let other = update("L40S", now(), "c");
    assert_eq!((other.jobs, other.metrics["s"].len()), (1, 1));
    let month = now() + jiff::SignedDuration::from_hours(31 * 24);
    assert_eq!(update("L40S", month, "d").metrics["s"].len(), 1);
    fs::write(&path, "{").unwrap();
    assert_eq!(update("L40S", month, "e").jobs, 1);
}

/// A profile of pairs that scatter by so much, as old as this.
fn profile(stage: &Stage, conditions: &Fingerprint, log_sd_pair: f64, days: i64) {
    let age = jiff::SignedDuration::from_hours(24 * days);
    let mut file = NoiseFile::new(conditions, NoiseSource::Pairs, jiff::Timestamp::now() - age);
    let noise = Noise {
        log_sd_pair,
        df: 8.0,
    };
    let metrics = ["output_tps", "ttft_ms.p50"].map(|name| (name.to_owned(), noise));
    file.metrics.insert("latency".to_owned(), metrics.into());
    write_noise(&stage.path(""), "noise.json", &file).unwrap();
}

#[test]
fn a_report_says_why_it_does_not_use_a_profile() {
    let stage = Stage::new();
    stage.past(usual(0..2));
    let current = Past {
        hour: 200,
        ..Past::default()
    };
    let own = current.header().fingerprint;
    let mut elsewhere = own.clone();
    elsewhere
        .strict
        .insert("gpu.name".to_owned(), "L40S".to_owned());
    let mut other_model = own.clone();
    other_model
        .strict
        .insert("model".to_owned(), "another".to_owned());
    let arguments = ["--history", "past", "--noise-profile", "noise.json"];
    for (conditions, days, says) in [
        (&own, 1, "noise profile: learned from 0 jobs"),
        (
            &own,
            45,
            "not used: noise.json: it last learned something 45 days ago",
        ),
        (&own, -1, "its time is in the future"),
        (&elsewhere, 1, "other hardware"),
        (&other_model, 1, "other conditions"),
    ] {
        profile(&stage, conditions, 0.01, days);
        let said = stage.report(&current, &arguments);
        assert!(said.log().contains(says), "{says}: {}", said.log());
        assert_eq!(said.code(), Some(0), "{}", said.log());
    }
    fs::write(stage.path("noise.json"), "{}").unwrap();
    let said = stage.report(&current, &arguments);
    assert!(
        said.log().contains("not used: noise.json:1:"),
        "{}",
        said.log()
    );
    assert_eq!(said.code(), Some(0));
}

/// Pairs that scatter by 8 %: one run by 5.66 %, which is 30 % of a job's variance: 10.3 %. What
/// was seen makes the figure larger than the 1 % that was declared; a quiet profile never makes
/// it smaller.
#[test]
fn what_pairs_showed_widens_one_against_one_and_never_narrows_it() {
    let stage = Stage::new();
    stage.past(usual(0..1));
    let current = Past {
        hour: 200,
        ..Past::default()
    };
    let own = current.header().fingerprint;
    for (scatter, declared, says) in [
        (
            0.08,
            "0.01",
            "varies by 10.3 % (as pairs on this class of runners showed)",
        ),
        (0.001, "0.02", "varies by 2 % (as declared)"),
    ] {
        profile(&stage, &own, scatter, 1);
        let arguments = [
            "--history",
            "past",
            "--noise-profile",
            "noise.json",
            "--run-cv",
            declared,
        ];
        let log = stage.report(&current, &arguments).log();
        assert!(log.contains(says), "{log}");
    }
}
