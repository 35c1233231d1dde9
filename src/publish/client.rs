//! The connection to GitHub's REST API: octocrab's request building over reqwest's transport.
//!
//! In: the API's address and a token. Out: parsed answers, or a failure classed by
//! [`super::retry`]. Requests that may be repeated go through [`GitHub::ask`]; creating a comment
//! is not one of them and uses [`GitHub::attempt`].

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt, Limited};
use octocrab::{
    AuthState, Octocrab, OctocrabBuilder,
    service::middleware::{base_uri::BaseUriLayer, reqwest_connector::ReqwestConnector},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    PublishError,
    retry::{self, Failure, Kind, Refusal},
};
use crate::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// One attempt with its whole answer, however slowly it trickles in.
const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);
/// A hundred comments of the longest kind in the widest encoding stay below.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;
/// Characters of a foreign error text that are shown.
const DETAIL_CHARS: usize = 300;

/// A client for one API address and one token.
#[derive(Debug, Clone)]
pub struct GitHub {
    api: Octocrab,
    /// Path of the API below its host: empty, or `/api/v3` on GitHub Enterprise Server.
    prefix: String,
    token: Secret,
    base_delay: Duration,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// What it is for, as an infinitive: "create the comment".
    pub(super) action: &'static str,
    /// HTTP method.
    pub(super) method: &'a Method,
    /// Path and query below the host.
    pub(super) path: &'a str,
    /// JSON to send.
    pub(super) body: Option<&'a Value>,
}

/// A 2xx answer.
#[derive(Debug)]
pub(super) struct Answer<T> {
    /// The parsed body.
    pub(super) value: T,
    /// Its headers.
    pub(super) headers: HeaderMap,
}

impl GitHub {
    /// Makes a client; sends nothing. `api_url` is `GITHUB_API_URL`, on GitHub Enterprise Server
    /// with its `/api/v3`. Must be called inside a tokio runtime. Proxies are taken from
    /// `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    ///
    /// # Errors
    ///
    /// [`PublishError::Address`] when `api_url` is no HTTP address, [`PublishError::Client`] when
    /// the token cannot be sent or the TLS set-up of this host is broken.
    pub fn new(api_url: &str, token: Secret) -> Result<Self, PublishError> {
        let (base, prefix) = split_address(api_url)?;
        // octocrab starts a task of its own and panics where there is no runtime.
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(client_error("no tokio runtime is running"));
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another thread was faster, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let transport = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .default_headers(headers(&token)?)
            .build()
            .map_err(|source| client_error(&causes(&source)))?;
        // Not octocrab's ready-made client: that one announces itself as "octocrab" beside any
        // user agent one adds, and panics on a token that cannot be a header.
        let Ok(api) = OctocrabBuilder::new_empty()
            .with_service(ReqwestConnector::new(transport))
            .with_layer(&BaseUriLayer::new(base))
            .with_auth(AuthState::None)
            .build();
        Ok(Self {
            api,
            prefix,
            token,
            base_delay: Duration::from_secs(1),
        })
    }

    /// Replaces the delay that waits between attempts are built from: one second, and less only
    /// against a server of one's own.
    #[must_use]
    pub fn with_base_delay(mut self, base_delay: Duration) -> Self {
        self.base_delay = base_delay;
        self
    }

    /// The full path of a REST route such as `/user`.
    pub(super) fn rest(&self, route: &str) -> String {
        format!("{}{route}", self.prefix)
    }

    /// The path of the GraphQL end point, which is beside the REST API and not below it.
    pub(super) fn graphql(&self) -> String {
        let parent = self.prefix.strip_suffix("/v3").unwrap_or(&self.prefix);
        format!("{parent}/graphql")
    }

