//! Where load goes, and how its requests look on the wire.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::{
    LoadError,
    body::{Extras, Level},
};
use crate::{plan::ApiPath, secret::Secret};

/// An endpoint and what every request to it has in common.
#[derive(Debug)]
pub struct Target {
    /// Base URL: `http://host[:port]` or `https://…`, with or without a path; `/v1` is added
    /// unless it is already there.
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
    /// Certificates that https trusts. `None` trusts the system's, or those in the file that the
    /// environment names as `SSL_CERT_FILE`.
    pub roots: Option<Vec<CertificateDer<'static>>>,
    /// What the server is known to accept: a [`Level`] in the low bits, and [`SETTLED`].
    known: AtomicU8,
}

/// Bit of [`Target::known`]: the server has accepted its level, refusals have other causes.
const SETTLED: u8 = 4;

impl Target {
    /// An endpoint without a token that trusts the system's certificates.
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
            roots: None,
            known: AtomicU8::new(0),
        }
    }

    /// Whether the server was found to refuse [`Target::extras`] and is spoken to without them
    /// since. The answers' lengths may then differ from what was asked for.
    pub fn extras_refused(&self) -> bool {
        self.level() != Level::Full
    }

    /// Whether the server was found to refuse even `stream_options` and is not asked to count
    /// tokens since.
    pub fn usage_refused(&self) -> bool {
        self.level() == Level::Bare
    }

    /// What requests carry now.
    pub(super) fn level(&self) -> Level {
        match self.known.load(Ordering::Relaxed) & !SETTLED {
            0 => Level::Full,
            1 => Level::Plain,
            _ => Level::Bare,
        }
    }

    /// Notes that the server accepted a request of this level.
    pub(super) fn accepted(&self, level: Level) {
        if self.is_settled() {
            return;
        }
        // The first acceptance decides: several connections may be finding out at once.
        let found = SETTLED | rank(level);
        let order = Ordering::Relaxed;
        let first = self.known.compare_exchange(0, found, order, order);
        if first.is_ok() && level != Level::Full {
            tracing::info!("the server refuses keys beyond the standard; going on without them");
        }
    }

    /// The level to try after the server has refused one with 400 or 422. `None` when the
    /// refusal must have another cause.
    pub(super) fn below(&self, level: Level, extras: &Extras) -> Option<Level> {
        if self.is_settled() {
            // Only a request that was under way when the level was found can carry more.
            let known = self.level();
            return (rank(level) < rank(known)).then_some(known);
        }
        extras.below(level)
    }

    fn is_settled(&self) -> bool {
        self.known.load(Ordering::Relaxed) & SETTLED != 0
    }
}

/// Counts levels from the fullest.
const fn rank(level: Level) -> u8 {
    match level {
        Level::Full => 0,
        Level::Plain => 1,
        Level::Bare => 2,
    }
}

/// A target's parts as the driver needs them.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// Whether TLS is spoken.
    pub(super) secure: bool,
    /// A request's head up to the number in `Content-Length`. It may hold a token.
    head: Secret,
}

impl Wire {
    /// Takes a target apart.
    ///
    /// # Errors
    /// [`LoadError::Endpoint`]: no `http` or `https` URL, or a token that no header can hold.
    pub(super) fn new(target: &Target) -> Result<Self, LoadError> {
        let wrong = |why| LoadError::Endpoint {
            url: target.url.to_string(),
            why,
        };
        let secure = match target.url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("its scheme is neither http nor https")),
        };
        let host = target.url.host().ok_or_else(|| wrong("it has no host"))?;
        let authority = match target.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let head = head(target, &authority)
            .ok_or_else(|| wrong("its token cannot be sent in a header"))?;
        Ok(Self {
            host: host.to_owned(),
            port: target
                .url
                .port_or_known_default()
                .ok_or_else(|| wrong("it has no port"))?,
            secure,
            head,
        })
    }

    /// Writes a whole request into `out`; its body is the pieces, one after the other.
    pub(super) fn request(&self, body: [&[u8]; 3], out: &mut Vec<u8>) {
        let length: usize = body.iter().map(|piece| piece.len()).sum();
        out.clear();
        out.extend_from_slice(self.head.expose().as_bytes());
        out.extend_from_slice(length.to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        for piece in body {
            out.extend_from_slice(piece);
        }
    }
}

/// Path behind the version part.
const fn tail(path: ApiPath) -> &'static str {
    match path {
        ApiPath::Chat => "chat/completions",
        ApiPath::Completions => "completions",
    }
}

fn path(target: &Target) -> String {
    let base = target.url.path().trim_end_matches('/');
    let version = if base.ends_with("/v1") { "" } else { "/v1" };
    format!("{base}{version}/{}", tail(target.path))
}

