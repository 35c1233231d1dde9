//! Sweeping containers that earlier runs left behind. Only what carries our label is looked at,
//! and only what certainly has no owner any more is removed.

use std::{collections::HashMap, path::Path};

use bollard::{models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};

use super::{
    LABEL, ServeError,
    container::Container,
    docker::{ASK, Daemon, call, connect},
    owner::{self, RUN},
};

/// What a sweep did, as container names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// Removed.
    pub removed: Vec<String>,
    /// Ours, but of a run that may still be alive.
    pub kept: Vec<String>,
}

/// Removes what kitt left on the daemon: everything of `run_id`, and everything whose owner is
/// dead. A host without Docker is clean.
///
/// # Errors
/// A daemon that answers but cannot list or remove.
pub async fn cleanup(
    docker_host: Option<&str>,
    run_id: Option<&str>,
) -> Result<Cleanup, ServeError> {
    match connect(docker_host).await {
        Ok(daemon) => sweep(&daemon, run_id).await,
        Err(error @ ServeError::NoDocker { .. }) => {
            tracing::debug!(%error, "nothing to clean up");
            Ok(Cleanup::default())
        }
        Err(error) => Err(error),
    }
}

/// One sweep. Every container is tried; the first error is reported after that.
pub(super) async fn sweep(daemon: &Daemon, run_id: Option<&str>) -> Result<Cleanup, ServeError> {
    let mut done = Cleanup::default();
    let mut failed = None;
    for found in list(daemon).await? {
        let Some(id) = found.id.clone() else {
            continue;
        };
        let name = display_name(&found).unwrap_or_else(|| id.clone());
        if !is_ours_to_remove(&found.labels.unwrap_or_default(), daemon, run_id) {
            done.kept.push(name);
            continue;
        }
        // By id: a name could have been given to another container since.
        let container = Container {
            daemon: daemon.clone(),
            name: id,
        };
        match container.remove().await {
            Ok(()) => {
                tracing::info!(container = name, "removed a leftover");
                done.removed.push(name);
            }
            Err(error) => {
                tracing::warn!(container = name, %error, "a leftover could not be removed");
                failed = failed.or(Some(error));
                done.kept.push(name);
            }
        }
    }
    failed.map_or(Ok(done), Err)
}

fn is_ours_to_remove(
    labels: &HashMap<String, String>,
    daemon: &Daemon,
    run_id: Option<&str>,
) -> bool {
    let of_run = run_id.is_some_and(|run| labels.get(RUN).is_some_and(|label| label == run));
    let proc = Path::new("/proc/self/stat").exists();
    of_run || (proc && owner::is_stale(labels, &daemon.owner, daemon.local, owner::alive_since))
}

async fn list(daemon: &Daemon) -> Result<Vec<ContainerSummary>, ServeError> {
    let filter = [("label", vec![format!("{LABEL}=1")])].into();
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter)
        .build();
    let listed = daemon.docker.list_containers(Some(options));
    let mut found = call("list containers", ASK, listed).await?;
    // The daemon filters; what is removed is checked here once more.
    found.retain(|one| {
        let labels = one.labels.as_ref();
        labels.is_some_and(|labels| labels.get(LABEL).is_some_and(|value| value == "1"))
    });
    Ok(found)
}

fn display_name(found: &ContainerSummary) -> Option<String> {
    let name = found.names.as_ref()?.first()?;
    Some(name.trim_start_matches('/').to_owned())
}
