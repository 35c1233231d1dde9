//! The search for a baseline: exact parent, nearest ancestor, the newest few, or a reason.
//!
//! In: where to look, what is measured, and the commit it should be held against. Out: a directory
//! with results that were stored by a trusted run, and the rule that chose them. Nothing here
//! fails a job: what cannot be had is told.

mod artifacts;
mod choose;
mod lineage;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

pub(super) use self::choose::{Offer, harmless};
use self::{artifacts::Artifacts, choose::Trust};
pub use self::{
    choose::{Conditions, Refused},
    lineage::{Parent, parent},
};
use super::{StoreError, archive::Caps, branch::Branch, directory};
use crate::{
    github::{GitHub, GitHubError},
    ids::RepoSlug,
    results::{self, HISTORY_FILE, Limits, RunStatus},
};

/// Runs asked about, at most.
const MOST_VETTED: usize = 30;
/// Downloads on the way back through the commits, at most.
const MOST_FETCHED: usize = 6;
/// Requests that may fail for good before no more are made: each was tried five times.
const MOST_FAILED: usize = 3;
/// Results in the pool, at most: the history test needs eight.
const POOL: usize = 10;

/// Where baselines are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Artifacts of this name.
    Artifacts(&'a str),
    /// This folder of this branch.
    Branch {
        /// The branch.
        branch: &'a str,
        /// The folder in it: what an artifact would be called.
        folder: &'a str,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The repository.
    pub repo: &'a RepoSlug,
    /// Its id, by which forks are told from it.
    pub repo_id: u64,
    /// Where to look.
    pub place: Place<'a>,
    /// Branches whose runs may store baselines.
    pub branches: Vec<String>,
    /// The run that asks, whose own artifacts do not count.
    pub own_run: Option<u64>,
    /// The commit to hold against.
    pub parent: Option<Parent>,
    /// What is measured, as far as it is known.
    pub conditions: &'a Conditions,
    /// A directory for downloads, which is there.
    pub scratch: &'a Path,
}

/// Which rule chose a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// It is of the commit to hold against.
    ExactParent,
    /// It is of the nearest commit before that one with a comparable baseline.
    NearestAncestor,
    /// It is the newest comparable one of the branch; others make the history.
    Pool,
    /// None is comparable: this is the nearest, which tells what differs.
    OtherConditions,
}

impl Rule {
    /// The rule in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExactParent => "exact-parent",
            Self::NearestAncestor => "nearest-ancestor",
            Self::Pool => "pool",
            Self::OtherConditions => "other-conditions",
        }
    }

    /// The rule in a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ExactParent => "exact parent",
            Self::NearestAncestor => "nearest ancestor",
            Self::Pool => "newest of the branch",
            Self::OtherConditions => "nearest, under other conditions",
        }
    }
}

/// A baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The rule that chose it.
    pub rule: Rule,
    /// Commit that it measured.
    pub commit: String,
    /// What it is called where it is stored.
    pub label: String,
    /// Its results directory, below the scratch directory.
    pub dir: PathBuf,
    /// Earlier jobs: a `history.jsonl` or a directory of results directories.
    pub history: Option<PathBuf>,
}

/// What the search came to, with everything that was looked at on the way.
#[derive(Debug)]
pub struct Search {
    /// The baseline, or in a sentence why there is none.
    pub found: Result<Found, String>,
    /// What was not taken and why, in the order it was looked at.
    pub refused: Vec<(String, Refused)>,
}

/// Where baselines come from.
pub(super) trait Source {
    /// All that are stored, each with what it is called: those that may be one, and why others
    /// may not.
    async fn offers(&self) -> Result<Vec<(String, Result<Offer, Refused>)>, GitHubError>;
    /// Whether it was stored by a run that is trusted.
    async fn vet(&self, offer: &Offer) -> Result<(), Refused>;
    /// Its files, into a directory that is not there yet.
    async fn fetch(&self, offer: &Offer, into: &Path) -> Result<(), Refused>;
}

/// Looks for a baseline. Reads only; what it downloads is below `question.scratch`.
///
/// # Errors
/// The store cannot be listed: the token may not, or GitHub cannot be reached.
pub async fn discover(github: &GitHub, question: &Question<'_>) -> Result<Search, GitHubError> {
    match question.place {
        Place::Artifacts(name) => {
            let source = artifacts(github, question, name);
            let empty = format!("no artifact is called {name} yet");
            walk(github, &source, question, empty).await
        }
        Place::Branch { branch, folder } => {
            let source = in_branch(github, question, branch, folder);
            let empty = format!("the branch {branch} holds no {folder} yet");
            walk(github, &source, question, empty).await
        }
    }
}

