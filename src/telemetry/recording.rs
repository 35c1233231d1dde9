//! GPU traces as files: `telemetry.jsonl.zst`.
//!
//! Lines of JSON in one Zstandard frame per trace: first `{"trace": …}` with source, devices and
//! the load's start, then one `{"sample": …}` per moment, one `{"status": …}` per slow reading and
//! one `{"event": …}` per event. Frames and traces may follow each
//! other, so that a run appends to its file scenario by scenario and a kill leaves the earlier
//! ones readable. Reading takes the same lines without compression too.

use std::{
    io::{BufRead, BufReader, Read, Write},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    GpuCounters, GpuEvent, GpuInfo, GpuSample, GpuStatusSample, GpuTrace, TelemetryError, WatchCost,
};

/// Longest line that is read; a sample of 16 GPUs takes about 4 KB.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Most that is read, decompressed: a week of one GPU at 10 Hz stays below it.
const MAX_BYTES: u64 = 2 << 30;
/// What every Zstandard frame starts with.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Compression level: the default, fast enough to vanish beside a run.
const LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Trace(Box<Header>),
    Sample(GpuSample),
    Status(GpuStatusSample),
    Event(GpuEvent),
}

#[derive(Serialize, Deserialize)]
struct Header {
    source: String,
    devices: Vec<GpuInfo>,
    #[serde(default)]
    scenario_start: Duration,
    #[serde(default)]
    lost: Option<String>,
    #[serde(default)]
    first: Vec<GpuCounters>,
    #[serde(default)]
    last: Vec<GpuCounters>,
    #[serde(default)]
    cost: WatchCost,
}

/// Appends a trace to `out` as one compressed frame.
///
/// # Errors
/// [`TelemetryError::Record`]: `out` cannot be written to.
pub fn write_trace(out: impl Write, trace: &GpuTrace) -> Result<(), TelemetryError> {
    compress(out, trace).map_err(TelemetryError::Record)
}

fn compress(out: impl Write, trace: &GpuTrace) -> std::io::Result<()> {
    let mut frame = zstd::Encoder::new(out, LEVEL)?;
    let mut line = |line: &Line| -> std::io::Result<()> {
        serde_json::to_writer(&mut frame, line)?;
        frame.write_all(b"\n")
    };
    line(&Line::Trace(Box::new(Header {
        source: trace.source.clone(),
        devices: trace.devices.clone(),
        scenario_start: trace.scenario_start,
        lost: trace.lost.clone(),
        first: trace.first.clone(),
        last: trace.last.clone(),
        cost: trace.cost,
    })))?;
    for sample in &trace.samples {
        line(&Line::Sample(sample.clone()))?;
    }
    for status in &trace.status {
        line(&Line::Status(status.clone()))?;
    }
    for event in &trace.events {
        line(&Line::Event(event.clone()))?;
    }
    frame.finish()?.flush()
}

/// Reads all traces of a recording, compressed or not. `name` stands in errors.
///
/// # Errors
/// [`TelemetryError::Replay`]: it cannot be read, is too large, or a line is no sample, not in
/// time order, or has another number of GPUs than its trace; the message names the line.
pub fn read_traces(input: impl Read, name: &str) -> Result<Vec<GpuTrace>, TelemetryError> {
    let wrong = |detail: String| TelemetryError::Replay {
        path: name.to_owned(),
        detail,
    };
    let mut lines = lines(input).map_err(|error| wrong(error.to_string()))?;
    let mut traces = Vec::new();
    let mut text = Vec::new();
    for number in 1_u64.. {
        text.clear();
        let mut limited = (&mut lines).take(MAX_LINE_BYTES);
        let length = limited
            .read_until(b'\n', &mut text)
            .map_err(|error| wrong(format!("line {number}: {error}")))?;
        if length == 0 {
            break;
        }
        if length as u64 == MAX_LINE_BYTES && !text.ends_with(b"\n") {
            return Err(wrong(format!(
                "line {number} is longer than {MAX_LINE_BYTES} bytes"
            )));
        }
        let line = serde_json::from_slice(&text)
            .map_err(|error| wrong(format!("line {number}: {error}")))?;
        take(&mut traces, line).map_err(|why| wrong(format!("line {number}: {why}")))?;
    }
    Ok(traces)
}

/// Decompresses where needed, and ends after [`MAX_BYTES`].
fn lines<'a>(input: impl Read + 'a) -> std::io::Result<Box<dyn BufRead + 'a>> {
    let mut input = BufReader::new(input);
    Ok(if input.fill_buf()?.starts_with(&ZSTD_MAGIC) {
        let plain = zstd::Decoder::with_buffer(input)?;
        Box::new(BufReader::new(plain.take(MAX_BYTES)))
    } else {
        Box::new(input.take(MAX_BYTES))
    })
}

