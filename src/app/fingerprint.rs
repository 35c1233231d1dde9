//! `kitt fingerprint`: this host's share of what makes results comparable.

use super::out;
use crate::{
    cli::FingerprintArgs,
    context::{self, ContextError, EnvSnapshot, Machine},
    error::Error,
    exit::Exit,
    results::{self, BoardIds, Fingerprint, HostFacts, IdKey, KEYS, Subject, Surroundings},
    serve::{self, DaemonFacts},
    telemetry,
};

/// `kitt fingerprint`.
///
/// # Errors
/// The key of the hashes cannot be had, or a setting is wrong.
pub(super) async fn run(args: &FingerprintArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let inputs = context::resolve(&crate::cli::Typed::new(), env)?;
    let key = match (&args.salt_from, args.no_host_ids) {
        (_, true) => None,
        (Some(place), false) => Some(key_from(place, env)?),
        (None, false) => Some(IdKey::random()),
    };
    let gpus = telemetry::gpus().unwrap_or_else(|none| {
        tracing::info!("{none}");
        Vec::new()
    });
    let mut host = HostFacts::read(gpus);
    host.surroundings = surroundings(&inputs.measure.machine).await;
    let mut print = of_host(&host);
    print.ids = key
        .map(|key| BoardIds::new(&host.gpus, &key))
        .filter(|ids| !ids.gpus.is_empty());
    out::text(&if args.json {
        format!("{:#}", document(&print, &host))
    } else {
        people(&print, &host)
    });
    Ok(Exit::Success)
}

/// The fingerprint without engine and workload.
pub(super) fn of_host(host: &HostFacts) -> Fingerprint {
    let subject = Subject {
        method: results::METHOD,
        engine: "",
        mode: None,
        model: "",
        workload: None,
    };
    let mut print = results::fingerprint(host, &subject);
    print.strict.retain(|_, value| !value.is_empty());
    print
}

/// What the operator tells.
pub(super) fn without_docker(machine: &Machine) -> Surroundings {
    Surroundings {
        runner_labels: machine.runner_labels.clone(),
        ..Surroundings::default()
    }
}

/// What the daemon and the operator tell. Without a daemon that is little, and no error.
async fn surroundings(machine: &Machine) -> Surroundings {
    let none = without_docker(machine);
    let Ok(daemon) = serve::connect(&machine.docker).await else {
        return none;
    };
    let Ok(facts) = daemon.facts().await else {
        return none;
    };
    of_daemon(machine, facts, daemon.is_local())
}

/// What a daemon and the operator tell.
pub(super) fn of_daemon(machine: &Machine, facts: &DaemonFacts, local: bool) -> Surroundings {
    let ways = super::doctor::gpu_ways(facts, local);
    Surroundings {
        docker: facts.version.clone(),
        default_runtime: facts.default_runtime.clone(),
        storage_driver: facts.storage.clone(),
        gpu_toolkit: (!ways.is_empty()).then(|| ways.join(" and ")),
        ..without_docker(machine)
    }
}

fn key_from(place: &str, env: &EnvSnapshot) -> Result<IdKey, Error> {
    let wrong = |why: String| {
        Error::Context(ContextError::Setting {
            name: "salt-from",
            source_name: "the command line".to_owned(),
            text: place.chars().take(200).collect(),
            why,
        })
    };
    let secret = match place.split_once(':') {
        Some(("env", name)) => match env.get(name) {
            Some(value) => value.as_bytes().to_vec(),
            None => return Err(wrong(format!("{name} is not set"))),
        },
        Some(("file", path)) => std::fs::read(path).map_err(|error| wrong(error.to_string()))?,
        _ => return Err(wrong("write env:NAME or file:PATH".to_owned())),
    };
    IdKey::new(&secret)
        .ok_or_else(|| wrong("a key of fewer than 16 bytes can be guessed".to_owned()))
}

fn document(print: &Fingerprint, host: &HostFacts) -> serde_json::Value {
    serde_json::json!({
        "schema_version": results::SCHEMA,
        "label": host.label(),
        "hw_key": print.hw_key(),
        "digest": print.digest(),
        "strict": print.strict,
        "soft": print.soft,
        "ids": print.ids,
    })
}

/// A table in the order of [`KEYS`].
fn people(print: &Fingerprint, host: &HostFacts) -> String {
    let width = KEYS.iter().map(|key| key.name.len()).max().unwrap_or(0);
    let line = |name: &str, part: &str, value: &str| format!("{name:width$}  {part:10}  {value}");
    let keys = KEYS.iter().filter_map(|key| {
        let value = print.get(key.name)?;
        Some(line(key.name, key.part.name(), value))
    });
    let boards = print
        .ids
        .as_ref()
        .map(|ids| line("boards", "", &ids.gpus.join(", ")));
    let head = [host.label(), format!("hardware {}", print.hw_key())];
    let lines: Vec<String> = head.into_iter().chain(keys).chain(boards).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_from_where_it_is_said() {
        let env: EnvSnapshot = [("K", "0123456789abcdef"), ("SHORT", "x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into_iter()
            .collect();
        assert!(key_from("env:K", &env).is_ok());
        for wrong in ["env:SHORT", "env:NONE", "K", "file:/nonexistent"] {
            assert!(key_from(wrong, &env).is_err(), "{wrong}");
        }
    }
}
