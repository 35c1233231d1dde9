//! Rules about the client: whether it, and not the server, shaped the numbers.

use super::{Findings, Said, percent};
use crate::{
    load::StampSource,
    measure::{Validity, audit::Audit},
};

/// A larger share of idle request slots means that the client did not keep up.
const MAX_DEFICIT: f64 = 0.05;
/// Times lost to the client standing still: worth saying, …
const UNCERTAIN_NOTED: f64 = 0.01;
/// … and too many.
const MAX_UNCERTAIN: f64 = 0.05;
/// What the driver counts as a stall, in milliseconds.
const STALL_MS: f64 = 5.0;
/// A stall of this length is worth saying even if it is the only one.
const STALL_NOTED_MS: f64 = 20.0;
/// With a larger share of reads without kernel stamp arrivals are the client's own times.
const MAX_USER_STAMPED: f64 = 0.01;
/// Chunks read this long after they came are worth saying.
const LAG_NOTED_MS: f64 = 5.0;
/// Processor time taken by the hypervisor: worth saying, …
const STEAL_NOTED: f64 = 0.05;
/// … and too much.
const MAX_STEAL: f64 = 0.1;
/// A larger share of time held back by the control group's quota is too much.
const MAX_THROTTLED: f64 = 0.01;
/// Driver threads that hardly ever wait are at their limit.
const MAX_CPU: f64 = 0.95;

pub(super) fn deficit(found: &Findings<'_>) -> Said {
    let steady = found.window.is_some_and(|window| window.fallback.is_none());
    let share = found.audit.in_flight_deficit.filter(|_| steady)?;
    (share > MAX_DEFICIT).then(|| {
        let note = format!(
            "the client kept {} fewer requests in flight than asked for: \
             it was the limit, not the server",
            percent(share)
        );
        (Some(Validity::ClientLimited), note)
    })
}

/// The loop fell behind its sockets at some time.
fn lagged(audit: &Audit) -> bool {
    audit.stalls > 0 || audit.loop_lag_ms.max.is_some_and(|max| max > STALL_MS)
}

/// Driver threads that are always busy and whose backlog grows: the usual lag is then itself as
/// long as a stall. Without kernel stamps the backlog is not known, and being busy must do.
pub(super) fn processor_full(found: &Findings<'_>) -> Said {
    let audit = found.audit;
    let share = audit.cpu_share.filter(|share| *share >= MAX_CPU)?;
    let behind = audit.loop_lag_ms.p99.is_none_or(|lag| lag > STALL_MS);
    behind.then(|| {
        let note = format!(
            "the client's threads were busy for {} of the time and fell behind: give the client \
             more processors or lower the load",
            percent(share)
        );
        (Some(Validity::ClientLimited), note)
    })
}

pub(super) fn throttled(found: &Findings<'_>) -> Said {
    let share = found.audit.throttled_share?;
    (share > MAX_THROTTLED && lagged(found.audit)).then(|| {
        let note = format!(
            "the processor quota of the client's control group held it back for {} of the time: \
             raise the quota of the runner",
            percent(share)
        );
        (Some(Validity::ClientLimited), note)
    })
}

pub(super) fn stolen(found: &Findings<'_>) -> Said {
    let share = found
        .audit
        .steal_share
        .filter(|share| *share > STEAL_NOTED)?;
    let note = format!(
        "the hypervisor gave {} of the processor time to others",
        percent(share)
    );
    let verdict = (share > MAX_STEAL).then_some(Validity::ClientLimited);
    Some((verdict, note))
}

pub(super) fn uncertain_gaps(found: &Findings<'_>) -> Said {
    let share = found.audit.uncertain_share?;
    uncertain(share, || {
        format!(
            "{} of the gaps between chunks have no time of their own because the client stood \
             still: they count for the mean of ITL only",
            percent(share)
        )
    })
}

pub(super) fn uncertain_first(found: &Findings<'_>) -> Said {
    let share = found.audit.uncertain_ttft_share?;
    uncertain(share, || {
        format!(
            "{} of the first chunks have no time of their own because the client stood still: \
             they are left out of TTFT",
            percent(share)
        )
    })
}

fn uncertain(share: f64, note: impl FnOnce() -> String) -> Said {
    let verdict = (share > MAX_UNCERTAIN).then_some(Validity::ClientLimited);
    (share > UNCERTAIN_NOTED).then(|| (verdict, note()))
}

/// Hardly a read is without the kernel's stamp.
fn by_kernel(audit: &Audit) -> bool {
    audit.user_stamped_share.map_or_else(
        || audit.stamps == StampSource::Kernel,
        |share| share <= MAX_USER_STAMPED,
    )
}

/// Stalls distort no time that the kernel stamped; without it every arrival meanwhile is late.
pub(super) fn stalls(found: &Findings<'_>) -> Said {
    let audit = found.audit;
    // Each is at least this long, so the share is a lower bound.
    let lasted = found.ended.saturating_sub(found.began).as_secs_f64();
    let all_threads = lasted * f64::from(audit.threads.max(1));
    let stalled = audit.stalls as f64 * STALL_MS / 1e3;
    let over = |share: f64| stalled > share * all_threads;
    let told = audit.longest_stall_ms >= STALL_NOTED_MS || over(UNCERTAIN_NOTED);
    (audit.stalls > 0 && told).then(|| {
        let kernel = by_kernel(audit);
        let effect = if kernel {
            "arrival times are the kernel's and stay right"
        } else {
            "what arrived meanwhile is stamped late"
        };
        let note = format!(
            "the client stood still {} times, for up to {:.0} ms: {effect}",
            audit.stalls, audit.longest_stall_ms
        );
        let limited = !kernel && over(MAX_UNCERTAIN);
        (limited.then_some(Validity::ClientLimited), note)
    })
}

