//! Is it ready, and is it the right one: plain HTTP questions to an engine.
//!
//! A TCP connection proves nothing: Docker's proxy accepts before the engine listens. Ready
//! means a 200 on the engine's health path.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder};
use serde::Deserialize;
use tokio::net::TcpStream;
use url::Url;

use super::ServeError;
use crate::{
    endpoint::{self, at, chain},
    engine::ApiTraits,
    secret::Secret,
};

/// The wait between two questions is a fiftieth of the time waited so far, within these: what is
/// lost between readiness and the answer that tells it stays small beside the start itself.
const FASTEST: Duration = Duration::from_millis(20);
const SLOWEST: Duration = Duration::from_millis(200);
const SHARE: u32 = 50;
/// How long a connection may take where there is another address to try.
const REACH: Duration = Duration::from_millis(250);
/// Limit of one question: an engine may generate a token before it calls itself healthy.
const ONE: Duration = Duration::from_secs(10);
/// More than this of an answer is not read.
const LONGEST: usize = 1 << 20;
/// Where engines tell their version, and the key.
const VERSIONS: [(&str, &str); 5] = [
    // llama.cpp; vLLM, TensorRT-LLM and others; SGLang; Ollama; TGI.
    ("/props", "build_info"),
    ("/version", "version"),
    ("/get_server_info", "version"),
    ("/api/version", "version"),
    ("/info", "version"),
];

/// Asks.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    client: Client,
}

/// An address at which the server may answer.
struct Place {
    base: Url,
    /// Whether something there has answered before, if only by refusing.
    proven: bool,
}

impl Place {
    const fn unproven(base: Url) -> Self {
        Self {
            base,
            proven: false,
        }
    }
}

/// What came back.
struct Answer {
    status: u16,
    body: String,
}

/// Why nothing came back.
struct Silence {
    refused: bool,
    why: String,
}

impl Probe {
    /// A client for engines.
    pub(super) fn new(target: &Url, bearer: Option<&Secret>) -> Result<Self, ServeError> {
        match endpoint::client(target, ONE, bearer) {
            Ok(client) => Ok(Self { client }),
            Err(error) => Err(ServeError::NoAnswer {
                url: target.to_string(),
                detail: error.to_string(),
            }),
        }
    }

    /// Asks until one of the candidates is healthy and gives that one. Later candidates are for
    /// when nobody at all listens at the earlier ones; an address that no packet reaches is left
    /// out from then on. `lenient` takes a 404 for an answer: the path is one the server may
    /// lack. `last` always holds the newest answer.
    pub(super) async fn healthy(
        &self,
        candidates: &[Url],
        path: &str,
        lenient: bool,
        last: &mut String,
    ) -> Url {
        let begin = Instant::now();
        let mut places: Vec<Place> = candidates.iter().cloned().map(Place::unproven).collect();
        loop {
            let mut at = 0;
            while let Some(place) = places.get(at) {
                let several = places.len() > 1;
                if several && !place.proven && !reaches(&place.base).await {
                    tracing::debug!(url = %place.base, "this address cannot be reached from here");
                    places.remove(at);
                    continue;
                }
                let base = place.base.clone();
                let answer = self.get(&base, path).await;
                match answer {
                    Ok(Answer { status: 200, .. }) => return base,
                    Ok(Answer { status: 404, .. }) if lenient => return base,
                    Ok(answer) => {
                        *last = format!("HTTP {}", answer.status);
                        break;
                    }
                    Err(silence) => {
                        *last = silence.why;
                        if !silence.refused {
                            break;
                        }
                    }
                }
                if let Some(place) = places.get_mut(at) {
                    place.proven = true;
                }
                at = at.saturating_add(1);
            }
            tokio::time::sleep((begin.elapsed() / SHARE).clamp(FASTEST, SLOWEST)).await;
        }
    }

    /// Whether `/v1/models` lists the model. A server without that list passes with a warning
    /// when `lenient`.
    pub(super) async fn check_model(
        &self,
        base: &Url,
        api: &ApiTraits,
        lenient: bool,
    ) -> Result<(), ServeError> {
        if !api.check_model {
            return Ok(());
        }
        let wrong = |listed: String| ServeError::WrongModel {
            url: base.to_string(),
            wanted: api.served_model.clone(),
            listed,
        };
        let answer = self.get(base, "/v1/models").await;
        let answer = answer.map_err(|silence| wrong(format!("nothing ({})", silence.why)))?;
        match answer.status {
            200 => {}
            404 if lenient => {
                tracing::warn!(url = %base, "no /v1/models there: which model it serves is not checked");
                return Ok(());
            }
            status => return Err(wrong(format!("nothing (HTTP {status})"))),
        }
        let listed = listed(&answer.body).map_err(wrong)?;
        if listed.contains(&api.served_model) {
            Ok(())
        } else {
            Err(wrong(shortened(&listed.join(", "))))
        }
    }

    /// The version the engine tells, where it tells one.
    pub(super) async fn version(&self, base: &Url) -> Option<String> {
        for (path, key) in VERSIONS {
            let Ok(answer) = self.get(base, path).await else {
                continue;
            };
            let version = (answer.status == 200).then(|| version(&answer.body, key));
            if let Some(version) = version.flatten() {
                return Some(version);
            }
        }
        None
    }

    /// The text at a path that must answer 200.
    pub(super) async fn text(&self, base: &Url, path: &str) -> Result<String, String> {
        match self.get(base, path).await {
            Ok(answer) if answer.status == 200 => Ok(answer.body),
            Ok(answer) => Err(format!("{path} answers HTTP {}", answer.status)),
            Err(silence) => Err(format!("{path}: {}", silence.why)),
        }
    }

