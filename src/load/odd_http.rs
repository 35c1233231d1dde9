//! Tests of the answer state machine as a whole: every way HTTP/1.1 can put an answer, end it, or
//! break it, byte for byte.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Outcome,
    reply::{Feed, Reply},
    shapes::{
        DONE, END, ROLE, SSE, STOP, UNTIL_CLOSE, USAGE, WORD, chunk, closed, error, feed,
        first_output, ms, played, read, stream, timeless, whole,
    },
    stream::End,
};

#[test]
fn the_end_of_the_body_is_found_in_every_framing() {
    let events = [ROLE, WORD, STOP, DONE].concat();
    let counted = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{events}",
        events.len()
    );
    let (answer, reusable) = whole(&[counted.as_str()]);
    assert_eq!((answer.outcome, reusable), (Outcome::Ok, true));
    let until_close = format!("{UNTIL_CLOSE}{events}");
    assert_eq!(closed(&[until_close.as_str()]).outcome, Outcome::Ok);
    // Without [DONE] the close is the regular end, and the finish reason counts.
    let finished = [UNTIL_CLOSE, WORD, STOP].concat();
    assert_eq!(closed(&[finished.as_str()]).outcome, Outcome::Ok);
    let fancy = format!(
        "{SSE}{:X};a=\"b\"\r\n{events}\r\n000;x\r\nTrailer: 1\r\n\r\n",
        events.len()
    );
    let (answer, reusable) = whole(&[fancy.as_str()]);
    assert_eq!((answer.outcome, reusable), (Outcome::Ok, true));
    let bare = format!("{SSE}{:x}\n{events}\n0\n\n", events.len()).replace("\r\n", "\n");
    assert_eq!(whole(&[bare.as_str()]).0.outcome, Outcome::Ok);
}

#[test]
fn a_connection_is_reusable_only_when_both_sides_can_tell() {
    let reusable = |head: &str, tail: &str| {
        let head = SSE.replacen("HTTP/1.1 200 OK\r\n", head, 1);
        whole(&[head, chunk(WORD), chunk(DONE), format!("{END}{tail}")]).1
    };
    assert!(reusable("HTTP/1.1 200 OK\r\n", ""));
    assert!(reusable("HTTP/1.1 200\r\nConnection: keep-alive\r\n", ""));
    assert!(!reusable("HTTP/1.1 200 OK\r\nConnection: Close\r\n", ""));
    assert!(!reusable("HTTP/1.1 200 OK\r\nConnection: x, close\r\n", ""));
    assert!(!reusable(
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
        ""
    ));
    assert!(!reusable("HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n"));
}

#[test]
fn interim_answers_are_passed_over() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let mut reads = vec![interim.to_owned()];
    reads.extend(stream(&[WORD, DONE]));
    let mut reply = Reply::new();
    assert_eq!(feed(&mut reply, &reads), Feed::Over { reusable: true });
    assert_eq!(
        (reply.status(), reply.first_byte()),
        (Some(200), Some(ms(2)))
    );
    assert_eq!(reply.conclude(End::Complete).outcome, Outcome::Ok);
}

#[test]
fn a_long_head_is_read_and_an_endless_one_refused() {
    let field = format!("x: {}\r\n", "y".repeat(300));
    let many = field.repeat(150);
    let head = SSE.replacen("\r\n", &format!("\r\n{many}"), 1);
    let (answer, _) = whole(&[head, chunk(WORD), chunk(DONE), END.to_owned()]);
    assert_eq!(answer.outcome, Outcome::Ok);
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(20_000));
    let (answer, reusable) = whole(&[endless.as_str()]);
    assert_eq!((answer.outcome, reusable), (Outcome::HttpError, false));
    assert!(error(&answer).contains("longer than 64 KiB"), "{answer:?}");
}

