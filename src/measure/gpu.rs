//! GPU readings over a window to metrics. Pure.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    energy::{Energy, Work, energy},
    gpu_findings::GpuFindings,
    quantile::mean,
};
use crate::telemetry::{GpuReading, GpuSample, GpuTrace, WatchCost};

const GIB: f64 = (1_u64 << 30) as f64;

/// What GPUs did during a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuNumbers {
    /// Value by metric name; what was not measured is absent.
    pub metrics: BTreeMap<String, f64>,
    /// What is worth knowing beside them.
    pub notes: Vec<String>,
    /// Where the energy comes from; `None` when none is reported.
    pub energy: Option<Energy>,
}

/// How the GPUs were watched, for the record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuAccount {
    /// Name of the source.
    pub source: String,
    /// GPUs that were watched: all that the engine has, idle ones included.
    pub gpus: u32,
    /// Where the energy comes from.
    pub energy: Option<Energy>,
    /// What the readings say about the measurement.
    pub findings: GpuFindings,
    /// What watching cost.
    pub watching: WatchCost,
}

/// The GPU metrics of a window. `window` is on the load's clock, which starts at
/// [`GpuTrace::scenario_start`] of the trace's; `work` was done in it. What `findings` void is
/// left out.
pub fn gpu_metrics(
    trace: &GpuTrace,
    window: Range<Duration>,
    work: Work,
    findings: &GpuFindings,
) -> GpuNumbers {
    let window = on_trace(trace, &window);
    let mut numbers = GpuNumbers::default();
    if let Some(why) = &trace.lost {
        numbers
            .notes
            .push(format!("GPU readings ended early: {why}"));
    }
    if !findings.has_hole() {
        numbers.averages(trace, &window);
    }
    numbers.energy(trace, &window, work, findings);
    numbers
}

/// A window of the load's clock on the trace's.
pub(super) fn on_trace(trace: &GpuTrace, window: &Range<Duration>) -> Range<Duration> {
    window.start + trace.scenario_start..window.end + trace.scenario_start
}

impl GpuNumbers {
    fn averages(&mut self, trace: &GpuTrace, window: &Range<Duration>) {
        let inside: Vec<&GpuSample> = trace
            .samples
            .iter()
            .filter(|sample| window.contains(&sample.at))
            .collect();
        let over = Over {
            samples: &inside,
            devices: trace.devices.len(),
        };
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                self.metrics.insert(name.to_owned(), value);
            }
        };
        let memory = over.totals(|reading| Some(reading.memory_used? as f64 / GIB));
        put("gpu_memory_peak_gb", memory.as_deref().and_then(largest));
        let power = over.totals(|reading| Some(f64::from(reading.power_mw?) / 1e3));
        put("gpu_power_avg_w", power.as_deref().and_then(mean));
        let busy = over.all(|reading| reading.utilisation_pct.map(f64::from));
        put("gpu_utilisation_avg_pct", busy.as_deref().and_then(mean));
        let heat = over.all(|reading| reading.temperature_c.map(f64::from));
        put("gpu_temperature_max_c", heat.as_deref().and_then(largest));
        let heat = over.all(|reading| reading.memory_temperature_c.map(f64::from));
        put(
            "gpu_memory_temperature_max_c",
            heat.as_deref().and_then(largest),
        );
        let clock = over.all(|reading| reading.sm_clock_mhz.map(f64::from));
        put("gpu_sm_clock_avg_mhz", clock.as_deref().and_then(mean));
    }

    fn energy(
        &mut self,
        trace: &GpuTrace,
        window: &Range<Duration>,
        work: Work,
        findings: &GpuFindings,
    ) {
        if trace.devices.is_empty() {
            return;
        }
        let withheld = findings.energy_withheld().map(str::to_owned);
        let energy = match withheld {
            Some(why) => Err(why),
            None => energy(trace, window).map_err(|none| none.to_string()),
        };
        match energy {
            Ok(energy) => {
                self.metrics.extend(energy.metrics(work));
                self.energy = Some(energy);
            }
            Err(why) => self.notes.push(format!("energy is not reported: {why}")),
        }
    }
}

/// The samples inside a window.
struct Over<'a> {
    samples: &'a [&'a GpuSample],
    devices: usize,
}

impl Over<'_> {
    /// One number per sample: the sum over the GPUs. `None` when one GPU did not tell.
    fn totals(&self, read: impl Fn(&GpuReading) -> Option<f64>) -> Option<Vec<f64>> {
        let total = |sample: &&GpuSample| {
            let whole = sample.readings.len() == self.devices;
            whole.then(|| sample.readings.iter().map(&read).sum::<Option<f64>>())?
        };
        self.samples.iter().map(total).collect()
    }

    /// Every reading of every GPU. `None` when one GPU did not tell.
    fn all(&self, read: impl Fn(&GpuReading) -> Option<f64>) -> Option<Vec<f64>> {
        let readings = self.samples.iter().flat_map(|sample| &sample.readings);
        readings.map(read).collect()
    }
}

