//! AMD GPUs: through `amd-smi`, or through what the kernel tells.

mod json;
mod smi;
mod sysfs;

pub use self::{smi::AmdSmiSource, sysfs::SysfsSource};

use super::{GpuInfo, NoGpu};
use crate::engine::GpuSet;

/// The GPUs an engine gets: places in the list; all where it names none.
fn chosen(infos: &[GpuInfo], gpus: &GpuSet) -> Result<Vec<usize>, NoGpu> {
    match gpus {
        GpuSet::Amd(numbers) if !numbers.is_empty() => numbers
            .iter()
            .map(|number| {
                let at = usize::try_from(*number).ok();
                at.filter(|at| *at < infos.len())
                    .ok_or_else(|| super::select::missing(infos, &format!("AMD GPU {number}")))
            })
            .collect(),
        GpuSet::Amd(_) | GpuSet::None => Ok((0..infos.len()).collect()),
        GpuSet::Nvidia(_) => Err(NoGpu::NotThere("NVIDIA GPU among AMD's".to_owned())),
    }
}
