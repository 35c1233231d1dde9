//! What spoils a comparison ends in "invalid" or "incomparable", never in "regressed".

use kitt_action::{
    compare::{CompareOptions, compare},
    context::GatePolicy,
    verdict::{Decision, Verdict, decide},
};

use super::*;
#[cfg(target_os = "linux")]
use crate::nvml::Fake;

#[cfg(target_os = "linux")]
const COOL: &str = "gpu 0 name Test GPU\n";
#[cfg(target_os = "linux")]
const HOT: &str = "gpu 0 name Test GPU\ngpu 0 held hw-thermal 20\n";

/// The GPU is held back whenever the current side runs.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_throttled_side_is_invalid() {
    if docker::docker_or_skip().await.is_none() {
        return;
    }
    let (bench, fake) = (Bench::new("throttled"), Fake::new(COOL));
    let ab = [
        "--baseline",
        "ab",
        "--baseline-args",
        ENGINE,
        "--telemetry",
        "nvml",
    ];
    // As slow as a held-back GPU would make it.
    let slower = format!("{ENGINE} --slowdown=0.5");
    let mut command = bench.in_container(&slower, &ab);
    fake.set_on(&mut command);
    let (status, log) = heard(command, |line, _| {
        if line.contains(": the current side") {
            fake.play(HOT);
        } else if line.contains(": the baseline side") {
            fake.play(COOL);
        }
    });
    assert_eq!(status.code(), Some(21), "{log}");
    assert_eq!(bench.verdict(), "incomparable");
    let why = bench.pairs().stopped.unwrap();
    assert!(why.contains("3 pairs in a row were not valid"), "{why}");
    assert!(log.contains("pair 1 is spoiled: the current side"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn another_gpu_is_incomparable() {
    let (bench, fake) = (Bench::new("gpu"), Fake::new("gpu 0 name First GPU\n"));
    let mut command = bench.here(ENGINE, &["--results-dir", "baseline"]);
    fake.set_on(&mut command);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    fake.play("gpu 0 name Second GPU\n");
    let stored = ["--baseline-dir", "baseline", "--on-unsure", "neutral"];
    let mut command = bench.here(&format!("{ENGINE} --slowdown=2"), &stored);
    fake.set_on(&mut command);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(bench.verdict(), "incomparable");
    let comment = fs::read_to_string(bench.results().join("comment.md")).unwrap();
    assert!(comment.contains("gpu.name"), "{comment}");
}

#[test]
fn another_length_of_answers_is_incomparable() {
    let bench = Bench::new("length");
    let longer = ["--results-dir", "baseline", "--output-tokens", "16"];
    let output = bench.here(ENGINE, &longer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let stored = ["--baseline-dir", "baseline", "--on-unsure", "neutral"];
    let slower = format!("{ENGINE} --slowdown=2");
    let output = bench.here(&slower, &stored).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(bench.verdict(), "incomparable");
}

/// The decision on pairs as they lie in a directory.
fn decided(dir: &Path, gating: &str) -> Decision {
    let current = store::load(dir).unwrap();
    let (pairs, baseline) = store::load_pairs(dir).unwrap().unwrap();
    let options = CompareOptions {
        pairs: Some(pairs),
        ..CompareOptions::default()
    };
    let comparison = compare(Some(&baseline), &current, &options).unwrap();
    let policy = GatePolicy {
        gating: vec![gating.to_owned()],
        ..GatePolicy::default()
    };
    decide(&comparison, &current, Some(&baseline), &policy).unwrap()
}

/// Real pairs that show a regression; then one side is made to say that it is not comparable.
#[test]
fn a_side_that_is_not_comparable_is_never_regressed() {
    let bench = Bench::new("edited");
    let ab = ["--baseline", "ab", "--baseline-args", ENGINE];
    let slower = format!("{ENGINE} --slowdown=0.5");
    let output = bench.here(&slower, &ab).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    let dir = bench.results();
    assert_eq!(decided(&dir, "output_tps").verdict, Verdict::Regressed);
    let with = |side: &str, change: &dyn Fn(&mut Value)| {
        let path = dir.join(side).join("metrics.json");
        let untouched = fs::read_to_string(&path).unwrap();
        let mut document: Value = serde_json::from_str(&untouched).unwrap();
        change(&mut document);
        fs::write(&path, document.to_string()).unwrap();
        let verdict = decided(&dir, "output_tps").verdict;
        fs::write(&path, untouched).unwrap();
        verdict
    };
    let each = |document: &mut Value, key: &str, value: Value| {
        for measured in document["measurements"].as_array_mut().unwrap() {
            measured[key] = value.clone();
        }
    };
    for side in ["", "baseline"] {
        for validity in ["client-limited", "gpu-invalid", "server-errored"] {
            let verdict = with(side, &|document| {
                each(document, "validity", validity.into());
            });
            assert_eq!(verdict, Verdict::Incomparable, "{side} {validity}");
        }
        let other = with(side, &|document| {
            document["fingerprint"]["strict"]["gpu.name"] = "Another GPU".into();
        });
        assert_eq!(other, Verdict::Incomparable, "{side}");
        let shorter = with(side, &|document| {
            each(document, "output_tokens_mean", 7.0.into());
        });
        assert_eq!(shorter, Verdict::Incomparable, "{side}");
    }
    assert_eq!(decided(&dir, "output_tps").verdict, Verdict::Regressed);
}
