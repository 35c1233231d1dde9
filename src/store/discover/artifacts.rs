//! Baselines among the artifacts of the repository's own runs.

use std::path::Path;

use serde::Deserialize;

use super::{
    Source,
    choose::{self, Artifact, Offer, Refused, Run, Trust, shown},
};
use crate::{
    github::{
        GitHub, GitHubError,
        operations::{DOWNLOAD_ARTIFACT, GET_RUN, LIST_ARTIFACTS},
    },
    ids::RepoSlug,
    store::archive::{self, Caps},
};

/// Artifacts of one name looked at, at most: the newest.
const MOST: usize = 300;

/// The artifacts of a name.
pub(super) struct Artifacts<'a> {
    pub(super) github: &'a GitHub,
    pub(super) repo: &'a RepoSlug,
    pub(super) name: &'a str,
    pub(super) trust: Trust,
}

#[derive(Debug, Deserialize)]
struct Page {
    artifacts: Vec<Artifact>,
}

impl Source for Artifacts<'_> {
    async fn offers(&self) -> Result<Vec<(String, Result<Offer, Refused>)>, GitHubError> {
        let request = LIST_ARTIFACTS
            .request(&[self.repo.owner(), self.repo.name()])
            .query("name", self.name);
        let found = self
            .github
            .pages(request, MOST, |page: Page| page.artifacts)
            .await?;
        let judged = found
            .iter()
            // A server that does not know the parameter lists them all.
            .filter(|artifact| artifact.name == self.name)
            .map(|artifact| {
                let run = artifact.workflow_run.as_ref();
                let commit = run.and_then(|run| run.head_sha.as_deref());
                let commit = commit.map_or_else(String::new, |sha| format!(" of {}", short(sha)));
                let label = format!("artifact {}{commit}", artifact.id);
                (label, choose::offer(artifact, &self.trust))
            });
        Ok(judged.collect())
    }

    async fn vet(&self, offer: &Offer) -> Result<(), Refused> {
        let id = offer.run.ok_or(Refused::Unknown)?.to_string();
        let request = GET_RUN.request(&[self.repo.owner(), self.repo.name(), &id]);
        match self.github.ask::<Run>(&request).await {
            Ok(answer) => choose::run(&answer.value, offer, &self.trust),
            Err(error) => Err(Refused::Failed(error.to_string())),
        }
    }

    async fn fetch(&self, offer: &Offer, into: &Path) -> Result<(), Refused> {
        let place = [self.repo.owner(), self.repo.name(), &offer.id, "zip"];
        let request = DOWNLOAD_ARTIFACT.request(&place);
        let bytes = match self.github.download(&request, self.trust.most_bytes).await {
            Ok(bytes) => bytes,
            // It was there when it was listed.
            Err(GitHubError::Expired { .. }) => return Err(Refused::Expired(None)),
            Err(error) => return Err(Refused::Failed(error.to_string())),
        };
        let digest = offer.digest.as_deref();
        archive::unpack(&bytes, Some(self.name), digest, into, &Caps::default())
            .map_err(|error| Refused::Unusable(error.to_string()))
    }
}

/// Seven digits of a commit.
pub(super) fn short(sha: &str) -> String {
    shown(sha).chars().take(7).collect()
}
