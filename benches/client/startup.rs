//! From the start of `kitt run` to the arrival of its first request.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use kitt_action::sim::paced::{self, PacedSpec};

use crate::{
    Mode,
    process::Bench,
    table::{median, number, print},
};

/// Wanted, in milliseconds.
const WANTED_MS: f64 = 20.0;
const WANTED_WITH_TOKENIZER_MS: f64 = 60.0;

pub fn run(bench: &Bench, mode: Mode) {
    let runs = mode.pick(10, 30);
    let mut rows = vec![row("without a tokenizer", &[], runs, WANTED_MS)];
    if let Some(file) = &bench.tokenizer {
        let arguments = ["--tokenizer", file.to_str().unwrap()];
        rows.push(row(
            "with a tokenizer",
            &arguments,
            runs,
            WANTED_WITH_TOKENIZER_MS,
        ));
    }
    print(
        "Start-up: exec of `kitt run` to its first request at the server, ms",
        &["", "median", "fastest", "slowest", "wanted"],
        &rows,
    );
}

fn row(name: &str, arguments: &[&str], runs: u32, wanted: f64) -> Vec<String> {
    let times: Vec<f64> = (0..runs).map(|_| once(arguments)).collect();
    let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let mut row = vec![name.to_owned()];
    row.extend([median(&times), fastest, slowest].map(|one| number(Some(one), 1)));
    row.push(format!("≤ {wanted}"));
    row
}

/// The simulator runs in this process, so that both times are on one clock.
fn once(arguments: &[&str]) -> f64 {
    let server = paced::start(PacedSpec {
        ttft: std::time::Duration::from_millis(1),
        itl: std::time::Duration::from_millis(1),
        ..PacedSpec::default()
    })
    .unwrap();
    let results = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_kitt"))
        .args([
            "run",
            "-e",
            "openai",
            "-m",
            "paced",
            "--endpoint",
            &server.url(),
        ])
        .args(["--requests", "1", "--runs", "1", "--skip-warmup", "-o"])
        .arg(results.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let before = begun.duration_since(server.started()).as_secs_f64();
    let truth = server.stop().unwrap();
    let first = truth
        .first_arrival_ns
        .unwrap_or_else(|| panic!("kitt sent nothing: {status}"));
    (first as f64 / 1e9 - before) * 1e3
}
