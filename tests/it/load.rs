//! The driver against a scripted server: every stream shape that made a load generator report a
//! wrong number or a wrong success, byte for byte.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use kitt_action::load::{ChunkKind, LoadError, Outcome, RequestTrace, Stopped};
use serde_json::json;
use tokio::{net::TcpListener, sync::Barrier};
use tokio_util::sync::CancellationToken;

use crate::scripted::{
    DONE, ROLE, SSE, STOP, Server, Step, chunk, closed, end, gap, good, head, jobs, keep_on, run,
    stream, target, usage, word,
};

async fn one(script: Vec<Step>) -> RequestTrace {
    let server = Server::playing(vec![script]).await;
    let mut traces = server.drive(1, 1).await;
    assert_eq!(traces.len(), 1);
    check_times(&traces[0]);
    traces.remove(0)
}

/// What holds for every trace.
fn check_times(trace: &RequestTrace) {
    assert_eq!(trace.scheduled_at, trace.sent_at);
    let mut before = trace.sent_at;
    for chunk in &trace.chunks {
        assert!(chunk.at >= before, "{trace:?}");
        before = chunk.at;
    }
    assert!(trace.finished_at >= before, "{trace:?}");
}

fn kinds(trace: &RequestTrace) -> Vec<ChunkKind> {
    trace.chunks.iter().map(|chunk| chunk.kind).collect()
}

/// Position of the chunk that ends the time to first token.
fn first_output(trace: &RequestTrace) -> Option<usize> {
    trace.chunks.iter().position(|chunk| chunk.kind.is_output())
}

fn tokens(trace: &RequestTrace) -> Option<u64> {
    trace.usage.map(|usage| usage.completion_tokens)
}

#[tokio::test]
async fn a_good_stream_is_ok_and_the_role_chunk_is_no_token() {
    let trace = one(good()).await;
    assert_eq!(trace.outcome, Outcome::Ok, "{trace:?}");
    assert_eq!(first_output(&trace), Some(1));
    assert_eq!(
        trace
            .chunks
            .iter()
            .filter(|chunk| chunk.kind.is_output())
            .count(),
        2
    );
    assert_eq!(tokens(&trace), Some(2));
    assert_eq!(trace.finish_reason.as_deref(), Some("length"));
    assert_eq!(trace.error, None);
}

#[tokio::test]
async fn a_connection_cut_half_way_is_truncated() {
    for cut in [Step::Close, Step::Reset] {
        let trace = one(vec![head(), Step::Send(chunk(&word("a"))), gap(), cut]).await;
        assert_eq!(trace.outcome, Outcome::Truncated, "{trace:?}");
        assert!(trace.error.is_some());
        assert_eq!((tokens(&trace), trace.finish_reason), (None, None));
    }
    // An event cut in its middle is not counted.
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"b";
    let trace = one(vec![
        head(),
        Step::Send(chunk(&(word("a") + half))),
        gap(),
        Step::Close,
    ])
    .await;
    assert_eq!((trace.outcome, trace.chunks.len()), (Outcome::Truncated, 1));
}

#[tokio::test]
async fn a_regular_end_without_finish_reason_is_truncated() {
    let trace = one(stream(&[&word("a"), &word("b")])).await;
    assert_eq!(trace.outcome, Outcome::Truncated, "{trace:?}");
    let silent = one(stream(&[])).await;
    assert_eq!(silent.outcome, Outcome::Truncated, "{silent:?}");
}

#[tokio::test]
async fn a_finish_reason_and_a_regular_end_need_no_done() {
    let trace = one(stream(&[&word("a"), STOP, &usage(1)])).await;
    assert_eq!((trace.outcome, tokens(&trace)), (Outcome::Ok, Some(1)));
}

