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

mod accepted;
mod audit;
mod badge;
mod baseline;
mod calibrate;
mod calibrate_runner;
mod check_run;
mod cli;
mod commit_comment;
mod contract;
mod daemon;
mod demo;
mod dialect;
mod docker;
mod doctor;
mod driving;
mod engine_commands;
mod engine_logs;
mod engines;
mod events;
mod fault_matrix;
mod fingerprint;
mod flow;
mod fork;
mod gate;
mod github;
mod github_client;
mod harness;
mod history;
mod hostile;
mod init;
mod known_answers;
mod ladder;
mod leaks;
mod links;
mod load;
mod load_faults;
#[cfg(target_os = "linux")]
mod matrix;
mod nvml;
mod operating;
mod outputs;
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
mod sections;
mod serve;
mod server_metrics;
mod sim;
mod telemetry;
mod terminal;
mod verdict;
mod workload;
