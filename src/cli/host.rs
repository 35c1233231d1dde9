//! Commands about this host, as they were typed.

use std::path::PathBuf;

/// Arguments of `kitt fingerprint`.
#[derive(Debug, clap::Args)]
pub struct FingerprintArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Leave out even the keyed hashes of the boards.
    #[arg(long)]
    pub no_host_ids: bool,
    /// Key of the hashes, at least 16 bytes: `env:NAME` or `file:PATH`. Without one they tell
    /// boards of this output apart and nothing more.
    #[arg(long, value_name = "WHERE", conflicts_with = "no_host_ids")]
    pub salt_from: Option<String>,
}

/// Arguments of `kitt doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Engine that is to run.
    #[arg(short, long, value_name = "ENGINE")]
    pub engine: Option<String>,
    /// Where it is to run: docker or native.
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Image that is to run; looked at if it is here, never pulled.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// GPUs that are to be used: auto, none, amd or a list of UUIDs.
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<String>,
    /// Streams at once that are planned.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
    /// Results directory that is to be written.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Address of the Docker daemon.
    #[arg(long, value_name = "ADDRESS")]
    pub docker_host: Option<String>,
    /// Folder of the GPU locks.
    #[arg(long, value_name = "DIR")]
    pub lock_dir: Option<PathBuf>,
    /// Also measure how long each reading of a GPU takes.
    #[arg(long)]
    pub nvml_bench: bool,
}
