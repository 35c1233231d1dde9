//! Tests of the answer state machine as a whole: every shape of stream that made a load generator
//! report a wrong number or a wrong success, byte for byte.

use std::{num::NonZeroU32, time::Duration};

use super::{
    ChunkKind, Outcome,
    reply::{Feed, Reply},
    stream::{Answer, End, Read},
};

/// Head of an event stream in chunks.
pub(super) const SSE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// Head of an event stream that ends with the connection.
pub(super) const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
pub(super) const ROLE: &str =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
pub(super) const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
pub(super) const STOP: &str =
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
pub(super) const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9}}\n\n";
pub(super) const DONE: &str = "data: [DONE]\n\n";
pub(super) const END: &str = "0\r\n\r\n";

/// One HTTP chunk.
pub(super) fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}

/// A head, one chunk for each event, the terminator: each a read of its own.
pub(super) fn stream(events: &[&str]) -> Vec<String> {
    let mut reads = vec![SSE.to_owned()];
    reads.extend(events.iter().map(|event| chunk(event)));
    reads.push(END.to_owned());
    reads
}

/// Read number `n`, from 1, arrives at `n` ms.
pub(super) fn read(number: usize) -> Read {
    Read {
        at: ms(number),
        slack: Duration::from_micros(700),
    }
}

pub(super) fn ms(number: usize) -> Duration {
    Duration::from_millis(number as u64)
}

/// Feeds the reads until the answer is over.
pub(super) fn feed<T: AsRef<[u8]>>(reply: &mut Reply, reads: &[T]) -> Feed {
    for (at, bytes) in reads.iter().enumerate() {
        if let over @ Feed::Over { .. } = reply.feed(bytes.as_ref(), read(at + 1)) {
            return over;
        }
    }
    Feed::More
}

/// An answer whose end its bytes tell, with whether the connection is reusable.
pub(super) fn whole<T: AsRef<[u8]>>(reads: &[T]) -> (Answer, bool) {
    let mut reply = Reply::new();
    match feed(&mut reply, reads) {
        Feed::Over { reusable } => (reply.conclude(End::Complete), reusable),
        Feed::More => panic!("the answer goes on"),
    }
}

/// An answer after which the server closes the connection.
pub(super) fn closed<T: AsRef<[u8]>>(reads: &[T]) -> Answer {
    let mut reply = Reply::new();
    if feed(&mut reply, reads) == Feed::More {
        assert_eq!(reply.eof(), Feed::Over { reusable: false });
    }
    reply.conclude(End::Complete)
}

pub(super) fn played(events: &[&str]) -> Answer {
    whole(&stream(events)).0
}

fn kinds(answer: &Answer) -> Vec<ChunkKind> {
    answer.chunks.iter().map(|chunk| chunk.kind).collect()
}

pub(super) fn first_output(answer: &Answer) -> Option<Duration> {
    let mut chunks = answer.chunks.iter();
    chunks.find(|chunk| chunk.kind.is_output()).map(|c| c.at)
}

pub(super) fn error(answer: &Answer) -> &str {
    answer.error.as_deref().unwrap_or_default()
}

// The fault matrix: the shapes at which existing load generators fail.

#[test]
fn a_connection_cut_half_way_is_truncated() {
    let cut = closed(&stream(&[ROLE, WORD, WORD])[..3]);
    assert_eq!(cut.outcome, Outcome::Truncated);
    assert!(
        error(&cut).contains("broke off: the server closed"),
        "{cut:?}"
    );
    // Inside an event: it does not count.
    let cut = closed(&[
        SSE,
        "100\r\n",
        WORD,
        "data: {\"choices\":[{\"delta\":{\"content\":\"b",
    ]);
    assert_eq!((cut.outcome, cut.chunks.len()), (Outcome::Truncated, 1));
    // Reset, as the system calls it.
    let mut reply = Reply::new();
    feed(&mut reply, &[SSE, &chunk(WORD)]);
    let reset = reply.conclude(End::Broken("connection reset by peer".to_owned()));
    assert_eq!(reset.outcome, Outcome::Truncated);
    assert_eq!((reset.usage, reset.finish_reason), (None, None));
    // A regular end of the message proves nothing: a proxy sends it for a crashed engine too.
    assert_eq!(played(&[ROLE, WORD]).outcome, Outcome::Truncated);
}