#[tokio::test]
async fn a_status_of_503_is_an_http_error_with_the_servers_words() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\n\r\noverload";
    let server = Server::playing(vec![vec![Step::Send(refusal.into())], good()]).await;
    let traces = server.drive(2, 1).await;
    assert_eq!(traces[0].outcome, Outcome::HttpError);
    let error = traces[0].error.as_deref().unwrap();
    assert!(
        error.contains("503") && error.contains("overload"),
        "{error}"
    );
    assert_eq!(
        (first_output(&traces[0]), traces[1].outcome),
        (None, Outcome::Ok)
    );
    assert_eq!(
        server.connections.load(Ordering::SeqCst),
        1,
        "the connection was kept"
    );
}

#[tokio::test]
async fn an_error_object_in_the_stream_is_no_success() {
    let error = "data: {\"error\":{\"message\":\"CUDA out of memory\",\"code\":500}}\n\n";
    let server = Server::playing(vec![
        stream(&[&word("a"), error, STOP, &usage(2), DONE]),
        good(),
    ]);
    let traces = server.await.drive(2, 1).await;
    assert_eq!(traces[0].outcome, Outcome::StreamError, "{:?}", traces[0]);
    assert_eq!(traces[0].error.as_deref(), Some("CUDA out of memory"));
    assert_eq!(tokens(&traces[0]), None);
    assert_eq!(traces[1].outcome, Outcome::Ok);
}

#[tokio::test]
async fn an_event_that_is_no_json_is_a_stream_error() {
    let trace = one(stream(&[&word("a"), "data: {\"choices\": [\n\n", DONE])).await;
    assert_eq!(trace.outcome, Outcome::StreamError, "{trace:?}");
}

#[tokio::test]
async fn an_endless_line_is_a_stream_error() {
    let mut steps = vec![head(), Step::Send(chunk("data: "))];
    steps.extend(vec![Step::Send(chunk(&"x".repeat(1 << 16))); 65]);
    steps.push(Step::Hold);
    let trace = one(steps).await;
    assert_eq!(trace.outcome, Outcome::StreamError, "{trace:?}");
    assert!(trace.error.unwrap().contains("longer than 4194304 bytes"));
}

#[tokio::test]
async fn json_instead_of_a_stream_is_a_stream_error() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"choices\":[]}";
    let trace = one(vec![Step::Send(answer.into())]).await;
    assert_eq!(trace.outcome, Outcome::StreamError, "{trace:?}");
}

#[tokio::test]
async fn a_stream_without_output_is_empty() {
    let role_only = one(stream(&[ROLE, STOP, &usage(0), DONE])).await;
    assert_eq!(role_only.outcome, Outcome::Empty, "{role_only:?}");
    assert_eq!(first_output(&role_only), None);
    let done_only = one(stream(&[DONE])).await;
    assert_eq!(done_only.outcome, Outcome::Empty);
}

#[tokio::test]
async fn crlf_and_cr_end_lines_too() {
    for line_end in ["\r\n", "\r"] {
        let events = [ROLE, &word("a"), &word("b"), STOP, &usage(2), DONE];
        let events = events.map(|event| event.replace('\n', line_end));
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let trace = one(stream(&events)).await;
        assert_eq!(trace.outcome, Outcome::Ok, "{trace:?}");
        assert_eq!((first_output(&trace), tokens(&trace)), (Some(1), Some(2)));
    }
}

#[tokio::test]
async fn events_letters_and_http_chunks_may_be_cut_anywhere() {
    let text = [
        ROLE,
        &word("caf\u{e9} \u{1f600}"),
        &word("b"),
        STOP,
        &usage(2),
        DONE,
    ]
    .concat();
    let mut wire = SSE.as_bytes().to_vec();
    // HTTP chunks of 7 bytes cut letters; writes of 11 bytes cut HTTP chunks.
    for piece in text.as_bytes().chunks(7) {
        wire.extend(format!("{:x}\r\n", piece.len()).bytes());
        wire.extend(piece);
        wire.extend(b"\r\n");
    }
    wire.extend(b"0\r\n\r\n");
    let mut steps = Vec::new();
    for piece in wire.chunks(11) {
        steps.extend([
            Step::Send(piece.to_vec()),
            Step::Gap(Duration::from_micros(200)),
        ]);
    }
    let trace = one(steps).await;
    assert_eq!(trace.outcome, Outcome::Ok, "{trace:?}");
    assert_eq!((first_output(&trace), trace.chunks.len()), (Some(1), 5));
    assert_eq!(tokens(&trace), Some(2));
}

