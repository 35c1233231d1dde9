//! Where a Docker daemon may listen, in the order in which the places are tried.
//!
//! 1. The address that was asked for, and nothing else.
//! 2. The Docker context that was asked for or is the current one, and nothing else: it is what
//!    the command `docker` would use (docs.docker.com, "Docker contexts").
//! 3. The sockets that exist: Docker's, a rootless Docker's, Podman's.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    DockerPlace,
    docker_config::{DockerConfig, read_small},
};

/// The context that stands for "no context".
const DEFAULT: &str = "default";

/// Why a place is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// The setting `docker-host` or `DOCKER_HOST` names it.
    Asked,
    /// A Docker context names it.
    Context(String),
    /// Docker's usual socket.
    Usual,
    /// A rootless Docker's usual socket.
    Rootless,
    /// Podman's usual socket.
    Podman,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => out.write_str("from docker-host or DOCKER_HOST"),
            Self::Context(name) => write!(out, "from Docker context `{name}`"),
            Self::Usual => out.write_str("Docker's usual socket"),
            Self::Rootless => out.write_str("the socket of rootless Docker"),
            Self::Podman => out.write_str("Podman's socket"),
        }
    }
}

/// A place to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Such as `unix:///var/run/docker.sock`.
    pub(super) address: String,
    pub(super) rule: Rule,
}

/// A context that names no place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoContext {
    /// What was looked for and why it does not do.
    pub(super) why: String,
    /// What to do.
    pub(super) remedy: String,
}

/// The places to try, best first; empty when nothing is named and no socket exists.
///
/// # Errors
/// A context is asked for, or chosen in Docker's configuration, that does not exist.
pub(super) fn candidates(place: &DockerPlace) -> Result<Vec<Candidate>, NoContext> {
    if let Some(address) = &place.host {
        return Ok(vec![Candidate {
            address: address.clone(),
            rule: Rule::Asked,
        }]);
    }
    match context_name(place) {
        Some(name) => Ok(vec![Candidate {
            address: context_address(&name, place.config_dir.as_deref())?,
            rule: Rule::Context(name),
        }]),
        None => Ok(sockets(place.runtime_dir.as_deref(), own_user())),
    }
}

/// The context asked for or chosen by `docker context use`; `None` for Docker's default.
fn context_name(place: &DockerPlace) -> Option<String> {
    let chosen = || {
        let file = place.config_dir.as_ref()?.join("config.json");
        match DockerConfig::read(file) {
            Ok(config) => config?.current_context().map(str::to_owned),
            Err(why) => {
                tracing::warn!("{why}: no Docker context is heeded");
                None
            }
        }
    };
    let name = place.context.clone().or_else(chosen);
    name.filter(|name| name != DEFAULT)
}

fn context_address(name: &str, config_dir: Option<&Path>) -> Result<String, NoContext> {
    let wrong = |why: String, remedy: String| NoContext {
        why: format!("Docker context `{name}` {why}"),
        remedy,
    };
    let Some(dir) = config_dir.map(|dir| dir.join("contexts")) else {
        return Err(wrong(
            "cannot be looked up".to_owned(),
            "set HOME or DOCKER_CONFIG, or give the address as docker-host".to_owned(),
        ));
    };
    // Docker keeps a context in a folder named by the SHA-256 of its name.
    let id = format!("{:x}", Sha256::digest(name));
    let file = dir.join("meta").join(&id).join("meta.json");
    let text = match read_small(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let known = known_contexts(&dir.join("meta")).join(", ");
            return Err(wrong(
                format!("is not in {}", dir.display()),
                format!(
                    "name one of these in DOCKER_CONTEXT or by `docker context use`: {DEFAULT}{}{known}",
                    if known.is_empty() { "" } else { ", " }
                ),
            ));
        }
        Err(error) => {
            return Err(wrong(
                format!("cannot be read: {}: {error}", file.display()),
                "repair the file, or give the address as docker-host".to_owned(),
            ));
        }
    };
    let Some(host) = docker_host(&text) else {
        return Err(wrong(
            format!("names no Docker daemon: {}", file.display()),
            "create it anew with `docker context create`, or give the address as docker-host"
                .to_owned(),
        ));
    };
    // A context with TLS material means TLS; as `https` the address is refused with a reason.
    let tls = dir.join("tls").join(&id).join("docker").exists();
    Ok(match host.strip_prefix("tcp://") {
        Some(rest) if tls => format!("https://{rest}"),
        Some(_) | None => host,
    })
}

fn docker_host(meta: &str) -> Option<String> {
    let meta: Value = serde_json::from_str(meta).ok()?;
    let host = meta
        .get("Endpoints")?
        .get("docker")?
        .get("Host")?
        .as_str()?;
    (!host.is_empty()).then(|| host.to_owned())
}

/// Names of the contexts in a folder, sorted.
fn known_contexts(meta: &Path) -> Vec<String> {
    let name = |folder: PathBuf| -> Option<String> {
        let text = read_small(&folder.join("meta.json")).ok()?;
        let meta: Value = serde_json::from_str(&text).ok()?;
        Some(meta.get("Name")?.as_str()?.to_owned())
    };
    let mut names: Vec<String> = fs::read_dir(meta)
        .into_iter()
        .flatten()
        .filter_map(|entry| name(entry.ok()?.path()))
        .collect();
    names.sort();
    names
}

/// The effective user: the owner of /proc/self.
fn own_user() -> Option<u32> {
    Some(fs::metadata("/proc/self").ok()?.uid())
}

