//! A server of one canned answer for each path, which remembers what it was sent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};

/// What is answered at one path.
#[derive(Debug, Clone, Default)]
pub(super) struct Canned {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Canned {
    pub(super) fn ok(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(super) fn to(status: u16, location: &str) -> Self {
        Self {
            status,
            headers: vec![("location", location.to_owned())],
            ..Self::default()
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Arrived {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Arrived {
    pub(super) fn has_token(&self) -> bool {
        self.headers.contains_key("authorization")
            || self.headers.values().any(|value| {
                let bytes = value.as_bytes();
                bytes
                    .windows(super::TOKEN.len())
                    .any(|part| part == super::TOKEN.as_bytes())
            })
    }
}

type Answers = Arc<Mutex<BTreeMap<String, Canned>>>;

/// What an origin says and has heard.
#[derive(Clone, Default)]
pub(super) struct Site {
    answers: Answers,
    seen: Arc<Mutex<Vec<Arrived>>>,
}

impl Site {
    /// What to answer at this path, its query left out.
    pub(super) fn at(&self, path: &str, canned: Canned) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), canned);
    }

    pub(super) fn seen(&self) -> Vec<Arrived> {
        self.seen.lock().unwrap().clone()
    }

    /// Serves one connection.
    pub(super) async fn serve<S>(self, socket: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| self.clone().answer(request));
        let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        // Clients close their connections as they like.
        drop(served.await);
    }

    async fn answer(self, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().map(|query| format!("?{query}"));
        let arrived = Arrived {
            method: parts.method.to_string(),
            path: format!("{path}{}", query.unwrap_or_default()),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        };
        self.seen.lock().unwrap().push(arrived);
        let canned = self.answers.lock().unwrap().get(&path).cloned();
        let canned = canned.unwrap_or(Canned {
            status: 404,
            body: "{\"message\":\"Not Found\"}".into(),
            ..Canned::default()
        });
        let mut response = Response::builder().status(canned.status);
        for (name, value) in &canned.headers {
            response = response.header(*name, value);
        }
        Ok(response.body(Full::new(canned.body)).unwrap())
    }
}

/// A site at an address of its own; stops when dropped.
pub(super) struct Origin {
    pub url: String,
    pub site: Site,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn start() -> Origin {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let site = Site::default();
    let served = site.clone();
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(served.clone().serve(socket));
        }
    });
    Origin { url, site, task }
}
