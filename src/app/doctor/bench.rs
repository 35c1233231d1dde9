//! `kitt doctor --nvml-bench`: what reading a GPU costs on this host, and in which steps its
//! energy counter grows.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::telemetry::{GpuSource, TelemetryError};

/// Questions of each kind.
const CALLS: usize = 1_000;
/// How long the energy counter is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Bench {
    /// The source, such as `nvml`.
    source: &'static str,
    gpus: usize,
    /// One line per kind of question; each asks all GPUs.
    questions: Vec<Question>,
    /// Median time between two steps of the first GPU's energy counter, milliseconds.
    energy_step_ms: Option<f64>,
}

/// Times of one kind of question.
#[derive(Debug, Serialize)]
struct Question {
    name: &'static str,
    calls: usize,
    p50_us: f64,
    p99_us: f64,
}

/// Asks everything many times. A source whose readings come at their own pace (`nvidia-smi`)
/// only tells what it has: its times are no costs.
///
/// # Errors
/// The source stopped answering.
pub(super) fn run(source: &mut dyn GpuSource) -> Result<Bench, TelemetryError> {
    Ok(Bench {
        source: source.name(),
        gpus: source.devices().len(),
        questions: vec![
            question("readings", || source.sample().map(drop))?,
            question("status", || source.status().map(drop))?,
            question("counters", || source.counters().map(drop))?,
        ],
        energy_step_ms: energy_step(source)?,
    })
}

fn question(
    name: &'static str,
    mut ask: impl FnMut() -> Result<(), TelemetryError>,
) -> Result<Question, TelemetryError> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let began = Instant::now();
        ask()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(Question {
        name,
        calls: times.len(),
        p50_us: of_rank(&times, CALLS / 2),
        p99_us: of_rank(&times, CALLS * 99 / 100),
    })
}

fn of_rank(sorted: &[f64], rank: usize) -> f64 {
    sorted.get(rank).copied().unwrap_or_default()
}

/// Watches the counter as fast as it can be read; `None` when it does not move.
fn energy_step(source: &mut dyn GpuSource) -> Result<Option<f64>, TelemetryError> {
    let began = Instant::now();
    let mut last: Option<(u64, Option<Instant>)> = None;
    let mut gaps = Vec::new();
    while began.elapsed() < WATCHED {
        let readings = source.sample()?.unwrap_or_default();
        let Some(energy) = readings.first().and_then(|reading| reading.energy_mj) else {
            return Ok(None);
        };
        match last {
            Some((before, stepped)) if before != energy => {
                let now = Instant::now();
                gaps.extend(stepped.map(|then| (now - then).as_secs_f64() * 1e3));
                last = Some((energy, Some(now)));
            }
            Some(_) => {}
            None => last = Some((energy, None)),
        }
    }
    gaps.sort_by(f64::total_cmp);
    Ok(gaps.get(gaps.len() / 2).copied())
}

/// Lines for people.
pub(super) fn people(bench: &Bench) -> String {
    let mut lines = vec![format!(
        "\nreading {} GPU(s) through {}:",
        bench.gpus, bench.source
    )];
    lines.extend(bench.questions.iter().map(|one| {
        format!(
            "  {:9} {:9.1} µs p50 {:9.1} µs p99 of {}",
            one.name, one.p50_us, one.p99_us, one.calls
        )
    }));
    lines.push(match bench.energy_step_ms {
        Some(step) => format!("  the energy counter grows every {step:.1} ms"),
        None => "  the energy counter does not move or is not there".to_owned(),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{GpuInfo, GpuReading};

    /// A GPU whose counter steps every 20 ms.
    struct Stepping {
        began: Instant,
        infos: Vec<GpuInfo>,
    }

    impl GpuSource for Stepping {
        fn name(&self) -> &'static str {
            "stepping"
        }

        fn devices(&self) -> &[GpuInfo] {
            &self.infos
        }

        fn sample(&mut self) -> Result<Option<Vec<GpuReading>>, TelemetryError> {
            let steps = self.began.elapsed().as_millis() / 20;
            Ok(Some(vec![GpuReading {
                energy_mj: u64::try_from(steps).ok(),
                ..GpuReading::default()
            }]))
        }
    }

    #[test]
    fn costs_and_the_energy_step_are_measured() {
        let mut source = Stepping {
            began: Instant::now(),
            infos: vec![GpuInfo::default()],
        };
        let bench = run(&mut source).unwrap();
        let step = bench.energy_step_ms.unwrap();
        assert!((step - 20.0).abs() < 5.0, "{step}");
        assert!(
            bench
                .questions
                .iter()
                .all(|one| one.calls == 1_000 && one.p50_us <= one.p99_us)
        );
        assert!(people(&bench).contains("through stepping"));
    }
}