#[tokio::test]
async fn comments_before_the_first_token_are_nothing() {
    let trace = one(stream(&[
        ": ping\n\n",
        ": ping\r\n\r\n",
        &word("a"),
        STOP,
        &usage(1),
        DONE,
    ]))
    .await;
    assert_eq!(trace.outcome, Outcome::Ok, "{trace:?}");
    assert_eq!((first_output(&trace), trace.chunks.len()), (Some(0), 3));
}

#[tokio::test]
async fn reasoning_is_output_under_both_names() {
    for name in ["reasoning_content", "reasoning"] {
        let thought = format!(
            "data: {{\"choices\":[{{\"delta\":{{\"{name}\":\"hm\",\"content\":null}}}}]}}\n\n"
        );
        let trace = one(stream(&[ROLE, &thought, &word("a"), STOP, &usage(2), DONE])).await;
        assert_eq!(
            (trace.outcome, first_output(&trace)),
            (Outcome::Ok, Some(1))
        );
        assert_eq!(
            kinds(&trace)[1..3],
            [ChunkKind::Reasoning, ChunkKind::Content]
        );
    }
}

#[tokio::test]
async fn a_chunk_is_not_a_token() {
    let four = word("one two three four");
    let trace = one(stream(&[&four, &four, STOP, &usage(8), DONE])).await;
    let output = trace
        .chunks
        .iter()
        .filter(|chunk| chunk.kind.is_output())
        .count();
    assert_eq!((output, tokens(&trace)), (2, Some(8)));
}

#[tokio::test]
async fn no_usage_means_no_token_count() {
    let trace = one(stream(&[ROLE, &word("a"), &word("b"), STOP, DONE])).await;
    assert_eq!((trace.outcome, trace.usage), (Outcome::Ok, None));
}

#[tokio::test]
async fn a_stall_is_the_largest_gap() {
    let pair = [word("a"), word("b")].concat();
    let stall = Step::Gap(Duration::from_millis(60));
    let steps = vec![
        head(),
        Step::Send(chunk(&pair)),
        stall,
        Step::Send(chunk(&[&pair, STOP, &usage(4), DONE].concat())),
        end(),
    ];
    let trace = one(steps).await;
    let at: Vec<Duration> = trace.chunks.iter().map(|chunk| chunk.at).collect();
    assert_eq!(trace.outcome, Outcome::Ok);
    let gap = |before: usize| at[before + 1].saturating_sub(at[before]);
    assert!(gap(1) >= gap(0) && gap(1) >= gap(2));
}

#[tokio::test]
async fn events_of_one_write_are_flagged_as_coalesced() {
    let events = [&word("a"), &word("b"), STOP, DONE].concat();
    let trace = one(vec![head(), gap(), Step::Send(chunk(&events)), end()]).await;
    let flags: Vec<bool> = trace.chunks.iter().map(|chunk| chunk.coalesced).collect();
    assert_eq!(flags, [false, true, true]);
    assert_eq!(trace.chunks[0].at, trace.chunks[1].at);
}

