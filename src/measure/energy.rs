//! Energy of the GPU boards over a window, and per unit of work. Pure.
//!
//! It is that of all GPUs the engine has, idle ones included:
//! `E = Σ (counter at the end − counter at the start)`, the counter read off between the readings
//! around each edge by linear interpolation; where a GPU has no counter, `E = Σ ∫ P dt` by
//! trapezoids between the same edges. The counter moves in steps of about 100 ms, so that a window
//! of 5 s is wrong by up to 4 %: nothing is reported below that. Where both are known they are
//! compared. This is board energy, not what a meter at the wall would show.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde::{Deserialize, Serialize};

use crate::telemetry::{GpuReading, GpuSample, GpuTrace};

/// Energy over a shorter window is mostly the counter's step.
const SHORTEST: Duration = Duration::from_secs(5);
/// Idle power over less time is chance.
const SHORTEST_IDLE: Duration = Duration::from_secs(10);

/// How the energy was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnergyMethod {
    /// From the GPUs' counters.
    Counter,
    /// By integrating the power.
    Integral,
}

/// Energy of all GPUs over a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// Joules.
    pub joules: f64,
    /// Length of the window in seconds.
    pub seconds: f64,
    /// Where they come from.
    pub method: EnergyMethod,
    /// The integral of the power, joules, where the counter was used and the power is known too.
    pub integral_joules: Option<f64>,
}

/// What was done in a window. `None`: not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Output tokens.
    pub output_tokens: Option<f64>,
    /// Prompt tokens and output tokens.
    pub total_tokens: Option<f64>,
    /// Requests that ended well.
    pub requests: Option<f64>,
    /// Power of the GPUs with the model loaded and nothing to do, watts, from [`idle_power`].
    pub idle_w: Option<f64>,
}

/// Why there is no energy to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoEnergy {
    #[error("the window is shorter than 5 s")]
    Short,
    #[error("no samples lie around the window")]
    Unbracketed,
    #[error("the energy counter ran backwards: the driver was reloaded")]
    Backwards,
    #[error("a GPU tells neither energy nor power")]
    Untold,
}

impl Energy {
    /// How far counter and integral are apart, as a share of the counter.
    pub fn disagreement(&self) -> Option<f64> {
        let integral = self.integral_joules?;
        (self.joules > 0.0).then(|| (integral - self.joules).abs() / self.joules)
    }

