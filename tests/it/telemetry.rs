//! GPU telemetry: a missing driver is a value, a recording plays again, a section brackets what
//! happens between its start and its stop.

use std::{
    ffi::OsStr,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Duration,
};

use kitt_action::telemetry::{
    EventKind, EventSource, GpuInfo, GpuReading, GpuSample, GpuSource, GpuTrace, NoGpu, NvmlSource,
    ReplaySource, TelemetryError, Watch, write_trace,
};

fn info(uuid: &str) -> GpuInfo {
    GpuInfo {
        uuid: uuid.to_owned(),
        name: "Recorded GPU".to_owned(),
        memory_total: Some(24 << 30),
        compute_capability: Some((8, 9)),
        ..GpuInfo::default()
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
        ..GpuTrace::default()
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
            let readings = source.sample().unwrap().unwrap();
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
        assert_eq!(source.sample().unwrap().unwrap(), [reading(energy)]);
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
fn a_section_keeps_what_a_replay_gives_and_says_when_it_ended() {
    let replay = |energies: &[u64]| {
        let file = recorded(&[trace("a", energies)]);
        let source = Box::new(ReplaySource::open(file.path()).unwrap());
        // The hour never passes: readings are taken when somebody needs them.
        Watch::over(source, Duration::from_hours(1))
    };
    let energies = |trace: &GpuTrace| -> Vec<Option<u64>> {
        let taken = trace.samples.iter();
        taken.map(|sample| sample.readings[0].energy_mj).collect()
    };
    let watch = replay(&[5, 6, 7, 8]);
    let taken = watch.section().stop();
    assert_eq!(taken.source, "replay");
    assert_eq!(taken.lost, None);
    // The latest one from before, and at least one from the end.
    let found = energies(&taken);
    assert_eq!(found[0], Some(5));
    assert!(found.len() >= 2, "{found:?}");

    let watch = replay(&[5]);
    let taken = watch.section().stop();
    assert_eq!(energies(&taken), [Some(5)]);
    assert!(taken.lost.unwrap().contains("ended"));
    assert_eq!(
        watch.alarmed(),
        None,
        "the end of a recording is no broken GPU"
    );
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

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        self.count += 1;
        self.asked.send(self.count).unwrap();
        Ok(Some(vec![reading(self.count)]))
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
    let watch = Watch::over(source, Duration::from_millis(2));
    assert_eq!(
        questions.recv(),
        Ok(1),
        "the first sample is there before it returns"
    );
    let mut section = watch.section();
    section.mark();
    // Waits for real ticks, however long they take.
    for expected in 2..=5 {
        assert_eq!(questions.recv(), Ok(expected));
    }
    let taken = section.stop();
    assert!(taken.samples.len() >= 5, "{}", taken.samples.len());
    assert!(
        taken
            .samples
            .windows(2)
            .all(|pair| pair[0].at <= pair[1].at)
    );
    assert_eq!(taken.samples[0].at, Duration::ZERO);
    assert!(taken.samples[0].at <= taken.scenario_start);
    assert!(taken.samples[taken.samples.len() - 1].at >= taken.scenario_start);
    assert_eq!(taken.devices, [info("a")]);
    assert!(taken.cost.ticks >= 4 && taken.cost.tick_p50_us.is_some());
}

#[test]
fn sections_share_one_source_and_a_dropped_one_is_forgotten() {
    let (source, _questions) = reporting();
    let watch = Watch::over(source, Duration::from_millis(2));
    let outer = watch.section();
    drop(watch.section());
    let inner = watch.section().stop();
    let outer = outer.stop();
    let first = |trace: &GpuTrace| trace.samples[0].readings[0].energy_mj.unwrap();
    let last = |trace: &GpuTrace| trace.samples.last().unwrap().readings[0].energy_mj.unwrap();
    assert!(first(&outer) <= first(&inner) && last(&inner) <= last(&outer));
    assert!(outer.samples.len() > inner.samples.len());
}

#[test]
fn a_dropped_watch_stops_asking() {
    let (source, questions) = reporting();
    drop(Watch::over(source, Duration::from_millis(1)));
    // The channel closes when the thread has dropped its source.
    while questions.recv().is_ok() {}
}

/// Events from a channel.
struct Told(Receiver<EventKind>);

impl EventSource for Told {
    fn wait(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<(Option<usize>, EventKind)>, TelemetryError> {
        Ok(self
            .0
            .recv_timeout(timeout)
            .ok()
            .map(|kind| (Some(0), kind)))
    }
}

struct Eventful {
    devices: Vec<GpuInfo>,
    events: std::sync::Mutex<Option<Told>>,
}

impl GpuSource for Eventful {
    fn name(&self) -> &'static str {
        "eventful"
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.devices
    }

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        Ok(Some(vec![GpuReading::default()]))
    }

    fn events(&self) -> Option<Box<dyn EventSource>> {
        let told = self.events.lock().unwrap().take()?;
        Some(Box::new(told))
    }
}

fn eventful() -> (Watch, SyncSender<EventKind>) {
    let (tell, told) = sync_channel(100);
    let source = Eventful {
        devices: vec![info("a")],
        events: std::sync::Mutex::new(Some(Told(told))),
    };
    (
        Watch::over(Box::new(source), Duration::from_millis(2)),
        tell,
    )
}

#[tokio::test]
async fn a_fatal_error_raises_the_alarm_at_once() {
    let (watch, tell) = eventful();
    let section = watch.section();
    tell.send(EventKind::Xid { code: 31 }).unwrap();
    tell.send(EventKind::Xid { code: 79 }).unwrap();
    tell.send(EventKind::Xid { code: 48 }).unwrap();
    watch.alarm().cancelled().await;
    let alarm = watch.alarmed().unwrap().text;
    assert_eq!(
        alarm,
        "GPU 0 (Recorded GPU) reported XID 79 (the GPU fell off the bus); do not retry on this host"
    );
    let codes = |trace: &GpuTrace| -> Vec<EventKind> {
        trace
            .events
            .iter()
            .map(|event| event.kind.clone())
            .collect()
    };
    let found = codes(&section.stop());
    assert_eq!(
        found[..2],
        [EventKind::Xid { code: 31 }, EventKind::Xid { code: 79 }]
    );
}

#[tokio::test]
async fn what_the_end_of_the_engine_explains_is_not_told() {
    let (watch, tell) = eventful();
    let section = watch.section();
    watch.tearing_down(true);
    tell.send(EventKind::Xid { code: 45 }).unwrap();
    tell.send(EventKind::Xid { code: 43 }).unwrap();
    tell.send(EventKind::Lost {
        detail: "gone".to_owned(),
    })
    .unwrap();
    watch.alarm().cancelled().await;
    let events = section.stop().events;
    let codes: Vec<_> = events.iter().map(|event| &event.kind).collect();
    assert_eq!(codes[0], &EventKind::Xid { code: 43 });
    assert_eq!(codes.len(), 2, "{codes:?}");
}
