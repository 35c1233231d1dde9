//! Values for the results tests: a host, a header, scenarios and measurements.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use kitt_action::{
    engine::Mode,
    load::{ChunkArrival, ChunkKind, Outcome, RequestTrace, Usage},
    measure::{Measurement, Validity},
    plan::{Scenario, Test, Warmup},
    results::{
        HostFacts, LoggedTimes, METHOD, Provenance, ResultsWriter, RunHeader, ScenarioFacts,
        ScenarioRecord, ScenarioReport, Storage, Subject, fingerprint, workload_digest,
    },
    telemetry::{GpuInfo, GpuReading, GpuSample, GpuTrace},
};

pub fn host() -> HostFacts {
    HostFacts {
        gpus: vec![GpuInfo {
            uuid: "GPU-0a1b2c3d-never-exported".into(),
            name: "NVIDIA H100 80GB HBM3".into(),
            memory_total: Some(85_520_809_984),
            compute_capability: Some((9, 0)),
            power_limit_mw: Some(700_000),
            mig: Some(false),
            ecc: Some(true),
            driver: Some("550.90.07".into()),
            cuda_driver: Some("12.4".into()),
            ..GpuInfo::default()
        }],
        cpu_model: Some("AMD EPYC 9654 96-Core Processor".into()),
        cores: Some(96),
        threads: Some(192),
        ram_gb: Some(755),
        ram_type: None,
        os: Some("Linux-6.8.0-45-generic".into()),
        kernel: Some("#45-Ubuntu SMP".into()),
        storage: Some(Storage {
            brand: "Samsung".into(),
            model: "Samsung PM9A3".into(),
            kind: "nvme".into(),
        }),
        environment_type: Some("native_linux".into()),
        virtual_machine: Some(false),
        ..HostFacts::default()
    }
}

pub fn header() -> RunHeader {
    let host = host();
    let digest = workload_digest(&[scenario("latency")], 7, false);
    let subject = Subject {
        method: METHOD,
        engine: "llama_cpp",
        mode: Some(Mode::Docker),
        model: "org/model",
        workload: Some(&digest),
    };
    RunHeader {
        suite: "standard".into(),
        engine: "llama_cpp".into(),
        model: "org/model".into(),
        started_at: "2026-01-15T10:30:00.123456Z".parse().unwrap(),
        kitt_version: "0.1.0".into(),
        skip_warmup: false,
        runs_override: Some(2),
        fingerprint: fingerprint(&host, &subject),
        host,
        provenance: Provenance {
            image: Some("ghcr.io/org/server:b1".into()),
            commit: Some("0123456789012345678901234567890123456789".into()),
            ..Provenance::default()
        },
        config: serde_json::json!({"seed": 7, "scenarios": ["latency"]}),
    }
}

/// A scenario whose test is the first part of its name.
pub fn scenario(name: &str) -> Scenario {
    let test = name.split('/').next().unwrap();
    let number = |n| NonZeroU32::new(n).unwrap();
    Scenario::closed(
        name.parse().unwrap(),
        *Test::ALL.iter().find(|known| known.name() == test).unwrap(),
        number(1),
        number(4),
        Warmup::requests(2),
        (number(64), number(32)),
    )
}

/// A measurement of this many good requests and one that failed.
pub fn measurement(requests: u32) -> Measurement {
    let times = |base: f64| {
        let time = |n| Some(base + f64::from(n) / 3.0);
        (0..requests).map(time).collect::<Vec<_>>()
    };
    let count = u64::from(requests);
    let owned = |(name, value): (&str, f64)| (name.to_owned(), value);
    let metrics = [
        ("ttft_ms.p50", 12.25),
        ("ttft_ms.p99", 40.1),
        ("output_tps", 88.8),
        ("error_rate", 0.0),
    ];
    Measurement {
        metrics: metrics.map(owned).into(),
        samples: [("ttft_ms".to_owned(), count), ("e2e_ms".to_owned(), count)].into(),
        outcomes: [("ok".to_owned(), count), ("timeout".to_owned(), 1)].into(),
        sent: count + 1,
        ok: count,
        output_tokens_mean: Some(32.0),
        input_tokens_mean: Some(61.5),
        window_s: Some(3.25),
        coalesced_share: Some(0.01),
        validity: Validity::Valid,
        notes: vec!["one request timed out".into()],
        per_request: BTreeMap::from([
            ("ttft_ms".to_owned(), times(10.0)),
            ("tpot_ms".to_owned(), times(3.0)),
            ("itl_ms".to_owned(), times(3.1)),
            ("e2e_ms".to_owned(), times(100.0)),
        ]),
        ..Measurement::default()
    }
}

