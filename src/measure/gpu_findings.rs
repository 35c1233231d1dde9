//! What GPU readings say about a measurement: was it disturbed, was it seen whole? Pure.

use std::{ops::Range, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    energy::{bracketing, energy, ran_backwards},
    gpu::on_trace,
    quantile::{deviation, mean},
};
use crate::telemetry::{
    EventKind, GpuReading, GpuSample, GpuTrace, ThrottleTimes, XidClass, xid, xid_in_words,
};

/// A longer time between two readings leaves the window uncovered.
const LARGEST_GAP: Duration = Duration::from_secs(3);
/// Time counts as seen when readings follow each other as closely as this, …
const CLOSE: Duration = Duration::from_secs(1);
/// … or as this many intervals, where the source is slower.
const CLOSE_INTERVALS: f64 = 3.0;
/// Less of the window than this was seen.
const LEAST_COVERAGE: f64 = 0.95;
/// Driver and hardware held the clocks down because of heat for more of the window than this.
const MAX_SW_THERMAL: f64 = 0.05;
/// A clock that varies more than this without a reason is not one to measure energy at.
const MAX_CLOCK_CV: f64 = 0.03;
/// The power limit explains a varying clock from this share of the time on.
const POWER_CAPPED: f64 = 0.01;
/// Counter and integral may be this far apart.
const MAX_DISAGREEMENT: f64 = 0.05;
/// The first part of the window, in which a settled GPU keeps its temperature and clock.
const SETTLED_OVER: Duration = Duration::from_secs(10);
const SETTLED_KELVIN: f64 = 1.0;
const SETTLED_CLOCK: f64 = 0.01;

/// NVML's bits of what holds clocks down, for sources without counters.
const POWER_CAP: u64 = 0x4;
const SW_THERMAL: u64 = 0x20;
const HW_THERMAL: u64 = 0x40;
const POWER_BRAKE: u64 = 0x80;

/// What was found. Shares are of the window, and of the GPU that was worst.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a finding of its own; they are not states"
)]
pub struct GpuFindings {
    /// A GPU stopped answering: the driver's words.
    pub lost: Option<String>,
    /// XID errors that make a GPU unfit, in words.
    pub fatal: Vec<String>,
    /// Other XID errors.
    pub errors: Vec<String>,
    /// Memory errors that could not be corrected.
    pub ecc_uncorrected: u64,
    /// Others who computed on the GPUs, such as `4711 (python)`.
    pub foreign: Vec<String>,
    /// The power limit held the clocks down.
    pub power_cap_share: Option<f64>,
    /// The driver did, because of heat.
    pub sw_thermal_share: Option<f64>,
    /// The hardware did, because of heat.
    pub hw_thermal_share: Option<f64>,
    /// The power supply did.
    pub power_brake_share: Option<f64>,
    /// Standard deviation of the SM clock under load over its mean.
    pub clock_cv: Option<f64>,
    /// Whether readings lie before and after the window.
    pub bracketed: bool,
    /// Longest time between two readings around the window, seconds.
    pub largest_gap_s: Option<f64>,
    /// Share of the window that was seen.
    pub coverage: f64,
    /// The energy counter ran backwards.
    pub counter_backwards: bool,
    /// How far counter and integral of the power are apart.
    pub energy_disagreement: Option<f64>,
    /// Temperature or clock still moved when the window began.
    pub unsettled: bool,
    /// A slice shares its board, whose power is then not its own.
    pub shared_board: bool,
}

