//! NVIDIA GPUs through NVML, loaded at run time.
//!
//! Nothing is required of the library but its start: a function an old driver lacks, or a
//! reading a GPU does not support, is `None` and not asked for again.

mod asked;
#[cfg(target_os = "linux")]
mod events;
mod identify;
mod load;

use std::ffi::OsStr;

use nvml_wrapper::{
    Device, Nvml,
    enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor},
    enums::device::UsedGpuMemory,
    error::NvmlError,
    struct_wrappers::device::ProcessInfo,
    sys_exports::field_id::{
        NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
        NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
        NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN, NVML_FI_DEV_MEMORY_TEMP,
        NVML_FI_DEV_PCIE_COUNT_RX_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES,
        NVML_FI_DEV_PERF_POLICY_POWER, NVML_FI_DEV_POWER_AVERAGE, NVML_FI_DEV_POWER_INSTANT,
        NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    },
};

use self::{
    asked::{Asked, Fields},
    identify::Driver,
};
use super::{
    EventSource, GpuCounters, GpuInfo, GpuProcess, GpuReading, GpuSource, GpuStatus, NoGpu,
    ProcessKind, TelemetryError, ThrottleTimes, select,
};
use crate::engine::GpuSet;

/// Read ten times a second, in one call.
const FAST: [u32; 8] = [
    NVML_FI_DEV_POWER_INSTANT,
    NVML_FI_DEV_POWER_AVERAGE,
    NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION,
    NVML_FI_DEV_MEMORY_TEMP,
    NVML_FI_DEV_PERF_POLICY_POWER,
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN,
    NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN,
    NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN,
];
/// Read once a second. Counters, because the throughput query keeps the caller for 20 ms.
const SLOW: [u32; 2] = [
    NVML_FI_DEV_PCIE_COUNT_TX_BYTES,
    NVML_FI_DEV_PCIE_COUNT_RX_BYTES,
];

/// The GPUs of this host.
///
/// # Errors
/// Why there are none, as a value.
pub fn gpus() -> Result<Vec<GpuInfo>, NoGpu> {
    NvmlSource::open(None).map(|source| source.infos)
}

/// GPUs that NVML lists.
pub struct NvmlSource {
    nvml: &'static Nvml,
    infos: Vec<GpuInfo>,
    watched: Vec<Watched>,
}

impl NvmlSource {
    /// Loads NVML, from `library` alone when given, and identifies all GPUs.
    ///
    /// # Errors
    /// There is no library, the driver does not work, or it lists no GPU.
    pub fn open(library: Option<&OsStr>) -> Result<Self, NoGpu> {
        let nvml = load::nvml(library)?;
        let broken = |error: NvmlError| NoGpu::NoDriver(error.to_string());
        let driver = Driver::of(nvml);
        let mut source = Self {
            nvml,
            infos: Vec::new(),
            watched: Vec::new(),
        };
        for index in 0..nvml.device_count().map_err(broken)? {
            let device = nvml.device_by_index(index).map_err(broken)?;
            let info = identify::board(&device, &driver).map_err(broken)?;
            source.watched.push(Watched::new(device, None, &info));
            source.infos.push(info);
        }
        if source.infos.is_empty() {
            return Err(NoGpu::NoDevice);
        }
        Ok(source)
    }

    /// Those of `gpus`, in their order; all where it names none. A slice (`MIG-…`) is watched
    /// through its board.
    ///
    /// # Errors
    /// As [`NvmlSource::open`], or one of them is not there.
    pub fn of(gpus: &GpuSet) -> Result<Self, NoGpu> {
        let all = Self::open(None)?;
        let GpuSet::Nvidia(wanted) = gpus else {
            return Ok(all);
        };
        let mut chosen = Self {
            nvml: all.nvml,
            infos: Vec::new(),
            watched: Vec::new(),
        };
        for name in wanted {
            chosen.add(&all.infos, name)?;
        }
        Ok(chosen)
    }

