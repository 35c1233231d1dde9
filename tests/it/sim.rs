//! The simulated engine over raw sockets: bytes on the wire against the recorded truth.
//!
//! Times are checked in the model's virtual time, which is exact; never against a wall clock.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use kitt_action::{
    engine::SimSpec,
    sim::{self, Outcome, RecordLine, RequestTruth, SimError, SimServer, Truth},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The server has threads of its own: the test's runtime only has to start and stop it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub fn start(spec: SimSpec) -> SimServer {
    block_on(sim::start(spec, LOOPBACK, 0, None)).unwrap()
}

pub fn stop(server: SimServer) -> Truth {
    block_on(server.stop()).unwrap()
}

/// No noise, and fast: prefill 2 ms + 10 µs a token, decode 1 ms + 0.5 ms a sequence.
pub fn exact() -> SimSpec {
    SimSpec {
        prefill_base_ms: 2.0,
        prefill_per_token_ms: 0.01,
        decode_base_ms: 1.0,
        decode_per_sequence_ms: 0.5,
        noise_cv: 0.0,
        run_cv: 0.0,
        ..SimSpec::default()
    }
}

/// A connection with whatever has been read of it.
struct Client {
    reader: BufReader<TcpStream>,
}

/// An answer's head and body; `complete` is false when the connection ended inside the body.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    /// The chunks of a chunked body, one piece otherwise.
    chunks: Vec<String>,
    complete: bool,
}

impl Client {
    fn connect(server: &SimServer) -> Self {
        let url = server.url();
        let address = (url.host_str().unwrap(), url.port().unwrap());
        let socket = TcpStream::connect(address).unwrap();
        // Only a hung server is this slow; no assertion depends on it.
        socket
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        Self {
            reader: BufReader::new(socket),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line).unwrap_or(0);
        (read > 0).then(|| line.trim_end().to_owned())
    }

    fn head(&mut self) -> (u16, String) {
        let status = self.line().expect("an answer");
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = String::new();
        loop {
            let line = self.line().expect("a whole head");
            if line.is_empty() {
                return (status, headers);
            }
            headers.push_str(&line.to_ascii_lowercase());
            headers.push('\n');
        }
    }

    /// The next chunk; an empty one ends the body, `None` means that the connection ended.
    fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let mut bytes = vec![0; size + 2];
        self.reader.read_exact(&mut bytes).ok()?;
        bytes.truncate(size);
        Some(String::from_utf8(bytes).unwrap())
    }

    fn answer(&mut self) -> Answer {
        let (status, headers) = self.head();
        let mut answer = Answer {
            status,
            headers,
            chunks: Vec::new(),
            complete: false,
        };
        if answer.headers.contains("transfer-encoding: chunked") {
            while let Some(chunk) = self.chunk() {
                if chunk.is_empty() {
                    answer.complete = true;
                    break;
                }
                answer.chunks.push(chunk);
            }
        } else {
            let length = answer.header("content-length").parse().unwrap();
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body).unwrap();
            answer.chunks.push(String::from_utf8(body).unwrap());
            answer.complete = true;
        }
        answer
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            (found == name).then_some(value)
        });
        value.unwrap_or_else(|| panic!("no {name} in {}", self.headers))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.chunks.concat()).unwrap()
    }

    /// The events of a stream, `[DONE]` left out.
    fn events(&self) -> Vec<Value> {
        let done = "data: [DONE]\n\n";
        let events = self.chunks.iter().filter(|chunk| *chunk != done);
        events
            .map(|chunk| {
                let data = chunk.strip_prefix("data: ").unwrap();
                serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap()
            })
            .collect()
    }

    fn done(&self) -> bool {
        self.complete
            && self
                .chunks
                .last()
                .is_some_and(|last| last == "data: [DONE]\n\n")
    }

    /// The texts of the content events.
    fn tokens(&self) -> Vec<String> {
        let events = self.events();
        let texts = events.iter().filter_map(|event| {
            let choice = &event["choices"][0];
            let text = choice["delta"]["content"].as_str();
            text.or(choice["text"].as_str())
                .filter(|text| !text.is_empty())
        });
        texts.map(str::to_owned).collect()
    }

    fn finish_reason(&self) -> Option<String> {
        let events = self.events();
        let reasons = events.iter().filter_map(|event| {
            let reason = event["choices"][0]["finish_reason"].as_str();
            reason.map(str::to_owned)
        });
        let reasons: Vec<String> = reasons.collect();
        assert!(reasons.len() <= 1, "{reasons:?}");
        reasons.into_iter().next()
    }
}

