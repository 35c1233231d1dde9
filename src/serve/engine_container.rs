//! An engine in a container, from its image to the proof that nothing is left.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Endpoint, EngineFacts, LastWords, Runs, ServeError, ServeOptions, address, amd,
    attempt::{self, Made},
    budget, connect,
    container::Exit,
    custody::Custody,
    docker::Daemon,
    ending,
    facts::DaemonFacts,
    image::{self, Image},
    lock,
    logs::{LAST_WORDS, Log},
    mounts, owner,
    ready::Probe,
    reaper,
    recipe::{self, GpuAccess, Recipe},
    scope::{identified, own_version, settled, supervised},
    sink::Sink,
    startup::{self, NotReady},
};
use crate::{
    engine::{ContainerSpec, GpuSet, ImageSource, LaunchSpec},
    units::Bytes,
};

/// How long a removal is tried on a daemon that went away: it may be back any moment.
const AWAY: Duration = Duration::from_secs(10);
/// Engines of this process so far: several of one run follow one another or run side by side.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// See [`super::with_engine`].
pub(super) async fn run<T>(
    container: &ContainerSpec,
    spec: &LaunchSpec,
    options: &ServeOptions,
    custody: &mut Custody,
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
        made: Made::default(),
        log: None,
        memory: container.memory,
    };
    custody.docker(&prepared.daemon, &options.run_id).await;
    let (image, facts) = (prepared.image.clone(), prepared.facts.clone());
    // From here on something may exist: nothing returns before it is removed.
    let starting = Box::pin(engine.start(prepared, spec, cancel));
    let outcome = match budget::starting(cancel, starting).await {
        Ok(started) => {
            let endpoint = started.endpoint(container, image, facts);
            // Boxed, since the body is moved inward several times.
            engine.serve(Box::pin(body(endpoint)), cancel).await
        }
        Err(error) => Err(error),
    };
    if outcome.is_ok() {
        engine.stop(options.stop_timeout, cancel).await;
    }
    let away = matches!(outcome, Err(ServeError::DaemonLost { .. }));
    let removing = engine.remove(away.then_some(AWAY));
    let removed = budget::removing(cancel, removing).await;
    if removed.is_ok() {
        custody.cleared();
    }
    settled(outcome, removed)
}

struct Prepared {
    daemon: Daemon,
    facts: DaemonFacts,
    /// The container's name.
    name: String,
    recipe: Recipe,
    image: Image,
    sink: Sink,
}

/// Everything that can fail without leaving a container. Safe to drop.
async fn prepare(spec: &ContainerSpec, options: &ServeOptions) -> Result<Prepared, ServeError> {
    let daemon = connect(&options.docker).await?;
    let mut capabilities = Vec::new();
    if daemon.local {
        mounts::check(spec)?;
        capabilities = mounts::capabilities(spec);
    }
    if let Err(error) = reaper::sweep(&daemon).await {
        tracing::warn!(%error, "leftovers of earlier runs could not be swept");
    }
    let image = image::ensure(&daemon, spec, options).await?;
    let sink = Sink::open(options, spec.secrets.values().chain(&image.secrets)).await?;
    let mut labels = daemon.owner.labels(&options.run_id);
    labels.insert(owner::GPUS.to_owned(), lock::described(&spec.gpus));
    let facts = daemon.facts().await?.clone();
    let mut recipe = Recipe::new(spec.clone(), image.reference.clone(), labels);
    recipe.capabilities = capabilities;
    if facts.podman {
        // It knows device specifications alone, and takes no notice of requests.
        recipe.gpus = GpuAccess::Cdi;
    }
    if let GpuSet::Amd(numbers) = &spec.gpus {
        recipe.amd = amd::devices("/".as_ref(), numbers).map_err(ServeError::NoGpu)?;
    }
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(Prepared {
        facts,
        name: recipe::name(&options.run_id, std::process::id(), count),
        daemon,
        recipe,
        image,
        sink,
    })
}

/// An engine that may exist.
struct Engine {
    made: Made,
    log: Option<Log>,
    memory: Option<Bytes>,
}

/// What is known once it answers.
struct Started {
    url: Url,
    version: Option<String>,
    startup: Duration,
    runs: Runs,
}

impl Started {
    fn endpoint(self, spec: &ContainerSpec, image: Image, daemon: DaemonFacts) -> Endpoint {
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
                daemon: Some(daemon),
            },
            startup: self.startup,
            runs: self.runs,
        }
    }
}

