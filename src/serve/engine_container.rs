//! An engine in a container, from its image to the proof that nothing is left.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use bollard::models::ContainerCreateBody;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Endpoint, EngineFacts, ServeError, ServeOptions, connect,
    container::{Container, Exit},
    docker::{ASK, Daemon, call},
    image::{self, Image},
    logs::{Log, Sink},
    mounts,
    ready::Probe,
    reaper,
    recipe::{self, GpuAccess},
    scope::{STARTING, identified, own_version, supervised},
};
use crate::engine::{ContainerSpec, ImageSource, LaunchSpec};

/// How long the last words of a dead engine are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Engines of this process so far: several of one run follow one another or run side by side.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// See [`super::with_engine`].
pub(super) async fn run<T>(
    container: &ContainerSpec,
    spec: &LaunchSpec,
    options: &ServeOptions,
    cancel: &CancellationToken,
    body: impl AsyncFnOnce(Endpoint) -> T,
) -> Result<T, ServeError> {
    let prepared = tokio::select! {
        // Boxed: pulls and imports would be part of every caller's future.
        prepared = Box::pin(prepare(container, options)) => prepared?,
        () = cancel.cancelled() => {
            return Err(ServeError::Cancelled { phase: "preparing the image" });
        }
    };
    let mut engine = Engine {
        container: prepared.container,
        log: None,
    };
    // From here on a container may exist: nothing returns before it is removed.
    let starting = engine.start(
        prepared.request,
        prepared.sink,
        container.port,
        spec,
        cancel,
    );
    let outcome = match Box::pin(starting).await {
        Ok(started) => {
            let endpoint = started.endpoint(container, prepared.image);
            // Boxed, since the body is moved inward several times.
            engine.serve(Box::pin(body(endpoint)), cancel).await
        }
        Err(error) => Err(error),
    };
    if outcome.is_ok() {
        engine.stop(options.stop_timeout, cancel).await;
    }
    let removed = engine.remove().await;
    match (outcome, removed) {
        (Ok(value), Ok(())) => Ok(value),
        (Ok(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        (Err(error), Err(leak)) => {
            tracing::error!(error = %leak, "the engine's container may still be there: run `kitt cleanup`");
            Err(error)
        }
    }
}

struct Prepared {
    container: Container,
    request: ContainerCreateBody,
    image: Image,
    sink: Sink,
}

/// Everything that can fail without leaving a container. Safe to drop.
async fn prepare(spec: &ContainerSpec, options: &ServeOptions) -> Result<Prepared, ServeError> {
    let daemon = connect(options.docker_host.as_deref()).await?;
    if daemon.local {
        mounts::check(spec)?;
    }
    if let Err(error) = reaper::sweep(&daemon, None).await {
        tracing::warn!(%error, "leftovers of earlier runs could not be swept");
    }
    let image = image::ensure(&daemon, &spec.image, options.auto_pull).await?;
    let sink = Sink::open(options).await?;
    let access = gpu_access(&daemon, spec).await?;
    let labels = daemon.owner.labels(&options.run_id);
    let request = recipe::body(spec, &image.reference, labels, access);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = recipe::name(&options.run_id, std::process::id(), count);
    Ok(Prepared {
        container: Container { daemon, name },
        request,
        image,
        sink,
    })
}

/// A daemon with NVIDIA's runtime takes device requests; one that only has device
/// specifications takes those. When in doubt the request, whose error names what is missing.
async fn gpu_access(daemon: &Daemon, spec: &ContainerSpec) -> Result<GpuAccess, ServeError> {
    if spec.gpus.is_empty() {
        return Ok(GpuAccess::Request);
    }
    let info = call("describe itself", ASK, daemon.docker.info()).await?;
    let runtime = info.runtimes.is_some_and(|all| all.contains_key("nvidia"));
    let specified = info
        .cdi_spec_dirs
        .is_some_and(|folders| !folders.is_empty());
    Ok(if !runtime && specified {
        GpuAccess::Cdi
    } else {
        GpuAccess::Request
    })
}

/// A container and its log.
struct Engine {
    container: Container,
    log: Option<Log>,
}

/// What is known once it answers.
struct Started {
    url: Url,
    version: Option<String>,
    startup: Duration,
}

impl Started {
    fn endpoint(self, spec: &ContainerSpec, image: Image) -> Endpoint {
        let version = match spec.image {
            ImageSource::RunningBinary => Some(own_version()),
            ImageSource::Reference(_) => self.version,
        };
        Endpoint {
            url: self.url,
            facts: EngineFacts {
                image: Some(image.reference),
                image_digest: image.digest,
                version,
                args: spec.args.clone(),
            },
            startup: self.startup,
        }
    }
}

impl Engine {
    async fn start(
        &mut self,
        request: ContainerCreateBody,
        sink: Sink,
        port: u16,
        spec: &LaunchSpec,
        cancel: &CancellationToken,
    ) -> Result<Started, ServeError> {
        self.container.create(request, cancel).await?;
        let begin = Instant::now();
        tokio::select! {
            started = self.container.start() => started?,
            () = cancel.cancelled() => return Err(ServeError::Cancelled { phase: "starting the container" }),
        }
        self.log = Some(Log::follow(
            &self.container.daemon,
            &self.container.name,
            sink,
        ));
        let candidates = self.container.addresses(port).await?;
        let Some(first) = candidates.first() else {
            // The ports of a container that has ended are gone.
            let exit = self.container.ended().await?;
            return Err(self
                .not_ready(exit, spec.startup_timeout, "no address")
                .await);
        };
        let probe = Probe::new(first, None)?;
        let url = self.ready(&probe, &candidates, spec, cancel).await?;
        let startup = begin.elapsed();
        if url != *first {
            tracing::info!(%url, "kitt runs in a container itself: the engine's own address is used");
        }
        identified(&probe, &url, &spec.api, false, cancel).await?;
        let version = probe.version(&url).await;
        Ok(Started {
            url,
            version,
            startup,
        })
    }

    /// Healthy, dead, late or cancelled, whichever comes first.
    async fn ready(
        &mut self,
        probe: &Probe,
        candidates: &[Url],
        spec: &LaunchSpec,
        cancel: &CancellationToken,
    ) -> Result<Url, ServeError> {
        let limit = spec.startup_timeout;
        let mut last = String::from("none");
        let exit = tokio::select! {
            url = probe.healthy(candidates, spec.api.health_path, false, &mut last) => return Ok(url),
            exit = self.container.exited() => Some(exit),
            () = tokio::time::sleep(limit) => None,
            () = cancel.cancelled() => return Err(ServeError::Cancelled { phase: STARTING }),
        };
        Err(self.not_ready(exit, limit, &last).await)
    }

    async fn not_ready(&mut self, exit: Option<Exit>, limit: Duration, last: &str) -> ServeError {
        match exit {
            Some(Exit { code, oom }) => ServeError::Died {
                code,
                oom,
                log: self.last_words().await,
            },
            None => ServeError::NotReady {
                limit,
                last: last.to_owned(),
                log: self.log.as_ref().map(Log::tail).unwrap_or_default(),
            },
        }
    }

    async fn last_words(&mut self) -> String {
        let Some(log) = &mut self.log else {
            return String::new();
        };
        log.finish(LAST_WORDS).await;
        log.tail()
    }

    /// Runs the body beside the living engine.
    async fn serve<T>(
        &mut self,
        body: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Result<T, ServeError> {
        let outcome = supervised(body, cancel, self.container.exited()).await;
        let (code, oom) = match outcome {
            Err(ServeError::Lost { code, oom, .. }) => (code, oom),
            // The body may have ended because the engine did, a moment earlier.
            Ok(value) if !cancel.is_cancelled() => match self.container.ended().await {
                Ok(Some(Exit { code, oom })) => (code, oom),
                Ok(None) => return Ok(value),
                Err(error) => {
                    tracing::warn!(%error, "whether the engine still lives is unknown");
                    return Ok(value);
                }
            },
            other => return other,
        };
        Err(ServeError::Lost {
            code,
            oom,
            log: self.last_words().await,
        })
    }

    /// Asks the engine to end and reads its log to the end; not for long once we are told to
    /// stop ourselves.
    async fn stop(&mut self, limit: Duration, cancel: &CancellationToken) {
        let stopped = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            stopped = self.container.stop(limit) => stopped,
        };
        if let Err(error) = stopped {
            tracing::warn!(%error, "the engine is killed instead");
        }
        if let Some(log) = &mut self.log {
            log.finish(LAST_WORDS).await;
        }
    }

    async fn remove(&mut self) -> Result<(), ServeError> {
        let removed = self.container.remove().await;
        if let Some(log) = &mut self.log {
            log.finish(LAST_WORDS).await;
        }
        removed
    }
}
