//! What the kernel tells of AMD GPUs, below `/sys/class/drm`. The last resort: numbers are the
//! kernel's, which need not be `ROCm`'s where other graphics cards are present.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::chosen;
use crate::{
    engine::GpuSet,
    telemetry::{GpuDetails, GpuInfo, GpuReading, GpuSource, NoGpu, TelemetryError},
};

const AMD: &str = "0x1002";

/// Files of the kernel's driver.
pub struct SysfsSource {
    infos: Vec<GpuInfo>,
    cards: Vec<Card>,
}

/// Where a card's files are.
#[derive(Debug, Clone)]
struct Card {
    device: PathBuf,
    sensors: Option<PathBuf>,
}

impl SysfsSource {
    /// Finds AMD's cards below `root`, normally `/sys/class/drm`.
    ///
    /// # Errors
    /// There are none, or not those the engine gets.
    pub fn open(root: &Path, gpus: &GpuSet) -> Result<Self, NoGpu> {
        let mut found: Vec<(u32, Card)> = fs::read_dir(root)
            .into_iter()
            .flatten()
            .filter_map(|entry| card(&entry.ok()?.path()))
            .collect();
        if found.is_empty() {
            return Err(NoGpu::NoTool("AMD's kernel driver".to_owned()));
        }
        found.sort_by_key(|(number, _)| *number);
        let all: Vec<GpuInfo> = found
            .iter()
            .map(|(number, card)| card.info(*number))
            .collect();
        let places = chosen(&all, gpus)?;
        let pick = |at: &usize| Some((all.get(*at)?.clone(), found.get(*at)?.1.clone()));
        let (infos, cards) = places.iter().filter_map(pick).unzip();
        Ok(Self { infos, cards })
    }
}

impl GpuSource for SysfsSource {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn devices(&self) -> &[GpuInfo] {
        &self.infos
    }

    fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
        let read = |(index, card): (usize, &Card)| {
            if !card.device.exists() {
                return Err(TelemetryError::Lost {
                    index,
                    detail: "the kernel does not list it any more".to_owned(),
                });
            }
            Ok(card.reading())
        };
        let readings: Result<Vec<_>, _> = self.cards.iter().enumerate().map(read).collect();
        readings.map(Some)
    }
}

/// `cardN` with a device of AMD's that has memory of its own.
fn card(path: &Path) -> Option<(u32, Card)> {
    let number = path.file_name()?.to_str()?.strip_prefix("card")?;
    let number = number.parse().ok()?;
    let device = path.join("device");
    if word(&device.join("vendor"))? != AMD {
        return None;
    }
    let mut monitors = fs::read_dir(device.join("hwmon")).into_iter().flatten();
    let sensors = monitors.find_map(|entry| Some(entry.ok()?.path()));
    Some((number, Card { device, sensors }))
}

impl Card {
    fn info(&self, number: u32) -> GpuInfo {
        let id = |name: &str| {
            let text = word(&self.device.join(name))?;
            u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
        };
        let device_id = id("device");
        let named = word(&self.device.join("product_name")).filter(|name| !name.is_empty());
        let unique = word(&self.device.join("unique_id")).filter(|unique| !unique.is_empty());
        let kind = device_id.map_or_else(String::new, |id| format!(" 0x{id:04x}"));
        let place = |name: &str| -> Option<u32> {
            let text = word(&self.device.join(name))?;
            text.parse().ok()
        };
        GpuInfo {
            uuid: unique.map_or_else(
                || format!("AMD-card{number}"),
                |unique| format!("AMD-{unique}"),
            ),
            name: named.unwrap_or_else(|| format!("AMD GPU{kind}")),
            memory_total: number_in(&self.device.join("mem_info_vram_total")),
            power_limit_mw: self.sensor("power1_cap").and_then(milli),
            details: GpuDetails {
                pci_device_id: device_id.map(|id| (id << 16) | 0x1002),
                pci_subsystem_id: id("subsystem_device")
                    .zip(id("subsystem_vendor"))
                    .map(|(device, vendor)| (device << 16) | vendor),
                vbios: word(&self.device.join("vbios_version")),
                pcie_max_width: place("max_link_width"),
                ..GpuDetails::default()
            },
            ..GpuInfo::default()
        }
    }

    fn sensor(&self, name: &str) -> Option<u64> {
        number_in(&self.sensors.as_ref()?.join(name))
    }

