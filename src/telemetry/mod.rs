//! Watching the GPUs, the server and this host while the load runs.
//!
//! A [`GpuSource`] answers one sample at a time; a [`Watch`] owns the threads that ask it at a
//! fixed rate and listen for errors, and hands back a [`GpuTrace`] for each [`Section`]. No GPU is
//! a value ([`NoGpu`]), not a crash.
//! [`ServerSampler`] reads the server's own metrics, [`server_numbers()`] sums them up.
//! [`HostWatch`] tells what the host took from the load generator.

mod aliases;
mod amd;
mod busy;
mod choose;
mod gpu;
mod host;
mod host_files;
mod nvidia_smi;
mod nvml;
mod processes;
mod prometheus;
mod recording;
mod replay;
mod select;
mod server;
mod server_check;
mod server_numbers;
mod tool;
mod watch;
mod xid;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use aliases::{Buckets, Quantity, Reading, Snapshot};
pub use amd::{AmdSmiSource, SysfsSource};
pub use busy::gpu_busy;
pub use choose::open_source;
pub use gpu::{
    EventKind, GpuCounters, GpuDetails, GpuEvent, GpuInfo, GpuProcess, GpuReading, GpuSample,
    GpuStatus, GpuStatusSample, GpuTrace, MigSlice, ProcessKind, SliceOf, ThrottleTimes, WatchCost,
};
pub use host::{HostLoad, HostRoots, HostState, HostWatch};
pub(crate) use host_files::{allowed, groups};
pub use nvidia_smi::NvidiaSmiSource;
pub use nvml::{NvmlSource, gpus};
pub use processes::{Owner, foreign, program};
pub use recording::{read_traces, write_trace};
pub use replay::ReplaySource;
pub use server::{Scrape, ServerSample, ServerSampler, ServerTrace};
pub use server_check::{ServerCheck, ServerExpectations, check_server, ttft_beside};
pub use server_numbers::{ServerNumbers, server_numbers};
pub use watch::{GpuAlarm, Section, Watch};
pub use xid::{Xid, XidClass, in_words as xid_in_words, xid};

/// A source of GPU readings.
pub trait GpuSource: Send {
    /// What it is, for reports: `nvml`, `replay`.
    fn name(&self) -> &'static str;

    /// The GPUs it sees, in a fixed order.
    fn devices(&self) -> &[GpuInfo];

    /// One reading of every GPU, in the order of [`GpuSource::devices`]; `None` when nothing new
    /// came since the last question.
    ///
    /// # Errors
    /// The source is gone (driver unloaded, GPU lost). A reading a GPU does not support is
    /// `None` in its sample, not an error.
    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError>;

    /// What changes slowly, such as who uses the GPUs; empty where the source does not tell.
    ///
    /// # Errors
    /// As [`GpuSource::sample`].
    fn status(&mut self) -> Result<Vec<GpuStatus>, TelemetryError> {
        Ok(Vec::new())
    }

    /// What is read at the edges of a measurement only; empty where the source does not tell.
    ///
    /// # Errors
    /// As [`GpuSource::sample`].
    fn counters(&mut self) -> Result<Vec<GpuCounters>, TelemetryError> {
        Ok(Vec::new())
    }

    /// Listens to what the GPUs report by themselves, from now on. `None`: they report nothing.
    fn events(&self) -> Option<Box<dyn EventSource>> {
        None
    }
}

/// What GPUs report by themselves.
pub trait EventSource: Send {
    /// Waits for the next event, at most this long. The number is the GPU's place in the list.
    ///
    /// # Errors
    /// Events cannot be heard any more.
    fn wait(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<(Option<usize>, EventKind)>, TelemetryError>;
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
    /// A GPU that was asked for is not there.
    #[error("no GPU: there is no {0}")]
    NotThere(String),
    /// The program that would tell is not installed.
    #[error("no GPU: {0} is not installed")]
    NoTool(String),
    /// The program that would tell does not work.
    #[error("no GPU: {0}")]
    BrokenTool(String),
    /// A recording cannot be played.
    #[error("no GPU readings: {0}")]
    NoRecording(String),
    /// There is nothing to watch.
    #[error("GPUs are not watched: the engine uses none")]
    NotUsed,
    /// Nobody is to watch.
    #[error("GPUs are not watched: telemetry is off")]
    Off,
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
    /// A program that tells about GPUs ended or talks nonsense.
    #[error("{tool} does not tell any more: {detail}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// Its last words.
        detail: String,
    },
    /// Errors of the GPUs cannot be heard any more.
    #[error("the driver does not report GPU errors any more: {0}")]
    Events(String),
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
