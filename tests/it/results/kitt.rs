//! Files that other programs wrote: KITT, and every kitt before this one.

use std::fs;

use kitt_action::{
    measure::Validity,
    results::{self, Limits, Origin, ResultSet, RunFacts, RunStatus, ScenarioFacts},
    store,
};

use super::{json, load, refused};
use crate::harness::fixture;

#[test]
fn version_1_loads_for_ever() {
    let status = |name: &str| {
        let set = store::load(&fixture(&format!("results/v1/{name}"))).unwrap();
        (set.status, set)
    };
    let (complete, set) = status("complete");
    assert_eq!(complete, RunStatus::Complete);
    assert_eq!(status("running").0, RunStatus::Running);
    assert_eq!(status("failed").0, RunStatus::Failed);
    assert_eq!(status("cancelled").0, RunStatus::Cancelled);
    assert_eq!(
        set.timestamp.as_deref(),
        Some("2026-01-15T10:30:00.123456+00:00")
    );
    assert_eq!(set.values("latency", "ttft_ms.p50"), [12.25, 12.25]);
    let record = &set.runs[0].scenarios["latency"];
    assert_eq!((record.sent, record.ok), (Some(5), Some(4)));
    assert_eq!(record.samples["ttft_ms"], 4);
    assert_eq!(record.per_request["ttft_ms"].len(), 4);
    let validities: Vec<_> = set.runs[0]
        .scenarios
        .values()
        .map(|r| r.validity.unwrap())
        .collect();
    for validity in [
        Validity::Valid,
        Validity::ClientLimited,
        Validity::ScheduleMissed,
        Validity::ServerErrored,
        Validity::Inconclusive,
    ] {
        assert!(validities.contains(&validity), "{validity:?}");
    }
    assert_eq!(
        set.fingerprint.unwrap().digest(),
        json(&set.path)["fingerprint"]["digest"].as_str().unwrap()
    );
}

#[test]
fn keys_that_were_added_to_version_1_load_for_ever() {
    let set = store::load(&fixture("results/v1/facts")).unwrap();
    assert_eq!(set.facts.search.as_ref().unwrap()["knee_rps"], 48.0);
    assert_eq!(
        set.facts.calibration.as_ref().unwrap()["itl_error_ms"],
        0.01
    );
    let record = &set.runs[0].scenarios["throughput"];
    // GPUs were not told about yet.
    let facts = ScenarioFacts {
        gpu: None,
        ..super::support::facts()
    };
    assert_eq!(record.facts, facts);
    assert_eq!(record.per_request["tpot_ms"][1], Some(3.0 + 1.0 / 3.0));
    let read = results::traces(&fixture("results/v1/facts"), &Limits::default()).unwrap();
    let read: Vec<_> = read.map(Result::unwrap).collect();
    assert_eq!(read.len(), 3);
    assert_eq!(read[2].trace, super::log::whole());
    // Older files do not have them.
    let older = store::load(&fixture("results/v1/complete")).unwrap();
    assert_eq!(older.facts, RunFacts::default());
    assert_eq!(
        older.runs[0].scenarios["latency"].facts,
        ScenarioFacts::default()
    );
}

#[test]
fn a_newer_schema_asks_for_a_newer_kitt() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    fs::write(
        &path,
        r#"{"schema_version": 2, "measurements": {"another": "form"}}"#,
    )
    .unwrap();
    assert!(refused(&path).ends_with("has schema version 2; this kitt reads up to 1: update kitt"));
    for bad in ["0", "-1", "1.5", "\"1\"", "[]"] {
        fs::write(&path, format!("{{\"schema_version\": {bad}}}")).unwrap();
        assert!(
            refused(&path).contains("schema_version: it must be a whole number"),
            "{bad}"
        );
    }
}

#[test]
fn kitts_results_load_on_both_sides() {
    let baseline = store::load(&fixture("kitt/baseline")).unwrap();
    let current = store::load(&fixture("kitt/current")).unwrap();
    assert_eq!(baseline.origin, Origin::Kitt);
    assert_eq!(
        baseline.values("throughput", "avg_tps"),
        [100.1, 99.1089, 100.603]
    );
    assert_eq!(current.values("throughput", "avg_tps").len(), 3);
    assert_eq!(baseline.values("latency", "total_latency_ms.p95"), [1290.0]);
    assert_eq!(
        baseline.values("memory_usage", "per_prompt_peak_gb.long"),
        [21.75]
    );
    assert_eq!(baseline.values("gsm8k", "accuracy"), [0.625]);
    let record = &baseline.runs[0].scenarios["throughput"];
    assert_eq!(record.samples["avg_tps"], 5);
    let strict = |set: &ResultSet| set.fingerprint.as_ref().unwrap().strict.clone();
    assert_eq!(strict(&baseline), strict(&current));
    assert_eq!(strict(&baseline)["gpu.count"], "2");
    assert_eq!(strict(&baseline)["measurement.method"], "kitt");
}

#[test]
fn kitts_zeroes_are_not_measured() {
    let set = store::load(&fixture("kitt/baseline")).unwrap();
    let scenarios = &set.runs[0].scenarios;
    let ttft = |test: &str| {
        let metrics = &scenarios[test].metrics;
        metrics
            .keys()
            .filter(|name| name.starts_with("ttft_ms"))
            .count()
    };
    assert_eq!((ttft("latency"), ttft("streaming_latency")), (0, 3));
    assert!(!scenarios["latency"].samples.contains_key("ttft_ms"));
    for quality in ["mmlu", "truthfulqa"] {
        assert!(scenarios[quality].metrics.is_empty(), "{quality}");
        assert!(!scenarios[quality].errors.is_empty(), "{quality}");
    }
    let memory = store::load(&fixture("kitt/performance")).unwrap();
    let metrics = &memory.runs[0].scenarios["memory_usage"].metrics;
    assert!(
        !metrics.keys().any(|name| name.contains("peak")),
        "{metrics:?}"
    );
}

#[test]
fn kitts_notes_switches_and_lists_are_no_metrics() {
    let set = store::load(&fixture("kitt/baseline")).unwrap();
    let scenarios = &set.runs[0].scenarios;
    assert!(
        !scenarios["vlm_benchmark"]
            .metrics
            .contains_key("multimodal_supported")
    );
    assert!(
        !scenarios["batch_inference"]
            .metrics
            .contains_key("concurrency_levels_tested")
    );
    let change = set.values("warmup_analysis", "latency_reduction_percent");
    assert_eq!(change, [-0.15]);
    let current = store::load(&fixture("kitt/current")).unwrap();
    let failed = &current.runs[0].scenarios["coding"];
    assert!(!failed.passed && failed.metrics.is_empty() && !failed.errors.is_empty());
}

#[test]
fn a_scalar_ttft_and_missing_keys_are_read() {
    let set = store::load(&fixture("kitt/scalar-ttft")).unwrap();
    assert_eq!(set.fingerprint, None);
    assert_eq!(set.values("latency", "ttft_ms"), [41.2]);
    assert_eq!(set.values("latency", "ttft_ms.avg"), [41.2]);
    assert_eq!(
        set.runs.len(),
        2,
        "the same test twice is two runs, not one"
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.json");
    fs::write(
        &path,
        r#"{"results": [{}, {"metrics": null, "errors": null}], "engine": null}"#,
    )
    .unwrap();
    assert_eq!(load(&path).runs.len(), 2);
}
