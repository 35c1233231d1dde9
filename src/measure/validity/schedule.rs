//! Rules about an open loop's schedule: whether requests left when they were due.

use super::{Findings, Said, open};
use crate::measure::Validity;

/// Sends later than this at the 99th percentile miss the schedule, …
const LATE_MS: f64 = 1.0;
/// … unless this share of the mean gap between due times is more. Both hold: the larger counts.
const LATE_SHARE: f64 = 0.1;
/// A single send as late as this is a hole in the schedule.
const VERY_LATE_MS: f64 = 1000.0;
/// Less than this share of the offered rate was sent.
const LEAST_ACHIEVED: f64 = 0.99;
/// A larger share of requests that waited for a free place bends the schedule.
const MAX_HELD_BACK: f64 = 0.01;

fn too_many_held_back(found: &Findings<'_>) -> bool {
    open(found) && found.audit.held_back as f64 > MAX_HELD_BACK * found.sent as f64
}

pub(super) fn held_back(found: &Findings<'_>) -> Said {
    too_many_held_back(found).then(|| {
        let note = format!(
            "{} of {} requests waited because as many as allowed were in flight: \
             their latencies count from when they were due",
            found.audit.held_back, found.sent
        );
        (Some(Validity::ScheduleMissed), note)
    })
}

pub(super) fn late_sends(found: &Findings<'_>) -> Said {
    if !open(found) {
        return None;
    }
    // Those held back on purpose are not among them.
    let late = found.audit.late_send_ms;
    let gap = found.offered_rps.map_or(0.0, |rps| 1e3 / rps);
    let allowed = LATE_MS.max(LATE_SHARE * gap);
    let (p99, max) = (late.p99?, late.max?);
    (p99 > allowed || max >= VERY_LATE_MS).then(|| {
        let note = format!(
            "requests were sent up to {p99:.1} ms (p99) and {max:.0} ms (longest) after they \
             were due; allowed are {allowed:.1} ms"
        );
        (Some(Validity::ScheduleMissed), note)
    })
}

pub(super) fn rate_missed(found: &Findings<'_>) -> Said {
    let (offered, sent) = found.offered_rps.zip(found.sent_rps)?;
    let missed = open(found) && !too_many_held_back(found) && sent < LEAST_ACHIEVED * offered;
    missed.then(|| {
        let note = format!("{sent:.2} requests per second were sent where {offered:.2} were due");
        (Some(Validity::ScheduleMissed), note)
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{client, kernel, late, says, schedule, silent},
        *,
    };
    use crate::measure::audit::Audit;

    #[test]
    fn late_sends_miss_the_schedule() {
        // A tenth of the mean gap of 100 ms.
        silent(&schedule(&late(10.0, 999.0), |_| ()));
        says(
            &schedule(&late(10.1, 20.0), |_| ()),
            Validity::ScheduleMissed,
            "allowed are 10.0 ms",
        );
        // At 1000 a second a tenth of the gap is less than 1 ms.
        let fast = |p99| {
            schedule(&late(p99, 2.0), |found| {
                found.offered_rps = Some(1000.0);
                found.sent_rps = Some(1000.0);
            })
        };
        silent(&fast(1.0));
        assert_eq!(fast(1.1).0, Validity::ScheduleMissed);
        let hole = schedule(&late(0.1, 1000.0), |_| ());
        says(&hole, Validity::ScheduleMissed, "1000 ms (longest)");
        // A closed loop has no schedule: what it waits is the deficit.
        silent(&client(&late(500.0, 5000.0)));
    }

    #[test]
    fn the_offered_rate_is_to_be_sent() {
        let sent = |rps| schedule(&kernel(), |found| found.sent_rps = Some(rps));
        silent(&sent(9.9));
        says(
            &sent(9.89),
            Validity::ScheduleMissed,
            "9.89 requests per second",
        );
    }

    #[test]
    fn requests_held_back_bend_the_schedule() {
        let held = |held_back| {
            let audit = Audit {
                held_back,
                ..kernel()
            };
            schedule(&audit, |found| found.sent_rps = Some(5.0))
        };
        let two = held(2);
        says(&two, Validity::ScheduleMissed, "2 of 100 requests waited");
        assert_eq!(
            two.1.lines().count(),
            1,
            "one cause, one sentence: {}",
            two.1
        );
        says(
            &held(1),
            Validity::ScheduleMissed,
            "5.00 requests per second",
        );
    }
}
