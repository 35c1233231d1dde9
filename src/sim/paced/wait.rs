//! Waiting for sockets until a deadline, to the microsecond.
//!
//! The timeout of epoll counts milliseconds, so on Linux a timer descriptor ends the wait. What
//! is nearer than [`SPIN`] is waited for by looking again and again.

use std::{io, time::Duration};

use mio::{Events, Poll, Registry, Token};

/// Setting a timer and waking up takes about this long.
const SPIN: Duration = Duration::from_micros(20);

/// A poll with a precise end.
#[derive(Debug)]
pub(super) struct Waiter {
    poll: Poll,
    #[cfg(target_os = "linux")]
    timer: nix::sys::timerfd::TimerFd,
}

impl Waiter {
    /// `token` is that of the timer's own events, which mean nothing.
    ///
    /// # Errors
    /// The system has no more descriptors.
    #[cfg(target_os = "linux")]
    pub(super) fn new(token: Token) -> io::Result<Self> {
        use std::os::fd::{AsFd, AsRawFd};

        use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

        let poll = Poll::new()?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        poll.registry().register(
            &mut mio::unix::SourceFd(&timer.as_fd().as_raw_fd()),
            token,
            mio::Interest::READABLE,
        )?;
        Ok(Self { poll, timer })
    }

    /// `token` is not used on this system.
    ///
    /// # Errors
    /// The system has no more descriptors.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new(_: Token) -> io::Result<Self> {
        Ok(Self { poll: Poll::new()? })
    }

    pub(super) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Waits for events; at most `left`, without a limit when that is `None`.
    ///
    /// # Errors
    /// As a poll. An interrupted one is no error.
    pub(super) fn wait(&mut self, events: &mut Events, left: Option<Duration>) -> io::Result<()> {
        let timeout = match left {
            Some(left) if left < SPIN => Some(Duration::ZERO),
            Some(left) => self.arm(left)?,
            None => None,
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Sets the timer and needs no timeout.
    #[cfg(target_os = "linux")]
    fn arm(&self, left: Duration) -> io::Result<Option<Duration>> {
        use nix::sys::timerfd::{Expiration, TimerSetTimeFlags};

        let once = Expiration::OneShot(left.into());
        self.timer.set(once, TimerSetTimeFlags::empty())?;
        Ok(None)
    }

    /// A timeout of whole milliseconds; the rest is waited for by looking again.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unnecessary_wraps, reason = "as its sibling")]
    fn arm(&self, left: Duration) -> io::Result<Option<Duration>> {
        let whole = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Duration::from_millis(whole)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_ends_at_its_time_and_not_before() {
        let mut waiter = Waiter::new(Token(0)).unwrap();
        let mut events = Events::with_capacity(4);
        for micros in [0, 100, 3_500] {
            let left = Duration::from_micros(micros);
            let before = Instant::now();
            waiter.wait(&mut events, Some(left)).unwrap();
            // Below SPIN, and for the part of a millisecond elsewhere, the caller looks again.
            let least = if cfg!(target_os = "linux") {
                micros
            } else {
                micros / 1000 * 1000
            };
            assert!(before.elapsed() >= Duration::from_micros(least), "{micros}");
        }
    }
}
