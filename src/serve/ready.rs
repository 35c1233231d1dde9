//! Is it ready, and is it the right one: plain HTTP questions to an engine.
//!
//! A TCP connection proves nothing: Docker's proxy accepts before the engine listens. Ready
//! means a 200 on the engine's health path.

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::ServeError;
use crate::{
    endpoint::{self, at, chain},
    engine::ApiTraits,
    secret::Secret,
};

/// First wait between two questions; it doubles up to [`SLOWEST`].
const FASTEST: Duration = Duration::from_millis(250);
const SLOWEST: Duration = Duration::from_secs(1);
/// Limit of one question: an engine may generate a token before it calls itself healthy.
const ONE: Duration = Duration::from_secs(10);
/// More than this of an answer is not read.
const LONGEST: usize = 1 << 20;
/// Where engines tell their version, and the key.
const VERSIONS: [(&str, &str); 2] = [("/props", "build_info"), ("/version", "version")];

/// Asks.
#[derive(Debug, Clone)]
pub(super) struct Probe {
    client: Client,
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
    /// when nobody at all listens at the earlier ones. `lenient` takes a 404 for an answer: the
    /// path is one the server may lack. `last` always holds the newest answer.
    pub(super) async fn healthy(
        &self,
        candidates: &[Url],
        path: &str,
        lenient: bool,
        last: &mut String,
    ) -> Url {
        let mut wait = FASTEST;
        loop {
            for base in candidates {
                match self.get(base, path).await {
                    Ok(Answer { status: 200, .. }) => return base.clone(),
                    Ok(Answer { status: 404, .. }) if lenient => return base.clone(),
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
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(SLOWEST);
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

    async fn get(&self, base: &Url, path: &str) -> Result<Answer, Silence> {
        let silence = |error: reqwest::Error| Silence {
            refused: error.is_connect(),
            why: chain(&error),
        };
        let sent = self.client.get(at(base, path)).send().await;
        let mut response = sent.map_err(silence)?;
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
mod tests {
    use super::*;

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
