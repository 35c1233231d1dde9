//! `kitt baseline`.

use std::path::PathBuf;

use super::BaselineArgs;

/// Commands about stored baselines.
#[derive(Debug, clap::Subcommand)]
pub enum BaselineCommand {
    /// Fetch the baseline that a run here would be compared with.
    Fetch(Box<FetchArgs>),
    /// List what is stored, and why it may or may not be a baseline.
    List(Box<ListBaselinesArgs>),
    /// Store results as a baseline, on a branch or in a folder.
    Push(Box<PushArgs>),
}

/// Arguments of `kitt baseline fetch`.
#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// Directory for the baseline; must not be there yet.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Commit to hold against, instead of what the event says.
    #[arg(long, value_name = "SHA")]
    pub commit: Option<crate::ids::CommitSha>,
    /// Only a baseline that is comparable with these results.
    #[arg(long, value_name = "DIR")]
    pub like: Option<PathBuf>,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: BaselineArgs,
}

/// Arguments of `kitt baseline list`.
#[derive(Debug, clap::Args)]
pub struct ListBaselinesArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: BaselineArgs,
}

/// Arguments of `kitt baseline push`.
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// The results directory.
    #[arg(value_name = "RESULTS-DIR")]
    pub results: PathBuf,
    /// A folder that later jobs can read, instead of a branch.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Baselines of the same conditions that stay; older ones are removed.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub keep: u32,
    /// Store also what is no green run of the base branch.
    #[arg(long)]
    pub force: bool,
    /// Settings shared with the action.
    #[command(flatten)]
    pub settings: BaselineArgs,
}