impl Engine {
    async fn start(
        &mut self,
        prepared: Prepared,
        spec: &LaunchSpec,
        cancel: &CancellationToken,
    ) -> Result<Started, ServeError> {
        let Prepared {
            daemon,
            facts,
            name,
            recipe,
            sink,
            ..
        } = prepared;
        let port = recipe.spec.port;
        let made = &mut self.made;
        let running = attempt::run(&daemon, &name, recipe, &facts, made, cancel).await?;
        let (container, begin) = running;
        let log = Log::follow(&daemon, &container.name, sink, spec.api.health_path);
        let log = self.log.insert(log);
        // Beside a daemon with a network of its own, its addresses may be somebody else's here.
        let here: Vec<IpAddr> = if daemon.local && !facts.rootless {
            address::own()
        } else {
            Vec::new()
        };
        let network = container.inspect().await?.network_settings;
        let candidates = address::candidates(network.unwrap_or_default(), port, &here);
        let Some(first) = candidates.first() else {
            // The addresses of a container that has ended are gone.
            let late = || NotReady::Late {
                waited: Duration::ZERO,
                answer: Some("it has no address".to_owned()),
            };
            let why = container.ended().await?.map_or_else(late, NotReady::Ended);
            return Err(self.not_ready(why).await);
        };
        let probe = Probe::new(first, None)?;
        let ended = container.watch();
        let url = match startup::ready(&probe, &candidates, spec, log.heard(), ended, cancel).await
        {
            Ok(url) => url,
            Err(why) => return Err(self.not_ready(why).await),
        };
        let startup = begin.elapsed();
        address::tell(&url, &candidates);
        identified(&probe, &url, &spec.api, false, cancel).await?;
        let version = probe.version(&url).await;
        Ok(Started {
            url,
            version,
            startup,
            // Processes of another machine are not seen here.
            runs: if daemon.local {
                Runs::Container(container.name)
            } else {
                Runs::Elsewhere
            },
        })
    }

    async fn not_ready(&mut self, why: NotReady) -> ServeError {
        match why {
            NotReady::Other(error) => error,
            NotReady::Ended(exit) => ServeError::Died {
                code: exit.code,
                oom: exit.oom,
                last: self.dying_words(&exit).await,
            },
            NotReady::Fatal => ServeError::Stuck { last: self.words() },
            NotReady::Late { waited, answer } => {
                let usage = match &self.made.container {
                    Some(container) => container.usage().await,
                    None => None,
                };
                let usage = usage.map(|usage| format!("; {usage}")).unwrap_or_default();
                let answer = answer.unwrap_or_default();
                ServeError::NotReady {
                    limit: waited,
                    answer: format!("{answer}{usage}"),
                    last: self.words(),
                }
            }
        }
    }

    fn words(&self) -> LastWords {
        self.log.as_ref().map(Log::last_words).unwrap_or_default()
    }

    /// The log to its end.
    async fn dying_words(&mut self, exit: &Exit) -> LastWords {
        if let Some(log) = &mut self.log {
            log.finish_with_end(LAST_WORDS).await;
        }
        let mut words = self.words();
        if exit.oom {
            words.diagnosis = Some(Box::new(ending::out_of_memory(self.memory)));
        }
        words
    }

    /// Runs the body beside the living engine.
    async fn serve<T>(
        &mut self,
        body: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Result<T, ServeError> {
        let Some(container) = self.made.container.clone() else {
            return Err(ServeError::Vanished);
        };
        let mut lost = None;
        let died = async {
            match container.watch().await {
                Ok(exit) => exit,
                Err(error) => {
                    lost = Some(error);
                    Exit {
                        code: -1,
                        oom: false,
                    }
                }
            }
        };
        let outcome = supervised(body, cancel, died).await;
        let exit = match (outcome, lost) {
            (Err(_), Some(lost)) => return Err(lost),
            (Err(ServeError::Lost { code, oom, .. }), None) => Exit { code, oom },
            // The body may have ended because the engine did, a moment earlier.
            (Ok(value), _) if !cancel.is_cancelled() => match container.ended().await {
                Ok(Some(exit)) => exit,
                Ok(None) => return Ok(value),
                Err(error) => {
                    tracing::warn!(%error, "whether the engine still lives is unknown");
                    return Ok(value);
                }
            },
            (other, _) => return other,
        };
        Err(ServeError::Lost {
            code: exit.code,
            oom: exit.oom,
            last: self.dying_words(&exit).await,
        })
    }

    /// Asks the engine to end and reads its log to the end; not for long once we are told to
    /// stop ourselves.
    async fn stop(&mut self, limit: Duration, cancel: &CancellationToken) {
        let Some(container) = &self.made.container else {
            return;
        };
        let stopped = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            stopped = container.stop(limit) => stopped,
        };
        if let Err(error) = stopped {
            tracing::warn!(%error, "the engine is killed instead");
        }
        if let Some(log) = &mut self.log {
            log.finish(LAST_WORDS).await;
        }
    }

    /// Removes everything, and reads the log to its end meanwhile.
    async fn remove(&mut self, patience: Option<Duration>) -> Result<(), ServeError> {
        let log = async {
            if let Some(log) = &mut self.log {
                log.finish(LAST_WORDS).await;
            }
        };
        let (removed, ()) = tokio::join!(self.made.remove(patience), log);
        removed
    }
}
