//! What is known of a GPU, once, in each reading and over a whole trace. Values only.
//!
//! Everything is optional, because every GPU, driver and tool leaves something out: `None` is
//! "does not tell", never zero. Fields that later versions added are absent in older recordings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A GPU, as it identifies itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// What stays the same while the driver is loaded.
    #[serde(default)]
    pub details: GpuDetails,
}

/// What does not change while the driver is loaded, beside the identity.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuDetails {
    /// Default power limit in milliwatts.
    pub power_default_mw: Option<u32>,
    /// Smallest and largest power limit that can be set, milliwatts.
    pub power_range_mw: Option<(u32, u32)>,
    /// Whether the driver stays initialised without a client.
    pub persistence: Option<bool>,
    /// Who may use it: `default`, `exclusive-process`, `prohibited`.
    pub compute_mode: Option<String>,
    /// Largest SM clock, MHz.
    pub max_sm_clock_mhz: Option<u32>,
    /// Largest memory clock, MHz.
    pub max_memory_clock_mhz: Option<u32>,
    /// `PCIe` generation it could use in this slot. The current one drops when idle.
    pub pcie_max_gen: Option<u32>,
    /// `PCIe` lanes it could use in this slot.
    pub pcie_max_width: Option<u32>,
    /// Address on the `PCIe` bus; not exported.
    pub pci_bus_id: Option<String>,
    /// Device and vendor number, 16 bits each.
    pub pci_device_id: Option<u32>,
    /// Subsystem number: tells the form factor.
    pub pci_subsystem_id: Option<u32>,
    /// Firmware version.
    pub vbios: Option<String>,
    /// `NVLink`s that are up; absent where there are none to ask about.
    pub nvlinks_active: Option<u32>,
    /// How it is virtualised: `none`, `passthrough`, `vgpu`, `host-vgpu`, `host-vsga`.
    pub virtualisation: Option<String>,
    /// The MIG slices it is cut into.
    pub slices: Vec<MigSlice>,
    /// Set when this is a MIG slice: the whole board's power is then not its own.
    pub slice_of: Option<SliceOf>,
}

/// A MIG slice of a GPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigSlice {
    /// Its UUID.
    pub uuid: String,
    /// Its name, which ends in its profile, such as `… MIG 1g.10gb`.
    pub name: Option<String>,
    /// Its memory in bytes.
    pub memory_total: Option<u64>,
}

/// The board a slice belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceOf {
    /// UUID of the board.
    pub uuid: String,
    /// Whether it is the board's only slice, so that the board's power is its own.
    pub alone: bool,
}

/// One reading of one GPU. `None`: this GPU does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuReading {
    /// Memory in use, bytes.
    pub memory_used: Option<u64>,
    /// Power draw, milliwatts: of this moment where the GPU tells it, else its one-second mean.
    pub power_mw: Option<u32>,
    /// Mean power draw of the last second, milliwatts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_mean_mw: Option<u32>,
    /// Energy since the driver was loaded, millijoules.
    pub energy_mj: Option<u64>,
    /// Share of time with a kernel running, per cent.
    pub utilisation_pct: Option<u32>,
    /// Temperature, °C.
    pub temperature_c: Option<u32>,
    /// Temperature of the memory, °C; boards with HBM only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_temperature_c: Option<u32>,
    /// SM clock, MHz.
    pub sm_clock_mhz: Option<u32>,
    /// Memory clock, MHz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_clock_mhz: Option<u32>,
    /// Bit mask of current throttle reasons, NVML's encoding; asked only where there are no
    /// counters.
    pub throttle_reasons: Option<u64>,
    /// For how long the clocks have been held down.
    #[serde(skip_serializing_if = "ThrottleTimes::is_unknown")]
    pub throttled: ThrottleTimes,
}

/// For how long something has held the clocks down since the driver was loaded, nanoseconds.
/// These only grow, so that a difference over a window is exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThrottleTimes {
    /// The power limit: normal on a loaded GPU.
    pub power_cap_ns: Option<u64>,
    /// The driver, because of heat.
    pub sw_thermal_ns: Option<u64>,
    /// The hardware, because of heat.
    pub hw_thermal_ns: Option<u64>,
    /// The hardware, because the power supply asked for it.
    pub power_brake_ns: Option<u64>,
}