#[test]
fn what_cannot_be_understood_is_said() {
    for (bytes, why) in [
        ("SSH-2.0-OpenSSH_9\r\n", "not HTTP/1.x"),
        ("HTTP/2 200\r\n\r\n", "not HTTP/1.x"),
        ("\x15\x03\x01", "not HTTP/1.x"),
        ("HTTP/1.1 banana\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no length"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "no length",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
            "two different",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "both",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "\"gzip, chunked\" is not supported",
        ),
        ("HTTP/1.1 101 Upgrade\r\n\r\n", "another protocol"),
    ] {
        let (answer, reusable) = whole(&[bytes]);
        assert_eq!(answer.outcome, Outcome::HttpError, "{bytes:?}");
        assert!(error(&answer).contains(why), "{bytes:?}: {answer:?}");
        assert!(!reusable);
    }
}

#[test]
fn broken_chunks_break_the_answer() {
    for (tail, why) in [
        ("zz\r\n", "size is malformed: \"zz\""),
        ("\r\n", "size is malformed"),
        ("10000000000000000\r\n", "size is malformed"),
        ("1\r\nab\r\n", "longer than its size"),
    ] {
        let (answer, reusable) = whole(&[SSE, &chunk(WORD), tail]);
        assert_eq!((answer.outcome, reusable), (Outcome::Truncated, false));
        assert!(error(&answer).contains(why), "{tail:?}: {answer:?}");
        // What was complete before stays so.
        let (answer, reusable) = whole(&[SSE, &chunk(WORD), &chunk(DONE), tail]);
        assert_eq!((answer.outcome, reusable), (Outcome::Ok, false));
    }
    let endless = "1;".to_owned() + &"x".repeat(5_000);
    assert!(error(&whole(&[SSE, &endless]).0).contains("size is malformed"));
    let trailers = "x: y\r\n".repeat(20_000);
    assert!(error(&whole(&[SSE, "0\r\n", &trailers]).0).contains("trailers are longer"));
    // The largest size there is needs no memory.
    let mut reply = Reply::new();
    assert_eq!(
        feed(&mut reply, &[SSE, "ffffffffffffffff\r\n", WORD]),
        Feed::More
    );
    assert_eq!(reply.conclude(End::Cancelled).chunks.len(), 1);
}

#[test]
fn an_encoded_answer_is_refused_by_name() {
    let head = |status: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x08x")
    };
    let (answer, reusable) = whole(&[head("200 OK")]);
    assert_eq!((answer.outcome, reusable), (Outcome::StreamError, false));
    assert!(
        error(&answer).contains("Content-Encoding gzip"),
        "{answer:?}"
    );
    let (answer, reusable) = whole(&[head("500 Oops")]);
    assert_eq!((answer.outcome, reusable), (Outcome::HttpError, true));
    assert_eq!(
        error(&answer),
        "HTTP 500 Internal Server Error: its body is encoded as gzip"
    );
    let identity = SSE.replacen("\r\n", "\r\ncontent-encoding: Identity\r\n", 1);
    let (answer, _) = whole(&[identity, chunk(WORD), chunk(DONE), END.to_owned()]);
    assert_eq!(answer.outcome, Outcome::Ok);
}

#[test]
fn statuses_without_a_body_end_with_their_head() {
    for status in ["204 No Content", "304 Not Modified"] {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 10\r\n\r\n");
        let (answer, reusable) = whole(&[head]);
        assert_eq!((answer.outcome, reusable), (Outcome::HttpError, true));
        assert_eq!(error(&answer), format!("HTTP {status}"));
    }
}