pub fn trace(index: u32) -> RequestTrace {
    let at = |ms| Duration::from_millis(u64::from(index) * 200 + ms);
    let chunk = |ms, kind, coalesced| ChunkArrival {
        coalesced,
        ..ChunkArrival::new(at(ms), kind)
    };
    RequestTrace {
        chunks: vec![
            chunk(9, ChunkKind::Other, false),
            chunk(10, ChunkKind::Reasoning, false),
            chunk(13, ChunkKind::Content, false),
            chunk(13, ChunkKind::Content, true),
        ],
        finished_at: at(100),
        outcome: Outcome::Ok,
        usage: Some(Usage {
            prompt_tokens: 61,
            completion_tokens: 32,
        }),
        finish_reason: Some("length".into()),
        ..RequestTrace::sent(index, at(0))
    }
}

pub fn report<'a>(
    run: u32,
    scenario: &'a Scenario,
    measurement: &'a Measurement,
) -> ScenarioReport<'a> {
    ScenarioReport {
        run,
        scenario,
        measurement,
        kitt: serde_json::Map::new(),
        warmup_times_s: &[0.11, 0.1],
        errors: &[],
        facts: facts(),
    }
}

/// Writes a scenario with one trace for each of its per-request values, its log first.
pub fn write(writer: &mut ResultsWriter, run: u32, scenario: &Scenario, measured: &Measurement) {
    let requests = measured.per_request.values().map(Vec::len).max();
    let requests = u32::try_from(requests.unwrap_or_default()).unwrap();
    let mut log = writer.requests(run, &scenario.id).unwrap();
    for index in 0..requests {
        let time = |quantity: &str| {
            let values = measured.per_request.get(quantity)?;
            *values.get(index as usize)?
        };
        let times = LoggedTimes {
            ttft_ms: time("ttft_ms"),
            tpot_ms: time("tpot_ms"),
            itl_mean_ms: time("itl_ms"),
            e2e_ms: time("e2e_ms"),
        };
        log.record(&trace(index), times).unwrap();
    }
    assert_eq!(log.close().unwrap(), u64::from(requests));
    writer.scenario(report(run, scenario, measured)).unwrap();
}

/// What is known beside the numbers of every scenario here.
pub fn facts() -> ScenarioFacts {
    ScenarioFacts {
        audit: Some(serde_json::json!({
            "threads": 1, "stamps": "kernel", "late_send_ms": {"p99": 0.1},
        })),
        token_source: Some("server usage".into()),
        quantile_method: [("ttft_ms".to_owned(), "exact".to_owned())].into(),
        server: Some(serde_json::json!({"ttft_ms.mean": 11.5})),
        gpu: Some(serde_json::json!({"source": "replay", "gpus": 1})),
    }
}

/// What a reader must see of a good measurement.
pub fn record(measured: &Measurement) -> ScenarioRecord {
    ScenarioRecord {
        passed: true,
        errors: Vec::new(),
        metrics: measured.metrics.clone(),
        samples: measured.samples.clone(),
        sent: Some(measured.sent),
        ok: Some(measured.ok),
        output_tokens_mean: measured.output_tokens_mean,
        validity: Some(measured.validity),
        per_request: measured.per_request.clone(),
        facts: facts(),
    }
}

pub fn gpu_trace() -> GpuTrace {
    let sample = |ms| GpuSample {
        at: Duration::from_millis(ms),
        readings: vec![GpuReading {
            power_mw: Some(310_000),
            ..GpuReading::default()
        }],
    };
    GpuTrace {
        scenario_start: Duration::ZERO,
        source: "replay".into(),
        devices: host().gpus,
        samples: vec![sample(0), sample(100)],
        lost: None,
        ..GpuTrace::default()
    }
}
