//! Collects the facts that the judges look at. Nothing here judges, and nothing is changed.

use std::{fs, path::Path};

use super::{
    docker::{DockerFacts, NoDaemon},
    gpu::{GpuFacts, Image, Seen, Wanted},
    host::MachineFacts,
    locks,
    places::{Folder, GitHubFacts, PlaceFacts},
};
use crate::{
    app::space,
    cli::DoctorArgs,
    context::{EnvSnapshot, Gpus, Inputs},
    engine::{ENGINES, Engine, ImageSource},
    error::Error,
    github::{self, GitHub},
    limits, load,
    results::{HostFacts, PciBoard},
    serve::{self, Daemon, DaemonFacts, ServeError, ServeOptions},
    telemetry::HostState,
    units::Bytes,
};

/// Everything that is judged.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) docker: Result<DockerFacts, NoDaemon>,
    pub(super) gpus: GpuFacts,
    pub(super) machine: MachineFacts,
    pub(super) places: PlaceFacts,
}

/// `seen` was collected before: it blocks.
pub(super) async fn all(
    inputs: &Inputs,
    args: &DoctorArgs,
    env: &EnvSnapshot,
    seen: Seen,
) -> Facts {
    let host = HostFacts::read(Vec::new());
    let daemon = serve::connect(&inputs.measure.machine.docker).await;
    let docker = match daemon {
        Ok(daemon) => docker(&daemon).await.map_err(no_daemon),
        Err(error) => Err(no_daemon(error)),
    };
    let nvidia = |board: &&PciBoard| board.ids.starts_with("10de:");
    Facts {
        docker,
        gpus: GpuFacts {
            seen,
            boards: host.boards.iter().filter(nvidia).count(),
            wanted: wanted(&inputs.measure.gpus),
            is_static: cfg!(target_feature = "crt-static"),
            image: image(inputs).await,
        },
        machine: machine(host, args.concurrency),
        places: places(inputs, env).await,
    }
}

fn no_daemon(error: ServeError) -> NoDaemon {
    if let ServeError::NoDocker { tried, remedy, .. } = error {
        return NoDaemon { tried, remedy };
    }
    NoDaemon {
        tried: Error::Serve(error).chain(),
        remedy: "see the daemon's log (journalctl -u docker)".to_owned(),
    }
}

async fn docker(daemon: &Daemon) -> Result<DockerFacts, ServeError> {
    let found = serve::survey(daemon).await?;
    let gpu_ways = gpu_ways(&found.facts, found.local);
    let root = found
        .facts
        .root_dir
        .filter(|path| found.local && path.is_dir());
    Ok(DockerFacts {
        address: daemon.address.clone(),
        version: daemon.version.clone(),
        api: daemon.api,
        podman: daemon.podman,
        rootless: found.facts.rootless,
        free: root.as_deref().and_then(space::free),
        cgroup_version: found.facts.cgroup_version,
        gpu_ways,
        storage_driver: found.facts.storage,
        warnings: found.facts.warnings,
        leftovers: found.leftovers,
    })
}

/// How GPUs get into this daemon's containers.
pub(in crate::app) fn gpu_ways(facts: &DaemonFacts, local: bool) -> Vec<&'static str> {
    [
        facts.has_nvidia_runtime().then_some("nvidia runtime"),
        has_devices(facts, local).then_some("cdi"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether the daemon found device specifications for NVIDIA's GPUs, or one of its folders holds
/// one; the toolkit names it `nvidia.yaml` or `nvidia.json`.
fn has_devices(facts: &DaemonFacts, local: bool) -> bool {
    let is_one = |name: &str| name.starts_with("nvidia");
    let told = facts
        .devices
        .iter()
        .any(|device| device.starts_with("nvidia.com/gpu"));
    let folders = facts.cdi_dirs.iter().filter(|_| local);
    told || folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .any(|file| file.file_name().to_str().is_some_and(is_one))
}

/// What an image says about drivers, where it is on the daemon already; nothing is pulled.
async fn image(inputs: &Inputs) -> Option<Image> {
    let name = inputs.measure.image.as_ref()?;
    let options = ServeOptions {
        docker: inputs.measure.machine.docker.clone(),
        ..ServeOptions::new("doctor")
    };
    let found = Box::pin(serve::fetch(
        &ImageSource::Reference(name.clone()),
        &options,
    ))
    .await;
    let found = found.inspect_err(|error| tracing::debug!(%error, "the image cannot be looked at"));
    Some(Image {
        name: name.to_string(),
        environment: found.ok().map(|found| found.env),
    })
}

fn wanted(gpus: &Gpus) -> Wanted {
    match gpus {
        Gpus::Auto | Gpus::Amd(_) => Wanted::Any,
        Gpus::None => Wanted::None,
        Gpus::Listed(uuids) => Wanted::Listed(uuids.clone()),
    }
}

fn machine(host: HostFacts, concurrency: Option<u32>) -> MachineFacts {
    let state = HostState::read();
    let kept = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony/chronyd.pid",
        "/run/chrony/chronyd.sock",
        "/run/ntpd.pid",
        "/run/ntpsec/ntpd.pid",
    ];
    MachineFacts {
        host,
        load: state.load_average,
        processors: state.processors,
        swap: fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| swap(&text)),
        shm: Some(Path::new("/dev/shm"))
            .filter(|path| path.is_dir())
            .and_then(space::size),
        open_files: limits::open_files(),
        files_needed: concurrency.map(|streams| load::files_for(u64::from(streams))),
        time_kept: Some(kept.iter().any(|path| Path::new(path).exists())),
    }
}

