//! Rows of `nvidia-smi --query-gpu=… --format=csv,noheader,nounits`. Pure.

use crate::telemetry::{GpuDetails, GpuInfo, GpuReading, GpuStatus};

/// Asked once. `uuid` and `name` are known to every version.
pub(super) const STATIC: [&str; 20] = [
    "uuid",
    "name",
    "memory.total",
    "driver_version",
    "power.limit",
    "power.default_limit",
    "power.min_limit",
    "power.max_limit",
    "compute_cap",
    "ecc.mode.current",
    "mig.mode.current",
    "vbios_version",
    "persistence_mode",
    "compute_mode",
    "pcie.link.gen.max",
    "pcie.link.width.max",
    "pci.bus_id",
    "pci.device_id",
    "pci.sub_device_id",
    "clocks.max.sm",
];

/// Asked all the time.
pub(super) const MOVING: [&str; 13] = [
    "uuid",
    "memory.used",
    "power.draw.instant",
    "power.draw",
    "utilization.gpu",
    "temperature.gpu",
    "temperature.memory",
    "clocks.sm",
    "clocks.mem",
    "clocks_throttle_reasons.active",
    "pstate",
    "pcie.link.gen.current",
    "pcie.link.width.current",
];

/// A row by the names of its columns.
#[derive(Debug)]
pub(super) struct Row<'a> {
    names: &'a [String],
    cells: Vec<&'a str>,
}

