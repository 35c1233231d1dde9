//! What `amd-smi … --json` writes, whatever its version. Pure.
//!
//! A list of objects, one for each GPU; newer versions wrap it as `{"gpu_data": […]}`. A quantity
//! is a number, `{"value": 145, "unit": "W"}`, or `"N/A"`. Names have moved between versions: for
//! each quantity the known places are tried in order.

use serde_json::Value;

use crate::telemetry::{GpuCounters, GpuDetails, GpuInfo, GpuReading};

/// What one object says of a GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Told {
    pub(super) reading: GpuReading,
    pub(super) counters: GpuCounters,
}

/// The objects of each GPU with its number.
pub(super) fn gpus(document: &Value) -> Vec<(u32, &Value)> {
    let list = document.get("gpu_data").unwrap_or(document);
    let objects: Vec<&Value> = match list {
        Value::Array(objects) => objects.iter().collect(),
        Value::Object(_) => vec![list],
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    let number = |object: &Value| u32::try_from(object.get("gpu")?.as_u64()?).ok();
    objects
        .into_iter()
        .filter_map(|object| Some((number(object)?, object)))
        .collect()
}

/// What `amd-smi metric` says of a GPU.
pub(super) fn metric(gpu: &Value) -> Told {
    let power = quantity(
        gpu,
        &[
            "/power/socket_power",
            "/power/current_socket_power",
            "/power/average_socket_power",
        ],
    );
    let energy = whole(quantity(gpu, &["/energy/total_energy_consumption"]), 1e3);
    let used = quantity(
        gpu,
        &["/mem_usage/used_vram", "/vram/used", "/vram/vram_used"],
    );
    let uncorrected = quantity(
        gpu,
        &[
            "/ecc/total_uncorrectable_count",
            "/ecc/total_uncorrectable",
            "/ecc/uncorrectable",
        ],
    );
    Told {
        reading: GpuReading {
            memory_used: whole(used, MIB),
            power_mw: small(power, 1e3),
            energy_mj: energy,
            utilisation_pct: small(quantity(gpu, &["/usage/gfx_activity"]), 1.0),
            temperature_c: small(
                quantity(gpu, &["/temperature/hotspot", "/temperature/edge"]),
                1.0,
            ),
            memory_temperature_c: small(quantity(gpu, &["/temperature/mem"]), 1.0),
            sm_clock_mhz: small(
                quantity(
                    gpu,
                    &["/clock/gfx_0/clk", "/clock/gfx_0/cur_clk", "/clock/gfx/clk"],
                ),
                1.0,
            ),
            memory_clock_mhz: small(
                quantity(
                    gpu,
                    &["/clock/mem_0/clk", "/clock/mem_0/cur_clk", "/clock/mem/clk"],
                ),
                1.0,
            ),
            ..GpuReading::default()
        },
        counters: GpuCounters {
            ecc_uncorrected: whole(uncorrected, 1.0),
            energy_mj: energy,
        },
    }
}

/// What `amd-smi static` says of a GPU.
pub(super) fn identity(number: u32, gpu: &Value) -> GpuInfo {
    let text = |places: &[&str]| {
        let mut found = places
            .iter()
            .filter_map(|place| gpu.pointer(place)?.as_str());
        found.find(|text| *text != "N/A").map(str::to_owned)
    };
    let limit = quantity(
        gpu,
        &[
            "/limit/socket_power",
            "/limit/power_cap",
            "/limit/max_power",
        ],
    );
    let bus = text(&["/bus/bdf"]);
    let place = bus.clone().unwrap_or_else(|| number.to_string());
    GpuInfo {
        uuid: text(&["/asic/asic_serial", "/uuid"]).unwrap_or_else(|| format!("AMD-{place}")),
        name: text(&["/asic/market_name", "/board/product_name"])
            .unwrap_or_else(|| "AMD GPU".to_owned()),
        memory_total: whole(
            quantity(gpu, &["/vram/size", "/vram/vram_size", "/vram/size_mb"]),
            MIB,
        ),
        power_limit_mw: small(limit, 1e3),
        driver: text(&["/driver/version", "/driver/driver_version"]),
        details: GpuDetails {
            pci_bus_id: bus,
            vbios: text(&["/vbios/version", "/vbios/part_number", "/ifwi/version"]),
            pcie_max_gen: small(quantity(gpu, &["/bus/pcie_interface_version"]), 1.0),
            pcie_max_width: small(quantity(gpu, &["/bus/max_pcie_width"]), 1.0),
            ..GpuDetails::default()
        },
        ..GpuInfo::default()
    }
}

/// It divides by 2^20 and writes `MB`.
const MIB: f64 = (1_u32 << 20) as f64;

/// The first of the places that has a number.
fn quantity(gpu: &Value, places: &[&str]) -> Option<f64> {
    places
        .iter()
        .find_map(|place| number(gpu.pointer(place)?))
        .filter(|number| number.is_finite() && *number >= 0.0)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        // `145 W` in old versions.
        Value::String(text) => text.split_whitespace().next()?.parse().ok(),
        Value::Object(_) => number(value.get("value").filter(|inner| !inner.is_object())?),
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "finite and not negative; beyond the largest number a cast saturates"
)]
fn whole(number: Option<f64>, factor: f64) -> Option<u64> {
    number.map(|number| (number * factor).round() as u64)
}