#[test]
fn a_refusal_is_one_however_its_body_ends() {
    let long = format!("HTTP/1.1 429 Slow Down\r\n\r\n{}", "é".repeat(40_000));
    let (answer, reusable) = whole(&[long.as_str()]);
    assert_eq!((answer.outcome, reusable), (Outcome::HttpError, false));
    assert_eq!(error(&answer).chars().count(), 300);
    assert!(error(&answer).starts_with("HTTP 429 Too Many Requests: éé"));

    let part = "HTTP/1.1 599 Odd\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\ncontent-length: 9\r\n\r\nhalf";
    let expected = "HTTP 599 Odd (Retry-After: Wed, 21 Oct 2015 07:28:00 GMT): half";
    assert_eq!(error(&closed(&[part])), expected);
    let mut reply = Reply::new();
    feed(&mut reply, &[part]);
    let answer = reply.conclude(End::TimedOut(Duration::from_secs(1)));
    assert_eq!(
        (answer.outcome, error(&answer)),
        (Outcome::HttpError, expected)
    );
}

#[test]
fn no_answer_is_an_http_error() {
    let nothing = closed::<&str>(&[]);
    assert_eq!(
        (nothing.outcome, nothing.status),
        (Outcome::HttpError, None)
    );
    assert_eq!(
        error(&nothing),
        "no answer: the server closed the connection"
    );
    let begun = closed(&["HTTP/1.1 200 O"]);
    assert_eq!(begun.outcome, Outcome::HttpError);
    assert!(error(&begun).contains("inside the head"), "{begun:?}");
    let reset = Reply::new().conclude(End::Broken("connection reset".to_owned()));
    assert_eq!(reset.outcome, Outcome::HttpError);
    let mut reply = Reply::new();
    feed(&mut reply, &["HTTP/1.1 2"]);
    assert_eq!(reply.conclude(End::Cancelled).outcome, Outcome::Cancelled);
}

#[test]
fn json_instead_of_a_stream_is_a_stream_error_with_its_text() {
    let body = "{\"error\":{\"message\":\"no such model\"}}";
    for kind in [
        "Content-Type: application/json; charset=utf-8\r\n",
        "",
        "content-type: text/event-stream\r\n",
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{kind}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let (answer, reusable) = whole(&[head.as_str(), body]);
        assert_eq!((answer.outcome, reusable), (Outcome::StreamError, true));
        assert_eq!(
            error(&answer),
            "the answer is no event stream: no such model"
        );
    }
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<h1>log in</h1>";
    let answer = closed(&[page]);
    assert_eq!(answer.outcome, Outcome::StreamError);
    assert!(error(&answer).contains("<h1>log in</h1>"), "{answer:?}");
}

#[test]
fn a_stream_is_believed_without_its_media_type() {
    for kind in [
        "",
        "content-type: text/plain\r\n",
        "content-type: Text/Event-Stream; charset=utf-8\r\n",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{kind}\r\n");
        let answer = closed(&[head.as_str(), WORD, DONE]);
        assert_eq!(answer.outcome, Outcome::Ok, "{kind}");
    }
}

#[test]
fn bytes_that_are_no_utf8_are_a_stream_error() {
    let mut event = WORD.as_bytes().to_vec();
    let at = WORD.find("a\"}}").unwrap();
    event[at] = 0xff;
    let answer = closed(&[UNTIL_CLOSE.as_bytes(), &event, DONE.as_bytes()]);
    assert_eq!(answer.outcome, Outcome::StreamError);
    assert!(error(&answer).contains("utf-8"), "{answer:?}");
    // Also where nobody looks at the text.
    let event = b"data: {\"id\":\"\xff\",\"choices\":[]}\n\n";
    let answer = closed(&[UNTIL_CLOSE.as_bytes(), event, DONE.as_bytes()]);
    assert_eq!(answer.outcome, Outcome::StreamError);
}