/// What is stored, newest first, each with the reason why it may not be a baseline, if there is
/// one. Nothing is downloaded.
///
/// # Errors
/// As [`discover`].
pub async fn list(github: &GitHub, question: &Question<'_>) -> Result<Vec<Listed>, GitHubError> {
    match question.place {
        Place::Artifacts(name) => {
            let source = artifacts(github, question, name);
            listed(&source).await
        }
        Place::Branch { branch, folder } => {
            let source = in_branch(github, question, branch, folder);
            listed(&source).await
        }
    }
}

/// One of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is called.
    pub label: String,
    /// Commit that it measured, where known.
    pub commit: Option<String>,
    /// When it was stored, where known.
    pub created: Option<String>,
    /// Why it is no baseline, if it is none.
    pub refused: Option<Refused>,
}

async fn listed(source: &impl Source) -> Result<Vec<Listed>, GitHubError> {
    let mut rows = Vec::new();
    for (index, (label, judged)) in source.offers().await?.into_iter().enumerate() {
        let (offer, refused) = match judged {
            Ok(offer) if index < MOST_VETTED => {
                let refused = source.vet(&offer).await.err();
                (Some(offer), refused)
            }
            Ok(offer) => (Some(offer), None),
            Err(refused) => (None, Some(refused)),
        };
        rows.push(Listed {
            label,
            commit: offer.as_ref().map(|offer| offer.commit.clone()),
            created: offer.map(|offer| offer.created),
            refused,
        });
    }
    Ok(rows)
}

fn artifacts<'a>(github: &'a GitHub, question: &Question<'a>, name: &'a str) -> Artifacts<'a> {
    Artifacts {
        github,
        repo: question.repo,
        name,
        trust: trust(question),
    }
}

fn in_branch<'a>(
    github: &'a GitHub,
    question: &Question<'a>,
    name: &'a str,
    folder: &'a str,
) -> Branch<'a> {
    Branch {
        github,
        repo: question.repo,
        name,
        folder,
    }
}

fn trust(question: &Question<'_>) -> Trust {
    Trust {
        repo: question.repo_id,
        branches: question.branches.clone(),
        own_run: question.own_run,
        most_bytes: Caps::default().packed,
    }
}

async fn walk(
    github: &GitHub,
    source: &impl Source,
    question: &Question<'_>,
    empty: String,
) -> Result<Search, GitHubError> {
    let mut walk = Walk {
        source,
        question,
        refused: Vec::new(),
        other: None,
        vetted: 0,
        fetched: 0,
        failed: 0,
    };
    let mut offers = Vec::new();
    for (label, judged) in source.offers().await? {
        match judged {
            Ok(offer) => offers.push((label, offer)),
            Err(refused) => walk.refused.push((label, refused)),
        }
    }
    // The newest first, whatever order they are listed in.
    offers.sort_by(|(_, one), (_, other)| other.created.cmp(&one.created));
    let lineage = match &question.parent {
        // Nobody asks for commits that nothing is compared with.
        Some(parent) if !offers.is_empty() => {
            lineage::ancestors(github, question.repo, &parent.commit).await
        }
        _ => Vec::new(),
    };
    let found = match walk.ancestors(&lineage, &mut offers).await {
        Some(found) => Some(found),
        None => walk.pool(offers).await,
    };
    let found = found.or(walk.other.take());
    let found = found.ok_or_else(|| none(&walk.refused, empty));
    Ok(Search {
        found,
        refused: walk.refused,
    })
}

/// A search under way.
struct Walk<'a, S> {
    source: &'a S,
    question: &'a Question<'a>,
    refused: Vec<(String, Refused)>,
    /// The nearest that is not comparable.
    other: Option<Found>,
    vetted: usize,
    fetched: usize,
    /// What GitHub did not give.
    failed: usize,
}

