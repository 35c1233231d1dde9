//! Resolves names in the registries and orders the stages. No stage knows another's place.

pub mod calibrate;
mod ci;
mod clock;
mod demo;
mod describe;
mod files;
mod log;
mod measure;
mod out;
mod progress;
mod recorder;
mod report;
mod scenario;
mod session;
mod signal;
mod small;
mod sources;
mod tell;

use std::{io::IsTerminal, process::ExitCode};

use crate::{
    cli::{CalibrateCommand, CiCommand, Cli, Command, EnginesCommand},
    context::EnvSnapshot,
    error::Error,
    exit::Exit,
};

/// Runs the program: logging, runtime, command, exit code.
pub fn run(cli: &Cli) -> ExitCode {
    let env = EnvSnapshot::read();
    let colour = std::io::stderr().is_terminal() && env.get("NO_COLOR").is_none();
    log::start(env.get("RUNNER_DEBUG") == Some("1"), colour);
    // Fails only when a provider is installed already, which is then the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    match start(cli, &env) {
        Ok(exit) => exit.into(),
        Err(error) => {
            tracing::error!("{}", error.chain());
            error.exit().into()
        }
    }
}

fn start(cli: &Cli, env: &EnvSnapshot) -> Result<Exit, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let exit = runtime.block_on(dispatch(cli, env));
    // A blocked name lookup must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    exit
}

async fn dispatch(cli: &Cli, env: &EnvSnapshot) -> Result<Exit, Error> {
    let stop = signal::Stop::listen()?;
    match &cli.command {
        Command::Run(args) => Box::pin(measure::run(args, env, &stop)).await,
        Command::Ci(CiCommand::Run(args)) => Box::pin(ci::run(args, env, &stop)).await,
        Command::Ci(CiCommand::Report(args)) => Box::pin(ci::report(args, env)).await,
        Command::Compare(args) => small::compare(args),
        Command::Demo(args) => Box::pin(demo::run(args, env, &stop)).await,
        Command::Sim(args) => small::simulate(args, &stop).await,
        Command::Calibrate(CalibrateCommand::Client(args)) => {
            Box::pin(calibrate::client(args, &stop)).await
        }
        Command::Calibrate(CalibrateCommand::Simulator(args)) => calibrate::simulator(args),
        Command::Engines(EnginesCommand::List) => Ok(small::engines()),
        Command::Fingerprint => Ok(small::fingerprint()),
        Command::Cleanup(args) => small::cleanup(args, env).await,
        Command::About(command) => Ok(small::about(command)),
    }
}
