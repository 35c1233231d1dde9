//! The Docker daemon: finding it, talking to it under time limits of our own, and sweeping what
//! dead runs left there.
//!
//! bollard's own time limit covers only the headers of an answer, so every call goes through
//! [`call`]. It does not escape names either: only names made here, checked references and ids
//! the daemon gave reach it.

use std::{
    error::Error as _, future::Future, os::unix::fs::MetadataExt, path::Path, time::Duration,
};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};

use super::{ServeError, owner::Owner};

/// Limit of calls that only ask.
pub(super) const ASK: Duration = Duration::from_secs(15);
/// bollard's limit, in seconds: longer than any of ours, so that ours decides.
const CLIENT_LIMIT: u64 = 900;
/// How long a daemon may take to say that it is there.
const HELLO: Duration = Duration::from_secs(5);

/// A daemon that answered.
#[derive(Debug, Clone)]
pub struct Daemon {
    pub(super) docker: Docker,
    /// Where it was found, such as `unix:///var/run/docker.sock`.
    pub address: String,
    /// Its version, such as `28.2.2`.
    pub version: String,
    /// Whether it runs on this machine: host paths and boot ids mean something to it.
    pub(super) local: bool,
    pub(super) owner: Owner,
}

/// Finds a daemon: the given address alone, or else the usual sockets, the first that answers.
///
/// # Errors
/// [`ServeError::NoDocker`] with everything that was tried and what to do.
pub async fn connect(docker_host: Option<&str>) -> Result<Daemon, ServeError> {
    let places = match docker_host {
        Some(host) => vec![host.to_owned()],
        None => usual_sockets(),
    };
    let mut refusals = Vec::new();
    let mut last = None;
    for place in &places {
        match hello(place).await {
            Ok(daemon) => {
                tracing::debug!(address = daemon.address, version = daemon.version, "Docker");
                return Ok(daemon);
            }
            Err(Refusal { why, source }) => {
                refusals.push(format!("{place}: {why}"));
                last = source.or(last);
            }
        }
    }
    if places.is_empty() {
        refusals.push("no socket of Docker or Podman found".to_owned());
    }
    let tried = refusals.join("; ");
    Err(ServeError::NoDocker {
        remedy: remedy(&tried),
        tried,
        source: last.map(Box::new),
    })
}

struct Refusal {
    why: String,
    source: Option<Error>,
}

async fn hello(address: &str) -> Result<Daemon, Refusal> {
    let (docker, local) = client(address)?;
    let answer = tokio::time::timeout(HELLO, docker.version()).await;
    let version = match answer {
        Ok(Ok(version)) => version.version.unwrap_or_default(),
        Ok(Err(error)) => {
            return Err(Refusal {
                why: chain(&error),
                source: Some(error),
            });
        }
        Err(_) => {
            return Err(Refusal {
                why: format!("no answer within {HELLO:?}"),
                source: None,
            });
        }
    };
    Ok(Daemon {
        docker,
        address: address.to_owned(),
        version,
        local,
        owner: Owner::this_process(),
    })
}

/// A client for the address, and whether the daemon is on this machine.
fn client(address: &str) -> Result<(Docker, bool), Refusal> {
    let refuse = |why: &str| {
        Err(Refusal {
            why: why.to_owned(),
            source: None,
        })
    };
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
    match opened {
        // A loopback port may be the end of a tunnel: host paths and boot ids prove nothing.
        Ok(docker) => Ok((
            docker,
            !address.contains("tcp://") && !address.contains("http://"),
        )),
        Err(error) => Err(Refusal {
            why: chain(&error),
            source: Some(error),
        }),
    }
}

const NO_TLS: &str = "Docker over TLS is not supported";

fn unix(path: &str) -> Result<Docker, Error> {
    Docker::connect_with_unix(path, CLIENT_LIMIT, API_DEFAULT_VERSION)
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "[::1]") || name.starts_with("127.")
}

/// Sockets that exist, in the order Docker, rootless Docker, Podman.
fn usual_sockets() -> Vec<String> {
    let mut places = vec!["/var/run/docker.sock".to_owned()];
    // The owner of /proc/self is the effective user.
    if let Ok(own) = std::fs::metadata("/proc/self") {
        let user = own.uid();
        places.push(format!("/run/user/{user}/docker.sock"));
        places.push(format!("/run/user/{user}/podman/podman.sock"));
    }
    places.push("/run/podman/podman.sock".to_owned());
    places.retain(|path| Path::new(path).exists());
    places
        .into_iter()
        .map(|path| format!("unix://{path}"))
        .collect()
}

fn remedy(tried: &str) -> &'static str {
    if tried.contains("ermission denied") {
        "this user may not use the socket: add it to the group docker, or run as root"
    } else if tried.contains("refused") {
        "the socket is there but nobody listens: start the daemon (systemctl start docker)"
    } else if tried.contains(NO_TLS) || tried.contains("another machine") {
        "use the socket of a daemon on this machine, such as unix:///var/run/docker.sock"
    } else if tried.contains("no answer") {
        "the daemon hangs: restart it (systemctl restart docker)"
    } else {
        "install and start Docker, or measure without a container (engine `openai`, or --mode native)"
    }
}

/// The error with everything below it: bollard's own text hides the cause.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        below = cause.source();
    }
    text
}

/// One call under our own limit. `action` completes the sentence "Docker could not …".
pub(super) async fn call<T>(
    action: &'static str,
    limit: Duration,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, ServeError> {
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::RequestTimeoutError)) | Err(_) => {
            Err(ServeError::DockerTimeout { action, limit })
        }
        Ok(Err(source)) => Err(ServeError::Docker {
            action,
            source: Box::new(source),
        }),
    }
}

/// The daemon's status code, where the error is an answer of the daemon.
pub(super) fn status(error: &ServeError) -> Option<u16> {
    if let ServeError::Docker { source, .. } = error
        && let Error::DockerResponseServerError { status_code, .. } = source.as_ref()
    {
        return Some(*status_code);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(address: &str) -> String {
        client(address)
            .err()
            .map(|refusal| refusal.why)
            .unwrap_or_default()
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

    #[tokio::test]
    async fn what_was_tried_and_what_to_do_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        // A listener that is gone leaves a socket nobody listens on.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = connect(path.to_str()).await.unwrap_err().to_string();
        assert!(
            error.contains("refused") && error.contains("start the daemon"),
            "{error}"
        );
        let absent = folder.path().join("absent.sock");
        let error = connect(absent.to_str()).await.unwrap_err().to_string();
        assert!(
            error.contains("absent.sock") && error.contains("install"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = connect(path.to_str()).await.unwrap_err().to_string();
        assert!(error.contains("no answer within 5s"), "{error}");
    }
}
