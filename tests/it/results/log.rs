//! The request log: everything a trace holds, read back one by one, whatever it is.

use std::{fs, num::NonZeroU32, path::Path, time::Duration};

use kitt_action::{
    load::{Asked, ChunkArrival, ChunkKind, Outcome, Phases, RequestTrace, StampSource, Usage},
    results::{Limits, LoggedRequest, LoggedTimes, ResultsError, ResultsWriter, traces},
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};

use super::support::{header, scenario, trace};
use crate::harness::fixture;

fn log(dir: &Path, requests: &[RequestTrace]) {
    let mut writer = ResultsWriter::create(dir, header()).unwrap();
    let mut log = writer.requests(1, &scenario("latency").id).unwrap();
    for trace in requests {
        log.record(trace, LoggedTimes::default()).unwrap();
    }
    assert_eq!(log.close().unwrap(), requests.len() as u64);
}

fn back(path: &Path) -> Vec<RequestTrace> {
    let read = traces(path, &Limits::default()).unwrap();
    read.map(|request| request.unwrap().trace).collect()
}

fn refused(text: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.jsonl");
    fs::write(&path, text).unwrap();
    let found: Result<Vec<LoggedRequest>, ResultsError> =
        traces(&path, &Limits::default()).unwrap().collect();
    found.unwrap_err().to_string()
}

/// A trace with every field that a log can hold.
pub fn whole() -> RequestTrace {
    let ms = Duration::from_millis;
    RequestTrace {
        scheduled_at: ms(90),
        status: Some(200),
        stamps: StampSource::Kernel,
        asked: Asked {
            input_tokens: Some(60),
            output_tokens: NonZeroU32::new(3),
        },
        phases: Phases {
            write: Some(Duration::from_micros(7)),
            first_byte: Some(ms(2)),
            ..Phases::default()
        },
        chunks: vec![
            ChunkArrival::new(ms(101), ChunkKind::Other),
            ChunkArrival {
                slack_us: 250,
                tokens: NonZeroU32::new(1),
                ..ChunkArrival::new(ms(110), ChunkKind::Content)
            },
            ChunkArrival {
                coalesced: true,
                tokens: NonZeroU32::new(3),
                ..ChunkArrival::new(ms(110), ChunkKind::Content)
            },
        ],
        error: Some("no \"luck\"".into()),
        outcome: Outcome::StreamError,
        finished_at: ms(120),
        ..RequestTrace::sent(5, ms(100))
    }
}

#[test]
fn every_field_has_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let whole = whole();
    log(dir.path(), std::slice::from_ref(&whole));
    let packed = fs::read(dir.path().join("requests.jsonl.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let wanted = serde_json::json!({
        "run": 1, "scenario": "latency", "index": 5, "outcome": "stream_error", "status": 200,
        "scheduled_ns": 90_000_000, "sent_ns": 100_000_000, "finished_ns": 120_000_000,
        "stamps": "kernel",
        "asked": {"input_tokens": 60, "output_tokens": 3},
        "phases": {"write_ns": 7_000, "first_byte_ns": 2_000_000},
        "error": "no \"luck\"",
        "chunk_kinds": "ocC", "chunk_delta_ns": [1_000_000, 9_000_000, 0],
        "chunk_slack_us": [1, 250], "chunk_tokens": [null, 1, 2],
    });
    assert_eq!(line, wanted);
    assert_eq!(back(dir.path()), [whole]);
}

#[test]
fn the_first_form_is_read_too() {
    let read = traces(&fixture("results/v1/complete"), &Limits::default()).unwrap();
    let read: Vec<LoggedRequest> = read.map(Result::unwrap).collect();
    assert!(read.len() > 4);
    assert_eq!((read[1].run, read[1].scenario.as_str()), (1, "latency"));
    assert_eq!(read[1].trace, trace(1));
}

#[test]
fn a_kill_loses_the_open_frame_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    let mut log = writer.requests(1, &scenario("latency").id).unwrap();
    for index in 0..2_500 {
        log.record(&trace(index), LoggedTimes::default()).unwrap();
    }
    // As SIGKILL does: no destructor runs.
    std::mem::forget(log);
    assert_eq!(back(dir.path()).len(), 2_048);
    // Long requests close a frame sooner: 4 MiB are ten of them.
    let mut lengthy = trace(0);
    let chunk = ChunkArrival::new(Duration::from_hours(9), ChunkKind::Content);
    lengthy.chunks = vec![chunk; 150_000];
    let mut log = writer.requests(2, &scenario("latency").id).unwrap();
    for _ in 0..35 {
        log.record(&lengthy, LoggedTimes::default()).unwrap();
    }
    std::mem::forget(log);
    let kept = back(dir.path()).len() - 2_048;
    assert!((20..35).contains(&kept), "{kept}");
}

