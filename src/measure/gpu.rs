//! GPU readings over a window to metrics. Pure.
//!
//! Energy is that of all watched GPUs, idle ones included:
//! `E = Σ (counter at the end − counter at the start)`, the counter read off between samples by
//! linear interpolation; where a GPU has no counter, `E = Σ ∫ P dt` by trapezoids. The counter
//! moves in steps of about 100 ms, so that a window of 5 s is wrong by up to 4 %: nothing is
//! reported below that.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::quantile::mean;
use crate::telemetry::{GpuReading, GpuSample, GpuTrace};

/// Energy over a shorter window is mostly the counter's step.
const SHORTEST_FOR_ENERGY: Duration = Duration::from_secs(5);
/// A hole in the samples larger than this leaves the window uncovered.
const LARGEST_HOLE: Duration = Duration::from_secs(3);
const GIB: f64 = (1_u64 << 30) as f64;

/// NVML's bits for clocks held down by heat (software, hardware) and by the power brake; the
/// software power cap is normal on a loaded GPU.
const THERMAL_REASONS: u64 = 0x20 | 0x40 | 0x80;

/// What GPUs did during a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GpuNumbers {
    /// Value by metric name; what was not measured is absent.
    pub metrics: BTreeMap<String, f64>,
    /// What is worth knowing beside them.
    pub notes: Vec<String>,
}

/// The GPU metrics of a window. `window` is on the load's clock, which starts at
/// [`GpuTrace::scenario_start`] of the trace's. `output_tokens` were produced in the window.
pub fn gpu_metrics(
    trace: &GpuTrace,
    window: Range<Duration>,
    output_tokens: Option<f64>,
) -> GpuNumbers {
    let window = window.start + trace.scenario_start..window.end + trace.scenario_start;
    let mut numbers = GpuNumbers::default();
    if let Some(why) = &trace.lost {
        numbers
            .notes
            .push(format!("GPU readings ended early: {why}"));
    }
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
            numbers.metrics.insert(name.to_owned(), value);
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
    let clock = over.all(|reading| reading.sm_clock_mhz.map(f64::from));
    put("gpu_sm_clock_avg_mhz", clock.as_deref().and_then(mean));
    numbers.energy(trace, &window, output_tokens);
    numbers.throttling(&over);
    numbers
}

impl GpuNumbers {
    fn energy(&mut self, trace: &GpuTrace, window: &Range<Duration>, output_tokens: Option<f64>) {
        if trace.devices.is_empty() {
            return;
        }
        match energy(trace, window) {
            Ok(joules) => {
                self.metrics.insert("energy_j".to_owned(), joules);
                if let Some(tokens) = output_tokens.filter(|tokens| *tokens > 0.0) {
                    let name = "energy_per_output_token_j".to_owned();
                    self.metrics.insert(name, joules / tokens);
                }
            }
            Err(why) => self.notes.push(format!("energy is not reported: {why}")),
        }
    }

    fn throttling(&mut self, over: &Over<'_>) {
        let held = |reading: &GpuReading| {
            let reasons = reading.throttle_reasons?;
            Some(f64::from(u8::from(reasons & THERMAL_REASONS != 0)))
        };
        let share = over.all(held).as_deref().and_then(mean);
        let share = share.filter(|share| *share > 0.0);
        if let Some(share) = share {
            self.notes.push(format!(
                "heat or the power brake held the GPU clocks down in {:.1} % of the readings",
                share * 100.0
            ));
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

/// Energy of all GPUs over a window, in joules.
fn energy(trace: &GpuTrace, window: &Range<Duration>) -> Result<f64, &'static str> {
    let length = window.end.saturating_sub(window.start);
    if length < SHORTEST_FOR_ENERGY {
        return Err("the window is shorter than 5 s");
    }
    let samples = bracketing(&trace.samples, window).ok_or("no samples lie around the window")?;
    let holes = samples.iter().zip(samples.iter().skip(1));
    if holes
        .clone()
        .any(|(a, b)| b.at.saturating_sub(a.at) > LARGEST_HOLE)
    {
        return Err("the samples have a hole of more than 3 s");
    }
    (0..trace.devices.len())
        .map(|device| energy_of(samples, device, window))
        .sum()
}

/// The samples from the last one at or before the window to the first one at or after it.
fn bracketing<'a>(samples: &'a [GpuSample], window: &Range<Duration>) -> Option<&'a [GpuSample]> {
    let first = samples
        .iter()
        .rposition(|sample| sample.at <= window.start)?;
    let last = samples.iter().position(|sample| sample.at >= window.end)?;
    samples.get(first..=last)
}

