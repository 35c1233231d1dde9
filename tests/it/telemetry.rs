//! GPU telemetry: a missing driver is a value, a recording plays again, the sampler brackets
//! what happens between its start and its stop.

use std::{
    ffi::OsStr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use kitt_action::telemetry::{
    GpuInfo, GpuReading, GpuSample, GpuSource, GpuTrace, NoGpu, NvmlSource, ReplaySource, Sampler,
    TelemetryError, write_trace,
};

fn info(uuid: &str) -> GpuInfo {
    GpuInfo {
        uuid: uuid.to_owned(),
        name: "Recorded GPU".to_owned(),
        memory_total: Some(24 << 30),
        compute_capability: Some((8, 9)),
        power_limit_mw: None,
        mig: None,
        ecc: None,
        driver: None,
        cuda_driver: None,
    }
}

fn reading(energy_mj: u64) -> GpuReading {
    GpuReading {
        energy_mj: Some(energy_mj),
        ..GpuReading::default()
    }
}

fn trace(uuid: &str, energies: &[u64]) -> GpuTrace {
    let sample = |(second, energy): (u64, &u64)| GpuSample {
        at: Duration::from_secs(second),
        readings: vec![reading(*energy)],
    };
    GpuTrace {
        source: "nvml".to_owned(),
        devices: vec![info(uuid)],
        samples: (0..).zip(energies).map(sample).collect(),
        scenario_start: Duration::ZERO,
        lost: None,
    }
}

fn recorded(traces: &[GpuTrace]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    for trace in traces {
        write_trace(file.as_file(), trace).unwrap();
    }
    file
}

#[test]
fn a_library_that_is_not_there_is_no_library() {
    let none = NvmlSource::open(Some(OsStr::new("/nonexistent/libnvidia-ml.so.1")));
    let Err(NoGpu::NoLibrary(detail)) = none else {
        panic!("{:?}", none.err());
    };
    assert!(
        detail.contains("/nonexistent/libnvidia-ml.so.1"),
        "{detail}"
    );
}

#[test]
fn a_file_that_is_no_library_is_no_library() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not an ELF file").unwrap();
    let none = NvmlSource::open(Some(file.path().as_os_str()));
    assert!(matches!(none, Err(NoGpu::NoLibrary(_))), "{:?}", none.err());
}

#[test]
fn the_hosts_own_driver_answers_or_says_why_not() {
    match NvmlSource::open(None) {
        Ok(mut source) => {
            let readings = source.sample().unwrap();
            assert_eq!(readings.len(), source.devices().len());
            assert!(
                source
                    .devices()
                    .iter()
                    .all(|device| !device.uuid.is_empty())
            );
        }
        Err(why) => assert!(why.to_string().starts_with("no GPU: "), "{why}"),
    }
}

#[test]
fn a_recording_plays_its_traces_in_order_and_ends() {
    let file = recorded(&[trace("a", &[1, 2]), trace("a", &[3])]);
    let mut source = ReplaySource::open(file.path()).unwrap();
    assert_eq!(
        (source.name(), source.devices()),
        ("replay", &[info("a")][..])
    );
    for energy in 1..=3 {
        assert_eq!(source.sample().unwrap(), [reading(energy)]);
    }
    assert!(matches!(source.sample(), Err(TelemetryError::Ended)));
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let gone = ReplaySource::open("/nonexistent/telemetry.jsonl.zst".as_ref()).unwrap_err();
    assert!(
        gone.to_string()
            .contains("/nonexistent/telemetry.jsonl.zst")
    );
    let empty = recorded(&[]);
    let empty = ReplaySource::open(empty.path()).unwrap_err().to_string();
    assert!(empty.contains("holds no trace"), "{empty}");
    let mixed = recorded(&[trace("a", &[1]), trace("b", &[2])]);
    let mixed = ReplaySource::open(mixed.path()).unwrap_err().to_string();
    assert!(mixed.contains("different GPUs"), "{mixed}");
}

#[test]
fn the_sampler_keeps_what_a_replay_gives_and_says_when_it_ended() {
    let file = recorded(&[trace("a", &[5, 6, 7])]);
    let source = Box::new(ReplaySource::open(file.path()).unwrap());
    let sampler = Sampler::start(source, Duration::from_hours(1));
    // The first sample is taken at the start, the second at the stop; the hour never passes.
    let taken = sampler.stop();
    assert_eq!(taken.source, "replay");
    let energies = |trace: &GpuTrace| -> Vec<Option<u64>> {
        let taken = trace.samples.iter();
        taken.map(|sample| sample.readings[0].energy_mj).collect()
    };
    assert_eq!(energies(&taken), [Some(5), Some(6)]);
    assert_eq!(taken.lost, None);

    let file = recorded(&[trace("a", &[5])]);
    let source = Box::new(ReplaySource::open(file.path()).unwrap());
    let taken = Sampler::start(source, Duration::from_hours(1)).stop();
    assert_eq!(energies(&taken), [Some(5)]);
    assert!(taken.lost.unwrap().contains("ended"));
}

/// A source that reports each question it is asked.
struct Reporting {
    devices: Vec<GpuInfo>,
    asked: SyncSender<u64>,
    count: u64,
}

impl GpuSource for Reporting {
    fn name(&self) -> &'static str {
        "reporting"
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.devices
    }

    fn sample(&mut self) -> Result<Vec<GpuReading>, TelemetryError> {
        self.count += 1;
        self.asked.send(self.count).unwrap();
        Ok(vec![reading(self.count)])
    }
}

fn reporting() -> (Box<Reporting>, Receiver<u64>) {
    let (asked, questions) = sync_channel(100_000);
    let devices = vec![info("a")];
    (
        Box::new(Reporting {
            devices,
            asked,
            count: 0,
        }),
        questions,
    )
}

#[test]
fn samples_bracket_the_mark_and_are_in_order() {
    let (source, questions) = reporting();
    let mut sampler = Sampler::start(source, Duration::from_millis(2));
    assert_eq!(
        questions.recv(),
        Ok(1),
        "the first sample is there before start returns"
    );
    sampler.mark();
    // Waits for real ticks, however long they take.
    for expected in 2..=5 {
        assert_eq!(questions.recv(), Ok(expected));
    }
    let taken = sampler.stop();
    assert!(
        taken.samples.len() >= 6,
        "the last sample is taken by the stop"
    );
    assert!(
        taken
            .samples
            .windows(2)
            .all(|pair| pair[0].at <= pair[1].at)
    );
    assert!(taken.samples[0].at <= taken.scenario_start);
    assert!(taken.samples[taken.samples.len() - 1].at >= taken.scenario_start);
    assert_eq!(taken.devices, [info("a")]);
}

#[test]
fn a_dropped_sampler_stops_asking() {
    let (source, questions) = reporting();
    drop(Sampler::start(source, Duration::from_millis(1)));
    // The channel closes when the thread has dropped its source.
    while questions.recv().is_ok() {}
}
