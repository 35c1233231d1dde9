//! Counting with the server's own tokenizer, over HTTP.
//!
//! - vLLM and `SGLang`: `POST /tokenize` with `model`, `prompt` and `add_special_tokens`;
//!   `count` and `tokens` come back.
//! - llama.cpp: `POST /tokenize` with `content`; `tokens` come back.

use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::{
    WorkloadError,
    compose::{Part, draft},
    learn::Learner,
    vocabulary::Vocabulary,
};
use crate::{endpoint, plan::stream, secret::Secret};

/// Counting takes the server milliseconds.
const TIMEOUT: Duration = Duration::from_secs(5);
/// What is counted to find the endpoint. Every tokenizer finds tokens in it.
const PROBE: &str = "the";
/// Length of the text that shows whether words touch each other.
const PROBE_TOKENS: u32 = 512;

/// The server's tokenizer, and the words that were learned from it.
#[derive(Clone)]
pub struct ServerVocabulary {
    endpoint: Arc<Endpoint>,
    pub(super) vocabulary: Arc<Vocabulary>,
}

impl fmt::Debug for ServerVocabulary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = &self.endpoint;
        write!(
            out,
            "ServerVocabulary({}, {:?})",
            endpoint.url, endpoint.dialect
        )
    }
}

struct Endpoint {
    client: Client,
    url: Url,
    dialect: Dialect,
    model: String,
    bearer: Option<Secret>,
}

/// How a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Vllm,
    LlamaCpp,
}

#[derive(Deserialize)]
struct Counted {
    count: Option<u32>,
    tokens: Option<Vec<Value>>,
}

impl ServerVocabulary {
    /// Finds the endpoint that counts tokens and learns words from it: some fifteen short
    /// questions, up to a hundred and fifty where the vocabulary cuts most words.
    ///
    /// `base` is what the load driver gets: the endpoint is looked for at the server's root and
    /// below the base's own path.
    ///
    /// # Errors
    /// No endpoint, or one that does not count words as words.
    pub async fn learn(
        base: &Url,
        bearer: Option<&Secret>,
        model: &str,
    ) -> Result<Self, WorkloadError> {
        let endpoint = Endpoint::find(base, bearer, model).await?;
        let mut learner = Learner::new();
        while let Some(text) = learner.question() {
            learner.answer(endpoint.count(&text).await?);
        }
        let candidates = learner.finish();
        let vocabulary = Vocabulary::new(&candidates, true)
            .ok_or_else(|| endpoint.failed("it finds no tokens in English words"))?;
        let server = Self {
            endpoint: Arc::new(endpoint),
            vocabulary: Arc::new(vocabulary),
        };
        server.probe().await?;
        Ok(server)
    }

    /// Has one text with many words counted.
    async fn probe(&self) -> Result<(), WorkloadError> {
        let parts = vec![
            Part::Nonce(stream(&[b"probe", b"nonce"])),
            Part::Text {
                random: stream(&[b"probe"]),
                until: PROBE_TOKENS,
            },
        ];
        let draft = draft(&self.vocabulary, parts, PROBE_TOKENS, true);
        self.agrees(&draft.text(), draft.tokens).await
    }

    /// Checks that the server counts a text as it was written.
    ///
    /// # Errors
    /// It does not, or it does not answer.
    pub(super) async fn agrees(&self, text: &str, wanted: u32) -> Result<(), WorkloadError> {
        let counted = self.endpoint.count(text).await?;
        if counted == wanted {
            return Ok(());
        }
        Err(WorkloadError::ServerDisagrees {
            url: shown(&self.endpoint.url),
            wanted,
            counted,
        })
    }

    /// Where lengths come from.
    pub(super) fn describe(&self) -> String {
        let kind = match self.endpoint.dialect {
            Dialect::Vllm => "vLLM's form",
            Dialect::LlamaCpp => "llama.cpp's form",
        };
        format!(
            "server tokenize endpoint {} ({kind})",
            self.endpoint.url.path()
        )
    }
}

