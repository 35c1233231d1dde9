//! Which source watches the GPUs.

use super::{
    AmdSmiSource, GpuSource, NoGpu, NvidiaSmiSource, NvmlSource, ReplaySource, SysfsSource,
};
use crate::{context::TelemetryChoice, engine::GpuSet};

/// Opens the source that was chosen for the GPUs an engine gets, or for all of the host where it
/// gets none. [`TelemetryChoice::Auto`] takes the first that works of NVML, `nvidia-smi`,
/// `amd-smi` and what the kernel tells of AMD GPUs.
///
/// # Errors
/// Why nothing can be watched, as a value.
pub fn open_source(choice: &TelemetryChoice, gpus: &GpuSet) -> Result<Box<dyn GpuSource>, NoGpu> {
    match choice {
        TelemetryChoice::Off => Err(NoGpu::Off),
        TelemetryChoice::Replay(path) => match ReplaySource::open(path) {
            Ok(source) => Ok(Box::new(source)),
            Err(error) => Err(NoGpu::NoRecording(error.to_string())),
        },
        TelemetryChoice::Nvml => nvml(gpus),
        TelemetryChoice::NvidiaSmi => nvidia_smi(gpus),
        TelemetryChoice::AmdSmi => first(&[amd_smi, sysfs], gpus),
        TelemetryChoice::Auto => match gpus {
            GpuSet::Nvidia(_) => first(&[nvml, nvidia_smi], gpus),
            GpuSet::Amd(_) => first(&[amd_smi, sysfs], gpus),
            GpuSet::None => first(&[nvml, nvidia_smi, amd_smi, sysfs], gpus),
        },
    }
}

type Open = fn(&GpuSet) -> Result<Box<dyn GpuSource>, NoGpu>;

/// The first that works. When none does: what is broken says more than what is not installed.
fn first(candidates: &[Open], gpus: &GpuSet) -> Result<Box<dyn GpuSource>, NoGpu> {
    let mut failures = Vec::new();
    for open in candidates {
        match open(gpus) {
            Ok(source) => return Ok(source),
            Err(none) => failures.push(none),
        }
    }
    let absent = |none: &NoGpu| matches!(none, NoGpu::NoLibrary(_) | NoGpu::NoTool(_));
    let broken = failures.iter().position(|none| !absent(none)).unwrap_or(0);
    Err(failures.into_iter().nth(broken).unwrap_or(NoGpu::NoDevice))
}

fn nvml(gpus: &GpuSet) -> Result<Box<dyn GpuSource>, NoGpu> {
    Ok(Box::new(NvmlSource::of(gpus)?))
}

fn nvidia_smi(gpus: &GpuSet) -> Result<Box<dyn GpuSource>, NoGpu> {
    Ok(Box::new(NvidiaSmiSource::start(
        "nvidia-smi".as_ref(),
        gpus,
    )?))
}

fn amd_smi(gpus: &GpuSet) -> Result<Box<dyn GpuSource>, NoGpu> {
    Ok(Box::new(AmdSmiSource::start("amd-smi".as_ref(), gpus)?))
}

fn sysfs(gpus: &GpuSet) -> Result<Box<dyn GpuSource>, NoGpu> {
    Ok(Box::new(SysfsSource::open(
        "/sys/class/drm".as_ref(),
        gpus,
    )?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(candidates: &[Open]) -> NoGpu {
        first(candidates, &GpuSet::None).err().unwrap()
    }

    #[test]
    fn what_is_broken_says_more_than_what_is_not_installed() {
        let absent: Open = |_| Err(NoGpu::NoLibrary("x".to_owned()));
        let no_tool: Open = |_| Err(NoGpu::NoTool("t".to_owned()));
        let broken: Open = |_| Err(NoGpu::NoDriver("d".to_owned()));
        assert_eq!(
            why(&[absent, broken, no_tool]),
            NoGpu::NoDriver("d".to_owned())
        );
        assert_eq!(why(&[absent, no_tool]), NoGpu::NoLibrary("x".to_owned()));
    }

    #[test]
    fn nothing_is_watched_when_it_is_off() {
        let off = open_source(&TelemetryChoice::Off, &GpuSet::None);
        assert_eq!(off.err(), Some(NoGpu::Off));
    }
}
