//! Runs the built binary with a scrubbed environment.

use std::{path::Path, process::Command};

/// The built `kitt`, with nothing of the caller's environment but what a shell needs: no
/// `GITHUB_*`, `RUNNER_*`, `KITT_*`, `CI`, proxies or tokens.
#[must_use]
pub fn kitt() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kitt"));
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("NO_COLOR", "1");
    command
}

/// A path below `fixtures/`.
#[must_use]
pub fn fixture(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}