fn message(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: sim\r\ncontent-length: {length}\r\n\r\n{body}")
        .into()
}

fn call(server: &SimServer, method: &str, path: &str, body: &str) -> Answer {
    let mut client = Client::connect(server);
    client.send(&message(method, path, body));
    client.answer()
}

fn get(server: &SimServer, path: &str) -> Answer {
    call(server, "GET", path, "")
}

/// A streamed chat request of `words` words for exactly `tokens` tokens.
fn chat(words: usize, tokens: u32) -> Value {
    json!({"model": "sim", "stream": true, "max_tokens": tokens, "ignore_eos": true,
        "messages": [{"role": "user", "content": vec!["word"; words].join(" ")}]})
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn post(server: &SimServer, body: &Value) -> Answer {
    call(server, "POST", "/v1/chat/completions", &body.to_string())
}

fn only(truth: &Truth) -> &RequestTruth {
    let [request] = truth.requests.as_slice() else {
        panic!("{} requests", truth.requests.len());
    };
    request
}

pub fn metric(server: &SimServer, name: &str) -> u64 {
    let page = get(server, "/metrics").chunks.concat();
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("kitt_sim:{name}{{")))
        .unwrap_or_else(|| panic!("no {name} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn wait_for(server: &SimServer, name: &str, value: u64) {
    while metric(server, name) != value {
        std::thread::yield_now();
    }
}

#[test]
fn a_chat_stream_on_the_wire() {
    let server = start(exact());
    let body = with(
        chat(12, 5),
        "stream_options",
        json!({"include_usage": true}),
    );
    let answer = post(&server, &body);
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("content-type")
            .starts_with("text/event-stream")
    );
    assert!(answer.done());
    // Role, five tokens, usage, and the end: one chunk each.
    assert_eq!(answer.chunks.len(), 8, "{answer:?}");
    let events = answer.events();
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(answer.tokens().len(), 5);
    assert_eq!(answer.finish_reason().as_deref(), Some("length"));
    assert_eq!(events[5]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[6]["choices"], json!([]));
    assert_eq!(
        events[6]["usage"],
        json!({"prompt_tokens": 12, "total_tokens": 17, "completion_tokens": 5})
    );
    let truth = stop(server);
    let request = only(&truth);
    assert_eq!(request.outcome, Outcome::Ok);
    assert_eq!((request.prompt_tokens, request.output_tokens), (12, 5));
    assert_eq!((request.due_ns.len(), request.sent_ns.len()), (5, 5));
    for (due, sent) in request.due_ns.iter().zip(&request.sent_ns) {
        assert!(sent >= due, "a token left before it was due");
    }
}

#[test]
fn without_include_usage_there_is_none() {
    let server = start(exact());
    let answer = post(&server, &chat(3, 2));
    assert!(answer.done());
    assert_eq!(answer.chunks.len(), 4);
    assert!(
        answer
            .events()
            .iter()
            .all(|event| event.get("usage").is_none())
    );
}

#[test]
fn a_request_alone_has_the_closed_form_times() {
    // Prefill 2 + 0.01·100 = 3 ms; decode 1.5 ms; with a slowdown of 8 % 1.62 ms.
    for (slowdown, decode_ns) in [(0.0, 1_500_000), (0.08, 1_620_000)] {
        let server = start(SimSpec {
            slowdown,
            ..exact()
        });
        for _ in 0..3 {
            assert!(post(&server, &chat(100, 20)).done());
        }
        let truth = stop(server);
        assert_eq!(truth.requests.len(), 3);
        for request in &truth.requests {
            // The first token comes from the prefill, which has no slowdown.
            assert_eq!(request.ttft_due(), Some(Duration::from_millis(3)));
            assert_eq!(request.tpot_due(), Some(Duration::from_nanos(decode_ns)));
            let gaps = request.due_ns.windows(2).map(|pair| pair[1] - pair[0]);
            assert_eq!(gaps.collect::<Vec<_>>(), [decode_ns; 19]);
            assert_eq!(request.admitted_ns, Some(request.arrived_ns));
            assert_eq!(request.prefill_end_ns, Some(request.arrived_ns + 3_000_000));
        }
    }
}

