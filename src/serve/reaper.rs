//! Sweeping what earlier runs left behind: containers, networks and processes of this host. Only
//! what carries our label or stands in our records is looked at, and only what certainly has no
//! owner any more is removed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::{
    models::{ContainerSummary, Network},
    query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder},
};
use futures_util::future::join_all;

use super::{
    DockerPlace, GuardReport, LABEL, ServeError,
    container::Container,
    docker::{ASK, Daemon, call, connect},
    network,
    owner::{self, Life, Owner, RUN},
    records,
};

/// How long leftover processes may take to die.
const DYING: Duration = Duration::from_secs(10);

/// What to sweep.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// Where the Docker daemon may be found.
    pub docker: DockerPlace,
    /// Folder of locks and records; `None` looks at containers and networks only.
    pub lock_dir: Option<PathBuf>,
    /// A run whose things are removed too where it cannot be seen whether it still lives.
    pub run: Option<String>,
    /// Things of that run are removed even if it lives.
    pub even_living: bool,
}

/// What a sweep did, as names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// Removed.
    pub removed: Vec<String>,
    /// Ours, but of a run that may still be alive.
    pub kept: Vec<String>,
    /// What guards did meanwhile.
    pub reports: Vec<GuardReport>,
}

/// Removes what kitt left on this host: everything whose owner is dead, and what [`Sweep::run`]
/// says. A host without Docker has no containers.
///
/// # Errors
/// A daemon that answers but cannot list or remove.
pub async fn cleanup(what: &Sweep) -> Result<Cleanup, ServeError> {
    let mut done = Cleanup::default();
    if let Some(dir) = &what.lock_dir {
        sweep_processes(dir, what, &mut done).await;
        done.reports = records::reports(dir);
    }
    match connect(&what.docker).await {
        Ok(daemon) => sweep_docker(&daemon, what, &mut done).await?,
        Err(error @ ServeError::NoDocker { .. }) => {
            tracing::debug!(%error, "no containers to clean up");
        }
        Err(error) => return Err(error),
    }
    Ok(done)
}

/// The sweep before an engine starts: what is certainly dead.
pub(super) async fn sweep(daemon: &Daemon) -> Result<(), ServeError> {
    sweep_docker(daemon, &Sweep::default(), &mut Cleanup::default()).await
}

/// Ends the processes of native engines whose run is dead.
pub(super) async fn sweep_processes(dir: &Path, what: &Sweep, done: &mut Cleanup) {
    let here = Owner::this_process();
    for (path, record) in records::natives(dir) {
        let life = record.owner.life(&here, owner::alive_since);
        let of_run = what.run.as_ref().is_some_and(|run| *run == record.run);
        let name = format!("processes of run {}", printable(&record.run));
        if !removable(life, of_run, false, what.even_living) {
            done.kept.push(name);
            continue;
        }
        let found = record.family.members().len();
        if record.family.end(DYING).await {
            records::forget(&path);
            if found > 0 {
                tracing::info!(run = record.run, found, "ended leftover processes");
                done.removed.push(name);
            }
        } else {
            tracing::warn!(run = record.run, "leftover processes do not end");
            done.kept.push(name);
        }
    }
}