impl<'a> Row<'a> {
    /// `None` when the line has another number of cells: it is a message or was cut off.
    pub(super) fn of(names: &'a [String], line: &'a str) -> Option<Self> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        (cells.len() == names.len()).then_some(Self { names, cells })
    }

    /// The cell of a column; `None` where the GPU does not tell: `[N/A]`, `[Not Supported]`,
    /// `[Unknown Error]`, `N/A`.
    pub(super) fn cell(&self, name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|known| known == name)?;
        let cell = *self.cells.get(at)?;
        let absent = cell.is_empty() || cell.starts_with('[') || cell == "N/A";
        (!absent).then_some(cell)
    }

    fn number(&self, name: &str) -> Option<f64> {
        let number: f64 = self.cell(name)?.parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "finite and not negative; beyond the largest number a cast saturates"
    )]
    fn scaled(&self, name: &str, factor: f64) -> Option<u64> {
        Some((self.number(name)? * factor).round() as u64)
    }

    fn small(&self, name: &str, factor: f64) -> Option<u32> {
        self.scaled(name, factor)
            .and_then(|number| u32::try_from(number).ok())
    }

    fn hex(&self, name: &str) -> Option<u64> {
        let cell = self.cell(name)?;
        let digits = cell
            .strip_prefix("0x")
            .or_else(|| cell.strip_prefix("0X"))?;
        u64::from_str_radix(digits, 16).ok()
    }

    fn switch(&self, name: &str) -> Option<bool> {
        Some(self.cell(name)?.eq_ignore_ascii_case("enabled"))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.cell(name).map(str::to_owned)
    }

    /// What the GPU is. `None` without UUID and name.
    pub(super) fn info(&self) -> Option<GpuInfo> {
        let capability = self.cell("compute_cap").and_then(|text| {
            let (major, minor) = text.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        let id = |name| self.hex(name).and_then(|id| u32::try_from(id).ok());
        let range = self
            .small("power.min_limit", 1e3)
            .zip(self.small("power.max_limit", 1e3));
        Some(GpuInfo {
            uuid: self.text("uuid")?,
            name: self.text("name")?,
            memory_total: self.scaled("memory.total", MIB),
            compute_capability: capability,
            power_limit_mw: self.small("power.limit", 1e3),
            mig: self.switch("mig.mode.current"),
            ecc: self.switch("ecc.mode.current"),
            driver: self.text("driver_version"),
            cuda_driver: None,
            details: GpuDetails {
                power_default_mw: self.small("power.default_limit", 1e3),
                power_range_mw: range,
                persistence: self.switch("persistence_mode"),
                compute_mode: self.cell("compute_mode").map(mode),
                max_sm_clock_mhz: self.small("clocks.max.sm", 1.0),
                pcie_max_gen: self.small("pcie.link.gen.max", 1.0),
                pcie_max_width: self.small("pcie.link.width.max", 1.0),
                pci_bus_id: self.text("pci.bus_id"),
                pci_device_id: id("pci.device_id"),
                pci_subsystem_id: id("pci.sub_device_id"),
                vbios: self.text("vbios_version"),
                ..GpuDetails::default()
            },
        })
    }

    /// One reading. There is no energy counter here: energy is the integral of the power.
    pub(super) fn reading(&self) -> GpuReading {
        let mean = self.small("power.draw", 1e3);
        GpuReading {
            memory_used: self.scaled("memory.used", MIB),
            power_mw: self.small("power.draw.instant", 1e3).or(mean),
            power_mean_mw: mean,
            utilisation_pct: self.small("utilization.gpu", 1.0),
            temperature_c: self.small("temperature.gpu", 1.0),
            memory_temperature_c: self.small("temperature.memory", 1.0),
            sm_clock_mhz: self.small("clocks.sm", 1.0),
            memory_clock_mhz: self.small("clocks.mem", 1.0),
            throttle_reasons: self.hex("clocks_throttle_reasons.active"),
            ..GpuReading::default()
        }
    }

    /// The slow readings of the same row.
    pub(super) fn status(&self) -> GpuStatus {
        let state = self.cell("pstate").and_then(|text| text.strip_prefix('P'));
        GpuStatus {
            pcie_gen: self.small("pcie.link.gen.current", 1.0),
            pcie_width: self.small("pcie.link.width.current", 1.0),
            pstate: state.and_then(|number| number.parse().ok()),
            ..GpuStatus::default()
        }
    }
}

/// What it calls MiB.
const MIB: f64 = (1_u32 << 20) as f64;

/// `E. Process` is its short form of exclusive-process.
fn mode(text: &str) -> String {
    match text {
        "Default" => "default",
        "E. Process" | "Exclusive_Process" => "exclusive-process",
        "E. Thread" | "Exclusive_Thread" => "exclusive-thread",
        "Prohibited" => "prohibited",
        other => other,
    }
    .to_owned()
}

/// The column that a version does not know, from its complaint:
/// `Field "compute_cap" is not a valid field to query.`
pub(super) fn unknown_column(complaint: &str) -> Option<&str> {
    let (_, rest) = complaint.split_once("Field \"")?;
    let (name, rest) = rest.split_once('"')?;
    rest.trim_start()
        .starts_with("is not a valid field")
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_data_centre_board_is_read() {
        let names = names(&STATIC);
        let line = "GPU-5f3c, NVIDIA H100 80GB HBM3, 81559, 550.90.07, 700.00, 700.00, 200.00, \
                    700.00, 9.0, Enabled, Disabled, 96.00.89.00.01, Enabled, Default, 5, 16, \
                    00000000:18:00.0, 0x233010DE, 0x16C110DE, 1980";
        let info = Row::of(&names, line).unwrap().info().unwrap();
        assert_eq!(info.uuid, "GPU-5f3c");
        assert_eq!(info.memory_total, Some(81_559 << 20));
        assert_eq!(info.compute_capability, Some((9, 0)));
        assert_eq!(info.power_limit_mw, Some(700_000));
        assert_eq!((info.ecc, info.mig), (Some(true), Some(false)));
        assert_eq!(info.details.power_range_mw, Some((200_000, 700_000)));
        assert_eq!(info.details.pci_device_id, Some(0x2330_10DE));
        assert_eq!(info.details.compute_mode.as_deref(), Some("default"));
        assert_eq!(info.details.persistence, Some(true));
        assert_eq!(info.details.pcie_max_width, Some(16));
    }

    #[test]
    fn readings_keep_what_the_gpu_tells() {
        let names = names(&MOVING);
        let line =
            "GPU-1, 1024, [N/A], 61.27, 97, 54, [N/A], 1980, 2619, 0x0000000000000004, P0, 5, 16";
        let row = Row::of(&names, line).unwrap();
        let reading = row.reading();
        assert_eq!(reading.memory_used, Some(1 << 30));
        // No momentary power: the mean.
        assert_eq!(
            (reading.power_mw, reading.power_mean_mw),
            (Some(61_270), Some(61_270))
        );
        assert_eq!(reading.memory_temperature_c, None);
        assert_eq!(reading.throttle_reasons, Some(4));
        assert_eq!(
            (reading.energy_mj, reading.sm_clock_mhz),
            (None, Some(1980))
        );
        assert_eq!(
            (row.status().pstate, row.status().pcie_gen),
            (Some(0), Some(5))
        );
        let silent = "GPU-1, [Not Supported], [Not Supported], [Unknown Error], N/A, , -3, nan, \
                      inf, 4, P, x, [N/A]";
        let row = Row::of(&names, silent).unwrap();
        assert_eq!(row.reading(), GpuReading::default());
        assert_eq!(row.status(), GpuStatus::default());
    }

    #[test]
    fn what_is_no_row_is_none() {
        let names = names(&["uuid", "name"]);
        assert!(Row::of(&names, "No devices were found").is_none());
        assert!(Row::of(&names, "GPU-1, cut, off").is_none());
        assert!(Row::of(&names, "GPU-1, [N/A]").unwrap().info().is_none());
    }

    #[test]
    fn a_column_that_is_not_known_is_named() {
        let complaint = "Field \"power.draw.instant\" is not a valid field to query.\n";
        assert_eq!(unknown_column(complaint), Some("power.draw.instant"));
        assert_eq!(
            unknown_column("Unable to determine the device handle"),
            None
        );
        assert_eq!(unknown_column("Field \"x"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line in "\\PC{0,200}") {
            let names = names(&MOVING);
            if let Some(row) = Row::of(&names, &line) {
                let _any = (row.reading(), row.status(), row.info());
            }
            let _any = unknown_column(&line);
        }

        #[test]
        fn a_written_number_comes_back(power in 0_u32..2_000_000, used in 0_u32..1_000_000) {
            let names = names(&["memory.used", "power.draw"]);
            let line = format!("{used}, {:.3}", f64::from(power) / 1e3);
            let reading = Row::of(&names, &line).unwrap().reading();
            prop_assert_eq!(reading.power_mw, Some(power));
            prop_assert_eq!(reading.memory_used, Some(u64::from(used) << 20));
        }
    }
}