#[test]
fn a_log_that_is_dropped_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    let mut log = writer.requests(1, &scenario("latency").id).unwrap();
    log.record(&trace(0), LoggedTimes::default()).unwrap();
    drop(log);
    assert_eq!(back(dir.path()), [trace(0)]);
}

#[test]
fn a_cut_log_gives_what_lies_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    let requests: Vec<RequestTrace> = (0..1_500).map(trace).collect();
    log(dir.path(), &requests);
    let path = dir.path().join("requests.jsonl.zst");
    let whole = fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(97) {
        fs::write(&path, &whole[..length]).unwrap();
        let read = back(&path);
        assert_eq!(read, requests[..read.len()], "{length} bytes");
    }
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(back(&path).len() >= 1_024);
}

#[test]
fn a_monster_keeps_its_outcome_and_the_log_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let mut monster = trace(0);
    let last = *monster.chunks.last().unwrap();
    monster.chunks.resize(9_000_000, last);
    let mut writer = ResultsWriter::create(dir.path(), header()).unwrap();
    let mut log = writer.requests(1, &scenario("latency").id).unwrap();
    log.record(&monster, LoggedTimes::default()).unwrap();
    log.record(&trace(1), LoggedTimes::default()).unwrap();
    log.close().unwrap();
    assert_eq!(back(dir.path()), [trace(1)]);
    let packed = fs::read(dir.path().join("requests.jsonl.zst")).unwrap();
    let text = String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap();
    assert!(text.contains("\"outcome\":\"ok\""), "{text}");
    assert!(text.contains("\"chunks_left_out\":9000000"), "{text}");
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    let line = |columns: &str| {
        format!(
            "{{\"run\":1,\"scenario\":\"latency\",\"index\":0,\"outcome\":\"ok\",\
             \"scheduled_ns\":5,\"sent_ns\":5,\"finished_ns\":9,{columns}}}\n"
        )
    };
    for (columns, words) in [
        (
            r#""chunk_kinds":"cc","chunk_delta_ns":[1]"#,
            "line 1, chunk_delta_ns: 1 entries for 2",
        ),
        (
            r#""chunk_kinds":"cc","chunk_ns":[6]"#,
            "line 1, chunk_ns: 1 entries for 2",
        ),
        (
            r#""chunk_kinds":"c","chunk_delta_ns":[-6]"#,
            "a time before the scenario's start",
        ),
        (
            r#""chunk_kinds":"x","chunk_delta_ns":[1]"#,
            "chunk_kinds: a letter that is none of",
        ),
        (
            r#""chunk_kinds":"c","chunk_delta_ns":[1],"chunk_slack_us":[0]"#,
            "without its micro",
        ),
        (
            r#""chunk_kinds":"c","chunk_delta_ns":[1],"chunk_slack_us":[1,2]"#,
            "no event 1",
        ),
        (
            r#""chunk_kinds":"c","chunk_delta_ns":[1],"chunk_tokens":[1,1]"#,
            "2 entries for 1",
        ),
        (
            r#""chunk_kinds":"c","chunk_delta_ns":[1],"chunk_tokens":[-1]"#,
            "a count of -1 tokens",
        ),
        (r#""chunk_kinds":"c","chunk_delta_ns":[1.5]"#, "r.jsonl:1:"),
    ] {
        let message = refused(&line(columns));
        assert!(message.contains(words), "{columns}: {message}");
    }
    let good = line(r#""chunk_kinds":"c","chunk_delta_ns":[1]"#);
    assert!(refused(&good.replace("\"run\":1", "\"run\":0")).contains("counted from 1"));
    assert!(refused(&good.replace("latency", "a b")).contains("`a b` is not"));
    assert!(refused(&good.replace("\"ok\"", "\"fine\"")).contains("outcome: unknown variant"));
    let dir = tempfile::tempdir().unwrap();
    let missing = traces(dir.path(), &Limits::default()).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("cannot find the request traces"),
        "{missing}"
    );
}

#[test]
fn hostile_logs_stop_at_the_limits() {
    let dir = tempfile::tempdir().unwrap();
    let requests: Vec<RequestTrace> = (0..40).map(trace).collect();
    log(dir.path(), &requests);
    let first_error = |limits: &Limits| {
        let found = traces(dir.path(), limits).unwrap().find_map(Result::err);
        found.unwrap().to_string()
    };
    let few = Limits {
        entries: 39,
        ..Limits::default()
    };
    assert!(first_error(&few).contains("more than 39 requests"));
    let small = Limits {
        unpacked_bytes: 1_000,
        ..Limits::default()
    };
    assert!(first_error(&small).contains("unpacks to more than 1000 bytes"));
    fs::write(dir.path().join("requests.jsonl"), vec![b'['; 20 << 20]).unwrap();
    let long = traces(&dir.path().join("requests.jsonl"), &Limits::default());
    let error = long.unwrap().next().unwrap().unwrap_err().to_string();
    assert!(
        error.contains("a line longer than 16777216 bytes"),
        "{error}"
    );
}

