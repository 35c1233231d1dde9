//! Calls to the daemon under limits of our own, and what their errors mean.
//!
//! bollard's own limit covers only the headers of an answer, so every call goes through [`call`]
//! or, where asking twice does no harm, [`ask`].

use std::{error::Error as _, fmt, future::Future, time::Duration};

use bollard::errors::Error;

use super::ServeError;

/// Limit of calls that only ask.
pub(super) const ASK: Duration = Duration::from_secs(10);
/// How long to wait before a question is repeated, and so how often it is.
const AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

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

/// A question (GET) under [`ASK`], repeated twice where the daemon stumbles: a broken
/// connection, an answer that is cut off, a server error. A daemon that says nothing is not
/// asked again.
pub(super) async fn ask<T, F>(
    action: &'static str,
    request: impl Fn() -> F,
) -> Result<T, ServeError>
where
    F: Future<Output = Result<T, Error>>,
{
    for pause in AGAIN {
        match call(action, ASK, request()).await {
            Err(ServeError::Docker { source, .. }) if stumbled(&source) => {
                tracing::debug!(action, error = chain(&source), "asking Docker once more");
                tokio::time::sleep(pause).await;
            }
            other => return other,
        }
    }
    call(action, ASK, request()).await
}

/// Whether the same question may well be answered a moment later.
fn stumbled(error: &Error) -> bool {
    if let Error::DockerResponseServerError { status_code, .. } = error {
        return (500..600).contains(status_code) && *status_code != 501;
    }
    // Nobody there, or not allowed in: a daemon does not start within a second.
    if let Error::HyperLegacyError { err } = error {
        return !err.is_connect();
    }
    matches!(
        error,
        Error::JsonDataError { .. }
            | Error::JsonSerdeError { .. }
            | Error::IOError { .. }
            | Error::HyperResponseError { .. }
    )
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

/// Why a daemon cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unusable {
    /// No socket is there.
    Absent,
    /// The socket is there, but nobody listens.
    NotRunning,
    /// This user may not use the socket.
    Forbidden,
    /// It accepts calls and does not answer.
    Silent,
    /// It answers with errors.
    Failing,
    /// It is one that kitt does not speak to: over TLS, on another machine, unknown address.
    Unsupported,
    /// The Docker context does not exist or names no daemon.
    NoContext,
}

impl Unusable {
    /// What to do about it.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Absent => {
                "install and start Docker, or measure without a container (engine `openai`, or --mode native)"
            }
            Self::NotRunning => {
                "the socket is there but nobody listens: start the daemon (systemctl start docker)"
            }
            Self::Forbidden => {
                "this user may not use the socket: add it to the group docker and start a new session, or use rootless Docker"
            }
            Self::Silent => "the daemon hangs: restart it (systemctl restart docker)",
            Self::Failing => {
                "the daemon is not well: look at its log (journalctl -u docker) and restart it"
            }
            Self::Unsupported => {
                "use the socket of a daemon on this machine, such as unix:///var/run/docker.sock"
            }
            Self::NoContext => "choose another Docker context, or set docker-host",
        }
    }

    /// The reason behind what a daemon's client says. Walks down to the system's own error,
    /// which bollard's text leaves out.
    pub(super) fn of(error: &Error) -> Self {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        if matches!(error, Error::SocketNotFoundError(_)) {
            return Self::Absent;
        }
        let mut below: Option<&(dyn std::error::Error + 'static)> = Some(error);
        if let Error::IOError { err } = error {
            // It stands for its cause and is not among its own causes.
            below = Some(err);
        }
        while let Some(cause) = below {
            let system = cause.downcast_ref::<std::io::Error>();
            match system.map(std::io::Error::kind) {
                Some(PermissionDenied) => return Self::Forbidden,
                Some(ConnectionRefused) => return Self::NotRunning,
                Some(NotFound) => return Self::Absent,
                Some(_) | None => below = cause.source(),
            }
        }
        Self::Failing
    }
}

/// A version of Docker's interface, such as 1.41.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    /// Before the dot.
    pub major: u16,
    /// After the dot.
    pub minor: u16,
}

impl ApiVersion {
    /// `1.41` → 1 and 41; what cannot be read is 0.0, so that nothing newer is taken for there.
    pub(super) fn read(text: &str) -> Self {
        let parts = text.split_once('.');
        let parts =
            parts.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = parts.unwrap_or_default();
        Self { major, minor }
    }

    /// Whether a feature that came with version 1.`minor` is there.
    pub const fn has(self, minor: u16) -> bool {
        self.major > 1 || (self.major == 1 && self.minor >= minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn answer(status_code: u16) -> Error {
        Error::DockerResponseServerError {
            status_code,
            message: String::new(),
        }
    }

    async fn asked(error: impl Fn() -> Error) -> u32 {
        let asked = Cell::new(0);
        let outcome: Result<(), _> = ask("x", || {
            asked.set(asked.get() + 1);
            std::future::ready(Err(error()))
        })
        .await;
        assert!(outcome.is_err());
        asked.get()
    }

    #[tokio::test]
    async fn a_question_is_repeated_only_where_that_may_help() {
        let counts = tokio::join!(
            asked(|| answer(500)),
            asked(|| answer(503)),
            asked(|| std::io::Error::other("cut").into()),
            asked(|| answer(404)),
            asked(|| answer(501)),
            asked(|| Error::RequestTimeoutError),
        );
        assert_eq!(counts, (3, 3, 3, 1, 1, 1));
    }

    #[test]
    fn the_system_s_own_error_decides() {
        let io = |kind| Unusable::of(&std::io::Error::from(kind).into());
        assert_eq!(
            io(std::io::ErrorKind::PermissionDenied),
            Unusable::Forbidden
        );
        assert_eq!(
            io(std::io::ErrorKind::ConnectionRefused),
            Unusable::NotRunning
        );
        assert_eq!(io(std::io::ErrorKind::BrokenPipe), Unusable::Failing);
        assert_eq!(Unusable::of(&answer(500)), Unusable::Failing);
        let absent = Error::SocketNotFoundError("/x".to_owned());
        assert_eq!(Unusable::of(&absent), Unusable::Absent);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(ApiVersion::read("1.9") < ApiVersion::read("1.41"));
        assert!(ApiVersion::read("1.44").has(44) && !ApiVersion::read("1.41").has(44));
        assert!(!ApiVersion::read("garbage").has(1));
        assert_eq!(ApiVersion::read("1.41").to_string(), "1.41");
    }
}
