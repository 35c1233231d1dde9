//! Why a pull failed, from what the daemon says of it: whether another attempt may help, and
//! what to do. Pure.
//!
//! The daemon passes the registry's own words on with all kinds of status codes, so the words
//! decide. They are those of moby (`distribution/errors.go`, `registry/errors.go`), of the Go
//! library (`net`, `crypto/x509`) and of the registry's interface (OCI distribution
//! specification, "Error Codes").

use std::{fmt, time::Duration};

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PullFailure {
    /// The registry is not reached, or the connection breaks.
    Network,
    /// The registry answers with a server error.
    Registry,
    /// Nothing arrives any more.
    Stalled(Duration),
    /// The connection to the daemon broke.
    Daemon,
    /// The registry wants to know who asks.
    Unauthorized,
    /// The registry knows who asks and does not allow it, or hides that there is nothing.
    Denied,
    /// There is no such repository, tag or digest.
    NotFound,
    /// So many requests are not allowed.
    RateLimited,
    /// The reference is not one.
    Reference,
    /// There is no image for this kind of machine.
    Platform,
    /// The daemon does not trust the registry's certificate, or the registry speaks no TLS.
    Tls,
    /// No room for the image.
    DiskFull,
    /// Something else.
    Other,
}

/// Words and what they mean, the first match decides: the special before the general. Each holds
/// a space or a colon, which no name of an image does.
const WORDS: [(&str, PullFailure); 46] = [
    ("no space left on device", PullFailure::DiskFull),
    ("disk quota exceeded", PullFailure::DiskFull),
    ("toomanyrequests:", PullFailure::RateLimited),
    ("too many requests", PullFailure::RateLimited),
    (" rate limit", PullFailure::RateLimited),
    ("invalid reference", PullFailure::Reference),
    ("invalid repository name", PullFailure::Reference),
    ("invalid tag", PullFailure::Reference),
    ("invalid checksum digest", PullFailure::Reference),
    ("no matching manifest", PullFailure::Platform),
    ("cannot be used on this platform", PullFailure::Platform),
    ("match the specified platform", PullFailure::Platform),
    ("no basic auth credentials", PullFailure::Unauthorized),
    ("unauthorized:", PullFailure::Unauthorized),
    ("401 unauthorized", PullFailure::Unauthorized),
    ("authentication required", PullFailure::Unauthorized),
    ("incorrect username or password", PullFailure::Unauthorized),
    // Docker Hub says the same of what is not there and of what is not shown.
    ("access denied", PullFailure::Denied),
    ("denied:", PullFailure::Denied),
    ("is denied", PullFailure::Denied),
    ("403 forbidden", PullFailure::Denied),
    ("x509:", PullFailure::Tls),
    (
        "server gave http response to https client",
        PullFailure::Tls,
    ),
    (" certificate", PullFailure::Tls),
    ("no such host", PullFailure::Network),
    ("server misbehaving", PullFailure::Network),
    ("connection refused", PullFailure::Network),
    ("connection reset", PullFailure::Network),
    ("broken pipe", PullFailure::Network),
    ("no route to host", PullFailure::Network),
    ("network is unreachable", PullFailure::Network),
    (" timeout", PullFailure::Network),
    ("client.timeout exceeded", PullFailure::Network),
    ("timed out", PullFailure::Network),
    ("deadline exceeded", PullFailure::Network),
    (": eof", PullFailure::Network),
    ("unexpected eof", PullFailure::Network),
    ("verification failed", PullFailure::Network),
    ("unexpected http status: 5", PullFailure::Registry),
    ("500 internal server error", PullFailure::Registry),
    ("502 bad gateway", PullFailure::Registry),
    ("503 service unavailable", PullFailure::Registry),
    ("504 gateway", PullFailure::Registry),
    ("manifest unknown", PullFailure::NotFound),
    ("name unknown", PullFailure::NotFound),
    (" not found", PullFailure::NotFound),
];

impl PullFailure {
    /// The kind of failure behind a daemon's words.
    pub(super) fn of(words: &str) -> Self {
        let words = words.to_ascii_lowercase();
        WORDS
            .iter()
            .find(|(part, _)| words.contains(part))
            .map_or(Self::Other, |(_, kind)| *kind)
    }

