//! The fake GitHub as a child process, and a proxy that changes or cuts its answers.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A running fake; stopped when dropped.
pub struct Fake {
    child: Child,
    pub url: String,
    http: reqwest::Client,
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts the fake, or says why the test is skipped. With `KITT_TEST_GITHUB=required` a missing
/// fake is a failure.
pub fn start(arguments: &[&str]) -> Option<Fake> {
    match try_start(arguments) {
        Ok(fake) => Some(fake),
        Err(why) if setting("KITT_TEST_GITHUB").as_deref() == Some("required") => {
            panic!("the fake GitHub is required: {why}")
        }
        Err(why) => {
            skipped(&why);
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn skipped(why: &str) {
    eprintln!("skipped: no fake GitHub: {why}");
}

#[expect(clippy::disallowed_methods, reason = "the test's own settings")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn try_start(arguments: &[&str]) -> Result<Fake, String> {
    let script = shared().join("tools/fake-github.mjs");
    let spec = spec();
    for file in [&script, &spec] {
        if !file.is_file() {
            let file = file.display();
            return Err(format!(
                "{file} is missing (scripts/github-spec.sh makes the description)"
            ));
        }
    }
    let mut child = Command::new("node")
        .arg(&script)
        .arg("--spec")
        .arg(&spec)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("node cannot be started: {error}"))?;
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = ready["url"].as_str().unwrap().to_owned();
    Ok(Fake {
        child,
        url,
        http: http_client(),
    })
}

fn shared() -> PathBuf {
    setting("KITT_TEST_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    )
}

/// Where `scripts/github-spec.sh` puts it.
fn spec() -> PathBuf {
    let cache = || {
        let base = setting("KITT_CACHE_DIR").map(PathBuf::from);
        let home = || PathBuf::from(setting("HOME").unwrap_or_default()).join(".cache");
        let user = || setting("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
        base.unwrap_or_else(|| user().join("kitt-action"))
    };
    setting("KITT_TEST_GITHUB_SPEC").map_or_else(
        || cache().join("github-spec/github-23.0.2.r2.json"),
        PathBuf::from,
    )
}

fn http_client() -> reqwest::Client {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// One request that the fake has seen.
#[derive(Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub raw: Value,
}

impl Fake {
    /// Makes the next `times` requests that match fail.
    pub async fn fault(&self, matching: &str, times: u32, how: Value) {
        let mut fault = how;
        fault["match"] = matching.into();
        fault["times"] = times.into();
        self.post("/_fake/fault", &fault).await;
    }

    /// Adds a comment as another program would.
    pub async fn comment(&self, pr: u64, body: &str) -> u64 {
        let path = format!("/repos/org/repo/issues/{pr}/comments");
        let made = self.post(&path, &json!({ "body": body })).await;
        made["id"].as_u64().unwrap()
    }

    /// Bodies of the comments by id, oldest first.
    pub async fn comments(&self) -> Vec<(u64, String)> {
        let state = self.get("/_fake/state").await;
        let comments = state["comments"].as_array().unwrap();
        let pair = |comment: &Value| {
            let body = comment["body"].as_str().unwrap().to_owned();
            (comment["id"].as_u64().unwrap(), body)
        };
        comments.iter().map(pair).collect()
    }

    /// Requests so far whose method and path hold these texts, without the test's own.
    pub async fn seen(&self, method: &str, path: &str) -> Vec<Seen> {
        let log = self.get("/_fake/log").await;
        let entries = log.as_array().unwrap().iter().map(|raw| Seen {
            method: raw["method"].as_str().unwrap().to_owned(),
            path: raw["path"].as_str().unwrap().to_owned(),
            raw: raw.clone(),
        });
        let kitts = |seen: &Seen| seen.raw["agent"].as_str() != Some("the test");
        entries
            .filter(kitts)
            .filter(|seen| seen.method.contains(method) && seen.path.contains(path))
            .collect()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        let response = request.header("user-agent", "the test").send().await;
        let response = response.unwrap().error_for_status().unwrap();
        let bytes = response.bytes().await.unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.url)).send().await;
        response.unwrap().json().await.unwrap()
    }
}

/// What the proxy does with an answer.
pub enum Reply {
    /// Sends this status and body on.
    Send(u16, Bytes),
    /// Closes the connection instead of answering.
    Cut,
}

/// Looks at the method, the path and the fake's answer.
pub type Edit = Arc<dyn Fn(&Method, &str, u16, Bytes) -> Reply + Send + Sync>;

/// A proxy in front of the fake, stopped when dropped.
pub struct Proxy {
    pub url: String,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a proxy whose answers go through `edit`.
pub async fn proxy(
    fake: &Fake,
    edit: impl Fn(&Method, &str, u16, Bytes) -> Reply + Send + Sync + 'static,
) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (upstream, http, edit) = (fake.url.clone(), fake.http.clone(), Arc::new(edit) as Edit);
    let task = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (upstream, http, edit) = (upstream.clone(), http.clone(), edit.clone());
            tokio::spawn(async move {
                let service = service_fn(|request| forward(request, &upstream, &http, &edit));
                let connection = http1::Builder::new();
                // A cut connection is what some tests want.
                drop(
                    connection
                        .serve_connection(TokioIo::new(socket), service)
                        .await,
                );
            });
        }
    });
    Proxy { url, task }
}

async fn forward(
    request: Request<Incoming>,
    upstream: &str,
    http: &reqwest::Client,
    edit: &Edit,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let mut headers = parts.headers;
    headers.remove("host");
    headers.remove("content-length");
    let sent = http
        .request(parts.method.clone(), format!("{upstream}{path}"))
        .headers(headers)
        .body(body.collect().await.unwrap().to_bytes())
        .send()
        .await
        .unwrap();
    let (status, link) = (sent.status().as_u16(), sent.headers().get("link").cloned());
    let answer = sent.bytes().await.unwrap();
    match edit(&parts.method, &path, status, answer) {
        Reply::Cut => Err(std::io::Error::other("cut by the test")),
        Reply::Send(status, body) => {
            let mut response = Response::new(Full::new(body));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(link) = link {
                response.headers_mut().insert("link", link);
            }
            Ok::<_, Infallible>(response).map_err(|never| match never {})
        }
    }
}
