//! A server on loopback that plays scripts byte for byte, for the load driver's tests.

use std::{
    collections::VecDeque,
    num::{NonZeroU32, NonZeroUsize},
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kitt_action::{
    load::{DriveOptions, DriveReport, LoadError, Receiver, RequestTrace, Target, drive},
    plan::{ApiPath, Job, PlannedRequest},
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Barrier,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
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
    /// No further connection is accepted, and those that try are refused.
    Leave,
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

/// What all connections of a server share.
struct Stage {
    /// One for each request that is yet to come.
    scripts: Mutex<VecDeque<Vec<Step>>>,
    /// What every further one gets.
    encore: Option<Vec<Step>>,
    bodies: Arc<Mutex<Vec<Value>>>,
    connections: Arc<AtomicUsize>,
    leave: CancellationToken,
}

/// A server on loopback that plays one script per request, in the order requests arrive.
pub struct Server {
    pub target: Arc<Target>,
    pub bodies: Arc<Mutex<Vec<Value>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Server {
    pub async fn playing(scripts: Vec<Vec<Step>>) -> Self {
        Self::start("http", scripts, None, None).await
    }

    /// Plays the same to everybody.
    pub async fn always(script: Vec<Step>) -> Self {
        Self::start("http", Vec::new(), Some(script), None).await
    }

    /// Speaks TLS.
    pub async fn secured(scripts: Vec<Vec<Step>>, acceptor: TlsAcceptor) -> Self {
        Self::start("https", scripts, None, Some(acceptor)).await
    }

    async fn start(
        scheme: &str,
        scripts: Vec<Vec<Step>>,
        encore: Option<Vec<Step>>,
        acceptor: Option<TlsAcceptor>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let stage = Arc::new(Stage {
            scripts: Mutex::new(VecDeque::from(scripts)),
            encore,
            bodies: Arc::clone(&bodies),
            connections: Arc::clone(&connections),
            leave: CancellationToken::new(),
        });
        tokio::spawn(async move {
            let leave = stage.leave.clone();
            leave
                .run_until_cancelled(accept(listener, stage, acceptor))
                .await;
        });
        // The name is looked up for TLS only: elsewhere it costs time and proves nothing.
        let host = if scheme == "https" {
            "localhost"
        } else {
            "127.0.0.1"
        };
        Self {
            target: Arc::new(target(&format!("{scheme}://{host}:{port}"))),
            bodies,
            connections,
        }
    }

    /// Where load goes, for tests that change it before.
    pub fn target_mut(&mut self) -> &mut Target {
        Arc::get_mut(&mut self.target).unwrap()
    }

    /// A closed loop of single requests; what happened to each, by index.
    pub async fn drive(&self, requests: u32, concurrency: u32) -> Vec<RequestTrace> {
        let driven = self.drive_jobs(jobs(requests), closed(concurrency)).await;
        driven.unwrap().1
    }

    pub async fn drive_jobs(&self, jobs: Vec<Job>, options: DriveOptions) -> Driven {
        let cancel = CancellationToken::new();
        run(&self.target, jobs, options, &cancel, |_trace| keep_on()).await
    }
}

/// The report, and what happened to each request, by index.
pub type Driven = Result<(DriveReport, Vec<RequestTrace>), LoadError>;

/// Drives and collects; `see` is asked about every trace in the order they come.
pub async fn run(
    target: &Arc<Target>,
    jobs: Vec<Job>,
    options: DriveOptions,
    cancel: &CancellationToken,
    see: impl FnMut(&RequestTrace) -> ControlFlow<String> + Send + 'static,
) -> Driven {
    let collect = Collect {
        traces: Vec::new(),
        see,
    };
    let jobs = Box::new(jobs.into_iter());
    let driving = drive(Arc::clone(target), jobs, options, cancel.clone(), collect);
    let (report, collected) = sendable(driving).await?;
    let mut traces = collected.traces;
    traces.sort_by_key(|trace| trace.index);
    Ok((report, traces))
}

pub struct Collect<F> {
    pub traces: Vec<RequestTrace>,
    pub see: F,
}

impl<F: FnMut(&RequestTrace) -> ControlFlow<String> + Send> Receiver for Collect<F> {
    fn receive(&mut self, trace: RequestTrace) -> ControlFlow<String> {
        let flow = (self.see)(&trace);
        self.traces.push(trace);
        flow
    }
}

pub const fn keep_on() -> ControlFlow<String> {
    ControlFlow::Continue(())
}

/// Callers may run the driver on another thread.
fn sendable<T: Send>(future: T) -> T {
    future
}

async fn accept(listener: TcpListener, stage: Arc<Stage>, acceptor: Option<TlsAcceptor>) {
    while let Ok((socket, _)) = listener.accept().await {
        stage.connections.fetch_add(1, Ordering::SeqCst);
        socket.set_nodelay(true).unwrap();
        let (stage, acceptor) = (Arc::clone(&stage), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => serve(socket, &stage).await,
                // A client that does not trust us goes away here.
                Some(acceptor) => {
                    if let Ok(socket) = acceptor.accept(socket).await {
                        serve(socket, &stage).await;
                    }
                }
            }
        });
    }
}

/// A server's side of a connection.
trait Side: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Side for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Side for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn serve(mut socket: impl Side, stage: &Stage) {
    while let Some(body) = read_request(&mut socket).await {
        stage.bodies.lock().unwrap().push(body);
        let script = stage.scripts.lock().unwrap().pop_front();
        let script = script.or_else(|| stage.encore.clone());
        for step in script.expect("more requests than scripts") {
            match step {
                Step::Send(bytes) => {
                    if socket.write_all(&bytes).await.is_err() || socket.flush().await.is_err() {
                        return;
                    }
                }
                Step::Gap(time) => tokio::time::sleep(time).await,
                Step::Close => return,
                Step::Reset => {
                    socket.tcp().set_zero_linger().unwrap();
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
                Step::Leave => stage.leave.cancel(),
            }
        }
    }
}

/// One request's body; `None` when the client has gone.
async fn read_request(socket: &mut impl Side) -> Option<Value> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 65536];
    let mut whole = None;
    loop {
        if whole.is_none()
            && let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let head = String::from_utf8(bytes[..at].to_vec())
                .unwrap()
                .to_lowercase();
            assert!(
                head.starts_with("post /v1/chat/completions http/1.1"),
                "{head}"
            );
            let length = head.split_once("content-length: ").unwrap().1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            whole = Some((at + 4, at + 4 + length));
        }
        if let Some((start, end)) = whole
            && bytes.len() >= end
        {
            assert_eq!(bytes.len(), end, "nothing follows a request");
            return Some(serde_json::from_slice(&bytes[start..end]).unwrap());
        }
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

pub fn request(index: u32) -> PlannedRequest {
    let tokens = NonZeroU32::new(2).unwrap();
    PlannedRequest::text(index, format!("prompt {index}"), tokens)
}

pub fn jobs(requests: u32) -> Vec<Job> {
    (0..requests).map(|index| request(index).into()).collect()
}

pub fn closed(concurrency: u32) -> DriveOptions {
    DriveOptions {
        concurrency: Some(NonZeroU32::new(concurrency).unwrap()),
        max_in_flight: None,
        duration: None,
        threads: NonZeroUsize::MIN,
    }
}

/// Jobs of an open loop, due `gap` apart.
pub fn due_jobs(requests: u32, gap: Duration) -> Vec<Job> {
    let due = |index| Job {
        due: Some(gap * index),
        turns: vec![request(index)],
    };
    (0..requests).map(due).collect()
}

pub fn open() -> DriveOptions {
    DriveOptions {
        concurrency: None,
        ..closed(1)
    }
}
