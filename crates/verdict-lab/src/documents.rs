//! Scenario documents with a known truth: what `kitt compare --scenario FILE` reads.
//!
//! Their laws are drawn anew for each document (heavy tails, random autocorrelation, drift, two
//! clocks, wrong priors), so that a rule tuned to one law shows.

use std::{fs, io, path::Path};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::{
    generator,
    laws::{Law, Shape, Source},
    requests::{Logs, METRICS, RANDOM_QUEUES, REQUESTS, Run, TWO_CLOCKS, USUAL, Workload},
    series,
    sides::slots,
    threads,
};

/// The schema of a document.
const SCHEMA: &str = "kitt-action/scenario/1";
/// Documents of twelve metrics: the family of the tables.
const FAMILY: usize = METRICS.len();

/// A kind of document.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    design: &'static str,
    metric: &'static str,
    statistic: &'static str,
    /// Worsening as a share; 0.05 is 5 % slower.
    effect: f64,
    cv: f64,
}

const fn kind(
    name: &'static str,
    design: &'static str,
    metric: (&'static str, &'static str),
    effect: f64,
    cv: f64,
) -> Kind {
    Kind {
        name,
        design,
        metric: metric.0,
        statistic: metric.1,
        effect,
        cv,
    }
}

const TTFT: (&str, &str) = ("ttft_ms", "p50");
const TTFT_P99: (&str, &str) = ("ttft_ms", "p99");
const TPOT: (&str, &str) = ("tpot_ms", "mean");
const E2E: (&str, &str) = ("e2e_ms", "mean");

const KINDS: &[Kind] = &[
    kind("paired_aa_cv05", "paired", E2E, 0.0, 0.005),
    kind("paired_aa_cv2", "paired", TTFT, 0.0, 0.02),
    kind("paired_aa_cv5", "paired", TPOT, 0.0, 0.05),
    kind("paired_aa_p99", "paired", TTFT_P99, 0.0, 0.005),
    kind("paired_5_cv05", "paired", E2E, 0.05, 0.005),
    kind("paired_5_cv2", "paired", E2E, 0.05, 0.02),
    kind("paired_5_cv5", "paired", E2E, 0.05, 0.05),
    kind("paired_20_p99", "paired", TTFT_P99, 0.20, 0.005),
    kind("paired_2_cv2", "paired", TPOT, 0.02, 0.02),
    kind("paired_faster10_cv2", "paired", E2E, -0.10, 0.02),
    kind("history_aa_cv05", "history", E2E, 0.0, 0.005),
    kind("history_aa_cv2", "history", TTFT, 0.0, 0.02),
    kind("history_20_cv2", "history", E2E, 0.20, 0.02),
    kind("single_aa_cv2_declared2", "single", E2E, 0.0, 0.02),
    kind("single_aa_cv2_undeclared", "single", TTFT, 0.0, 0.02),
    kind("single_20_cv2_declared2", "single", E2E, 0.20, 0.02),
];

/// Writes `count` documents of each kind whose name begins with `prefix` into a folder.
///
/// # Errors
/// The folder cannot be made or a file cannot be written.
pub fn write(folder: &Path, prefix: &str, count: usize, seed: u64) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let names = KINDS
        .iter()
        .map(|kind| kind.name)
        .chain(OTHERS.iter().map(|(name, _)| *name));
    let chosen: Vec<usize> = names
        .enumerate()
        .filter(|(_, name)| name.starts_with(prefix))
        .map(|(at, _)| at)
        .collect();
    let results = threads::map(chosen.len() * count, |index| {
        let (at, number) = (chosen[index / count], index % count);
        let mut rng = generator(seed, 100 + at as u64, number);
        let document = if let Some(kind) = KINDS.get(at) {
            document(kind, number, &mut rng)
        } else {
            let (name, make) = OTHERS[at - KINDS.len()];
            named(make(&mut rng), name, number)
        };
        let id = document["id"]
            .as_str()
            .expect("every document has one")
            .to_owned();
        fs::write(folder.join(format!("{id}.json")), document.to_string())
    });
    let written = results.len();
    results.into_iter().collect::<io::Result<()>>()?;
    Ok(written)
}

