//! `kitt doctor` and `kitt fingerprint` with GPUs.

use std::process::{Child, Command, Output};

use serde_json::Value;

use super::Fake;

const BOARD: &str = "gpu 0 name NVIDIA H100 80GB HBM3\ngpu 0 uuid GPU-aaaa\ngpu 0 power 100000\n";

fn doctor(fake: &Fake, args: &[&str]) -> Output {
    fake.kitt()
        .args(["doctor", "--json", "-e", "openai"])
        .args(args)
        .current_dir(fake.dir.path())
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .env("KITT_LOCK_DIR", fake.dir.path())
        .output()
        .unwrap()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn finding(document: &Value, id: &str) -> Option<(String, String)> {
    let findings = document["findings"].as_array().unwrap();
    let one = findings.iter().find(|one| one["id"] == id)?;
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    Some((
        text("severity"),
        format!("{} / {}", text("what"), text("remedy")),
    ))
}

#[test]
fn a_healthy_gpu_is_named_and_timed() {
    let fake = Fake::new(BOARD);
    let output = doctor(&fake, &["--nvml-bench"]);
    let document = document(&output);
    assert_eq!(output.status.code(), Some(0), "{document:#}");
    let (severity, text) = finding(&document, "gpu.seen").unwrap();
    assert!(
        severity == "ok" && text.contains("NVIDIA H100 80GB HBM3"),
        "{text}"
    );
    let bench = &document["nvml_bench"];
    assert_eq!(
        (bench["source"].as_str(), bench["gpus"].as_u64()),
        (Some("nvml"), Some(1))
    );
    for question in bench["questions"].as_array().unwrap() {
        assert_eq!(question["calls"], 1_000);
        assert!(question["p50_us"].as_f64() <= question["p99_us"].as_f64());
    }
    // The stand-in's counter grows every 100 ms.
    let step = bench["energy_step_ms"].as_f64().unwrap();
    assert!((step - 100.0).abs() < 30.0, "{step}");
}

#[test]
fn a_driver_that_was_replaced_wants_a_restart() {
    let fake = Fake::new("init mismatch");
    let output = doctor(&fake, &[]);
    assert_eq!(output.status.code(), Some(20));
    let (severity, text) = finding(&document(&output), "gpu.seen").unwrap();
    assert_eq!(severity, "problem");
    assert!(
        text.contains("mismatch") && text.contains("restart"),
        "{text}"
    );
}

struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_gpu_in_use_with_errors_and_heat_is_told() {
    let stranger = Stranger(Command::new("sleep").arg("300").spawn().unwrap());
    let pid = stranger.0.id();
    let fake = Fake::new(&format!(
        "{BOARD}gpu 0 ecc 2\ngpu 0 temp 85\ngpu 0 held hw-thermal 50\ngpu 0 process {pid} 4096\n"
    ));
    let output = doctor(&fake, &[]);
    assert_eq!(output.status.code(), Some(20));
    let document = document(&output);
    let (severity, text) = finding(&document, "gpu.processes").unwrap();
    assert!(
        severity == "problem" && text.contains(&format!("process {pid} (sleep)")),
        "{text}"
    );
    for (id, expected, words) in [
        ("gpu.ecc", "warning", "2 memory errors"),
        ("gpu.throttled", "warning", "heat (hardware)"),
        ("gpu.temperature", "note", "85 °C"),
    ] {
        let (severity, text) = finding(&document, id).unwrap();
        assert!(severity == expected && text.contains(words), "{id}: {text}");
    }
    // A run that wants no GPU is not concerned.
    let output = doctor(&fake, &["--gpus", "none"]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_same_board_has_the_same_hash_under_the_same_key_only() {
    let fake = Fake::new(BOARD);
    let ids = |args: &[&str]| {
        let output = fake
            .kitt()
            .args(["fingerprint", "--json"])
            .args(args)
            .env("KITT_ID_KEY", "a key that only the operator has")
            .output()
            .unwrap();
        document(&output)["ids"]["gpus"][0]
            .as_str()
            .map(str::to_owned)
    };
    let keyed = ids(&["--salt-from", "env:KITT_ID_KEY"]).unwrap();
    assert_eq!(keyed.len(), 12);
    assert_eq!(
        ids(&["--salt-from", "env:KITT_ID_KEY"]),
        Some(keyed.clone())
    );
    assert_ne!(ids(&[]), Some(keyed));
    assert_eq!(ids(&["--no-host-ids"]), None);
}
