//! What a GPU is, asked once.

use nvml_wrapper::{
    Device, Nvml, cuda_driver_version_major, cuda_driver_version_minor,
    enum_wrappers::device::{Clock, ComputeMode},
    error::NvmlError,
};

use crate::telemetry::{GpuDetails, GpuInfo, MigSlice, SliceOf};

/// Links of the largest boards so far; asking for one too many is refused and harmless.
const MOST_NVLINKS: u32 = 18;

/// What all GPUs of a host have in common.
pub(super) struct Driver {
    version: Option<String>,
    cuda: Option<String>,
}

impl Driver {
    pub(super) fn of(nvml: &Nvml) -> Self {
        Self {
            version: nvml.sys_driver_version().ok(),
            cuda: nvml.sys_cuda_driver_version().ok().map(|version| {
                let major = cuda_driver_version_major(version);
                format!("{major}.{}", cuda_driver_version_minor(version))
            }),
        }
    }
}

/// A whole board.
pub(super) fn board(device: &Device<'static>, driver: &Driver) -> Result<GpuInfo, NvmlError> {
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
        driver: driver.version.clone(),
        cuda_driver: driver.cuda.clone(),
        details: details(device),
    })
}

/// A slice of a board: the board's properties, its own name, UUID and memory.
pub(super) fn slice(slice: &Device<'static>, board: GpuInfo) -> Result<GpuInfo, NvmlError> {
    let alone = board.details.slices.len() == 1;
    Ok(GpuInfo {
        uuid: slice.uuid()?,
        name: slice.name().unwrap_or_else(|_| board.name.clone()),
        memory_total: slice.memory_info().ok().map(|memory| memory.total),
        details: GpuDetails {
            slice_of: Some(SliceOf {
                uuid: board.uuid.clone(),
                alone,
            }),
            ..board.details.clone()
        },
        ..board
    })
}

fn details(device: &Device<'static>) -> GpuDetails {
    let range = device.power_management_limit_constraints().ok();
    let pci = device.pci_info().ok();
    GpuDetails {
        power_default_mw: device.power_management_limit_default().ok(),
        power_range_mw: range.map(|range| (range.min_limit, range.max_limit)),
        persistence: persistence(device),
        compute_mode: device.compute_mode().ok().map(mode),
        max_sm_clock_mhz: device.max_clock_info(Clock::SM).ok(),
        max_memory_clock_mhz: device.max_clock_info(Clock::Memory).ok(),
        pcie_max_gen: device.max_pcie_link_gen().ok(),
        pcie_max_width: device.max_pcie_link_width().ok(),
        pci_device_id: pci.as_ref().map(|pci| pci.pci_device_id),
        pci_subsystem_id: pci.as_ref().and_then(|pci| pci.pci_sub_system_id),
        pci_bus_id: pci.map(|pci| pci.bus_id),
        vbios: device.vbios_version().ok(),
        nvlinks_active: nvlinks(device),
        virtualisation: virtualisation(device),
        slices: slices(device),
        slice_of: None,
    }
}

fn mode(mode: ComputeMode) -> String {
    match mode {
        ComputeMode::Default => "default",
        ComputeMode::ExclusiveThread => "exclusive-thread",
        ComputeMode::Prohibited => "prohibited",
        ComputeMode::ExclusiveProcess => "exclusive-process",
    }
    .to_owned()
}

#[cfg(target_os = "linux")]
fn persistence(device: &Device<'static>) -> Option<bool> {
    device.is_in_persistent_mode().ok()
}

#[cfg(not(target_os = "linux"))]
const fn persistence(_device: &Device<'static>) -> Option<bool> {
    None
}

#[cfg(target_os = "linux")]
fn virtualisation(device: &Device<'static>) -> Option<String> {
    use nvml_wrapper::enum_wrappers::device::GpuVirtualizationMode as Mode;

    let mode = match device.virtualization_mode().ok()? {
        Mode::Bare => "none",
        Mode::PassThrough => "passthrough",
        Mode::Vgpu => "vgpu",
        Mode::HostVgpu => "host-vgpu",
        Mode::HostVsga => "host-vsga",
    };
    Some(mode.to_owned())
}

#[cfg(not(target_os = "linux"))]
const fn virtualisation(_device: &Device<'static>) -> Option<String> {
    None
}

/// `None` where the board has no links to ask about.
fn nvlinks(device: &Device<'static>) -> Option<u32> {
    let states: Vec<bool> = (0..MOST_NVLINKS)
        .map_while(|link| device.link_wrapper_for(link).is_active().ok())
        .collect();
    let active = states.iter().filter(|active| **active).count();
    (!states.is_empty()).then(|| u32::try_from(active).unwrap_or(MOST_NVLINKS))
}

fn slices(device: &Device<'static>) -> Vec<MigSlice> {
    let most = device.mig_device_count().unwrap_or(0);
    let handles = (0..most).filter_map(|index| device.mig_device_by_index(index).ok());
    handles
        .filter_map(|slice| {
            Some(MigSlice {
                uuid: slice.uuid().ok()?,
                name: slice.name().ok(),
                memory_total: slice.memory_info().ok().map(|memory| memory.total),
            })
        })
        .collect()
}
