//! Loading the driver's library, once.

use std::{
    ffi::{OsStr, OsString},
    sync::OnceLock,
};

use nvml_wrapper::{Nvml, error::NvmlError};

use crate::telemetry::NoGpu;

/// Where the driver's library is looked for: the loader's own paths, WSL, the driver container.
/// Never `libnvidia-ml.so`, which is the toolkit's stub.
const LIBRARIES: [&str; 3] = [
    "libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
];

/// NVML stays loaded to the end of the process: its handles are borrowed by the watching threads,
/// unloading a driver library is no gain, and starting it again for each scenario costs time.
static NVML: OnceLock<Result<Nvml, NoGpu>> = OnceLock::new();

/// NVML, loaded from `library` alone when given, else once from where drivers put it.
pub(super) fn nvml(library: Option<&OsStr>) -> Result<&'static Nvml, NoGpu> {
    match library {
        Some(_) => Ok(Box::leak(Box::new(load(library)?))),
        None => NVML
            .get_or_init(|| load(None))
            .as_ref()
            .map_err(Clone::clone),
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
            Err(error) => return Err(NoGpu::NoDriver(with_remedy(&error))),
        }
    }
    Err(NoGpu::NoLibrary(missing.join("; ")))
}

/// The driver's words, and what to do where that is known.
fn with_remedy(error: &NvmlError) -> String {
    let remedy = if matches!(error, NvmlError::LibRmVersionMismatch) {
        "the driver was replaced while its old kernel module runs: reboot this host"
    } else if matches!(error, NvmlError::DriverNotLoaded) {
        "the kernel module is not loaded: look at `dmesg` and run `modprobe nvidia`"
    } else if matches!(error, NvmlError::NoPermission) {
        "this user may not open /dev/nvidiactl: look at its owner, group and mode"
    } else {
        return error.to_string();
    };
    format!("{error}; {remedy}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_is_told() {
        let mismatch = with_remedy(&NvmlError::LibRmVersionMismatch);
        assert!(mismatch.contains("version mismatch") && mismatch.contains("reboot"));
        assert!(with_remedy(&NvmlError::DriverNotLoaded).contains("modprobe"));
        assert!(with_remedy(&NvmlError::NoPermission).contains("nvidiactl"));
        assert_eq!(
            with_remedy(&NvmlError::Unknown),
            NvmlError::Unknown.to_string()
        );
    }
}
