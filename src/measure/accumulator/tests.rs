//! Whole scenarios through the accumulator.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    load::{ClientAudit, DriveReport, Outcome, Stopped, Usage},
    measure::{Measurement, QuantileMethod, TokenSource, Validity, request::tests::trace},
    metric::describe,
    plan::{Objective, Quantity, StopRules},
    telemetry::{HostLoad, ServerNumbers},
};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn closed(concurrency: u32) -> MeasureSpec {
    MeasureSpec::closed(NonZeroU32::new(concurrency).unwrap(), None)
}

fn open_loop() -> MeasureSpec {
    MeasureSpec {
        load: Load::Open,
        ..closed(1)
    }
}

fn report(ended: u64, audit: ClientAudit) -> DriveReport {
    DriveReport {
        epoch: Instant::now(),
        began: ms(0),
        ended: ms(ended),
        stopped: Stopped::Exhausted,
        audit,
    }
}

fn fed<'a>(spec: MeasureSpec, traces: impl IntoIterator<Item = &'a RequestTrace>) -> Accumulator {
    let mut accumulator = Accumulator::new(spec);
    for trace in traces {
        accumulator.add(trace);
    }
    accumulator
}

fn finished(accumulator: Accumulator) -> Measurement {
    let ended = accumulator
        .edges
        .span()
        .map_or(0, |(_, end)| end.as_millis());
    let report = report(u64::try_from(ended).unwrap(), ClientAudit::default());
    accumulator
        .finish(&report, &HostLoad::default(), None, None)
        .unwrap()
}

fn near(measurement: &Measurement, name: &str, expected: f64) {
    let found = measurement.metrics.get(name).copied();
    let found = found.unwrap_or_else(|| panic!("{name} is missing"));
    assert!(
        (found - expected).abs() < 1e-9,
        "{name}: {found} is not {expected}"
    );
}

/// One request after the other in one slot, 100 ms each, output at 50, 75 and 100.
fn row(count: u32) -> Vec<RequestTrace> {
    let one = |n: u32| {
        let sent = u64::from(n) * 100;
        trace(n, sent, &[sent + 50, sent + 75, sent + 100], 3)
    };
    (0..count).map(one).collect()
}

/// Requests due every `gap` ms, each taking `latency(n)` ms.
fn due(count: u32, gap: u64, latency: impl Fn(u32) -> u64) -> Vec<RequestTrace> {
    let one = |n: u32| {
        let sent = u64::from(n) * gap;
        trace(n, sent, &[sent + latency(n) / 2, sent + latency(n)], 2)
    };
    (0..count).map(one).collect()
}

#[test]
fn a_pause_of_the_client_is_told_and_kept_out_of_itl() {
    // Twenty answers of 100 tokens, 10 ms apart. In the third the process stood still for 50 ms:
    // what came meanwhile lies in one read, and only the last event has its time.
    let traces: Vec<RequestTrace> = (0..20)
        .map(|n| {
            let sent = u64::from(n) * 1000;
            let output: Vec<u64> = (1..=100).map(|chunk| sent + chunk * 10).collect();
            let mut answer = trace(n, sent, &output, 100);
            if n == 2 {
                for (position, chunk) in answer.chunks.iter_mut().enumerate().skip(40).take(5) {
                    chunk.at = ms(sent + 450);
                    chunk.coalesced = position > 40;
                    chunk.slack_us = if position < 44 { 48_000 } else { 0 };
                }
            }
            answer
        })
        .collect();
    let audit = ClientAudit {
        threads: 1,
        stalls: 1,
        longest_stall: ms(50),
        stamps: crate::load::StampSource::Kernel,
        ..ClientAudit::default()
    };
    let found = fed(closed(1), &traces)
        .finish(&report(20_000, audit), &HostLoad::default(), None, None)
        .unwrap();
    near(&found, "itl_ms.max", 10.0);
    near(&found, "itl_ms.min", 10.0);
    near(&found, "itl_ms.mean", 10.0);
    near(&found, "token_itl_ms.max", 10.0);
    let audit = found.audit.unwrap();
    // 5 of 20 · 99 gaps.
    assert_eq!(audit.uncertain_share, Some(5.0 / 1980.0));
    assert_eq!(found.samples["itl_ms"], 1975);
    assert_eq!(found.validity, Validity::Valid);
    assert!(
        found.notes.iter().any(|note| note.contains("50 ms")),
        "{:?}",
        found.notes
    );
}

