//! One container from creation to proof that it is gone.

use std::time::{Duration, Instant};

use bollard::{
    errors::Error,
    models::{ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum},
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
        StartContainerOptions, StopContainerOptionsBuilder, WaitContainerOptions,
    },
};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    ServeError,
    docker::{ASK, Daemon, call, status},
    recipe::port_key,
};

const CREATE: Duration = Duration::from_mins(1);
/// Setting up GPUs and networks takes seconds, on a busy host more.
const START: Duration = Duration::from_mins(2);
/// How long a cancelled creation is waited for before it is left to a task of its own.
const LATE_CREATE: Duration = Duration::from_secs(3);
/// Until a container must be gone. Freeing a GPU's memory takes the kernel seconds.
const GONE: Duration = Duration::from_mins(1);

/// How an engine's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: i64,
    /// The kernel killed a process in it for memory, whatever the exit code says.
    pub(super) oom: bool,
}

/// A container that may exist.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) daemon: Daemon,
    pub(super) name: String,
}

impl Container {
    /// Creates it, in a task of its own: a request that is dropped half-way still makes a
    /// container. On cancellation the caller removes it by name.
    pub(super) async fn create(
        &self,
        body: ContainerCreateBody,
        cancel: &CancellationToken,
    ) -> Result<(), ServeError> {
        let this = self.clone();
        let mut creation = tokio::spawn(async move {
            let options = CreateContainerOptionsBuilder::new()
                .name(&this.name)
                .build();
            let request = this.daemon.docker.create_container(Some(options), body);
            call("create the container", CREATE, request).await
        });
        let finished = tokio::select! {
            finished = &mut creation => Some(finished),
            () = cancel.cancelled() => None,
        };
        let Some(finished) = finished else {
            if tokio::time::timeout(LATE_CREATE, &mut creation)
                .await
                .is_err()
            {
                let this = self.clone();
                tokio::spawn(async move {
                    // Whatever came of it, nothing may stay.
                    let _outcome = creation.await;
                    this.remove().await
                });
            }
            return Err(ServeError::Cancelled {
                phase: "creating the container",
            });
        };
        let created = finished.map_err(|error| ServeError::Docker {
            action: "create the container",
            source: Box::new(std::io::Error::other(error).into()),
        })??;
        for warning in created.warnings {
            tracing::warn!(container = self.name, warning, "Docker");
        }
        Ok(())
    }

    /// Starts it.
    pub(super) async fn start(&self) -> Result<(), ServeError> {
        let request = self
            .daemon
            .docker
            .start_container(&self.name, None::<StartContainerOptions>);
        call("start the container", START, request).await
    }

    /// Base URLs at which the port may answer: the published one, then the container's own
    /// address for when this process itself runs in a container.
    pub(super) async fn addresses(&self, port: u16) -> Result<Vec<Url>, ServeError> {
        let found = self.inspect().await?;
        let network = found.network_settings.unwrap_or_default();
        let published = network
            .ports
            .unwrap_or_default()
            .remove(&port_key(port))
            .flatten()
            .unwrap_or_default()
            .into_iter()
            .find_map(|binding| binding.host_port)
            .map(|port| format!("http://127.0.0.1:{port}/"));
        let own = network
            .networks
            .unwrap_or_default()
            .into_values()
            .filter_map(|endpoint| endpoint.ip_address)
            .filter(|address| !address.is_empty())
            .map(|address| format!("http://{address}:{port}/"));
        let all = published.into_iter().chain(own);
        Ok(all.filter_map(|text| Url::parse(&text).ok()).collect())
    }

    /// Waits until it has ended by itself.
    pub(super) async fn exited(&self) -> Exit {
        loop {
            let options = None::<WaitContainerOptions>;
            let mut waiting = self.daemon.docker.wait_container(&self.name, options);
            let ended = match waiting.next().await {
                Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) => true,
                // The connection broke: the container may well live on.
                Some(Err(_)) | None => false,
            };
            match self.ended().await {
                Ok(Some(exit)) => return exit,
                Ok(None) if ended => tracing::debug!("ended, but its state says otherwise"),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the container's state is unknown"),
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How it ended, if it has.
    pub(super) async fn ended(&self) -> Result<Option<Exit>, ServeError> {
        Ok(exit(self.inspect().await?))
    }

    async fn inspect(&self) -> Result<ContainerInspectResponse, ServeError> {
        let request = self
            .daemon
            .docker
            .inspect_container(&self.name, None::<InspectContainerOptions>);
        call("look at the container", ASK, request).await
    }

    /// Asks it to stop and kills it after `limit`.
    pub(super) async fn stop(&self, limit: Duration) -> Result<(), ServeError> {
        let seconds = i32::try_from(limit.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let request = self.daemon.docker.stop_container(&self.name, Some(options));
        call("stop the container", limit.saturating_add(ASK), request).await
    }

    /// Kills and removes it with its anonymous volumes, and proves that it is gone. One that
    /// never was is gone.
    pub(super) async fn remove(&self) -> Result<(), ServeError> {
        let begin = Instant::now();
        loop {
            let options = RemoveContainerOptionsBuilder::new()
                .force(true)
                .v(true)
                .build();
            let request = self
                .daemon
                .docker
                .remove_container(&self.name, Some(options));
            // 404: gone. 409: somebody else is at it. Both are settled by looking again.
            let removed = call("remove the container", GONE, request).await;
            let looked = self.inspect().await;
            if looked
                .as_ref()
                .is_err_and(|error| status(error) == Some(404))
            {
                return Ok(());
            }
            if begin.elapsed() >= GONE {
                return Err(removed
                    .err()
                    .or(looked.err())
                    .unwrap_or(ServeError::DockerTimeout {
                        action: "remove the container",
                        limit: GONE,
                    }));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn exit(found: ContainerInspectResponse) -> Option<Exit> {
    let state = found.state?;
    let over = match state.status? {
        ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD => true,
        ContainerStateStatusEnum::EMPTY
        | ContainerStateStatusEnum::CREATED
        | ContainerStateStatusEnum::RUNNING
        | ContainerStateStatusEnum::PAUSED
        | ContainerStateStatusEnum::RESTARTING
        | ContainerStateStatusEnum::STOPPING
        | ContainerStateStatusEnum::REMOVING => false,
    };
    over.then(|| Exit {
        code: state.exit_code.unwrap_or(-1),
        oom: state.oom_killed.unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;

    use super::*;

    fn state(status: ContainerStateStatusEnum, code: i64, oom: bool) -> ContainerInspectResponse {
        ContainerInspectResponse {
            state: Some(ContainerState {
                status: Some(status),
                exit_code: Some(code),
                oom_killed: Some(oom),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn only_a_container_that_ran_and_ended_has_an_exit() {
        assert_eq!(
            exit(state(ContainerStateStatusEnum::RUNNING, 0, false)),
            None
        );
        assert_eq!(
            exit(state(ContainerStateStatusEnum::CREATED, 0, false)),
            None
        );
        // A killed child: the parent ended with 3, the flag still says memory.
        assert_eq!(
            exit(state(ContainerStateStatusEnum::EXITED, 3, true)),
            Some(Exit { code: 3, oom: true })
        );
    }
}