#[test]
fn a_503_is_an_http_error_with_its_text() {
    let refused = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nfull";
    let (answer, reusable) = whole(&[refused]);
    assert_eq!(answer.outcome, Outcome::HttpError);
    assert_eq!(answer.status, Some(503));
    assert_eq!(
        error(&answer),
        "HTTP 503 Service Unavailable (Retry-After: 7): full"
    );
    assert_eq!(answer.retry_after.as_deref(), Some("7"));
    assert!(reusable);
}

#[test]
fn an_error_in_the_middle_of_a_stream_is_no_success() {
    for error_event in [
        "data: {\"error\":{\"message\":\"out of memory\"}}\n\n",
        "data: {\"object\":\"error\",\"message\":\"out of memory\"}\n\n",
        "event: error\ndata: {\"message\":\"out of memory\"}\n\n",
        "event: error\ndata: out of memory\n\n",
    ] {
        let mut reply = Reply::new();
        let reads = stream(&[ROLE, WORD, error_event, WORD, STOP, USAGE, DONE]);
        assert_eq!(feed(&mut reply, &reads), Feed::Over { reusable: false });
        let answer = reply.conclude(End::Complete);
        assert_eq!(answer.outcome, Outcome::StreamError, "{error_event}");
        assert_eq!(error(&answer), "out of memory");
        assert_eq!((answer.chunks.len(), answer.usage), (2, None));
    }
}

#[test]
fn a_finish_reason_that_says_failure_is_no_success() {
    for reason in ["error", "abort"] {
        let stop = STOP.replace("length", reason);
        let answer = played(&[ROLE, WORD, &stop, DONE]);
        assert_eq!(answer.outcome, Outcome::StreamError, "{reason}");
        assert!(error(&answer).contains(reason), "{answer:?}");
    }
}

#[test]
fn a_role_without_content_is_empty() {
    let answer = played(&[ROLE, STOP, USAGE, DONE]);
    assert_eq!(answer.outcome, Outcome::Empty);
    assert_eq!(first_output(&answer), None);
}

#[test]
fn a_role_sent_at_once_is_no_first_token() {
    // Read 1 is the head, 2 the role, 3 the first word.
    let answer = played(&[ROLE, WORD, WORD, STOP, USAGE, DONE]);
    assert_eq!(answer.outcome, Outcome::Ok);
    assert_eq!(first_output(&answer), Some(ms(3)));
    assert_eq!(answer.usage.unwrap().completion_tokens, 9);
    assert_eq!(answer.finish_reason.as_deref(), Some("length"));
}

#[test]
fn line_ends_of_every_kind_give_the_same() {
    let events = [ROLE, WORD, WORD, STOP, USAGE, DONE];
    let expected = played(&events);
    assert_eq!(expected.outcome, Outcome::Ok);
    for end in ["\r\n", "\r"] {
        let other = events.map(|event| event.replace('\n', end));
        let other: Vec<&str> = other.iter().map(String::as_str).collect();
        assert_eq!(played(&other), expected, "{end:?}");
    }
}

#[test]
fn an_event_in_two_segments_counts_once_at_its_end_and_letters_stay_whole() {
    let event = WORD.replace("\"a\"", "\"é\u{1f600}\"");
    let at = event.find('é').unwrap() + 1;
    let (first, second) = event.as_bytes().split_at(at);
    let piece = |part: &[u8]| {
        let mut bytes = format!("{:x}\r\n", part.len()).into_bytes();
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
        bytes
    };
    let reads = [
        SSE.into(),
        piece(first),
        piece(second),
        chunk(DONE).into(),
        END.into(),
    ];
    let (answer, reusable) = whole(&reads);
    assert_eq!((answer.outcome, reusable), (Outcome::Ok, true));
    assert_eq!(
        (answer.chunks.len(), first_output(&answer)),
        (1, Some(ms(3)))
    );
    assert!(!answer.chunks[0].coalesced);
}

#[test]
fn a_comment_before_the_first_token_is_nothing() {
    let answer = played(&[": ping\n\n", ": ping\r\n\r\n", ROLE, WORD, STOP, DONE]);
    assert_eq!(answer.outcome, Outcome::Ok);
    assert_eq!(
        (answer.chunks.len(), first_output(&answer)),
        (3, Some(ms(5)))
    );
}

