//! Making a container, or anything else on the daemon, without ever losing track of it.
//!
//! A request that is dropped half-way still makes its thing: Docker goes on when the client
//! hangs up. So every creation runs in a task of its own, which throws away what nobody waits
//! for any more.

use std::{collections::HashMap, time::Duration};

use bollard::{models::ContainerCreateBody, query_parameters::CreateContainerOptionsBuilder};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    ServeError,
    container::Container,
    docker::{Daemon, call, status},
    recipe::Recipe,
};

const CREATE: Duration = Duration::from_mins(1);
/// How long a cancelled creation is waited for before it is left to its task.
const LATE: Duration = Duration::from_secs(2);
/// How long removals may take once we are told to stop.
pub(super) const AT_ONCE: Duration = Duration::from_secs(4);
/// Names that are tried before the daemon's refusal is believed.
const NAMES: usize = 4;

/// Runs a creation to its end whatever happens here, even if this future is dropped. When
/// cancelled, `discard` gets what was made, now or later. `pending` is true as long as something
/// may yet come of it.
pub(super) async fn settled<T, D>(
    phase: &'static str,
    pending: &mut bool,
    creation: impl Future<Output = Result<T, ServeError>> + Send + 'static,
    cancel: &CancellationToken,
    discard: impl FnOnce(T) -> D + Clone + Send + 'static,
) -> Result<T, ServeError>
where
    T: Send + 'static,
    D: Future<Output = ()> + Send,
{
    let (tell, mut told) = oneshot::channel();
    let unwanted = discard.clone();
    *pending = true;
    tokio::spawn(async move {
        if let Err(Ok(made)) = tell.send(creation.await) {
            unwanted(made).await;
        }
    });
    let cancelled = ServeError::Cancelled { phase };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        made = &mut told => {
            // A task that gave no answer was ended with the runtime.
            let made = made.unwrap_or(Err(cancelled));
            *pending = made.as_ref().is_err_and(|error| status(error).is_none());
            return made;
        }
    }
    if let Ok(made) = tokio::time::timeout(LATE, &mut told).await {
        match made {
            Ok(Ok(made)) => {
                discard(made).await;
                *pending = false;
            }
            Ok(Err(error)) => *pending = status(&error).is_none(),
            Err(_) => {}
        }
    }
    Err(cancelled)
}

/// Creates the container; see [`settled`]. It is known by its id from then on. A name that is
/// taken gets a random end: whose container has it is nobody's business here.
pub(super) async fn container(
    daemon: &Daemon,
    name: &str,
    recipe: &Recipe,
    pending: &mut bool,
    cancel: &CancellationToken,
) -> Result<Container, ServeError> {
    let (daemon, name) = (daemon.clone(), name.to_owned());
    let (body, labels) = (recipe.body(), recipe.labels.clone());
    // Boxed: the request is large.
    let creation = Box::pin(async move { named(&daemon, &name, body, &labels).await });
    settled("creating the container", pending, creation, cancel, discard).await
}

/// Removes what nobody waits for any more.
pub(super) async fn discard(container: Container) {
    if let Err(error) = container.remove_within(AT_ONCE).await {
        tracing::error!(%error, container = container.name, "the container may still be there: run `kitt cleanup`");
    }
}

async fn named(
    daemon: &Daemon,
    name: &str,
    body: ContainerCreateBody,
    labels: &HashMap<String, String>,
) -> Result<Container, ServeError> {
    let mut candidate = name.to_owned();
    let mut tried: usize = 0;
    loop {
        tried = tried.saturating_add(1);
        let options = CreateContainerOptionsBuilder::new()
            .name(&candidate)
            .build();
        let request = daemon.docker.create_container(Some(options), body.clone());
        match call("create the container", CREATE, request).await {
            Ok(created) => {
                for warning in created.warnings {
                    tracing::warn!(container = candidate, warning, "Docker");
                }
                tracing::debug!(container = candidate, id = created.id, "created");
                return Ok(Container {
                    daemon: daemon.clone(),
                    name: created.id,
                });
            }
            Err(error) if status(&error) == Some(409) && tried < NAMES => {
                tracing::info!(
                    container = candidate,
                    "this name is taken; another one is used"
                );
                candidate = format!("{name}-{:08x}", rand::random::<u32>());
            }
            Err(error) => {
                if status(&error).is_none() {
                    unclear(daemon, candidate, labels).await;
                }
                return Err(error);
            }
        }
    }
}

/// The daemon did not say what came of it. Only a container with all of our labels is ours.
async fn unclear(daemon: &Daemon, name: String, labels: &HashMap<String, String>) {
    let by_name = Container {
        daemon: daemon.clone(),
        name,
    };
    let Ok(found) = by_name.inspect().await else {
        return;
    };
    let theirs = found.config.and_then(|config| config.labels);
    let theirs = theirs.unwrap_or_default();
    let ours = labels
        .iter()
        .all(|(key, value)| theirs.get(key) == Some(value));
    if let (true, Some(id)) = (ours, found.id) {
        discard(Container {
            daemon: daemon.clone(),
            name: id,
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Bin = Arc<Mutex<Vec<u32>>>;

    fn bin(into: &Bin) -> impl FnOnce(u32) -> std::future::Ready<()> + Clone + Send + 'static {
        let into = Arc::clone(into);
        move |made| {
            into.lock().unwrap().push(made);
            std::future::ready(())
        }
    }

    /// A creation that ends when it is told to.
    fn slow() -> (
        oneshot::Sender<()>,
        impl Future<Output = Result<u32, ServeError>> + Send,
    ) {
        let (go, going) = oneshot::channel();
        (go, async move {
            let _told = going.await;
            Ok(7)
        })
    }

    #[tokio::test]
    async fn what_is_made_in_time_is_handed_over() {
        let (thrown, mut pending) = (Bin::default(), false);
        let cancel = CancellationToken::new();
        let made = settled("x", &mut pending, async { Ok(7) }, &cancel, bin(&thrown)).await;
        assert_eq!((made.unwrap(), pending), (7, false));
        assert!(thrown.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_a_cancelled_creation_made_is_thrown_away_before_we_return() {
        let (thrown, mut pending) = (Bin::default(), false);
        let cancel = CancellationToken::new();
        let (go, creation) = slow();
        let run = settled("x", &mut pending, creation, &cancel, bin(&thrown));
        let stop = async {
            cancel.cancel();
            go.send(()).unwrap();
        };
        let (made, ()) = tokio::join!(run, stop);
        assert!(matches!(made, Err(ServeError::Cancelled { phase: "x" })));
        assert_eq!((*thrown.lock().unwrap()).clone(), [7]);
        assert!(!pending);
    }

    #[tokio::test]
    async fn what_is_made_after_nobody_waits_is_thrown_away_all_the_same() {
        let (thrown, mut pending) = (Bin::default(), false);
        let cancel = CancellationToken::new();
        let (go, creation) = slow();
        {
            let run = settled("x", &mut pending, creation, &cancel, bin(&thrown));
            // Polled once, then dropped.
            let waited = tokio::time::timeout(Duration::from_millis(20), run).await;
            assert!(waited.is_err());
        }
        assert!(pending, "something may yet come of it");
        go.send(()).unwrap();
        while thrown.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!((*thrown.lock().unwrap()).clone(), [7]);
    }
}
