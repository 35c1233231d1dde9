//! The server's clock: nanoseconds since its start, monotonic.

use std::time::Instant;

/// Counts from the moment it was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    start: Instant,
}

impl Clock {
    pub(super) fn start_now() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(super) fn started(&self) -> Instant {
        self.start
    }

    /// Nanoseconds since the start; 64 bits last for 584 years.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
