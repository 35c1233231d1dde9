//! What the machine is: read from `/proc` and `/sys`, without root, without anything that names
//! a person, a host or a single piece of hardware.
//!
//! In: the GPUs as NVML named them. Out: [`HostFacts`], and from it KITT's `hardware.json` and
//! KITT's readable label (`research/kitt-and-engines.md` §1.4, §1.6).

mod boards;
mod cpu;
mod place;

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::telemetry::GpuInfo;

pub use boards::PciBoard;
pub use place::Virtualisation;

/// Facts about the machine a run was measured on. `None` is "not known".
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostFacts {
    /// The GPUs that were measured; their UUIDs are never written out.
    pub gpus: Vec<GpuInfo>,
    /// Marketing name of the processor.
    pub cpu_model: Option<String>,
    /// Physical cores.
    pub cores: Option<u32>,
    /// Hardware threads.
    pub threads: Option<u32>,
    /// Main memory in whole GiB, rounded down, as KITT counts it.
    pub ram_gb: Option<u64>,
    /// Type of memory (`DDR5`); known only in KITT's files, which ask `dmidecode` as root.
    pub ram_type: Option<String>,
    /// Operating system and release, such as `Linux-6.8.0-45-generic`.
    pub os: Option<String>,
    /// Build of the kernel, such as `#45-Ubuntu SMP`.
    pub kernel: Option<String>,
    /// The first disk.
    pub storage: Option<Storage>,
    /// KITT's word: `native_linux`, `docker`, `container`, `wsl2`, `dgx`, `dgx_spark`.
    pub environment_type: Option<String>,
    /// Whether the processor says that it is a virtual machine's.
    pub virtual_machine: Option<bool>,
    /// What lies between this program and the hardware.
    pub virtualisation: Option<Virtualisation>,
    /// Processor sockets.
    pub sockets: Option<u32>,
    /// Processors that a process of ours may keep busy, by affinity and quota, in hundredths.
    pub visible_hundredths: Option<u64>,
    /// NUMA nodes that are online.
    pub numa_nodes: Option<u32>,
    /// NUMA nodes this process may take memory from.
    pub numa_allowed: Option<u32>,
    /// Governor of the processors' frequency.
    pub governor: Option<String>,
    /// The kernel's clock source, such as `tsc`.
    pub clock_source: Option<String>,
    /// Accelerator boards of the machine, whoever uses them.
    pub boards: Vec<PciBoard>,
    /// What the caller knows of the software around: nothing in the file system tells it.
    pub surroundings: Surroundings,
}

/// Software around the program. `None` is "not known".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Version of the Docker daemon.
    pub docker: Option<String>,
    /// The daemon's default runtime.
    pub default_runtime: Option<String>,
    /// The daemon's storage driver.
    pub storage_driver: Option<String>,
    /// How GPUs get into containers: `nvidia runtime`, `cdi`.
    pub gpu_toolkit: Option<String>,
    /// Labels of the runner, as its operator told them, sorted.
    pub runner_labels: Vec<String>,
}

/// A disk, by kind and model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// First word of the model.
    pub brand: String,
    /// The model.
    pub model: String,
    /// `nvme`, `ssd` or `hdd`.
    pub kind: String,
}

impl HostFacts {
    /// Reads the running machine. What cannot be read is `None`.
    pub fn read(gpus: Vec<GpuInfo>) -> Self {
        Self::read_below(Path::new("/"), gpus)
    }

    /// As [`HostFacts::read`], with another root of the file system, for tests.
    pub fn read_below(root: &Path, gpus: Vec<GpuInfo>) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let line = |path: &str| text(path).map(|text| text.trim().to_owned());
        let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
        let os = line("proc/sys/kernel/ostype")
            .zip(line("proc/sys/kernel/osrelease"))
            .map(|(kind, release)| format!("{kind}-{release}"));
        let (numa_nodes, numa_allowed) = cpu::numa(root);
        Self {
            gpus,
            cpu_model: cpu::model(&cpuinfo),
            cores: cpu::cores(&cpuinfo),
            threads: cpu::count(cpu::fields(&cpuinfo, "processor").count()),
            ram_gb: text("proc/meminfo").and_then(|text| cpu::ram_gb(&text)),
            ram_type: None,
            os,
            kernel: line("proc/sys/kernel/version"),
            storage: boards::storage(root),
            environment_type: Some(place::environment(root)),
            virtual_machine: place::is_guest(&cpuinfo),
            virtualisation: place::virtualisation(root, &cpuinfo),
            sockets: cpu::sockets(root, &cpuinfo),
            visible_hundredths: cpu::visible_hundredths(root),
            numa_nodes,
            numa_allowed,
            governor: cpu::governor(root),
            clock_source: line("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            boards: boards::boards(root),
            surroundings: Surroundings::default(),
        }
    }

