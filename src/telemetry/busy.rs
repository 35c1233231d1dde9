//! Whether somebody else uses the GPUs, asked before the engine starts.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    GpuInfo, GpuReading, GpuSource, GpuStatus, Owner, foreign, open_source, processes::program,
};
use crate::{context::TelemetryChoice, engine::GpuSet};

/// Memory that a free GPU may have in use: leftovers of the driver, a desktop's share.
const FREE_MEMORY: u64 = 1_000 << 20;
/// The same as a share of all memory, for GPUs whose driver keeps more for itself.
const FREE_SHARE: f64 = 0.02;
/// A free GPU is not used more than this, per cent, …
const FREE_UTILISATION: u32 = 5;
/// … for as long as this.
const OBSERVED: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(200);

/// Who or what keeps the GPUs busy, in words; `None` when they are free, when there are none, or
/// when nothing tells. Looks at processes, memory and, for three seconds, utilisation: call it
/// where blocking is allowed.
pub fn gpu_busy(gpus: &GpuSet) -> Option<String> {
    if gpus.is_none() {
        return None;
    }
    let mut source = open_source(&TelemetryChoice::Auto, gpus).ok()?;
    busy(source.as_mut(), OBSERVED)
}

fn busy(source: &mut dyn GpuSource, observed: Duration) -> Option<String> {
    let infos = source.devices().to_vec();
    let status = source.status().ok()?;
    if let Some(found) = infos.iter().zip(&status).find_map(used_by) {
        return Some(found);
    }
    let began = Instant::now();
    loop {
        let readings = source.sample().ok()?.unwrap_or_default();
        if let Some(found) = infos.iter().zip(&readings).find_map(occupied) {
            return Some(found);
        }
        if began.elapsed() >= observed {
            return None;
        }
        thread::sleep(EVERY.min(observed));
    }
}

fn used_by((info, status): (&GpuInfo, &GpuStatus)) -> Option<String> {
    let others = foreign(status.processes.as_deref()?, &Owner::Nobody);
    let other = others.first()?;
    let name = program(other.pid).unwrap_or_else(|| "unknown program".to_owned());
    let more = match others.len() {
        1 => String::new(),
        all => format!(" and {} others", all - 1),
    };
    Some(format!(
        "{} is used by process {} ({name}){more}",
        told(info),
        other.pid
    ))
}

fn occupied((info, reading): (&GpuInfo, &GpuReading)) -> Option<String> {
    let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
    let share = info
        .memory_total
        .map_or(0.0, |total| total as f64 * FREE_SHARE);
    let used = reading
        .memory_used
        .filter(|used| *used > FREE_MEMORY && *used as f64 > share);
    if let Some(used) = used {
        return Some(format!(
            "{} has {:.1} GiB of memory in use",
            told(info),
            gib(used)
        ));
    }
    let load = reading
        .utilisation_pct
        .filter(|load| *load >= FREE_UTILISATION)?;
    Some(format!("{} is used for {load} % of the time", told(info)))
}

/// By name and the beginning of the UUID, which is enough to tell GPUs of a host apart.
fn told(info: &GpuInfo) -> String {
    let uuid: String = info.uuid.chars().take(12).collect();
    format!("{} ({uuid})", info.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{GpuProcess, ProcessKind, TelemetryError};

    struct Fixed {
        infos: Vec<GpuInfo>,
        reading: GpuReading,
        processes: Option<Vec<GpuProcess>>,
    }

    impl GpuSource for Fixed {
        fn name(&self) -> &'static str {
            "fixed"
        }

        fn devices(&self) -> &[GpuInfo] {
            &self.infos
        }

        fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
            Ok(Some(vec![self.reading]))
        }

        fn status(&mut self) -> Result<Vec<GpuStatus>, TelemetryError> {
            Ok(vec![GpuStatus {
                processes: self.processes.clone(),
                ..GpuStatus::default()
            }])
        }
    }

    fn found(reading: GpuReading, pids: Option<&[u32]>) -> Option<String> {
        let process = |pid: &u32| GpuProcess {
            pid: *pid,
            kind: ProcessKind::Compute,
            memory: None,
            gpu_instance: None,
        };
        let mut source = Fixed {
            infos: vec![GpuInfo {
                uuid: "GPU-01234567-89ab".to_owned(),
                name: "Test GPU".to_owned(),
                memory_total: Some(80 << 30),
                ..GpuInfo::default()
            }],
            reading,
            processes: pids.map(|pids| pids.iter().map(process).collect()),
        };
        busy(&mut source, Duration::ZERO)
    }

    #[test]
    fn a_free_gpu_is_free() {
        let idle = GpuReading {
            memory_used: Some(900 << 20),
            utilisation_pct: Some(4),
            ..GpuReading::default()
        };
        assert_eq!(found(idle, Some(&[])), None);
        assert_eq!(found(GpuReading::default(), None), None);
        // A process that is not there any more uses nothing.
        assert_eq!(found(idle, Some(&[u32::MAX])), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_keeps_a_gpu_busy_is_named() {
        let parent = std::os::unix::process::parent_id();
        let process = found(GpuReading::default(), Some(&[parent])).unwrap();
        assert!(process.contains(&parent.to_string()), "{process}");
        assert!(process.starts_with("Test GPU (GPU-01234567)"), "{process}");
        let memory = GpuReading {
            memory_used: Some(5 << 30),
            ..GpuReading::default()
        };
        assert!(found(memory, None).unwrap().contains("5.0 GiB"));
        let load = GpuReading {
            utilisation_pct: Some(5),
            ..GpuReading::default()
        };
        assert!(found(load, None).unwrap().contains("5 %"));
    }
}