    /// `name` is a UUID or the number NVML gives a board.
    fn add(&mut self, boards: &[GpuInfo], name: &str) -> Result<(), NoGpu> {
        let (nvml, missing) = (self.nvml, |_: NvmlError| select::missing(boards, name));
        if !name.starts_with("MIG-") {
            let board = select::named(boards, name)?;
            let device = nvml.device_by_uuid(board.uuid.as_str()).map_err(missing)?;
            self.watched.push(Watched::new(device, None, board));
            self.infos.push(board.clone());
            return Ok(());
        }
        let slice = nvml.device_by_uuid(name).map_err(missing)?;
        let parent = slice.mig_parent_device().map_err(missing)?;
        let uuid = parent.uuid().map_err(missing)?;
        let board = select::named(boards, &uuid)?;
        let info = identify::slice(&slice, board.clone()).map_err(missing)?;
        self.watched.push(Watched::new(parent, Some(slice), &info));
        self.infos.push(info);
        Ok(())
    }

    fn all<T>(
        &mut self,
        read: impl Fn(&mut Watched) -> Result<T, NvmlError>,
    ) -> Result<Vec<T>, TelemetryError> {
        let read = |(index, watched): (usize, &mut Watched)| {
            read(watched).map_err(|error| TelemetryError::Lost {
                index,
                detail: error.to_string(),
            })
        };
        self.watched.iter_mut().enumerate().map(read).collect()
    }
}

impl GpuSource for NvmlSource {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.infos
    }

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        self.all(Watched::read).map(Some)
    }

    fn status(&mut self) -> Result<Vec<GpuStatus>, TelemetryError> {
        self.all(Watched::status)
    }

    fn counters(&mut self) -> Result<Vec<GpuCounters>, TelemetryError> {
        self.all(Watched::counters)
    }

    #[cfg(target_os = "linux")]
    fn events(&self) -> Option<Box<dyn EventSource>> {
        events::NvmlEvents::register(self.nvml, &self.infos)
            .map(|events| Box::new(events) as Box<dyn EventSource>)
    }

    #[cfg(not(target_os = "linux"))]
    fn events(&self) -> Option<Box<dyn EventSource>> {
        None
    }
}

/// A GPU and what it is asked.
struct Watched {
    board: Device<'static>,
    /// The slice of the board that is meant, if it is one: memory and processes are its own.
    slice: Option<Device<'static>>,
    /// Whether the board's power is that of what is watched.
    own_power: bool,
    fast: Fields<8>,
    slow: Fields<2>,
    memory: Asked<u64>,
    power: Asked<u32>,
    energy: Asked<u64>,
    utilisation: Asked<u32>,
    temperature: Asked<u32>,
    clock: Asked<u32>,
    memory_clock: Asked<u32>,
    throttle: Asked<u64>,
    compute: Asked<Vec<ProcessInfo>>,
    mps: Asked<Vec<ProcessInfo>>,
    graphics: Asked<Vec<ProcessInfo>>,
    pcie_gen: Asked<u32>,
    pcie_width: Asked<u32>,
    pstate: Asked<u32>,
    ecc: Asked<u64>,
}