impl<S: Source> Walk<'_, S> {
    /// Follows the commits back, nearest first. What was looked at is taken out of the offers.
    async fn ancestors(
        &mut self,
        lineage: &[String],
        offers: &mut Vec<(String, Offer)>,
    ) -> Option<Found> {
        for (place, commit) in lineage.iter().enumerate() {
            while let Some(index) = offers.iter().position(|(_, offer)| offer.commit == *commit) {
                if self.fetched >= MOST_FETCHED || self.is_tired() {
                    return None;
                }
                let (label, offer) = offers.remove(index);
                let dir = self
                    .question
                    .scratch
                    .join(format!("baseline-{}", self.fetched));
                let rule = if place == 0 {
                    Rule::ExactParent
                } else {
                    Rule::NearestAncestor
                };
                match self.take(&label, &offer, &dir).await {
                    Ok(()) => return Some(found(rule, &offer, label, dir)),
                    Err(why) => self.refuse(label, &offer, &dir, why),
                }
            }
        }
        None
    }

    /// The newest comparable ones: the first is the baseline, all of them are the history.
    async fn pool(&mut self, offers: Vec<(String, Offer)>) -> Option<Found> {
        let root = self.question.scratch.join("pool");
        let mut first: Option<Found> = None;
        let mut members = 0_usize;
        self.fetched = 0;
        for (label, offer) in offers {
            if members >= POOL || self.fetched >= POOL + MOST_FETCHED || self.is_tired() {
                break;
            }
            let dir = root.join(format!("{:03}", self.fetched));
            match self.take(&label, &offer, &dir).await {
                Ok(()) => {
                    members += 1;
                    first.get_or_insert_with(|| found(Rule::Pool, &offer, label, dir));
                }
                Err(why) => self.refuse(label, &offer, &dir, why),
            }
        }
        let mut first = first?;
        // The jobs of the pool themselves, unless the newest one brings as many.
        let brought = first.history.as_deref().map(super::history::lines);
        if !brought.is_some_and(|jobs| jobs.is_ok_and(|jobs| jobs.len() >= members)) {
            first.history = Some(root);
        }
        Some(first)
    }

    /// Whether enough was asked.
    const fn is_tired(&self) -> bool {
        self.vetted >= MOST_VETTED || self.failed >= MOST_FAILED
    }

    /// Checks, downloads and reads one.
    async fn take(&mut self, label: &str, offer: &Offer, dir: &Path) -> Result<(), Refused> {
        self.vetted += 1;
        self.source.vet(offer).await?;
        self.fetched += 1;
        self.source.fetch(offer, dir).await?;
        tracing::debug!("{label}: fetched");
        usable(dir, self.question.conditions)
    }

    /// Keeps the reason, and the nearest one that is only not comparable.
    fn refuse(&mut self, label: String, offer: &Offer, dir: &Path, why: Refused) {
        self.failed += usize::from(matches!(why, Refused::Failed(_)));
        let differs = matches!(why, Refused::Hardware(_) | Refused::Conditions(_));
        if differs && self.other.is_none() {
            // Out of the way of the pool, which counts all that lies in its folder.
            let kept = self.question.scratch.join("other");
            if std::fs::rename(dir, &kept).is_ok() {
                self.other = Some(found(Rule::OtherConditions, offer, label.clone(), kept));
            }
        } else if let Err(error) = std::fs::remove_dir_all(dir)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!("{}: {error}", dir.display());
        }
        self.refused.push((label, why));
    }
}

fn found(rule: Rule, offer: &Offer, label: String, dir: PathBuf) -> Found {
    let history = history_of(&dir);
    Found {
        rule,
        commit: offer.commit.clone(),
        label,
        dir,
        history,
    }
}

/// The history beside results, when it can be read: a broken one must not fail a job.
fn history_of(dir: &Path) -> Option<PathBuf> {
    let results = directory::find(dir).ok()?;
    let path = results.with_file_name(HISTORY_FILE);
    if !path.exists() {
        return None;
    }
    match super::history::lines(&path) {
        Ok(_) => Some(path),
        Err(error) => {
            tracing::warn!("the history beside the baseline is not used: {error}");
            None
        }
    }
}

/// Whether what was fetched are results of a whole run, under these conditions.
fn usable(dir: &Path, conditions: &Conditions) -> Result<(), Refused> {
    let unusable = |error: StoreError| {
        let text = error.to_string();
        let place = format!("{}/", dir.display());
        Refused::Unusable(harmless(&text.replace(&place, ""), 300))
    };
    let path = directory::find(dir).map_err(unusable)?;
    let set = results::read(&path, &Limits::default())
        .map_err(StoreError::from)
        .map_err(unusable)?;
    if set.status != RunStatus::Complete {
        let why = "its measurement did not come to an end".to_owned();
        return Err(Refused::Unusable(why));
    }
    conditions.fits(set.fingerprint.as_ref())
}

/// Why there is no baseline, with what was not taken counted by kind.
fn none(refused: &[(String, Refused)], empty: String) -> String {
    if refused.is_empty() {
        return empty;
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, why) in refused {
        *kinds.entry(why.kind()).or_default() += 1;
    }
    let kinds: Vec<String> = kinds
        .into_iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    format!(
        "none of the {} that were looked at can be used: {}",
        refused.len(),
        kinds.join(", ")
    )
}
