//! The client that everything is compared with: tokio, hyper and `serde_json`, written as well
//! as these allow.
//!
//! One thread, connections opened before the clock, a task per stream, every event parsed into
//! typed structs that borrow from the buffer, times taken in user space as soon as a piece of the
//! body is handed over.

use std::{
    borrow::Cow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use kitt_action::app::calibrate::Sample;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::work::{Done, LoadSpec, nanos, prompt};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Delta<'a>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: u64,
}

/// What the streams share.
struct Shared {
    spec: LoadSpec,
    next: AtomicU32,
    end: Option<Instant>,
    done: Mutex<Done>,
}

/// Runs a closed loop.
pub fn run(spec: &LoadSpec) -> Done {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(closed_loop(spec.clone()))
}

async fn closed_loop(spec: LoadSpec) -> Done {
    let mut connections = Vec::new();
    for _ in 0..spec.concurrency {
        connections.push(connect(&spec.url).await);
    }
    let began = Instant::now();
    let span = spec.seconds.map(Duration::from_secs_f64);
    let shared = Arc::new(Shared {
        next: AtomicU32::new(0),
        end: span.map(|span| began + span),
        done: Mutex::new(Done::default()),
        spec,
    });
    let streams: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(stream(connection, Arc::clone(&shared))))
        .collect();
    for stream in streams {
        stream.await.unwrap();
    }
    let mut done = std::mem::take(&mut *shared.done.lock().unwrap());
    done.wall_s = began.elapsed().as_secs_f64();
    done
}

async fn connect(url: &str) -> SendRequest<Full<Bytes>> {
    let address = url.trim_start_matches("http://");
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// One slot: a request after the other.
async fn stream(mut sender: SendRequest<Full<Bytes>>, shared: Arc<Shared>) {
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let index = shared.next.fetch_add(1, Ordering::Relaxed);
        let over = shared.end.is_some_and(|end| Instant::now() >= end);
        if over || shared.spec.requests.is_some_and(|most| index >= most) {
            return;
        }
        let body = serde_json::json!({
            "model": "paced",
            "messages": [{"role": "user", "content": prompt(index)}],
            "max_tokens": shared.spec.tokens,
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        let request = Request::post("/v1/chat/completions")
            .header("host", "paced")
            .header("content-type", "application/json")
            .body(Full::new(body.to_string().into()))
            .unwrap();
        buffer.clear();
        let answer = exchange(&mut sender, request, &mut buffer).await;
        let mut done = shared.done.lock().unwrap();
        match answer {
            Some(answer) if answer.complete => {
                done.ok += 1;
                done.tokens += answer.tokens;
                if shared.spec.keep {
                    done.samples.extend(answer.sample(u64::from(index)));
                }
            }
            Some(_) | None => {
                done.failed += 1;
                return;
            }
        }
    }
}

struct Answer {
    sent: Instant,
    /// When each token arrived.
    arrivals: Vec<Instant>,
    tokens: u64,
    complete: bool,
}

impl Answer {
    fn sample(&self, marker: u64) -> Option<Sample> {
        let pairs = self.arrivals.iter().skip(1).zip(&self.arrivals);
        Some(Sample {
            marker,
            ttft_ns: nanos(*self.arrivals.first()? - self.sent),
            gaps_ns: pairs
                .map(|(later, earlier)| nanos(*later - *earlier))
                .collect(),
        })
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    buffer: &mut Vec<u8>,
) -> Option<Answer> {
    let mut answer = Answer {
        sent: Instant::now(),
        arrivals: Vec::new(),
        tokens: 0,
        complete: false,
    };
    let mut response = sender.send_request(request).await.ok()?;
    if response.status() != 200 {
        return None;
    }
    let (mut finished, mut ended, mut counted) = (false, false, None);
    while let Some(frame) = response.frame().await {
        let at = Instant::now();
        let Ok(data) = frame.ok()?.into_data() else {
            continue;
        };
        buffer.extend_from_slice(&data);
        let mut taken = 0;
        while let Some(length) = memchr::memmem::find(&buffer[taken..], b"\n\n") {
            let event = &buffer[taken..taken + length];
            taken += length + 2;
            let Some(data) = event.strip_prefix(b"data: ") else {
                continue;
            };
            if data == b"[DONE]" {
                ended = true;
                continue;
            }
            let event: Event = serde_json::from_slice(data).ok()?;
            for choice in &event.choices {
                finished |= choice.finish_reason.is_some();
                if choice
                    .delta
                    .content
                    .as_deref()
                    .is_some_and(|text| !text.is_empty())
                {
                    answer.arrivals.push(at);
                    answer.tokens += 1;
                }
            }
            counted = event.usage.map(|usage| usage.completion_tokens).or(counted);
        }
        buffer.drain(..taken);
    }
    answer.complete = finished && ended && counted == Some(answer.tokens);
    Some(answer)
}
