//! What is typed after `kitt init`.

use std::path::PathBuf;

use clap::ValueEnum;

/// Arguments of `kitt init`. On a terminal it asks for what is not given here.
#[derive(Debug, Default, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one for each switch of the command line"
)]
pub struct InitArgs {
    /// Folder of the repository.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Workflows to write, comma-separated [default: pr-gate]
    #[arg(long, value_enum, value_name = "KIND", value_delimiter = ',')]
    pub kind: Vec<InitKind>,
    /// Inference engine; `kitt engines list` shows them.
    #[arg(short, long)]
    pub engine: Option<String>,
    /// Model to serve: a path on the runner or a hub id. May be given several times for a matrix.
    #[arg(short, long)]
    pub model: Vec<String>,
    /// Base URL of the running server (engine openai).
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Container image instead of the engine's default.
    #[arg(long)]
    pub image: Option<String>,
    /// Suite of tests [default: quick]
    #[arg(short, long)]
    pub suite: Option<String>,
    /// Labels of your GPU runners, comma-separated [default: self-hosted,linux,gpu]
    #[arg(long, value_name = "LABELS")]
    pub labels: Option<String>,
    /// Labels of the runners that take pull requests of forks [default: self-hosted,linux,gpu-forks]
    #[arg(long, value_name = "LABELS")]
    pub fork_labels: Option<String>,
    /// Fail the check on a proven regression [default: true]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub gate: Option<bool>,
    /// Branch that pull requests are compared with [default: the repository's]
    #[arg(long)]
    pub branch: Option<String>,
    /// Commit or tag of the action to pin; a tag is looked up [default: this version's]
    #[arg(long = "ref", value_name = "REF")]
    pub reference: Option<String>,
    /// Ask GitHub nothing: a tag stays a tag.
    #[arg(long)]
    pub offline: bool,
    /// Ask nothing: what is not given has its default.
    #[arg(short, long)]
    pub yes: bool,
    /// Print what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Overwrite files that are there and differ.
    #[arg(long)]
    pub force: bool,
}

/// A workflow that `kitt init` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum InitKind {
    /// Every pull request against the base branch, with a comment and a gate.
    PrGate,
    /// The base branch every night against the nights before.
    Nightly,
    /// pr-gate and nightly.
    Both,
    /// By hand, with a form of typed inputs.
    Dispatch,
    /// Pull requests from forks, in two stages.
    ForkSafe,
    /// Several models, one comment, one gate.
    Matrix,
    /// Only pull requests with a label, where paths match.
    Labelled,
}
