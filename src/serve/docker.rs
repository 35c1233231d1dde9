//! The Docker daemon: found, greeted and asked about itself.
//!
//! bollard does not escape names: only names made here, checked references and ids the daemon
//! gave reach it. It sends unversioned paths, so the daemon answers in its newest dialect; what
//! depends on a version is decided by [`Daemon::api`].

use std::{sync::Arc, time::Duration};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error, models::SystemVersion};
use http::HeaderValue;
use tokio::sync::OnceCell;

use super::{
    DockerPlace, ServeError,
    calls::{ApiVersion, Unusable, ask},
    facts::DaemonFacts,
    owner::Owner,
    place::{self, Candidate, Rule},
};

pub(super) use super::calls::{ASK, call, chain, status};

/// bollard's limit, in seconds: longer than any of ours, so that ours decides.
const CLIENT_LIMIT: u64 = 3600;
/// How long a daemon may take to say that it is there.
const HELLO: Duration = Duration::from_secs(5);

/// A daemon that answered.
#[derive(Debug, Clone)]
pub struct Daemon {
    pub(super) docker: Docker,
    /// Where it was found, such as `unix:///var/run/docker.sock`.
    pub address: String,
    /// Why it was looked for there.
    pub rule: Rule,
    /// Its version, such as `28.2.2`.
    pub version: String,
    /// The newest interface it speaks.
    pub api: ApiVersion,
    /// Whether it is Podman behind Docker's interface.
    pub podman: bool,
    /// Whether it runs on this machine: host paths and boot ids mean something to it.
    pub(super) local: bool,
    pub(super) owner: Owner,
    facts: Arc<OnceCell<DaemonFacts>>,
}

impl Daemon {
    /// Whether it runs on this machine: its paths mean something here.
    pub const fn is_local(&self) -> bool {
        self.local
    }

    /// What it says of itself, asked once.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn facts(&self) -> Result<&DaemonFacts, ServeError> {
        let fetch = || async {
            let info = ask("describe itself", || self.docker.info()).await?;
            Ok(DaemonFacts::new(info, self.podman))
        };
        self.facts.get_or_try_init(fetch).await
    }
}

/// Finds a daemon: of the places to try, the first that answers.
///
/// # Errors
/// [`ServeError::NoDocker`] with everything that was tried and what to do.
pub async fn connect(docker: &DockerPlace) -> Result<Daemon, ServeError> {
    let places = place::candidates(docker).map_err(|wrong| ServeError::NoDocker {
        why: Unusable::NoContext,
        tried: wrong.why,
        remedy: wrong.remedy,
    })?;
    let mut refusals: Vec<(String, Refusal)> = Vec::new();
    for place in places {
        let tried = format!("{} ({})", place.address, place.rule);
        match hello(place).await {
            Ok(daemon) => {
                greeted(&daemon);
                return Ok(daemon);
            }
            Err(refusal) => refusals.push((tried, refusal)),
        }
    }
    Err(nobody(&refusals))
}

fn greeted(daemon: &Daemon) {
    tracing::debug!(
        address = daemon.address,
        rule = %daemon.rule,
        version = daemon.version,
        api = %daemon.api,
        podman = daemon.podman,
        "Docker"
    );
}

/// The error made of all refusals. The remedy is that of the place nearest to working.
fn nobody(refusals: &[(String, Refusal)]) -> ServeError {
    let said = |(place, refusal): &(String, Refusal)| format!("{place}: {}", refusal.text);
    let tried = if refusals.is_empty() {
        "no socket of Docker or Podman found".to_owned()
    } else {
        refusals.iter().map(said).collect::<Vec<_>>().join("; ")
    };
    let mut reasons = refusals.iter().map(|(_, refusal)| refusal.why);
    let why = reasons.find(|why| *why != Unusable::Absent);
    let why = why.unwrap_or(Unusable::Absent);
    ServeError::NoDocker {
        why,
        tried,
        remedy: why.remedy().to_owned(),
    }
}

#[derive(Debug)]
struct Refusal {
    why: Unusable,
    text: String,
}

impl Refusal {
    fn unsupported(text: &str) -> Self {
        Self {
            why: Unusable::Unsupported,
            text: text.to_owned(),
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            why: Unusable::of(&error),
            text: chain(&error),
        }
    }
}

async fn hello(place: Candidate) -> Result<Daemon, Refusal> {
    let (docker, local) = client(&place.address)?;
    let asked = ask("say its version", || docker.version());
    let version = match tokio::time::timeout(HELLO, asked).await {
        Ok(Ok(version)) => version,
        Ok(Err(ServeError::Docker { source, .. })) => return Err((*source).into()),
        Ok(Err(_)) | Err(_) => {
            return Err(Refusal {
                why: Unusable::Silent,
                text: format!("no answer within {HELLO:?}"),
            });
        }
    };
    Ok(Daemon {
        docker,
        address: place.address,
        rule: place.rule,
        api: ApiVersion::read(version.api_version.as_deref().unwrap_or_default()),
        podman: is_podman(&version),
        version: version.version.unwrap_or_default(),
        local,
        owner: Owner::this_process(),
        facts: Arc::new(OnceCell::new()),
    })
}

