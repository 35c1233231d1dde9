//! Collects the facts about the GPUs.

use std::{thread, time::Duration};

use super::gpu::{Gpu, Seen};
use crate::{
    context::TelemetryChoice,
    engine::GpuSet,
    telemetry::{
        self, GpuCounters, GpuInfo, GpuReading, GpuSource, GpuStatus, NoGpu, Owner, TelemetryError,
        ThrottleTimes,
    },
};

/// Between two readings of the throttle counters.
const BETWEEN: Duration = Duration::from_millis(250);
/// What holds clocks down although the GPU could run faster, in NVML's bit mask
/// (`nvmlClocksEventReason…`). The power cap is left out: it is normal.
const REASONS: [(u64, &str); 4] = [
    (0x08, "the hardware"),
    (0x20, "heat (driver)"),
    (0x40, "heat (hardware)"),
    (0x80, "the power supply"),
];

/// Opens the source that a run would take; one that is switched off is looked at all the same.
pub(super) fn open(choice: &TelemetryChoice) -> Result<Box<dyn GpuSource>, NoGpu> {
    let choice = if *choice == TelemetryChoice::Off {
        &TelemetryChoice::Auto
    } else {
        choice
    };
    telemetry::open_source(choice, &GpuSet::None)
}

/// The GPUs of this host as they are now.
pub(super) fn seen(opened: Result<&mut Box<dyn GpuSource>, &mut NoGpu>) -> Seen {
    let source = match opened {
        Ok(source) => source,
        Err(NoGpu::NoLibrary(detail)) => return Seen::NoLibrary(detail.clone()),
        Err(NoGpu::NoDriver(detail)) => return Seen::NoDriver(detail.clone()),
        Err(none) => return Seen::Nothing(none.to_string()),
    };
    match look(source.as_mut()) {
        Ok(gpus) => Seen::Gpus(gpus),
        Err(error) => Seen::Nothing(error.to_string()),
    }
}

fn look(source: &mut dyn GpuSource) -> Result<Vec<Gpu>, TelemetryError> {
    let first = source.sample()?.unwrap_or_default();
    thread::sleep(BETWEEN);
    let last = match source.sample() {
        Ok(readings) => readings.unwrap_or_default(),
        // A recording with a single reading.
        Err(TelemetryError::Ended) => Vec::new(),
        Err(error) => return Err(error),
    };
    let status = source.status()?;
    let counters = source.counters()?;
    let infos = source.devices().iter().enumerate();
    Ok(infos
        .map(|(place, info)| {
            let readings = (first.get(place), last.get(place));
            gpu(info, readings, status.get(place), counters.get(place))
        })
        .collect())
}

fn gpu(
    info: &GpuInfo,
    (first, last): (Option<&GpuReading>, Option<&GpuReading>),
    status: Option<&GpuStatus>,
    counters: Option<&GpuCounters>,
) -> Gpu {
    let details = &info.details;
    let slice = details.slice_of.as_ref();
    Gpu {
        uuid: info.uuid.clone(),
        name: info.name.clone(),
        driver: info.driver.clone(),
        cuda: info.cuda_driver.clone(),
        persistence: details.persistence,
        power_limit_mw: info.power_limit_mw,
        power_default_mw: details.power_default_mw,
        ecc_uncorrected: counters.and_then(|found| found.ecc_uncorrected),
        throttled: throttled(first, last),
        temperature_c: last.or(first).and_then(|reading| reading.temperature_c),
        processes: status.and_then(users),
        shared_board: slice.is_some_and(|slice| !slice.alone),
    }
}

fn users(status: &GpuStatus) -> Option<Vec<String>> {
    let foreign = telemetry::foreign(status.processes.as_deref()?, &Owner::Nobody);
    let word = |pid: u32| {
        let program = telemetry::program(pid).unwrap_or_else(|| "unknown program".to_owned());
        format!("process {pid} ({program})")
    };
    Some(foreign.iter().map(|process| word(process.pid)).collect())
}

/// By the counters where there are any, else by the bit mask of the moment.
fn throttled(first: Option<&GpuReading>, last: Option<&GpuReading>) -> Vec<&'static str> {
    let last = last.or(first);
    let mask = last
        .and_then(|reading| reading.throttle_reasons)
        .unwrap_or(0);
    let mut words: Vec<&'static str> = REASONS
        .iter()
        .filter(|(bit, _)| mask & bit != 0)
        .map(|(_, word)| *word)
        .collect();
    let counter = |read: fn(&ThrottleTimes) -> Option<u64>| {
        let (first, last) = (first?, last?);
        Some(read(&first.throttled)? < read(&last.throttled)?)
    };
    let grown = [
        (counter(|times| times.sw_thermal_ns), "heat (driver)"),
        (counter(|times| times.hw_thermal_ns), "heat (hardware)"),
        (counter(|times| times.power_brake_ns), "the power supply"),
    ];
    words.extend(
        grown
            .iter()
            .filter(|(grown, _)| *grown == Some(true))
            .map(|(_, word)| *word),
    );
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_is_told_by_counters_or_by_the_mask() {
        let counted = |ns: u64| GpuReading {
            throttled: ThrottleTimes {
                hw_thermal_ns: Some(ns),
                power_cap_ns: Some(ns),
                ..ThrottleTimes::default()
            },
            ..GpuReading::default()
        };
        let (still, grown) = (counted(5), counted(6));
        assert_eq!(throttled(Some(&still), Some(&grown)), ["heat (hardware)"]);
        assert!(throttled(Some(&still), Some(&still)).is_empty());
        let masked = GpuReading {
            throttle_reasons: Some(0x84),
            ..GpuReading::default()
        };
        assert_eq!(throttled(None, Some(&masked)), ["the power supply"]);
        assert!(throttled(None, None).is_empty());
    }
}
