//! The library's side, in a process of its own: which library is loaded is decided at its start.

use std::process::Command;

use kitt_action::{
    context::TelemetryChoice,
    engine::GpuSet,
    telemetry::{GpuSource, NvmlSource, ProcessKind, Watch, gpu_busy},
};

use super::Fake;

/// Runs one of the ignored tests below in a process that finds the stand-in.
fn inside(fake: &Fake, test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    fake.set_on(&mut command);
    let name = format!("nvml::inside::{test}");
    let output = command
        .args(["--exact", &name, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        super::stderr(&output)
    );
    assert!(told.contains("1 passed"), "{told}");
}

const TWO: &str = "gpus 2\ngpu 0 uuid GPU-a\ngpu 1 uuid GPU-b\n";

#[test]
fn everything_about_a_board_is_read() {
    let script = "gpu 0 uuid GPU-a\ngpu 0 name NVIDIA H100 80GB HBM3\ngpu 0 power 321000\n\
                  gpu 0 held sw-thermal 10\ngpu 0 unsupported 82\ngpu 0 draws 7 -\n\
                  gpu 0 process 5 4096\n";
    inside(&Fake::new(script), "child_reads_a_board");
}

#[test]
#[ignore = "needs the stand-in: the test above runs it"]
fn child_reads_a_board() {
    let mut source = NvmlSource::of(&GpuSet::None).unwrap();
    let info = source.devices()[0].clone();
    assert_eq!(info.name, "NVIDIA H100 80GB HBM3");
    assert_eq!(info.compute_capability, Some((9, 0)));
    assert_eq!(
        (info.power_limit_mw, info.ecc, info.mig),
        (Some(700_000), Some(true), Some(false))
    );
    assert_eq!(info.cuda_driver.as_deref(), Some("12.4"));
    let details = &info.details;
    assert_eq!(details.power_range_mw, Some((200_000, 700_000)));
    assert_eq!(
        (details.pcie_max_gen, details.pcie_max_width),
        (Some(5), Some(16))
    );
    assert_eq!(
        (details.persistence, details.nvlinks_active),
        (Some(true), Some(18))
    );
    assert_eq!(details.pci_subsystem_id, Some(0x16c1_10de));
    assert_eq!(details.compute_mode.as_deref(), Some("default"));
    assert_eq!(details.virtualisation.as_deref(), Some("none"));
    // The second reading no longer asks for what the first one did not get.
    for _ in 0..2 {
        let reading = source.sample().unwrap().unwrap()[0];
        assert_eq!(
            (reading.power_mw, reading.memory_temperature_c),
            (Some(321_000), None)
        );
        assert!(reading.energy_mj.is_some() && reading.throttled.sw_thermal_ns.is_some());
        assert_eq!(reading.throttle_reasons, None);
    }
    let status = source.status().unwrap().remove(0);
    let processes = status.processes.unwrap();
    let kinds: Vec<_> = processes
        .iter()
        .map(|one| (one.pid, one.kind, one.memory))
        .collect();
    assert_eq!(
        kinds,
        [
            (5, ProcessKind::Compute, Some(4096)),
            (7, ProcessKind::Graphics, None)
        ]
    );
    assert_eq!((status.pcie_gen, status.pstate), (Some(5), Some(0)));
    assert!(status.pcie_tx_bytes.is_some());
    let counters = source.counters().unwrap()[0];
    assert_eq!(counters.ecc_uncorrected, Some(0));
}

#[test]
fn the_gpus_asked_for_are_watched() {
    inside(&Fake::new(TWO), "child_chooses");
}

#[test]
#[ignore = "needs the stand-in: the test above runs it"]
fn child_chooses() {
    let uuids = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let watch = Watch::start(&TelemetryChoice::Auto, &GpuSet::Nvidia(names));
        watch.map(|watch| {
            let infos = watch.devices().iter();
            infos.map(|info| info.uuid.clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(uuids(&["GPU-b"]).unwrap(), ["GPU-b"]);
    assert_eq!(uuids(&["1", "GPU-a"]).unwrap(), ["GPU-b", "GPU-a"]);
    let none = uuids(&["GPU-c"]).unwrap_err().to_string();
    assert!(none.contains("GPU-c; this host has 2"), "{none}");
    let all = Watch::start(&TelemetryChoice::Auto, &GpuSet::None).unwrap();
    assert_eq!((all.devices().len(), all.source()), (2, "nvml"));
}

#[test]
fn a_slice_has_its_own_memory_and_not_its_own_power() {
    let shared = "gpu 0 uuid GPU-a\ngpu 0 slice MIG-1 10737418240\ngpu 0 slice MIG-2 10737418240\n";
    inside(&Fake::new(shared), "child_watches_a_slice");
    let alone = "gpu 0 uuid GPU-a\ngpu 0 slice MIG-1 10737418240\n";
    inside(&Fake::new(alone), "child_watches_a_slice");
}

#[test]
#[ignore = "needs the stand-in: the test above runs it"]
fn child_watches_a_slice() {
    let mut source = NvmlSource::of(&GpuSet::Nvidia(vec!["MIG-1".to_owned()])).unwrap();
    let info = source.devices()[0].clone();
    let of = info.details.slice_of.unwrap();
    assert_eq!((info.uuid.as_str(), of.uuid.as_str()), ("MIG-1", "GPU-a"));
    assert_eq!(info.memory_total, Some(10 << 30));
    assert_eq!(of.alone, info.details.slices.len() == 1);
    let reading = source.sample().unwrap().unwrap()[0];
    assert!(reading.memory_used.is_some());
    assert_eq!(reading.power_mw.is_some(), of.alone);
    assert_eq!(reading.energy_mj.is_some(), of.alone);
}

#[test]
fn a_busy_gpu_is_named_and_a_free_one_is_free() {
    inside(&Fake::new(TWO), "child_finds_it_free");
    let memory = format!("{TWO}gpu 1 used 5368709120\n");
    inside(&Fake::new(&memory), "child_finds_it_busy");
    let load = format!("{TWO}gpu 1 util 50 @500\n");
    inside(&Fake::new(&load), "child_finds_it_busy");
    let process = format!("{TWO}gpu 1 process {} 1024\n", std::process::id());
    inside(&Fake::new(&process), "child_finds_it_busy");
}

#[test]
#[ignore = "needs the stand-in: the test above runs it"]
fn child_finds_it_free() {
    assert_eq!(
        gpu_busy(&GpuSet::Nvidia(vec![
            "GPU-a".to_owned(),
            "GPU-b".to_owned()
        ])),
        None
    );
    assert_eq!(gpu_busy(&GpuSet::None), None);
}

#[test]
#[ignore = "needs the stand-in: the test above runs it"]
fn child_finds_it_busy() {
    let busy = gpu_busy(&GpuSet::Nvidia(vec!["GPU-b".to_owned()])).unwrap();
    assert!(busy.starts_with("Fake GPU (GPU-b)"), "{busy}");
}
