//! Rules about the GPUs: whether they were fit, ours alone, unhindered and seen throughout.

use super::{Findings, Said, percent};
use crate::measure::{Validity, gpu_findings::GpuFindings};

/// The hardware held the clocks down for a larger share of the window than this.
const MAX_HARDWARE: f64 = 0.01;
/// The power limit is worth saying from this share on.
const CAPPED_NOTED: f64 = 0.5;

/// What makes the measurement void, where there is something.
fn void(note: Option<String>) -> Said {
    Some((Some(Validity::GpuInvalid), note?))
}

fn gpu<'a>(found: &Findings<'a>) -> Option<&'a GpuFindings> {
    found.gpu
}

pub(super) fn lost(found: &Findings<'_>) -> Said {
    let detail = gpu(found)?.lost.as_deref();
    void(
        detail
            .map(|detail| format!("a GPU stopped answering ({detail}): do not retry on this host")),
    )
}

pub(super) fn fatal_errors(found: &Findings<'_>) -> Said {
    let fatal = &gpu(found)?.fatal;
    void((!fatal.is_empty()).then(|| {
        format!(
            "a GPU reported {}: do not retry on this host",
            fatal.join(", ")
        )
    }))
}

pub(super) fn memory_errors(found: &Findings<'_>) -> Said {
    let errors = gpu(found)?.ecc_uncorrected;
    void((errors > 0).then(|| {
        format!("{errors} memory errors of a GPU could not be corrected: do not retry on this host")
    }))
}

pub(super) fn foreign(found: &Findings<'_>) -> Said {
    let others = &gpu(found)?.foreign;
    void((!others.is_empty()).then(|| {
        format!(
            "others computed on the GPUs meanwhile: process {}",
            others.join(", ")
        )
    }))
}

pub(super) fn hardware_thermal(found: &Findings<'_>) -> Said {
    let share = gpu(found)?.hw_thermal_share;
    void(share.filter(|share| *share > MAX_HARDWARE).map(|share| {
        format!(
            "a GPU was too hot: its hardware held the clocks down for {} of the time; look at \
             the cooling",
            percent(share)
        )
    }))
}

pub(super) fn power_brake(found: &Findings<'_>) -> Said {
    let share = gpu(found)?.power_brake_share;
    void(share.filter(|share| *share > MAX_HARDWARE).map(|share| {
        format!(
            "the power supply held a GPU's clocks down for {} of the time",
            percent(share)
        )
    }))
}

pub(super) fn unbracketed(found: &Findings<'_>) -> Said {
    let seen = gpu(found)?.bracketed;
    let note = "the GPUs were not watched from the beginning of the window to its end";
    void((!seen).then(|| note.to_owned()))
}

pub(super) fn counter_backwards(found: &Findings<'_>) -> Said {
    let backwards = gpu(found)?.counter_backwards;
    let note = "a GPU's energy counter ran backwards: the driver was reloaded";
    void(backwards.then(|| note.to_owned()))
}

/// Degraded: latencies hold, what is measured of the GPU does not.
pub(super) fn hole(found: &Findings<'_>) -> Said {
    let gpu = gpu(found)?;
    gpu.has_hole().then(|| {
        let gap = gpu.largest_gap_s.unwrap_or_default();
        let note = format!(
            "the GPU readings have a hole of {gap:.1} s and cover {} of the window: nothing is \
             averaged over them",
            percent(gpu.coverage)
        );
        (None, note)
    })
}

pub(super) fn software_thermal(found: &Findings<'_>) -> Said {
    let gpu = gpu(found)?;
    gpu.is_hot().then(|| {
        let note = format!(
            "heat made the driver hold a GPU's clocks down for {} of the time: speeds are those \
             of a hot GPU",
            percent(gpu.sw_thermal_share.unwrap_or_default())
        );
        (None, note)
    })
}

pub(super) fn clock(found: &Findings<'_>) -> Said {
    let gpu = gpu(found)?;
    gpu.clock_varies().then(|| {
        let note = format!(
            "a GPU's clock varied by {} although its power limit did not hold it down",
            percent(gpu.clock_cv.unwrap_or_default())
        );
        (None, note)
    })
}

pub(super) fn energy(found: &Findings<'_>) -> Said {
    let gpu = gpu(found)?;
    gpu.energy_disagrees().then(|| {
        let note = format!(
            "energy counter and power readings are {} apart",
            percent(gpu.energy_disagreement.unwrap_or_default())
        );
        (None, note)
    })
}

