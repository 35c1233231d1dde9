//! Signals as a cancellation: the first one asks everything to stop.

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Whether and why the program was told to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    signal: Arc<OnceLock<&'static str>>,
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
                    tracing::warn!("{name} received: stopping and cleaning up");
                    // Only the first signal names the exit code.
                    stop.signal.get_or_init(|| name);
                    stop.token.cancel();
                }
            });
        }
        Ok(stop)
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
        match self.signal.get() {
            Some(signal) => Err(Error::Cancelled { signal }),
            None => Ok(()),
        }
    }
}