impl ThrottleTimes {
    /// Whether nothing is known.
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// All readings of one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuSample {
    /// Offset from the trace's start.
    pub at: Duration,
    /// One per device, in device order.
    pub readings: Vec<GpuReading>,
}

/// What is asked of a GPU once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuStatus {
    /// Who uses it; `None` where the GPU does not tell.
    pub processes: Option<Vec<GpuProcess>>,
    /// `PCIe` generation in use.
    pub pcie_gen: Option<u32>,
    /// `PCIe` lanes in use.
    pub pcie_width: Option<u32>,
    /// Bytes sent over `PCIe` since the driver was loaded; may wrap.
    pub pcie_tx_bytes: Option<u64>,
    /// Bytes received over `PCIe` since the driver was loaded; may wrap.
    pub pcie_rx_bytes: Option<u64>,
    /// Performance state, 0 the fastest.
    pub pstate: Option<u32>,
}

/// The slow readings of one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuStatusSample {
    /// Offset from the trace's start.
    pub at: Duration,
    /// One per device, in device order.
    pub gpus: Vec<GpuStatus>,
}

/// Somebody who uses a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Its number; the host's on drivers that do not translate it.
    pub pid: u32,
    /// What it does there.
    pub kind: ProcessKind,
    /// Its memory on the GPU in bytes, where told.
    pub memory: Option<u64>,
    /// Its MIG GPU instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_instance: Option<u32>,
}

/// What a process does on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessKind {
    /// It computes.
    Compute,
    /// It computes through the multi-process service.
    Mps,
    /// It draws.
    Graphics,
}

/// What is read at the edges of a measurement only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuCounters {
    /// Memory errors that could not be corrected, since the driver was loaded.
    pub ecc_uncorrected: Option<u64>,
    /// Energy since the driver was loaded, millijoules.
    pub energy_mj: Option<u64>,
}

/// Something a GPU reported by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuEvent {
    /// Offset from the trace's start; zero for what came before it.
    pub at: Duration,
    /// Position in the device list, where known.
    pub gpu: Option<usize>,
    /// What happened.
    pub kind: EventKind,
}

/// What a GPU can report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum EventKind {
    /// The driver wrote an XID error.
    Xid {
        /// Its number.
        code: u64,
    },
    /// A memory error that could not be corrected.
    EccUncorrected,
    /// The GPU does not answer any more.
    Lost {
        /// The driver's words.
        detail: String,
    },
    /// Somebody else computes on the GPU.
    Foreign {
        /// Their process.
        pid: u32,
        /// Its program, where it can be read.
        program: Option<String>,
    },
}

/// What watching cost and missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchCost {
    /// Readings taken.
    pub ticks: u64,
    /// Median time of a reading, microseconds.
    pub tick_p50_us: Option<f64>,
    /// 99th percentile of it, microseconds.
    pub tick_p99_us: Option<f64>,
    /// Readings that were due while an earlier one still ran.
    pub missed: u64,
    /// Longest time between two readings, milliseconds.
    pub largest_gap_ms: Option<f64>,
    /// Time between readings at the end, milliseconds: it is doubled when readings are slow.
    pub interval_ms: f64,
}

/// What was seen of the GPUs while one scenario ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuTrace {
    /// Name of the source.
    pub source: String,
    /// The GPUs.
    pub devices: Vec<GpuInfo>,
    /// Samples in time order; the first and last lie outside the measured window.
    pub samples: Vec<GpuSample>,
    /// Where the load's clock started on this trace's: see [`super::Section::mark`].
    #[serde(default)]
    pub scenario_start: Duration,
    /// Why sampling ended early, if it did.
    pub lost: Option<String>,
    /// The slow readings, in time order.
    #[serde(default)]
    pub status: Vec<GpuStatusSample>,
    /// What the GPUs reported by themselves, in time order.
    #[serde(default)]
    pub events: Vec<GpuEvent>,
    /// Counters before the load, one per device; empty where the source has none.
    #[serde(default)]
    pub first: Vec<GpuCounters>,
    /// Counters after it.
    #[serde(default)]
    pub last: Vec<GpuCounters>,
    /// What watching cost.
    #[serde(default)]
    pub cost: WatchCost,
}