    /// The kernel's units: µW, µJ, m°C, Hz (`Documentation/hwmon/sysfs-interface`).
    fn reading(&self) -> GpuReading {
        let power = self
            .sensor("power1_average")
            .or_else(|| self.sensor("power1_input"));
        let narrow = |value: u64| u32::try_from(value).ok();
        GpuReading {
            memory_used: number_in(&self.device.join("mem_info_vram_used")),
            power_mw: power.and_then(milli),
            energy_mj: self.sensor("energy1_input").map(|micro| micro / 1000),
            utilisation_pct: number_in(&self.device.join("gpu_busy_percent")).and_then(narrow),
            temperature_c: self
                .sensor("temp1_input")
                .map(|milli| milli / 1000)
                .and_then(narrow),
            sm_clock_mhz: self
                .sensor("freq1_input")
                .map(|hz| hz / 1_000_000)
                .and_then(narrow),
            memory_clock_mhz: self
                .sensor("freq2_input")
                .map(|hz| hz / 1_000_000)
                .and_then(narrow),
            ..GpuReading::default()
        }
    }
}

fn word(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn number_in(path: &Path) -> Option<u64> {
    word(path)?.parse().ok()
}

fn milli(micro: u64) -> Option<u32> {
    u32::try_from(micro / 1000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    fn card_files(root: &Path, card: &str, vendor: &str) -> PathBuf {
        let device = root.join(card).join("device");
        put(&device.join("vendor"), vendor);
        device
    }

    #[test]
    fn amds_cards_are_found_and_read() {
        let root = tempfile::tempdir().unwrap();
        let device = card_files(root.path(), "card1", AMD);
        put(&device.join("device"), "0x74a1");
        put(&device.join("unique_id"), "72bc1b5e");
        put(&device.join("mem_info_vram_total"), "206141652992");
        put(&device.join("mem_info_vram_used"), "296747008");
        put(&device.join("gpu_busy_percent"), "42");
        put(&device.join("hwmon/hwmon3/power1_average"), "145000000");
        put(&device.join("hwmon/hwmon3/power1_cap"), "750000000");
        put(&device.join("hwmon/hwmon3/temp1_input"), "41000");
        put(&device.join("hwmon/hwmon3/freq1_input"), "2100000000");
        card_files(root.path(), "card0", "0x10de");
        card_files(root.path(), "card1-DP-1", AMD);
        let mut source = SysfsSource::open(root.path(), &GpuSet::None).unwrap();
        assert_eq!(source.devices().len(), 1);
        let info = &source.devices()[0];
        assert_eq!(
            (info.uuid.as_str(), info.name.as_str()),
            ("AMD-72bc1b5e", "AMD GPU 0x74a1")
        );
        assert_eq!(info.power_limit_mw, Some(750_000));
        let readings = source.sample().unwrap().unwrap();
        assert_eq!(
            readings,
            [GpuReading {
                memory_used: Some(296_747_008),
                power_mw: Some(145_000),
                utilisation_pct: Some(42),
                temperature_c: Some(41),
                sm_clock_mhz: Some(2100),
                ..GpuReading::default()
            }]
        );
        fs::remove_dir_all(&device).unwrap();
        assert!(matches!(
            source.sample(),
            Err(TelemetryError::Lost { index: 0, .. })
        ));
    }

    #[test]
    fn cards_are_chosen_by_number_and_missing_ones_are_named() {
        let root = tempfile::tempdir().unwrap();
        for (card, id) in [("card2", "b"), ("card10", "c"), ("card0", "a")] {
            put(&card_files(root.path(), card, AMD).join("unique_id"), id);
        }
        let open = |gpus: &GpuSet| SysfsSource::open(root.path(), gpus);
        let uuids = |source: &SysfsSource| -> Vec<String> {
            source
                .devices()
                .iter()
                .map(|info| info.uuid.clone())
                .collect()
        };
        let all = open(&GpuSet::Amd(Vec::new())).unwrap();
        assert_eq!(uuids(&all), ["AMD-a", "AMD-b", "AMD-c"]);
        let two = open(&GpuSet::Amd(vec![2, 0])).unwrap();
        assert_eq!(uuids(&two), ["AMD-c", "AMD-a"]);
        let none = open(&GpuSet::Amd(vec![3])).err().unwrap().to_string();
        assert!(
            none.contains("AMD GPU 3") && none.contains("has 3"),
            "{none}"
        );
        let empty = tempfile::tempdir().unwrap();
        assert!(SysfsSource::open(empty.path(), &GpuSet::None).is_err());
    }
}