fn named(mut document: Value, name: &str, number: usize) -> Value {
    document["schema"] = json!(SCHEMA);
    document["scenario"] = json!(name);
    document["id"] = json!(format!("{name}-{number:04}"));
    document
}

/// A law drawn for one document.
fn law(cv: f64, rng: &mut ChaCha8Rng) -> Law {
    let shape = if rng.random::<f64>() < 0.3 {
        Shape::HeavyTailed
    } else {
        Shape::Lognormal
    };
    let source = match rng.random_range(0..4) {
        0 => Source::Queues,
        1 => Source::Clocks,
        _ => Source::Usual,
    };
    let session_drift = if rng.random::<f64>() < 0.3 {
        0.02 * rng.random::<f64>()
    } else {
        0.0
    };
    Law {
        shape,
        source,
        session_drift,
        ..Law::usual(cv)
    }
}

fn document(kind: &Kind, number: usize, rng: &mut ChaCha8Rng) -> Value {
    let law = law(kind.cv, rng);
    let workload = Workload::new(REQUESTS, rng);
    let job = |rng: &mut ChaCha8Rng| scale(kind, &law, law.job(rng));
    let (baseline, current): (Vec<Vec<f64>>, Vec<Vec<f64>>) = match kind.design {
        "paired" => {
            let shared = job(rng);
            (0..12)
                .map(slots)
                .map(|(before, after)| {
                    let drift = |slot: usize| law.session_drift * slot as f64 / 23.0;
                    (
                        run(kind, &law, &workload, shared + drift(before), rng),
                        run(
                            kind,
                            &law,
                            &workload,
                            shared + drift(after) + kind.effect.ln_1p(),
                            rng,
                        ),
                    )
                })
                .unzip()
        }
        design => {
            let jobs = if design == "history" {
                rng.random_range(8..25)
            } else {
                1
            };
            let mut past = Vec::new();
            for _ in 0..jobs {
                let shared = job(rng);
                past.push(run(kind, &law, &workload, shared, rng));
            }
            let shared = job(rng) + kind.effect.ln_1p();
            (past, vec![run(kind, &law, &workload, shared, rng)])
        }
    };
    let order: Option<Vec<&str>> = (kind.design == "paired").then(|| {
        (0..24)
            .map(|slot| if matches!(slot % 4, 0 | 3) { "B" } else { "C" })
            .collect()
    });
    let (min_effect, gate_effect) = match kind.statistic {
        "p99" => (0.05, 0.20),
        _ => (0.01, 0.05),
    };
    let value = json!({
        "design": kind.design,
        "metric": {
            "name": kind.metric, "statistic": kind.statistic, "better": "lower",
            "min_effect": min_effect, "gate_effect": gate_effect, "family_size": FAMILY,
        },
        "noise": noise(kind, rng),
        "order": order,
        "baseline": baseline,
        "current": current,
        "truth": truth(kind),
    });
    named(value, kind.name, number)
}

/// The log of a shift on the kind's own metric.
fn scale(kind: &Kind, _law: &Law, shift: crate::laws::Shift) -> f64 {
    let mut logs: Logs = [0.0; METRICS.len()];
    shift.add(&mut logs);
    let mean = match kind.metric {
        "ttft_ms" => "ttft_ms.mean",
        "tpot_ms" => "tpot_ms.p50",
        _ => "e2e_ms.mean",
    };
    logs[crate::requests::place(mean)]
}

