//! Whole runs with GPUs that behave, and that do not.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Fake, scenario, stderr, went_well};

const BOARD: &str = "gpu 0 name NVIDIA H100 80GB HBM3\ngpu 0 uuid GPU-aaaa\ngpu 0 util 90\n";

fn number(value: &serde_json::Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_run_is_watched_and_accounted() {
    let fake = Fake::new(&format!("{BOARD}gpu 0 power 200000\n"));
    let prices = [
        "--gpu-hour-price",
        "3.6",
        "--kwh-price",
        "0.3",
        "--idle-power",
    ];
    let run = || {
        let output = fake.run(70, &prices).output().unwrap();
        went_well(&output, &fake.results());
        (stderr(&output), scenario(&fake.results()))
    };
    let (mut told, mut found) = run();
    for _ in 0..2 {
        // A machine that stood still for a second has rightly no energy to tell.
        if number(&found["gpu"]["findings"]["coverage"]) >= 0.95 {
            break;
        }
        (told, found) = run();
    }
    let metric = |name: &str| {
        let value = found["metrics"][name]["value"].as_f64();
        value.unwrap_or_else(|| panic!("no {name}: {told}\n{}", found["gpu"]))
    };
    let window = number(&found["window_s"]);
    let energy = metric("energy_j");
    assert!(
        (energy / (200.0 * window) - 1.0).abs() < 0.05,
        "{energy} in {window}"
    );
    // Its power is the same with and without requests.
    let above = metric("energy_above_idle_j");
    assert!(above.abs() < 0.05 * energy, "{above} of {energy}");
    assert!(told.contains("the idle engine draws 200 W"), "{told}");
    let per_token = energy / (metric("output_tps") * window);
    assert!((metric("energy_per_output_token_j") / per_token - 1.0).abs() < 1e-6);
    let cost = 3.6 / 3600.0 / metric("output_tps") * 1e6;
    assert!((metric("cost_per_million_output_tokens") / cost - 1.0).abs() < 1e-6);
    let prices = "3.6 USD for a GPU hour, 0.3 USD for a kWh";
    let all = std::fs::read_to_string(fake.results().join("metrics.json")).unwrap();
    assert!(all.contains(prices), "{all}");
    assert!((metric("gpu_power_avg_w") - 200.0).abs() < 1e-6);
    let gpu = &found["gpu"];
    assert_eq!(
        (gpu["source"].as_str(), gpu["gpus"].as_u64()),
        (Some("nvml"), Some(1))
    );
    assert_eq!(gpu["energy"]["method"], "counter");
    assert!(number(&gpu["watching"]["ticks"]) > 20.0, "{gpu}");
}

#[test]
fn a_run_on_old_and_new_drivers() {
    // Without the batch of fields: power and energy by their own calls, no throttle counters.
    let old = format!(
        "driver 470.57.02\n{BOARD}gpu 0 power 150000\nmissing nvmlDeviceGetFieldValues\n\
         gpu 0 unsupported nvmlDeviceGetTotalEccErrors\n"
    );
    // Fields have other numbers; the hardware held the clocks down for a twentieth of the time.
    let new = format!("driver 580.82.07\n{BOARD}gpu 0 held hw-thermal 5\n");
    for (script, hot) in [(old, false), (new, true)] {
        let fake = Fake::new(&script);
        let output = fake.run(8, &[]).output().unwrap();
        if hot {
            assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
            assert!(stderr(&output).contains("too hot"), "{}", stderr(&output));
        } else {
            went_well(&output, &fake.results());
        }
        let found = scenario(&fake.results());
        assert!(
            found["metrics"]["gpu_power_avg_w"]["value"].is_f64(),
            "{found:#}"
        );
    }
}

/// Waits until the load runs: the log of its requests is there.
fn loaded(fake: &Fake, child: &mut Child) {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let log = fake.results().join("requests.jsonl.zst");
        if std::fs::metadata(&log).is_ok() {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        assert!(Instant::now() < until, "no load");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_broken_gpu_ends_the_load() {
    let cases = [
        ("gpu 0 xid 79", "XID 79 (the GPU fell off the bus)"),
        ("gpu 0 lost", "does not answer any more"),
    ];
    for (what, words) in cases {
        let fake = Fake::new(&format!("{BOARD}{what} @2000\n"));
        let started = Instant::now();
        // A minute, were it not for the GPU.
        let output = fake.run(600, &[]).output().unwrap();
        let took = started.elapsed();
        assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
        // It breaks after 2 s; 2 s are allowed for the end, and some for the start.
        assert!(took < Duration::from_secs(5), "{what}: {took:?}");
        let told = stderr(&output);
        assert!(told.contains(words), "{told}");
        assert!(told.contains("do not retry on this host"), "{told}");
        let found = scenario(&fake.results());
        assert_eq!(found["validity"], "gpu-invalid", "{found:#}");
        assert!(number(&found["ok"]) > 1.0, "the load ran: {found:#}");
    }
}

#[test]
fn without_a_working_driver_the_run_goes_on_unless_it_must_not() {
    let cases = [
        ("init mismatch", "version mismatch; the driver was replaced"),
        ("init not-loaded", "modprobe nvidia"),
        ("init no-permission", "/dev/nvidiactl"),
        ("init unknown", "NVML does not start"),
        ("gpus 0", "the driver lists none"),
    ];
    for (script, words) in cases {
        let fake = Fake::new(script);
        let output = fake.run(3, &["--telemetry", "nvml"]).output().unwrap();
        went_well(&output, &fake.results());
        let told = stderr(&output);
        assert!(told.contains("telemetry: unavailable ("), "{told}");
        assert!(told.contains(words), "{told}");
        let required = ["--telemetry", "nvml", "--require-telemetry"];
        let output = fake.run(3, &required).output().unwrap();
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(20), "{told}");
        assert!(
            told.contains("telemetry is required") && told.contains(words),
            "{told}"
        );
    }
    // No library at all.
    let fake = Fake::new("");
    let mut command = fake.run(3, &["--telemetry", "nvml"]);
    let output = command.env_remove("LD_LIBRARY_PATH").output().unwrap();
    went_well(&output, &fake.results());
    let own_driver = std::path::Path::new("/dev/nvidiactl").exists();
    assert!(own_driver || stderr(&output).contains("no NVIDIA driver library"));
}

#[test]
fn a_slow_source_leaves_the_load_alone() {
    // Each question takes 700 ms, so that a reading takes seconds.
    let fake = Fake::new(&format!("{BOARD}sleep 700 @200\n"));
    let slow = fake.run(60, &[]).output().unwrap();
    let found = scenario(&fake.results());
    assert!(
        [Some(0), Some(21)].contains(&slow.status.code()),
        "{}",
        stderr(&slow)
    );
    let gpu = &found["gpu"];
    assert!(
        number(&gpu["watching"]["largest_gap_ms"]) > 3000.0,
        "{gpu:#}"
    );
    assert!(number(&gpu["watching"]["interval_ms"]) >= 100.0, "{gpu:#}");
    assert!(found["metrics"]["energy_j"].is_null(), "{found:#}");
    // 16 tokens of about 6 ms: had the load waited for a reading, it would take seconds.
    let e2e = &found["metrics"]["e2e_ms.mean"]["value"];
    assert!(number(e2e) < 300.0, "{e2e}");
}

#[test]
fn heat_degrades_and_then_voids() {
    let warm = Fake::new(&format!("{BOARD}gpu 0 held sw-thermal 20\n"));
    let output = warm.run(60, &[]).output().unwrap();
    went_well(&output, &warm.results());
    assert!(
        stderr(&output).contains("heat made the driver"),
        "{}",
        stderr(&output)
    );
    assert!(scenario(&warm.results())["metrics"]["energy_j"].is_null());

    let hot = Fake::new(&format!("{BOARD}gpu 0 held hw-thermal 2\n"));
    let output = hot.run(8, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    assert!(stderr(&output).contains("too hot"), "{}", stderr(&output));
}

#[test]
fn memory_errors_void_the_run() {
    let fake = Fake::new(&format!("{BOARD}gpu 0 ecc 1\ngpu 0 ecc 4 @2000\n"));
    let output = fake.run(40, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("could not be corrected"),
        "{}",
        stderr(&output)
    );
}

/// Ends with the test.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn somebody_else_on_the_gpu_voids_the_run() {
    let stranger = Stranger(Command::new("sleep").arg("300").spawn().unwrap());
    let fake = Fake::new(BOARD);
    let mut command = fake.run(40, &[]);
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    loaded(&fake, &mut child);
    let pid = stranger.0.id();
    fake.play(&format!("{BOARD}gpu 0 process {pid} 4096\n"));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    let words = format!("others computed on the GPUs meanwhile: process {pid} (sleep)");
    assert!(stderr(&output).contains(&words), "{}", stderr(&output));
    assert_eq!(scenario(&fake.results())["validity"], "gpu-invalid");
}

#[test]
fn the_fingerprint_names_the_gpu() {
    let fake = Fake::new(BOARD);
    let output = fake.kitt().arg("fingerprint").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("NVIDIA H100 80GB HBM3"), "{text}");
    assert!(!text.contains("GPU-aaaa"), "{text}");
}
