//! What is found about the Docker daemon. Pure.

use super::finding::{Finding, Severity};
use crate::{serve::ApiVersion, units::Bytes};

/// The interface of Docker 20.10, the oldest that the tests run on.
const FLOOR: u16 = 41;
/// An engine's image has 10 GiB and more, unpacked.
const IMAGE_ROOM: u64 = 30 << 30;
/// Below this not even a small image fits.
const LEAST_ROOM: u64 = 2 << 30;

/// What is known of the daemon.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerFacts {
    pub(super) address: String,
    pub(super) version: String,
    /// Version of the interface; 0.0 when it cannot be read.
    pub(super) api: ApiVersion,
    pub(super) podman: bool,
    pub(super) rootless: bool,
    pub(super) storage_driver: Option<String>,
    /// Free bytes where images live; `None` when the folder is not on this machine.
    pub(super) free: Option<Bytes>,
    pub(super) cgroup_version: Option<u8>,
    /// How GPUs get into containers, such as `nvidia runtime` and `cdi`.
    pub(super) gpu_ways: Vec<&'static str>,
    pub(super) warnings: Vec<String>,
    /// Containers that kitt made: name, and whether their owner is dead for certain.
    pub(super) leftovers: Vec<(String, bool)>,
}

/// What of the surroundings matters here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// Whether a run would need Docker.
    pub(super) docker: bool,
    /// Whether there are NVIDIA GPUs to hand into containers.
    pub(super) gpus: bool,
}

/// Why there is no daemon.
#[derive(Debug, Clone)]
pub(super) struct NoDaemon {
    /// What was tried.
    pub(super) tried: String,
    pub(super) remedy: String,
}

/// Judges a daemon that answered, or that none did and why.
pub(super) fn judge(daemon: &Result<DockerFacts, NoDaemon>, asked: Asked) -> Vec<Finding> {
    match daemon {
        Err(none) => vec![unreachable(none, asked.docker)],
        Ok(facts) => [
            vec![reachable(facts), interface(facts)],
            kinds(facts),
            vec![room(facts), groups(facts)],
            storage(facts).into_iter().collect(),
            toolkit(facts, asked).into_iter().collect(),
            vec![leftovers(facts)],
        ]
        .concat(),
    }
}

fn unreachable(none: &NoDaemon, needed: bool) -> Finding {
    let (severity, why) = if needed {
        (Severity::Problem, "the engine runs in a container")
    } else {
        (Severity::Note, "this engine runs without a container")
    };
    let what = format!("Docker is not usable: {}", none.tried);
    Finding::bad(severity, "docker.reachable", what, why, none.remedy.clone())
}

fn reachable(facts: &DockerFacts) -> Finding {
    let kind = if facts.podman { "Podman" } else { "Docker" };
    let what = format!("{kind} {} answers at {}", facts.version, facts.address);
    Finding::ok("docker.reachable", what)
}

fn interface(facts: &DockerFacts) -> Finding {
    let what = format!("its interface has version {}", facts.api);
    if facts.api.has(FLOOR) {
        return Finding::ok("docker.api", what);
    }
    Finding::warning(
        "docker.api",
        what,
        "kitt is tested with newer ones only",
        format!("update the daemon: 1.{FLOOR} came with Docker 20.10"),
    )
}

fn kinds(facts: &DockerFacts) -> Vec<Finding> {
    let rootless = facts.rootless.then(|| {
        Finding::warning(
            "docker.rootless",
            "the daemon runs without root",
            "its ports are forwarded by a program: latencies are higher and vary more",
            "compare only with results of the same kind of daemon",
        )
    });
    let told = facts.warnings.iter().map(|warning| {
        let text: String = warning
            .trim_start_matches("WARNING: ")
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        Finding::note(
            "docker.warning",
            format!("the daemon warns: {text}"),
            "a limit that the kernel does not support is ignored",
            "see `docker info`",
        )
    });
    rootless.into_iter().chain(told.take(5)).collect()
}

fn room(facts: &DockerFacts) -> Finding {
    const WHY: &str = "engine images and their layers are unpacked there";
    let Some(free) = facts.free else {
        return Finding::note(
            "docker.space",
            "the free space where images live is not known",
            WHY,
            "see `docker info` for its root folder and `df` for its space",
        );
    };
    let what = format!("{} free where images live", gib(free));
    if free.0 < LEAST_ROOM {
        let remedy = "remove images that nobody needs (docker image prune), or move the \
                      daemon's data-root to a larger disk";
        Finding::problem("docker.space", what, WHY, remedy)
    } else if free.0 < IMAGE_ROOM {
        let remedy = "an image of vLLM or SGLang has 10 GiB and more: make room before it is \
                      pulled";
        Finding::warning("docker.space", what, WHY, remedy)
    } else {
        Finding::ok("docker.space", what)
    }
}

fn groups(facts: &DockerFacts) -> Finding {
    match facts.cgroup_version {
        Some(2) => Finding::ok("docker.cgroup", "control groups of version 2"),
        Some(_) => Finding::note(
            "docker.cgroup",
            "control groups of version 1",
            "limits work; newer systemd and Docker releases drop this version",
            "boot with systemd.unified_cgroup_hierarchy=1 when the host is next renewed",
        ),
        None => Finding::note(
            "docker.cgroup",
            "the daemon does not tell its version of control groups",
            "limits on memory and processors may be ignored",
            "see `docker info`",
        ),
    }
}