#[test]
fn the_decode_grows_with_the_batch() {
    let server = start(exact());
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
    let body = chat(10, 100_000).to_string();
    for client in &mut clients {
        client.send(&message("POST", "/v1/chat/completions", &body));
        client.head();
    }
    wait_for(&server, "num_requests_running", 4);
    // Three more tokens of one of them: at least two whole steps of four.
    let generated = metric(&server, "generation_tokens_total");
    while metric(&server, "generation_tokens_total") < generated + 12 {
        clients[0].chunk().unwrap();
    }
    let truth = stop(server);
    assert_eq!(truth.requests.len(), 4);
    for request in &truth.requests {
        assert_eq!(request.outcome, Outcome::Stopped);
        let last_two = &request.due_ns[request.due_ns.len() - 2..];
        // 1 + 4 · 0.5 ms.
        assert_eq!(last_two[1] - last_two[0], 3_000_000);
    }
}

#[test]
fn beyond_max_batch_requests_wait_until_a_place_is_free() {
    let server = start(SimSpec {
        max_batch: 1,
        ..exact()
    });
    let mut first = Client::connect(&server);
    let endless = chat(10, 100_000).to_string();
    first.send(&message("POST", "/v1/chat/completions", &endless));
    first.head();
    let mut second = Client::connect(&server);
    let body = chat(10, 3).to_string();
    second.send(&message("POST", "/v1/chat/completions", &body));
    wait_for(&server, "num_requests_waiting", 1);
    assert_eq!(metric(&server, "num_requests_running"), 1);
    // A client that goes away frees its place.
    drop(first);
    assert!(second.answer().done());
    let truth = stop(server);
    let [left, kept] = truth.requests.as_slice() else {
        panic!("two requests");
    };
    assert_eq!(left.outcome, Outcome::ClientGone);
    assert_eq!(kept.outcome, Outcome::Ok);
    assert!(kept.admitted_ns.unwrap() >= *left.due_ns.last().unwrap());
    assert!(kept.admitted_ns.unwrap() > kept.arrived_ns);
    assert_eq!(kept.tpot_due(), Some(Duration::from_micros(1_500)));
}

#[test]
fn an_answer_that_is_not_streamed() {
    let server = start(exact());
    let body = with(chat(4, 6), "stream", json!(false));
    let answer = post(&server, &body).json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 6);
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text.split_whitespace().count(), 6);
    let truth = stop(server);
    let request = only(&truth);
    assert!(!request.streamed);
    assert_eq!((request.due_ns.len(), request.sent_ns.len()), (6, 1));
}

#[test]
fn completions_stream_text_without_a_role() {
    let server = start(exact());
    let body = json!({"model": "sim", "prompt": "a b c", "stream": true, "max_tokens": 4,
        "ignore_eos": true, "stream_options": {"include_usage": true}});
    let answer = call(&server, "POST", "/v1/completions", &body.to_string());
    assert!(answer.done());
    assert_eq!(answer.chunks.len(), 6);
    let events = answer.events();
    assert_eq!(events[0]["object"], "text_completion");
    assert_eq!(answer.tokens().len(), 4);
    assert_eq!(events[4]["usage"]["prompt_tokens"], 3);
}

/// Lengths of answers that end by themselves, and their finish reasons.
fn natural(spec: &SimSpec, extras: &[(&str, Value)]) -> Vec<(usize, String)> {
    let server = start(spec.clone());
    let lengths = (0..6).map(|_| {
        let mut body = with(chat(2, 60), "ignore_eos", json!(false));
        for (key, value) in extras {
            body[*key] = value.clone();
        }
        let answer = post(&server, &body);
        assert!(answer.done());
        (answer.tokens().len(), answer.finish_reason().unwrap())
    });
    lengths.collect()
}

