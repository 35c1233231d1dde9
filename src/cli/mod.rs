//! The command line as it was typed. Nothing is interpreted here.
//!
//! Commands are clap derives; the settings that are also inputs of the action, keys of the
//! config file and operators' variables come from one table ([`SETTINGS`]), so that none of the
//! four can drift from the others.

mod args;
mod baseline;
mod calibrate;
mod host;
mod init;
mod settings;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub use args::{BaselineArgs, CiArgs, JudgeArgs, MeasureArgs, PublishArgs, ReportArgs, Typed};
pub use baseline::{BaselineCommand, FetchArgs, ListBaselinesArgs, PushArgs};
pub use calibrate::{CalibrateCommand, ClientArgs, RunnerArgs, SimulatorArgs};
pub use host::{DoctorArgs, FingerprintArgs};
pub use init::{InitArgs, InitKind};
pub use settings::{Group, Kind, Setting};
pub use table::SETTINGS;

/// Benchmarks LLM inference engines and tells whether a change made inference worse.
#[derive(Debug, Parser)]
#[command(
    name = "kitt",
    version,
    about,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the workflow and `.github/kitt.yml` of a repository: asks, or takes flags.
    Init(Box<InitArgs>),
    /// Measure an engine and write a results directory.
    Run(RunArgs),
    /// What the action and other CI systems call.
    #[command(subcommand)]
    Ci(CiCommand),
    /// Compare two results directories and print the verdict.
    Compare(CompareArgs),
    /// Hold existing results against the policy and print each limit, value and headroom.
    Gate(Box<GateArgs>),
    /// Fetch, list and store the results that later runs are compared with.
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Show the whole flow on the simulated engine: no Docker, GPU or network needed.
    Demo(DemoArgs),
    /// Serve the simulated engine until interrupted.
    Sim(Box<SimArgs>),
    /// Measure kitt's own error, and how much this runner varies.
    #[command(subcommand)]
    Calibrate(CalibrateCommand),
    /// List the engines kitt can measure, and make them ready on this host.
    #[command(subcommand)]
    Engines(EnginesCommand),
    /// Print what makes results of this host comparable.
    Fingerprint(FingerprintArgs),
    /// Look at this host: what would stop a run, what would spoil its numbers, what to do.
    Doctor(Box<DoctorArgs>),
    /// Remove what earlier runs left behind: containers, networks and processes of kitt's own.
    Cleanup(CleanupArgs),
    /// Clean up after the process that started this one, should it be killed.
    #[command(hide = true)]
    Guard,
    /// Print machine-readable facts about kitt itself.
    #[command(subcommand, hide = true)]
    About(AboutCommand),
}

/// Commands for CI.
#[derive(Debug, Subcommand)]
pub enum CiCommand {
    /// Measure, compare with the baseline, report, gate.
    Run(Box<CiRunArgs>),
    /// Compare and report results that exist already.
    Report(Box<CiReportArgs>),
    /// Report what the run of a pull request measured, in a `workflow_run` job with a token that
    /// may write.
    Publish(Box<CiPublishArgs>),
}

/// Arguments of `kitt run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Results directory [default: kitt-results]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print the metrics document alone on standard output.
    #[arg(long)]
    pub json: bool,
    /// Also print the numbers as another load generator defines them; may be given several times.
    #[arg(long = "as", value_name = "DIALECT", value_delimiter = ',')]
    pub dialects: Vec<String>,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: MeasureArgs,
}

/// Arguments of `kitt ci run`.
#[derive(Debug, clap::Args)]
pub struct CiRunArgs {
    /// Print every setting with where its value comes from, and stop.
    #[arg(long)]
    pub print_config: bool,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: CiArgs,
}

/// Arguments of `kitt ci report`; the first six are KITT's.
#[derive(Debug, clap::Args)]
pub struct CiReportArgs {
    /// Write the comment to this file instead of posting it.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: ReportArgs,
}

