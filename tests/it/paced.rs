//! The paced simulator over raw sockets: bytes on the wire, and its truth against the model.
//!
//! Lower bounds of times are exact: nothing may leave early. Upper bounds are only there to
//! catch a wrong unit; this machine may be busy.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use kitt_action::sim::paced::{self, PacedRequest, PacedServer, PacedSpec, RoleChunk, Stall};
use serde_json::{Value, json};

const MS: u64 = 1_000_000;
const GENEROUS: u64 = 5_000 * MS;

fn spec() -> PacedSpec {
    PacedSpec {
        ttft: Duration::from_millis(4),
        itl: Duration::from_millis(2),
        ..PacedSpec::default()
    }
}

struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    fn new(server: &PacedServer) -> Self {
        let address = server.url().replace("http://", "");
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self {
            reader: BufReader::new(stream),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    fn post(&mut self, path: &str, body: &Value) {
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(format!("{head}{body}").as_bytes());
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line
    }

    /// Status and length of the body, if it is not chunked.
    fn head(&mut self) -> (u16, Option<usize>) {
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut length = None;
        loop {
            let line = self.line();
            if line == "\r\n" {
                return (status, length);
            }
            length = length.or(line
                .strip_prefix("content-length: ")
                .map(|n| n.trim().parse().unwrap()));
        }
    }

    /// The events of a chunked answer up to its terminator: each chunk is one whole event.
    fn events(&mut self) -> Vec<String> {
        assert_eq!(self.head(), (200, None));
        let mut events = Vec::new();
        loop {
            let length = usize::from_str_radix(self.line().trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            self.reader.read_exact(&mut chunk).unwrap();
            if length == 0 {
                return events;
            }
            let text = String::from_utf8(chunk).unwrap();
            let event = text
                .strip_prefix("data: ")
                .unwrap()
                .strip_suffix("\n\n\r\n")
                .unwrap();
            events.push(event.to_owned());
        }
    }
}

fn chat(number: u64, tokens: u32) -> Value {
    json!({
        "model": "paced",
        "messages": [{"role": "user", "content": format!("#{number} hello")}],
        "max_tokens": tokens, "stream": true, "stream_options": {"include_usage": true},
    })
}

fn only(requests: &[PacedRequest]) -> &PacedRequest {
    assert_eq!(requests.len(), 1, "{requests:?}");
    &requests[0]
}

#[test]
fn a_chat_has_role_tokens_usage_and_end() {
    let server = paced::start(spec()).unwrap();
    let mut client = Client::new(&server);
    client.post("/v1/chat/completions", &chat(3, 5));
    let events = client.events();
    assert_eq!(events.last().unwrap(), "[DONE]");
    let parsed: Vec<Value> = events[..7]
        .iter()
        .map(|e| serde_json::from_str(e).unwrap())
        .collect();
    assert_eq!(events.len(), 8);
    assert_eq!(parsed[0]["choices"][0]["delta"]["role"], "assistant");
    for (at, token) in parsed[1..6].iter().enumerate() {
        let choice = &token["choices"][0];
        assert!(!choice["delta"]["content"].as_str().unwrap().is_empty());
        let finish = if at == 4 {
            json!("length")
        } else {
            Value::Null
        };
        assert_eq!(choice["finish_reason"], finish);
    }
    assert_eq!(parsed[6]["usage"]["completion_tokens"], 5);

    let truth = server.stop().unwrap();
    let request = only(&truth.requests);
    assert_eq!(
        (request.marker, request.tokens, request.complete),
        (Some(3), 5, true)
    );
    assert_eq!((truth.served, truth.unfinished, truth.tokens), (1, 0, 5));
    assert_eq!(request.kernel_stamped, cfg!(target_os = "linux"));
}

#[test]
fn nothing_leaves_early_and_lateness_does_not_add_up() {
    let server = paced::start(spec()).unwrap();
    let before = server.started().elapsed();
    let mut clients: Vec<Client> = (0..8).map(|_| Client::new(&server)).collect();
    // Two rounds over the same connections.
    for round in 0..2 {
        for (at, client) in clients.iter_mut().enumerate() {
            client.post("/v1/chat/completions", &chat(round * 8 + at as u64, 20));
        }
        for client in &mut clients {
            assert_eq!(client.events().len(), 23);
        }
    }
    let after = server.started().elapsed();
    let truth = server.stop().unwrap();
    let mut markers: Vec<u64> = truth
        .requests
        .iter()
        .map(|one| one.marker.unwrap())
        .collect();
    markers.sort_unstable();
    assert_eq!(markers, (0..16).collect::<Vec<_>>());
    for request in &truth.requests {
        assert!(u128::from(request.arrived_ns) >= before.as_nanos());
        assert!(u128::from(*request.sent_ns.last().unwrap()) <= after.as_nanos());
        assert_eq!(request.sent_ns.len(), 20);
        for (k, sent) in request.sent_ns.iter().enumerate() {
            let due = request.arrived_ns + 4 * MS + k as u64 * 2 * MS;
            assert!(*sent >= due, "token {k} left {} ns early", due - sent);
            assert!(*sent <= due + GENEROUS);
        }
        // The role chunk does not wait for the first token.
        assert!(request.role_ns.unwrap() < request.sent_ns[0]);
    }
    assert!(truth.lateness.unwrap().p50_ns < GENEROUS as f64);
}

#[test]
fn a_burst_is_one_write_of_many_events() {
    let spec = PacedSpec {
        ttft: Duration::ZERO,
        itl: Duration::ZERO,
        burst: NonZeroU32::new(16).unwrap(),
        tokens: NonZeroU32::new(100),
        role: RoleChunk::None,
        ..PacedSpec::default()
    };
    let server = paced::start(spec).unwrap();
    let mut client = Client::new(&server);
    let body = json!({"prompt": "#8 a", "max_tokens": 5, "stream": true});
    client.post("/v1/completions", &body);
    let events = client.events();
    // No usage: it was not asked for. 100 tokens and the end.
    assert_eq!(events.len(), 101);
    assert!(events[0].contains("\"text\":"));
    let truth = server.stop().unwrap();
    // ceil(100 / 16) = 7.
    assert_eq!(only(&truth.requests).sent_ns.len(), 7);
    assert_eq!((truth.tokens, truth.lateness), (100, None));
}

#[test]
fn a_client_that_does_not_read_is_waited_for() {
    let spec = PacedSpec {
        ttft: Duration::ZERO,
        itl: Duration::ZERO,
        burst: NonZeroU32::new(64).unwrap(),
        ..PacedSpec::default()
    };
    let server = paced::start(spec).unwrap();
    let (mut slow, mut other) = (Client::new(&server), Client::new(&server));
    // 100,000 events of 200 bytes are more than the sockets of both sides hold.
    slow.post("/v1/chat/completions", &chat(1, 100_000));
    // The other one is served meanwhile.
    other.post("/v1/chat/completions", &chat(2, 3));
    assert_eq!(other.events().len(), 6);
    assert_eq!(slow.events().len(), 100_003);
    let truth = server.stop().unwrap();
    let of = |marker| {
        truth
            .requests
            .iter()
            .find(|one| one.marker == Some(marker))
            .unwrap()
    };
    assert!(of(1).held_up > 0 && of(1).complete);
    assert_eq!(of(2).held_up, 0);
}

#[test]
fn a_stall_stops_every_stream() {
    let stall = Stall {
        after: Duration::from_millis(9),
        length: Duration::from_millis(120),
    };
    let server = paced::start(PacedSpec {
        stall: Some(stall),
        ..spec()
    })
    .unwrap();
    let mut client = Client::new(&server);
    client.post("/v1/chat/completions", &chat(0, 10));
    client.events();
    let truth = server.stop().unwrap();
    let request = only(&truth.requests);
    // Due after 4, 6, 8 ms; the next would be after 10 ms and is after 130.
    assert!(request.sent_ns[3] >= request.arrived_ns + 130 * MS);
    // Each later gap is an ordinary one.
    assert!(request.sent_ns[9] >= request.arrived_ns + 142 * MS);
    assert!(request.gaps_ns().max().unwrap() > 50 * MS);
}

#[test]
fn who_goes_away_is_unfinished_and_totals_need_no_times() {
    let server = paced::start(PacedSpec {
        truth: false,
        ..spec()
    })
    .unwrap();
    let mut whole = Client::new(&server);
    whole.post("/v1/chat/completions", &chat(0, 3));
    whole.events();
    let mut gone = Client::new(&server);
    gone.post("/v1/chat/completions", &chat(1, 1_000));
    gone.head();
    drop(gone);
    let waited = Instant::now();
    // The next answer of the other connection comes after the server has seen the end or later;
    // either way the request stays unfinished.
    whole.post("/v1/chat/completions", &chat(2, 3));
    whole.events();
    assert!(waited.elapsed() < Duration::from_secs(20));
    let truth = server.stop().unwrap();
    assert!(truth.requests.is_empty());
    assert_eq!((truth.served, truth.unfinished), (2, 1));
    assert!(truth.last_sent_ns > truth.first_arrival_ns);
}

#[test]
fn other_questions_are_answered_on_the_same_connection() {
    let server = paced::start(spec()).unwrap();
    let mut client = Client::new(&server);
    // Two at once, and cut in the middle of a head.
    client.send(b"GET /health HTTP/1.1\r\n\r\nGET /v1/mod");
    assert_eq!(client.head(), (200, Some(0)));
    client.send(b"els HTTP/1.1\r\nHost: h\r\n\r\n");
    let (status, length) = client.head();
    let mut body = vec![0; length.unwrap()];
    client.reader.read_exact(&mut body).unwrap();
    let models: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &models["data"][0]["id"]), (200, &json!("paced")));

    client.post(
        "/v1/chat/completions",
        &json!({"model": "other", "messages": []}),
    );
    let (status, length) = client.head();
    assert_eq!(status, 404);
    client
        .reader
        .read_exact(&mut vec![0; length.unwrap()])
        .unwrap();

    // No HTTP: told so, and closed.
    client.send(b"\0\0\r\n\r\n");
    assert_eq!(client.head().0, 400);
    let mut rest = Vec::new();
    client.reader.read_to_end(&mut rest).unwrap();
    assert!(String::from_utf8_lossy(&rest).contains("head is wrong"));
}
