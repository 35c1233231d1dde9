//! When each write is due. Pure.

use std::time::Duration;

use super::spec::{PacedSpec, Stall};

/// Nanoseconds; 64 bits last for 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The due times of a server, in nanoseconds since its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    ttft: u64,
    itl: u64,
    stall: Option<Stall>,
    /// When the server stands still: beginning and length. Known from the first request on.
    still: Option<(u64, u64)>,
}

impl Schedule {
    pub(super) fn new(spec: &PacedSpec) -> Self {
        Self {
            ttft: nanos(spec.ttft),
            itl: nanos(spec.itl),
            stall: spec.stall,
            still: None,
        }
    }

    /// Whether tokens after the first leave as fast as they can.
    pub(super) const fn flat_out(&self) -> bool {
        self.itl == 0
    }

    /// Notes a request's arrival: a stall counts from the first.
    pub(super) fn arrived(&mut self, arrived: u64) {
        if let (None, Some(stall)) = (self.still, self.stall) {
            let begin = arrived.saturating_add(nanos(stall.after));
            self.still = Some((begin, nanos(stall.length)));
        }
    }

    /// When write number `write` of a request is due.
    pub(super) fn due(&self, arrived: u64, write: u32) -> u64 {
        let gaps = self.itl.saturating_mul(u64::from(write));
        let own = self.own_time(arrived);
        self.real_time(own.saturating_add(self.ttft).saturating_add(gaps))
    }

    /// The server's own time, which stands still in the stall.
    fn own_time(&self, real: u64) -> u64 {
        match self.still {
            Some((begin, length)) if real > begin => real.saturating_sub(length).max(begin),
            Some(_) | None => real,
        }
    }

    /// The other way round.
    fn real_time(&self, own: u64) -> u64 {
        match self.still {
            Some((begin, length)) if own >= begin => own.saturating_add(length),
            Some(_) | None => own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(stall: Option<Stall>) -> Schedule {
        let spec = PacedSpec {
            ttft: Duration::from_nanos(50),
            itl: Duration::from_nanos(10),
            stall,
            ..PacedSpec::default()
        };
        let mut schedule = Schedule::new(&spec);
        schedule.arrived(1000);
        schedule.arrived(5000);
        schedule
    }

    #[test]
    fn tokens_are_due_at_equal_gaps_after_the_first() {
        let schedule = schedule(None);
        assert_eq!([0, 1, 7].map(|k| schedule.due(1000, k)), [1050, 1060, 1120]);
        assert!(!schedule.flat_out());
    }

    #[test]
    fn a_stall_moves_what_lies_in_it_and_behind_it() {
        // It begins 65 after the first request, at 1065, and lasts 200, until 1265.
        let schedule = schedule(Some(Stall {
            after: Duration::from_nanos(65),
            length: Duration::from_nanos(200),
        }));
        // Due without it at 1050, 1060, 1070, 1080.
        let due = [0, 1, 2, 3].map(|k| schedule.due(1000, k));
        assert_eq!(due, [1050, 1060, 1270, 1280]);
        // Arrived in the middle of it: the server sees it at its end, 1265.
        assert_eq!(schedule.due(1100, 0), 1315);
        // Arrived afterwards: as ever.
        assert_eq!(schedule.due(2000, 1), 2060);
        // At its last moment: 1265 - 200 is its beginning, the same time for the server.
        assert_eq!(schedule.due(1265, 0), 1315);
    }
}
