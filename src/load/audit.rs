//! What the driver saw of itself: whether the client, not the server, shaped the numbers.

use std::time::{Duration, Instant};

use super::StampSource;
use crate::histogram::Histogram;

/// How a scenario was driven.
#[derive(Debug, Clone)]
pub struct DriveReport {
    /// The moment all offsets in the traces count from.
    pub epoch: Instant,
    /// When load began, as an offset: connections were open by then. Due times of an open loop
    /// count from here.
    pub began: Duration,
    /// When the last request had ended.
    pub ended: Duration,
    /// Why no further request was sent.
    pub stopped: Stopped,
    /// What the driver saw of itself.
    pub audit: ClientAudit,
}

/// Why no further request was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// There was none left.
    Exhausted,
    /// The time was up.
    TimeUp,
    /// The receiver of the traces said so, in these words.
    Asked(String),
    /// We were told to stop.
    Cancelled,
}

/// The client's own delays, from all driver threads.
#[derive(Debug, Clone, Default)]
pub struct ClientAudit {
    /// Driver threads.
    pub threads: u32,
    /// Which clock stamped arrivals: [`StampSource::Kernel`] only when every read had a kernel
    /// stamp.
    pub stamps: StampSource,
    /// Reads whose kernel stamp was missing or impossible, so that the read's own time was
    /// taken.
    pub user_stamped_reads: u64,
    /// Open loop: send minus due, without those in [`ClientAudit::held_back`]. Closed loop: send
    /// minus the moment the slot became free, by the arrival of the answer's end, without those
    /// that had to wait for a new connection because the server had closed theirs.
    pub late_sends: Histogram,
    /// Arrival at the kernel to being read: how far the loop lags behind the network. Empty
    /// without kernel stamps.
    pub loop_lag: Histogram,
    /// Time between two looks at the sockets beyond 5 ms while requests were in flight: how
    /// often, and the longest. A paused or starved process shows here.
    pub stalls: u64,
    /// The longest of them.
    pub longest_stall: Duration,
    /// Requests that were due while `max_in_flight` others were running, and so were sent late
    /// on purpose.
    pub held_back: u64,
    /// Processor time of the driver threads.
    pub cpu: Duration,
    /// Wall time of the driver threads, summed.
    pub wall: Duration,
}

impl ClientAudit {
    /// Adds what another thread saw. Which clock stamped arrivals is left as it is.
    pub(super) fn add(&mut self, other: &Self) {
        self.threads += other.threads;
        self.user_stamped_reads += other.user_stamped_reads;
        self.late_sends.merge(&other.late_sends);
        self.loop_lag.merge(&other.loop_lag);
        self.stalls += other.stalls;
        self.longest_stall = self.longest_stall.max(other.longest_stall);
        self.held_back += other.held_back;
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}
