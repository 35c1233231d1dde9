//! The driver's clock, and how wall-clock stamps of the kernel become times on it.
//!
//! All times of the driver are offsets from one epoch on the monotonic clock. The kernel stamps
//! received bytes with the wall clock. On Linux both clocks run at the same rate, NTP's
//! corrections included: between two settings of the wall clock their difference is one constant.
//! So each look at both clocks, bracketed by the monotonic one, gives an interval that holds this
//! constant; the intersection of all of them is soon far tighter than a single one; and an empty
//! intersection proves that the wall clock was set.

use std::time::{Duration, Instant};

/// Rounding of the two clocks' readings, in nanoseconds, on either side.
const ROUNDING: i128 = 1_000;
/// The monotonic clock, read as the time since an epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock that counts from now.
    pub(super) fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// The moment it counts from.
    pub(super) const fn epoch(&self) -> Instant {
        self.epoch
    }

    /// Time since the epoch.
    pub(super) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }
}

/// What the kernel's stamps mean, from all looks at both clocks so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct WallClock {
    /// Bounds of wall-clock nanoseconds minus nanoseconds since the epoch. `None` before the
    /// first look.
    bounds: Option<(i128, i128)>,
    /// Whether the latest look found the wall clock set: stamps from before it are worthless.
    doubtful: bool,
}

impl WallClock {
    /// Takes a reading of the wall clock, in nanoseconds, that was made between two readings of
    /// the monotonic one.
    #[cfg(any(target_os = "linux", test))]
    pub(super) fn look(&mut self, before: Duration, wall: i128, after: Duration) {
        let (low, high) = (wall - nanos(after), wall - nanos(before));
        let (known_low, known_high) = self.bounds.unwrap_or((low, high));
        self.doubtful = low > known_high + ROUNDING || high < known_low - ROUNDING;
        self.bounds = if self.doubtful {
            Some((low, high))
        } else {
            // Readings that only rounding keeps apart leave the bounds as they were.
            let both = (low.max(known_low), high.min(known_high));
            Some(if both.0 <= both.1 {
                both
            } else {
                (known_low, known_high)
            })
        };
    }

    /// When bytes arrived that the kernel stamped with `wall`, were asked for at or after
    /// `earliest` and were read at `read`. `None` when the stamp cannot be right: before
    /// `earliest`, after `read`, or around a setting of the wall clock.
    pub(super) fn arrival(
        &self,
        wall: i128,
        earliest: Duration,
        read: Duration,
    ) -> Option<Duration> {
        let (low, high) = self.bounds.filter(|_| !self.doubtful)?;
        let since = wall - i128::midpoint(low, high);
        let unsure = (high - low) / 2 + ROUNDING;
        let (first, last) = (nanos(earliest), nanos(read));
        if since < first - unsure || since > last + unsure {
            return None;
        }
        let since = u64::try_from(since.clamp(first, last)).ok()?;
        Some(Duration::from_nanos(since))
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;

    fn at(nanos: u64) -> Duration {
        Duration::from_nanos(nanos)
    }

    /// The wall clock is 1 000 s ahead of the epoch's.
    const AHEAD: i128 = 1_000_000_000_000;

    /// A look at `time` whose wall-clock reading lies `early` after its begin and `late` before
    /// its end.
    fn look(clock: &mut WallClock, time: u64, early: u64, late: u64) {
        let wall = AHEAD + i128::from(time);
        clock.look(at(time - early), wall, at(time + late));
    }

    #[test]
    fn looks_narrow_the_offset_down() {
        let mut clock = WallClock::default();
        assert_eq!(clock.arrival(AHEAD, at(0), at(MS)), None);
        // The first look was interrupted for 4 ms: the offset is known to ±2 ms around a wrong
        // middle. Stamp 10 ms converts to 10 ms + 2 ms.
        look(&mut clock, 20 * MS, 0, 4 * MS);
        let stamp = AHEAD + i128::from(10 * MS);
        assert_eq!(clock.arrival(stamp, at(0), at(20 * MS)), Some(at(12 * MS)));
        // The second one took 100 ns: 50 ns are left.
        look(&mut clock, 30 * MS, 0, 100);
        let found = clock.arrival(stamp, at(0), at(40 * MS));
        assert_eq!(found, Some(at(10 * MS + 50)));
        // A wide one takes nothing back.
        look(&mut clock, 40 * MS, 3 * MS, 3 * MS);
        assert_eq!(clock.arrival(stamp, at(0), at(40 * MS)), found);
    }

    #[test]
    fn an_impossible_stamp_is_none() {
        let mut clock = WallClock::default();
        // Known to ±10 µs.
        look(&mut clock, MS, 10 * US, 10 * US);
        let stamp = |time: u64| AHEAD + i128::from(time);
        let (first, read) = (at(2 * MS), at(3 * MS));
        assert_eq!(clock.arrival(stamp(2 * MS - 12 * US), first, read), None);
        assert_eq!(clock.arrival(stamp(3 * MS + 12 * US), first, read), None);
        assert_eq!(clock.arrival(0, first, read), None);
        // Within the uncertainty of the conversion it is the bound itself.
        let close = clock.arrival(stamp(3 * MS + 9 * US), first, read);
        assert_eq!(close, Some(read));
        let close = clock.arrival(stamp(2 * MS - 9 * US), first, read);
        assert_eq!(close, Some(first));
    }

    #[test]
    fn setting_the_wall_clock_is_seen_at_the_next_look() {
        let mut clock = WallClock::default();
        look(&mut clock, MS, 50, 50);
        // Set forward by 30 µs: a stamp of 9 ms would be right with the old offset only.
        let set = AHEAD + i128::from(30 * US);
        clock.look(at(10 * MS), set + i128::from(10 * MS), at(10 * MS + 100));
        let old = AHEAD + i128::from(9 * MS);
        assert_eq!(clock.arrival(old, at(0), at(10 * MS)), None);
        // From the next look on the new offset holds.
        clock.look(at(11 * MS), set + i128::from(11 * MS), at(11 * MS));
        let new = set + i128::from(10 * MS + 500 * US);
        let found = clock.arrival(new, at(0), at(11 * MS));
        assert_eq!(found, Some(at(10 * MS + 500 * US)));
    }

    #[test]
    fn rounding_is_no_setting() {
        let mut clock = WallClock::default();
        clock.look(at(MS), AHEAD + i128::from(MS), at(MS));
        clock.look(at(2 * MS), AHEAD + i128::from(2 * MS) + 1, at(2 * MS));
        let stamp = AHEAD + i128::from(MS);
        assert_eq!(clock.arrival(stamp, at(0), at(2 * MS)), Some(at(MS)));
    }
}
