//! Watching the GPUs, the server and this host while the load runs.
//!
//! A [`GpuSource`] answers one sample at a time; [`Sampler`] owns a thread that asks it at a
//! fixed rate and hands back a [`GpuTrace`]. No GPU is a value ([`NoGpu`]), not a crash.
//! [`ServerSampler`] reads the server's own metrics, [`server_numbers()`] sums them up.
//! [`HostWatch`] tells what the host took from the load generator.

mod aliases;
mod host;
mod host_files;
mod nvml;
mod prometheus;
mod recording;
mod replay;
mod sampler;
mod server;
mod server_check;
mod server_numbers;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use aliases::{Buckets, Quantity, Reading, Snapshot};
pub use host::{HostLoad, HostRoots, HostState, HostWatch};
pub use nvml::{NvmlSource, gpus};
pub use recording::{read_traces, write_trace};
pub use replay::ReplaySource;
pub use sampler::Sampler;
pub use server::{Scrape, ServerSample, ServerSampler, ServerTrace};
pub use server_check::{ServerCheck, ServerExpectations, check_server, ttft_beside};
pub use server_numbers::{ServerNumbers, server_numbers};

/// A source of GPU readings.
pub trait GpuSource: Send {
    /// What it is, for reports: `nvml`, `replay`.
    fn name(&self) -> &'static str;

    /// The GPUs it sees, in a fixed order.
    fn devices(&self) -> &[GpuInfo];

    /// One reading of every GPU, in the order of [`GpuSource::devices`].
    ///
    /// # Errors
    /// The source is gone (driver unloaded, GPU lost). A reading a GPU does not support is
    /// `None` in its sample, not an error.
    fn sample(&mut self) -> Result<Vec<GpuReading>, TelemetryError>;
}

/// A GPU, as it identifies itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuInfo {
    /// Its UUID; never exported in the clear (see `results::fingerprint`).
    pub uuid: String,
    /// Marketing name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Total memory in bytes.
    pub memory_total: Option<u64>,
    /// Compute capability, major and minor.
    pub compute_capability: Option<(i32, i32)>,
    /// Enforced power limit in milliwatts.
    pub power_limit_mw: Option<u32>,
    /// Whether it is partitioned (MIG).
    pub mig: Option<bool>,
    /// Whether ECC is on.
    pub ecc: Option<bool>,
    /// Driver version.
    pub driver: Option<String>,
    /// CUDA version the driver offers, such as `12.4`.
    pub cuda_driver: Option<String>,
}

/// One reading of one GPU. `None`: this GPU does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuReading {
    /// Memory in use, bytes.
    pub memory_used: Option<u64>,
    /// Power draw, milliwatts.
    pub power_mw: Option<u32>,
    /// Energy since the driver was loaded, millijoules.
    pub energy_mj: Option<u64>,
    /// Share of time with a kernel running, per cent.
    pub utilisation_pct: Option<u32>,
    /// Temperature, °C.
    pub temperature_c: Option<u32>,
    /// SM clock, MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Bit mask of current throttle reasons, NVML's encoding.
    pub throttle_reasons: Option<u64>,
}

/// All readings of one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuSample {
    /// Offset from the sampler's start.
    pub at: Duration,
    /// One per device, in device order.
    pub readings: Vec<GpuReading>,
}

/// What a sampler saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuTrace {
    /// Name of the source.
    pub source: String,
    /// The GPUs.
    pub devices: Vec<GpuInfo>,
    /// Samples in time order; the first and last lie outside the measured window.
    pub samples: Vec<GpuSample>,
    /// Where the load's clock started on this trace's: see [`Sampler::mark`].
    #[serde(default)]
    pub scenario_start: Duration,
    /// Why sampling ended early, if it did.
    pub lost: Option<String>,
}

/// Why there is no GPU to watch. A value: a run without GPU goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason", content = "detail")]
pub enum NoGpu {
    /// `libnvidia-ml.so.1` is not installed.
    #[error("no GPU: this host has no NVIDIA driver library")]
    NoLibrary(String),
    /// The library is there, the driver is not usable.
    #[error("no GPU: NVML does not start ({0})")]
    NoDriver(String),
    /// The driver works and lists no GPU.
    #[error("no GPU: the driver lists none")]
    NoDevice,
}

/// A source that stopped answering.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// NVML said so.
    #[error("GPU {index} does not answer any more: {detail}")]
    Lost {
        /// Position in the device list.
        index: usize,
        /// NVML's words.
        detail: String,
    },
    /// A recorded trace that cannot be read.
    #[error("cannot replay {path}: {detail}")]
    Replay {
        /// The file.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A recording cannot be written.
    #[error("cannot record the GPU readings")]
    Record(#[source] std::io::Error),
    /// The recorded trace has ended.
    #[error("the recorded trace has ended")]
    Ended,
}
