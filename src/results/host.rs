//! What the machine is: read from `/proc` and `/sys`, without root, without anything that names
//! a person, a host or a single piece of hardware.
//!
//! In: the GPUs as NVML named them. Out: [`HostFacts`], and from it KITT's `hardware.json` and
//! KITT's readable label (`research/kitt-and-engines.md` §1.4, §1.6).

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use crate::{telemetry::GpuInfo, units::Bytes};

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
    fn read_below(root: &Path, gpus: Vec<GpuInfo>) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).ok();
        let line = |path: &str| text(path).map(|text| text.trim().to_owned());
        let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
        let os = line("proc/sys/kernel/ostype")
            .zip(line("proc/sys/kernel/osrelease"))
            .map(|(kind, release)| format!("{kind}-{release}"));
        Self {
            gpus,
            cpu_model: cpu_model(&cpuinfo),
            cores: cores(&cpuinfo),
            threads: count(fields(&cpuinfo, "processor").count()),
            ram_gb: text("proc/meminfo").and_then(|text| ram_gb(&text)),
            ram_type: None,
            os,
            kernel: line("proc/sys/kernel/version"),
            storage: storage(root),
            environment_type: Some(environment(root)),
            virtual_machine: fields(&cpuinfo, "flags")
                .next()
                .map(|flags| flags.split_whitespace().any(|flag| flag == "hypervisor")),
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

/// Values of a `key : value` file such as `/proc/cpuinfo`.
fn fields<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

fn count(number: usize) -> Option<u32> {
    u32::try_from(number).ok().filter(|number| *number > 0)
}

/// x86 names its processors; ARM gives numbers only.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let field = |key| fields(cpuinfo, key).next();
    field("model name").map(str::to_owned).or_else(|| {
        let (implementer, part) = field("CPU implementer").zip(field("CPU part"))?;
        Some(format!("ARM {implementer} {part}"))
    })
}

/// A core is a pair of socket and core number; two threads of one core share it.
fn cores(cpuinfo: &str) -> Option<u32> {
    let sockets = fields(cpuinfo, "physical id");
    let cores: BTreeSet<_> = sockets.zip(fields(cpuinfo, "core id")).collect();
    count(cores.len())
}

fn ram_gb(meminfo: &str) -> Option<u64> {
    let total = fields(meminfo, "MemTotal").next()?;
    let kib: u64 = total.strip_suffix("kB")?.trim().parse().ok()?;
    let bytes = Bytes(kib.checked_mul(1024)?);
    Some(bytes.0 >> 30)
}

/// The first `NVMe` disk, else the first SCSI or SATA disk; others tell no model.
fn storage(root: &Path) -> Option<Storage> {
    let block = root.join("sys/block");
    let mut names: Vec<String> = fs::read_dir(&block)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let first = |prefix: &str| names.iter().find(|name| name.starts_with(prefix));
    let name = first("nvme").or_else(|| first("sd"))?;
    let read = |path: &str| fs::read_to_string(block.join(name).join(path)).ok();
    let model = read("device/model")?.trim().to_owned();
    let kind = if name.starts_with("nvme") {
        "nvme"
    } else if read("queue/rotational")?.trim() == "1" {
        "hdd"
    } else {
        "ssd"
    };
    Some(Storage {
        brand: model.split_whitespace().next()?.to_owned(),
        model,
        kind: kind.to_owned(),
    })
}

/// KITT's order of detection.
fn environment(root: &Path) -> String {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let dgx = text("etc/dgx-release").to_lowercase();
    let cgroup = text("proc/1/cgroup");
    let runtimes = ["docker", "kubepods", "containerd", "lxc"];
    let name = if dgx.contains("spark") {
        "dgx_spark"
    } else if !dgx.is_empty() {
        "dgx"
    } else if text("proc/version").to_lowercase().contains("microsoft") {
        "wsl2"
    } else if root.join(".dockerenv").exists() {
        "docker"
    } else if runtimes.iter().any(|runtime| cgroup.contains(runtime)) {
        "container"
    } else {
        "native_linux"
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
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

    #[test]
    fn an_empty_machine_knows_nothing_and_does_not_fail() {
        let root = root(&[]);
        let host = HostFacts::read_below(root.path(), vec![]);
        assert_eq!((host.cores, host.threads, host.ram_gb), (None, None, None));
        assert_eq!(host.storage, None);
    }

    #[test]
    fn environments_are_told_apart_in_kitts_order() {
        for (file, text, expected) in [
            ("etc/dgx-release", "DGX_NAME=\"DGX Spark\"", "dgx_spark"),
            ("proc/version", "Linux version 5.15 (Microsoft@x)", "wsl2"),
            (".dockerenv", "", "docker"),
            ("proc/1/cgroup", "0::/kubepods/pod1", "container"),
        ] {
            assert_eq!(environment(root(&[(file, text)]).path()), expected);
        }
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
