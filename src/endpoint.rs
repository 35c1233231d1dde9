//! Questions to an engine's HTTP endpoint beside the load: readiness, models, metrics, tokens.
//! One client with the same manners everywhere; the load itself has its own sockets.

use std::time::Duration;

use reqwest::{
    Client,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
    redirect,
};
use url::{Host, Url};

use crate::secret::Secret;

/// A client for questions to `base`: no redirects, the system's proxy only for hosts that are
/// neither this one nor in a private network, `limit` for a whole answer. For `http` no
/// certificates are read, which would cost more than the question itself.
///
/// # Errors
/// The system's certificates cannot be read, or the token fits in no header.
pub fn client(
    base: &Url,
    limit: Duration,
    bearer: Option<&Secret>,
) -> Result<Client, EndpointError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails when another thread was quicker, with the same provider.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    let mut builder = Client::builder()
        .timeout(limit)
        .redirect(redirect::Policy::none())
        .user_agent(concat!("kitt/", env!("CARGO_PKG_VERSION")));
    if is_here(base) {
        builder = builder.no_proxy();
    }
    if base.scheme() == "http" {
        builder = builder.tls_certs_only([]);
    }
    if let Some(token) = bearer {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .or(Err(EndpointError::Token))?;
        value.set_sensitive(true);
        builder = builder.default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
    }
    builder.build().map_err(EndpointError::Client)
}

/// Why no question can be asked.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The token holds a character that no header may have.
    #[error(
        "the endpoint's token cannot be sent in a header: it holds a line break or a character beyond ASCII"
    )]
    Token,
    /// The client cannot be made.
    #[error("no HTTP client can be made: {}", chain(.0))]
    Client(#[source] reqwest::Error),
}

/// `path` below the base, whose own path is kept; a `/v1` that both have is not doubled.
pub fn at(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let mut prefix = base.path().trim_end_matches('/');
    if path.starts_with("/v1/") {
        prefix = prefix.strip_suffix("/v1").unwrap_or(prefix);
    }
    let joined = format!("{prefix}{path}");
    url.set_path(&joined);
    url
}

/// The server's root: the base without a `/v1` at its end. What is no part of `OpenAI`'s
/// interface (`/metrics`, `/tokenize`) lies there.
pub fn root(base: &Url) -> Url {
    let mut url = base.clone();
    let path = base.path().trim_end_matches('/');
    let path = path.strip_suffix("/v1").unwrap_or(path).to_owned();
    url.set_path(&path);
    url
}

/// An error with all its causes: reqwest's own text leaves out what the system said.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_path_of_an_endpoint_is_kept() {
        for (base, path, expected) in [
            ("http://h:1", "/health", "http://h:1/health"),
            ("http://h/p/", "/v1/models", "http://h/p/v1/models"),
            ("http://h/v1", "/v1/models", "http://h/v1/models"),
            ("http://h/p/v1/", "/v1/models", "http://h/p/v1/models"),
        ] {
            assert_eq!(at(&url(base), path).as_str(), expected);
        }
        assert_eq!(
            at(&root(&url("http://h/p/v1/")), "/metrics").as_str(),
            "http://h/p/metrics"
        );
        assert_eq!(
            at(&root(&url("http://h")), "/metrics").as_str(),
            "http://h/metrics"
        );
    }

    #[test]
    fn loopback_never_goes_through_a_proxy() {
        for here in [
            "http://127.0.0.1:1",
            "http://localhost",
            "http://[::1]:2",
            "http://172.17.0.2",
        ] {
            assert!(is_here(&url(here)), "{here}");
        }
        assert!(!is_here(&url("https://api.example.com")));
    }

    #[test]
    fn a_token_with_a_line_break_is_refused() {
        let token = Secret::new("a\nb").unwrap();
        let wrong = client(&url("http://h"), Duration::from_secs(1), Some(&token));
        assert!(matches!(wrong, Err(EndpointError::Token)));
    }
}
