//! A server on loopback that plays scripts byte for byte, for the load driver's tests.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kitt_action::{
    load::{ApiPath, Arrivals, RequestTrace, Target, drive},
    plan::PlannedRequest,
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Barrier,
};
use tokio_util::sync::CancellationToken;

pub const SSE: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub const ROLE: &str =
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
pub const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
pub const DONE: &str = "data: [DONE]\n\n";

pub fn word(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

pub fn usage(tokens: u64) -> String {
    format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{tokens}}}}}\n\n"
    )
}

/// One HTTP chunk.
pub fn chunk(body: &str) -> Vec<u8> {
    format!("{:x}\r\n{body}\r\n", body.len()).into_bytes()
}

/// What the server does with one request, in order.
#[derive(Clone)]
pub enum Step {
    /// One `write`.
    Send(Vec<u8>),
    /// Time passes, so that the next write is a read of its own.
    Gap(Duration),
    /// The connection is closed.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing more until the client goes away.
    Hold,
    /// Waits until all parties are here.
    Meet(Arc<Barrier>),
}

pub fn gap() -> Step {
    Step::Gap(Duration::from_millis(5))
}

pub fn head() -> Step {
    Step::Send(SSE.into())
}

pub fn end() -> Step {
    Step::Send(b"0\r\n\r\n".into())
}

/// Head, one HTTP chunk and one write for each event, terminator.
pub fn stream(events: &[&str]) -> Vec<Step> {
    let mut steps = vec![head()];
    for event in events {
        steps.extend([gap(), Step::Send(chunk(event))]);
    }
    steps.push(end());
    steps
}

pub fn good() -> Vec<Step> {
    stream(&[ROLE, &word("a"), &word("b"), STOP, &usage(2), DONE])
}

/// A server on loopback that plays one script per request, in the order requests arrive.
pub struct Server {
    pub target: Target,
    pub bodies: Arc<Mutex<Vec<Value>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn playing(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let scripts = Arc::new(Mutex::new(VecDeque::from(scripts)));
        let (seen, count) = (Arc::clone(&bodies), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, Arc::clone(&scripts), Arc::clone(&seen)));
            }
        });
        Self {
            target: target(&url),
            bodies,
            connections,
        }
    }

    pub async fn drive(&self, requests: u32, concurrency: u32) -> Vec<RequestTrace> {
        let cancel = CancellationToken::new();
        let planned = plan(requests);
        let driving = drive(
            &self.target,
            &planned,
            closed(concurrency),
            &cancel,
            &|_| {},
        );
        sendable(driving).await.unwrap()
    }
}

/// Callers may run the driver on another thread.
fn sendable<T: Send>(future: T) -> T {
    future
}

async fn serve(
    mut socket: TcpStream,
    scripts: Arc<Mutex<VecDeque<Vec<Step>>>>,
    seen: Arc<Mutex<Vec<Value>>>,
) {
    socket.set_nodelay(true).unwrap();
    while let Some(body) = read_request(&mut socket).await {
        seen.lock().unwrap().push(body);
        let script = scripts.lock().unwrap().pop_front();
        for step in script.expect("more requests than scripts") {
            match step {
                Step::Send(bytes) => {
                    if socket.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Gap(time) => tokio::time::sleep(time).await,
                Step::Close => return,
                Step::Reset => {
                    socket.set_zero_linger().unwrap();
                    return;
                }
                Step::Hold => {
                    let mut byte = [0];
                    let _gone = socket.read(&mut byte).await;
                    return;
                }
                Step::Meet(barrier) => {
                    barrier.wait().await;
                }
            }
        }
    }
}

/// The JSON body of the next request; `None` when the client has closed.
async fn read_request(socket: &mut TcpStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..at].to_vec())
                .unwrap()
                .to_lowercase();
            assert!(
                head.starts_with("post /v1/chat/completions http/1.1"),
                "{head}"
            );
            let length = head.split_once("content-length: ").unwrap().1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() >= at + 4 + length {
                return Some(serde_json::from_slice(&bytes[at + 4..at + 4 + length]).unwrap());
            }
        }
        let mut buffer = [0; 4096];
        match socket.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

pub fn target(url: &str) -> Target {
    let mut extras = Map::new();
    extras.insert("ignore_eos".to_owned(), true.into());
    let limit = Duration::from_secs(20);
    Target::new(
        url.parse().unwrap(),
        ApiPath::Chat,
        "m".to_owned(),
        extras,
        limit,
    )
}

pub fn plan(requests: u32) -> Vec<PlannedRequest> {
    let request = |index| PlannedRequest {
        index,
        prompt: format!("prompt {index}"),
        output_tokens: NonZeroU32::new(2).unwrap(),
    };
    (0..requests).map(request).collect()
}

pub fn closed(concurrency: u32) -> Arrivals {
    Arrivals::Closed {
        concurrency: NonZeroU32::new(concurrency).unwrap(),
    }
}