#[test]
fn natural_lengths_vary_and_repeat_with_the_seed() {
    let fast = SimSpec {
        prefill_base_ms: 0.0,
        decode_base_ms: 0.1,
        decode_per_sequence_ms: 0.0,
        ..exact()
    };
    let lengths = natural(&fast, &[]);
    assert_eq!(lengths, natural(&fast, &[]));
    let other = SimSpec {
        seed: 1,
        ..fast.clone()
    };
    assert_ne!(lengths, natural(&other, &[]));
    for (length, reason) in &lengths {
        assert_eq!(reason == "stop", *length < 60, "{length} {reason}");
    }
    assert!(lengths.iter().any(|(length, _)| *length < 60));
    // A request's own seed decides alone.
    let seeded = natural(&fast, &[("seed", json!(7))]);
    assert!(
        seeded.iter().all(|length| *length == seeded[0]),
        "{seeded:?}"
    );
    // The end token is not drawn before min_tokens.
    let long = natural(&fast, &[("min_tokens", json!(58))]);
    assert!(long.iter().all(|(length, _)| *length >= 58), "{long:?}");
}

#[test]
fn refusals_are_openai_error_objects() {
    let server = start(exact());
    let chat_path = "/v1/chat/completions";
    let cases = [
        ("POST", chat_path, "{\"messages\":", 400),
        ("POST", chat_path, "", 400),
        ("POST", chat_path, "{\"model\":\"sim\"}", 400),
        ("POST", "/v1/completions", "{\"model\":\"sim\"}", 400),
        (
            "POST",
            chat_path,
            "{\"model\":\"gpt-5\",\"messages\":[{\"content\":\"a\"}]}",
            404,
        ),
        ("POST", "/v2/chat", "{}", 404),
        ("GET", chat_path, "", 405),
        ("POST", "/health", "", 405),
        ("DELETE", "/v1/models", "", 405),
    ];
    for (method, path, body, status) in cases {
        let answer = call(&server, method, path, body);
        assert_eq!(answer.status, status, "{method} {path} {body}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], status);
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(error["type"].is_string());
        if status == 405 {
            let other = if method == "GET" { "post" } else { "get" };
            assert_eq!(answer.header("allow"), other);
        }
    }
    // None of them reached the scheduler.
    assert!(stop(server).requests.is_empty());
}

#[test]
fn a_body_over_the_limit_is_refused_announced_or_not() {
    let server = start(exact());
    let mut announced = Client::connect(&server);
    announced.send(b"POST /v1/completions HTTP/1.1\r\nhost: s\r\ncontent-length: 99999999\r\n\r\n");
    assert_eq!(announced.answer().status, 413);

    let mut chunked = Client::connect(&server);
    let mut head = b"POST /v1/completions HTTP/1.1\r\nhost: s\r\n".to_vec();
    head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    chunked.send(&head);
    let piece = [b"100000\r\n".as_slice(), &vec![b' '; 0x10_0000], b"\r\n"].concat();
    for _ in 0..16 {
        chunked.send(&piece);
    }
    // Exactly one byte more: nothing stays unread, so that the answer cannot be lost to a reset.
    chunked.send(b"1\r\n \r\n");
    assert_eq!(chunked.answer().status, 413);
}

#[test]
fn odd_requests_are_understood() {
    let server = start(exact());
    let bytes = message("POST", "/v1/chat/completions", &chat(3, 2).to_string());

    // Byte by byte.
    let mut client = Client::connect(&server);
    client.reader.get_ref().set_nodelay(true).unwrap();
    for byte in &bytes {
        client.send(std::slice::from_ref(byte));
    }
    assert!(client.answer().done());
    // Two more on the same connection, sent together.
    client.send(&[bytes.clone(), bytes].concat());
    assert!(client.answer().done());
    assert!(client.answer().done());

    // A chunked body, unknown keys, a byte order of keys nobody uses, text of many bytes.
    let body = with(chat(1, 2), "nonsense", json!({"a": [[[1]]]}));
    let body = with(body, "messages", json!([{"content": "größe 日本 x"}])).to_string();
    let (left, right) = body.split_at(20);
    let mut head = "POST /v1/chat/completions HTTP/1.1\r\nhost: s\r\n".to_owned();
    head.push_str("transfer-encoding: chunked\r\n\r\n");
    let parts = [left, right, ""].map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
    head.push_str(&parts.concat());
    client.send(head.as_bytes());
    assert!(client.answer().done());
    let truth = stop(server);
    let prompts: Vec<u32> = truth.requests.iter().map(|r| r.prompt_tokens).collect();
    assert_eq!(prompts, [3, 3, 3, 3]);
}

#[test]
fn garbage_closes_the_connection_and_nothing_else() {
    let server = start(exact());
    let mut client = Client::connect(&server);
    client.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n");
    let mut rest = Vec::new();
    client.reader.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"));
    assert_eq!(get(&server, "/health").status, 200);
}

#[test]
fn models_tokenize_and_unknown_model_agree_on_the_name() {
    let server = start(SimSpec {
        model: "org/some model".to_owned(),
        ..exact()
    });
    let models = get(&server, "/v1/models").json();
    assert_eq!(models["data"][0]["id"], "org/some model");
    let body = json!({"model": "org/some model", "prompt": "one two  three"});
    let answer = call(&server, "POST", "/tokenize", &body.to_string()).json();
    assert_eq!(answer["count"], 3);
    assert_eq!(answer["tokens"].as_array().unwrap().len(), 3);
    assert_eq!(post(&server, &chat(1, 1)).status, 404);
}

#[test]
fn health_is_503_until_the_model_is_loaded() {
    let loading = start(SimSpec {
        startup_ms: 3_600_000.0,
        ..exact()
    });
    for answer in [
        get(&loading, "/health"),
        get(&loading, "/v1/models"),
        post(&loading, &chat(1, 1)),
    ] {
        assert_eq!(answer.status, 503);
        assert_eq!(answer.json()["error"]["code"], 503);
    }
    assert_eq!(get(&loading, "/metrics").status, 200);

    let server = start(SimSpec {
        startup_ms: 150.0,
        ..exact()
    });
    while get(&server, "/health").status != 200 {
        std::thread::yield_now();
    }
    assert!(server.started().elapsed() >= Duration::from_millis(150));
    assert_eq!(get(&server, "/health").json()["status"], "ok");
}

#[test]
fn metrics_count_what_happened() {
    let server = start(exact());
    assert!(post(&server, &chat(7, 4)).done());
    assert!(post(&server, &chat(3, 2)).done());
    wait_for(&server, "num_requests_running", 0);
    assert_eq!(metric(&server, "num_requests_waiting"), 0);
    assert_eq!(metric(&server, "prompt_tokens_total"), 10);
    assert_eq!(metric(&server, "generation_tokens_total"), 6);
    assert_eq!(metric(&server, "request_success_total"), 2);
    assert_eq!(metric(&server, "time_to_first_token_seconds_count"), 2);
    assert_eq!(metric(&server, "inter_token_latency_seconds_count"), 4);
    assert_eq!(metric(&server, "e2e_request_latency_seconds_count"), 2);
    let page = get(&server, "/metrics");
    assert!(page.header("content-type").starts_with("text/plain"));
}

#[test]
fn the_error_rate_is_a_seeded_share_of_500s() {
    let statuses = |error_rate| {
        let server = start(SimSpec {
            error_rate,
            ..exact()
        });
        let statuses: Vec<u16> = (0..24).map(|_| post(&server, &chat(1, 1)).status).collect();
        let truth = stop(server);
        let errors = truth
            .requests
            .iter()
            .filter(|r| r.outcome == Outcome::Error);
        let failed = statuses.iter().filter(|status| **status == 500);
        assert_eq!(errors.count(), failed.count());
        statuses
    };
    let half = statuses(0.5);
    assert!(half.contains(&200) && half.contains(&500), "{half:?}");
    assert_eq!(half, statuses(0.5));
    assert_eq!(statuses(1.0), [500; 24]);
}

#[test]
fn truncated_streams_end_half_way_without_a_finish_or_an_end() {
    let server = start(SimSpec {
        truncate_rate: 1.0,
        ..exact()
    });
    for (asked, sent) in [(10, 5), (7, 4), (1, 1)] {
        let answer = post(&server, &chat(1, asked));
        assert_eq!(answer.status, 200);
        assert!(!answer.complete && !answer.done());
        assert_eq!(answer.tokens().len(), sent);
        assert_eq!(answer.finish_reason(), None);
    }
    // What is not streamed stays whole.
    let whole = post(&server, &with(chat(1, 4), "stream", json!(false)));
    assert_eq!(whole.json()["usage"]["completion_tokens"], 4);
    let outcomes: Vec<Outcome> = stop(server).requests.iter().map(|r| r.outcome).collect();
    let cut = Outcome::Truncated;
    assert_eq!(outcomes, [cut, cut, cut, Outcome::Ok]);
}

fn record_lines(path: &PathBuf) -> Vec<RecordLine> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.collect()
}