impl Watched {
    fn new(board: Device<'static>, slice: Option<Device<'static>>, info: &GpuInfo) -> Self {
        let shared = info.details.slice_of.as_ref().is_some_and(|of| !of.alone);
        let virtual_gpu = info.details.virtualisation.as_deref() == Some("vgpu");
        Self {
            board,
            slice,
            own_power: !shared && !virtual_gpu,
            fast: Fields::new(FAST),
            slow: Fields::new(SLOW),
            memory: Asked::new(|device| Ok(device.memory_info()?.used)),
            power: Asked::new(Device::power_usage),
            energy: Asked::new(Device::total_energy_consumption),
            utilisation: Asked::new(|device| Ok(device.utilization_rates()?.gpu)),
            temperature: Asked::new(|device| device.temperature(TemperatureSensor::Gpu)),
            clock: Asked::new(|device| device.clock_info(Clock::SM)),
            memory_clock: Asked::new(|device| device.clock_info(Clock::Memory)),
            throttle: Asked::new(|device| Ok(device.current_throttle_reasons()?.bits())),
            compute: Asked::new(Device::running_compute_processes),
            mps: Asked::new(Device::mps_running_compute_processes),
            graphics: Asked::new(Device::running_graphics_processes),
            pcie_gen: Asked::new(Device::current_pcie_link_gen),
            pcie_width: Asked::new(Device::current_pcie_link_width),
            pstate: Asked::new(|device| Ok(device.performance_state()?.as_c())),
            ecc: Asked::new(|device| {
                device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile)
            }),
        }
    }

    fn read(&mut self) -> Result<GpuReading, NvmlError> {
        let board = &self.board;
        let [now, mean, energy, memory_heat, cap, soft_heat, heat, brake] =
            self.fast.read(board)?;
        let narrow = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        // Old drivers have the calls and not the fields.
        let power_mw = match narrow(now).or(narrow(mean)) {
            Some(power) => Some(power),
            None => self.power.read(board)?,
        };
        let energy_mj = match energy {
            Some(energy) => Some(energy),
            None => self.energy.read(board)?,
        };
        let counted = soft_heat.is_some() && heat.is_some();
        Ok(GpuReading {
            memory_used: self.memory.read(self.slice.as_ref().unwrap_or(board))?,
            power_mw: power_mw.filter(|_| self.own_power),
            power_mean_mw: narrow(mean).filter(|_| self.own_power),
            energy_mj: energy_mj.filter(|_| self.own_power),
            utilisation_pct: self.utilisation.read(board)?,
            temperature_c: self.temperature.read(board)?,
            memory_temperature_c: narrow(memory_heat),
            sm_clock_mhz: self.clock.read(board)?,
            memory_clock_mhz: self.memory_clock.read(board)?,
            throttle_reasons: if counted {
                None
            } else {
                self.throttle.read(board)?
            },
            throttled: ThrottleTimes {
                power_cap_ns: cap,
                sw_thermal_ns: soft_heat,
                hw_thermal_ns: heat,
                power_brake_ns: brake,
            },
        })
    }

    fn status(&mut self) -> Result<GpuStatus, NvmlError> {
        let processes = self.processes()?;
        let board = &self.board;
        let [sent, received] = self.slow.read(board)?;
        Ok(GpuStatus {
            processes,
            pcie_gen: self.pcie_gen.read(board)?,
            pcie_width: self.pcie_width.read(board)?,
            pcie_tx_bytes: sent,
            pcie_rx_bytes: received,
            pstate: self.pstate.read(board)?,
        })
    }

    /// One entry for each process; `None` where not even computing ones are told.
    fn processes(&mut self) -> Result<Option<Vec<GpuProcess>>, NvmlError> {
        let device = self.slice.as_ref().unwrap_or(&self.board);
        let compute = self.compute.read(device)?;
        let mps = self.mps.read(device)?;
        let graphics = self.graphics.read(device)?;
        let Some(compute) = compute else {
            return Ok(None);
        };
        let mut found: Vec<GpuProcess> = Vec::new();
        let kinds = [
            (ProcessKind::Compute, compute),
            (ProcessKind::Mps, mps.unwrap_or_default()),
            (ProcessKind::Graphics, graphics.unwrap_or_default()),
        ];
        for (kind, processes) in kinds {
            for one in processes {
                if found.iter().all(|known| known.pid != one.pid) {
                    found.push(process(kind, &one));
                }
            }
        }
        Ok(Some(found))
    }

    fn counters(&mut self) -> Result<GpuCounters, NvmlError> {
        let energy = self.energy.read(&self.board)?;
        Ok(GpuCounters {
            ecc_uncorrected: self.ecc.read(&self.board)?,
            energy_mj: energy.filter(|_| self.own_power),
        })
    }
}

fn process(kind: ProcessKind, info: &ProcessInfo) -> GpuProcess {
    GpuProcess {
        pid: info.pid,
        kind,
        memory: match info.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(bytes),
            UsedGpuMemory::Unavailable => None,
        },
        gpu_instance: info.gpu_instance_id,
    }
}