fn small(number: Option<f64>, factor: f64) -> Option<u32> {
    whole(number, factor).and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shape_of_instinct_boards_is_read() {
        let document = json!([{
            "gpu": 0,
            "usage": {"gfx_activity": {"value": 93, "unit": "%"}},
            "power": {"socket_power": {"value": 612, "unit": "W"}, "throttle_status": "N/A"},
            "clock": {"gfx_0": {"clk": {"value": 2101, "unit": "MHz"}},
                      "mem_0": {"clk": {"value": 1300, "unit": "MHz"}}},
            "temperature": {"edge": "N/A", "hotspot": {"value": 71, "unit": "C"},
                            "mem": {"value": 52, "unit": "C"}},
            "energy": {"total_energy_consumption": {"value": 11256.301, "unit": "J"}},
            "ecc": {"total_correctable_count": 3, "total_uncorrectable_count": 0},
            "mem_usage": {"total_vram": {"value": 196_592, "unit": "MB"},
                          "used_vram": {"value": 283, "unit": "MB"}},
        }]);
        let found = gpus(&document);
        assert_eq!(found.len(), 1);
        let told = metric(found[0].1);
        assert_eq!(
            told.reading,
            GpuReading {
                memory_used: Some(283 << 20),
                power_mw: Some(612_000),
                energy_mj: Some(11_256_301),
                utilisation_pct: Some(93),
                temperature_c: Some(71),
                memory_temperature_c: Some(52),
                sm_clock_mhz: Some(2101),
                memory_clock_mhz: Some(1300),
                ..GpuReading::default()
            }
        );
        assert_eq!(told.counters.ecc_uncorrected, Some(0));
    }

    #[test]
    fn newer_and_older_shapes_are_read() {
        let newer = json!({"gpu_data": [{"gpu": 4, "power": {"socket_power": 90}}]});
        let found = gpus(&newer);
        assert_eq!(
            (found[0].0, metric(found[0].1).reading.power_mw),
            (4, Some(90_000))
        );
        let older = json!({"gpu": 1, "power": {"average_socket_power": "35 W",
                                               "current_socket_power": "N/A"}});
        let found = gpus(&older);
        assert_eq!(metric(found[0].1).reading.power_mw, Some(35_000));
        assert_eq!(metric(&json!({"gpu": 0})), Told::default());
    }

    #[test]
    fn a_gpu_is_identified() {
        let gpu = json!({
            "gpu": 0,
            "asic": {"market_name": "AMD Instinct MI300X", "asic_serial": "0x1234"},
            "bus": {"bdf": "0000:0C:00.0", "max_pcie_width": 16, "pcie_interface_version": "Gen 5"},
            "limit": {"max_power": {"value": 750, "unit": "W"}, "socket_power": {"value": 700, "unit": "W"}},
            "driver": {"name": "amdgpu", "version": "6.10.5"},
            "vram": {"type": "HBM", "size": {"value": 196_592, "unit": "MB"}},
        });
        let info = identity(0, &gpu);
        assert_eq!(info.name, "AMD Instinct MI300X");
        assert_eq!(
            (info.uuid.as_str(), info.power_limit_mw),
            ("0x1234", Some(700_000))
        );
        assert_eq!(info.memory_total, Some(196_592 << 20));
        assert_eq!(info.details.pcie_max_width, Some(16));
        let bare = identity(3, &json!({"gpu": 3, "asic": {"market_name": "N/A"}}));
        assert_eq!(
            (bare.uuid.as_str(), bare.name.as_str()),
            ("AMD-3", "AMD GPU")
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-zN/0-9 ]{0,8}".prop_map(Value::from),
        ];
        let key = prop_oneof![
            Just("gpu"),
            Just("gpu_data"),
            Just("power"),
            Just("socket_power"),
            Just("value"),
            Just("clock"),
            Just("gfx_0"),
            Just("clk"),
            Just("vram"),
            Just("asic"),
        ];
        leaf.prop_recursive(5, 64, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((key.clone(), inner), 0..4).prop_map(|pairs| {
                    Value::Object(pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_is_read_or_ignored(document in any_json()) {
            for (number, gpu) in gpus(&document) {
                let _any = (metric(gpu), identity(number, gpu));
            }
            let _any = metric(&document);
        }
    }
}