/// One run: its requests' values, slower by a log in all.
fn run(kind: &Kind, law: &Law, workload: &Workload, slow: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let weather = match law.source {
        Source::Usual => USUAL,
        Source::Queues => RANDOM_QUEUES,
        Source::Clocks => TWO_CLOCKS,
    };
    let run = Run::draw(workload, &weather, rng);
    let factor = (slow + scale(kind, law, law.process(rng))).exp();
    let values = match kind.metric {
        "ttft_ms" => &run.ttft,
        "tpot_ms" => &run.tpot,
        _ => &run.e2e,
    };
    // Four digits, as a tool writes them.
    values
        .iter()
        .map(|value| {
            let digits = 10.0_f64.powf(3.0 - (value * factor).log10().floor());
            (value * factor * digits).round() / digits
        })
        .collect()
}

/// Scatter of a pair's log-ratio beside the runs' own, by statistic and at 1000 requests.
fn within(kind: &Kind) -> f64 {
    match (kind.metric, kind.statistic) {
        ("ttft_ms", "p99") => 0.056,
        ("ttft_ms", _) => 0.012,
        _ => 0.006,
    }
}

/// What is told of the noise: learned, too small by up to three, declared, or nothing.
fn noise(kind: &Kind, rng: &mut ChaCha8Rng) -> Value {
    let process = kind.cv * 0.3_f64.sqrt();
    let pair = (2.0 * (process.powi(2) + within(kind).powi(2))).sqrt();
    match kind.design {
        "paired" => match rng.random_range(0..4) {
            0 => Value::Null,
            1 => json!({"log_sd_pair": pair / rng.random_range(2.0..3.0), "df": 20}),
            _ => json!({"log_sd_pair": pair * rng.random_range(0.85..1.15), "df": 20}),
        },
        "single" if kind.name.contains("_declared") => json!({"cv_run": kind.cv}),
        _ => Value::Null,
    }
}

fn truth(kind: &Kind) -> Value {
    let gate = if kind.statistic == "p99" { 0.20 } else { 0.05 };
    if kind.effect == 0.0 {
        json!({"effect": 0.0, "class": "null", "wrong": ["regressed", "improved"]})
    } else if kind.effect < 0.0 {
        json!({"effect": kind.effect, "class": "improvement", "wrong": ["regressed"],
               "right": ["improved"]})
    } else if kind.effect < gate {
        json!({"effect": kind.effect, "class": "zone", "wrong": ["improved"]})
    } else {
        json!({"effect": kind.effect, "class": "regression", "wrong": ["unchanged", "improved"],
               "right": ["regressed"]})
    }
}

type Make = fn(&mut ChaCha8Rng) -> Value;

/// Documents that are not lists of latencies, or not comparable ones.
const OTHERS: &[(&str, Make)] = &[
    ("items_aa", |rng| items(0.0, rng)),
    ("items_drop5", |rng| items(0.05, rng)),
    ("series_flat60", |rng| history(60, &[], rng)),
    ("series_step5_cv2", |rng| {
        history(60, &[(40, 0.95_f64.ln())], rng)
    }),
    ("contract-gpu", |rng| {
        let mut document = plain(rng);
        let side = |gpu: &str| json!({"gpu": gpu, "driver": "1", "engine": "e"});
        document["fingerprint"] = json!({"baseline": side("H100-SXM"), "current": side("H200")});
        expecting(document, &["incomparable"])
    }),
    ("contract-survivors", |rng| {
        let mut document = plain(rng);
        document["requests"] = json!({
            "baseline": {"sent": 1000, "ok": 1000}, "current": {"sent": 1000, "ok": 960},
        });
        expecting(document, &["incomparable"])
    }),
    ("contract-zero", |rng| {
        let mut document = plain(rng);
        document["current"][0][3] = json!(0.0);
        expecting(document, &["incomparable"])
    }),
    ("contract-new", |rng| {
        let mut document = plain(rng);
        document["baseline"] = json!([]);
        expecting(document, &["new"])
    }),
    ("contract-missing", |rng| {
        let mut document = plain(rng);
        document["current"] = json!([]);
        expecting(document, &["missing"])
    }),
    ("contract-few-requests", |rng| {
        let mut document = plain(rng);
        document["metric"]["statistic"] = json!("p99");
        for side in ["baseline", "current"] {
            for run in document[side].as_array_mut().expect("a list of runs") {
                run.as_array_mut().expect("a list of values").truncate(200);
            }
        }
        expecting(document, &["inconclusive"])
    }),
];