    /// The object KITT writes as `hardware.json` and as `system_info`, with the GPU's power
    /// limit, MIG and ECC state beside KITT's keys. No UUID, serial, host or user name.
    pub fn to_kitt(&self) -> Value {
        let gpu = self.gpus.first().map(|gpu| {
            json!({
                "model": gpu.name,
                "vram_gb": vram_gb(gpu),
                "count": self.gpus.len(),
                "compute_capability": gpu.compute_capability.map(|(major, minor)| [major, minor]),
                "power_limit_w": gpu.power_limit_mw.map(|milliwatts| f64::from(milliwatts) / 1e3),
                "mig": gpu.mig,
                "ecc": gpu.ecc,
            })
        });
        let first = |get: fn(&GpuInfo) -> Option<&String>| self.gpus.first().and_then(get);
        let storage = self.storage.as_ref().map(
            |storage| json!({"brand": storage.brand, "model": storage.model, "type": storage.kind}),
        );
        json!({
            "gpu": gpu,
            "cpu": {"model": self.cpu_model, "cores": self.cores, "threads": self.threads},
            "ram_gb": self.ram_gb,
            "ram_type": self.ram_type,
            "storage": storage,
            "cuda_version": first(|gpu| gpu.cuda_driver.as_ref()),
            "driver_version": first(|gpu| gpu.driver.as_ref()),
            "os": self.os,
            "kernel": self.kernel,
            "environment_type": self.environment_type,
        })
    }

    /// A readable label of KITT's shape, for people and for grouping by hand; the fingerprint's
    /// digest, not this, decides what is comparable. Letters, digits, `.`, `_` and `-` only.
    pub fn label(&self) -> String {
        let mut parts = vec![Some(self.gpu_label()), self.cpu_label(), self.ram_label()];
        let driver = |get: fn(&GpuInfo) -> Option<&String>| self.gpus.first().and_then(get);
        if let Some(disk) = &self.storage {
            let kind = if disk.kind == "nvme" { "-NVME" } else { "" };
            parts.push(Some(format!("{}-{}{kind}", disk.brand, disk.model)));
        }
        parts.push(driver(|gpu| gpu.cuda_driver.as_ref()).map(|cuda| format!("CUDA-{cuda}")));
        parts.push(driver(|gpu| gpu.driver.as_ref()).cloned());
        parts.push(self.os.clone());
        let parts: Vec<_> = parts.iter().flatten().map(|part| plain(part)).collect();
        parts.join("_")
    }

    fn gpu_label(&self) -> String {
        let Some(gpu) = self.gpus.first() else {
            return "no-GPU".to_owned();
        };
        let memory = vram_gb(gpu).map_or_else(String::new, |gb| format!("-{gb}GB"));
        let count = match self.gpus.len() {
            0 | 1 => String::new(),
            several => format!("-{several}x"),
        };
        format!("{}{memory}{count}", gpu.name)
    }

    fn cpu_label(&self) -> Option<String> {
        let model = self.cpu_model.as_deref()?;
        let first = model.split_whitespace().next()?;
        let last = model.split_whitespace().next_back()?;
        let cores = self
            .cores
            .map_or_else(String::new, |cores| format!("-{cores}c"));
        Some(format!("{first}-{last}{cores}"))
    }

    fn ram_label(&self) -> Option<String> {
        let kind = self.ram_type.as_deref().map(|kind| format!("-{kind}"));
        Some(format!("{}GB{}", self.ram_gb?, kind.unwrap_or_default()))
    }
}

/// KITT rounds GPU memory down to whole GiB.
fn vram_gb(gpu: &GpuInfo) -> Option<u64> {
    gpu.memory_total.map(|bytes| bytes >> 30)
}