fn head(target: &Target, authority: &str) -> Option<Secret> {
    let authorization = match &target.bearer {
        Some(token) => {
            // Anything else would end the header or be no header at all (RFC 9110 §5.5).
            let visible = |byte: u8| byte.is_ascii_graphic();
            if !token.expose().bytes().all(visible) {
                return None;
            }
            format!("Authorization: Bearer {}\r\n", token.expose())
        }
        None => String::new(),
    };
    Secret::new(format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: kitt/{version}\r\n\
         Content-Type: application/json\r\nAccept: text/event-stream\r\n\
         Accept-Encoding: identity\r\nConnection: keep-alive\r\n{authorization}\
         Content-Length: ",
        path = path(target),
        version = env!("CARGO_PKG_VERSION"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(url: &str) -> Target {
        Target::new(
            url.parse().unwrap(),
            ApiPath::Chat,
            "m".to_owned(),
            Map::new(),
            Duration::from_secs(1),
        )
    }

    fn request(target: &Target) -> String {
        let mut out = b"left over".to_vec();
        let wire = Wire::new(target).unwrap();
        wire.request([b"{\"a\":1", b"", b"}"], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_version_is_added_once() {
        for (url, expected) in [
            ("http://h", "/v1/chat/completions"),
            ("http://h/", "/v1/chat/completions"),
            ("http://h/v1/", "/v1/chat/completions"),
            ("http://h/proxy", "/proxy/v1/chat/completions"),
        ] {
            let text = request(&to(url));
            let line = format!("POST {expected} HTTP/1.1\r\n");
            assert!(text.starts_with(&line), "{text}");
        }
    }

    #[test]
    fn a_request_is_a_head_with_the_bodys_length_and_the_body() {
        let text = request(&to("http://h"));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "{\"a\":1}");
        assert!(head.ends_with("Content-Length: 7"), "{head}");
        for line in [
            "Host: h",
            "Content-Type: application/json",
            "Accept: text/event-stream",
            "Accept-Encoding: identity",
            "Connection: keep-alive",
            concat!("User-Agent: kitt/", env!("CARGO_PKG_VERSION")),
        ] {
            assert!(head.lines().any(|found| found == line), "{line}: {head}");
        }
        assert!(!head.contains("Authorization"));
    }

    #[test]
    fn host_and_port_reach_socket_and_header() {
        let six = to("http://[::1]:8000");
        assert_eq!(Wire::new(&six).unwrap().port, 8000);
        assert!(request(&six).contains("\r\nHost: [::1]:8000\r\n"));
        assert_eq!(Wire::new(&to("http://h")).unwrap().port, 80);
        let secure = Wire::new(&to("https://h")).unwrap();
        assert_eq!((secure.port, secure.secure), (443, true));
    }

    #[test]
    fn other_schemes_are_refused_with_a_reason() {
        let error = Wire::new(&to("ftp://h")).unwrap_err().to_string();
        assert!(error.contains("neither http nor https"), "{error}");
    }

    #[test]
    fn a_token_is_sent_and_not_shown() {
        let mut target = to("http://h");
        target.bearer = Secret::new("hidden");
        assert!(request(&target).contains("\r\nAuthorization: Bearer hidden\r\n"));
        let wire = Wire::new(&target).unwrap();
        assert!(!format!("{wire:?} {target:?}").contains("hidden"));
        target.bearer = Secret::new("two\r\nlines");
        let error = Wire::new(&target).unwrap_err().to_string();
        assert!(error.contains("token") && !error.contains("two"), "{error}");
    }

    fn with_extras() -> (Target, Extras) {
        let mut target = to("http://h");
        target.extras.insert("top_k".to_owned(), 1.into());
        let extras = Extras::new(&target.extras);
        (target, extras)
    }

    #[test]
    fn refusals_lead_down_until_a_level_is_accepted() {
        let (target, extras) = with_extras();
        assert_eq!(target.below(Level::Full, &extras), Some(Level::Plain));
        assert_eq!(target.below(Level::Plain, &extras), Some(Level::Bare));
        assert_eq!(target.below(Level::Bare, &extras), None);
        target.accepted(Level::Plain);
        // Another connection's request of the level before goes straight to what is known.
        assert_eq!(target.below(Level::Full, &extras), Some(Level::Plain));
        assert_eq!(target.below(Level::Plain, &extras), None);
        target.accepted(Level::Bare);
        assert!(target.extras_refused() && !target.usage_refused());
    }

    #[test]
    fn a_server_that_accepted_everything_is_not_asked_for_less() {
        let (target, extras) = with_extras();
        target.accepted(Level::Full);
        assert_eq!(target.below(Level::Full, &extras), None);
        assert!(!target.extras_refused());
    }
}
