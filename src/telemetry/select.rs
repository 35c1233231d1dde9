//! Which GPUs of a list are meant. Pure.

use super::{GpuInfo, NoGpu};

/// The GPU called `name`: its UUID, the UUID without its prefix, or its place in the list.
///
/// # Errors
/// None is.
pub(super) fn named<'a>(infos: &'a [GpuInfo], name: &str) -> Result<&'a GpuInfo, NoGpu> {
    position(infos, name)
        .and_then(|at| infos.get(at))
        .ok_or_else(|| missing(infos, name))
}

/// Where the GPU called `name` stands.
pub(super) fn position(infos: &[GpuInfo], name: &str) -> Option<usize> {
    let place = || name.parse::<usize>().ok().filter(|at| *at < infos.len());
    infos
        .iter()
        .position(|info| info.uuid == name)
        .or_else(place)
}

/// That no GPU is called `name`.
pub(super) fn missing(infos: &[GpuInfo], name: &str) -> NoGpu {
    NoGpu::NotThere(format!("{name}; this host has {}", infos.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_found_by_uuid_or_place() {
        let info = |uuid: &str| GpuInfo {
            uuid: uuid.to_owned(),
            ..GpuInfo::default()
        };
        let infos = [info("GPU-a"), info("GPU-b")];
        assert_eq!(position(&infos, "GPU-b"), Some(1));
        assert_eq!(position(&infos, "0"), Some(0));
        assert_eq!(position(&infos, "2"), None);
        let error = named(&infos, "GPU-c").unwrap_err().to_string();
        assert!(
            error.contains("GPU-c") && error.contains("has 2"),
            "{error}"
        );
    }
}