fn storage(facts: &DockerFacts) -> Option<Finding> {
    let driver = facts.storage_driver.as_deref()?;
    Some(match driver {
        "vfs" | "devicemapper" | "aufs" => Finding::warning(
            "docker.storage",
            format!("images are stored by `{driver}`"),
            "it copies whole layers or reads slowly: starts take minutes more",
            "use overlay2",
        ),
        _ => Finding::ok("docker.storage", format!("images are stored by `{driver}`")),
    })
}

fn toolkit(facts: &DockerFacts, asked: Asked) -> Option<Finding> {
    if !asked.gpus {
        return None;
    }
    if !facts.gpu_ways.is_empty() {
        let what = format!(
            "GPUs get into containers by {}",
            facts.gpu_ways.join(" and ")
        );
        return Some(Finding::ok("docker.toolkit", what));
    }
    let severity = if asked.docker {
        Severity::Problem
    } else {
        Severity::Note
    };
    Some(Finding::bad(
        severity,
        "docker.toolkit",
        "the daemon has neither NVIDIA's runtime nor device specifications (CDI)",
        "containers get no GPU",
        "install the NVIDIA Container Toolkit and run `nvidia-ctk runtime configure \
         --runtime=docker`, then restart Docker",
    ))
}

fn leftovers(facts: &DockerFacts) -> Finding {
    let of = |dead: bool| {
        let names = facts.leftovers.iter().filter(|(_, gone)| *gone == dead);
        names.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let (dead, alive) = (of(true), of(false));
    if !dead.is_empty() {
        return Finding::warning(
            "docker.leftovers",
            format!("left by dead runs: {}", dead.join(", ")),
            "they may hold memory of a GPU",
            "run `kitt cleanup`; the next run does it by itself",
        );
    }
    match alive.len() {
        0 => Finding::ok("docker.leftovers", "nothing left by earlier runs"),
        _ => Finding::note(
            "docker.leftovers",
            format!("containers of runs that may be alive: {}", alive.join(", ")),
            "another measurement may be under way",
            "wait for it, or end it with `kitt cleanup --run-id ID`",
        ),
    }
}

/// A size for people.
pub(super) fn gib(bytes: Bytes) -> String {
    let gib = bytes.0 as f64 / f64::from(1 << 30);
    if gib < 1.0 {
        format!("{:.0} MiB", gib * 1024.0)
    } else {
        format!("{gib:.1} GiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        docker: true,
        gpus: true,
    };

    const fn version(minor: u16) -> ApiVersion {
        ApiVersion { major: 1, minor }
    }

    fn good() -> DockerFacts {
        DockerFacts {
            address: "unix:///var/run/docker.sock".into(),
            version: "28.2.2".into(),
            api: version(50),
            storage_driver: Some("overlay2".into()),
            free: Some(Bytes(100 << 30)),
            cgroup_version: Some(2),
            gpu_ways: vec!["nvidia runtime"],
            ..DockerFacts::default()
        }
    }

    fn severity(facts: DockerFacts, asked: Asked, id: &str) -> Option<Severity> {
        let found = judge(&Ok(facts), asked);
        found
            .iter()
            .find(|one| one.id == id)
            .map(|one| one.severity)
    }

    #[test]
    fn a_good_daemon_has_nothing_to_be_said() {
        let found = judge(&Ok(good()), ASKED);
        assert!(
            found.iter().all(|one| one.severity == Severity::Ok),
            "{found:?}"
        );
        assert!(found.iter().all(|one| one.remedy.is_none()));
    }

    #[test]
    fn each_condition_has_its_finding() {
        type Spoil = fn(&mut DockerFacts);
        let cases: [(Spoil, &str, Severity); 9] = [
            (|d| d.api = version(40), "docker.api", Severity::Warning),
            (
                |d| d.api = ApiVersion::default(),
                "docker.api",
                Severity::Warning,
            ),
            (|d| d.rootless = true, "docker.rootless", Severity::Warning),
            (
                |d| d.free = Some(Bytes(1 << 30)),
                "docker.space",
                Severity::Problem,
            ),
            (
                |d| d.free = Some(Bytes(9 << 30)),
                "docker.space",
                Severity::Warning,
            ),
            (
                |d| d.cgroup_version = Some(1),
                "docker.cgroup",
                Severity::Note,
            ),
            (
                |d| d.storage_driver = Some("vfs".into()),
                "docker.storage",
                Severity::Warning,
            ),
            (|d| d.gpu_ways.clear(), "docker.toolkit", Severity::Problem),
            (
                |d| d.leftovers = vec![("kitt-x".into(), true)],
                "docker.leftovers",
                Severity::Warning,
            ),
        ];
        for (spoil, id, expected) in cases {
            let mut facts = good();
            spoil(&mut facts);
            assert_eq!(severity(facts, ASKED, id), Some(expected), "{id}");
        }
        let no_gpu = Asked {
            gpus: false,
            ..ASKED
        };
        assert_eq!(severity(good(), no_gpu, "docker.toolkit"), None);
    }

    #[test]
    fn no_daemon_is_a_problem_only_where_one_is_needed() {
        let none = || {
            Err(NoDaemon {
                tried: "unix:///x: refused".into(),
                remedy: "start the daemon".into(),
            })
        };
        let found = judge(&none(), ASKED);
        assert_eq!(found[0].severity, Severity::Problem);
        assert_eq!(found[0].what, "Docker is not usable: unix:///x: refused");
        assert_eq!(found[0].remedy.as_deref(), Some("start the daemon"));
        let not = Asked {
            docker: false,
            ..ASKED
        };
        assert_eq!(judge(&none(), not)[0].severity, Severity::Note);
    }
}