fn energy_of(
    samples: &[GpuSample],
    device: usize,
    window: &Range<Duration>,
) -> Result<f64, &'static str> {
    let column = |read: fn(&GpuReading) -> Option<f64>| -> Option<Vec<(f64, f64)>> {
        let point = |sample: &GpuSample| {
            Some((sample.at.as_secs_f64(), read(sample.readings.get(device)?)?))
        };
        samples.iter().map(point).collect()
    };
    let edges = (window.start.as_secs_f64(), window.end.as_secs_f64());
    if let Some(counter) = column(|reading| Some(reading.energy_mj? as f64 / 1e3)) {
        let steps = counter.iter().zip(counter.iter().skip(1));
        if steps.clone().any(|(a, b)| b.1 < a.1) {
            return Err("the energy counter ran backwards: the driver was reloaded");
        }
        let (start, end) = (value_at(&counter, edges.0), value_at(&counter, edges.1));
        return start.zip(end).map(|(start, end)| end - start).ok_or(UNTOLD);
    }
    let power = column(|reading| Some(f64::from(reading.power_mw?) / 1e3)).ok_or(UNTOLD)?;
    integral(&power, edges).ok_or(UNTOLD)
}

const UNTOLD: &str = "a GPU tells neither energy nor power";

/// The value at time `at` on the line through the points, which are in time order.
fn value_at(points: &[(f64, f64)], at: f64) -> Option<f64> {
    let after = points.iter().position(|(time, _)| *time >= at)?;
    let (t1, v1) = *points.get(after)?;
    let (t0, v0) = *points.get(after.saturating_sub(1))?;
    if t1 > t0 {
        Some(v0 + (v1 - v0) * (at - t0) / (t1 - t0))
    } else {
        Some(v1)
    }
}