#[test]
fn a_first_token_behind_a_pause_is_left_out() {
    let mut traces = row(20);
    let chunks = &mut traces[7].chunks;
    (chunks[0].at, chunks[0].slack_us) = (ms(775), 30_000);
    chunks[1].coalesced = true;
    let found = finished(fed(closed(1), &traces));
    near(&found, "ttft_ms.max", 50.0);
    assert_eq!(found.samples["ttft_ms"], 19);
    assert_eq!(found.per_request["ttft_ms"][7], None);
    assert_eq!(found.audit.unwrap().uncertain_ttft_share, Some(0.05));
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("left out of TTFT"))
    );
}

#[test]
fn memory_does_not_grow_with_the_run() {
    let mut accumulator = Accumulator::new(closed(1));
    let mut answer = trace(0, 0, &[], 10);
    for n in 0..100_000_u32 {
        let sent = u64::from(n) * 10;
        answer.index = n;
        (answer.scheduled_at, answer.sent_at) = (ms(sent), ms(sent));
        answer.chunks = (1..=10)
            .map(|chunk| {
                let at = ms(sent + chunk);
                ChunkArrival::new(at, crate::load::ChunkKind::Content)
            })
            .collect();
        answer.finished_at = ms(sent + 10);
        accumulator.add(&answer);
    }
    assert_eq!(accumulator.records.len(), 65_536);
    let found = finished(accumulator);
    assert_eq!((found.sent, found.ok), (100_000, 100_000));
    assert_eq!(found.samples["itl_ms"], 900_000);
    assert_eq!(
        found.quantile_methods["itl_ms"],
        QuantileMethod::LogHistogram
    );
    near(&found, "itl_ms.p99", 1.0);
    assert_eq!(found.per_request["e2e_ms"].len(), 65_536);
    let tps = found.metrics["output_tps"];
    assert!((tps - 1000.0).abs() < 1e-3, "{tps}");
}

#[test]
fn tokens_told_with_each_chunk_are_counted_where_they_came() {
    let mut traces = row(2);
    for trace in &mut traces {
        trace.usage = Some(Usage {
            prompt_tokens: 10,
            completion_tokens: 8,
        });
        for (chunk, tokens) in trace.chunks.iter_mut().zip([2, 4, 8]) {
            chunk.tokens = NonZeroU32::new(tokens);
        }
    }
    let found = finished(fed(closed(1), &traces));
    assert_eq!(found.token_sources.output, Some(TokenSource::PerChunkUsage));
    // Gaps of 25 ms over 2 and 4 tokens.
    near(&found, "token_itl_ms.max", 12.5);
    near(&found, "token_itl_ms.min", 6.25);
    near(&found, "token_itl_ms.mean", 50.0 / 6.0);
    assert_eq!(found.samples["token_itl_ms"], 12);
    near(&found, "itl_ms.mean", 25.0);
    near(&found, "output_tps", 80.0); // 16 in 0.2 s
}

#[test]
fn several_tokens_in_a_chunk_leave_token_itl_open() {
    let mut traces = row(3);
    traces[1].usage.as_mut().unwrap().completion_tokens = 4;
    let found = finished(fed(closed(1), &traces));
    assert_eq!(found.token_sources.output, Some(TokenSource::Usage));
    assert!(!found.metrics.contains_key("token_itl_ms.mean"));
    assert!(found.metrics.contains_key("itl_ms.mean"));
}

