//! Request traces to numbers: TTFT, ITL, TPOT, E2E latency, throughputs. Pure.
//!
//! In: the [`RequestTrace`](crate::load::RequestTrace)s of one scenario, what the telemetry saw.
//! Out: a [`Measurement`]. Definitions are those of design §3 and §5; `None` is "not measured",
//! never zero.

mod aggregate;
mod gpu;
mod kitt;
mod quantile;
mod request;
mod validity;
mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use aggregate::measure;
pub use gpu::{GpuNumbers, gpu_metrics};
pub use kitt::{KittPoint, kitt_metrics};
pub use quantile::quantile;
pub use request::{RequestTimes, request_times};

/// What one scenario of one run measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Value by metric name (`ttft_ms.p50`, `output_tps`, …; see [`crate::metric`]). Absent is
    /// not measured.
    pub metrics: BTreeMap<String, f64>,
    /// Number of samples by quantity (`ttft_ms`, …).
    pub samples: BTreeMap<String, u64>,
    /// Requests by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Requests sent.
    pub sent: u64,
    /// Requests that ended well.
    pub ok: u64,
    /// Mean output length of the good ones, from `usage`.
    pub output_tokens_mean: Option<f64>,
    /// Mean prompt length of the good ones, from `usage`.
    pub input_tokens_mean: Option<f64>,
    /// Length of the steady-state window in seconds: the first to the last moment at which the
    /// asked-for number of requests was in flight.
    pub window_s: Option<f64>,
    /// Share of output events that came coalesced with the one before.
    pub coalesced_share: Option<f64>,
    /// Whether the numbers can be trusted.
    pub validity: Validity,
    /// Why not, in words; empty when valid.
    pub notes: Vec<String>,
    /// Per-request values by quantity (`ttft_ms`, `tpot_ms`, `itl_ms`, `e2e_ms`), indexed like
    /// the plan's requests; `None` where the request gave none. The bootstrap needs them.
    #[serde(skip)]
    pub per_request: BTreeMap<String, Vec<Option<f64>>>,
}

/// Whether a measurement can be trusted (design §5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// Nothing speaks against it.
    Valid,
    /// The client, not the server, was the limit.
    ClientLimited,
    /// Requests were not sent when due.
    ScheduleMissed,
    /// More requests failed than allowed.
    ServerErrored,
    /// Too little was measured to say.
    Inconclusive,
}

/// Why traces give no numbers.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Nothing was sent.
    #[error("no request was sent, so nothing was measured")]
    NoRequests,
}
