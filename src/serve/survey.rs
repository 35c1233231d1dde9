//! What `kitt doctor` and `kitt fingerprint` ask of the daemon: questions only, nothing changes.

use bollard::query_parameters::ListContainersOptionsBuilder;

use super::{
    DaemonFacts, LABEL, ServeError,
    docker::{ASK, Daemon, call},
    owner,
};

/// What a daemon says of itself, and what kitt left there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// What it says of itself.
    pub facts: DaemonFacts,
    /// Containers that kitt made: name, and whether their owner is dead for certain.
    pub leftovers: Vec<(String, bool)>,
    /// Whether it runs on this machine: its paths mean something here.
    pub local: bool,
}

/// Asks a daemon about itself and about what kitt left there.
///
/// # Errors
/// It does not answer.
pub async fn survey(daemon: &Daemon) -> Result<Survey, ServeError> {
    Ok(Survey {
        facts: daemon.facts().await?.clone(),
        leftovers: leftovers(daemon).await?,
        local: daemon.local,
    })
}

async fn leftovers(daemon: &Daemon) -> Result<Vec<(String, bool)>, ServeError> {
    let filter = [("label", vec![format!("{LABEL}=1")])].into();
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter)
        .build();
    let listed = daemon.docker.list_containers(Some(options));
    let found = call("list containers", ASK, listed).await?;
    let described = |one: bollard::models::ContainerSummary| {
        let labels = one.labels.unwrap_or_default();
        let name = one.names?.into_iter().next()?;
        let life = owner::life(&labels, &daemon.owner, daemon.local, owner::alive_since);
        Some((
            name.trim_start_matches('/').to_owned(),
            life == owner::Life::Dead,
        ))
    };
    Ok(found.into_iter().filter_map(described).collect())
}