#[test]
fn the_record_is_written_as_it_goes_and_equals_the_truth() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("truth.jsonl");
    let spec = exact();
    let server = block_on(sim::start(spec.clone(), LOOPBACK, 0, Some(path.clone()))).unwrap();
    assert_eq!(record_lines(&path).len(), 1);
    for finished in 1..=3 {
        assert!(post(&server, &chat(5, 3)).done());
        assert_eq!(record_lines(&path).len(), 1 + finished);
    }
    // One that is still running when the server stops.
    let mut running = Client::connect(&server);
    let body = chat(1, 100_000).to_string();
    running.send(&message("POST", "/v1/chat/completions", &body));
    running.head();
    running.chunk().unwrap();
    running.chunk().unwrap();
    let truth = stop(server);
    while let Some(chunk) = running.chunk() {
        assert!(!chunk.is_empty(), "a cut stream has no end");
    }
    let mut lines = record_lines(&path).into_iter();
    let Some(RecordLine::Server(header)) = lines.next() else {
        panic!("the first line is the header");
    };
    assert_eq!(header.spec, spec);
    assert_eq!(header, truth.server);
    let requests: Vec<RequestTruth> = lines
        .map(|line| match line {
            RecordLine::Request(request) => request,
            RecordLine::Server(_) => panic!("a second header"),
        })
        .collect();
    assert_eq!(requests, truth.requests);
    assert_eq!(requests[3].outcome, Outcome::Stopped);
}