#[tokio::test]
async fn a_server_that_is_silent_is_a_timeout() {
    let mut server = Server::playing(vec![
        vec![head(), Step::Send(chunk(&word("a"))), Step::Hold],
        good(),
    ])
    .await;
    server.target_mut().timeout = Duration::from_secs(1);
    let traces = server.drive(2, 1).await;
    assert_eq!(traces[0].outcome, Outcome::Timeout, "{:?}", traces[0]);
    assert_eq!(
        first_output(&traces[0]),
        Some(0),
        "what came before it is kept"
    );
    assert_eq!(traces[1].outcome, Outcome::Ok);
    assert!(traces[1].sent_at >= traces[0].finished_at);
}

#[tokio::test]
async fn done_without_the_end_of_the_message_is_ok() {
    let events = [&word("a"), STOP, DONE].concat();
    let server = Server::playing(vec![
        vec![head(), Step::Send(chunk(&events)), Step::Hold],
        good(),
    ])
    .await;
    let traces = server.drive(2, 1).await;
    assert_eq!(
        traces.iter().map(|trace| trace.outcome).collect::<Vec<_>>(),
        [Outcome::Ok; 2]
    );
}

#[tokio::test]
async fn bodies_delimited_by_length_or_by_close_are_read() {
    let events = [&word("a"), STOP, &usage(1), DONE].concat();
    let kind = "content-type: text/event-stream";
    let by_length = format!(
        "HTTP/1.1 200 OK\r\n{kind}\r\ncontent-length: {}\r\n\r\n{events}",
        events.len()
    );
    let by_close = format!("HTTP/1.0 200 OK\r\n{kind}\r\n\r\n{events}");
    let server = Server::playing(vec![
        vec![Step::Send(by_length.into())],
        vec![Step::Send(by_close.into()), Step::Close],
        good(),
    ]);
    let server = server.await;
    let traces = server.drive(3, 1).await;
    assert!(
        traces.iter().all(|trace| trace.outcome == Outcome::Ok),
        "{traces:?}"
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_closed_after_each_answer_is_reopened_outside_the_clock() {
    let mut closing = good();
    closing.push(Step::Close);
    let server = Server::playing(vec![closing.clone(), closing.clone(), closing]).await;
    let traces = server.drive(3, 1).await;
    assert!(
        traces.iter().all(|trace| trace.outcome == Outcome::Ok),
        "{traces:?}"
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    assert!(
        traces
            .windows(2)
            .all(|pair| pair[1].sent_at >= pair[0].finished_at)
    );
}

#[tokio::test]
async fn requests_start_in_order_and_results_are_sorted() {
    let server = Server::playing(vec![good(); 7]).await;
    let counted = Arc::new(Mutex::new(Vec::new()));
    let cancel = CancellationToken::new();
    let seen = Arc::clone(&counted);
    let note = move |trace: &RequestTrace| {
        seen.lock().unwrap().push(trace.finished_at);
        keep_on()
    };
    let driven = run(&server.target, jobs(7), closed(3), &cancel, note).await;
    let traces = driven.unwrap().1;
    let indices: Vec<u32> = traces.iter().map(|trace| trace.index).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5, 6]);
    let counted = counted.lock().unwrap();
    assert!(counted.len() == 7 && counted.is_sorted(), "{counted:?}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    let sent: Vec<Duration> = traces.iter().map(|trace| trace.sent_at).collect();
    assert!(
        sent[3..]
            .iter()
            .all(|later| sent[..3].iter().all(|first| first < later))
    );
    let bodies = server.bodies.lock().unwrap();
    assert_eq!(
        bodies[0]["messages"][0]["content"].as_str().map(str::len),
        Some(8)
    );
    assert_eq!(
        (&bodies[0]["stream"], &bodies[0]["ignore_eos"]),
        (&json!(true), &json!(true))
    );
}

#[tokio::test]
async fn the_asked_number_of_requests_is_in_flight_at_once() {
    // No answer begins before all four requests have been read: fewer in flight would hang.
    let barrier = Arc::new(Barrier::new(4));
    let mut script = vec![Step::Meet(barrier)];
    script.extend(good());
    let server = Server::playing(vec![script; 8]).await;
    let traces = server.drive(8, 4).await;
    assert!(
        traces.iter().all(|trace| trace.outcome == Outcome::Ok),
        "{traces:?}"
    );
}

#[tokio::test]
async fn cancelling_ends_what_is_in_flight_and_keeps_the_rest() {
    let hold = vec![head(), Step::Send(chunk(&word("a"))), Step::Hold];
    let server = Server::playing(vec![good(), hold]).await;
    let cancel = CancellationToken::new();
    let inside = cancel.clone();
    let stop = move |_: &RequestTrace| {
        inside.cancel();
        keep_on()
    };
    let driven = run(&server.target, jobs(5), closed(1), &cancel, stop).await;
    let (report, traces) = driven.unwrap();
    assert_eq!(report.stopped, Stopped::Cancelled);
    let outcomes: Vec<Outcome> = traces.iter().map(|trace| trace.outcome).collect();
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Cancelled]);

    let before = CancellationToken::new();
    before.cancel();
    let none = run(&server.target, jobs(5), closed(1), &before, |_| keep_on()).await;
    assert_eq!(none.unwrap().1, []);
}

