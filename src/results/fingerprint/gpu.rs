//! The GPUs' share of a fingerprint.

use std::collections::BTreeSet;

use crate::{
    results::{HostFacts, PciBoard},
    telemetry::GpuInfo,
};

type Fact = (&'static str, Option<String>);

/// What must be equal.
pub(super) fn strict(host: &HostFacts) -> [Fact; 13] {
    let gpus = host.gpus.as_slice();
    let gib = |bytes: u64| (bytes as f64 / f64::from(1_u32 << 30)).round();
    let major = |version: &String| version.split('.').next().map(str::to_owned);
    [
        ("gpu.count", Some(gpus.len().to_string())),
        ("gpu.name", joined(gpus, |gpu| Some(gpu.name.clone()))),
        (
            "gpu.memory_gib",
            joined(gpus, |gpu| gpu.memory_total.map(|b| gib(b).to_string())),
        ),
        (
            "gpu.compute_capability",
            joined(gpus, |gpu| {
                gpu.compute_capability
                    .map(|(major, minor)| format!("{major}.{minor}"))
            }),
        ),
        (
            "gpu.power_limit_w",
            joined(gpus, |gpu| {
                gpu.power_limit_mw
                    .map(|mw| (f64::from(mw) / 1e3).round().to_string())
            }),
        ),
        (
            "gpu.mig",
            joined(gpus, |gpu| gpu.mig.map(|on| on.to_string())),
        ),
        (
            "gpu.ecc",
            joined(gpus, |gpu| gpu.ecc.map(|on| on.to_string())),
        ),
        (
            "gpu.driver_major",
            joined(gpus, |gpu| gpu.driver.as_ref().and_then(major)),
        ),
        ("gpu.cuda", joined(gpus, |gpu| gpu.cuda_driver.clone())),
        (
            "gpu.board",
            joined(gpus, ids).or_else(|| joined(used(host), |one| Some(one.ids.clone()))),
        ),
        (
            "gpu.pcie",
            joined(gpus, link).or_else(|| joined(used(host), |one| one.link.clone())),
        ),
        ("gpu.nvlink", joined(gpus, nvlink)),
        ("gpu.mig_profile", joined(gpus, slices)),
    ]
}

/// What is shown when it differs.
pub(super) fn soft(host: &HostFacts) -> [Fact; 4] {
    let node = |board: &PciBoard| board.numa_node.map(|node| node.to_string());
    [
        ("gpu.driver", joined(&host.gpus, |gpu| gpu.driver.clone())),
        ("gpu.numa_node", joined(used(host), node)),
        (
            "gpu.vbios",
            joined(&host.gpus, |gpu| gpu.details.vbios.clone()),
        ),
        (
            "gpu.persistence",
            joined(&host.gpus, |gpu| {
                gpu.details.persistence.map(|on| on.to_string())
            }),
        ),
    ]
}

/// As the kernel writes them: NVML puts the vendor into the lower half of both numbers.
fn ids(gpu: &GpuInfo) -> Option<String> {
    let pair = |id: u32| format!("{:04x}:{:04x}", id & 0xffff, id >> 16);
    let device = gpu.details.pci_device_id.map(pair)?;
    let maker = gpu.details.pci_subsystem_id.map(pair);
    Some(maker.map_or_else(|| device.clone(), |maker| format!("{device} {maker}")))
}

/// The fastest link in this slot.
fn link(gpu: &GpuInfo) -> Option<String> {
    let (generation, width) = gpu.details.pcie_max_gen.zip(gpu.details.pcie_max_width)?;
    Some(format!("gen{generation} x{width}"))
}

fn nvlink(gpu: &GpuInfo) -> Option<String> {
    Some(match gpu.details.nvlinks_active? {
        0 => "none".to_owned(),
        links => format!("{links} links"),
    })
}

/// The profile of a slice, or those of all slices of a board.
fn slices(gpu: &GpuInfo) -> Option<String> {
    let profile = |name: &str| Some(name.rsplit_once("MIG ")?.1.to_owned());
    if gpu.details.slice_of.is_some() {
        return profile(&gpu.name);
    }
    let slices = gpu.details.slices.iter();
    let mut profiles: Vec<String> = slices
        .filter_map(|slice| profile(slice.name.as_deref()?))
        .collect();
    profiles.sort();
    (!profiles.is_empty()).then(|| profiles.join(", "))
}

/// The boards that the measured GPUs must be: all of the machine's. Where it has more than are
/// measured and they are not all alike, it is not known which.
fn used(host: &HostFacts) -> &[PciBoard] {
    let boards = host.boards.as_slice();
    let kinds: BTreeSet<_> = boards.iter().map(|one| (&one.ids, &one.link)).collect();
    if !host.gpus.is_empty() && (boards.len() == host.gpus.len() || kinds.len() == 1) {
        boards
    } else {
        &[]
    }
}

/// One value when all agree, else the different ones, sorted.
pub(super) fn joined<T>(items: &[T], get: impl Fn(&T) -> Option<String>) -> Option<String> {
    let values: BTreeSet<String> = items.iter().filter_map(get).collect();
    let values: Vec<String> = values.into_iter().collect();
    (!values.is_empty()).then(|| values.join(" + "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{GpuDetails, MigSlice, SliceOf};

    /// An H100 SXM5 as NVML describes it: PCI 10de:2330, subsystem 10de:16c1.
    #[test]
    fn nvml_and_the_kernel_name_a_board_alike() {
        let gpu = GpuInfo {
            details: GpuDetails {
                pci_device_id: Some(0x2330_10de),
                pci_subsystem_id: Some(0x16c1_10de),
                pcie_max_gen: Some(5),
                pcie_max_width: Some(16),
                nvlinks_active: Some(18),
                ..GpuDetails::default()
            },
            ..GpuInfo::default()
        };
        assert_eq!(ids(&gpu).as_deref(), Some("10de:2330 10de:16c1"));
        assert_eq!(link(&gpu).as_deref(), Some("gen5 x16"));
        assert_eq!(nvlink(&gpu).as_deref(), Some("18 links"));
        assert_eq!(slices(&gpu), None);
        assert_eq!(ids(&GpuInfo::default()), None);
    }

    #[test]
    fn slices_are_told_by_their_profiles() {
        let slice = |profile: &str| MigSlice {
            name: Some(format!("NVIDIA H100 MIG {profile}")),
            ..MigSlice::default()
        };
        let mut gpu = GpuInfo::default();
        gpu.details.slices = vec![slice("3g.40gb"), slice("1g.10gb")];
        assert_eq!(slices(&gpu).as_deref(), Some("1g.10gb, 3g.40gb"));
        let mut one = GpuInfo {
            name: "NVIDIA H100 MIG 1g.10gb".to_owned(),
            ..GpuInfo::default()
        };
        one.details.slice_of = Some(SliceOf::default());
        assert_eq!(slices(&one).as_deref(), Some("1g.10gb"));
    }

    #[test]
    fn boards_are_told_only_where_it_is_known_which() {
        let board = |ids: &str| PciBoard {
            ids: ids.to_owned(),
            ..PciBoard::default()
        };
        let host = |gpus: usize, boards: &[PciBoard]| HostFacts {
            gpus: vec![GpuInfo::default(); gpus],
            boards: boards.to_vec(),
            ..HostFacts::default()
        };
        let (a, b) = (board("a"), board("b"));
        assert_eq!(used(&host(1, &[a.clone(), a.clone()])).len(), 2);
        assert_eq!(used(&host(2, &[a.clone(), b.clone()])).len(), 2);
        assert!(used(&host(1, &[a.clone(), b])).is_empty());
        assert!(used(&host(0, &[a])).is_empty());
    }
}
