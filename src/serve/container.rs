//! One container on the daemon: start, watch, stop, and proof that it is gone. `creation` makes
//! it.

use std::time::{Duration, Instant};

use bollard::{
    models::{ContainerInspectResponse, ContainerStateStatusEnum},
    query_parameters::{
        InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
        StatsOptionsBuilder, StopContainerOptionsBuilder, WaitContainerOptions,
    },
};
use futures_util::StreamExt;

use super::{
    ServeError,
    docker::{ASK, Daemon, call, status},
};

/// Setting up GPUs and networks takes seconds, on a busy host more.
const START: Duration = Duration::from_mins(2);
/// Until a container must be gone. Freeing a GPU's memory takes the kernel seconds.
const GONE: Duration = Duration::from_mins(1);
/// Pauses before a daemon that went away is asked again: ten seconds in all.
const RECONNECT: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

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
    /// Its name or, better, its id: a name may be given to another container later.
    pub(super) name: String,
}

impl Container {
    /// Starts it.
    pub(super) async fn start(&self) -> Result<(), ServeError> {
        let request = self
            .daemon
            .docker
            .start_container(&self.name, None::<StartContainerOptions>);
        call("start the container", START, request).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// The daemon went away and did not come back, or somebody removed the container.
    pub(super) async fn watch(&self) -> Result<Exit, ServeError> {
        loop {
            let options = None::<WaitContainerOptions>;
            let mut waiting = self.daemon.docker.wait_container(&self.name, options);
            // Whatever is said: a broken connection proves no death, and the container's state
            // is what counts.
            let _said = waiting.next().await;
            if let Some(exit) = self.state().await? {
                return Ok(exit);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// How it ended, if it has; asked again where the daemon does not answer.
    async fn state(&self) -> Result<Option<Exit>, ServeError> {
        let begin = Instant::now();
        let mut pauses = RECONNECT.iter();
        loop {
            let error = match self.ended().await {
                Ok(found) => return Ok(found),
                Err(error) if status(&error) == Some(404) => return Err(ServeError::Vanished),
                Err(error) => error,
            };
            let Some(pause) = pauses.next() else {
                return Err(ServeError::DaemonLost {
                    attempts: RECONNECT.len(),
                    after: begin.elapsed(),
                    source: Box::new(error),
                });
            };
            tracing::warn!(%error, "the Docker daemon does not answer; asked again in {pause:?}");
            tokio::time::sleep(*pause).await;
        }
    }

    /// How it ended, if it has.
    pub(super) async fn ended(&self) -> Result<Option<Exit>, ServeError> {
        Ok(exit(self.inspect().await?))
    }

    /// What the daemon knows about it.
    pub(super) async fn inspect(&self) -> Result<ContainerInspectResponse, ServeError> {
        let request = self
            .daemon
            .docker
            .inspect_container(&self.name, None::<InspectContainerOptions>);
        call("look at the container", ASK, request).await
    }

    /// What it uses right now, in words; `None` where the daemon does not tell.
    pub(super) async fn usage(&self) -> Option<String> {
        let options = StatsOptionsBuilder::new()
            .stream(false)
            .one_shot(true)
            .build();
        let mut stats = self.daemon.docker.stats(&self.name, Some(options));
        let one = tokio::time::timeout(ASK, stats.next()).await;
        let found = one.ok()??.ok()?;
        let mib = found.memory_stats?.usage? >> 20;
        let nanoseconds = found.cpu_stats?.cpu_usage?.total_usage?;
        let busy = Duration::from_nanos(nanoseconds).as_secs_f64();
        Some(format!(
            "its container holds {mib} MiB of memory and has used {busy:.1} s of processor time"
        ))
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
        self.remove_within(GONE).await
    }

    /// The same for who cannot wait long.
    pub(super) async fn remove_within(&self, limit: Duration) -> Result<(), ServeError> {
        let begin = Instant::now();
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            let options = RemoveContainerOptionsBuilder::new()
                .force(true)
                .v(true)
                .build();
            let request = self
                .daemon
                .docker
                .remove_container(&self.name, Some(options));
            // 404: gone. 409: somebody else is at it. Both are settled by looking again.
            let removed = call("remove the container", left, request).await;
            let looked = self.inspect().await;
            if looked
                .as_ref()
                .is_err_and(|error| status(error) == Some(404))
            {
                return Ok(());
            }
            if begin.elapsed() >= limit {
                return Err(removed
                    .err()
                    .or(looked.err())
                    .unwrap_or(ServeError::DockerTimeout {
                        action: "remove the container",
                        limit,
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
