//! The stored baseline of a job: looked for before anything is measured, so that a missing right
//! is told at once, and kept for later jobs after a green run of the base branch.

mod ask;
mod commands;
mod keep;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

pub(super) use self::{
    commands::run,
    keep::{Kept, kept, store},
};
use super::fingerprint;
use crate::{
    context::{Discovered, EnvSnapshot, Gpus, Inputs},
    engine,
    error::Error,
    results::{HostFacts, METHOD},
    store::{
        self, StoreError,
        archive::{self, Caps},
        discover::{Conditions, Found, Rule, Search},
    },
    telemetry,
};

/// Refused candidates that are told one by one.
const TOLD: usize = 10;

/// Finds the baseline of a job that is about to be measured, and puts it into the settings. What
/// is downloaded lives as long as what is given back.
///
/// # Errors
/// A file that was named as the baseline is an archive that is refused.
pub(super) async fn before(
    inputs: &mut Inputs,
    env: &EnvSnapshot,
) -> Result<Option<TempDir>, Error> {
    let known = known_before(inputs).await;
    find(inputs, env, &known).await
}

/// The same for results that are there already.
///
/// # Errors
/// As [`before`].
pub(super) async fn after(
    inputs: &mut Inputs,
    env: &EnvSnapshot,
) -> Result<Option<TempDir>, Error> {
    // Pairs bring their own baseline side, and results that cannot be read are told later.
    if !matches!(store::load_pairs(&inputs.results_dir), Ok(None)) {
        return Ok(None);
    }
    let Ok(set) = store::load(&inputs.results_dir) else {
        return Ok(None);
    };
    let known = set.fingerprint.as_ref().map(Conditions::of);
    find(inputs, env, &known.unwrap_or_default()).await
}

async fn find(
    inputs: &mut Inputs,
    env: &EnvSnapshot,
    conditions: &Conditions,
) -> Result<Option<TempDir>, Error> {
    if let Some(path) = inputs.baseline_dir.clone() {
        return unpacked(inputs, env, &path);
    }
    if !applies(inputs) {
        return Ok(None);
    }
    let scratch = match scratch(inputs, env) {
        Ok(scratch) => scratch,
        Err(error) => {
            none(inputs, format!("nothing can be downloaded: {error}"));
            return Ok(None);
        }
    };
    match ask::search(inputs, conditions, scratch.path(), None).await {
        Ok(search) => take(inputs, search),
        Err(why) => none(inputs, why),
    }
    Ok(Some(scratch))
}

/// Whether a baseline is to be looked for: where GitHub's own runner works, or where somebody
/// asked for it.
fn applies(inputs: &Inputs) -> bool {
    let asked = inputs.against.artifact.is_some() || inputs.against.branch.is_some();
    let known = inputs.publish.token.is_some() && inputs.publish.repo.is_some();
    known && (asked || inputs.publish.files.commands)
}

/// A directory of one's own that is no part of what was measured: the runner's, which it empties
/// itself even after a crash, else beside the results.
fn scratch(inputs: &Inputs, env: &EnvSnapshot) -> std::io::Result<TempDir> {
    let beside = inputs.results_dir.parent();
    let beside = beside.filter(|dir| !dir.as_os_str().is_empty());
    let beside = beside.unwrap_or(Path::new(".")).to_owned();
    let place = env.get("RUNNER_TEMP").map_or(beside, PathBuf::from);
    std::fs::create_dir_all(&place)?;
    tempfile::Builder::new()
        .prefix(".kitt-baseline-")
        .tempdir_in(place)
}

/// A baseline that is an archive becomes a directory.
fn unpacked(inputs: &mut Inputs, env: &EnvSnapshot, path: &Path) -> Result<Option<TempDir>, Error> {
    if !is_archive(path) {
        return Ok(None);
    }
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let scratch = scratch(inputs, env).map_err(failed)?;
    let into = scratch.path().join("baseline");
    archive::unpack_file(path, &into, &Caps::default()).map_err(|source| StoreError::Archive {
        path: path.to_owned(),
        source,
    })?;
    inputs.baseline_dir = Some(into);
    Ok(Some(scratch))
}

/// Whether a file begins as a zip archive does.
fn is_archive(path: &Path) -> bool {
    let mut head = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && matches!(&head, b"PK\x03\x04" | b"PK\x05\x06")
}

/// Puts what was found into the settings, and says which rule found it.
fn take(inputs: &mut Inputs, search: Search) {
    let Search { found, refused } = search;
    for (label, why) in refused.iter().take(TOLD) {
        tracing::info!("no baseline: {label}: {why}");
    }
    if let Some(more) = refused.len().checked_sub(TOLD + 1) {
        tracing::info!("{} more are no baseline", more + 1);
    }
    let found = match found {
        Ok(found) => found,
        Err(why) => return none(inputs, why),
    };
    let named = inputs.against.history.is_some();
    if found.rule == Rule::OtherConditions && named {
        let why = "only baselines under other conditions are stored".to_owned();
        return none(inputs, why);
    }
    let Found {
        rule,
        commit,
        label,
        dir,
        history,
    } = found;
    tracing::info!(
        "baseline: {label}, which measured {commit} ({})",
        rule.words()
    );
    inputs.baseline_dir = Some(dir);
    if !named {
        inputs.against.history = history;
    }
    inputs.against.discovered = Discovered {
        rule: Some(rule.name()),
        words: Some(rule.words()),
        none: None,
    };
}

fn none(inputs: &mut Inputs, why: String) {
    tracing::warn!("no stored baseline: {why}");
    inputs.against.discovered.none = Some(why);
}

/// What is known of a measurement before it begins. The rest decides whether it is comparable.
async fn known_before(inputs: &Inputs) -> Conditions {
    let measure = &inputs.measure;
    // Reading the GPUs blocks for seconds.
    let host = tokio::task::spawn_blocking(|| {
        let gpus = telemetry::gpus().unwrap_or_default();
        fingerprint::of_host(&HostFacts::read(gpus))
    });
    let host = host.await.unwrap_or_default();
    // A part of the GPUs may have other names than all of them.
    let all = measure.gpus == Gpus::Auto;
    let certain = |name: &str| name == "cpu.model" || (all && name == "gpu.name");
    let mut strict: BTreeMap<String, String> = host.strict;
    strict.retain(|name, _| certain(name));
    let engine = measure
        .engine
        .as_deref()
        .and_then(|name| engine::find(name).ok());
    let more = [
        ("measurement.method", Some(METHOD.to_owned())),
        ("engine.name", engine.map(|engine| engine.name().to_owned())),
        ("model", measure.model.as_ref().map(ToString::to_string)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            strict.insert(name.to_owned(), value);
        }
    }
    Conditions {
        strict,
        whole: false,
    }
}
