//! Resolves names in the registries and orders the stages. No stage knows another's place.

mod accept;
mod baseline;
pub mod calibrate;
mod check;
mod ci;
mod clock;
mod demo;
mod describe;
mod doctor;
mod earlier;
mod engines;
mod files;
mod fingerprint;
mod forks;
mod gate;
mod gpus;
mod init;
mod learn;
mod log;
mod measure;
mod merged;
mod out;
mod pairs;
mod past;
mod policy;
mod progress;
mod publish_fork;
mod rebuild;
mod recorder;
mod report;
mod scenario;
mod serving;
mod session;
mod signal;
mod small;
mod sources;
mod space;
mod tell;

use std::{io::IsTerminal, process::ExitCode};

use self::signal::Stop;
use crate::{
    cli::{CalibrateCommand, CiCommand, Cli, Command},
    context::EnvSnapshot,
    error::Error,
    exit::Exit,
    serve,
};

/// Runs the program: logging, runtime, command, exit code.
pub fn run(cli: &Cli) -> ExitCode {
    if matches!(cli.command, Command::Guard) {
        // Before anything is opened: it lives in a world of its own.
        return guard();
    }
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

/// `kitt guard`, which kitt starts by itself.
fn guard() -> ExitCode {
    match serve::guard() {
        Ok(()) => Exit::Success.into(),
        Err(error) => {
            log::start(false, false);
            tracing::error!("{error}");
            Exit::Usage.into()
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
    let stop = Stop::listen()?;
    // On the heap: the futures hold everything that a run needs.
    stop.heeded(Box::pin(command(cli, env, &stop))).await
}

async fn command(cli: &Cli, env: &EnvSnapshot, stop: &Stop) -> Result<Exit, Error> {
    match &cli.command {
        Command::Init(args) => Box::pin(init::run(args, env)).await,
        Command::Run(args) => Box::pin(measure::run(args, env, stop)).await,
        Command::Ci(CiCommand::Run(args)) => Box::pin(ci::run(args, env, stop)).await,
        Command::Ci(CiCommand::Report(args)) => Box::pin(ci::report(args, env)).await,
        Command::Ci(CiCommand::Publish(args)) => Box::pin(publish_fork::run(args, env, stop)).await,
        Command::Compare(args) => small::compare(args),
        Command::Gate(args) => gate::run(args, env),
        Command::Baseline(command) => Box::pin(baseline::run(command, env)).await,
        Command::Demo(args) => Box::pin(demo::run(args, env, stop)).await,
        Command::Sim(args) => small::simulate(args, stop).await,
        Command::Calibrate(CalibrateCommand::Client(args)) => {
            Box::pin(calibrate::client(args, stop)).await
        }
        Command::Calibrate(CalibrateCommand::Runner(args)) => {
            Box::pin(calibrate::runner(args, env, stop)).await
        }
        Command::Calibrate(CalibrateCommand::Simulator(args)) => calibrate::simulator(args),
        Command::Engines(command) => engines::run(command, env).await,
        // Served before there was a runtime.
        Command::Guard => Ok(Exit::Success),
        Command::Fingerprint(args) => fingerprint::run(args, env).await,
        Command::Doctor(args) => Box::pin(doctor::run(args, env)).await,
        Command::Cleanup(args) => small::cleanup(args, env).await,
        Command::About(command) => Ok(small::about(command)),
    }
}