/// Replaces everything but letters, digits, `.`, `_` and `-` by single dashes.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let words: Vec<&str> = text
        .split(|c| !keep(c))
        .filter(|word| !word.is_empty())
        .collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// Two sockets with two cores of two threads.
    fn cpuinfo() -> String {
        let thread = |n: u32| {
            format!(
                "processor\t: {n}\nmodel name\t: 13th Gen Intel(R) Core(TM) i9-13900K\nphysical id\t: {}\ncore id\t\t: {}\nflags\t\t: fpu hypervisor sse2\n\n",
                n / 4,
                n % 2
            )
        };
        (0..8).map(thread).collect()
    }

    fn rtx_4090() -> GpuInfo {
        GpuInfo {
            uuid: "GPU-5ec2e1a0-secret".into(),
            name: "NVIDIA GeForce RTX 4090".into(),
            memory_total: Some(25_757_220_864), // 23.99 GiB
            compute_capability: Some((8, 9)),
            power_limit_mw: Some(450_000),
            mig: Some(false),
            ecc: Some(false),
            driver: Some("550.90.07".into()),
            cuda_driver: Some("12.4".into()),
            ..GpuInfo::default()
        }
    }

    #[test]
    fn a_machine_is_read_from_its_files() {
        let root = root(&[
            ("proc/cpuinfo", &cpuinfo()),
            (
                "proc/meminfo",
                "MemTotal:       65536000 kB\nMemFree: 1 kB\n",
            ),
            ("proc/sys/kernel/ostype", "Linux\n"),
            ("proc/sys/kernel/osrelease", "6.8.0-45-generic\n"),
            ("proc/sys/kernel/version", "#45-Ubuntu SMP\n"),
            (
                "sys/block/nvme0n1/device/model",
                "Samsung SSD 990 PRO 2TB  \n",
            ),
            ("sys/block/loop0/size", "0"),
        ]);
        let host = HostFacts::read_below(root.path(), vec![]);
        assert_eq!((host.cores, host.threads), (Some(4), Some(8)));
        assert_eq!(host.ram_gb, Some(62)); // 65536000 KiB are 62.5 GiB
        assert_eq!(host.os.as_deref(), Some("Linux-6.8.0-45-generic"));
        assert_eq!(host.environment_type.as_deref(), Some("native_linux"));
        assert_eq!(host.virtual_machine, Some(true));
        let disk = host.storage.unwrap();
        assert_eq!(
            (disk.brand.as_str(), disk.kind.as_str()),
            ("Samsung", "nvme")
        );
    }

    /// A label and the place of five kinds of host.
    #[test]
    fn hosts_of_all_kinds_are_told_apart() {
        let metal = cpuinfo().replace("hypervisor ", "");
        let memory = ("proc/meminfo", "MemTotal: 65536000 kB\n");
        let status = (
            "proc/self/status",
            "Cpus_allowed_list:\t0-7\nMems_allowed_list:\t0-1\n",
        );
        let nodes = ("sys/devices/system/node/online", "0-1\n");
        let base = [("proc/cpuinfo", metal.as_str()), memory, status, nodes];
        let host = |more: &[(&str, &str)]| {
            let tree = root(&[base.as_slice(), more].concat());
            HostFacts::read_below(tree.path(), Vec::new())
        };
        let place = |host: &HostFacts| {
            let kind = host.virtualisation.map(Virtualisation::name);
            (kind.unwrap(), host.environment_type.clone().unwrap())
        };
        let metal_host = host(&[]);
        assert_eq!(place(&metal_host), ("bare", "native_linux".to_owned()));
        assert_eq!((metal_host.sockets, metal_host.cores), (Some(2), Some(4)));
        assert_eq!(
            (metal_host.numa_nodes, metal_host.numa_allowed),
            (Some(2), Some(2))
        );
        assert_eq!(metal_host.visible_hundredths, Some(800));
        let guest = host(&[("proc/cpuinfo", &cpuinfo())]);
        assert_eq!(place(&guest), ("vm", "native_linux".to_owned()));
        let wsl = host(&[(
            "proc/version",
            "Linux version 5.15.90.1-microsoft-standard-WSL2",
        )]);
        assert_eq!(place(&wsl), ("wsl", "wsl2".to_owned()));
        let container = host(&[
            (".dockerenv", ""),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
        ]);
        assert_eq!(place(&container), ("container", "docker".to_owned()));
        assert_eq!(container.visible_hundredths, Some(150));
        let dgx = host(&[("etc/dgx-release", "DGX_NAME=\"DGX Server\"\n")]);
        assert_eq!(place(&dgx), ("bare", "dgx".to_owned()));
    }

    #[test]
    fn an_empty_machine_knows_nothing_and_does_not_fail() {
        let root = root(&[]);
        let host = HostFacts::read_below(root.path(), vec![]);
        assert_eq!((host.cores, host.threads, host.ram_gb), (None, None, None));
        assert_eq!(host.storage, None);
    }

    /// The string KITT printed for this machine, less the memory type that needs root
    /// (`research/kitt-and-engines.md` §1.6).
    #[test]
    fn the_label_has_kitts_shape() {
        let host = HostFacts {
            gpus: vec![rtx_4090(), rtx_4090()],
            cpu_model: Some("13th Gen Intel(R) Core(TM) i9-13900K".into()),
            cores: Some(24),
            ram_gb: Some(62),
            os: Some("Linux-6.8.0-45-generic".into()),
            storage: Some(Storage {
                brand: "Samsung".into(),
                model: "Samsung SSD 990 PRO 2TB".into(),
                kind: "nvme".into(),
            }),
            ..HostFacts::default()
        };
        assert_eq!(
            host.label(),
            "NVIDIA-GeForce-RTX-4090-23GB-2x_13th-i9-13900K-24c_62GB_Samsung-Samsung-SSD-990-PRO-2TB-NVME_CUDA-12.4_550.90.07_Linux-6.8.0-45-generic"
        );
    }

    #[test]
    fn nothing_that_identifies_a_board_or_host_is_exported() {
        let host = HostFacts::read(vec![rtx_4090()]);
        let json = host.to_kitt().to_string();
        assert!(!json.contains("5ec2e1a0"));
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let quoted = format!("\"{}\"", name.trim());
        assert!(!json.contains(&quoted));
        assert_eq!(host.to_kitt()["gpu"]["vram_gb"], 23);
    }
}
