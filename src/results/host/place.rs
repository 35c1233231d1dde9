//! Where the program runs: on bare metal, in a virtual machine, in WSL or in a container.

use std::{fs, path::Path};

use super::cpu::fields;

/// What lies between this program and the hardware; the innermost layer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Virtualisation {
    /// Nothing.
    Bare,
    /// A hypervisor.
    Machine,
    /// Windows' subsystem for Linux.
    Wsl,
    /// A container, on whatever.
    Container,
}

impl Virtualisation {
    /// The word in fingerprints: `bare`, `vm`, `wsl` or `container`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Machine => "vm",
            Self::Wsl => "wsl",
            Self::Container => "container",
        }
    }
}

/// Container runtimes, as they show in the path of a control group.
const RUNTIMES: [&str; 4] = ["docker", "kubepods", "containerd", "lxc"];

/// Hypervisors, as firmware names them in `/sys/class/dmi/id`. A cloud's bare-metal machines
/// carry its name too, so only what a virtual machine alone says is here; the processor's
/// `hypervisor` flag finds the rest.
const HYPERVISORS: [&str; 9] = [
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "virtual machine",
    "google compute engine",
    "bochs",
    "xen",
    "parallels",
];

/// `None`: nothing tells.
pub(super) fn virtualisation(root: &Path, cpuinfo: &str) -> Option<Virtualisation> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    if is_wsl(root) {
        return Some(Virtualisation::Wsl);
    }
    if root.join(".dockerenv").exists()
        || root.join("run/.containerenv").exists()
        || in_container_group(root)
    {
        return Some(Virtualisation::Container);
    }
    let flagged = is_guest(cpuinfo);
    let firmware = ["sys_vendor", "product_name", "bios_vendor"]
        .map(|name| text(&format!("sys/class/dmi/id/{name}")).to_lowercase());
    let named = HYPERVISORS
        .iter()
        .any(|name| firmware.iter().any(|text| text.contains(name)));
    // Amazon's metal and its machines differ in the product's name alone.
    let [vendor, product, _] = &firmware;
    let amazon = flagged.is_none() && vendor.contains("amazon ec2") && !product.contains("metal");
    let hypervisor = root.join("sys/hypervisor/type").exists();
    if flagged == Some(true) || named || amazon || hypervisor {
        return Some(Virtualisation::Machine);
    }
    let told = flagged.is_some() || firmware.iter().any(|text| !text.is_empty());
    told.then_some(Virtualisation::Bare)
}

/// Whether the processor says that it is a virtual machine's; only x86 does.
pub(super) fn is_guest(cpuinfo: &str) -> Option<bool> {
    let flags = fields(cpuinfo, "flags").next()?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn is_wsl(root: &Path) -> bool {
    let version = fs::read_to_string(root.join("proc/version")).unwrap_or_default();
    version.to_lowercase().contains("microsoft")
}

fn in_container_group(root: &Path) -> bool {
    let group = fs::read_to_string(root.join("proc/1/cgroup")).unwrap_or_default();
    RUNTIMES.iter().any(|runtime| group.contains(runtime))
}

/// KITT's word for it, by KITT's order of detection: `native_linux`, `docker`, `container`,
/// `wsl2`, `dgx`, `dgx_spark`.
pub(super) fn environment(root: &Path) -> String {
    let dgx = fs::read_to_string(root.join("etc/dgx-release")).unwrap_or_default();
    let dgx = dgx.to_lowercase();
    let name = if dgx.contains("spark") {
        "dgx_spark"
    } else if !dgx.is_empty() {
        "dgx"
    } else if is_wsl(root) {
        "wsl2"
    } else if root.join(".dockerenv").exists() {
        "docker"
    } else if in_container_group(root) {
        "container"
    } else {
        "native_linux"
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::tests::root, *};

    const METAL: &str = "flags\t\t: fpu sse2\n";
    const GUEST: &str = "flags\t\t: fpu hypervisor sse2\n";

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

    fn found(file: &str, text: &str, cpuinfo: &str) -> Option<Virtualisation> {
        virtualisation(root(&[(file, text)]).path(), cpuinfo)
    }

    #[test]
    fn the_innermost_layer_counts() {
        use Virtualisation::{Bare, Container, Machine, Wsl};
        let wsl = "5.15-microsoft-standard-WSL2";
        assert_eq!(found("etc/x", "", METAL), Some(Bare));
        assert_eq!(found("etc/x", "", GUEST), Some(Machine));
        assert_eq!(found("etc/x", "", ""), None);
        assert_eq!(found(".dockerenv", "", GUEST), Some(Container));
        assert_eq!(found("run/.containerenv", "", METAL), Some(Container));
        assert_eq!(found("proc/1/cgroup", "0::/lxc/x", METAL), Some(Container));
        assert_eq!(found("proc/version", wsl, GUEST), Some(Wsl));
    }

    #[test]
    fn firmware_tells_where_the_processor_does_not() {
        use Virtualisation::{Bare, Machine};
        let vendor = "sys/class/dmi/id/sys_vendor";
        assert_eq!(found(vendor, "QEMU\n", ""), Some(Machine));
        assert_eq!(found(vendor, "Ampere\n", ""), Some(Bare));
        assert_eq!(found(vendor, "Amazon EC2\n", ""), Some(Machine));
        // A cloud's metal is metal.
        assert_eq!(found(vendor, "Amazon EC2\n", METAL), Some(Bare));
        assert_eq!(found("sys/hypervisor/type", "xen\n", ""), Some(Machine));
    }
}
