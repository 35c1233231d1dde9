//! Where the API is, and whether a redirect stays there. Pure.
//!
//! In: `GITHUB_API_URL`, and the `location` of an answer. Out: paths below the API, or a place that
//! must never see the token. GitHub redirects requests for renamed and transferred repositories to
//! `/repositories/ID/…`; artifacts are redirected to signed addresses elsewhere.

use http::Uri;
use url::Url;

use super::{
    GitHubError,
    operations::{GRAPHQL, Request},
};

/// The API's address.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// Scheme, host and port.
    origin: Url,
    /// Path of the API below its host: empty, or `/api/v3` on GitHub Enterprise Server.
    prefix: String,
}

/// Where a redirect leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Another path of the same API, with its query.
    Api(String),
    /// Anything else: the token is not for it.
    Elsewhere(Url),
}

impl Address {
    /// Reads the API's address.
    ///
    /// # Errors
    ///
    /// [`GitHubError::Address`] when it is no HTTP address or holds what it must not.
    pub(super) fn parse(api_url: &str) -> Result<Self, GitHubError> {
        let wrong = |detail: &str| GitHubError::Address {
            url: api_url.chars().take(200).collect(),
            detail: detail.to_owned(),
        };
        let mut url = Url::parse(api_url).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it must start with https:// or http://"));
        }
        if has_credentials(&url) {
            // The address itself must not be shown then.
            return Err(GitHubError::Address {
                url: "https://***".to_owned(),
                detail: "it must not hold a user name or password".to_owned(),
            });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it must not hold a query or fragment"));
        }
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path("");
        Ok(Self {
            origin: url,
            prefix,
        })
    }

    /// Scheme, host and port.
    ///
    /// # Errors
    ///
    /// [`GitHubError::Address`] when the host is one that HTTP cannot name.
    pub(super) fn base(&self) -> Result<Uri, GitHubError> {
        let origin = self.origin.origin().ascii_serialization();
        origin
            .parse()
            .map_err(|error: http::uri::InvalidUri| GitHubError::Address {
                url: origin.clone(),
                detail: error.to_string(),
            })
    }

    /// Whether this is an Enterprise Server, whose API is below a path of its web address.
    pub(super) fn is_enterprise_server(&self) -> bool {
        self.prefix.ends_with("/api/v3")
    }

    /// The full path of a request. GraphQL's end point is beside the REST API and not below it.
    pub(super) fn path(&self, request: &Request) -> String {
        let prefix = if *request.operation == GRAPHQL {
            self.prefix.strip_suffix("/v3").unwrap_or(&self.prefix)
        } else {
            &self.prefix
        };
        format!("{prefix}{}", request.path)
    }

    /// Where a redirect from this path of the API leads.
    ///
    /// # Errors
    ///
    /// Why nobody should go there.
    pub(super) fn redirect(&self, from: &str, location: &str) -> Result<Target, &'static str> {
        let current = self.origin.join(from);
        let target = current.and_then(|current| current.join(location));
        let Ok(target) = target else {
            return Err("the redirect's address makes no sense");
        };
        if has_credentials(&target) {
            return Err("the redirect's address holds a user name or password");
        }
        // The one thing that moves is a repository. A login page on the same host is not the API.
        let below = |root: &str| target.path().starts_with(&format!("{}{root}", self.prefix));
        let moved = below("/repos/") || below("/repositories/");
        if moved && target.origin() == self.origin.origin() {
            let query = target.query().map(|query| format!("?{query}"));
            return Ok(Target::Api(format!(
                "{}{}",
                target.path(),
                query.unwrap_or_default()
            )));
        }
        Ok(Target::Elsewhere(target))
    }

    /// Where a redirect from one place outside the API leads.
    ///
    /// # Errors
    ///
    /// Why nobody should go there.
    pub(super) fn onward(from: &Url, location: &str) -> Result<Url, &'static str> {
        let target = from.join(location);
        let target = target.or(Err("the redirect's address makes no sense"))?;
        if has_credentials(&target) {
            return Err("the redirect's address holds a user name or password");
        }
        Ok(target)
    }

    /// Whether bytes may be fetched from there: over TLS, or beside a server on this very host.
    pub(super) fn may_fetch(&self, url: &Url) -> bool {
        url.scheme() == "https"
            || (url.scheme() == "http"
                && self.origin.scheme() == "http"
                && is_loopback(&self.origin)
                && is_loopback(url))
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::github::operations::{GET_USER, GRAPHQL};

    fn address(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn addresses_are_split_for_both_kinds_of_server() {
        let cases = [
            ("https://api.github.com", "https://api.github.com/", ""),
            (
                "https://ghe.example:8443/api/v3/",
                "https://ghe.example:8443/",
                "/api/v3",
            ),
        ];
        for (url, base, prefix) in cases {
            let address = address(url);
            assert_eq!(address.base().unwrap(), base.parse::<Uri>().unwrap());
            let user = address.path(&GET_USER.request(&[]));
            assert_eq!(user, format!("{prefix}/user"));
            assert_eq!(address.is_enterprise_server(), !prefix.is_empty());
        }
        let graphql = address("https://ghe.example/api/v3").path(&GRAPHQL.request(&[]));
        assert_eq!(graphql, "/api/graphql");
        for bad in ["", "api.github.com", "file:///x", "https://h/?a=b"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
        let shown = Address::parse("https://me:hunter2@h/").unwrap_err();
        assert!(!shown.to_string().contains("hunter2"));
    }

    #[test]
    fn only_a_repository_of_the_same_api_is_the_same_api() {
        let api = address("https://ghe.example/api/v3");
        let to = |location: &str| api.redirect("/api/v3/repos/o/r/issues?page=2", location);
        let moved = "/api/v3/repositories/7/issues?page=2";
        let same = Ok(Target::Api(moved.to_owned()));
        assert_eq!(to(moved), same);
        assert_eq!(to(&format!("https://ghe.example{moved}")), same);
        assert_eq!(to(&format!("https://ghe.example:443{moved}")), same);
        for elsewhere in [
            "https://evil.example/api/v3/repositories/7/issues",
            "http://ghe.example/api/v3/repositories/7/issues",
            "https://ghe.example:8443/api/v3/repositories/7/issues",
            "//evil.example/api/v3/repositories/7/issues",
            "https://ghe.example/login?return_to=%2Fapi%2Fv3%2Frepos%2F",
            "https://ghe.example/api/v3/repositories/../../../login",
            "https://ghe.example.evil.example/api/v3/repos/o/r",
        ] {
            assert!(
                matches!(to(elsewhere), Ok(Target::Elsewhere(_))),
                "{elsewhere}"
            );
        }
        for bad in ["https://me:pw@ghe.example/api/v3/repos/o/r", "http://["] {
            assert!(to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_come_over_tls_or_from_this_host() {
        let url = |text: &str| Url::parse(text).unwrap();
        let public = address("https://api.github.com");
        assert!(public.may_fetch(&url("https://blob.example/x")));
        for bad in ["http://blob.example/x", "http://127.0.0.1/x", "file:///x"] {
            assert!(!public.may_fetch(&url(bad)), "{bad}");
        }
        let own = address("http://127.0.0.1:80");
        assert!(own.may_fetch(&url("http://localhost:90/x")));
        assert!(own.may_fetch(&url("https://blob.example/x")));
        assert!(!own.may_fetch(&url("http://blob.example/x")));
        let plain = address("http://ghe.example/api/v3");
        assert!(!plain.may_fetch(&url("http://ghe.example/x")));
    }

    proptest! {
        /// Whatever a server says: the token's next request goes to the same origin, below the API.
        #[test]
        fn a_redirect_never_leaves_the_api(location in "\\PC{0,80}") {
            let api = address("https://ghe.example/api/v3");
            if let Ok(Target::Api(path)) = api.redirect("/api/v3/repos/o/r", &location) {
                prop_assert!(path.starts_with("/api/v3/repo"), "{path}");
            }
        }

        #[test]
        fn an_address_is_read_or_refused(text in "\\PC{0,80}") {
            drop(Address::parse(&text).and_then(|address| address.base()));
        }
    }
}