#[test]
fn estimated_tokens_have_a_name_of_their_own() {
    let mut traces = row(2);
    for trace in &mut traces {
        trace.usage = None;
    }
    let found = finished(fed(closed(1), &traces));
    near(&found, "output_tps_estimated", 30.0); // 6 chunks in 0.2 s
    assert_eq!(describe("output_tps_estimated").better, None);
    assert_eq!(found.token_sources.output, Some(TokenSource::Estimated));
    for name in [
        "output_tps",
        "total_tps",
        "tpot_ms.mean",
        "normalized_latency_ms.mean",
    ] {
        assert!(!found.metrics.contains_key(name), "{name}");
    }
}

#[test]
fn goodput_counts_what_met_every_objective() {
    // Ten of twenty take 100 ms and ten 200 ms, one after the other: 3 s.
    let mut sent = 0;
    let mut traces: Vec<RequestTrace> = (0..20)
        .map(|n| {
            let length = if n % 2 == 0 { 100 } else { 200 };
            let made = trace(n, sent, &[sent + 50, sent + length], 2);
            sent += length;
            made
        })
        .collect();
    traces[18].outcome = Outcome::Truncated;
    let spec = MeasureSpec {
        objectives: vec![Objective {
            quantity: Quantity::E2e,
            limit_ms: 150.0,
        }],
        ..closed(1)
    };
    let found = finished(fed(spec, &traces));
    near(&found, "slo_attainment", 0.45); // 9 of all 20
    near(&found, "goodput_rps", 3.0); // 9 in 3 s
    near(&found, "request_rps", 19.0 / 3.0);
    assert!(
        !finished(fed(closed(1), &traces))
            .metrics
            .contains_key("goodput_rps")
    );
}

#[test]
fn an_open_loop_counts_from_when_requests_were_due() {
    // 10 a second; each is sent 30 ms late and takes 80 ms from then on.
    let mut traces = due(50, 100, |_| 110);
    for trace in &mut traces {
        trace.sent_at += ms(30);
    }
    let found = finished(fed(open_loop(), &traces));
    near(&found, "ttft_ms.p50", 55.0);
    near(&found, "ttft_from_send_ms.p50", 25.0);
    near(&found, "schedule_delay_ms.max", 30.0);
    near(&found, "offered_rps", 10.0);
    near(&found, "sent_rps", 10.0);
    // From 110 to 4900 ms.
    assert_eq!(found.window_s, Some(4.79));
    assert_eq!((found.ramp_up_s, found.drain_s), (Some(0.11), Some(0.11)));
    assert_eq!(found.audit.unwrap().in_flight_deficit, None);
    // A closed loop has no schedule to tell of.
    let found = finished(fed(closed(1), &row(5)));
    assert!(
        !found
            .metrics
            .keys()
            .any(|name| name.contains("rps") && name != "request_rps")
    );
    assert!(!found.metrics.contains_key("ttft_from_send_ms.p50"));
}

#[test]
fn a_lagging_schedule_is_missed() {
    // Due every 10 ms, sent every 10.2.
    let mut traces = due(200, 10, |_| 50);
    for trace in &mut traces {
        let late = Duration::from_micros(200) * trace.index;
        trace.sent_at += late;
    }
    let found = finished(fed(open_loop(), &traces));
    assert_eq!(found.validity, Validity::ScheduleMissed);
    assert!(
        found.notes[0].contains("98.04 requests per second"),
        "{:?}",
        found.notes
    );
}

#[test]
fn answers_with_reasoning_tell_both_times() {
    let mut traces = row(4);
    for trace in &mut traces {
        trace.chunks[0].kind = crate::load::ChunkKind::Reasoning;
    }
    let found = finished(fed(closed(1), &traces));
    near(&found, "ttft_ms.p50", 50.0);
    near(&found, "ttfot_ms.p50", 75.0);
    assert!(
        !finished(fed(closed(1), &row(4)))
            .metrics
            .contains_key("ttfot_ms.p50")
    );
}

