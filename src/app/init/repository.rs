//! What git says of the repository that `kitt init` writes into.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The repository's top folder; `None` where there is none, or no git.
pub(super) fn root(path: &Path) -> Option<PathBuf> {
    said(path, &["rev-parse", "--show-toplevel"]).map(PathBuf::from)
}

/// The branch that pull requests are compared with: the remote's own, else the one that is checked
/// out.
pub(super) fn default_branch(path: &Path) -> Option<String> {
    let remote = said(
        path,
        &[
            "symbolic-ref",
            "--quiet",
            "--short",
            "refs/remotes/origin/HEAD",
        ],
    );
    remote
        .and_then(|name| name.strip_prefix("origin/").map(str::to_owned))
        .or_else(|| said(path, &["symbolic-ref", "--quiet", "--short", "HEAD"]))
}

/// The first line of what git prints; `None` when it fails or prints nothing.
fn said(path: &Path, args: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(args)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .current_dir(path)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next()?;
    (!line.is_empty()).then(|| line.to_owned())
}