/// Swap and how much of it is in use, from `/proc/meminfo`. `None` where there is no swap.
fn swap(meminfo: &str) -> Option<(Bytes, Bytes)> {
    let kib = |key: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let total = kib("SwapTotal:").filter(|total| *total > 0)?;
    let used = total.saturating_sub(kib("SwapFree:")?);
    let bytes = |kib: u64| Bytes(kib.saturating_mul(1024));
    Some((bytes(total), bytes(used)))
}

async fn places(inputs: &Inputs, env: &EnvSnapshot) -> PlaceFacts {
    let lock_dir = &inputs.measure.machine.lock_dir;
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"]
        .iter()
        .filter_map(|name| env.get(name));
    PlaceFacts {
        results: folder(&inputs.results_dir),
        locks: folder(lock_dir),
        holders: locks::holders(lock_dir, Path::new("/proc/locks")),
        proxies: proxies(env),
        bad_certificates: named
            .filter(|path| fs::metadata(path).is_err())
            .map(str::to_owned)
            .collect(),
        certificates: rustls_native_certs::load_native_certs().certs.len(),
        github: github(inputs).await,
        engines: programs(env.get("PATH").unwrap_or_default()),
    }
}

/// Tries to make a file that has no name, so that nothing is left even after a kill.
fn folder(path: &Path) -> Folder {
    let nearest = space::existing(path);
    let refused = match nearest {
        Some(nearest) => tempfile::tempfile_in(nearest)
            .err()
            .map(|error| error.to_string()),
        None => Some("no folder above it is there".to_owned()),
    };
    Folder {
        path: path.to_owned(),
        refused,
        free: space::free(path),
    }
}

/// Names only: a proxy's address may hold a password.
fn proxies(env: &EnvSnapshot) -> Vec<String> {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    names
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_lowercase()])
        .filter(|name| env.get(name).is_some())
        .collect()
}

async fn github(inputs: &Inputs) -> Option<Result<GitHubFacts, String>> {
    let token = inputs.publish.token.clone()?;
    let Some(repo) = &inputs.publish.repo else {
        return Some(Err(
            "no repository is known: give GITHUB_REPOSITORY".to_owned()
        ));
    };
    let asked = async {
        let github = GitHub::new(&inputs.publish.api_url, token)?;
        github::token_facts(&github, repo).await
    };
    Some(match asked.await {
        Ok(facts) => Ok(GitHubFacts {
            repo: repo.to_string(),
            scopes: facts.scopes,
            may_write: facts.may_write,
        }),
        Err(error) => Err(error.to_string()),
    })
}

/// Engines whose program is in one of the folders of `PATH`.
fn programs(path: &str) -> Vec<String> {
    let is_there = |program: &str| {
        path.split(':')
            .filter(|folder| folder.starts_with('/'))
            .any(|folder| Path::new(folder).join(program).is_file())
    };
    let named = |engine: &&dyn Engine| Some((engine.name(), *engine.about().command.first()?));
    ENGINES
        .iter()
        .filter_map(named)
        // An interpreter that is there says nothing about the engine.
        .filter(|(_, program)| !program.starts_with("python") && is_there(program))
        .map(|(engine, program)| {
            if engine == program {
                engine.to_owned()
            } else {
                format!("{engine} ({program})")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_told_where_there_is_some() {
        let half = swap("SwapTotal:  2048 kB\nSwapFree:   1024 kB\n");
        assert_eq!(half, Some((Bytes(2 << 20), Bytes(1 << 20))));
        assert_eq!(swap("SwapTotal: 0 kB\nSwapFree: 0 kB\n"), None);
        assert_eq!(swap("MemTotal: 5 kB\n"), None);
    }

    #[test]
    fn engines_are_found_by_their_programs() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("llama-server"), "").unwrap();
        let path = format!("relative:/nonexistent:{}", folder.path().display());
        assert_eq!(programs(&path), ["llama_cpp (llama-server)"]);
        assert!(programs("").is_empty());
    }

    #[test]
    fn of_proxies_only_the_names_are_kept() {
        let env: EnvSnapshot = [("https_proxy", "http://u:secret@p"), ("NO_PROXY", "x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into_iter()
            .collect();
        assert_eq!(proxies(&env), ["https_proxy"]);
    }
}
