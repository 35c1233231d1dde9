//! Vendors' programs as sources: stand-ins on the search path.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{scenario, simulated, stderr, went_well};
use crate::harness::kitt;

/// A folder with a program in it, first on the search path.
struct Tools(TempDir);

impl Tools {
    fn with(name: &str, script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(name);
        fs::write(
            &program,
            format!("#!/bin/sh\nhere={}\n{script}", dir.path().display()),
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    fn results(&self) -> PathBuf {
        self.0.path().join("results")
    }

    fn run(&self, requests: u32, telemetry: &str) -> Command {
        let mut command = kitt();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.0.path().display());
        simulated(
            &mut command,
            &self.results(),
            requests,
            &["--telemetry", telemetry],
        );
        command.env("PATH", path);
        command
    }
}

/// Waits until the process whose number a stand-in wrote has ended.
fn gone(file: &Path) {
    let pid = fs::read_to_string(file).unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    while Path::new("/proc").join(pid.trim()).exists() {
        assert!(Instant::now() < until, "{pid} still runs");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Knows no `power.draw.instant`, like old versions; 300 W.
const NVIDIA_SMI: &str = r#"
case "$*" in
*power.draw.instant*)
    echo 'Field "power.draw.instant" is not a valid field to query.'
    exit 2 ;;
*query-compute-apps*)
    echo $$ > "$here/apps"
    exec sleep 300 ;;
*-lms*)
    echo $$ > "$here/rows"
    while :; do
        echo 'GPU-x, 2048, 300.00, 95, 60, [N/A], 1500, 2619, 0x0000000000000004, P0, 5, 16'
        sleep 0.3
    done ;;
*memory.used*)
    echo 'GPU-x, 2048, 300.00, 95, 60, [N/A], 1500, 2619, 0x0000000000000004, P0, 5, 16' ;;
*uuid*)
    echo 'GPU-x, Tool GPU, 81559, 550.90.07, 700.00, 700.00, 200.00, 700.00, 9.0, Enabled, Disabled, 96, Enabled, Default, 5, 16, 00000000:18:00.0, 0x233010DE, 0x16C110DE, 1980' ;;
*)
    echo '    CUDA Version                              : 12.4' ;;
esac
"#;

#[test]
fn nvidia_smi_watches_and_ends_with_the_run() {
    let tools = Tools::with("nvidia-smi", NVIDIA_SMI);
    let output = tools.run(70, "nvidia-smi").output().unwrap();
    went_well(&output, &tools.results());
    let found = scenario(&tools.results());
    let gpu = &found["gpu"];
    assert_eq!(gpu["source"], "nvidia-smi", "{found:#}");
    // There is no counter.
    assert_eq!(gpu["energy"]["method"], "integral", "{gpu:#}");
    let metric = |name: &str| found["metrics"][name]["value"].as_f64().unwrap();
    let window = found["window_s"].as_f64().unwrap();
    assert!((metric("energy_j") / (300.0 * window) - 1.0).abs() < 1e-6);
    gone(&tools.0.path().join("rows"));
    gone(&tools.0.path().join("apps"));
}

#[test]
fn a_broken_nvidia_smi_is_quoted() {
    let words = "NVIDIA-SMI has failed because it couldn't communicate with the driver";
    let tools = Tools::with("nvidia-smi", &format!("echo \"{words}\"; exit 9\n"));
    let output = tools.run(3, "nvidia-smi").output().unwrap();
    went_well(&output, &tools.results());
    let told = stderr(&output);
    assert!(
        told.contains("telemetry: unavailable (") && told.contains(words),
        "{told}"
    );
    let none = tempfile::tempdir().unwrap();
    let mut command = kitt();
    simulated(
        &mut command,
        &none.path().join("r"),
        3,
        &["--telemetry", "nvidia-smi"],
    );
    let output = command.env("PATH", none.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nvidia-smi is not installed"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_tool_that_dies_leaves_the_window_open() {
    let dies = NVIDIA_SMI.replace("while :; do", "for once in 1 2; do");
    let tools = Tools::with("nvidia-smi", &dies);
    let output = tools.run(40, "nvidia-smi").output().unwrap();
    assert_eq!(output.status.code(), Some(21), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("nvidia-smi does not tell any more"), "{told}");
    assert!(told.contains("not watched from the beginning"), "{told}");
}

/// Pretty-printed documents one after the other, as the tool writes them.
const AMD_SMI: &str = r#"
metric() {
    cat <<END
[
    {
        "gpu": 0,
        "usage": {"gfx_activity": {"value": 93, "unit": "%"}},
        "power": {"socket_power": {"value": 500, "unit": "W"}},
        "temperature": {"edge": "N/A", "hotspot": {"value": 71, "unit": "C"}},
        "mem_usage": {"used_vram": {"value": 283, "unit": "MB"}}
    }
]
END
}
case "$*" in
static*)
    echo '[{"gpu": 0, "asic": {"market_name": "AMD Instinct MI300X", "asic_serial": "0x12"}, "vram": {"size": {"value": 196592, "unit": "MB"}}}]' ;;
*-w*)
    echo $$ > "$here/metric"
    while :; do metric; sleep 0.5; done ;;
*)
    metric ;;
esac
"#;

#[test]
fn amd_smi_watches_and_ends_with_the_run() {
    let tools = Tools::with("amd-smi", AMD_SMI);
    let output = tools.run(70, "amd-smi").output().unwrap();
    went_well(&output, &tools.results());
    let found = scenario(&tools.results());
    assert_eq!(found["gpu"]["source"], "amd-smi", "{found:#}");
    let metric = |name: &str| found["metrics"][name]["value"].as_f64().unwrap();
    assert!((metric("gpu_power_avg_w") - 500.0).abs() < 1e-6);
    assert!((metric("gpu_temperature_max_c") - 71.0).abs() < 1e-6);
    gone(&tools.0.path().join("metric"));
}

#[test]
fn nonsense_of_amd_smi_is_told() {
    let tools = Tools::with("amd-smi", "echo 'ERROR: no devices'\n");
    let output = tools.run(3, "amd-smi").output().unwrap();
    went_well(&output, &tools.results());
    assert!(
        stderr(&output).contains("amd-smi static"),
        "{}",
        stderr(&output)
    );
}