/// With kernel stamps, and only then is it known, lag moves no arrival: it only delays the next
/// request of a slot, and that is the deficit.
pub(super) fn lag(found: &Findings<'_>) -> Said {
    let lag = found
        .audit
        .loop_lag_ms
        .p99
        .filter(|lag| *lag > LAG_NOTED_MS)?;
    let note = format!(
        "the client read chunks up to {lag:.1} ms (p99) after they came: times are the kernel's \
         and stay right, only the next requests leave later"
    );
    Some((None, note))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{client, kernel, says, silent},
        *,
    };
    use crate::measure::audit::Spread;

    #[test]
    fn idle_slots_mean_the_client_was_the_limit() {
        let deficit = |share| {
            client(&Audit {
                in_flight_deficit: Some(share),
                ..kernel()
            })
        };
        silent(&deficit(0.05));
        says(&deficit(0.051), Validity::ClientLimited, "5.1 %");
    }

    #[test]
    fn a_busy_client_is_the_limit_once_it_falls_behind() {
        let busy = |share, lag| {
            client(&Audit {
                cpu_share: Some(share),
                loop_lag_ms: Spread {
                    p99: lag,
                    ..Spread::default()
                },
                ..kernel()
            })
        };
        says(&busy(0.95, Some(5.1)), Validity::ClientLimited, "95.0 %");
        assert_eq!(busy(0.94, Some(5.1)).0, Validity::Valid);
        assert_eq!(busy(0.99, Some(5.0)).0, Validity::Valid);
        // Nothing is known of the backlog.
        assert_eq!(busy(0.95, None).0, Validity::ClientLimited);
    }

    #[test]
    fn a_processor_quota_counts_once_the_loop_lagged() {
        let quota = |share, lag, stalls| {
            client(&Audit {
                throttled_share: Some(share),
                loop_lag_ms: Spread {
                    max: Some(lag),
                    ..Spread::default()
                },
                stalls,
                ..kernel()
            })
        };
        says(&quota(0.011, 5.1, 0), Validity::ClientLimited, "quota");
        says(&quota(0.011, 0.0, 1), Validity::ClientLimited, "quota");
        silent(&quota(0.01, 80.0, 0));
        silent(&quota(0.5, 5.0, 0));
    }

    #[test]
    fn stolen_time_is_said_and_then_too_much() {
        let steal = |share| {
            client(&Audit {
                steal_share: Some(share),
                ..kernel()
            })
        };
        silent(&steal(0.05));
        says(&steal(0.051), Validity::Valid, "5.1 %");
        assert_eq!(steal(0.1).0, Validity::Valid);
        says(&steal(0.101), Validity::ClientLimited, "10.1 %");
    }

    #[test]
    fn lost_times_are_said_and_then_too_many() {
        let gaps = |share| {
            client(&Audit {
                uncertain_share: Some(share),
                ..kernel()
            })
        };
        silent(&gaps(0.01));
        says(&gaps(0.011), Validity::Valid, "mean of ITL only");
        assert_eq!(gaps(0.05).0, Validity::Valid);
        assert_eq!(gaps(0.051).0, Validity::ClientLimited);
        let first = |share| {
            client(&Audit {
                uncertain_ttft_share: Some(share),
                ..kernel()
            })
        };
        silent(&first(0.01));
        says(&first(0.05), Validity::Valid, "left out of TTFT");
        assert_eq!(first(0.051).0, Validity::ClientLimited);
    }

    #[test]
    fn a_stall_is_said_and_harms_only_without_kernel_stamps() {
        let stalls = |stamps, stalls, longest| {
            client(&Audit {
                stamps,
                stalls,
                longest_stall_ms: longest,
                ..kernel()
            })
        };
        silent(&stalls(StampSource::Kernel, 1, 19.9));
        says(
            &stalls(StampSource::Kernel, 1, 50.0),
            Validity::Valid,
            "up to 50 ms",
        );
        // 10 s hold 20 stalls of 5 ms to the per cent.
        silent(&stalls(StampSource::Kernel, 20, 6.0));
        says(
            &stalls(StampSource::Kernel, 21, 6.0),
            Validity::Valid,
            "stay right",
        );
        says(
            &stalls(StampSource::User, 100, 6.0),
            Validity::Valid,
            "stamped late",
        );
        assert_eq!(
            stalls(StampSource::User, 101, 6.0).0,
            Validity::ClientLimited
        );
        assert_eq!(stalls(StampSource::Kernel, 500, 6.0).0, Validity::Valid);
    }

    #[test]
    fn a_stray_read_without_stamp_does_not_make_the_clock_ours() {
        let strays = |share| {
            let found = client(&Audit {
                stamps: StampSource::User,
                user_stamped_share: Some(share),
                stalls: 101,
                longest_stall_ms: 6.0,
                ..kernel()
            });
            found.0
        };
        assert_eq!(strays(0.01), Validity::Valid);
        assert_eq!(strays(0.011), Validity::ClientLimited);
    }

    #[test]
    fn lag_is_said_to_be_harmless() {
        let lag = |p99| {
            client(&Audit {
                loop_lag_ms: Spread {
                    p99: Some(p99),
                    ..Spread::default()
                },
                ..kernel()
            })
        };
        silent(&lag(5.0));
        says(&lag(5.2), Validity::Valid, "5.2 ms (p99) after they came");
    }
}
