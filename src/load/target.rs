//! Where load goes, and how its requests look on the wire.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Uri, header};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::LoadError;
use crate::secret::Secret;

/// Which of the two OpenAI-compatible interfaces is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiPath {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
}

impl ApiPath {
    /// Path behind the version part.
    const fn tail(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
        }
    }
}

/// An endpoint and what every request to it has in common.
#[derive(Debug)]
pub struct Target {
    /// Base URL: `http://host[:port]`, with or without a path; `/v1` is added unless it is
    /// already there.
    pub url: Url,
    /// The interface.
    pub path: ApiPath,
    /// The name requests put into `model`.
    pub model: String,
    /// Keys added to every body. A server that answers 400 or 422 to them is asked again
    /// without; see [`Target::extras_refused`].
    pub extras: Map<String, Value>,
    /// Longest time one request may take, from its first byte to the end of its answer.
    pub timeout: Duration,
    /// Sent as `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    refused: AtomicBool,
}

impl Target {
    /// An endpoint without a token.
    pub fn new(
        url: Url,
        path: ApiPath,
        model: String,
        extras: Map<String, Value>,
        timeout: Duration,
    ) -> Self {
        Self {
            url,
            path,
            model,
            extras,
            timeout,
            bearer: None,
            refused: AtomicBool::new(false),
        }
    }

    /// Whether the server was found to refuse [`Target::extras`] and is spoken to without them
    /// since. The answers' lengths may then differ from what was asked for.
    pub fn extras_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Remembers that the server refuses the extras.
    pub(super) fn refuse_extras(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }
}

/// A target's parts as the driver needs them.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

impl Wire {
    /// Takes a target apart.
    ///
    /// # Errors
    /// [`LoadError::Endpoint`]: no `http` URL, or a token that no header can hold.
    pub(super) fn new(target: &Target) -> Result<Self, LoadError> {
        let wrong = |why| LoadError::Endpoint {
            url: target.url.to_string(),
            why,
        };
        match target.url.scheme() {
            "http" => {}
            "https" => {
                return Err(wrong(
                    "https is not supported yet: put a plain http proxy in front of it",
                ));
            }
            _ => return Err(wrong("its scheme is not http")),
        }
        let host = target.url.host().ok_or_else(|| wrong("it has no host"))?;
        let authority = match target.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        Ok(Self {
            host: host.to_owned(),
            port: target.url.port_or_known_default().unwrap_or(80),
            uri: path(target)
                .parse()
                .or(Err(wrong("its path cannot be sent")))?,
            headers: headers(&authority, target.bearer.as_ref())
                .ok_or_else(|| wrong("its host or token cannot be sent in a header"))?,
        })
    }
}

fn path(target: &Target) -> String {
    let base = target.url.path().trim_end_matches('/');
    let version = if base.ends_with("/v1") { "" } else { "/v1" };
    format!("{base}{version}/{}", target.path.tail())
}

fn headers(authority: &str, bearer: Option<&Secret>) -> Option<HeaderMap> {
    let fixed = |text| HeaderValue::from_static(text);
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(authority).ok()?);
    headers.insert(header::CONTENT_TYPE, fixed("application/json"));
    headers.insert(header::ACCEPT, fixed("text/event-stream"));
    let agent = concat!("kitt/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, fixed(agent));
    if let Some(token) = bearer {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(url: &str) -> Result<Wire, LoadError> {
        let limit = Duration::from_secs(1);
        let url = url.parse().unwrap();
        Wire::new(&Target::new(
            url,
            ApiPath::Chat,
            "m".to_owned(),
            Map::new(),
            limit,
        ))
    }

    #[test]
    fn the_version_is_added_once() {
        for (url, expected) in [
            ("http://h", "/v1/chat/completions"),
            ("http://h/", "/v1/chat/completions"),
            ("http://h/v1/", "/v1/chat/completions"),
            ("http://h/proxy", "/proxy/v1/chat/completions"),
        ] {
            assert_eq!(wire(url).unwrap().uri.path(), expected);
        }
    }

    #[test]
    fn host_and_port_reach_socket_and_header() {
        let six = wire("http://[::1]:8000").unwrap();
        assert_eq!(six.port, 8000);
        assert_eq!(six.headers.get("host").unwrap(), "[::1]:8000");
        assert_eq!(wire("http://h").unwrap().port, 80);
    }

    #[test]
    fn other_schemes_are_refused_with_a_reason() {
        let error = wire("https://h").unwrap_err().to_string();
        assert!(error.contains("https is not supported yet"), "{error}");
        assert!(wire("ftp://h").is_err());
    }

    #[test]
    fn a_token_is_sent_and_not_shown() {
        let mut target = Target::new(
            "http://h".parse().unwrap(),
            ApiPath::Completions,
            "m".to_owned(),
            Map::new(),
            Duration::from_secs(1),
        );
        target.bearer = Secret::new("hidden");
        let wire = Wire::new(&target).unwrap();
        assert_eq!(wire.headers.get("authorization").unwrap(), "Bearer hidden");
        assert!(!format!("{wire:?} {target:?}").contains("hidden"));
    }
}