impl GpuFindings {
    /// Looks through a trace. `window` is on the load's clock.
    pub fn of(trace: &GpuTrace, window: &Range<Duration>) -> Self {
        let window = on_trace(trace, window);
        let mut found = Self::default();
        found.events(trace);
        found.ecc_uncorrected += grown(trace);
        found.coverage(trace, &window);
        let around = bracketing(&trace.samples, &window).unwrap_or(&trace.samples);
        found.throttling(trace, around);
        found.clock_cv = largest(trace, |device| clock_cv(inside(trace, &window), device));
        found.counter_backwards = ran_backwards(trace, &window);
        let energy = energy(trace, &window).ok();
        found.energy_disagreement = energy.and_then(|energy| energy.disagreement());
        let devices = 0..trace.devices.len();
        found.unsettled = devices
            .into_iter()
            .any(|device| unsettled(trace, &window, device));
        found.shared_board = trace.devices.iter().any(|info| {
            let slice = info.details.slice_of.as_ref();
            slice.is_some_and(|of| !of.alone)
        });
        found
    }

    /// Whether too much of the window was not seen.
    pub fn has_hole(&self) -> bool {
        self.bracketed
            && (self
                .largest_gap_s
                .is_some_and(|gap| gap > LARGEST_GAP.as_secs_f64())
                || self.coverage < LEAST_COVERAGE)
    }

    /// Whether counter and integral are too far apart.
    pub fn energy_disagrees(&self) -> bool {
        self.energy_disagreement
            .is_some_and(|share| share > MAX_DISAGREEMENT)
    }

    /// Whether the driver held the clocks down because of heat for too long.
    pub fn is_hot(&self) -> bool {
        self.sw_thermal_share
            .is_some_and(|share| share > MAX_SW_THERMAL)
    }

    /// Whether the clock varied without the power limit as its reason.
    pub fn clock_varies(&self) -> bool {
        let capped = self
            .power_cap_share
            .is_some_and(|share| share > POWER_CAPPED);
        !capped && self.clock_cv.is_some_and(|cv| cv > MAX_CLOCK_CV)
    }

    /// Why no energy is to be reported of this window.
    pub fn energy_withheld(&self) -> Option<&'static str> {
        if self.shared_board {
            Some("a MIG slice shares its board with others, and power is known of the board alone")
        } else if self.counter_backwards {
            Some("the energy counter ran backwards: the driver was reloaded")
        } else if self.has_hole() {
            Some("the samples have a hole")
        } else if self.energy_disagrees() {
            Some("energy counter and power readings contradict each other")
        } else if self.is_hot() {
            Some("heat held the GPU clocks down")
        } else if self.clock_varies() {
            Some("the GPU clocks varied")
        } else {
            None
        }
    }

    fn events(&mut self, trace: &GpuTrace) {
        for event in &trace.events {
            match &event.kind {
                EventKind::Lost { detail } => self.lost = Some(detail.clone()),
                EventKind::EccUncorrected => self.ecc_uncorrected += 1,
                EventKind::Foreign { pid, program } => {
                    let program = program.as_deref().unwrap_or("unknown program");
                    self.foreign.push(format!("{pid} ({program})"));
                }
                EventKind::Xid { code } => {
                    let words = xid_in_words(*code);
                    let class = xid(*code).map(|known| known.class);
                    let list = if class == Some(XidClass::Fatal) {
                        &mut self.fatal
                    } else {
                        &mut self.errors
                    };
                    if !list.contains(&words) {
                        list.push(words);
                    }
                }
            }
        }
    }

    fn coverage(&mut self, trace: &GpuTrace, window: &Range<Duration>) {
        let around = bracketing(&trace.samples, window);
        self.bracketed = around.is_some();
        let samples = around.unwrap_or(&trace.samples);
        let gaps = samples.iter().zip(samples.iter().skip(1));
        let length = |(a, b): (&GpuSample, &GpuSample)| b.at.saturating_sub(a.at);
        self.largest_gap_s = gaps.clone().map(length).max().map(|gap| gap.as_secs_f64());
        let interval = Duration::from_secs_f64(trace.cost.interval_ms.max(0.0) / 1e3);
        let close = CLOSE.max(interval.mul_f64(CLOSE_INTERVALS));
        let seen: Duration = gaps
            .filter(|gap| length(*gap) <= close)
            .map(|(a, b)| {
                let (from, to) = (a.at.max(window.start), b.at.min(window.end));
                to.saturating_sub(from)
            })
            .sum();
        let whole = window.end.saturating_sub(window.start).as_secs_f64();
        self.coverage = if whole > 0.0 {
            seen.as_secs_f64() / whole
        } else {
            1.0
        };
    }

    fn throttling(&mut self, trace: &GpuTrace, around: &[GpuSample]) {
        let worst = |counter: fn(&ThrottleTimes) -> Option<u64>, bit: u64| {
            largest(trace, |device| held(around, device, counter, bit))
        };
        self.power_cap_share = worst(|times| times.power_cap_ns, POWER_CAP);
        self.sw_thermal_share = worst(|times| times.sw_thermal_ns, SW_THERMAL);
        self.hw_thermal_share = worst(|times| times.hw_thermal_ns, HW_THERMAL);
        self.power_brake_share = worst(|times| times.power_brake_ns, POWER_BRAKE);
    }
}

