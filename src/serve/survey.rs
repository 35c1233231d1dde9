//! What `kitt doctor` and `kitt fingerprint` ask of the daemon: questions only, nothing changes.

use super::{DaemonFacts, ServeError, docker::Daemon, owner::Life, reaper};

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
    let leftovers = reaper::containers(daemon).await?.into_iter();
    Ok(Survey {
        facts: daemon.facts().await?.clone(),
        leftovers: leftovers
            .map(|(name, life)| (name, life == Life::Dead))
            .collect(),
        local: daemon.local,
    })
}