/// What a busy server's run costs on disk: one stream in a thousand, with a jitter of a
/// millisecond around 10 ms.
#[test]
fn a_chunk_takes_few_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut at = 0_u64;
    let requests: Vec<RequestTrace> = (0..200)
        .map(|index| {
            let sent = Duration::from_nanos(at);
            let chunks = (0..500).map(|_| {
                at += random.random_range(9_000_000..11_000_000);
                ChunkArrival::new(Duration::from_nanos(at), ChunkKind::Content)
            });
            RequestTrace {
                chunks: chunks.collect(),
                outcome: Outcome::Ok,
                usage: Some(Usage {
                    prompt_tokens: 100,
                    completion_tokens: 500,
                }),
                finished_at: Duration::from_nanos(at),
                ..RequestTrace::sent(index, sent)
            }
        })
        .collect();
    log(dir.path(), &requests);
    let size = fs::metadata(dir.path().join("requests.jsonl.zst"))
        .unwrap()
        .len();
    // 57 million chunks in ten minutes are to stay below 300 MB: 5.26 bytes each.
    let bytes = size as f64 / (200.0 * 500.0);
    assert!(bytes < 5.0, "{bytes} bytes a chunk");
    assert_eq!(back(dir.path()), requests);
}

fn any_chunk() -> impl Strategy<Value = (u32, u8, bool, u32, Option<u32>)> {
    let tokens = prop::option::weighted(0.3, 1_u32..1000);
    let slack = prop_oneof![4 => Just(0_u32), 1 => any::<u32>()];
    (any::<u32>(), 0_u8..3, any::<bool>(), slack, tokens)
}

fn any_trace() -> impl Strategy<Value = RequestTrace> {
    let time = || (0_u64..1 << 60).prop_map(Duration::from_nanos);
    let maybe = || prop::option::of((0_u64..1 << 50).prop_map(Duration::from_nanos));
    let times = (time(), time(), time());
    let phases = (maybe(), maybe(), maybe(), maybe(), maybe());
    let asked = (any::<Option<u32>>(), any::<Option<NonZeroU32>>());
    let texts = (any::<Option<String>>(), any::<Option<String>>());
    let usage = prop::option::of((any::<u64>(), any::<u64>()));
    let ends = (0_usize..7, any::<Option<u16>>(), any::<bool>(), usage);
    let chunks = prop::collection::vec(any_chunk(), 0..20);
    (any::<u32>(), times, phases, asked, texts, ends, chunks).prop_map(
        |(index, times, phases, asked, texts, (outcome, status, kernel, usage), chunks)| {
            let mut at = times.1;
            let chunk = |(later, kind, coalesced, slack_us, tokens): (u32, u8, bool, u32, _)| {
                at += Duration::from_nanos(later.into());
                let kinds = [ChunkKind::Content, ChunkKind::Reasoning, ChunkKind::Other];
                ChunkArrival {
                    at,
                    kind: kinds[usize::from(kind)],
                    coalesced,
                    slack_us,
                    tokens: Option::and_then(tokens, NonZeroU32::new),
                }
            };
            RequestTrace {
                index,
                scheduled_at: times.0,
                sent_at: times.1,
                chunks: chunks.into_iter().map(chunk).collect(),
                finished_at: times.2,
                outcome: Outcome::ALL[outcome],
                usage: usage.map(|(prompt_tokens, completion_tokens)| Usage {
                    prompt_tokens,
                    completion_tokens,
                }),
                finish_reason: texts.0,
                error: texts.1,
                status,
                asked: Asked {
                    input_tokens: asked.0,
                    output_tokens: asked.1,
                },
                phases: Phases {
                    dns: phases.0,
                    connect: phases.1,
                    tls: phases.2,
                    write: phases.3,
                    first_byte: phases.4,
                },
                stamps: if kernel {
                    StampSource::Kernel
                } else {
                    StampSource::User
                },
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_trace_comes_back_equal(requests in prop::collection::vec(any_trace(), 0..6)) {
        let dir = tempfile::tempdir().unwrap();
        log(dir.path(), &requests);
        prop_assert_eq!(back(dir.path()), requests);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), plain in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(if plain { "r.jsonl" } else { "r.jsonl.zst" });
        let bytes = if plain { bytes } else { zstd::encode_all(bytes.as_slice(), 1).unwrap() };
        fs::write(&path, bytes).unwrap();
        let read = traces(&path, &Limits::default()).unwrap();
        // After an error nothing more comes.
        let errors = read.filter(Result::is_err).count();
        prop_assert!(errors <= 1);
    }
}
