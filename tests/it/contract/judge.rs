//! prism between kitt and the tests' GitHub.
//!
//! kitt → front → prism → back → GitHub. The two ends see to what prism does in its own way: it
//! takes a slash in a value for the end of it, and follows redirects by itself, with the token.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::redirect::Policy;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::github::GitHub;

/// Stands for the status and the address of a redirect on its way back through prism.
const MOVED: &str = "x-kitt-moved";

/// A request of kitt.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub method: String,
    /// As its operation's route, without a query.
    pub path: String,
    pub violations: Vec<String>,
}

pub(super) struct Judge {
    pub url: String,
    prism: Child,
    inner: Arc<Inner>,
    judged: usize,
}

/// The way through prism to a GitHub.
pub(super) struct Door {
    /// What `GITHUB_API_URL` is.
    pub api: String,
    inner: Arc<Inner>,
}

impl Door {
    /// From now on it leads to this GitHub.
    pub(super) fn to(&self, github: &GitHub) {
        github
            .url
            .clone_into(&mut self.inner.github.lock().unwrap());
    }
}

struct Inner {
    prism: String,
    /// The GitHub of this case.
    github: Mutex<String>,
    seen: Mutex<Vec<Seen>>,
    http: reqwest::Client,
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.prism.kill());
        drop(self.prism.wait());
    }
}

impl Judge {
    pub(super) async fn start(prism: &str, spec: &str) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let back = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (front_url, back_url) = (url(&front), url(&back));
        let folder = tempfile::tempdir().unwrap();
        let spec = requests_only(spec, folder.path());
        let (child, port) = listening(prism, &spec, &back_url);
        let inner = Arc::new(Inner {
            prism: format!("http://127.0.0.1:{port}"),
            github: Mutex::default(),
            seen: Mutex::default(),
            http,
        });
        serve(front, inner.clone(), true);
        serve(back, inner.clone(), false);
        Self {
            url: front_url,
            prism: child,
            inner,
            judged: 0,
        }
    }

    /// What a case is given. `prefix` is the API's path below its host.
    pub(super) fn door(&self, prefix: &str) -> Door {
        Door {
            api: format!("{}{prefix}", self.url),
            inner: self.inner.clone(),
        }
    }

    /// The requests of the last case.
    pub(super) fn requests(&mut self) -> Vec<Seen> {
        let seen = std::mem::take(&mut *self.inner.seen.lock().unwrap());
        self.judged += seen.len();
        seen
    }

    pub(super) fn summary(&self) -> String {
        format!("{} requests judged", self.judged)
    }
}

/// The description without what it says of answers: GitHub's own examples break its schemas, and
/// prism cuts a list of violations that becomes too long.
fn requests_only(spec: &str, folder: &Path) -> String {
    let mut spec: Value = serde_json::from_slice(&fs::read(spec).unwrap()).unwrap();
    bare(&mut spec["components"]["responses"]);
    let paths = spec["paths"].as_object_mut().unwrap();
    let items = paths.values_mut().filter_map(|item| item.as_object_mut());
    let operations = items.flat_map(|item| item.values_mut());
    operations.for_each(|operation| {
        if let Some(responses) = operation.get_mut("responses") {
            bare(responses);
        }
    });
    let path = folder.join("requests.json");
    fs::write(&path, serde_json::to_vec(&spec).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn bare(responses: &mut Value) {
    for response in responses
        .as_object_mut()
        .into_iter()
        .flat_map(|r| r.values_mut())
    {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
}

/// A prism that listens, and its port.
fn listening(prism: &str, spec: &str, upstream: &str) -> (Child, u16) {
    // It takes no port 0: one that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut child = Command::new(prism)
        .args(["proxy", "-h", "127.0.0.1", "-p", &port.to_string()])
        .args([spec, upstream])
        .env("SCARF_ANALYTICS", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.any(|line| line.is_ok_and(|line| line.contains("is listening on")));
    assert!(ready, "prism did not start");
    // It must not stop at a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (child, port)
}

fn serve(listener: TcpListener, inner: Arc<Inner>, front: bool) {
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let inner = inner.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let inner = inner.clone();
                    async move {
                        Ok::<_, std::convert::Infallible>(if front {
                            inner.front(request).await
                        } else {
                            inner.back(request).await
                        })
                    }
                });
                let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                drop(served.await);
            });
        }
    });
}

