//! From a recipe to a container that runs: what the daemon refuses is explained, and where there
//! is another way to the same thing that way is taken, once.

use std::time::{Duration, Instant};

use bollard::errors::Error;
use tokio_util::sync::CancellationToken;

use super::{
    ServeError,
    container::Container,
    creation,
    docker::Daemon,
    facts::DaemonFacts,
    network::Network,
    recipe::Recipe,
    refusal::{self, Again, Refusal},
};

/// What was made for an engine.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) network: Option<Network>,
    pub(super) container: Option<Container>,
    /// Something more may yet come of a request that was given up.
    pub(super) pending: bool,
}

impl Made {
    /// Removes everything and proves it. `patience` is how long each removal may take where
    /// there is no time.
    pub(super) async fn remove(&mut self, patience: Option<Duration>) -> Result<(), ServeError> {
        let removed = match (&self.container, patience) {
            (Some(container), Some(limit)) => container.remove_within(limit).await,
            (Some(container), None) => container.remove().await,
            (None, _) => Ok(()),
        };
        // A network is free once its container is gone.
        let freed = match (&self.network, patience) {
            (Some(network), Some(limit)) => network.remove_within(limit).await,
            (Some(network), None) => network.remove().await,
            (None, _) => Ok(()),
        };
        removed.and(freed)?;
        if self.pending {
            return Err(ServeError::DockerTimeout {
                action: "say what came of a request that was given up",
                limit: patience.unwrap_or_default(),
            });
        }
        Ok(())
    }
}

/// Creates and starts; gives the container and when its start was asked for. What was made stands
/// in `made` from the moment it may exist.
pub(super) async fn run(
    daemon: &Daemon,
    name: &str,
    mut recipe: Recipe,
    facts: &DaemonFacts,
    made: &mut Made,
    cancel: &CancellationToken,
) -> Result<(Container, Instant), ServeError> {
    if recipe.spec.offline {
        let labels = &recipe.labels;
        let network = Network::create(daemon, name, labels, &mut made.pending, cancel).await?;
        recipe.network = Some(network.id().to_owned());
        made.network = Some(network);
    }
    let mut port_tried = false;
    loop {
        let created = creation::container(daemon, name, &recipe, &mut made.pending, cancel).await;
        let refused = match created {
            Ok(container) => {
                let container = made.container.insert(container);
                let begin = Instant::now();
                let started = tokio::select! {
                    started = container.start() => started,
                    () = cancel.cancelled() => Err(ServeError::Cancelled { phase: "starting the container" }),
                };
                match started {
                    Ok(()) => return Ok((container.clone(), begin)),
                    Err(refused) => refused,
                }
            }
            Err(refused) => refused,
        };
        let again = known(&refused).and_then(|refusal| refusal.again);
        let possible = again.filter(|again| match again {
            Again::Cdi => !facts.cdi_dirs.is_empty(),
            Again::WithoutUlimits => true,
            Again::OtherPort => !std::mem::replace(&mut port_tried, true),
        });
        let Some((again, next)) = possible.and_then(|again| Some((again, recipe.after(again)?)))
        else {
            return Err(explained(refused));
        };
        if let Some(container) = &made.container {
            container.remove().await?;
            made.container = None;
        }
        tracing::warn!(error = %explained(refused), "tried again {}", how(again));
        recipe = next;
    }
}

const fn how(again: Again) -> &'static str {
    match again {
        Again::Cdi => "through device specifications (CDI)",
        Again::WithoutUlimits => "without limits of processes",
        Again::OtherPort => "on another port",
    }
}

/// The daemon's own sentence.
fn sentence(error: &ServeError) -> Option<&str> {
    if let ServeError::Docker { source, .. } = error
        && let Error::DockerResponseServerError { message, .. } = source.as_ref()
    {
        return Some(message);
    }
    None
}

fn known(error: &ServeError) -> Option<&'static Refusal> {
    refusal::classify(sentence(error)?)
}

/// A refusal in our words, where it is understood.
pub(super) fn explained(error: ServeError) -> ServeError {
    match (known(&error), sentence(&error)) {
        (Some(refusal), Some(detail)) => ServeError::Refused {
            fault: refusal.fault,
            cause: refusal.cause,
            remedy: refusal.remedy,
            detail: detail.trim().to_owned(),
        },
        _ => error,
    }
}