impl Endpoint {
    async fn find(base: &Url, bearer: Option<&Secret>, model: &str) -> Result<Self, WorkloadError> {
        let client = endpoint::client(base, TIMEOUT, None);
        let client = client.map_err(|error| WorkloadError::Tokenize {
            url: shown(base),
            why: error.to_string(),
        })?;
        let mut tried: Vec<String> = Vec::new();
        for url in places(base) {
            for dialect in [Dialect::Vllm, Dialect::LlamaCpp] {
                let endpoint = Self {
                    client: client.clone(),
                    url: url.clone(),
                    dialect,
                    model: model.to_owned(),
                    bearer: bearer.cloned(),
                };
                match endpoint.ask(PROBE).await {
                    Ok(0) => tried.push(format!("{}: no tokens", url.path())),
                    Ok(_) => return Ok(endpoint),
                    Err(Refusal { why, missing }) => {
                        tried.push(format!("{}: {why}", url.path()));
                        if missing {
                            break;
                        }
                    }
                }
            }
        }
        tried.dedup();
        Err(WorkloadError::NoTokenizeEndpoint {
            url: shown(base),
            tried: tried.join("; "),
        })
    }

    async fn count(&self, text: &str) -> Result<u32, WorkloadError> {
        self.ask(text)
            .await
            .map_err(|refusal| self.failed(&refusal.why))
    }

    fn failed(&self, why: &str) -> WorkloadError {
        WorkloadError::Tokenize {
            url: shown(&self.url),
            why: why.to_owned(),
        }
    }

    async fn ask(&self, text: &str) -> Result<u32, Refusal> {
        let body = match self.dialect {
            Dialect::Vllm => {
                json!({ "model": self.model, "prompt": text, "add_special_tokens": false })
            }
            Dialect::LlamaCpp => json!({ "content": text, "add_special": false }),
        };
        let mut request = self.client.post(self.url.clone()).json(&body);
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer.expose());
        }
        let refused = |error: reqwest::Error| Refusal {
            why: endpoint::chain(&error.without_url()),
            missing: true,
        };
        let response = request.send().await.map_err(refused)?;
        let status = response.status();
        if status != StatusCode::OK {
            let missing = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&status);
            let why = format!("HTTP {}", status.as_u16());
            return Err(Refusal { why, missing });
        }
        let counted: Counted = response.json().await.map_err(|error| Refusal {
            why: format!(
                "the answer is not that of a tokenizer: {}",
                error.without_url()
            ),
            missing: false,
        })?;
        let tokens = || u32::try_from(counted.tokens.as_ref()?.len()).ok();
        counted.count.or_else(tokens).ok_or_else(|| Refusal {
            why: "the answer has neither count nor tokens".to_owned(),
            missing: false,
        })
    }
}

/// Why an endpoint does not count.
struct Refusal {
    why: String,
    /// Nothing is there, in whatever form one asks.
    missing: bool,
}

/// The server's root, below the base's path without `/v1`, and below the whole path.
fn places(base: &Url) -> Vec<Url> {
    let path = base.path().trim_end_matches('/');
    let above = path.strip_suffix("/v1").unwrap_or(path);
    let mut places: Vec<Url> = Vec::new();
    for prefix in ["", above, path] {
        let mut url = base.clone();
        url.set_path(&format!("{prefix}/tokenize"));
        url.set_query(None);
        if !places.contains(&url) {
            places.push(url);
        }
    }
    places
}

/// A URL without what may be a secret.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(base: &str) -> Vec<String> {
        let places = places(&base.parse().unwrap());
        places.iter().map(|url| url.path().to_owned()).collect()
    }

    #[test]
    fn the_endpoint_is_looked_for_at_the_root_first() {
        assert_eq!(paths("http://h:1"), ["/tokenize"]);
        assert_eq!(paths("http://h:1/v1/"), ["/tokenize", "/v1/tokenize"]);
        assert_eq!(
            paths("http://h:1/llm/v1?key=x"),
            ["/tokenize", "/llm/tokenize", "/llm/v1/tokenize"]
        );
    }

    #[test]
    fn a_shown_url_holds_no_secret() {
        let url: Url = "http://user:pass@h:1/v1?key=x".parse().unwrap();
        assert_eq!(shown(&url), "http://h:1/v1");
    }
}