#[test]
fn phases_are_told_where_they_happened() {
    let mut traces = row(3);
    traces[0].phases.connect = Some(ms(4));
    for trace in &mut traces {
        trace.phases.first_byte = Some(ms(40));
    }
    let found = finished(fed(closed(1), &traces));
    near(&found, "connect_ms.mean", 4.0);
    near(&found, "first_byte_ms.p50", 40.0);
    assert_eq!(found.samples["first_byte_ms"], 3);
    assert!(!found.metrics.contains_key("tls_ms.mean"));
}

#[test]
fn pauses_between_turns_are_no_deficit() {
    // One slot, 100 ms of work and 100 ms of thinking; the driver itself took 2 ms each time.
    let traces: Vec<RequestTrace> = (0..20)
        .map(|n| {
            let sent = u64::from(n) * 200;
            trace(n, sent, &[sent + 100], 1)
        })
        .collect();
    let mut audit = ClientAudit::default();
    for _ in 0..20 {
        audit.late_sends.add(ms(2));
    }
    let deficit = |pauses| {
        let spec = MeasureSpec {
            load: Load::Closed {
                concurrency: NonZeroU32::MIN,
                pauses,
            },
            ..closed(1)
        };
        let found = fed(spec, &traces)
            .finish(
                &report(4000, audit.clone()),
                &HostLoad::default(),
                None,
                None,
            )
            .unwrap();
        (
            found.validity,
            found.audit.unwrap().in_flight_deficit.unwrap(),
        )
    };
    let (validity, share) = deficit(true);
    assert_eq!(validity, Validity::Valid);
    assert!((share - 0.01).abs() < 1e-9); // 40 ms of 4 s
    assert_eq!(deficit(false).0, Validity::ClientLimited);
}

#[test]
fn a_processor_quota_makes_the_client_the_limit() {
    let audit = ClientAudit {
        threads: 1,
        stalls: 10,
        longest_stall: ms(80),
        ..ClientAudit::default()
    };
    let host = HostLoad {
        throttled_share: Some(0.8),
        ..HostLoad::default()
    };
    let found = fed(closed(1), &row(10))
        .finish(&report(1000, audit), &host, None, None)
        .unwrap();
    assert_eq!(found.validity, Validity::ClientLimited);
    assert_eq!(found.audit.unwrap().throttled_share, Some(0.8));
}

#[test]
fn the_servers_counters_are_held_against_the_load() {
    let server = ServerNumbers {
        prefix_cache_hit_share: Some(0.5),
        generation_tokens: Some(300.0),
        notes: vec!["read late".to_owned()],
        ..ServerNumbers::default()
    };
    let with = |cold, traces: &[RequestTrace]| {
        let spec = MeasureSpec { cold, ..closed(1) };
        let report = report(1000, ClientAudit::default());
        fed(spec, traces)
            .finish(&report, &HostLoad::default(), None, Some(&server))
            .unwrap()
    };
    // Ten answers of three tokens.
    let found = with(true, &row(10));
    assert_eq!(found.validity, Validity::ServerErrored);
    assert!(found.notes[0].contains("prefix cache"), "{:?}", found.notes);
    let said = |part: &str, notes: &[String]| notes.iter().any(|note| note.contains(part));
    assert!(said("the answers held 30", &found.notes) && said("read late", &found.notes));
    assert_eq!(with(false, &row(10)).validity, Validity::Valid);
    // The server also counts what a broken answer held: its count says nothing then.
    let mut traces = row(200);
    traces[3].outcome = Outcome::Truncated;
    assert!(!said("the answers held", &with(false, &traces).notes));
}

/// After how many requests the rule stops, and what it says.
fn stops(spec: MeasureSpec, traces: &[RequestTrace]) -> Option<(usize, String)> {
    let mut accumulator = Accumulator::new(spec);
    traces.iter().zip(1..).find_map(|(trace, count)| {
        accumulator.add(trace);
        Some((count, accumulator.should_stop()?))
    })
}