fn largest(trace: &GpuTrace, of: impl Fn(usize) -> Option<f64>) -> Option<f64> {
    (0..trace.devices.len()).filter_map(of).reduce(f64::max)
}

/// The samples in a window on the trace's clock.
fn inside<'a>(
    trace: &'a GpuTrace,
    window: &Range<Duration>,
) -> impl Iterator<Item = &'a GpuSample> {
    let window = window.clone();
    let samples = trace.samples.iter();
    samples.filter(move |sample| window.contains(&sample.at))
}

/// Uncorrected errors between the edges. A counter that fell was reset with the driver.
fn grown(trace: &GpuTrace) -> u64 {
    let edges = trace.first.iter().zip(&trace.last);
    edges
        .filter_map(|(first, last)| {
            let before = first.ecc_uncorrected?;
            last.ecc_uncorrected?.checked_sub(before)
        })
        .sum()
}

/// For what share of the time something held the clocks down: exact by the counter, else by the
/// readings' bits.
fn held(
    samples: &[GpuSample],
    device: usize,
    counter: fn(&ThrottleTimes) -> Option<u64>,
    bit: u64,
) -> Option<f64> {
    let reading = |sample: &GpuSample| sample.readings.get(device).copied();
    let total = |sample: &GpuSample| counter(&reading(sample)?.throttled);
    if let Some((first, last)) = samples.first().zip(samples.last())
        && let Some((before, after)) = total(first).zip(total(last))
    {
        let lasted = last.at.saturating_sub(first.at).as_secs_f64() * 1e9;
        return (lasted > 0.0).then(|| after.saturating_sub(before) as f64 / lasted);
    }
    let bits: Option<Vec<f64>> = samples
        .iter()
        .map(|sample| {
            let reasons = reading(sample)?.throttle_reasons?;
            Some(f64::from(u8::from(reasons & bit != 0)))
        })
        .collect();
    bits.as_deref().and_then(mean)
}

/// Over the readings in which the GPU was used.
fn clock_cv<'a>(samples: impl Iterator<Item = &'a GpuSample>, device: usize) -> Option<f64> {
    let used = |reading: &&GpuReading| reading.utilisation_pct.is_none_or(|used| used > 0);
    let clocks: Vec<f64> = samples
        .filter_map(|sample| sample.readings.get(device))
        .filter(used)
        .filter_map(|reading| reading.sm_clock_mhz.map(f64::from))
        .collect();
    let centre = mean(&clocks).filter(|centre| *centre > 0.0)?;
    Some(deviation(&clocks)? / centre)
}