    /// Joules, and joules per unit of work: `E / n`; above idle `E − P_idle · t`.
    pub(super) fn metrics(&self, work: Work) -> BTreeMap<String, f64> {
        let per = |count: Option<f64>| {
            let count = count.filter(|count| *count > 0.0)?;
            Some(self.joules / count)
        };
        let above_idle = work
            .idle_w
            .map(|idle| (self.joules - idle * self.seconds).max(0.0));
        let tokens = work.output_tokens.filter(|tokens| *tokens > 0.0);
        let named = [
            ("energy_j", Some(self.joules)),
            ("energy_per_output_token_j", per(work.output_tokens)),
            ("energy_per_total_token_j", per(work.total_tokens)),
            ("energy_per_request_j", per(work.requests)),
            ("energy_above_idle_j", above_idle),
            (
                "energy_above_idle_per_output_token_j",
                above_idle
                    .zip(tokens)
                    .map(|(joules, tokens)| joules / tokens),
            ),
        ];
        named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Energy of all GPUs over a window on the trace's clock.
pub(super) fn energy(trace: &GpuTrace, window: &Range<Duration>) -> Result<Energy, NoEnergy> {
    if window.end.saturating_sub(window.start) < SHORTEST {
        return Err(NoEnergy::Short);
    }
    over(trace, window)
}

/// Mean power of all GPUs over a window of the trace's clock, watts: the baseline of what is spent
/// while nothing is asked of a loaded engine. `None` below ten seconds or without samples.
pub fn idle_power(trace: &GpuTrace, window: &Range<Duration>) -> Option<f64> {
    if window.end.saturating_sub(window.start) < SHORTEST_IDLE {
        return None;
    }
    let energy = over(trace, window).ok()?;
    Some(energy.joules / energy.seconds)
}

fn over(trace: &GpuTrace, window: &Range<Duration>) -> Result<Energy, NoEnergy> {
    let samples = bracketing(&trace.samples, window).ok_or(NoEnergy::Unbracketed)?;
    let edges = (window.start.as_secs_f64(), window.end.as_secs_f64());
    let all = |read: Read, sum: Sum| -> Option<f64> {
        (0..trace.devices.len())
            .map(|device| sum(&column(samples, device, read)?, edges))
            .sum()
    };
    if counters(trace, samples).any(|counter| backwards(&counter)) {
        return Err(NoEnergy::Backwards);
    }
    let counted = all(|reading| Some(reading.energy_mj? as f64 / 1e3), difference);
    let integral = all(|reading| Some(f64::from(reading.power_mw?) / 1e3), integral);
    let (joules, method) = match (counted, integral) {
        (Some(counted), _) => (counted, EnergyMethod::Counter),
        (None, Some(integral)) => (integral, EnergyMethod::Integral),
        (None, None) => return Err(NoEnergy::Untold),
    };
    Ok(Energy {
        joules,
        seconds: edges.1 - edges.0,
        method,
        integral_joules: integral.filter(|_| method == EnergyMethod::Counter),
    })
}

/// Whether a counter ran backwards anywhere around a window.
pub(super) fn ran_backwards(trace: &GpuTrace, window: &Range<Duration>) -> bool {
    bracketing(&trace.samples, window)
        .is_some_and(|samples| counters(trace, samples).any(|counter| backwards(&counter)))
}

type Points = Vec<(f64, f64)>;
type Read = fn(&GpuReading) -> Option<f64>;
type Sum = fn(&[(f64, f64)], (f64, f64)) -> Option<f64>;

/// The energy counters of those GPUs that have one.
fn counters(trace: &GpuTrace, samples: &[GpuSample]) -> impl Iterator<Item = Points> {
    let read: Read = |reading| reading.energy_mj.map(|counter| counter as f64);
    (0..trace.devices.len()).filter_map(move |device| column(samples, device, read))
}

fn backwards(counter: &[(f64, f64)]) -> bool {
    let mut steps = counter.iter().zip(counter.iter().skip(1));
    steps.any(|(a, b)| b.1 < a.1)
}

/// A GPU's readings by time; `None` when it did not tell each time.
fn column(samples: &[GpuSample], device: usize, read: Read) -> Option<Points> {
    samples
        .iter()
        .map(|sample| Some((sample.at.as_secs_f64(), read(sample.readings.get(device)?)?)))
        .collect()
}

/// The samples from the last one at or before the window to the first one at or after it.
pub(super) fn bracketing<'a>(
    samples: &'a [GpuSample],
    window: &Range<Duration>,
) -> Option<&'a [GpuSample]> {
    let first = samples
        .iter()
        .rposition(|sample| sample.at <= window.start)?;
    let last = samples.iter().position(|sample| sample.at >= window.end)?;
    samples.get(first..=last)
}