fn largest(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::max)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::telemetry::GpuInfo;

    fn info() -> GpuInfo {
        GpuInfo {
            uuid: "GPU-0".to_owned(),
            name: "Test GPU".to_owned(),
            ..GpuInfo::default()
        }
    }

    /// Samples each second from 0 to 20 s, `gpus` equal GPUs.
    pub(in crate::measure) fn trace(gpus: usize, reading: impl Fn(u64) -> GpuReading) -> GpuTrace {
        let sample = |second| GpuSample {
            at: Duration::from_secs(second),
            readings: vec![reading(second); gpus],
        };
        GpuTrace {
            source: "test".to_owned(),
            devices: vec![info(); gpus],
            samples: (0..=20).map(sample).collect(),
            ..GpuTrace::default()
        }
    }

    /// 100 W, 250 W from second 10 on, the counter just as much.
    pub(in crate::measure) fn steady(second: u64) -> GpuReading {
        GpuReading {
            memory_used: Some(second.min(12) << 30),
            power_mw: Some(if second < 10 { 100_000 } else { 250_000 }),
            // The integral: a trapezoid of 175 J between seconds 9 and 10.
            energy_mj: Some(match second {
                0..10 => 7_000_000 + second * 100_000,
                later => 7_000_000 + 1_075_000 + (later - 10) * 250_000,
            }),
            utilisation_pct: Some(90),
            temperature_c: Some(40 + u32::try_from(second).unwrap()),
            sm_clock_mhz: Some(1500),
            ..GpuReading::default()
        }
    }

    pub(in crate::measure) fn ms(from: u64, to: u64) -> Range<Duration> {
        Duration::from_millis(from)..Duration::from_millis(to)
    }

    fn numbers(trace: &GpuTrace, window: Range<Duration>, work: Work) -> GpuNumbers {
        let findings = GpuFindings::of(trace, &window);
        gpu_metrics(trace, window, work, &findings)
    }

    fn near(numbers: &GpuNumbers, name: &str, expected: f64) {
        let found = numbers.metrics[name];
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    #[test]
    fn every_number_worked_by_hand() {
        // 2.5 s to 12 s: 6.5 s at 100 W, one at 175 W on average, two at 250 W.
        let work = Work {
            output_tokens: Some(500.0),
            ..Work::default()
        };
        let found = numbers(&trace(1, steady), ms(2500, 12_000), work);
        near(&found, "energy_j", 1325.0);
        near(&found, "energy_per_output_token_j", 2.65);
        near(&found, "gpu_memory_peak_gb", 11.0); // second 12 lies outside
        near(&found, "gpu_temperature_max_c", 51.0);
        near(&found, "gpu_utilisation_avg_pct", 90.0);
        near(&found, "gpu_sm_clock_avg_mhz", 1500.0);
        near(&found, "gpu_power_avg_w", (7.0 * 100.0 + 2.0 * 250.0) / 9.0); // seconds 3 to 11
        assert_eq!(found.notes, Vec::<String>::new());
    }

    #[test]
    fn gpus_add_up() {
        let found = numbers(&trace(2, steady), ms(0, 9000), Work::default());
        near(&found, "energy_j", 1800.0);
        near(&found, "gpu_power_avg_w", 200.0);
        near(&found, "gpu_memory_peak_gb", 16.0);
        near(&found, "gpu_utilisation_avg_pct", 90.0);
        assert!(!found.metrics.contains_key("energy_per_output_token_j"));
    }

    #[test]
    fn the_windows_clock_may_start_later() {
        let mut shifted = trace(1, steady);
        shifted.scenario_start = Duration::from_secs(10);
        near(
            &numbers(&shifted, ms(0, 6000), Work::default()),
            "energy_j",
            1500.0,
        );
    }

    #[test]
    fn with_a_hole_nothing_is_averaged() {
        let mut hole = trace(1, steady);
        hole.samples.drain(3..7);
        let found = numbers(&hole, ms(0, 10_000), Work::default());
        assert_eq!(found.metrics, BTreeMap::new());
        assert!(found.notes[0].contains("hole"), "{:?}", found.notes);
        let silent = trace(1, |_| GpuReading::default());
        let found = numbers(&silent, ms(0, 10_000), Work::default());
        assert_eq!(found.metrics, BTreeMap::new());
        assert!(found.notes[0].contains("neither"), "{:?}", found.notes);
    }

    #[test]
    fn a_source_that_died_is_told() {
        let mut lost = trace(1, steady);
        lost.lost = Some("GPU 0 is gone".to_owned());
        let found = numbers(&lost, ms(0, 9000), Work::default());
        assert!(found.notes[0].contains("GPU 0 is gone"));
    }
}