fn is_podman(version: &SystemVersion) -> bool {
    let components = version.components.iter().flatten();
    components
        .map(|component| &component.name)
        .any(|name| name.starts_with("Podman"))
}

/// A client for the address, and whether the daemon is on this machine.
fn client(address: &str) -> Result<(Docker, bool), Refusal> {
    let refuse = |why: &str| Err(Refusal::unsupported(why));
    let opened = match address.split_once("://") {
        None if address.starts_with('/') => unix(address),
        Some(("unix", path)) if path.starts_with('/') => unix(path),
        // Plain text to a port that speaks TLS would only hang or leak.
        Some(("https", _)) => return refuse(NO_TLS),
        Some(("tcp" | "http", host)) if host.ends_with(":2376") => return refuse(NO_TLS),
        // The engine's port is published on the daemon's loopback interface alone.
        Some(("tcp" | "http", host)) if !is_loopback(host) => {
            return refuse(
                "a daemon on another machine cannot be used: its ports are not reachable from here",
            );
        }
        Some(("tcp" | "http", _)) => {
            Docker::connect_with_http(address, CLIENT_LIMIT, API_DEFAULT_VERSION)
        }
        Some(_) | None => return refuse("not an address like unix:///var/run/docker.sock"),
    };
    let docker = opened?.with_request_modifier(with_url_safe_credentials);
    // A loopback port may be the end of a tunnel: host paths and boot ids prove nothing.
    let local = !address.contains("tcp://") && !address.contains("http://");
    Ok((docker, local))
}

const NO_TLS: &str = "Docker over TLS is not supported";

fn unix(path: &str) -> Result<Docker, Error> {
    Docker::connect_with_unix(path, CLIENT_LIMIT, API_DEFAULT_VERSION)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "[::1]") || name.starts_with("127.")
}

/// Credentials travel in a header as base64. The daemon reads the URL-safe alphabet
/// (`api/types/registry`, `base64.URLEncoding`) and takes anything else for no credentials at
/// all; bollard writes the standard one.
fn with_url_safe_credentials(mut request: BollardRequest) -> BollardRequest {
    for name in ["x-registry-auth", "x-registry-config"] {
        let Some(value) = request.headers().get(name) else {
            continue;
        };
        let safe = |byte: &u8| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        };
        let bytes: Vec<u8> = value.as_bytes().iter().map(safe).collect();
        if let Ok(mut value) = HeaderValue::from_bytes(&bytes) {
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(address: &str) -> String {
        let refused = client(address).err();
        refused.map(|refusal| refusal.text).unwrap_or_default()
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_before_a_byte_is_sent() {
        assert_eq!(why("tcp://127.0.0.1:2376"), NO_TLS);
        assert_eq!(why("https://127.0.0.1:2375"), NO_TLS);
        assert!(why("tcp://10.0.0.7:2375").contains("another machine"));
        for nonsense in ["", "docker", "ssh://host", "unix://relative"] {
            assert!(why(nonsense).contains("not an address"), "{nonsense}");
        }
        assert_eq!(why("tcp://127.0.0.1:2375"), "");
    }

    #[test]
    fn a_daemon_behind_a_port_is_not_taken_for_a_local_one() {
        assert!(!client("tcp://localhost:2375").ok().unwrap().1);
    }

    #[test]
    fn the_place_nearest_to_working_gives_the_remedy() {
        let refusal = |why| Refusal {
            why,
            text: "x".to_owned(),
        };
        let error = nobody(&[
            ("a".to_owned(), refusal(Unusable::Forbidden)),
            ("b".to_owned(), refusal(Unusable::Absent)),
        ]);
        assert!(error.to_string().contains("group docker"), "{error}");
        let error = nobody(&[]).to_string();
        assert!(error.contains("install and start Docker"), "{error}");
    }

    #[test]
    fn credentials_leave_in_the_alphabet_the_daemon_reads() {
        let request = http::Request::builder()
            .header("X-Registry-Auth", "a+b/c=")
            .header("X-Other", "a+b/c=");
        let body = bollard::body_full(bytes::Bytes::new());
        let request = with_url_safe_credentials(request.body(body).unwrap());
        assert_eq!(request.headers()["x-registry-auth"], "a-b_c=");
        assert_eq!(request.headers()["x-other"], "a+b/c=");
        assert!(request.headers()["x-registry-auth"].is_sensitive());
    }

    #[test]
    fn podman_is_known_by_its_components() {
        let version = |name: &str| -> SystemVersion {
            let components = serde_json::json!([{"Name": name, "Version": "4.3.1"}]);
            serde_json::from_value(serde_json::json!({"Components": components})).unwrap()
        };
        assert!(is_podman(&version("Podman Engine")));
        assert!(!is_podman(&version("Engine")) && !is_podman(&SystemVersion::default()));
    }
}
