//! The check run from its beginning: it is there before anything is measured, and its id outlives
//! the process.
//!
//! A cancelled run has ten seconds for its GPU and none for the network, and a killed one has
//! nothing. So the id lies in the job's own scratch folder, and `kitt cleanup`, the action's last
//! step, ends what was left open.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{files, signal::Stop, tell};
use crate::{
    context::{Inputs, Publish},
    error::Error,
    github::{GitHub, GitHubError},
    publish::{self, Audience, CheckState, PublishError, Remote},
};

/// Longest note that is read: it holds two numbers.
const MOST_BYTES: u64 = 4_096;

/// What the scratch folder says of an open check run.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// The workflow run it is of.
    run: Option<u64>,
    /// Its id.
    check: u64,
}

/// Begins the check run where one was asked for. What fails is told, and stops nothing.
pub(super) async fn begin(inputs: &Inputs, stop: &Stop) -> CheckState {
    let remote = Remote {
        publish: &inputs.publish,
        trigger: &inputs.trigger,
        check: CheckState::None,
    };
    if !inputs.publish.check_run {
        return CheckState::None;
    }
    let begun = publish::begin_check(remote);
    match stop.token().run_until_cancelled(begun).await {
        Some(Ok(Some(check))) => {
            tracing::info!("the check run is in progress");
            keep(inputs, check.id);
            CheckState::Begun(check.id)
        }
        Some(Ok(None)) | None => CheckState::None,
        Some(Err(error)) => {
            let audience = Audience {
                files: &inputs.publish.files,
                remote: Some(remote),
            };
            tell::not_posted(audience, "the check run", &error);
            refused(&error)
        }
    }
}

/// Whether there is any use in trying again once it was measured.
fn refused(error: &PublishError) -> CheckState {
    let passing = matches!(
        error,
        PublishError::GitHub(GitHubError::Unreachable { .. } | GitHubError::Limited { .. })
    );
    if passing {
        CheckState::None
    } else {
        CheckState::Refused
    }
}

fn place(publish: &Publish) -> Option<PathBuf> {
    Some(publish.files.scratch.as_ref()?.join("kitt-check-run.json"))
}

fn keep(inputs: &Inputs, check: u64) {
    let note = Note {
        run: inputs.trigger.workflow_run,
        check,
    };
    let Some(path) = place(&inputs.publish) else {
        return;
    };
    let text = serde_json::to_string(&note).unwrap_or_default();
    if let Err(error) = files::write(&path, &text) {
        tracing::warn!(
            "a killed run would leave its check run open: {}",
            error.chain()
        );
    }
}

/// Forgets the check run: it is complete.
pub(super) fn forget(publish: &Publish) {
    if let Some(path) = place(publish) {
        // One that was never begun has no note.
        drop(std::fs::remove_file(path));
    }
}

/// Ends the check run that a killed or cancelled run of this job left open.
///
/// # Errors
/// GitHub does not take it.
pub(super) async fn end(inputs: &Inputs) -> Result<(), Error> {
    let publish = &inputs.publish;
    let Some(note) = place(publish).as_deref().and_then(read) else {
        return Ok(());
    };
    let (Some(token), Some(repo)) = (&publish.token, &publish.repo) else {
        tracing::warn!("a check run is still in progress, and no token is given to end it");
        return Ok(());
    };
    if note.run == inputs.trigger.workflow_run {
        let github = GitHub::new(&publish.api_url, token.clone()).map_err(PublishError::from)?;
        publish::end_check(&github, repo, note.check).await?;
        tracing::info!("the check run that was left in progress is ended");
    }
    forget(publish);
    Ok(())
}

/// Other steps of the job can write there too: a note that is none is no note.
fn read(path: &Path) -> Option<Note> {
    let small = std::fs::symlink_metadata(path)
        .is_ok_and(|file| file.is_file() && file.len() <= MOST_BYTES);
    let text = if small {
        std::fs::read_to_string(path).ok()?
    } else {
        return None;
    };
    serde_json::from_str(&text).ok()
}