/// Arguments of `kitt ci publish`.
#[derive(Debug, clap::Args)]
pub struct CiPublishArgs {
    /// Folder for the checked results and the reports; it must not hold anything yet [default: a
    /// new one in the runner's temporary folder]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Settings shared with the action. `--results-dir` is where results lie that were fetched
    /// already.
    #[command(flatten)]
    pub settings: PublishArgs,
}

/// Arguments of `kitt compare`.
#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The baseline's results directory.
    #[arg(required_unless_present = "scenario")]
    pub baseline: Option<PathBuf>,
    /// The current results directory.
    #[arg(required_unless_present = "scenario")]
    pub current: Option<PathBuf>,
    /// Judge a scenario document instead: lists of numbers whose truth may be known.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "current", "run_cv"])]
    pub scenario: Option<PathBuf>,
    /// Print the comparison as JSON.
    #[arg(long)]
    pub json: bool,
    /// Declared run-to-run variation, for one run against one: 0.02 is 2 %.
    #[arg(long, value_name = "CV")]
    pub run_cv: Option<f64>,
}

/// Arguments of `kitt gate`.
#[derive(Debug, clap::Args)]
pub struct GateArgs {
    /// The results directory.
    #[arg(value_name = "RESULTS-DIR")]
    pub results: PathBuf,
    /// Print the table as JSON.
    #[arg(long)]
    pub json: bool,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: JudgeArgs,
}

/// Arguments of `kitt demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// How much slower the current side decodes: 0.08 is 8 %.
    #[arg(long, default_value_t = 0.08, allow_negative_numbers = true)]
    pub slowdown: f64,
    /// Seed of prompts and of the engines' noise.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Most pairs of fresh servers; fewer when the verdict is clear before.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(3..=30))]
    pub runs: u32,
    /// Where results and reports go; made anew.
    #[arg(short, long, default_value = "kitt-demo", value_name = "DIR")]
    pub output: PathBuf,
    /// Close the gate on a regression, as the action does with `gate: true`.
    #[arg(long)]
    pub gate: bool,
}

/// Arguments of `kitt sim`.
#[derive(Debug, clap::Args)]
pub struct SimArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: std::net::IpAddr,
    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 8000)]
    pub port: u16,
    /// Write what really happened to this file, a line per request.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Parameters of the engine, as `--decode-base-ms=6` or `--slowdown=0.08`; a wrong one
    /// lists them all.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "PARAMETER"
    )]
    pub parameters: Vec<String>,
}

/// Commands about engines.
#[derive(Debug, Subcommand)]
pub enum EnginesCommand {
    /// List the engines kitt can measure.
    List(ListArgs),
    /// Pull an engine's image, so that a run does not have to.
    Setup(SetupArgs),
    /// Show which engines are ready on this host: images on the daemon, programs in PATH.
    Status(ListArgs),
}

/// Arguments of `kitt engines list` and `kitt engines status`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `kitt engines setup`.
#[derive(Debug, clap::Args)]
pub struct SetupArgs {
    /// The engine; `kitt engines list` shows them.
    pub engine: String,
    /// This image instead of the engine's default for the GPUs of this host.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<crate::ids::ImageRef>,
}

/// Arguments of `kitt cleanup`.
#[derive(Debug, clap::Args)]
pub struct CleanupArgs {
    /// Remove what this run left, even if its process still lives.
    #[arg(long, value_name = "ID")]
    pub run_id: Option<String>,
}

/// Facts for tests and generators.
#[derive(Debug, Subcommand)]
pub enum AboutCommand {
    /// The settings, as JSON: name, default, help, whether the action has it.
    Settings,
    /// The exit codes, as a Markdown table.
    ExitCodes,
    /// The JSON schema of the config file.
    ConfigSchema,
    /// Every request kitt can make of GitHub and the right it needs, as a Markdown table.
    Operations {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Only methods and routes, as GitHub's API description writes them.
        #[arg(long, conflicts_with = "json")]
        routes: bool,
    },
    /// The rights that each feature needs, as a Markdown table.
    Permissions,
    /// What the newest GitHub Enterprise Server lacks of it.
    MissingOnServer,
    /// The step outputs, as a Markdown table.
    Outputs,
}
