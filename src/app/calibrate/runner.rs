//! `kitt calibrate runner`: identical sides in pairs, measured as `kitt ci run` measures a change.
//!
//! What they differ by is chance, or the slot a side runs in. Chance becomes the noise profile; a
//! slot that favours a side is refused, since it would be taken for a change.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::aligned;
use crate::{
    app::{
        clock,
        measure::{self, Start},
        out,
        pairs::{Course, Forecast, Sides},
        report::{self, Judgement},
        signal::Stop,
    },
    cli::RunnerArgs,
    context::{self, EnvSnapshot, Inputs},
    error::Error,
    exit::Exit,
    results::{BASELINE_DIR, Fingerprint, NOISE_FILE, NoiseFile, NoiseSource, Side, write_noise},
    store,
    verdict::{Levels, Slot, slots},
};

/// Fewer pairs than this tell too little; spoiled ones do not count.
const FEWEST: usize = 8;
/// From this run-to-run variation on, twelve pairs do not resolve 5 %: the runner needs care
/// (`research/regression-statistics.md` §4.3).
const NOISY: f64 = 0.03;

/// What a runner is like.
#[derive(Debug, Serialize)]
struct Calibration {
    /// Whether it may be used: no slot is biased, and there are enough pairs.
    accepted: bool,
    /// Pairs that count, of the metric that has the fewest.
    pairs: usize,
    /// Why it is refused; empty when it is not.
    refused: Vec<String>,
    /// What would make it better.
    advice: Vec<String>,
    /// Where the profile was written.
    written: Vec<PathBuf>,
    /// Every metric that was measured in pairs.
    metrics: Vec<Slot>,
}

/// Measures the pairs, judges them, writes the profile.
///
/// # Errors
/// A run fails, or a file cannot be written.
pub(in crate::app) async fn runner(
    args: &RunnerArgs,
    env: &EnvSnapshot,
    stop: &Stop,
) -> Result<Exit, Error> {
    let inputs = inputs(args, env)?;
    let dir = &args.output;
    measure_pairs(&inputs, dir, args.pairs, stop).await?;
    let Judgement {
        current, decision, ..
    } = report::judge(dir, None, &inputs)?;
    let whole = Levels {
        alpha: inputs.policy.alpha,
        beta: inputs.policy.beta,
    };
    let mut calibration = judge(slots(&decision.metrics, whole)?);
    if calibration.accepted
        && let Some(conditions) = &current.fingerprint
    {
        calibration.written = keep(&calibration.metrics, conditions, &inputs, dir)?;
    }
    if args.json {
        for why in &calibration.refused {
            tracing::error!("{why}");
        }
        out::text(&serde_json::to_string_pretty(&calibration).unwrap_or_default());
    } else {
        out::text(&words(&calibration));
    }
    Ok(if calibration.accepted {
        Exit::Success
    } else {
        Exit::Invalid
    })
}

fn inputs(args: &RunnerArgs, env: &EnvSnapshot) -> Result<Inputs, Error> {
    let mut typed = args.settings.0.clone();
    typed.insert("pairs", args.pairs.to_string());
    if let Some(path) = &args.noise_profile {
        typed.insert("noise-profile", path.display().to_string());
    }
    let mut inputs = context::resolve(&typed, env)?;
    // Who calibrates wants all pairs, however long they take, and no past verdicts in them.
    inputs.against.time_budget = std::time::Duration::MAX;
    inputs.against.history = None;
    // Standard output belongs to the figures alone.
    inputs.publish.files.commands &= !args.json;
    Ok(inputs)
}