pub(super) fn unsettled(found: &Findings<'_>) -> Said {
    let moving = gpu(found)?.unsettled;
    moving.then(|| {
        let note = "the GPUs were still warming up when the window began: a longer warm-up gives \
                    steadier numbers";
        (None, note.to_owned())
    })
}

pub(super) fn errors(found: &Findings<'_>) -> Said {
    let errors = &gpu(found)?.errors;
    (!errors.is_empty()).then(|| {
        let note = format!("a GPU reported {}", errors.join(", "));
        (None, note)
    })
}

/// Normal on boards at full load; the limit itself is part of what makes results comparable.
pub(super) fn power_capped(found: &Findings<'_>) -> Said {
    let share = gpu(found)?.power_cap_share;
    let share = share.filter(|share| *share > CAPPED_NOTED)?;
    let note = format!(
        "the GPUs ran at their power limit for {} of the time",
        percent(share)
    );
    Some((None, note))
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{by, says, silent},
        *,
    };

    fn fine() -> GpuFindings {
        GpuFindings {
            bracketed: true,
            coverage: 1.0,
            ..GpuFindings::default()
        }
    }

    fn judged(gpu: &GpuFindings) -> (Validity, String) {
        // The findings outlive the judgement.
        let gpu: &'static GpuFindings = Box::leak(Box::new(gpu.clone()));
        by(|found| found.gpu = Some(gpu))
    }

    #[test]
    fn a_fine_gpu_is_not_mentioned() {
        silent(&judged(&fine()));
    }

    #[test]
    fn what_breaks_a_gpu_voids_the_measurement() {
        let broken = |change: fn(&mut GpuFindings), part: &str| {
            let mut gpu = fine();
            change(&mut gpu);
            says(&judged(&gpu), Validity::GpuInvalid, part);
        };
        broken(
            |gpu| gpu.lost = Some("fell off".into()),
            "do not retry on this host",
        );
        broken(
            |gpu| gpu.fatal = vec!["XID 79".into()],
            "XID 79: do not retry on this host",
        );
        broken(|gpu| gpu.ecc_uncorrected = 2, "2 memory errors");
        broken(
            |gpu| gpu.foreign = vec!["7 (python)".into()],
            "process 7 (python)",
        );
        broken(|gpu| gpu.hw_thermal_share = Some(0.011), "1.1 %");
        broken(|gpu| gpu.power_brake_share = Some(0.02), "power supply");
        broken(
            |gpu| gpu.bracketed = false,
            "not watched from the beginning",
        );
        broken(|gpu| gpu.counter_backwards = true, "ran backwards");
    }

    #[test]
    fn up_to_the_limit_hardware_may_hold_clocks_down() {
        let gpu = GpuFindings {
            hw_thermal_share: Some(0.01),
            power_brake_share: Some(0.01),
            ..fine()
        };
        silent(&judged(&gpu));
    }

    #[test]
    fn what_degrades_is_said_and_voids_nothing() {
        let degraded = |change: fn(&mut GpuFindings), part: &str| {
            let mut gpu = fine();
            change(&mut gpu);
            says(&judged(&gpu), Validity::Valid, part);
        };
        degraded(|gpu| gpu.largest_gap_s = Some(3.1), "hole of 3.1 s");
        degraded(|gpu| gpu.coverage = 0.94, "cover 94.0 %");
        degraded(|gpu| gpu.sw_thermal_share = Some(0.051), "5.1 %");
        degraded(|gpu| gpu.clock_cv = Some(0.031), "varied by 3.1 %");
        degraded(|gpu| gpu.energy_disagreement = Some(0.06), "6.0 % apart");
        degraded(|gpu| gpu.unsettled = true, "warming up");
        degraded(|gpu| gpu.errors = vec!["XID 31".into()], "reported XID 31");
        degraded(
            |gpu| gpu.power_cap_share = Some(0.6),
            "power limit for 60.0 %",
        );
        let within = GpuFindings {
            largest_gap_s: Some(3.0),
            coverage: 0.95,
            sw_thermal_share: Some(0.05),
            clock_cv: Some(0.03),
            energy_disagreement: Some(0.05),
            power_cap_share: Some(0.5),
            ..fine()
        };
        silent(&judged(&within));
    }
}