/// Whether temperature or clock still moved during the first ten seconds: their first and last
/// quarters are compared.
fn unsettled(trace: &GpuTrace, window: &Range<Duration>, device: usize) -> bool {
    if window.end.saturating_sub(window.start) < SETTLED_OVER {
        return false;
    }
    let quarter = SETTLED_OVER / 4;
    let means = |read: fn(&GpuReading) -> Option<u32>| {
        let over = |from: Duration| {
            let part = from..from + quarter;
            let values: Vec<f64> = inside(trace, &part)
                .filter_map(|sample| read(sample.readings.get(device)?).map(f64::from))
                .collect();
            mean(&values)
        };
        over(window.start).zip(over(window.start + quarter * 3))
    };
    let heat = means(|reading| reading.temperature_c);
    let clock = means(|reading| reading.sm_clock_mhz);
    heat.is_some_and(|(first, last)| (last - first).abs() > SETTLED_KELVIN)
        || clock.is_some_and(|(first, last)| (last - first).abs() > SETTLED_CLOCK * first)
}

#[cfg(test)]
mod tests {
    use super::{
        super::gpu::tests::{ms, trace},
        *,
    };
    use crate::telemetry::{GpuCounters, GpuEvent, SliceOf};

    fn calm(second: u64) -> GpuReading {
        GpuReading {
            utilisation_pct: Some(90),
            temperature_c: Some(60),
            sm_clock_mhz: Some(1500),
            power_mw: Some(100_000),
            energy_mj: Some(second * 100_000),
            throttled: ThrottleTimes {
                power_cap_ns: Some(0),
                sw_thermal_ns: Some(0),
                hw_thermal_ns: Some(0),
                power_brake_ns: Some(0),
            },
            ..GpuReading::default()
        }
    }