#[tokio::test]
async fn extras_a_server_refuses_are_left_out_from_then_on() {
    let refusal =
        "HTTP/1.1 422 Unprocessable Entity\r\ncontent-length: 22\r\n\r\nunknown key ignore_eos";
    let refusal = vec![Step::Send(refusal.into())];
    let server = Server::playing(vec![refusal, good(), good()]).await;
    assert!(!server.target.extras_refused());
    let traces = server.drive(2, 1).await;
    assert!(
        traces.iter().all(|trace| trace.outcome == Outcome::Ok),
        "{traces:?}"
    );
    assert!(server.target.extras_refused());
    let bodies = server.bodies.lock().unwrap();
    let sent: Vec<bool> = bodies
        .iter()
        .map(|body| body.get("ignore_eos").is_some())
        .collect();
    assert_eq!(sent, [true, false, false]);
}

#[tokio::test]
async fn a_400_that_has_another_cause_stays_an_error() {
    let refusal = || {
        vec![Step::Send(
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\ntoo big".into(),
        )]
    };
    let server = Server::playing(vec![refusal(), refusal()]).await;
    let traces = server.drive(1, 1).await;
    assert_eq!(traces[0].outcome, Outcome::HttpError);
    assert!(!server.target.extras_refused());
}

#[tokio::test]
async fn a_server_that_hangs_up_without_an_answer_is_an_http_error() {
    let server = Server::playing(vec![vec![Step::Close], good()]).await;
    let traces = server.drive(2, 1).await;
    assert_eq!(traces[0].outcome, Outcome::HttpError, "{:?}", traces[0]);
    assert_eq!(traces[1].outcome, Outcome::Ok);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_replaced() {
    // The second request is read and its connection closed without a byte: as when the server's
    // idle timer and our request cross on the wire.
    let server = Server::playing(vec![good(), vec![Step::Close], good()]).await;
    let traces = server.drive(2, 1).await;
    assert!(
        traces.iter().all(|trace| trace.outcome == Outcome::Ok),
        "{traces:?}"
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn nobody_there_is_an_error_and_not_a_trace() {
    // Bound and dropped: nobody listens on this port.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cancel = CancellationToken::new();
    let nobody = Arc::new(target(&url));
    let driven = run(&nobody, jobs(3), closed(2), &cancel, |_| keep_on()).await;
    assert!(
        matches!(driven, Err(LoadError::Connect { .. })),
        "{driven:?}"
    );
    let other = Arc::new(target("ftp://127.0.0.1:1"));
    let driven = run(&other, jobs(1), closed(1), &cancel, |_| keep_on()).await;
    assert!(
        matches!(driven, Err(LoadError::Endpoint { .. })),
        "{driven:?}"
    );
}