/// Both sides by the same plan, in turn, on fresh servers.
async fn measure_pairs(inputs: &Inputs, dir: &Path, most: u32, stop: &Stop) -> Result<(), Error> {
    let beside = dir.join(BASELINE_DIR);
    let wrong = |source| Error::Write {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(wrong)?;
    // A profile of an earlier calibration would speak for this one, should it be refused.
    match std::fs::remove_file(dir.join(NOISE_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrong(error)),
        Ok(()) | Err(_) => {}
    }
    let current = Start::new(inputs, dir).begin(measure::prepare(&inputs.measure)?)?;
    let baseline = Start {
        side: Side::Baseline,
        beside: Some(&current),
        ..Start::new(inputs, &beside)
    };
    let baseline = baseline.begin(measure::prepare(&inputs.measure)?)?;
    let sides = Sides { baseline, current };
    let forecast = Forecast {
        run: None,
        reach: None,
        most,
    };
    let course = Course::new(inputs, sides, forecast, stop).without_stopping();
    Box::pin(course.measure(true)).await?;
    Ok(())
}

/// Whether these slots will do, and what to do about them.
fn judge(metrics: Vec<Slot>) -> Calibration {
    let gating = || metrics.iter().filter(|slot| slot.gating);
    let pairs = gating().map(|slot| slot.pairs).min().unwrap_or(0);
    let mut refused: Vec<String> = gating().filter(|slot| slot.biased).map(bias).collect();
    if pairs < FEWEST {
        refused.push(format!(
            "only {pairs} pairs count and {FEWEST} are needed: see the log for what spoiled the \
             others"
        ));
    }
    Calibration {
        accepted: refused.is_empty(),
        pairs,
        refused,
        advice: advice(&metrics),
        written: Vec::new(),
        metrics,
    }
}

fn bias(slot: &Slot) -> String {
    format!(
        "{} of {} is biased: identical sides differ by {} (95 % interval {} … {}), and up to ±{} \
         would be harmless. Something favours one side: another job on this host, clocks that \
         rise or fall, caches or disks that only one side finds warm. Find it before this runner \
         gates anything",
        slot.label,
        slot.scenario,
        signed(slot.difference),
        signed(slot.interval.0),
        signed(slot.interval.1),
        percent(slot.harmless),
    )
}

fn advice(metrics: &[Slot]) -> Vec<String> {
    let gating = || metrics.iter().filter(|slot| slot.gating);
    let mut advice = Vec::new();
    let noisy = gating().max_by(|a, b| a.run_spread.total_cmp(&b.run_spread));
    if let Some(slot) = noisy.filter(|slot| slot.run_spread > NOISY) {
        advice.push(format!(
            "{} of {} varies by {} from run to run, more than {}: lock the GPU's clocks \
             (nvidia-smi -lgc), keep other jobs off GPU and processors, send prompts and answers \
             of fixed length, warm up longer",
            slot.label,
            slot.scenario,
            percent(slot.run_spread),
            percent(NOISY),
        ));
    }
    for slot in gating().filter(|slot| is_underpowered(slot)) {
        advice.push(format!(
            "{} pairs cannot prove a worsening of {} by {} here, only one of {}: more requests per \
             run help latencies, a quieter runner helps all, and a wider gate_effect is honest",
            slot.pairs,
            slot.label,
            percent(slot.gate_effect),
            percent(slot.resolvable.unwrap_or_default()),
        ));
    }
    let open: Vec<&str> = gating()
        .filter(|slot| slot.open && !slot.biased)
        .map(|slot| slot.label.as_str())
        .collect();
    if !open.is_empty() {
        advice.push(format!(
            "a bias of more than is harmless is neither seen nor ruled out for {}: more pairs \
             (--pairs 30) tell",
            open.join(", ")
        ));
    }
    advice
}

fn is_underpowered(slot: &Slot) -> bool {
    let resolvable = slot.resolvable.unwrap_or_default();
    resolvable > slot.gate_effect
}

/// Writes the profile beside the results and, where one is named, in place of it.
fn keep(
    metrics: &[Slot],
    conditions: &Fingerprint,
    inputs: &Inputs,
    dir: &Path,
) -> Result<Vec<PathBuf>, Error> {
    let now = clock::timestamp();
    let mut file = NoiseFile::new(conditions, NoiseSource::Calibration, now);
    file.learned(now, |file| {
        for slot in metrics {
            if let (Some(log_sd_pair), Some(df)) = (slot.log_sd_pair, slot.df) {
                let scenario = file.metrics.entry(slot.scenario.clone()).or_default();
                let noise = crate::compare::Noise { log_sd_pair, df };
                scenario.insert(slot.metric.clone(), noise);
            }
        }
    });
    write_noise(dir, NOISE_FILE, &file)?;
    let mut written = vec![dir.join(NOISE_FILE)];
    if let Some(path) = &inputs.against.noise_profile {
        store::replace_noise(path, &file)?;
        written.push(path.clone());
    }
    Ok(written)
}

/// A table and sentences.
fn words(calibration: &Calibration) -> String {
    let head = [
        "metric",
        "run to run",
        "difference (95 % interval)",
        "resolvable",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let gating = calibration.metrics.iter().filter(|slot| slot.gating);
    rows.extend(gating.map(cells));
    let mut lines = aligned(&rows);
    let others = calibration.metrics.len() + 1 - rows.len();
    if others > 0 {
        lines.push(format!(
            "and {others} metrics that do not gate: --json lists them"
        ));
    }
    lines.push(String::new());
    let pairs = calibration.pairs;
    if calibration.accepted {
        lines.push(format!(
            "accepted: in {pairs} pairs of identical sides no side was favoured"
        ));
    } else {
        let refused = calibration.refused.iter();
        lines.extend(refused.map(|why| format!("refused: {why}")));
    }
    let advice = calibration.advice.iter();
    lines.extend(advice.map(|advice| format!("advice: {advice}")));
    let written = calibration.written.iter();
    lines.extend(written.map(|path| format!("noise profile: {}", path.display())));
    lines.join("\n")
}

fn cells(slot: &Slot) -> Vec<String> {
    vec![
        format!("{} {}", slot.scenario, slot.metric),
        percent(slot.run_spread),
        format!(
            "{} ({} … {})",
            signed(slot.difference),
            signed(slot.interval.0),
            signed(slot.interval.1)
        ),
        slot.resolvable.map_or_else(|| "-".to_owned(), percent),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn signed(share: f64) -> String {
    format!("{:+.2} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot {
            scenario: "throughput".into(),
            metric: "output_tps".into(),
            label: "output throughput".into(),
            gating: true,
            pairs: 12,
            run_spread: 0.005,
            log_sd_pair: Some(0.007),
            df: Some(11.0),
            difference: 0.001,
            interval: (-0.003, 0.005),
            harmless: 0.005,
            biased: false,
            open: false,
            resolvable: Some(0.02),
            gate_effect: 0.05,
        }
    }

    #[test]
    fn a_good_runner_is_accepted_without_advice() {
        let calibration = judge(vec![slot()]);
        assert!(calibration.accepted && calibration.advice.is_empty());
        let said = words(&calibration);
        assert!(said.contains("accepted: in 12 pairs"), "{said}");
        assert!(said.contains("+0.10 % (-0.30 % … +0.50 %)"), "{said}");
    }

    #[test]
    fn a_biased_slot_is_refused_by_name() {
        let biased = Slot {
            difference: 0.02,
            interval: (0.015, 0.025),
            biased: true,
            ..slot()
        };
        let calibration = judge(vec![slot(), biased]);
        assert!(!calibration.accepted);
        let why = &calibration.refused[0];
        assert!(why.contains("output throughput of throughput"), "{why}");
        assert!(
            why.contains("+2.00 % (95 % interval +1.50 % … +2.50 %)"),
            "{why}"
        );
        assert!(why.contains("±0.50 %"), "{why}");
    }

    #[test]
    fn too_few_good_pairs_are_refused() {
        let few = Slot { pairs: 7, ..slot() };
        assert!(judge(vec![few]).refused[0].contains("only 7 pairs count"));
        assert!(!judge(Vec::new()).accepted);
    }

    #[test]
    fn a_noisy_runner_gets_advice() {
        let noisy = Slot {
            run_spread: 0.05,
            resolvable: Some(0.09),
            open: true,
            ..slot()
        };
        let calibration = judge(vec![noisy]);
        assert!(calibration.accepted, "noise is no bias");
        let advice = calibration.advice.join("\n");
        for says in ["-lgc", "only one of 9.00 %", "--pairs 30"] {
            assert!(advice.contains(says), "{advice}");
        }
    }
}