    /// Posts JSON; gives the status and a shortened answer.
    pub(super) async fn post(
        &self,
        base: &Url,
        path: &str,
        body: &serde_json::Value,
        limit: Duration,
    ) -> Result<(u16, String), String> {
        let request = self.client.post(at(base, path)).json(body).timeout(limit);
        match answer(request).await {
            Ok(answer) => Ok((answer.status, shortened(&answer.body))),
            Err(silence) => Err(format!("{path}: {}", silence.why)),
        }
    }

    async fn get(&self, base: &Url, path: &str) -> Result<Answer, Silence> {
        answer(self.client.get(at(base, path))).await
    }
}

async fn answer(request: RequestBuilder) -> Result<Answer, Silence> {
    let silence = |error: reqwest::Error| Silence {
        refused: error.is_connect(),
        why: chain(&error),
    };
    let mut response = request.send().await.map_err(silence)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(silence)? {
        body.extend(chunk.iter().take(LONGEST.saturating_sub(body.len())));
        if body.len() >= LONGEST {
            break;
        }
    }
    Ok(Answer {
        status: response.status().as_u16(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Whether packets reach the address at all; to be refused is an answer.
async fn reaches(base: &Url) -> bool {
    let (Some(host), Some(port)) = (base.host_str(), base.port_or_known_default()) else {
        return true;
    };
    let connecting = TcpStream::connect((host.trim_matches(['[', ']']), port));
    match tokio::time::timeout(REACH, connecting).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
        ),
        Err(_) => false,
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

fn listed(body: &str) -> Result<Vec<String>, String> {
    match serde_json::from_str::<Models>(body) {
        Ok(models) => Ok(models.data.into_iter().map(|model| model.id).collect()),
        Err(_) => Err(format!("something else: {}", shortened(body))),
    }
}

fn version(body: &str, key: &str) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_str(body).ok()?;
    let text = answer.get(key)?.as_str()?;
    (!text.is_empty()).then(|| shortened(text))
}

/// Text of a stranger for an error: one line, 200 characters.
fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server that answers by a table of request lines; gives its URL and what it was asked.
    pub(in super::super) async fn server(
        answers: &'static [(&'static str, u16, &'static str)],
    ) -> (Url, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                    if socket.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let line = text.lines().next().unwrap_or_default().to_owned();
                let found = answers.iter().find(|(start, ..)| line.starts_with(start));
                let (_, status, body) = found.unwrap_or(&("", 404, "{}"));
                let answer = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                if !line.is_empty() {
                    heard.lock().unwrap().push(line);
                }
                let _gone = socket.write_all(answer.as_bytes()).await;
            }
        });
        (Url::parse(&format!("http://{address}/")).unwrap(), asked)
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_reached_is_left_out_at_once() {
        let (url, _) = server(&[("GET /health ", 200, "")]).await;
        // The system refuses to connect to the broadcast address.
        let nowhere = Url::parse("http://255.255.255.255:9/").unwrap();
        let probe = Probe::new(&url, None).unwrap();
        let (begin, mut last) = (Instant::now(), String::new());
        let candidates = [nowhere, url.clone()];
        let found = probe
            .healthy(&candidates, "/health", false, &mut last)
            .await;
        assert_eq!(found, url);
        assert!(begin.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn who_refuses_is_asked_before_the_next_one_every_time() {
        let (url, _) = server(&[("GET /health ", 503, "loading")]).await;
        let (second, asked) = server(&[("GET /health ", 200, "")]).await;
        let probe = Probe::new(&url, None).unwrap();
        let mut last = String::new();
        let candidates = [url, second];
        let never = probe.healthy(&candidates, "/health", false, &mut last);
        let waited = tokio::time::timeout(Duration::from_millis(300), never).await;
        // The first one is there, though not ready: the second one is another server.
        assert!(waited.is_err() && asked.lock().unwrap().is_empty());
        assert_eq!(last, "HTTP 503");
    }

    #[tokio::test]
    async fn every_engines_way_to_tell_its_version_is_known() {
        let (sglang, _) = server(&[("GET /get_server_info ", 200, r#"{"version":"0.5"}"#)]).await;
        let (ollama, _) = server(&[("GET /api/version ", 200, r#"{"version":"0.12"}"#)]).await;
        let (tgi, _) = server(&[("GET /info ", 200, r#"{"version":"3.3.5"}"#)]).await;
        let (none, _) = server(&[]).await;
        let probe = Probe::new(&tgi, None).unwrap();
        assert_eq!(probe.version(&sglang).await.as_deref(), Some("0.5"));
        assert_eq!(probe.version(&ollama).await.as_deref(), Some("0.12"));
        assert_eq!(probe.version(&tgi).await.as_deref(), Some("3.3.5"));
        assert_eq!(probe.version(&none).await, None);
    }

    #[test]
    fn model_lists_and_versions_are_read_and_garbage_is_named() {
        let body = r#"{"object":"list","data":[{"id":"a","x":1},{"id":"b"}]}"#;
        assert_eq!(listed(body).unwrap(), ["a", "b"]);
        assert!(
            listed("<html>\n")
                .unwrap_err()
                .contains("something else: <html>")
        );
        assert_eq!(
            version(r#"{"build_info":"b1-0c1e570"}"#, "build_info").as_deref(),
            Some("b1-0c1e570")
        );
        assert_eq!(version(r#"{"version":3}"#, "version"), None);
    }
}
