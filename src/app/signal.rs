//! Signals as a cancellation: the first one asks everything to stop, a second one to give up.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// A terminal and a wrapper may each pass on the same key: what arrives within so short a time
/// is one signal.
const SAME: Duration = Duration::from_millis(150);

/// Whether and why the program was told to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    at_once: CancellationToken,
    first: Arc<OnceLock<(&'static str, Instant)>>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from now on.
    ///
    /// # Errors
    /// The signals cannot be listened for.
    pub(super) fn listen() -> Result<Self, Error> {
        let stop = Self::default();
        for (kind, name) in [
            (SignalKind::interrupt(), "SIGINT"),
            (SignalKind::terminate(), "SIGTERM"),
        ] {
            let mut stream = signal(kind).map_err(Error::Runtime)?;
            let stop = stop.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    stop.hear(name);
                }
            });
        }
        Ok(stop)
    }

    fn hear(&self, name: &'static str) {
        // Only the first signal names the exit code.
        let (_, since) = self.first.get_or_init(|| (name, Instant::now()));
        if !self.token.is_cancelled() {
            tracing::warn!("{name} received: stopping and cleaning up");
            self.token.cancel();
        } else if since.elapsed() >= SAME {
            tracing::warn!("{name} received again: the guard cleans up");
            self.at_once.cancel();
        }
    }

    /// The token that stages listen to.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// An error once a signal has arrived.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.first.get() {
            Some((signal, _)) => Err(Error::Cancelled { signal }),
            None => Ok(()),
        }
    }

    /// Runs the program, but not a moment beyond a second signal.
    ///
    /// # Errors
    /// Those of `work`, and [`Error::Cancelled`].
    pub(super) async fn heeded<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            done = work => done,
            () = self.at_once.cancelled() => {
                Err(self.check().err().unwrap_or(Error::Cancelled { signal: "SIGINT" }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_signal_asks_and_a_later_one_insists() {
        let stop = Stop::default();
        assert!(stop.check().is_ok());
        stop.hear("SIGTERM");
        stop.hear("SIGINT");
        assert!(stop.token().is_cancelled());
        assert!(matches!(
            stop.check(),
            Err(Error::Cancelled { signal: "SIGTERM" })
        ));
        // The same key press, twice.
        assert!(stop.heeded(async { Ok(()) }).await.is_ok());
        assert!(!stop.at_once.is_cancelled());
        tokio::time::sleep(SAME).await;
        stop.hear("SIGINT");
        let never = std::future::pending::<Result<(), _>>();
        assert!(matches!(
            stop.heeded(never).await,
            Err(Error::Cancelled { signal: "SIGTERM" })
        ));
    }
}