/// Sockets that exist.
fn sockets(runtime_dir: Option<&Path>, user: Option<u32>) -> Vec<Candidate> {
    let personal = user.map(|user| PathBuf::from(format!("/run/user/{user}")));
    let own: Vec<&Path> = runtime_dir.into_iter().chain(personal.as_deref()).collect();
    let below = |name: &'static str| own.iter().map(move |dir| dir.join(name));
    let mut places = vec![(PathBuf::from("/var/run/docker.sock"), Rule::Usual)];
    places.extend(below("docker.sock").map(|path| (path, Rule::Rootless)));
    places.extend(below("podman/podman.sock").map(|path| (path, Rule::Podman)));
    places.push((PathBuf::from("/run/podman/podman.sock"), Rule::Podman));
    let mut found: Vec<Candidate> = Vec::new();
    for (path, rule) in places {
        let address = format!("unix://{}", path.display());
        // XDG_RUNTIME_DIR usually is /run/user/UID.
        if path.exists() && !found.iter().any(|known| known.address == address) {
            found.push(Candidate { address, rule });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Docker's own layout, as `docker context create lab --docker host=…` writes it.
    fn docker_dir(name: &str, meta: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let id = format!("{:x}", Sha256::digest(name));
        let folder = dir.path().join("contexts/meta").join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("meta.json"), meta).unwrap();
        dir
    }

    const LAB: &str = r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///run/lab.sock","SkipTLSVerify":false}}}"#;

    fn place(dir: &Path, context: Option<&str>) -> DockerPlace {
        DockerPlace {
            context: context.map(str::to_owned),
            config_dir: Some(dir.to_owned()),
            ..DockerPlace::default()
        }
    }

    fn only(candidate: &str, rule: Rule) -> Vec<Candidate> {
        vec![Candidate {
            address: candidate.to_owned(),
            rule,
        }]
    }

    #[test]
    fn an_address_that_is_asked_for_is_the_only_one() {
        let dir = docker_dir("lab", LAB);
        let asked = DockerPlace {
            host: Some("unix:///x".to_owned()),
            ..place(dir.path(), Some("lab"))
        };
        assert_eq!(candidates(&asked).unwrap(), only("unix:///x", Rule::Asked));
    }

    #[test]
    fn a_context_is_found_by_name_and_by_being_the_current_one() {
        let dir = docker_dir("lab", LAB);
        let lab = only("unix:///run/lab.sock", Rule::Context("lab".to_owned()));
        assert_eq!(candidates(&place(dir.path(), Some("lab"))).unwrap(), lab);
        let config = dir.path().join("config.json");
        fs::write(&config, r#"{"currentContext":"lab"}"#).unwrap();
        assert_eq!(candidates(&place(dir.path(), None)).unwrap(), lab);
        // DOCKER_CONTEXT=default overrides what `docker context use` chose.
        let usual = candidates(&place(dir.path(), Some("default"))).unwrap();
        assert!(usual.iter().all(|one| one.rule != lab[0].rule));
        // A broken configuration chooses nothing.
        fs::write(&config, "{").unwrap();
        assert!(candidates(&place(dir.path(), None)).is_ok());
    }

    #[test]
    fn an_unknown_context_is_named_with_those_there_are() {
        let dir = docker_dir("lab", LAB);
        let error = candidates(&place(dir.path(), Some("../lab"))).unwrap_err();
        assert!(error.why.contains("`../lab`"), "{error:?}");
        assert!(error.remedy.ends_with("default, lab"), "{error:?}");
        let homeless = DockerPlace {
            context: Some("lab".to_owned()),
            ..DockerPlace::default()
        };
        assert!(candidates(&homeless).unwrap_err().remedy.contains("HOME"));
        for broken in ["", "{}", r#"{"Endpoints":{"docker":{"Host":""}}}"#] {
            let dir = docker_dir("lab", broken);
            let error = candidates(&place(dir.path(), Some("lab"))).unwrap_err();
            assert!(error.why.contains("names no Docker daemon"), "{error:?}");
        }
    }

    #[test]
    fn a_context_with_certificates_means_tls() {
        let dir = docker_dir(
            "far",
            &LAB.replace("unix:///run/lab.sock", "tcp://127.0.0.1:2375"),
        );
        let far = place(dir.path(), Some("far"));
        assert_eq!(candidates(&far).unwrap()[0].address, "tcp://127.0.0.1:2375");
        let id = format!("{:x}", Sha256::digest("far"));
        fs::create_dir_all(dir.path().join("contexts/tls").join(id).join("docker")).unwrap();
        assert_eq!(
            candidates(&far).unwrap()[0].address,
            "https://127.0.0.1:2375"
        );
    }

    #[test]
    fn the_runtime_folder_comes_before_the_usual_personal_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("podman")).unwrap();
        for name in ["docker.sock", "podman/podman.sock"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = sockets(Some(dir.path()), None);
        let rules: Vec<&Rule> = found
            .iter()
            .filter(|one| one.address.contains(dir.path().to_str().unwrap()))
            .map(|one| &one.rule)
            .collect();
        assert_eq!(rules, [&Rule::Rootless, &Rule::Podman]);
    }

    proptest! {
        #[test]
        fn any_address_of_a_context_comes_back(host in "[^\\x00]{1,30}", garbage in any::<String>()) {
            let meta = serde_json::json!({"Endpoints": {"docker": {"Host": host}}}).to_string();
            prop_assert_eq!(docker_host(&meta), Some(host));
            prop_assert!(docker_host(&garbage).is_none());
        }
    }
}
