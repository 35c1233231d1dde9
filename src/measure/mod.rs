//! Request traces to numbers: TTFT, ITL, TPOT, E2E latency, throughputs. Pure.
//!
//! In: the [`RequestTrace`](crate::load::RequestTrace)s of one scenario as they end, the driver's
//! account of itself, what the telemetry saw. Out: a [`Measurement`]; the [`Accumulator`] makes
//! it in memory that does not grow with the run. Definitions are those of design §3 and §5; `None`
//! is "not measured", never zero.

mod accumulator;
mod aggregate;
mod audit;
mod cost;
mod dialect;
mod energy;
mod gaps;
mod gpu;
mod gpu_findings;
mod kitt;
mod quantile;
mod quantities;
mod record;
mod request;
mod samples;
mod series;
mod slo;
mod spec;
mod stability;
mod stop;
mod timeline;
mod tokens;
mod validity;
mod window;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::telemetry::ServerNumbers;

pub use accumulator::Accumulator;
pub use aggregate::measure;
pub use audit::{Audit, Spread};
pub use dialect::{
    Dialect, DialectAccumulator, DialectMetric, DialectReport, Ours, UnknownDialect,
};
pub use energy::{Energy, EnergyMethod, Work, idle_power};
pub use gaps::{Gaps, TokenGaps};
pub use gpu::{GpuAccount, GpuNumbers, gpu_metrics};
pub use gpu_findings::GpuFindings;
pub use kitt::{KittPoint, kitt_metrics};
pub use quantile::{median_of, quantile};
pub use record::RequestRecord;
pub use request::{RequestTimes, request_times};
pub use samples::QuantileMethod;
pub use spec::{Load, MeasureSpec};
pub use stability::stable;
pub use tokens::{TokenSource, TokenSources};

/// What one scenario of one run measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Value by metric name (`ttft_ms.p50`, `output_tps`, …; see [`crate::metric`]). Absent is
    /// not measured.
    pub metrics: BTreeMap<String, f64>,
    /// Number of samples by quantity (`ttft_ms`, …).
    pub samples: BTreeMap<String, u64>,
    /// Where a quantity's quantiles come from.
    #[serde(default)]
    pub quantile_methods: BTreeMap<String, QuantileMethod>,
    /// Requests by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// Requests sent.
    pub sent: u64,
    /// Requests that ended well.
    pub ok: u64,
    /// Mean output length of the good ones, from `usage`.
    pub output_tokens_mean: Option<f64>,
    /// Mean prompt length of the good ones, from `usage`, else from a tokenizer.
    pub input_tokens_mean: Option<f64>,
    /// Where these counts come from.
    #[serde(default)]
    pub token_sources: TokenSources,
    /// Length of the steady-state window in seconds. Closed loop: while the asked-for number of
    /// requests was in flight. Open loop: while requests were due, less the time to settle.
    pub window_s: Option<f64>,
    /// From the beginning of load to the window, in seconds; `None` when there is no steady one.
    #[serde(default)]
    pub ramp_up_s: Option<f64>,
    /// From the window to the end of the last request, in seconds.
    #[serde(default)]
    pub drain_s: Option<f64>,
    /// Share of output events that came coalesced with the one before.
    pub coalesced_share: Option<f64>,
    /// What the client saw of itself; `None` in results of versions that did not look.
    #[serde(default)]
    pub audit: Option<Audit>,
    /// What the server's own counters said.
    #[serde(default)]
    pub server: Option<ServerNumbers>,
    /// How the GPUs were watched, where there were any.
    #[serde(default)]
    pub gpu: Option<GpuAccount>,
    /// Open loop: whether the number of requests under way only grew, because the server could
    /// not keep up with the rate.
    #[serde(default)]
    pub saturated: bool,
    /// Whether the numbers can be trusted.
    pub validity: Validity,
    /// Why not, in words; empty when valid.
    pub notes: Vec<String>,
    /// Per-request values by quantity (`ttft_ms`, `tpot_ms`, `itl_ms`, `e2e_ms`), indexed like
    /// the plan's requests, of the first 65,536; `None` where the request gave none. The
    /// bootstrap needs them.
    #[serde(skip)]
    pub per_request: BTreeMap<String, Vec<Option<f64>>>,
    /// The good ones of these requests, by index.
    #[serde(skip)]
    pub requests: Vec<RequestRecord>,
}

/// Whether a measurement can be trusted (design §5.6), from best to worst: of several verdicts
/// the worst counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// Nothing speaks against it.
    Valid,
    /// Requests were not sent when due.
    ScheduleMissed,
    /// The client, not the server, was the limit.
    ClientLimited,
    /// Too little was measured to say.
    #[default]
    Inconclusive,
    /// More requests failed than allowed, or the server served a cold load from its cache.
    ServerErrored,
    /// A GPU failed, was held back or was not ours alone.
    GpuInvalid,
}

impl Validity {
    /// Whether the numbers tell nothing about the engine.
    pub const fn is_void(self) -> bool {
        match self {
            Self::ScheduleMissed | Self::ClientLimited | Self::ServerErrored | Self::GpuInvalid => {
                true
            }
            Self::Valid | Self::Inconclusive => false,
        }
    }
}

/// Why traces give no numbers.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// Nothing was sent.
    #[error("no request was sent, so nothing was measured")]
    NoRequests,
}