fn plain(rng: &mut ChaCha8Rng) -> Value {
    let kind = kind("plain", "history", E2E, 0.0, 0.005);
    document(&kind, 0, rng)
}

fn expecting(mut document: Value, verdicts: &[&str]) -> Value {
    document["truth"] = json!({"class": "contract", "expect": verdicts});
    document
}

/// 0/1 per item: 82 % right before, `drop` fewer after, and 4 % that flip either way.
fn items(drop: f64, rng: &mut ChaCha8Rng) -> Value {
    let baseline: Vec<u8> = (0..2000)
        .map(|_| u8::from(rng.random::<f64>() < 0.82))
        .collect();
    let churn = 0.02;
    let current: Vec<u8> = baseline
        .iter()
        .map(|&right| {
            let flips = if right == 1 {
                (drop + churn) / 0.82
            } else {
                churn / 0.18
            };
            if rng.random::<f64>() < flips {
                1 - right
            } else {
                right
            }
        })
        .collect();
    let truth = if drop > 0.0 {
        json!({"effect": drop, "class": "regression", "wrong": ["unchanged", "improved"],
               "right": ["regressed"]})
    } else {
        json!({"effect": 0.0, "class": "null", "wrong": ["regressed", "improved"]})
    };
    json!({
        "design": "items",
        "metric": {
            "name": "accuracy", "statistic": "proportion", "better": "higher",
            "min_effect": 0.0, "gate_effect": 0.02, "family_size": FAMILY,
        },
        "noise": null, "baseline": [baseline], "current": [current], "truth": truth,
    })
}

fn history(jobs: usize, steps: &[(usize, f64)], rng: &mut ChaCha8Rng) -> Value {
    let noise = match rng.random_range(0..3) {
        0 => series::Noise::HeavyTailed,
        1 => series::Noise::Outliers,
        _ => series::Noise::Normal,
    };
    let series = series::Series {
        noise,
        cv: 0.02,
        jobs,
        steps: steps.to_vec(),
    };
    let changes: Vec<usize> = steps.iter().map(|(at, _)| *at).collect();
    json!({
        "design": "series", "series": series.draw(rng),
        "truth": {"change_points": changes, "tolerance": 3},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_the_form_that_kitt_reads() {
        let kind = KINDS
            .iter()
            .find(|kind| kind.name == "paired_5_cv2")
            .expect("it is there");
        let document = document(kind, 3, &mut generator(1, 0, 0));
        assert_eq!(document["schema"], SCHEMA);
        assert_eq!(document["id"], "paired_5_cv2-0003");
        let runs = document["baseline"].as_array().unwrap();
        assert_eq!(
            (runs.len(), runs[0].as_array().unwrap().len()),
            (12, REQUESTS)
        );
        assert_eq!(document["order"][2], "C");
        let sum = |side: &str| -> f64 {
            let runs = document[side].as_array().unwrap().iter();
            runs.flat_map(|run| run.as_array().unwrap())
                .map(|value| value.as_f64().unwrap())
                .sum()
        };
        let ratio = sum("current") / sum("baseline");
        assert!((1.02..1.09).contains(&ratio), "{ratio}");
        assert_eq!(document["truth"]["right"][0], "regressed");
    }

    #[test]
    fn a_folder_holds_every_kind_once() {
        let folder = std::env::temp_dir().join(format!("verdict-lab-{}", std::process::id()));
        let written = write(&folder, "", 1, 5).unwrap();
        let files = fs::read_dir(&folder).unwrap().count();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((written, files), (KINDS.len() + OTHERS.len(), written));
    }
}
