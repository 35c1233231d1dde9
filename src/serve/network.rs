//! A network of its own for an engine that must not reach the outside.
//!
//! An `internal` bridge has no route out of this host and publishes no ports; this host itself
//! reaches the container at its own address.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bollard::models::NetworkCreateRequest;
use tokio_util::sync::CancellationToken;

use super::{
    ServeError, attempt,
    creation::{AT_ONCE, settled},
    docker::{Daemon, call, status},
};

const CREATE: Duration = Duration::from_secs(30);
/// A container that is being removed leaves its network a moment later.
const GONE: Duration = Duration::from_secs(15);

/// A network on the daemon.
#[derive(Debug, Clone)]
pub(super) struct Network {
    daemon: Daemon,
    id: String,
}

impl Network {
    /// Makes one without a way out; see [`settled`]. Names of networks are not unique: it is known by its id.
    pub(super) async fn create(
        daemon: &Daemon,
        name: &str,
        labels: &HashMap<String, String>,
        pending: &mut bool,
        cancel: &CancellationToken,
    ) -> Result<Self, ServeError> {
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            internal: Some(true),
            labels: Some(labels.clone()),
            ..NetworkCreateRequest::default()
        };
        let (daemon, action) = (daemon.clone(), "create a network");
        let creation = Box::pin(async move {
            let made = call(action, CREATE, daemon.docker.create_network(request)).await;
            let made = made.map_err(attempt::explained)?;
            Ok(Self {
                id: made.id,
                daemon,
            })
        });
        let phase = "creating the network";
        settled(phase, pending, creation, cancel, Self::discard).await
    }

    /// What a container is put into.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Removes it and proves that it is gone.
    pub(super) async fn remove(&self) -> Result<(), ServeError> {
        remove(&self.daemon, &self.id).await
    }

    /// The same for who cannot wait long.
    pub(super) async fn remove_within(&self, limit: Duration) -> Result<(), ServeError> {
        remove_within(&self.daemon, &self.id, limit).await
    }

    async fn discard(self) {
        if let Err(error) = self.remove_within(AT_ONCE).await {
            tracing::error!(%error, network = self.id, "the network may still be there: run `kitt cleanup`");
        }
    }
}

/// Removes a network by its id and proves that it is gone.
pub(super) async fn remove(daemon: &Daemon, id: &str) -> Result<(), ServeError> {
    remove_within(daemon, id, GONE).await
}

/// One that is gone is a success; one that is still in use is tried again.
async fn remove_within(daemon: &Daemon, id: &str, limit: Duration) -> Result<(), ServeError> {
    let begin = Instant::now();
    loop {
        let left = limit.saturating_sub(begin.elapsed());
        let request = daemon.docker.remove_network(id);
        match call("remove the network", left, request).await {
            Ok(()) => return Ok(()),
            Err(error) if status(&error) == Some(404) => return Ok(()),
            Err(error) if begin.elapsed() >= limit => return Err(error),
            Err(error) => tracing::debug!(%error, "the network is still in use"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