/// Every thing is tried; the first error is reported after that.
async fn sweep_docker(daemon: &Daemon, what: &Sweep, done: &mut Cleanup) -> Result<(), ServeError> {
    let now = jiff::Timestamp::now().as_second();
    let managed = [format!("{LABEL}=1")];
    let mut failed = None;
    for thing in things(daemon, &managed).await? {
        // The daemon filters; what is removed is checked here once more.
        if thing.label(LABEL) != "1" {
            continue;
        }
        let of_run = what.run.as_ref().is_some_and(|run| thing.label(RUN) == run);
        let life = thing.life(daemon);
        let expired = owner::is_expired(&thing.labels, now);
        if !removable(life, of_run, expired, what.even_living) {
            done.kept.push(thing.name);
            continue;
        }
        match thing.remove(daemon).await {
            Ok(()) => {
                tracing::info!(name = thing.name, "removed a leftover");
                done.removed.push(thing.name);
            }
            Err(error) => {
                tracing::warn!(name = thing.name, %error, "a leftover could not be removed");
                failed = failed.or(Some(error));
                done.kept.push(thing.name);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Who certainly lives keeps its things, unless that very run is to be ended. Who is certainly
/// dead does not; in between, its time or its run decides.
const fn removable(life: Life, of_run: bool, expired: bool, even_living: bool) -> bool {
    match life {
        Life::Dead => true,
        Life::Alive => of_run && even_living,
        Life::Unknown => of_run || expired,
    }
}

/// Removes, all at once, whatever carries all these labels: names of what was removed, and what
/// went wrong first.
pub(super) async fn remove_labelled(
    daemon: &Daemon,
    labels: &HashMap<String, String>,
) -> (Vec<String>, Option<ServeError>) {
    let filters: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut found = match things(daemon, &filters).await {
        Ok(found) => found,
        Err(error) => return (Vec::new(), Some(error)),
    };
    // An empty or half-heard filter must not reach what belongs to others.
    found.retain(|thing| {
        thing.label(LABEL) == "1" && labels.iter().all(|(k, v)| thing.label(k) == v)
    });
    let (mut removed, mut failed) = (Vec::new(), None);
    let (containers, networks): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|thing| thing.kind == Kind::Container);
    // A network goes only after those who use it.
    for group in [containers, networks] {
        let all = join_all(group.iter().map(|thing| thing.remove(daemon))).await;
        for (outcome, thing) in all.into_iter().zip(group) {
            match outcome {
                Ok(()) => removed.push(thing.name),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    (removed, failed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Container,
    Network,
}

/// Something on the daemon that carries our label.
#[derive(Debug)]
struct Thing {
    kind: Kind,
    /// By id: a name could have been given to another one since.
    id: String,
    name: String,
    labels: HashMap<String, String>,
}

impl Thing {
    fn container(found: ContainerSummary) -> Option<Self> {
        let id = found.id?;
        let name = found.names.unwrap_or_default().into_iter().next();
        let name = name.map(|name| name.trim_start_matches('/').to_owned());
        Some(Self {
            kind: Kind::Container,
            name: name.unwrap_or_else(|| id.clone()),
            id,
            labels: found.labels.unwrap_or_default(),
        })
    }

    fn network(found: Network) -> Option<Self> {
        let id = found.id?;
        Some(Self {
            kind: Kind::Network,
            name: format!("network {}", found.name.unwrap_or_else(|| id.clone())),
            id,
            labels: found.labels.unwrap_or_default(),
        })
    }

    fn life(&self, daemon: &Daemon) -> Life {
        owner::life(
            &self.labels,
            &daemon.owner,
            daemon.local,
            owner::alive_since,
        )
    }

    fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    async fn remove(&self, daemon: &Daemon) -> Result<(), ServeError> {
        match self.kind {
            Kind::Container => {
                let container = Container {
                    daemon: daemon.clone(),
                    name: self.id.clone(),
                };
                container.remove().await
            }
            Kind::Network => network::remove(daemon, &self.id).await,
        }
    }
}

/// Containers that kitt made, by name, and what can be said about their owners.
pub(super) async fn containers(daemon: &Daemon) -> Result<Vec<(String, Life)>, ServeError> {
    let found = things(daemon, &[format!("{LABEL}=1")]).await?;
    let containers = found
        .into_iter()
        .filter(|thing| thing.kind == Kind::Container);
    Ok(containers
        .map(|thing| (thing.life(daemon), thing))
        .map(|(life, thing)| (thing.name, life))
        .collect())
}

/// Everything with these labels, containers first.
async fn things(daemon: &Daemon, labels: &[String]) -> Result<Vec<Thing>, ServeError> {
    let filter = [("label", labels.to_vec())].into();
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filter)
        .build();
    let listed = daemon.docker.list_containers(Some(options));
    let containers = call("list containers", ASK, listed).await?;
    let options = ListNetworksOptionsBuilder::new().filters(&filter).build();
    let listed = daemon.docker.list_networks(Some(options));
    let networks = call("list networks", ASK, listed).await?;
    let containers = containers.into_iter().filter_map(Thing::container);
    let networks = networks.into_iter().filter_map(Thing::network);
    Ok(containers.chain(networks).collect())
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_keep_what_they_have_and_the_dead_do_not() {
        for (of_run, expired) in [(false, false), (true, false), (false, true), (true, true)] {
            assert!(removable(Life::Dead, of_run, expired, false));
            // Legs of one job's matrix share a run id: another's engine is not ours to end.
            assert!(!removable(Life::Alive, of_run, expired, false));
            assert_eq!(removable(Life::Alive, of_run, expired, true), of_run);
            assert_eq!(
                removable(Life::Unknown, of_run, expired, false),
                of_run || expired
            );
        }
    }
}