fn difference(points: &[(f64, f64)], (start, end): (f64, f64)) -> Option<f64> {
    Some(value_at(points, end)? - value_at(points, start)?)
}

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
    use super::{
        super::gpu::tests::{ms, steady, trace},
        *,
    };

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn the_counter_is_read_off_at_the_windows_edges() {
        // Steps of 100 J per second up to second 9: 2.5 s lies half-way.
        let found = energy(&trace(1, steady), &ms(2500, 8000)).unwrap();
        near(found.joules, 550.0);
        near(found.seconds, 5.5);
        assert_eq!(found.method, EnergyMethod::Counter);
        near(found.integral_joules.unwrap(), 550.0);
        near(found.disagreement().unwrap(), 0.0);
    }

    #[test]
    fn without_a_counter_power_is_integrated_with_the_edges() {
        let uncounted = trace(2, |second| GpuReading {
            energy_mj: None,
            ..steady(second)
        });
        // 2.5-9 s at 100 W, the step's trapezoid 9-10 s at 175 W on average, 10-12 s at 250 W.
        let found = energy(&uncounted, &ms(2500, 12_000)).unwrap();
        near(found.joules, 2.0 * (650.0 + 175.0 + 500.0));
        assert_eq!(
            (found.method, found.integral_joules),
            (EnergyMethod::Integral, None)
        );
        assert_eq!(found.disagreement(), None);
    }

    #[test]
    fn counter_and_integral_are_compared() {
        let stuck = trace(1, |second| GpuReading {
            energy_mj: Some(second * 95_000),
            power_mw: Some(100_000),
            ..GpuReading::default()
        });
        let found = energy(&stuck, &ms(0, 10_000)).unwrap();
        // 950 J counted, 1000 J integrated.
        near(found.joules, 950.0);
        near(found.disagreement().unwrap(), 50.0 / 950.0);
    }

    #[test]
    fn energy_is_divided_by_the_work() {
        let found = Energy {
            joules: 1200.0,
            seconds: 10.0,
            method: EnergyMethod::Counter,
            integral_joules: None,
        };
        let metrics = found.metrics(Work {
            output_tokens: Some(400.0),
            total_tokens: Some(2400.0),
            requests: Some(8.0),
            idle_w: Some(70.0),
        });
        near(metrics["energy_j"], 1200.0);
        near(metrics["energy_per_output_token_j"], 3.0);
        near(metrics["energy_per_total_token_j"], 0.5);
        near(metrics["energy_per_request_j"], 150.0);
        near(metrics["energy_above_idle_j"], 500.0);
        near(metrics["energy_above_idle_per_output_token_j"], 1.25);
        let nothing = found.metrics(Work {
            output_tokens: Some(0.0),
            ..Work::default()
        });
        assert_eq!(nothing.keys().collect::<Vec<_>>(), ["energy_j"]);
    }

    #[test]
    fn what_cannot_be_told_has_a_reason() {
        let none = |trace: &GpuTrace, window| energy(trace, &window).unwrap_err();
        assert_eq!(none(&trace(1, steady), ms(0, 4999)), NoEnergy::Short);
        assert!(energy(&trace(1, steady), &ms(0, 5000)).is_ok());
        assert_eq!(
            none(&trace(1, steady), ms(5000, 20_001)),
            NoEnergy::Unbracketed
        );
        let backwards = trace(1, |second| GpuReading {
            energy_mj: Some(100 - second),
            ..steady(second)
        });
        assert_eq!(none(&backwards, ms(0, 10_000)), NoEnergy::Backwards);
        assert!(ran_backwards(&backwards, &ms(0, 10_000)));
        assert!(!ran_backwards(&trace(1, steady), &ms(0, 10_000)));
        let silent = trace(1, |_| GpuReading::default());
        assert_eq!(none(&silent, ms(0, 10_000)), NoEnergy::Untold);
        // One GPU that does not tell leaves the sum unknown.
        let mut half = trace(2, steady);
        for sample in &mut half.samples {
            sample.readings[1] = GpuReading::default();
        }
        assert_eq!(none(&half, ms(0, 10_000)), NoEnergy::Untold);
    }

    #[test]
    fn idle_power_needs_ten_seconds() {
        let idle = trace(2, |second| GpuReading {
            energy_mj: Some(second * 70_000),
            ..GpuReading::default()
        });
        near(idle_power(&idle, &ms(0, 10_000)).unwrap(), 140.0);
        assert_eq!(idle_power(&idle, &ms(0, 9999)), None);
        assert_eq!(idle_power(&idle, &ms(15_000, 30_000)), None);
    }
}
