//! What a daemon says of itself, as far as a decision hangs on it. Pure.

use std::{collections::BTreeSet, path::PathBuf};

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};

use crate::units::Bytes;

/// Facts about a daemon. What it does not tell is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DaemonFacts {
    /// Its version, such as `28.2.2`.
    pub version: Option<String>,
    /// Whether it is Podman behind Docker's interface.
    pub podman: bool,
    /// Whether it runs without root.
    pub rootless: bool,
    /// Names of its container runtimes; `nvidia` is NVIDIA's.
    pub runtimes: BTreeSet<String>,
    /// The runtime of containers that ask for none.
    pub default_runtime: Option<String>,
    /// Folders with device specifications (CDI); empty where it knows none.
    pub cdi_dirs: Vec<String>,
    /// Devices it found there, such as `nvidia.com/gpu=0` (Docker 28.2 and newer).
    pub devices: Vec<String>,
    /// 1 or 2: how the kernel accounts for containers.
    pub cgroup_version: Option<u8>,
    /// Where images and containers are kept.
    pub root_dir: Option<PathBuf>,
    /// How image layers are put together, such as `overlay2`.
    pub storage: Option<String>,
    /// Processors of the daemon's machine.
    pub processors: Option<u32>,
    /// Memory of the daemon's machine.
    pub memory: Option<Bytes>,
    /// Its operating system, such as `Debian GNU/Linux 12`.
    pub system: Option<String>,
    /// Its processor architecture, such as `x86_64`.
    pub architecture: Option<String>,
    /// What it warns of itself.
    pub warnings: Vec<String>,
}

impl DaemonFacts {
    /// `podman` is known from the version, not from here.
    pub(super) fn new(info: SystemInfo, podman: bool) -> Self {
        let cgroup_version = match info.cgroup_version {
            Some(SystemInfoCgroupVersionEnum::_1) => Some(1),
            Some(SystemInfoCgroupVersionEnum::_2) => Some(2),
            Some(SystemInfoCgroupVersionEnum::EMPTY) | None => None,
        };
        let security = info.security_options.unwrap_or_default();
        let devices = info.discovered_devices.unwrap_or_default();
        Self {
            version: info.server_version.filter(|version| !version.is_empty()),
            podman,
            rootless: security.iter().any(|option| is_rootless(option)),
            runtimes: info.runtimes.unwrap_or_default().into_keys().collect(),
            default_runtime: info.default_runtime,
            cdi_dirs: info.cdi_spec_dirs.unwrap_or_default(),
            devices: devices.into_iter().filter_map(|device| device.id).collect(),
            cgroup_version,
            root_dir: info.docker_root_dir.map(PathBuf::from),
            storage: info.driver,
            processors: info.ncpu.and_then(|count| u32::try_from(count).ok()),
            memory: info
                .mem_total
                .and_then(|bytes| u64::try_from(bytes).ok())
                .map(Bytes),
            system: info.operating_system,
            architecture: info.architecture,
            warnings: info.warnings.unwrap_or_default(),
        }
    }

    /// Whether containers can be given NVIDIA's GPUs by its runtime.
    pub fn has_nvidia_runtime(&self) -> bool {
        self.runtimes.contains("nvidia")
    }
}

/// Docker writes `name=rootless`, Podman `name=rootless` among options of its own.
fn is_rootless(option: &str) -> bool {
    option.split(',').any(|part| part == "name=rootless")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_from_a_recorded_answer() {
        // Shortened from Docker 20.10.24's answer to GET /info.
        let info = serde_json::json!({
            "Driver": "overlay2", "DockerRootDir": "/var/lib/docker", "NCPU": 2,
            "MemTotal": 8_000_000_000_i64, "CgroupVersion": "1",
            "OperatingSystem": "Debian GNU/Linux 12 (bookworm)", "Architecture": "x86_64",
            "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}},
            "DefaultRuntime": "runc", "SecurityOptions": ["name=seccomp,profile=default"],
            "Warnings": ["WARNING: No swap limit support"],
        });
        let facts = DaemonFacts::new(serde_json::from_value(info).unwrap(), false);
        assert!(!facts.rootless && !facts.podman && !facts.has_nvidia_runtime());
        assert_eq!(facts.cgroup_version, Some(1));
        assert_eq!(
            (facts.processors, facts.memory),
            (Some(2), Some(Bytes(8_000_000_000)))
        );
        assert_eq!(facts.root_dir, Some(PathBuf::from("/var/lib/docker")));
        assert!(facts.cdi_dirs.is_empty() && facts.warnings.len() == 1);
    }

    #[test]
    fn gpus_and_rootless_daemons_are_told() {
        let info = serde_json::json!({
            "Runtimes": {"nvidia": {"path": "nvidia-container-runtime"}},
            "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
            "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"], "CgroupVersion": "2",
            "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}, {"Source": "cdi"}],
        });
        let facts = DaemonFacts::new(serde_json::from_value(info).unwrap(), true);
        assert!(facts.rootless && facts.podman && facts.has_nvidia_runtime());
        assert_eq!(facts.cdi_dirs.len(), 2);
        assert_eq!(facts.devices, ["nvidia.com/gpu=0"]);
        assert_eq!(facts.cgroup_version, Some(2));
        assert_eq!(
            DaemonFacts::new(SystemInfo::default(), false),
            DaemonFacts::default()
        );
    }
}
