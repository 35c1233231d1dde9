//! The listeners, and the way of a request through them.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    auth,
    call::{Body, Call, Reply},
    described,
    faults::{self, What},
    route,
    state::{Seen, State},
};

/// A running fake; stops when dropped.
pub struct GitHub {
    /// What `GITHUB_API_URL` is.
    pub url: String,
    /// The origin of artifacts' bytes.
    pub blobs: String,
    state: Arc<Mutex<State>>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    blobs: String,
}

impl GitHub {
    pub fn start() -> Self {
        Self::with(State::default())
    }

    pub fn with(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let stop = CancellationToken::new();
        let listen = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (api, files) = (listen(), listen());
        let address = |l: &std::net::TcpListener| format!("http://{}", l.local_addr().unwrap());
        let (url, blobs) = (address(&api), address(&files));
        let shared = Shared {
            state: state.clone(),
            blobs: blobs.clone(),
        };
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = accept(api, shared.clone(), false) => {}
                    () = accept(files, shared.clone(), true) => {}
                }
            });
        });
        Self {
            url,
            blobs,
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// What `GITHUB_API_URL` is on an enterprise server.
    pub fn enterprise(&self) -> String {
        format!("{}/api/v3", self.url)
    }

    /// What `GITHUB_GRAPHQL_URL` is.
    pub fn graphql(&self) -> String {
        format!("{}/graphql", self.url)
    }

    pub fn state<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut lock(&self.state))
    }

    /// Requests so far with this method (any when empty) whose path and query hold this text.
    pub fn seen(&self, method: &str, path: &str) -> Vec<Seen> {
        let matches = |seen: &&Seen| {
            (method.is_empty() || seen.method == method)
                && format!("{}?{}", seen.path, seen.query).contains(path)
        };
        self.state(|s| s.log.iter().filter(matches).cloned().collect())
    }

    /// What requests so far had that GitHub's description of its API does not.
    pub fn violations(&self) -> Vec<String> {
        self.state(|s| s.violations.clone())
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// A test that panicked while it looked at the state has failed already.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: std::net::TcpListener, shared: Shared, blob: bool) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone(), blob));
            let connection = http1::Builder::new();
            let served = connection.serve_connection(TokioIo::new(socket), service);
            // A cut connection is what some tests want.
            drop(served.await);
        });
    }
}

type Sent = Response<BoxBody<Bytes, io::Error>>;

fn cut() -> io::Error {
    io::Error::other("cut by the test")
}

async fn answer(request: Request<Incoming>, shared: Shared, blob: bool) -> io::Result<Sent> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.path();
    let (prefix, path) = match path.strip_prefix("/api/v3") {
        Some(rest) => ("/api/v3", rest.to_owned()),
        None => ("", path.to_owned()),
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let seen = seen(&parts.method, &path, &query, &parts.headers, &body, blob);
    let host = header(&parts.headers, "host").unwrap_or_default();
    let call = Call {
        method: seen.method.clone(),
        path: path.clone(),
        query: url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        body: seen.body.clone(),
        token: None,
        accept: seen.accept.clone().unwrap_or_default(),
        base: format!("http://{host}{prefix}"),
        blobs: shared.blobs.clone(),
    };
    let unreadable = !body.is_empty() && seen.body.is_none();
    let (seq, plan) = {
        let mut state = lock(&shared.state);
        let seq = state.arrived(seen.clone());
        if !blob {
            let found = described::violations(&call, state.strict_paths);
            state.violations.extend(found);
        }
        (seq, faults::plan(&mut state, &seen.method, &path, &query))
    };
    tokio::time::sleep(Duration::from_millis(plan.before_ms)).await;
    let what = plan.what;
    if matches!(what, Some(What::Cut)) {
        return Err(cut());
    }
    let reply = {
        let mut state = lock(&shared.state);
        let reply = handle(&mut state, call, &seen, unreadable, what.as_ref());
        let lost = matches!(what, Some(What::CutAfter));
        state.answered(seq, (!lost).then_some(reply.status), acts(what.as_ref()));
        finish(&mut state, reply)
    };
    tokio::time::sleep(Duration::from_millis(plan.after_ms)).await;
    match what {
        Some(What::CutAfter) => Err(cut()),
        Some(What::CutBody) => Ok(sent(reply, true)),
        _ => Ok(sent(reply, false)),
    }
}

