//! What every result says about the client that made it. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::milliseconds;
use crate::{
    histogram::Histogram,
    load::{ClientAudit, StampSource},
    telemetry::HostLoad,
};

/// The client's own delays and what the machine did to it. `None` is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Driver threads.
    pub threads: u32,
    /// Which clock stamped arrivals.
    pub stamps: StampSource,
    /// Reads without a usable kernel stamp.
    pub user_stamped_reads: u64,
    /// Their share of all reads; `None` without reads.
    pub user_stamped_share: Option<f64>,
    /// Open loop: send minus due. Closed loop: send minus the moment the slot became free.
    pub late_send_ms: Spread,
    /// Arrival at the kernel to being read.
    pub loop_lag_ms: Spread,
    /// How often the client did not look at its sockets for more than 5 ms.
    pub stalls: u64,
    /// The longest of these times.
    pub longest_stall_ms: f64,
    /// Requests sent late on purpose, because as many as allowed were in flight.
    pub held_back: u64,
    /// Processor time of the driver threads over their wall time, 0 to 1.
    pub cpu_share: Option<f64>,
    /// Share of processor time that the hypervisor took away.
    pub steal_share: Option<f64>,
    /// Share of the time in which the control group's quota held the client back; above 1 when
    /// it waited on several processors.
    pub throttled_share: Option<f64>,
    /// Times the client was taken off a processor that it still wanted.
    pub involuntary_switches: Option<u64>,
    /// Share of the gaps between output chunks that came in one read.
    pub coalesced_share: Option<f64>,
    /// Share of these gaps whose time is lost because the client stood still.
    pub uncertain_share: Option<f64>,
    /// Share of answers whose first chunk's time is lost.
    pub uncertain_ttft_share: Option<f64>,
    /// Share of the asked-for concurrency that was not in flight; closed loop only.
    pub in_flight_deficit: Option<f64>,
    /// The most important of this in one sentence.
    pub summary: String,
}

/// Median, 99th percentile and maximum in milliseconds; `None` of nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile; of fewer than 100 values close to the largest.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
}

impl Spread {
    pub(super) fn of(histogram: &Histogram) -> Self {
        let ms = |nanos: f64| nanos / 1e6;
        Self {
            p50: histogram.quantile_ns(0.5).map(ms),
            p99: histogram.quantile_ns(0.99).map(ms),
            max: histogram.max_ns().map(|nanos| ms(nanos as f64)),
        }
    }
}

impl Audit {
    /// What the driver and the host say; what the traces say is left open.
    pub(super) fn of(client: &ClientAudit, host: &HostLoad) -> Self {
        // Lag is known of the reads that the kernel stamped.
        let reads = client.loop_lag.count() + client.user_stamped_reads;
        let wall = client.wall.as_secs_f64();
        let cpu_share = (wall > 0.0).then(|| client.cpu.as_secs_f64() / wall);
        Self {
            threads: client.threads,
            stamps: client.stamps,
            user_stamped_reads: client.user_stamped_reads,
            user_stamped_share: (reads > 0)
                .then(|| client.user_stamped_reads as f64 / reads as f64),
            late_send_ms: Spread::of(&client.late_sends),
            loop_lag_ms: Spread::of(&client.loop_lag),
            stalls: client.stalls,
            longest_stall_ms: milliseconds(client.longest_stall),
            held_back: client.held_back,
            cpu_share,
            steal_share: host.steal_share,
            throttled_share: host.throttled_share,
            involuntary_switches: host.involuntary_switches,
            coalesced_share: None,
            uncertain_share: None,
            uncertain_ttft_share: None,
            in_flight_deficit: None,
            summary: String::new(),
        }
    }

    /// With its summary.
    pub(super) fn summed_up(mut self) -> Self {
        let clock = match self.stamps {
            StampSource::Kernel => "kernel time stamps",
            StampSource::User => "user-space time stamps",
        };
        let ms = |what: &str, value: Option<f64>| Some(format!("{what} {:.2} ms", value?));
        let percent =
            |what: &str, value: Option<f64>| Some(format!("{what} {:.1} %", value? * 100.0));
        let parts = [
            Some(clock.to_owned()),
            ms("loop lag p99", self.loop_lag_ms.p99),
            ms("late sends p99", self.late_send_ms.p99),
            percent("in-flight deficit", self.in_flight_deficit),
            percent("chunks without a time of their own", self.uncertain_share),
            percent("client processor time", self.cpu_share),
        ];
        self.summary = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
        self
    }
}

/// Share of a closed loop's slots that waited for the client to send, by its own account: the
/// time between a slot becoming free and its next send, over all slots' time.
pub(super) fn turnaround_share(client: &ClientAudit, slots: u32, span: Duration) -> Option<f64> {
    let waited = client.late_sends.mean_ns()? * client.late_sends.count() as f64 / 1e9;
    let all = f64::from(slots) * span.as_secs_f64();
    (all > 0.0).then(|| (waited / all).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_become_three_numbers() {
        let mut lag = Histogram::new();
        for millis in 1..=4 {
            lag.add(Duration::from_millis(millis));
        }
        let found = Spread::of(&lag);
        assert!((found.p50.unwrap() / 2.0 - 1.0).abs() < 0.3); // between 2 and 3
        assert_eq!(found.max, Some(4.0));
        assert_eq!(Spread::of(&Histogram::new()), Spread::default());
    }

    #[test]
    fn shares_are_of_the_right_whole() {
        let client = ClientAudit {
            threads: 2,
            cpu: Duration::from_secs(6),
            wall: Duration::from_secs(20),
            ..ClientAudit::default()
        };
        let host = HostLoad {
            steal_share: Some(0.02),
            throttled_share: Some(0.1),
            ..HostLoad::default()
        };
        let audit = Audit::of(&client, &host);
        assert_eq!(audit.cpu_share, Some(0.3));
        assert_eq!(audit.throttled_share, Some(0.1));
        assert_eq!(audit.steal_share, Some(0.02));
        let nothing = Audit::of(&ClientAudit::default(), &HostLoad::default());
        assert_eq!((nothing.cpu_share, nothing.throttled_share), (None, None));
    }

    #[test]
    fn the_summary_tells_what_is_known() {
        let audit = Audit {
            stamps: StampSource::Kernel,
            loop_lag_ms: Spread {
                p99: Some(0.123),
                ..Spread::default()
            },
            in_flight_deficit: Some(0.004),
            ..Audit::default()
        };
        assert_eq!(
            audit.summed_up().summary,
            "kernel time stamps, loop lag p99 0.12 ms, in-flight deficit 0.4 %"
        );
    }

    #[test]
    fn turnaround_is_a_share_of_all_slots() {
        let mut client = ClientAudit::default();
        for _ in 0..10 {
            client.late_sends.add(Duration::from_millis(100));
        }
        // 1 s of 4 slots · 5 s.
        let found = turnaround_share(&client, 4, Duration::from_secs(5)).unwrap();
        assert!((found - 0.05).abs() < 1e-9);
        assert_eq!(
            turnaround_share(&ClientAudit::default(), 4, Duration::from_secs(5)),
            None
        );
    }
}