#[test]
fn an_event_of_a_megabyte_is_read_and_an_endless_one_refused() {
    let event = WORD.replace("\"a\"", &format!("\"{}\"", "é".repeat(500_000)));
    let whole_event = chunk(&event);
    let pieces: Vec<&[u8]> = whole_event.as_bytes().chunks(16_000).collect();
    let done = [chunk(DONE), END.to_owned()].concat();
    let mut reads: Vec<&[u8]> = vec![SSE.as_bytes()];
    reads.extend(pieces);
    reads.push(done.as_bytes());
    let (answer, _) = whole(&reads);
    // The event's own chunk takes 63 reads of up to 16 000 bytes, from the second on.
    assert_eq!(
        (answer.outcome, first_output(&answer)),
        (Outcome::Ok, Some(ms(64)))
    );

    let more = "x".repeat(1 << 20);
    let mut reply = Reply::new();
    reply.feed(UNTIL_CLOSE.as_bytes(), read(0));
    reply.feed(b"data: ", read(1));
    let fed: Vec<Feed> = (2..7)
        .map(|at| reply.feed(more.as_bytes(), read(at)))
        .collect();
    assert_eq!(fed[2..4], [Feed::More, Feed::Over { reusable: false }]);
    let answer = reply.conclude(End::Complete);
    assert_eq!(answer.outcome, Outcome::StreamError);
    assert!(
        error(&answer).contains("longer than 4194304 bytes"),
        "{answer:?}"
    );
}

#[test]
fn done_is_known_before_the_end_of_the_message() {
    let mut reply = Reply::new();
    assert_eq!(feed(&mut reply, &[SSE, &chunk(WORD)]), Feed::More);
    assert!(!reply.done());
    assert_eq!(reply.feed(chunk(DONE).as_bytes(), read(3)), Feed::More);
    assert!(reply.done());
    // Whatever follows: after a grace the driver gives up.
    reply.feed(chunk("data: {oops\n\n").as_bytes(), read(4));
    assert_eq!(reply.conclude(End::Stopped).outcome, Outcome::Ok);
}

#[test]
fn nothing_of_an_answer_stays_for_the_next() {
    let mut reply = Reply::new();
    for bytes in [
        "HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno".to_owned(),
        format!("{SSE}5\r\ndata:"),
        format!("{SSE}{}", chunk("data: {bad\n\n")),
        "HTTP/1.1 20".to_owned(),
        format!("{SSE}{}0\r\nx", chunk("\u{feff}event: error\ndata: {}\r")),
    ] {
        reply.feed(bytes.as_bytes(), read(1));
        reply.conclude(End::Cancelled);
        reply.reset();
        let fresh = played(&[ROLE, WORD, USAGE, DONE]);
        assert_eq!(
            feed(&mut reply, &stream(&[ROLE, WORD, USAGE, DONE])),
            Feed::Over { reusable: true }
        );
        assert_eq!(reply.conclude(End::Complete), fresh, "after {bytes:?}");
        reply.reset();
    }
}

proptest! {
    #[test]
    fn any_cut_of_any_answer_gives_the_same(
        head in 0_usize..6,
        order in prop::collection::vec((0_usize..12, any::<bool>()), 0..14),
        cuts in prop::collection::vec(0_usize..2_000, 0..12),
        ended in any::<bool>(),
    ) {
        let heads = [
            SSE,
            UNTIL_CLOSE,
            "HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n",
            "HTTP/1.1 503 x\r\nretry-after: 3\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n",
            "\r\nHTTP/1.1 204 x\r\n\r\n",
        ];
        let four = WORD.replace("}]}", "}],\"usage\":{\"completion_tokens\":4,\"prompt_tokens\":1}}");
        let parts = [
            ROLE, WORD, STOP, USAGE, DONE, ": ping\r\n\r\n", "data: {bad\n\n", "event: error\n",
            "data: {\"error\":\"é\"}\r\n\r\n", "\r", "data:\r\n", &four,
        ];
        let mut text = heads[head].to_owned();
        let chunked = heads[head].contains("chunked");
        for (part, alone) in order {
            let event = parts[part];
            text += &if chunked && alone { chunk(event) } else { event.to_owned() };
        }
        if ended {
            text += END;
        }
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(timeless(closed(&pieces)), timeless(closed(&[bytes])));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(timeless(closed(&single)), timeless(closed(&[bytes])));
    }
}