#[test]
fn too_many_errors_stop_after_twenty() {
    let with = |limit| MeasureSpec {
        stop: StopRules {
            max_error_rate: Some(limit),
            ..StopRules::default()
        },
        ..closed(1)
    };
    let mut traces = row(40);
    for trace in traces.iter_mut().step_by(10) {
        trace.outcome = Outcome::HttpError;
    }
    // 2 of 20 are 10 %: not more than the limit; 3 of 21 are.
    let (count, why) = stops(with(0.1), &traces).unwrap();
    assert_eq!(count, 21);
    assert!(why.contains("14.3 %") && why.contains("10.0 %"), "{why}");
    assert_eq!(stops(with(0.15), &traces), None);
    assert_eq!(stops(closed(1), &traces), None);
}

#[test]
fn a_mean_known_well_enough_stops_after_a_hundred() {
    let with = |width| MeasureSpec {
        stop: StopRules {
            ci_width: Some(width),
            ..StopRules::default()
        },
        ..closed(1)
    };
    let (count, why) = stops(with(0.05), &row(150)).unwrap();
    assert_eq!(count, 100);
    assert!(why.contains("±0.0 %"), "{why}");
    // Latencies of 100 and 300 ms in turn by batches of five: far from 1 %.
    let uneven = due(150, 400, |n| if (n / 5) % 2 == 0 { 100 } else { 300 });
    assert_eq!(stops(with(0.01), &uneven), None);
}

#[test]
fn a_queue_that_only_grows_stops_an_open_loop() {
    let with = |over_saturation| MeasureSpec {
        stop: StopRules {
            over_saturation,
            ..StopRules::default()
        },
        ..open_loop()
    };
    // Due every 10 ms, served one after the other in 15: the n-th waits n · 5 ms.
    let growing = due(600, 10, |n| 15 + u64::from(n) * 5);
    let (count, why) = stops(with(true), &growing).unwrap();
    assert!((100..=300).contains(&count), "{count}");
    assert!(why.contains("cannot keep up"), "{why}");
    assert_eq!(stops(with(false), &growing), None);
    let found = finished(fed(with(false), &growing));
    assert!(
        found
            .notes
            .iter()
            .any(|note| note.contains("cannot keep up"))
    );
    // Served in time.
    let steady = due(600, 10, |n| 200 + u64::from(n % 7) * 10);
    assert_eq!(stops(with(true), &steady), None);
    assert!(finished(fed(with(true), &steady)).notes.is_empty());
}

#[test]
fn every_name_is_known_to_the_metric_table() {
    let mut traces = due(300, 10, |n| 20 + u64::from(n % 3));
    for trace in &mut traces {
        trace.chunks[0].kind = crate::load::ChunkKind::Reasoning;
        let some = Some(ms(1));
        trace.phases = crate::load::Phases {
            dns: some,
            connect: some,
            tls: some,
            write: some,
            first_byte: some,
        };
    }
    let spec = MeasureSpec {
        objectives: vec![Objective {
            quantity: Quantity::Ttft,
            limit_ms: 1e3,
        }],
        ..open_loop()
    };
    let found = finished(fed(spec, &traces));
    for name in found.metrics.keys() {
        let metric = describe(name);
        let quantity = name.split('.').next().unwrap();
        // A name that is not in the table is labelled with itself.
        let known = !metric.label.starts_with(&quantity.replace('_', " "));
        assert!(
            known || ["error_rate"].contains(&quantity),
            "{name}: {}",
            metric.label
        );
    }
    assert!(found.metrics.len() > 90, "{}", found.metrics.len());
}

#[test]
fn a_measurement_survives_its_file() {
    let found = finished(fed(closed(1), &row(20)));
    let text = serde_json::to_string(&found).unwrap();
    let read: Measurement = serde_json::from_str(&text).unwrap();
    assert_eq!(read.audit, found.audit);
    assert_eq!(read.quantile_methods, found.quantile_methods);
    assert_eq!(read.token_sources, found.token_sources);
}
