//! One exchange over HTTP: octocrab's request building over reqwest's transport.
//!
//! In: a method, a path and a body, or an address outside the API. Out: status, headers and bytes.
//! The token is added here to requests of the API and to nothing else. No redirect is followed
//! here, and no compression is asked for: what arrives is what is counted.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use octocrab::{
    AuthState, Octocrab, OctocrabBuilder,
    service::middleware::{base_uri::BaseUriLayer, reqwest_connector::ReqwestConnector},
};
use reqwest::{Certificate, redirect::Policy};
use serde_json::Value;
use url::Url;

use super::{GitHubError, retry::Failure};
use crate::secret::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const JSON: HeaderValue = HeaderValue::from_static("application/vnd.github+json");

/// What was answered, whatever its status.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// Where the answer sends its reader.
    pub(super) fn location(&self) -> Option<&str> {
        let redirect = matches!(self.status, 301 | 302 | 307 | 308);
        let location = self.headers.get(header::LOCATION)?;
        location.to_str().ok().filter(|_| redirect)
    }
}

/// Connections to the API, and to where it stores bytes.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    api: Octocrab,
    plain: reqwest::Client,
    bearer: HeaderValue,
}

impl Transport {
    /// Sets the connections up; sends nothing.
    ///
    /// # Errors
    ///
    /// [`GitHubError::Client`] when the token cannot be sent or the TLS set-up of this host is
    /// broken.
    pub(super) fn new(base: Uri, token: &Secret) -> Result<Self, GitHubError> {
        // octocrab starts a task of its own and panics where there is no runtime.
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(client_error("no tokio runtime is running"));
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another thread was faster, which is as good.
            drop(rustls::crypto::ring::default_provider().install_default());
        }
        let bearer = bearer(token)?;
        let plain = connections()?;
        // Not octocrab's ready-made client: that one announces itself as "octocrab" beside any
        // user agent one adds, and panics on a token that cannot be a header.
        let Ok(api) = OctocrabBuilder::new_empty()
            .with_service(ReqwestConnector::new(plain.clone()))
            .with_layer(&BaseUriLayer::new(base))
            .with_auth(AuthState::None)
            .build();
        Ok(Self { api, plain, bearer })
    }

    /// Asks the API once, with the token. Answers of more than `most` bytes are refused.
    pub(super) async fn api(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        most: u64,
    ) -> Result<Reply, Failure> {
        let builder = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, JSON)
            .header(header::AUTHORIZATION, self.bearer.clone());
        let request = self.api.build_request(builder, body);
        let request = request.map_err(|error| Failure::Cut(causes(&error)))?;
        let response = self.api.execute(request).await;
        let (parts, body) = response.map_err(|error| lost(&error))?.into_parts();
        let limit = usize::try_from(most).unwrap_or(usize::MAX);
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Failure::Large(most),
            None => Failure::Cut(causes(error.as_ref())),
        })?;
        Ok(Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    /// Fetches a signed address once, without the token. The address is a secret of its own: no
    /// text of an error has it.
    pub(super) async fn storage(&self, url: &Url, most: u64) -> Result<Reply, Failure> {
        let cut = |error: reqwest::Error| lost(&error.without_url());
        let request = self.plain.get(url.clone());
        let request = request.header(header::ACCEPT_ENCODING, "identity");
        let mut response = request.send().await.map_err(cut)?;
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        if (300..400).contains(&status) {
            let body = Bytes::new();
            return Ok(Reply {
                status,
                headers,
                body,
            });
        }
        if let Some(packed) = packed(&headers) {
            let detail =
                format!("the download is compressed ({packed}) although that was not asked for");
            return Err(Failure::Unreadable(detail));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(cut)? {
            if body.len() as u64 + chunk.len() as u64 > most {
                return Err(Failure::Large(most));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status,
            headers,
            body: body.freeze(),
        })
    }
}

/// The connections. Without a single certificate file on the host, as in slim images, reqwest
/// cannot be built; the public authorities stand in then.
fn connections() -> Result<reqwest::Client, GitHubError> {
    let builder = || {
        reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(Policy::none())
            .user_agent(concat!("kitt-action/", env!("CARGO_PKG_VERSION")))
    };
    let broken = |source: reqwest::Error| client_error(&causes(&source));
    let error = match builder().build() {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    if !rustls_native_certs::load_native_certs().certs.is_empty() {
        return Err(broken(error));
    }
    tracing::warn!(
        "no certificate authorities on this host (SSL_CERT_FILE, SSL_CERT_DIR or the package ca-certificates): GitHub's certificate is checked against the public ones that kitt brings"
    );
    let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let public: Result<Vec<Certificate>, _> = public
        .map(|certificate| Certificate::from_der(certificate))
        .collect();
    let client = builder().tls_certs_only(public.map_err(broken)?).build();
    client.map_err(broken)
}

/// A connection without an answer. A certificate that nobody vouches for will not get better.
fn lost(error: &dyn std::error::Error) -> Failure {
    let text = causes(error);
    if text.contains("invalid peer certificate") {
        Failure::Untrusted(text)
    } else {
        Failure::Cut(text)
    }
}

/// The compression of an answer that asked for none.
fn packed(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(header::CONTENT_ENCODING)?;
    let name = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
    (!name.trim().is_empty() && !name.eq_ignore_ascii_case("identity")).then_some(name)
}

fn client_error(detail: &str) -> GitHubError {
    GitHubError::Client {
        detail: detail.to_owned(),
    }
}

fn bearer(token: &Secret) -> Result<HeaderValue, GitHubError> {
    let bearer = format!("Bearer {}", token.expose());
    let Ok(mut bearer) = HeaderValue::from_str(&bearer) else {
        let detail = "the token holds a line break or a control character";
        return Err(client_error(detail));
    };
    bearer.set_sensitive(true);
    Ok(bearer)
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

    fn base() -> Uri {
        "https://api.github.com".parse().unwrap()
    }

    #[tokio::test]
    async fn a_token_that_cannot_be_a_header_is_an_error() {
        let token = Secret::new("a\nb").unwrap();
        let error = Transport::new(base(), &token).unwrap_err();
        assert!(matches!(error, GitHubError::Client { .. }));
    }

    #[test]
    fn outside_a_runtime_is_an_error() {
        let token = Secret::new("t").unwrap();
        assert!(Transport::new(base(), &token).is_err());
    }

    #[test]
    fn only_a_redirect_has_a_location() {
        let reply = |status| Reply {
            status,
            headers: HeaderMap::from_iter([(header::LOCATION, HeaderValue::from_static("/x"))]),
            body: Bytes::new(),
        };
        for status in [301, 302, 307, 308] {
            assert_eq!(reply(status).location(), Some("/x"));
        }
        for status in [200, 201, 303, 304, 404] {
            assert_eq!(reply(status).location(), None);
        }
    }
}
