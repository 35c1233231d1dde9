//! The artifacts of a run, chosen by name and fetched by id.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    Place,
    take::{self, LEGS, Leg, Taken, too_many},
};
use crate::{
    context::{CompletedRun, Pattern},
    error::Error,
    github::{
        GitHubError,
        operations::{DOWNLOAD_ARTIFACT, LIST_RUN_ARTIFACTS},
    },
    publish::PublishError,
    store::archive::{self, ArchiveError, Caps},
};

/// Artifacts of a run that are looked at: a job may upload 500.
const LISTED: usize = 1_000;
/// What an artifact of a stranger may be. Results of a thousand requests have a hundredth of it.
const CAPS: Caps = Caps {
    packed: 64 << 20,
    entries: 512,
    json: 16 << 20,
    file: 48 << 20,
    total: 128 << 20,
    ratio: 200,
};
/// Bytes of all that are fetched, packed.
const ALL_BYTES: u64 = 512 << 20;

#[derive(Debug, Deserialize)]
struct Page {
    artifacts: Vec<Artifact>,
}

#[derive(Debug, Clone, Deserialize)]
struct Artifact {
    id: u64,
    name: String,
    size_in_bytes: u64,
    expired: bool,
    digest: Option<String>,
    workflow_run: Option<Maker>,
}

/// The run that made an artifact.
#[derive(Debug, Clone, Deserialize)]
struct Maker {
    id: Option<u64>,
    head_sha: Option<String>,
}

/// Fetches the results of a run.
///
/// # Errors
/// GitHub does not answer, or files cannot be written.
pub(super) async fn fetch(
    place: &Place,
    run: &CompletedRun,
    wanted: &Pattern,
    out: &Path,
) -> Result<Taken, Error> {
    let id = run.id.to_string();
    let mut request = LIST_RUN_ARTIFACTS.request(&[place.repo.owner(), place.repo.name(), &id]);
    if let Some(name) = wanted.name() {
        request = request.query("name", name);
    }
    let listed = place
        .github
        .pages(request, LISTED, |page: Page| page.artifacts)
        .await
        .map_err(PublishError::from)?;
    let chosen = match choose(listed, run, wanted) {
        Ok(chosen) => chosen,
        Err(why) => return Ok(Taken::Nothing(why)),
    };
    let mut legs = Vec::new();
    for (index, artifact) in chosen.into_iter().enumerate() {
        let results = one(place, &artifact, out, index + 1).await?;
        let name = Some(artifact.name);
        legs.push(Leg { name, results });
    }
    Ok(Taken::of(legs))
}

/// The artifacts with results, in the order of their names, or why there are none.
fn choose(
    listed: Vec<Artifact>,
    run: &CompletedRun,
    wanted: &Pattern,
) -> Result<Vec<Artifact>, String> {
    let is_own = |artifact: &Artifact| {
        let maker = artifact.workflow_run.as_ref();
        maker.is_none_or(|maker| {
            maker.id.is_none_or(|id| id == run.id)
                && maker
                    .head_sha
                    .as_deref()
                    .is_none_or(|sha| sha == run.head_sha.as_str())
        })
    };
    let mut chosen: BTreeMap<String, Artifact> = BTreeMap::new();
    for artifact in listed {
        if !wanted.matches(&artifact.name) || !is_own(&artifact) {
            continue;
        }
        // An earlier attempt of the run left one of the same name: the newest counts.
        let newest = chosen.get(&artifact.name);
        if newest.is_none_or(|known| known.id < artifact.id) {
            chosen.insert(artifact.name.clone(), artifact);
        }
    }
    let bytes: u64 = chosen.values().fold(0, |sum, artifact| {
        sum.saturating_add(artifact.size_in_bytes)
    });
    match chosen.len() {
        0 => Err(format!("it uploaded no artifact named {wanted}")),
        many if many > LEGS => Err(too_many(many)),
        _ if bytes > ALL_BYTES => Err(format!(
            "its artifacts are {bytes} bytes; at most {ALL_BYTES} are fetched"
        )),
        _ => Ok(chosen.into_values().collect()),
    }
}

/// Fetches one artifact and takes what is read of it. The inner error is the artifact's.
async fn one(
    place: &Place,
    artifact: &Artifact,
    out: &Path,
    number: usize,
) -> Result<Result<PathBuf, String>, Error> {
    let size = artifact.size_in_bytes;
    if artifact.expired {
        return Ok(Err("GitHub keeps the artifact no longer".to_owned()));
    }
    if size > CAPS.packed {
        let most = CAPS.packed;
        return Ok(Err(format!(
            "the artifact is {size} bytes; at most {most} are fetched"
        )));
    }
    let id = artifact.id.to_string();
    let values = [place.repo.owner(), place.repo.name(), &id, "zip"];
    let request = DOWNLOAD_ARTIFACT.request(&values);
    let bytes = match place.github.download(&request, CAPS.packed).await {
        Ok(bytes) => bytes,
        Err(error @ (GitHubError::Expired { .. } | GitHubError::TooLarge { .. })) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(PublishError::from(error).into()),
    };
    let unpacked = out.join(format!("unpacked-{number}"));
    let digest = artifact.digest.as_deref();
    match archive::unpack(&bytes, Some(&artifact.name), digest, &unpacked, &CAPS) {
        Ok(()) => {}
        Err(ArchiveError::Io { path, source }) => return Err(Error::Write { path, source }),
        Err(refused) => return Ok(Err(refused.to_string())),
    }
    let taken = take::one(&unpacked, out, number)?;
    // What is left there is not read, and must not be taken for results by a later step.
    std::fs::remove_dir_all(&unpacked).map_err(|source| Error::Write {
        path: unpacked,
        source,
    })?;
    Ok(taken)
}