#[test]
fn a_server_that_cannot_run_says_why() {
    let no_batch = SimSpec {
        max_batch: 0,
        ..exact()
    };
    let error = block_on(sim::start(no_batch, LOOPBACK, 0, None)).unwrap_err();
    assert!(
        matches!(
            error,
            SimError::Parameter {
                key: "max_batch",
                ..
            }
        ),
        "{error}"
    );

    let server = start(exact());
    let port = server.url().port().unwrap();
    let error = block_on(sim::start(exact(), LOOPBACK, port, None)).unwrap_err();
    assert!(matches!(error, SimError::Listen { .. }), "{error}");

    let nowhere = Some(PathBuf::from("/nonexistent/truth.jsonl"));
    let error = block_on(sim::start(exact(), LOOPBACK, 0, nowhere)).unwrap_err();
    assert!(matches!(error, SimError::Record { .. }), "{error}");
}

#[test]
fn a_dropped_server_is_gone() {
    let server = start(exact());
    let mut client = Client::connect(&server);
    client.send(&message("GET", "/health", ""));
    assert_eq!(client.answer().status, 200);
    drop(server);
    // The connection was kept alive; now it has ended.
    let mut rest = Vec::new();
    assert_eq!(client.reader.read_to_end(&mut rest).unwrap_or(0), 0);
}

#[test]
fn serve_until_returns_the_truth_when_cancelled() {
    let cancel = CancellationToken::new();
    let truth = block_on(async {
        let serving = tokio::spawn(sim::serve_until(exact(), LOOPBACK, 0, None, cancel.clone()));
        cancel.cancel();
        serving.await.unwrap()
    });
    assert_eq!(truth.unwrap().server.spec, exact());
}