fn take(traces: &mut Vec<GpuTrace>, line: Line) -> Result<(), &'static str> {
    match line {
        Line::Trace(header) => traces.push(GpuTrace {
            source: header.source,
            devices: header.devices,
            samples: Vec::new(),
            scenario_start: header.scenario_start,
            lost: header.lost,
            first: header.first,
            last: header.last,
            cost: header.cost,
            ..GpuTrace::default()
        }),
        Line::Status(status) => {
            let trace = traces
                .last_mut()
                .ok_or("a reading stands before any trace")?;
            trace.status.push(status);
        }
        Line::Event(event) => {
            let trace = traces
                .last_mut()
                .ok_or("an event stands before any trace")?;
            trace.events.push(event);
        }
        Line::Sample(sample) => {
            let trace = traces
                .last_mut()
                .ok_or("a sample stands before any trace")?;
            if sample.readings.len() != trace.devices.len() {
                return Err("the sample has another number of GPUs than its trace");
            }
            if trace.samples.last().is_some_and(|last| sample.at < last.at) {
                return Err("the sample is older than the one before it");
            }
            trace.samples.push(sample);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{EventKind, GpuProcess, GpuReading, GpuStatus, ProcessKind},
        *,
    };

    fn trace(power: &[u32]) -> GpuTrace {
        let sample = |(second, power): (u64, &u32)| GpuSample {
            at: Duration::from_secs(second),
            readings: vec![GpuReading {
                power_mw: Some(*power),
                ..GpuReading::default()
            }],
        };
        GpuTrace {
            source: "nvml".to_owned(),
            devices: vec![GpuInfo {
                uuid: "GPU-1".to_owned(),
                name: "NVIDIA H100 80GB HBM3".to_owned(),
                memory_total: Some(80 << 30),
                compute_capability: Some((9, 0)),
                power_limit_mw: Some(700_000),
                mig: Some(false),
                ecc: Some(true),
                driver: Some("580.82.07".to_owned()),
                cuda_driver: Some("13.0".to_owned()),
                ..GpuInfo::default()
            }],
            samples: (0..).zip(power).map(sample).collect(),
            scenario_start: Duration::from_millis(1234),
            lost: Some("GPU 0 does not answer any more".to_owned()),
            status: vec![GpuStatusSample {
                at: Duration::from_secs(1),
                gpus: vec![GpuStatus {
                    processes: Some(vec![GpuProcess {
                        pid: 7,
                        kind: ProcessKind::Compute,
                        memory: None,
                        gpu_instance: Some(1),
                    }]),
                    pcie_gen: Some(5),
                    ..GpuStatus::default()
                }],
            }],
            events: vec![GpuEvent {
                at: Duration::from_secs(2),
                gpu: Some(0),
                kind: EventKind::Xid { code: 79 },
            }],
            first: vec![GpuCounters {
                ecc_uncorrected: Some(0),
                energy_mj: None,
            }],
            last: Vec::new(),
            cost: WatchCost {
                ticks: 3,
                interval_ms: 100.0,
                ..WatchCost::default()
            },
        }
    }

    fn detail(input: &[u8]) -> String {
        read_traces(input, "file").unwrap_err().to_string()
    }

    #[test]
    fn appended_traces_come_back_as_they_were() {
        let traces = [trace(&[1, 2, 3]), trace(&[]), trace(&[9])];
        let mut file = Vec::new();
        for trace in &traces {
            write_trace(&mut file, trace).unwrap();
        }
        assert_eq!(read_traces(file.as_slice(), "file").unwrap(), traces);
    }

    #[test]
    fn plain_lines_are_read_and_unknown_readings_skipped() {
        let text = r#"{"trace":{"source":"hand","devices":[{"uuid":"u","name":"n","memory_total":null,"compute_capability":null,"power_limit_mw":null,"mig":null,"ecc":null,"driver":null,"cuda_driver":null}]}}
{"sample":{"at":{"secs":1,"nanos":500000000},"readings":[{"power_mw":5,"later":1}]}}
"#;
        let traces = read_traces(text.as_bytes(), "file").unwrap();
        assert_eq!(traces[0].samples[0].at, Duration::from_millis(1500));
        assert_eq!(traces[0].samples[0].readings[0].power_mw, Some(5));
        assert_eq!(traces[0].samples[0].readings[0].energy_mj, None);
    }

    #[test]
    fn nothing_is_no_trace() {
        assert_eq!(read_traces(&[][..], "file").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let header = r#"{"trace":{"source":"x","devices":[]}}"#;
        let sample = |second: u32, readings: &str| {
            format!(r#"{{"sample":{{"at":{{"secs":{second},"nanos":0}},"readings":{readings}}}}}"#)
        };
        assert!(detail(sample(1, "[]").as_bytes()).contains("line 1: a sample stands before"));
        let gpus = format!("{header}\n{}", sample(1, "[{}]"));
        assert!(detail(gpus.as_bytes()).contains("line 2: the sample has another number"));
        let order = [header, &sample(2, "[]"), &sample(1, "[]")].join("\n");
        assert!(detail(order.as_bytes()).contains("line 3: the sample is older"));
        assert!(detail(b"{\"trace\":").contains("line 1"));
        let long = vec![b' '; 1 << 21];
        assert!(detail(&long).contains("line 1 is longer than"));
    }

    #[test]
    fn a_cut_off_file_is_an_error_and_no_panic() {
        let mut file = Vec::new();
        write_trace(&mut file, &trace(&[1, 2, 3])).unwrap();
        file.truncate(file.len() - 4);
        assert!(read_traces(file.as_slice(), "file").is_err());
    }
}