    /// Sends a request that may be repeated, until it is answered or retrying is pointless.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
    ) -> Result<Answer<T>, PublishError> {
        let mut attempt = 1;
        loop {
            match self.attempt(call).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if self.pause(call.action, &failure, attempt).await => attempt += 1,
                Err(failure) => return Err(give_up(call.action, attempt, failure)),
            }
        }
    }

    /// Sends a request once.
    pub(super) async fn attempt<T: DeserializeOwned>(
        &self,
        call: Call<'_>,
    ) -> Result<Answer<T>, Failure> {
        let late = |_| {
            let seconds = ATTEMPT_TIMEOUT.as_secs();
            Failure::Cut(format!("no whole answer within {seconds} s"))
        };
        let (status, headers, body) = tokio::time::timeout(ATTEMPT_TIMEOUT, self.exchange(call))
            .await
            .map_err(late)?
            .map_err(|detail| Failure::Cut(self.clean(&detail)))?;
        if !(200..300).contains(&status) {
            let message = self.clean(&message(&body));
            return Err(Failure::Refused(refusal(status, message, &headers)));
        }
        let value = serde_json::from_slice(&body)
            .map_err(|error| Failure::Unreadable(self.clean(&error.to_string())))?;
        Ok(Answer { value, headers })
    }

    /// Sleeps before the next attempt; `false` when there is to be none.
    pub(super) async fn pause(&self, action: &str, failure: &Failure, attempt: u32) -> bool {
        let jitter = rand::random::<f64>();
        let Some(wait) = retry::wait(failure, attempt, self.base_delay, jitter) else {
            return false;
        };
        tracing::info!(
            "trying again to {action} in {:.1} s: {}",
            wait.as_secs_f64(),
            describe(failure)
        );
        tokio::time::sleep(wait).await;
        true
    }

    async fn exchange(&self, call: Call<'_>) -> Result<(u16, HeaderMap, Bytes), String> {
        let builder = http::Request::builder()
            .method(call.method.clone())
            .uri(call.path);
        let request = self
            .api
            .build_request(builder, call.body)
            .map_err(|error| causes(&error))?;
        let response = self.api.execute(request).await;
        let (parts, body) = response.map_err(|error| causes(&error))?.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| causes(error.as_ref()))?
            .to_bytes();
        Ok((parts.status.as_u16(), parts.headers, body))
    }

    /// A foreign text, short, on one line and without the token.
    fn clean(&self, text: &str) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = self.token.redact(&words.join(" "));
        line.chars().take(DETAIL_CHARS).collect()
    }
}

/// The error for the caller when no further attempt is made.
pub(super) fn give_up(action: &'static str, attempts: u32, failure: Failure) -> PublishError {
    match failure {
        Failure::Cut(detail) => PublishError::Unreachable {
            action,
            attempts,
            detail,
        },
        Failure::Unreadable(detail) => PublishError::Answer { action, detail },
        Failure::Refused(refusal) => match refusal.kind() {
            Kind::Forbidden => PublishError::Forbidden {
                action,
                message: refusal.message,
            },
            Kind::Passing => PublishError::Unreachable {
                action,
                attempts,
                detail: format!("status {}: {}", refusal.status, refusal.message),
            },
            Kind::Limited | Kind::Final => PublishError::Status {
                action,
                status: refusal.status,
                message: refusal.message,
            },
        },
    }
}

fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => format!("status {}: {}", refusal.status, refusal.message),
        Failure::Cut(detail) | Failure::Unreadable(detail) => detail.clone(),
    }
}

/// Origin and path of the API's address.
fn split_address(api_url: &str) -> Result<(Uri, String), PublishError> {
    let wrong = |detail: &str| PublishError::Address {
        url: api_url.chars().take(200).collect(),
        detail: detail.to_owned(),
    };
    let url = url::Url::parse(api_url).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must start with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The address itself must not be shown then.
        return Err(PublishError::Address {
            url: "https://***".to_owned(),
            detail: "it must not hold a user name or password".to_owned(),
        });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("it must not hold a query or fragment"));
    }
    let base = url.origin().ascii_serialization();
    let base: Uri = base
        .parse()
        .map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
    Ok((base, url.path().trim_end_matches('/').to_owned()))
}

fn client_error(detail: &str) -> PublishError {
    PublishError::Client {
        detail: detail.to_owned(),
    }
}

