//! The binary and the library, driven from outside. One test binary, so that it links once.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "test code: a panic is a failing test, and names are the documentation"
)]

mod audit;
mod calibrate;
mod calibrate_runner;
mod cli;
mod daemon;
mod demo;
mod dialect;
mod docker;
mod doctor;
mod driving;
mod engine_commands;
mod engine_logs;
mod engines;
mod fault_matrix;
mod fingerprint;
mod flow;
mod gate;
mod harness;
mod history;
mod known_answers;
mod leaks;
mod load;
mod load_faults;
#[cfg(target_os = "linux")]
mod nvml;
mod operating;
mod paced;
mod pairs;
mod publish;
mod readme;
mod real;
mod registry;
mod render;
mod render_cases;
mod render_designs;
mod results;
mod sample;
mod scripted;
mod serve;
mod server_metrics;
mod sim;
mod telemetry;
mod terminal;
mod verdict;
mod workload;