#[test]
fn reasoning_is_output_and_named() {
    for key in ["reasoning", "reasoning_content"] {
        let thought = WORD.replace("content", key);
        let answer = played(&[ROLE, &thought, WORD, STOP, DONE]);
        assert_eq!(
            kinds(&answer),
            [
                ChunkKind::Other,
                ChunkKind::Reasoning,
                ChunkKind::Content,
                ChunkKind::Other
            ]
        );
        assert_eq!(first_output(&answer), Some(ms(3)));
    }
}

#[test]
fn several_tokens_per_chunk_are_counted_where_the_server_counts() {
    let four = |so_far: u32| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a b c d\"}}}}],\"usage\":\
             {{\"prompt_tokens\":5,\"completion_tokens\":{so_far},\"total_tokens\":9}}}}\n\n"
        )
    };
    let answer = played(&[ROLE, &four(4), &four(8), STOP, USAGE, DONE]);
    let tokens: Vec<_> = answer.chunks.iter().map(|chunk| chunk.tokens).collect();
    let counted = NonZeroU32::new;
    assert_eq!(tokens, [None, counted(4), counted(8), None, None]);
    // The last count is the answer's.
    assert_eq!(answer.usage.unwrap().completion_tokens, 9);
}

#[test]
fn without_usage_nothing_is_counted() {
    let answer = played(&[ROLE, WORD, STOP, DONE]);
    assert_eq!((answer.outcome, answer.usage), (Outcome::Ok, None));
    assert!(answer.chunks.iter().all(|chunk| chunk.tokens.is_none()));
}

#[test]
fn a_stall_stands_in_the_times() {
    // 16 words 1 ms apart, 60 ms of nothing, another word.
    let mut reply = Reply::new();
    reply.feed(SSE.as_bytes(), read(0));
    let times: Vec<usize> = (1..=16).chain([76]).collect();
    for at in &times {
        reply.feed(chunk(WORD).as_bytes(), read(*at));
    }
    let rest = [chunk(STOP), chunk(DONE), END.to_owned()].concat();
    reply.feed(rest.as_bytes(), read(77));
    let answer = reply.conclude(End::Complete);
    let seen: Vec<Duration> = answer.chunks[..17].iter().map(|chunk| chunk.at).collect();
    let expected: Vec<Duration> = times.into_iter().map(ms).collect();
    assert_eq!((answer.outcome, seen), (Outcome::Ok, expected));
}

// What a read that brings several events leaves open.

#[test]
fn only_the_last_of_a_reads_events_has_an_exact_time() {
    let burst = [chunk(WORD), chunk(WORD), chunk(WORD)].concat();
    let last = [chunk(WORD), chunk(DONE), END.to_owned()].concat();
    let (answer, _) = whole(&[SSE, &burst, &chunk(WORD), &last]);
    let seen: Vec<(bool, u32)> = answer
        .chunks
        .iter()
        .map(|chunk| (chunk.coalesced, chunk.slack_us))
        .collect();
    // The last word shares its read with [DONE]: it may have come before that.
    let expected = [
        (false, 700),
        (true, 700),
        (true, 0),
        (false, 0),
        (false, 700),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn the_beginning_of_the_next_event_loosens_the_one_before() {
    let (begun, rest) = WORD.split_at(9);
    let first = [chunk(WORD), chunk(begun)].concat();
    let last = [chunk(rest), chunk(DONE), END.to_owned()].concat();
    let (answer, _) = whole(&[SSE, &first, &last]);
    let slack: Vec<u32> = answer.chunks.iter().map(|chunk| chunk.slack_us).collect();
    assert_eq!(slack, [700, 700]);
    assert!(!answer.chunks[1].coalesced);
    // Empty lines are no event.
    let (answer, _) = whole(&[SSE, &chunk(&format!("{WORD}\n\r\n")), &chunk(DONE), END]);
    assert_eq!(answer.chunks[0].slack_us, 0);
}

#[test]
fn slack_is_rounded_up() {
    let mut reply = Reply::new();
    let late = Read {
        at: ms(1),
        slack: Duration::from_nanos(1_001),
    };
    let bytes = [SSE, &chunk(WORD), &chunk(WORD)].concat();
    reply.feed(bytes.as_bytes(), late);
    assert_eq!(reply.conclude(End::Cancelled).chunks[0].slack_us, 2);
}

/// An answer without what depends on how its reads were cut.
pub(super) fn timeless(mut answer: Answer) -> Answer {
    for chunk in &mut answer.chunks {
        chunk.at = Duration::ZERO;
        chunk.coalesced = false;
        chunk.slack_us = 0;
    }
    answer
}
