//! The clock that waits go by.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use tokio::time::Instant;

/// A clock. Rules about minutes are shown to hold by one that does not take them.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Passes that much time.
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The machine's own.
#[derive(Debug)]
pub(super) struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(wait))
    }
}