    /// Whether another attempt may succeed: the network and servers recover, nothing else does.
    pub(super) const fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Network | Self::Registry | Self::Stalled(_) | Self::Daemon
        )
    }

    /// Whether it is this host's fault: another one may do.
    pub const fn is_of_this_host(self) -> bool {
        matches!(self, Self::DiskFull | Self::Daemon)
    }

    /// What to do.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Network | Self::Stalled(_) => {
                "check that the daemon's host reaches the registry (proxy, firewall, DNS), or pull the image beforehand"
            }
            Self::Registry => "the registry has a problem: try later, or use a mirror",
            Self::Daemon => "look at the daemon's log (journalctl -u docker)",
            Self::Unauthorized => {
                "log in on this host (`docker login`, or docker/login-action before this step) with an account that may read it"
            }
            Self::Denied => {
                "check the name; if it is private, log in (`docker login`) with an account that may read it"
            }
            Self::NotFound => "check name and tag: the registry does not have it",
            Self::RateLimited => {
                "log in for a higher limit, use a mirror, or pull the image beforehand"
            }
            Self::Reference => "write the image as [HOST[:PORT]/]NAME[:TAG][@sha256:…]",
            Self::Platform => "choose a tag that is built for this machine's processor",
            Self::Tls => {
                "give the daemon the registry's certificate (/etc/docker/certs.d), or list it as insecure-registries"
            }
            Self::DiskFull => {
                "free space where the daemon keeps images (`docker system df` shows what holds it)"
            }
            Self::Other => "the daemon's words are all that is known: look at its log",
        }
    }
}

impl fmt::Display for PullFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Network => "the registry cannot be reached or the connection breaks",
            Self::Registry => "the registry fails",
            Self::Stalled(limit) => {
                return write!(out, "nothing arrived for {:.1} s", limit.as_secs_f64());
            }
            Self::Daemon => "the connection to Docker broke",
            Self::Unauthorized => "the registry wants other credentials",
            Self::Denied => "the registry does not allow it, or has no such image",
            Self::NotFound => "the registry has no such image",
            Self::RateLimited => "the registry allows no more requests for now",
            Self::Reference => "the reference is not valid",
            Self::Platform => "there is no image for this kind of machine",
            Self::Tls => "there is no trusted connection to the registry",
            Self::DiskFull => "there is no room for it",
            Self::Other => "Docker refused",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The first ones were said by Docker 20.10.24 to a registry on loopback.
    #[test]
    fn the_daemon_s_words_are_understood() {
        for (words, kind) in [
            (
                "manifest for 127.0.0.1:1/x:none not found: manifest unknown: manifest unknown",
                PullFailure::NotFound,
            ),
            (
                "Head \"http://127.0.0.1:1/v2/x/manifests/1\": no basic auth credentials",
                PullFailure::Unauthorized,
            ),
            (
                "unauthorized: authentication required",
                PullFailure::Unauthorized,
            ),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                PullFailure::Network,
            ),
            (
                "Get \"https://r.invalid/v2/\": dial tcp: lookup r.invalid: no such host",
                PullFailure::Network,
            ),
            (
                "received unexpected HTTP status: 503 Service Unavailable",
                PullFailure::Registry,
            ),
            (
                "invalid reference format: repository name must be lowercase",
                PullFailure::Reference,
            ),
            (
                "pull access denied for x, repository does not exist or may require 'docker login'",
                PullFailure::Denied,
            ),
            (
                "toomanyrequests: You have reached your pull rate limit.",
                PullFailure::RateLimited,
            ),
            (
                "failed to register layer: write /x: no space left on device",
                PullFailure::DiskFull,
            ),
            (
                "no matching manifest for linux/arm64/v8 in the manifest list entries",
                PullFailure::Platform,
            ),
            (
                "x509: certificate signed by unknown authority",
                PullFailure::Tls,
            ),
            ("net/http: TLS handshake timeout", PullFailure::Network),
            ("unexpected EOF", PullFailure::Network),
            ("an unknown song", PullFailure::Other),
        ] {
            assert_eq!(PullFailure::of(words), kind, "{words}");
        }
    }

    #[test]
    fn no_name_of_an_image_is_taken_for_a_word() {
        for (words, _) in WORDS {
            assert!(words.contains([' ', ':']), "{words}");
            assert_eq!(words, words.to_ascii_lowercase());
            assert!(words.parse::<crate::ids::ImageRef>().is_err(), "{words}");
        }
    }

    #[test]
    fn only_networks_and_servers_recover() {
        for (kind, again) in [
            (PullFailure::Network, true),
            (PullFailure::Registry, true),
            (PullFailure::Stalled(Duration::ZERO), true),
            (PullFailure::Unauthorized, false),
            (PullFailure::Denied, false),
            (PullFailure::NotFound, false),
            (PullFailure::Reference, false),
            (PullFailure::DiskFull, false),
            (PullFailure::Platform, false),
            (PullFailure::RateLimited, false),
            (PullFailure::Tls, false),
            (PullFailure::Other, false),
        ] {
            assert_eq!(kind.may_pass(), again, "{kind}");
            assert!(!kind.remedy().is_empty());
        }
    }
}
