//! `kitt calibrate runner` through the binary: identical sides on the simulated engine, and a
//! server that is slower whenever it is the second side's turn. No bounds on times: this machine
//! may be busy.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kitt_action::results::{NoiseSource, read_noise};
use serde_json::Value;

use crate::harness::kitt;

const FAST: &str =
    "--prefill-base-ms=4 --decode-base-ms=4 --decode-per-sequence-ms=0.1 --run-cv=0.001";

fn calibrate(dir: &Path) -> Command {
    let mut command = kitt();
    command
        .current_dir(dir)
        .args(["calibrate", "runner", "-m", "sim", "--pairs", "8"])
        .args(["--input-tokens", "16", "--output-tokens", "8"])
        .args([
            "--requests",
            "20",
            "-o",
            "out",
            "--noise-profile",
            "kept/noise.json",
        ]);
    command
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn metric<'a>(figures: &'a Value, name: &str) -> &'a Value {
    let metrics = figures["metrics"].as_array().unwrap();
    metrics.iter().find(|one| one["metric"] == name).unwrap()
}

#[test]
fn identical_sides_make_a_noise_profile() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("out")).unwrap();
    fs::write(dir.path().join("out/noise.json"), "of an earlier time").unwrap();
    let output = calibrate(dir.path())
        .args(["-e", "sim", "--engine-args", FAST, "--json"])
        .output()
        .unwrap();
    let figures: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    if figures["pairs"].as_u64() < Some(8) {
        // So many runs were spoiled by whatever else runs here that there is nothing to judge.
        assert_eq!(output.status.code(), Some(21));
        assert!(
            said(&output).contains("pairs count and 8 are needed"),
            "{}",
            said(&output)
        );
        return;
    }
    let speed = metric(&figures, "output_tps");
    assert_eq!(
        (&speed["pairs"], &speed["df"]),
        (&8.into(), &7.0.into()),
        "{speed}"
    );
    assert_eq!(speed["gating"], true);
    assert_eq!(speed["harmless"], 0.005, "half of 1 %");
    let (sd, run) = (&speed["log_sd_pair"], &speed["run_spread"]);
    let (sd, run) = (sd.as_f64().unwrap(), run.as_f64().unwrap());
    assert!((run - sd / 2.0_f64.sqrt()).abs() < 1e-12 && sd > 0.0);
    let inside = speed["interval"][0].as_f64() < speed["difference"].as_f64()
        && speed["difference"].as_f64() < speed["interval"][1].as_f64();
    assert!(inside, "{speed}");
    assert!(speed["resolvable"].as_f64().unwrap() > 0.01, "{speed}");
    // Chance, or another test on this machine, may favour a side: one time in twenty.
    let accepted = figures["accepted"] == true;
    let written: Vec<PathBuf> = ["out/noise.json", "kept/noise.json"]
        .map(|name| dir.path().join(name))
        .into();
    assert_eq!(
        output.status.code(),
        Some(if accepted { 0 } else { 21 }),
        "{}",
        said(&output)
    );
    for path in written {
        assert_eq!(path.exists(), accepted, "{}", path.display());
        if accepted {
            let file = read_noise(&path).unwrap();
            assert_eq!((file.source, file.jobs), (NoiseSource::Calibration, 1));
            let noise = file.metrics["throughput"]["output_tps"];
            assert!((noise.log_sd_pair - sd).abs() < 1e-12);
            assert!((noise.df - 7.0).abs() < 1e-12);
        }
    }
    if !accepted {
        assert!(said(&output).contains("is biased"), "{}", said(&output));
    }
}

/// A server that is slow on the current side. It tells the sides by what a run to warm up, then
/// B C C B …, makes of the number of starts, a void pair being made up for in its own order.
const ENGINE: &str = r#"#!/bin/sh
here=$(dirname "$0")
while [ $# -gt 0 ]; do
  if [ "$1" = --port ]; then port=$2; fi
  shift
done
# Asked for its version, perhaps.
[ -n "$port" ] || exit 0
starts=$(cat "$here/starts" 2>/dev/null || echo 0)
echo $((starts + 1)) > "$here/starts"
pairs=$(grep -c '"first"' "$here/out/pairs.json")
void=$(grep -c '"void"' "$here/out/pairs.json")
slow=$(((starts - 1 - 2 * pairs + pairs - void) % 2))
[ "$starts" -gt 0 ] || slow=0
exec KITT sim --port "$port" --prefill-base-ms=4 --decode-base-ms=4 --run-cv=0.001 --slowdown=$slow
"#;

#[test]
fn a_slot_that_favours_one_side_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = dir.path().join("engine.sh");
    fs::write(&engine, ENGINE.replace("KITT", env!("CARGO_BIN_EXE_kitt"))).unwrap();
    fs::set_permissions(&engine, fs::Permissions::from_mode(0o755)).unwrap();
    let output = calibrate(dir.path())
        .args(["-e", "vllm", "--mode", "native", "--gpus", "none"])
        .arg("--engine-command")
        .arg(&engine)
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(21), "{said}");
    // A warm-up run and eight pairs, more where a busy machine spoiled some.
    let starts = fs::read_to_string(dir.path().join("starts")).unwrap();
    assert!(starts.trim().parse::<u32>().unwrap() >= 17, "{starts}");
    assert!(said.contains("of throughput is biased"), "{said}");
    assert!(said.contains("identical sides differ by "), "{said}");
    assert!(!dir.path().join("out/noise.json").exists());
    assert!(!dir.path().join("kept").exists());
}

#[test]
fn fewer_than_eight_pairs_are_refused_at_once() {
    let output = kitt()
        .args(["calibrate", "runner", "--pairs", "7"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("8..=30"), "{}", said(&output));
}