type Reply = Response<Full<Bytes>>;

impl Inner {
    async fn front(&self, request: Request<Incoming>) -> Reply {
        let github = self.github.lock().unwrap().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().map(|query| format!("?{query}"));
        let query = query.unwrap_or_default();
        let method = request.method().to_string();
        let path = path.strip_prefix("/api/v3").unwrap_or(&path).to_owned();
        if path == "/graphql" || path == "/api/graphql" {
            self.seen.lock().unwrap().push(Seen {
                method,
                path: "/graphql".to_owned(),
                violations: Vec::new(),
            });
            return self.pass(request, format!("{github}{path}")).await;
        }
        let path = one_segment(&path);
        let reply = self
            .pass(request, format!("{}{path}{query}", self.prism))
            .await;
        self.seen.lock().unwrap().push(Seen {
            method,
            path,
            violations: violations(&reply),
        });
        let Some(moved) = reply.headers().get(MOVED) else {
            return reply;
        };
        let moved = moved.to_str().unwrap();
        let (status, location) = moved.split_once(' ').unwrap();
        let answer = Response::builder().status(status.parse::<u16>().unwrap());
        let answer = answer.header(header::LOCATION, location);
        answer.body(Full::default()).unwrap()
    }

    async fn back(&self, request: Request<Incoming>) -> Reply {
        let github = self.github.lock().unwrap().clone();
        let query = request.uri().query().map(|query| format!("?{query}"));
        let path = request.uri().path().replace("%2F", "/");
        let url = format!("{github}{path}{}", query.unwrap_or_default());
        let reply = self.pass(request, url).await;
        let Some(location) = reply.headers().get(header::LOCATION) else {
            return reply;
        };
        if !reply.status().is_redirection() {
            return reply;
        }
        let moved = format!("{} {}", reply.status().as_u16(), location.to_str().unwrap());
        let answer = Response::builder().status(200).header(MOVED, moved);
        answer.body(Full::default()).unwrap()
    }

    /// The request at another place, as it is.
    async fn pass(&self, request: Request<Incoming>, url: String) -> Reply {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut headers = parts.headers;
        strip(&mut headers);
        let request = self.http.request(parts.method, url).headers(headers);
        let request = if body.is_empty() {
            request
        } else {
            request.body(body)
        };
        let mut reply = request.send().await.unwrap();
        let status = reply.status();
        let mut headers = std::mem::take(reply.headers_mut());
        strip(&mut headers);
        let body = reply.bytes().await.unwrap();
        let mut answer = Response::builder().status(status);
        answer.headers_mut().unwrap().extend(headers);
        answer.body(Full::new(body)).unwrap()
    }
}

/// What belongs to one connection.
fn strip(headers: &mut HeaderMap) {
    for name in [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONNECTION,
        header::TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

/// The path with the slashes of a ref or a file's name hidden.
fn one_segment(path: &str) -> String {
    for root in ["/git/ref/", "/git/refs/", "/contents/"] {
        if let Some((before, value)) = path.split_once(root) {
            return format!("{before}{root}{}", value.replace('/', "%2F"));
        }
    }
    path.to_owned()
}

/// What is wrong with the request.
fn violations(reply: &Reply) -> Vec<String> {
    let kind = reply.headers().get(header::CONTENT_TYPE);
    let problem = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/problem"));
    if problem {
        return vec![format!("prism answers {}", reply.status())];
    }
    let Some(told) = reply.headers().get("sl-violations") else {
        return Vec::new();
    };
    let told = String::from_utf8_lossy(told.as_bytes());
    match serde_json::from_str::<Vec<Value>>(&told) {
        Ok(all) => all
            .iter()
            .filter(|violation| violation["location"][0] == "request")
            .map(Value::to_string)
            .collect(),
        // So many that it was cut.
        Err(_) => vec![told.into_owned()],
    }
}