    fn of(trace: &GpuTrace) -> GpuFindings {
        GpuFindings::of(trace, &ms(2000, 12_000))
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn a_calm_gpu_gives_no_reason() {
        let found = of(&trace(2, calm));
        assert!(found.bracketed && !found.has_hole() && !found.unsettled);
        near(Some(found.coverage), 1.0);
        near(found.largest_gap_s, 1.0);
        near(found.clock_cv, 0.0);
        near(found.energy_disagreement, 0.0);
        assert_eq!(found.energy_withheld(), None);
        assert_eq!((found.lost, found.ecc_uncorrected), (None, 0));
    }

    #[test]
    fn counters_give_exact_shares_of_the_worst_gpu() {
        let mut hot = trace(2, calm);
        for sample in &mut hot.samples {
            // 60 ms in each second.
            let seconds = sample.at.as_secs();
            sample.readings[1].throttled.sw_thermal_ns = Some(seconds * 60_000_000);
        }
        let found = of(&hot);
        near(found.sw_thermal_share, 0.06);
        near(found.hw_thermal_share, 0.0);
        assert!(found.is_hot());
        assert!(found.energy_withheld().unwrap().contains("heat"));
    }

    #[test]
    fn without_counters_the_readings_bits_are_counted() {
        let bits = trace(1, |second| GpuReading {
            throttled: ThrottleTimes::default(),
            throttle_reasons: Some(if second < 4 { 0x44 } else { 0x4 }),
            ..calm(second)
        });
        let found = of(&bits);
        // Seconds 2 to 12: two of eleven.
        near(found.hw_thermal_share, 2.0 / 11.0);
        near(found.power_cap_share, 1.0);
        near(found.power_brake_share, 0.0);
    }

    #[test]
    fn a_varying_clock_needs_the_power_limit_as_its_reason() {
        let wild = |second: u64| GpuReading {
            sm_clock_mhz: Some(if second.is_multiple_of(2) { 1400 } else { 1600 }),
            ..calm(second)
        };
        let found = of(&trace(1, wild));
        // Ten readings, half 100 above and half 100 below: sd = 100·√(10/9).
        near(found.clock_cv, 100.0 * (10.0_f64 / 9.0).sqrt() / 1500.0);
        assert!(found.clock_varies());
        let capped = trace(1, |second| GpuReading {
            throttled: ThrottleTimes {
                power_cap_ns: Some(second * 500_000_000),
                ..ThrottleTimes::default()
            },
            ..wild(second)
        });
        assert!(!of(&capped).clock_varies());
        // While nothing runs the clock may do as it likes.
        let idle = trace(1, |second| GpuReading {
            utilisation_pct: Some(0),
            ..wild(second)
        });
        assert_eq!(of(&idle).clock_cv, None);
    }

    #[test]
    fn holes_and_missing_edges_are_seen() {
        let mut hole = trace(1, calm);
        hole.samples.drain(5..8);
        let found = of(&hole);
        near(found.largest_gap_s, 4.0);
        near(Some(found.coverage), 0.6);
        assert!(found.has_hole());
        let open = GpuFindings::of(&trace(1, calm), &ms(15_000, 25_000));
        assert!(!open.bracketed);
        // A source that tells every two seconds sees all there is to see of it.
        let mut slow = trace(1, calm);
        slow.cost.interval_ms = 1000.0;
        slow.samples
            .retain(|sample| sample.at.as_secs().is_multiple_of(2));
        near(Some(of(&slow).coverage), 1.0);
    }

    #[test]
    fn events_are_sorted_by_what_they_mean() {
        let mut eventful = trace(1, calm);
        let event = |kind| GpuEvent {
            at: Duration::from_secs(3),
            gpu: Some(0),
            kind,
        };
        eventful.events = vec![
            event(EventKind::Xid { code: 79 }),
            event(EventKind::Xid { code: 79 }),
            event(EventKind::Xid { code: 31 }),
            event(EventKind::EccUncorrected),
            event(EventKind::Foreign {
                pid: 4711,
                program: Some("python".to_owned()),
            }),
            event(EventKind::Lost {
                detail: "gone".to_owned(),
            }),
        ];
        let errors = |count| GpuCounters {
            ecc_uncorrected: Some(count),
            energy_mj: None,
        };
        eventful.first = vec![errors(5)];
        eventful.last = vec![errors(7)];
        let found = of(&eventful);
        assert_eq!(found.fatal, ["XID 79 (the GPU fell off the bus)"]);
        assert_eq!(found.errors, ["XID 31 (GPU memory page fault)"]);
        assert_eq!(found.foreign, ["4711 (python)"]);
        assert_eq!(
            (found.ecc_uncorrected, found.lost.as_deref()),
            (3, Some("gone"))
        );
    }

    #[test]
    fn what_still_moves_is_not_settled() {
        let warming = |kelvin: u32| {
            let found = trace(1, |second| GpuReading {
                temperature_c: Some(if second < 7 { 60 } else { 60 + kelvin }),
                ..calm(second)
            });
            of(&found).unsettled
        };
        assert!(!warming(1) && warming(2));
        let clocking = |mhz: u32| {
            let found = trace(1, |second| GpuReading {
                sm_clock_mhz: Some(if second < 7 { 1500 } else { 1500 - mhz }),
                ..calm(second)
            });
            of(&found).unsettled
        };
        assert!(!clocking(15) && clocking(16));
    }

    #[test]
    fn energy_that_contradicts_itself_or_is_not_its_own_is_withheld() {
        let wrong = trace(1, |second| GpuReading {
            energy_mj: Some(second * 94_000),
            ..calm(second)
        });
        let found = of(&wrong);
        near(found.energy_disagreement, 6.0 / 94.0);
        assert!(found.energy_withheld().unwrap().contains("contradict"));
        let mut slice = trace(1, calm);
        slice.devices[0].details.slice_of = Some(SliceOf {
            uuid: "GPU-0".to_owned(),
            alone: false,
        });
        assert!(of(&slice).energy_withheld().unwrap().contains("slice"));
        slice.devices[0].details.slice_of.as_mut().unwrap().alone = true;
        assert_eq!(of(&slice).energy_withheld(), None);
    }
}
