//! The `kitt` command: parses, calls the application, ends with its exit code.

use std::process::ExitCode;

use clap::Parser;
use kitt_action::{app, cli::Cli};

fn main() -> ExitCode {
    app::run(&Cli::parse())
}
