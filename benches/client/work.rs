//! What a client process is told and what it reports: JSON on its command line and its output.

use std::{num::NonZeroU32, time::Duration};

use kitt_action::app::calibrate::Sample;
use serde::{Deserialize, Serialize};

/// What to drive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadSpec {
    pub url: String,
    /// Streams at once.
    pub concurrency: u32,
    /// Requests in all; `None` until the time is up.
    pub requests: Option<u32>,
    /// How long requests are sent.
    pub seconds: Option<f64>,
    /// Tokens of each answer.
    pub tokens: NonZeroU32,
    /// Whether to report every sample.
    pub keep: bool,
    /// The processor to run on.
    pub processor: Option<usize>,
    /// Open loop: requests per second, and whether they come at random.
    pub rate: Option<OpenLoop>,
}

/// Arrivals that do not depend on the server.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OpenLoop {
    pub rps: f64,
    pub poisson: bool,
    pub seed: u64,
}

impl LoadSpec {
    /// A closed loop at one level.
    pub fn closed(concurrency: u32, requests: u32, tokens: u32) -> Self {
        Self {
            url: String::new(),
            concurrency,
            requests: Some(requests),
            seconds: None,
            tokens: NonZeroU32::new(tokens).unwrap(),
            keep: false,
            processor: None,
            rate: None,
        }
    }
}

/// The prompt of a request: its number, so that the simulator can tell which it was.
pub fn prompt(index: u32) -> String {
    format!("#{index} every stream is as long as it is and no longer than that")
}

/// What a client did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Done {
    pub ok: u64,
    pub failed: u64,
    /// The last failure.
    pub error: Option<String>,
    pub tokens: u64,
    /// Tokens that came in one read with another before; the baseline cannot tell.
    pub coalesced: Option<u64>,
    pub wall_s: f64,
    pub samples: Vec<Sample>,
    /// The driver's own view; nothing for the baseline.
    pub late_sends_p99_ms: Option<f64>,
    pub loop_lag_p99_ms: Option<f64>,
    pub stalls: u64,
    pub kernel_stamps: bool,
    /// Filled in by the process around the client.
    pub cpu_s: f64,
    pub peak_rss_kib: u64,
    /// Seconds since the beginning, and resident KiB.
    pub rss: Vec<(f64, u64)>,
}

/// A duration in whole nanoseconds.
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