/// The area under the line through the points, between two times.
fn integral(points: &[(f64, f64)], (start, end): (f64, f64)) -> Option<f64> {
    let mut line = vec![(start, value_at(points, start)?)];
    line.extend(
        points
            .iter()
            .filter(|(time, _)| start < *time && *time < end),
    );
    line.push((end, value_at(points, end)?));
    let areas = line.iter().zip(line.iter().skip(1));
    Some(areas.map(|(a, b)| (b.0 - a.0) * (a.1 + b.1) / 2.0).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::GpuInfo;

    fn info() -> GpuInfo {
        GpuInfo {
            uuid: "GPU-0".to_owned(),
            name: "Test GPU".to_owned(),
            memory_total: None,
            compute_capability: None,
            power_limit_mw: None,
            mig: None,
            ecc: None,
            driver: None,
            cuda_driver: None,
        }
    }

    /// Samples each second from 0 to 20 s, `gpus` equal GPUs.
    fn trace(gpus: usize, reading: impl Fn(u64) -> GpuReading) -> GpuTrace {
        let sample = |second| GpuSample {
            at: Duration::from_secs(second),
            readings: vec![reading(second); gpus],
        };
        GpuTrace {
            source: "test".to_owned(),
            devices: vec![info(); gpus],
            samples: (0..=20).map(sample).collect(),
            scenario_start: Duration::ZERO,
            lost: None,
        }
    }

    /// 100 W, 250 W from second 10 on, counted exactly.
    fn steady(second: u64) -> GpuReading {
        GpuReading {
            memory_used: Some(second.min(12) << 30),
            power_mw: Some(if second < 10 { 100_000 } else { 250_000 }),
            energy_mj: Some(7_000_000 + second * 100_000 + second.saturating_sub(10) * 150_000),
            utilisation_pct: Some(90),
            temperature_c: Some(40 + u32::try_from(second).unwrap()),
            sm_clock_mhz: Some(1500),
            throttle_reasons: Some(0x4),
        }
    }

    fn ms(from: u64, to: u64) -> Range<Duration> {
        Duration::from_millis(from)..Duration::from_millis(to)
    }

    fn near(numbers: &GpuNumbers, name: &str, expected: f64) {
        let found = numbers.metrics[name];
        assert!(
            (found - expected).abs() < 1e-9,
            "{name}: {found} is not {expected}"
        );
    }

    #[test]
    fn the_energy_counter_is_read_off_at_the_windows_edges() {
        // 2.5 s to 12 s: 7.5 s at 100 W and 2 s at 250 W.
        let found = gpu_metrics(&trace(1, steady), ms(2500, 12_000), Some(500.0));
        near(&found, "energy_j", 1250.0);
        near(&found, "energy_per_output_token_j", 2.5);
        near(&found, "gpu_memory_peak_gb", 11.0); // second 12 lies outside
        near(&found, "gpu_temperature_max_c", 51.0);
        near(&found, "gpu_utilisation_avg_pct", 90.0);
        near(&found, "gpu_sm_clock_avg_mhz", 1500.0);
        near(&found, "gpu_power_avg_w", (7.0 * 100.0 + 2.0 * 250.0) / 9.0); // seconds 3 to 11
        assert_eq!(found.notes, Vec::<String>::new());
    }

    #[test]
    fn gpus_add_up() {
        let found = gpu_metrics(&trace(2, steady), ms(0, 10_000), None);
        near(&found, "energy_j", 2000.0);
        near(&found, "gpu_power_avg_w", 200.0);
        near(&found, "gpu_memory_peak_gb", 18.0);
        near(&found, "gpu_utilisation_avg_pct", 90.0);
        assert!(!found.metrics.contains_key("energy_per_output_token_j"));
    }

    #[test]
    fn without_a_counter_power_is_integrated() {
        let found = gpu_metrics(
            &trace(1, |second| GpuReading {
                energy_mj: None,
                ..steady(second)
            }),
            ms(2500, 12_000),
            None,
        );
        // 2.5-9 s at 100 W, the step's trapezoid 9-10 s at 175 W on average, 10-12 s at 250 W.
        near(&found, "energy_j", 650.0 + 175.0 + 500.0);
    }

    #[test]
    fn the_windows_clock_may_start_later() {
        let mut shifted = trace(1, steady);
        shifted.scenario_start = Duration::from_secs(10);
        near(
            &gpu_metrics(&shifted, ms(0, 6000), None),
            "energy_j",
            1500.0,
        );
    }

    #[test]
    fn energy_is_withheld_with_a_reason() {
        let reason = |trace: &GpuTrace, window| {
            let found = gpu_metrics(trace, window, Some(1.0));
            assert!(!found.metrics.contains_key("energy_j"));
            assert!(!found.metrics.contains_key("energy_per_output_token_j"));
            found.notes.join("\n")
        };
        assert!(reason(&trace(1, steady), ms(0, 4999)).contains("shorter than 5 s"));
        assert!(reason(&trace(1, steady), ms(5000, 20_001)).contains("around the window"));
        let backwards = trace(1, |second| GpuReading {
            energy_mj: Some(100 - second),
            ..steady(second)
        });
        assert!(reason(&backwards, ms(0, 10_000)).contains("backwards"));
        let mut hole = trace(1, steady);
        hole.samples.drain(3..7);
        assert!(reason(&hole, ms(0, 10_000)).contains("hole"));
        let silent = trace(1, |_| GpuReading::default());
        assert!(reason(&silent, ms(0, 10_000)).contains("neither"));
        assert_eq!(
            gpu_metrics(&silent, ms(0, 10_000), None).metrics,
            BTreeMap::new()
        );
    }

    #[test]
    fn heat_is_told_and_the_power_cap_is_not() {
        let hot = trace(1, |second| GpuReading {
            throttle_reasons: Some(if second < 5 { 0x40 } else { 0x4 }),
            ..steady(second)
        });
        let found = gpu_metrics(&hot, ms(0, 10_000), None);
        assert!(found.notes[0].contains("50.0 %"), "{:?}", found.notes);
    }

    #[test]
    fn a_source_that_died_is_told() {
        let mut lost = trace(1, steady);
        lost.lost = Some("GPU 0 is gone".to_owned());
        let found = gpu_metrics(&lost, ms(0, 10_000), None);
        assert!(found.notes[0].contains("GPU 0 is gone"));
    }
}
