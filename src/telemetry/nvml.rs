//! NVIDIA GPUs through NVML, loaded at run time.
//!
//! Nothing is required of the library but its start: a function an old driver lacks, or a
//! reading a GPU does not support, is `None` and not asked for again.

use std::{
    ffi::{OsStr, OsString},
    sync::OnceLock,
};

use nvml_wrapper::{
    Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor,
    enum_wrappers::device::{Clock, TemperatureSensor},
    error::NvmlError,
};

use super::{GpuInfo, GpuReading, GpuSource, NoGpu, TelemetryError};

/// Where the driver's library is looked for: the loader's own paths, WSL, the driver container.
/// Never `libnvidia-ml.so`, which is the toolkit's stub.
const LIBRARIES: [&str; 3] = [
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
];

/// NVML stays loaded to the end of the process: its handles are borrowed by the sampling thread,
/// unloading a driver library is no gain, and starting it again for each scenario costs time.
static NVML: OnceLock<Result<Nvml, NoGpu>> = OnceLock::new();

/// The GPUs of this host.
///
/// # Errors
/// Why there are none, as a value.
pub fn gpus() -> Result<Vec<GpuInfo>, NoGpu> {
    NvmlSource::open(None).map(|source| source.infos)
}

/// All GPUs NVML lists.
pub struct NvmlSource {
    infos: Vec<GpuInfo>,
    watched: Vec<Watched>,
}

impl NvmlSource {
    /// Loads NVML, from `library` alone when given, and identifies the GPUs.
    ///
    /// # Errors
    /// There is no library, the driver does not work, or it lists no GPU.
    pub fn open(library: Option<&OsStr>) -> Result<Self, NoGpu> {
        let nvml = match library {
            Some(_) => Box::leak(Box::new(load(library)?)),
            None => match NVML.get_or_init(|| load(None)) {
                Ok(nvml) => nvml,
                Err(none) => return Err(none.clone()),
            },
        };
        let broken = |error: NvmlError| NoGpu::NoDriver(error.to_string());
        let count = nvml.device_count().map_err(broken)?;
        let driver = nvml.sys_driver_version().ok();
        let cuda = nvml.sys_cuda_driver_version().ok().map(|version| {
            let major = cuda_driver_version_major(version);
            format!("{major}.{}", cuda_driver_version_minor(version))
        });
        let mut source = Self {
            infos: Vec::new(),
            watched: Vec::new(),
        };
        for index in 0..count {
            let device = nvml.device_by_index(index).map_err(broken)?;
            source
                .infos
                .push(identify(&device, driver.as_deref(), cuda.as_deref()).map_err(broken)?);
            source.watched.push(Watched::new(device));
        }
        if source.infos.is_empty() {
            return Err(NoGpu::NoDevice);
        }
        Ok(source)
    }
}

impl GpuSource for NvmlSource {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.infos
    }

    fn sample(&mut self) -> Result<Vec<GpuReading>, TelemetryError> {
        let read = |(index, watched): (usize, &mut Watched)| {
            watched.read().map_err(|error| TelemetryError::Lost {
                index,
                detail: error.to_string(),
            })
        };
        self.watched.iter_mut().enumerate().map(read).collect()
    }
}

fn load(library: Option<&OsStr>) -> Result<Nvml, NoGpu> {
    let candidates: Vec<OsString> = match library {
        Some(library) => vec![library.to_owned()],
        None => LIBRARIES.iter().map(OsString::from).collect(),
    };
    let mut missing = Vec::new();
    for candidate in &candidates {
        match Nvml::builder().lib_path(candidate).init() {
            Ok(nvml) => return Ok(nvml),
            Err(NvmlError::LibloadingError(error)) => missing.push(error.to_string()),
            Err(error) => return Err(NoGpu::NoDriver(error.to_string())),
        }
    }
    Err(NoGpu::NoLibrary(missing.join("; ")))
}

fn identify(
    device: &Device<'static>,
    driver: Option<&str>,
    cuda: Option<&str>,
) -> Result<GpuInfo, NvmlError> {
    let capability = device.cuda_compute_capability().ok();
    Ok(GpuInfo {
        uuid: device.uuid()?,
        name: device.name()?,
        memory_total: device.memory_info().ok().map(|memory| memory.total),
        compute_capability: capability.map(|found| (found.major, found.minor)),
        power_limit_mw: device.enforced_power_limit().ok(),
        mig: device.mig_mode().ok().map(|mode| mode.current != 0),
        ecc: device
            .is_ecc_enabled()
            .ok()
            .map(|state| state.currently_enabled),
        driver: driver.map(str::to_owned),
        cuda_driver: cuda.map(str::to_owned),
    })
}

/// A question to a GPU that is no longer asked once the GPU has said it cannot answer.
struct Asked<T> {
    ask: fn(&Device<'static>) -> Result<T, NvmlError>,
    answers: bool,
}

impl<T> Asked<T> {
    const fn new(ask: fn(&Device<'static>) -> Result<T, NvmlError>) -> Self {
        Self { ask, answers: true }
    }

    fn read(&mut self, device: &Device<'static>) -> Result<Option<T>, NvmlError> {
        if !self.answers {
            return Ok(None);
        }
        match (self.ask)(device) {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_gone(&error) => Err(error),
            Err(error) => {
                self.answers = !is_unsupported(&error);
                Ok(None)
            }
        }
    }
}

/// The GPU or the driver is not there any more.
const fn is_gone(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::GpuLost
            | NvmlError::ResetRequired
            | NvmlError::Uninitialized
            | NvmlError::DriverNotLoaded
    )
}

/// It will never answer this, as opposed to not this time.
const fn is_unsupported(error: &NvmlError) -> bool {
    matches!(
        error,
        NvmlError::NotSupported
            | NvmlError::NoPermission
            | NvmlError::FunctionNotFound
            | NvmlError::FailedToLoadSymbol(_)
    )
}

/// A GPU and what it is asked.
struct Watched {
    device: Device<'static>,
    memory: Asked<u64>,
    power: Asked<u32>,
    energy: Asked<u64>,
    utilisation: Asked<u32>,
    temperature: Asked<u32>,
    clock: Asked<u32>,
    throttle: Asked<u64>,
}

impl Watched {
    const fn new(device: Device<'static>) -> Self {
        Self {
            device,
            memory: Asked::new(|device| Ok(device.memory_info()?.used)),
            power: Asked::new(Device::power_usage),
            energy: Asked::new(Device::total_energy_consumption),
            utilisation: Asked::new(|device| Ok(device.utilization_rates()?.gpu)),
            temperature: Asked::new(|device| device.temperature(TemperatureSensor::Gpu)),
            clock: Asked::new(|device| device.clock_info(Clock::SM)),
            throttle: Asked::new(|device| Ok(device.current_throttle_reasons()?.bits())),
        }
    }

    fn read(&mut self) -> Result<GpuReading, NvmlError> {
        let device = &self.device;
        Ok(GpuReading {
            memory_used: self.memory.read(device)?,
            power_mw: self.power.read(device)?,
            energy_mj: self.energy.read(device)?,
            utilisation_pct: self.utilisation.read(device)?,
            temperature_c: self.temperature.read(device)?,
            sm_clock_mhz: self.clock.read(device)?,
            throttle_reasons: self.throttle.read(device)?,
        })
    }
}
