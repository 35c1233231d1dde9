//! Disks and accelerator boards, as the kernel lists them in `/sys`.

use std::{fs, path::Path};

use super::Storage;

/// PCI vendors whose display and 3D controllers are accelerators: NVIDIA and AMD. A server's
/// management chip is a display controller too, of another vendor.
const VENDORS: [&str; 2] = ["10de", "1002"];

/// An accelerator board by its kind. Nothing in it tells one board from another of its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciBoard {
    /// Vendor and device, then the board maker's: `10de:2330 10de:16c1`. Tells SXM boards from
    /// `PCIe` ones.
    pub ids: String,
    /// The fastest link the board can have, such as `gen5 x16`. An idle board's present link is
    /// slower, so that one would say nothing.
    pub link: Option<String>,
    /// NUMA node it hangs on.
    pub numa_node: Option<u32>,
}

/// The first `NVMe` disk, else the first SCSI or SATA disk; others tell no model.
pub(super) fn storage(root: &Path) -> Option<Storage> {
    let block = root.join("sys/block");
    let names = names(&block);
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

/// All accelerator boards of the machine, in the order of their bus addresses.
pub(super) fn boards(root: &Path) -> Vec<PciBoard> {
    let devices = root.join("sys/bus/pci/devices");
    names(&devices)
        .iter()
        .filter_map(|name| board(&devices.join(name)))
        .collect()
}

fn board(device: &Path) -> Option<PciBoard> {
    let read = |name: &str| {
        let text = fs::read_to_string(device.join(name)).ok()?;
        Some(text.trim().to_owned())
    };
    let id = |name: &str| read(name).map(|text| text.trim_start_matches("0x").to_owned());
    let vendor = id("vendor")?;
    // Base class 03 is display, 12 processing accelerators (PCI Code and ID Assignment).
    let class = id("class")?;
    let accelerates = class.starts_with("03") || class.starts_with("12");
    if !accelerates || !VENDORS.contains(&vendor.as_str()) {
        return None;
    }
    let ids = format!("{vendor}:{}", id("device")?);
    let maker = id("subsystem_vendor").zip(id("subsystem_device"));
    let link = read("max_link_speed")
        .and_then(|speed| generation(&speed))
        .zip(read("max_link_width").and_then(|width| width.parse::<u8>().ok()))
        .map(|(generation, width)| format!("gen{generation} x{width}"));
    Some(PciBoard {
        ids: maker.map_or_else(
            || ids.clone(),
            |(vendor, device)| format!("{ids} {vendor}:{device}"),
        ),
        link,
        // -1: a machine with a single node.
        numa_node: read("numa_node").and_then(|node| node.parse().ok()),
    })
}

/// PCI Express generation of a speed as the kernel writes it, `16.0 GT/s PCIe`.
fn generation(speed: &str) -> Option<u8> {
    match speed.split_whitespace().next()? {
        "2.5" => Some(1),
        "5" | "5.0" => Some(2),
        "8" | "8.0" => Some(3),
        "16" | "16.0" => Some(4),
        "32" | "32.0" => Some(5),
        "64" | "64.0" => Some(6),
        _ => None,
    }
}

/// Names in a folder, sorted; empty where there is none.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::{super::tests::root, *};

    #[test]
    fn boards_are_told_by_kind_and_nothing_else_is_one() {
        const GPU: &str = "sys/bus/pci/devices/0000:19:00.0/";
        const BMC: &str = "sys/bus/pci/devices/0000:02:00.0/";
        let gpu = |file: &str| format!("{GPU}{file}");
        let bmc = |file: &str| format!("{BMC}{file}");
        let tree = root(&[
            (&gpu("vendor"), "0x10de\n"),
            (&gpu("device"), "0x2330\n"),
            (&gpu("class"), "0x030200\n"),
            (&gpu("subsystem_vendor"), "0x10de\n"),
            (&gpu("subsystem_device"), "0x16c1\n"),
            (&gpu("max_link_speed"), "32.0 GT/s PCIe\n"),
            (&gpu("max_link_width"), "16\n"),
            (&gpu("numa_node"), "1\n"),
            (&bmc("vendor"), "0x1a03\n"),
            (&bmc("device"), "0x2000\n"),
            (&bmc("class"), "0x030000\n"),
        ]);
        let expected = PciBoard {
            ids: "10de:2330 10de:16c1".to_owned(),
            link: Some("gen5 x16".to_owned()),
            numa_node: Some(1),
        };
        assert_eq!(boards(tree.path()), [expected]);
    }

    #[test]
    fn what_a_board_does_not_tell_is_left_out() {
        const GPU: &str = "sys/bus/pci/devices/0000:01:00.0/";
        let gpu = |file: &str| format!("{GPU}{file}");
        let tree = root(&[
            (&gpu("vendor"), "0x1002\n"),
            (&gpu("device"), "0x740c\n"),
            (&gpu("class"), "0x120000\n"),
            (&gpu("max_link_speed"), "Unknown\n"),
            (&gpu("numa_node"), "-1\n"),
        ]);
        let expected = PciBoard {
            ids: "1002:740c".to_owned(),
            ..PciBoard::default()
        };
        assert_eq!(boards(tree.path()), [expected]);
        assert!(boards(root(&[]).path()).is_empty());
    }
}