/// Whether the request reaches the state.
fn acts(what: Option<&What>) -> bool {
    matches!(
        what,
        None | Some(What::CutAfter | What::CutBody | What::StatusAfter(_))
    )
}

fn handle(
    state: &mut State,
    mut call: Call,
    seen: &Seen,
    unreadable: bool,
    what: Option<&What>,
) -> Reply {
    let now = state.now().as_second();
    let stands_in = what.and_then(|what| faults::instead(what, now));
    if let (Some(reply), false) = (&stands_in, acts(what)) {
        return reply.clone();
    }
    let done = if seen.blob {
        route::blob(state, &call, seen.authorization.is_some())
    } else if seen.user_agent.is_none() {
        let message = "Request forbidden by administrative rules. Please make sure your request \
                       has a User-Agent header (https://docs.github.com/rest).";
        Err(Reply::failure(403, message))
    } else {
        auth::token(state, seen.authorization.as_deref()).and_then(|token| {
            call.token = token;
            spend(state, &call, now)?;
            if unreadable {
                return Err(Reply::failure(400, "Problems parsing JSON"));
            }
            route::api(state, &call)
        })
    };
    let (Ok(reply) | Err(reply)) = done;
    stands_in.unwrap_or(reply)
}

/// Every request but the one for the limit counts.
fn spend(state: &mut State, call: &Call, now: i64) -> Result<(), Reply> {
    if call.path == "/rate_limit" {
        return Ok(());
    }
    if state.rate.remaining == 0 {
        return Err(faults::limited(now + state.rate.reset_in));
    }
    state.rate.remaining -= 1;
    Ok(())
}

/// The headers that every answer has.
fn finish(state: &mut State, mut reply: Reply) -> Reply {
    let now = state.now();
    let rate = &state.rate;
    let always = [
        ("x-ratelimit-limit", rate.limit.to_string()),
        ("x-ratelimit-remaining", rate.remaining.to_string()),
        (
            "x-ratelimit-used",
            (rate.limit - rate.remaining).to_string(),
        ),
        (
            "x-ratelimit-reset",
            (now.as_second() + rate.reset_in).to_string(),
        ),
        ("x-ratelimit-resource", "core".to_owned()),
        ("x-github-request-id", format!("FAKE:{:X}", state.next_id)),
        (
            "date",
            now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        ),
    ];
    for (name, value) in always {
        if !reply.headers.iter().any(|(known, _)| known == name) {
            reply.headers.push((name.to_owned(), value));
        }
    }
    reply
}

fn sent(reply: Reply, half: bool) -> Sent {
    let (kind, bytes) = match reply.body {
        Body::None => (None, Bytes::new()),
        Body::Json(body) => (
            Some("application/json; charset=utf-8"),
            serde_json::to_vec(&body).unwrap().into(),
        ),
        Body::Bytes(bytes) => (Some("application/octet-stream"), bytes),
    };
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    if let (Some(kind), false) = (
        kind,
        reply.headers.iter().any(|(name, _)| name == "content-type"),
    ) {
        response = response.header("content-type", kind);
    }
    let body = if half {
        response = response.header("content-length", bytes.len());
        let first = bytes.slice(..bytes.len() / 2);
        StreamBody::new(stream::iter([Ok(Frame::data(first)), Err(cut())])).boxed()
    } else {
        Full::new(bytes).map_err(|never| match never {}).boxed()
    };
    response.body(body).unwrap()
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn seen(
    method: &http::Method,
    path: &str,
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    blob: bool,
) -> Seen {
    Seen {
        method: method.to_string(),
        path: path.to_owned(),
        query: query.to_owned(),
        body: serde_json::from_slice::<Value>(body).ok(),
        authorization: header(headers, "authorization"),
        user_agent: header(headers, "user-agent"),
        accept: header(headers, "accept"),
        version: header(headers, "x-github-api-version"),
        blob,
        ..Seen::default()
    }
}

impl State {
    fn arrived(&mut self, mut seen: Seen) -> u64 {
        self.next_id += 1;
        seen.seq = self.next_id;
        self.log.push(seen);
        self.next_id
    }

    fn answered(&mut self, seq: u64, status: Option<u16>, done: bool) {
        if let Some(seen) = self.log.iter_mut().find(|seen| seen.seq == seq) {
            (seen.status, seen.done) = (status, done);
        }
    }

    /// GitHub's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::now() + jiff::SignedDuration::from_secs(self.clock_ahead)
    }

    /// As GitHub writes times.
    pub fn stamp(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
