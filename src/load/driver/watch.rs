//! Watches the loop itself: when sockets were last seen empty, and when the thread stood still.
//!
//! Nothing arrives unseen between two looks at the sockets that follow each other closely. When
//! they do not, because the thread was paused or starved, or had too much to do, that is a stall.
//! The time between a look and the next is known. A pause while waiting for readiness shows as a
//! return that is late: after the moment until which the poll was to sleep at most, or after the
//! arrival of what ended it. The kernel knows that arrival only of the last bytes of a read, so
//! that the sleep itself is kept short while requests are in flight.

use std::time::Duration;

use super::links::Link;

/// A pause longer than this is a stall.
const STALL: Duration = Duration::from_millis(5);

/// The loop's own times.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Number of the latest look.
    look: u64,
    /// When the look before it returned, if that one listed all sockets that had something.
    before: Option<Duration>,
    /// When the latest look was asked for, and when it returned.
    called: Duration,
    returned: Duration,
    /// Whether it listed all sockets that had something.
    is_whole: bool,
    /// How long the thread did not look before it, and how much too late it returned.
    away: Duration,
    overslept: Duration,
    /// The earliest arrival that it brought.
    earliest: Option<Duration>,
}

impl Watch {
    /// A look is asked for.
    pub(super) fn leave(&mut self, called: Duration) {
        self.away = called.saturating_sub(self.returned);
        self.called = called;
    }

    /// It returned. It was to sleep until `expected` at most.
    pub(super) fn enter(&mut self, returned: Duration, expected: Option<Duration>, is_whole: bool) {
        let until = expected.map(|expected| expected.max(self.called));
        self.overslept = until.map_or(Duration::ZERO, |until| returned.saturating_sub(until));
        self.before = self.is_whole.then_some(self.returned);
        self.is_whole = is_whole;
        self.returned = returned;
        self.look += 1;
        self.earliest = None;
    }

    /// The latest look listed this connection: if the one before did not, nothing was waiting
    /// then.
    ///
    /// That look's return stands for the moment at which the kernel made its list, just before. A
    /// thread that is descheduled between the two makes it that much too late.
    pub(super) fn sees(&mut self, link: &mut Link) {
        if link.listed + 1 < self.look
            && let Some(before) = self.before
        {
            link.socket.seen_empty(before);
        }
        link.listed = self.look;
    }

    /// Bytes were read that had arrived then, by the kernel's clock.
    pub(super) fn arrived(&mut self, at: Duration) {
        self.earliest = Some(self.earliest.map_or(at, |earliest| earliest.min(at)));
    }

    /// How long the thread stood still before or in the latest look, if that is a stall.
    /// `in_flight`: whether anything could have arrived meanwhile.
    pub(super) fn stall(&self, in_flight: bool) -> Option<Duration> {
        let late = self.earliest.map_or(Duration::ZERO, |earliest| {
            self.returned.saturating_sub(earliest.max(self.called))
        });
        let stall = self.away.max(self.overslept).max(late);
        (in_flight && stall > STALL).then_some(stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A look from `called` to `returned` that was to end at `expected`.
    fn look(watch: &mut Watch, called: u64, returned: u64, expected: u64) {
        watch.leave(ms(called));
        watch.enter(ms(returned), Some(ms(expected)), true);
    }

    #[test]
    fn waiting_is_no_stall() {
        let mut watch = Watch::default();
        look(&mut watch, 1, 20, 20);
        assert_eq!(watch.stall(true), None);
        look(&mut watch, 22, 40, 60);
        watch.arrived(ms(40));
        assert_eq!(watch.stall(true), None);
    }

    #[test]
    fn a_long_pass_a_late_timer_and_a_late_read_are_stalls() {
        let mut watch = Watch::default();
        look(&mut watch, 0, 1, 1);
        // 9 ms of work between two looks.
        look(&mut watch, 10, 11, 11);
        assert_eq!(watch.stall(true), Some(ms(9)));
        assert_eq!(watch.stall(false), None, "nothing was in flight");
        // Asleep 8 ms too long.
        look(&mut watch, 11, 24, 16);
        assert_eq!(watch.stall(true), Some(ms(8)));
        // What ended the sleep arrived 7 ms before it did.
        look(&mut watch, 24, 34, 60);
        watch.arrived(ms(27));
        assert_eq!(watch.stall(true), Some(ms(7)));
        // What arrived before the look was waited for by nobody: the pass before was the stall.
        look(&mut watch, 34, 35, 60);
        watch.arrived(ms(20));
        assert_eq!(watch.stall(true), None);
    }
}
