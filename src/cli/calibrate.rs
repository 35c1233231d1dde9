//! `kitt calibrate`, as it was typed.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Subcommand;

use super::MeasureArgs;

/// Commands that measure kitt itself.
#[derive(Debug, Subcommand)]
pub enum CalibrateCommand {
    /// Print the error bars of the load generator on this machine, against a simulator that
    /// knows the truth.
    Client(ClientArgs),
    /// Measure identical sides in pairs on this runner: how much they differ by chance, whether one
    /// side is favoured, and the smallest effect that pairs can prove here.
    Runner(Box<RunnerArgs>),
    /// The simulator of `calibrate client`, in a process of its own, until its input ends.
    #[command(hide = true)]
    Simulator(SimulatorArgs),
}

/// Arguments of `kitt calibrate client`.
#[derive(Debug, clap::Args)]
pub struct ClientArgs {
    /// Streams at once; one level after the other.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "1,64,256,512,1024"
    )]
    pub concurrency: Vec<NonZeroU32>,
    /// How long requests are sent at each level.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `kitt calibrate runner`.
#[derive(Debug, clap::Args)]
pub struct RunnerArgs {
    /// Pairs of identical sides, 8 to 30.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(8..=30))]
    pub pairs: u32,
    /// Where the results of all runs and noise.json go.
    #[arg(short, long, value_name = "DIR", default_value = "kitt-calibration")]
    pub output: PathBuf,
    /// Also keep the noise profile in this file, where `kitt ci run` finds it.
    #[arg(long, value_name = "FILE")]
    pub noise_profile: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    pub json: bool,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: MeasureArgs,
}

/// Arguments of the hidden simulator.
#[derive(Debug, clap::Args)]
pub struct SimulatorArgs {
    /// Its parameters, as JSON.
    #[arg(long, value_name = "JSON")]
    pub spec: String,
    /// The processor it runs on.
    #[arg(long, value_name = "NUMBER")]
    pub processor: Option<usize>,
}