/// What every request carries. reqwest takes the authorization away when it is redirected to
/// another host.
fn headers(token: &Secret) -> Result<HeaderMap, PublishError> {
    let bearer = format!("Bearer {}", token.expose());
    let Ok(mut bearer) = HeaderValue::from_str(&bearer) else {
        let detail = "the token holds a line break or a control character";
        return Err(client_error(detail));
    };
    bearer.set_sensitive(true);
    let agent = concat!("kitt-action/", env!("CARGO_PKG_VERSION"));
    let json = HeaderValue::from_static("application/vnd.github+json");
    Ok(HeaderMap::from_iter([
        (header::AUTHORIZATION, bearer),
        (header::USER_AGENT, HeaderValue::from_static(agent)),
        (header::ACCEPT, json),
    ]))
}

/// `message` of GitHub's error body with the first detail, or the body as it is (a proxy's page).
fn message(body: &[u8]) -> String {
    let whole = || String::from_utf8_lossy(body).into_owned();
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return whole();
    };
    let Some(message) = json.get("message").and_then(Value::as_str) else {
        return whole();
    };
    let detail = json.pointer("/errors/0/message").and_then(Value::as_str);
    detail.map_or_else(
        || message.to_owned(),
        |detail| format!("{message}: {detail}"),
    )
}

fn refusal(status: u16, message: String, headers: &HeaderMap) -> Refusal {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name: &str| text(name).and_then(|value| value.trim().parse().ok());
    let date = text("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    Refusal {
        status,
        message,
        retry_after_s: number("retry-after"),
        remaining: number("x-ratelimit-remaining"),
        reset_s: number("x-ratelimit-reset"),
        date_s: date.and_then(|date| u64::try_from(date.timestamp().as_second()).ok()),
    }
}

/// An error with its sources, each text once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_for_both_kinds_of_server() {
        let split = |url| split_address(url).unwrap();
        let pair = |base: &str, prefix: &str| (base.parse().unwrap(), prefix.to_owned());
        assert_eq!(
            split("https://api.github.com"),
            pair("https://api.github.com", "")
        );
        assert_eq!(
            split("https://ghe.example:8443/api/v3/"),
            pair("https://ghe.example:8443", "/api/v3")
        );
        for bad in ["", "api.github.com", "file:///x", "https://h/?a=b"] {
            assert!(split_address(bad).is_err(), "{bad}");
        }
        let shown = split_address("https://me:hunter2@h/").unwrap_err();
        assert!(!shown.to_string().contains("hunter2"));
    }

    #[test]
    fn the_headers_of_a_refusal_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        headers.insert("x-ratelimit-reset", HeaderValue::from_static("784111807"));
        // The example of RFC 9110, section 5.6.7.
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert("date", date);
        let read = refusal(403, "m".into(), &headers);
        assert_eq!(read.retry_after_s, Some(7));
        assert_eq!(read.remaining, Some(0));
        assert_eq!(read.reset_s, Some(784_111_807));
        assert_eq!(read.date_s, Some(784_111_777));
        let bare = refusal(500, "m".into(), &HeaderMap::new());
        assert_eq!((bare.retry_after_s, bare.date_s), (None, None));
    }

    #[test]
    fn error_bodies_become_one_sentence() {
        let long = br#"{"message":"Validation Failed","errors":[{"message":"body is too long"}]}"#;
        assert_eq!(message(long), "Validation Failed: body is too long");
        assert_eq!(message(br#"{"message":"Not Found"}"#), "Not Found");
        assert_eq!(message(b"<html>"), "<html>");
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_a_header_is_an_error() {
        let token = Secret::new("a\nb").unwrap();
        let error = GitHub::new("https://api.github.com", token).unwrap_err();
        assert!(matches!(error, PublishError::Client { .. }));
    }

    #[test]
    fn outside_a_runtime_is_an_error() {
        let token = Secret::new("t").unwrap();
        assert!(GitHub::new("https://api.github.com", token).is_err());
    }
}
