//! Which artifact may be a baseline, and which may not. Pure.
//!
//! Anybody who can open a pull request can make a run that uploads an artifact of any name, from a
//! branch of any name, `main` included. So the repository of its code is compared by id, and the
//! run must be one that only people with write access can start.

use std::{collections::BTreeMap, fmt};

use serde::Deserialize;

use crate::{
    ids::is_hidden,
    results::{Fingerprint, key},
};

/// Events whose runs measure what is in the repository itself.
pub(super) const TRUSTED: [&str; 3] = ["push", "schedule", "workflow_dispatch"];

/// An artifact as the API lists it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Artifact {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) size_in_bytes: u64,
    #[serde(default)]
    pub(super) expired: bool,
    pub(super) expires_at: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) workflow_run: Option<RunOf>,
}

/// The run that an artifact belongs to, as far as the artifact tells.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunOf {
    pub(super) id: Option<u64>,
    pub(super) repository_id: Option<u64>,
    pub(super) head_repository_id: Option<u64>,
    pub(super) head_branch: Option<String>,
    pub(super) head_sha: Option<String>,
}

/// A workflow run as the API tells it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Run {
    pub(super) event: Option<String>,
    pub(super) conclusion: Option<String>,
    pub(super) head_sha: Option<String>,
    pub(super) head_branch: Option<String>,
    pub(super) path: Option<String>,
    pub(super) repository: Option<Id>,
    pub(super) head_repository: Option<Id>,
}

/// Something with an id.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Id {
    pub(super) id: u64,
}

/// What is believed.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    /// Id of the repository.
    pub(super) repo: u64,
    /// Branches whose runs count.
    pub(super) branches: Vec<String>,
    /// The run that asks.
    pub(super) own_run: Option<u64>,
    /// Largest artifact in bytes.
    pub(super) most_bytes: u64,
}

/// Why something is not taken as the baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// GitHub keeps it no longer.
    Expired(Option<String>),
    /// Its code is of another repository.
    Foreign,
    /// Its code is of another branch.
    OtherBranch(String),
    /// It is of this very run.
    ThisRun,
    /// It is larger than is downloaded, in bytes.
    TooLarge(u64),
    /// The list does not say where it comes from.
    Unknown,
    /// Its run was started by something else than a push, a schedule or by hand.
    Event(String),
    /// Its run is still going on.
    Unfinished,
    /// Its run did not end well.
    Conclusion(String),
    /// It was measured on something else.
    Hardware(String),
    /// It measured something else.
    Conditions(String),
    /// It is damaged, or is no results.
    Unusable(String),
    /// It cannot be had.
    Failed(String),
}

impl Refused {
    /// The kind in a few words, by which refusals are counted.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Expired(_) => "expired",
            Self::Foreign => "of another repository",
            Self::OtherBranch(_) => "of another branch",
            Self::ThisRun => "of this run",
            Self::TooLarge(_) => "too large",
            Self::Unknown => "of unknown origin",
            Self::Event(_) => "of an untrusted event",
            Self::Unfinished => "of a run still going on",
            Self::Conclusion(_) => "of a failed run",
            Self::Hardware(_) => "of other hardware",
            Self::Conditions(_) => "of other conditions",
            Self::Unusable(_) => "damaged",
            Self::Failed(_) => "not to be had",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired(Some(when)) => write!(
                out,
                "it expired on {when}: artifacts are kept for some days, which `retention-days` and the repository's settings say"
            ),
            Self::Expired(None) => {
                out.write_str("it has expired: artifacts are kept for some days")
            }
            Self::Foreign => {
                out.write_str("its code is of another repository, which anybody may write")
            }
            Self::OtherBranch(branch) => write!(out, "its code is of the branch `{branch}`"),
            Self::ThisRun => out.write_str("it is of this very run"),
            Self::TooLarge(size) => write!(out, "it is {size} bytes, more than is downloaded"),
            Self::Unknown => out.write_str("GitHub does not say which run it is of"),
            Self::Event(event) => write!(
                out,
                "its run was started by `{event}`, and only push, schedule and workflow_dispatch measure what is on the branch"
            ),
            Self::Unfinished => out.write_str("its run has not ended yet"),
            Self::Conclusion(how) => write!(out, "its run ended with `{how}`"),
            Self::Hardware(what) => write!(out, "it was measured on other hardware ({what})"),
            Self::Conditions(what) => write!(out, "it was measured differently ({what})"),
            Self::Unusable(why) | Self::Failed(why) => out.write_str(why),
        }
    }
}

/// Something that may be the baseline, as far as its listing tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Offer {
    /// What to fetch: an artifact's id, or a folder of the branch.
    pub(in crate::store) id: String,
    /// The run behind an artifact.
    pub(in crate::store) run: Option<u64>,
    /// Commit that was measured.
    pub(in crate::store) commit: String,
    /// When it was stored; RFC 3339 in UTC, so that text order is time order.
    pub(in crate::store) created: String,
    /// Digest of the bytes, where it is stated.
    pub(in crate::store) digest: Option<String>,
}

/// What the listing alone tells of an artifact.
pub(super) fn offer(artifact: &Artifact, trust: &Trust) -> Result<Offer, Refused> {
    let run = artifact.workflow_run.as_ref().ok_or(Refused::Unknown)?;
    // First of all: whether the rest can be believed.
    if run.repository_id != Some(trust.repo) || run.head_repository_id != Some(trust.repo) {
        return Err(Refused::Foreign);
    }
    let (Some(id), Some(commit)) = (run.id, run.head_sha.as_deref()) else {
        return Err(Refused::Unknown);
    };
    if trust.own_run == Some(id) {
        return Err(Refused::ThisRun);
    }
    branch(run.head_branch.as_deref(), trust)?;
    if artifact.expired {
        let day = artifact.expires_at.as_deref();
        return Err(Refused::Expired(
            day.map(|day| shown(day.split('T').next().unwrap_or(day))),
        ));
    }
    if artifact.size_in_bytes > trust.most_bytes {
        return Err(Refused::TooLarge(artifact.size_in_bytes));
    }
    Ok(Offer {
        id: artifact.id.to_string(),
        run: Some(id),
        commit: commit.to_ascii_lowercase(),
        created: artifact.created_at.clone().unwrap_or_default(),
        digest: artifact.digest.clone(),
    })
}

fn branch(name: Option<&str>, trust: &Trust) -> Result<(), Refused> {
    match name {
        Some(name) if trust.branches.iter().any(|branch| branch == name) => Ok(()),
        Some(name) => Err(Refused::OtherBranch(shown(name))),
        None => Err(Refused::Unknown),
    }
}

/// What the run itself tells: it is asked, since an artifact repeats only part of it.
pub(super) fn run(run: &Run, offer: &Offer, trust: &Trust) -> Result<(), Refused> {
    let of = |repo: &Option<Id>| repo.as_ref().map(|repo| repo.id) == Some(trust.repo);
    if !of(&run.repository) || !of(&run.head_repository) {
        return Err(Refused::Foreign);
    }
    branch(run.head_branch.as_deref(), trust)?;
    let event = run.event.as_deref().unwrap_or("nothing known");
    if !TRUSTED.contains(&event) {
        return Err(Refused::Event(shown(event)));
    }
    match run.conclusion.as_deref() {
        Some("success") => {}
        Some(how) => return Err(Refused::Conclusion(shown(how))),
        None => return Err(Refused::Unfinished),
    }
    let same = |sha: &str| sha.eq_ignore_ascii_case(&offer.commit);
    if !run.head_sha.as_deref().is_some_and(same) {
        return Err(Refused::Unknown);
    }
    // A run that no file of the repository describes is started by something else.
    match run.path.as_deref() {
        Some(path) if !path.starts_with(".github/workflows/") => Err(Refused::Event(shown(path))),
        _ => Ok(()),
    }
}

/// What a baseline should have been measured under.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Strict keys of a fingerprint.
    pub strict: BTreeMap<String, String>,
    /// Whether these are all of them; else only those that are known before a measurement.
    pub whole: bool,
}

impl Conditions {
    /// All conditions of results.
    pub fn of(fingerprint: &Fingerprint) -> Self {
        Self {
            strict: fingerprint.strict.clone(),
            whole: true,
        }
    }

    /// Why results under this fingerprint are not comparable, if that is known already.
    ///
    /// # Errors
    /// The keys that differ.
    pub fn fits(&self, fingerprint: Option<&Fingerprint>) -> Result<(), Refused> {
        let Some(found) = fingerprint else {
            let why = "it does not say what it was measured on".to_owned();
            return Err(Refused::Conditions(why));
        };
        let wanted = self.strict.iter();
        let differing = wanted.filter(|(name, value)| found.strict.get(*name) != Some(*value));
        let mut keys: Vec<&String> = differing.map(|(name, _)| name).collect();
        if self.whole {
            let more = found.strict.keys();
            keys.extend(more.filter(|name| !self.strict.contains_key(*name)));
        }
        let is_hardware = |name: &&&String| key(name).is_some_and(|key| key.hardware);
        let hardware: Vec<&&String> = keys.iter().filter(is_hardware).collect();
        let words = |name: &str| {
            let value = |map: &BTreeMap<String, String>| {
                map.get(name)
                    .map_or("unknown".to_owned(), |text| shown(text))
            };
            format!(
                "{name}: {} there, {} here",
                value(&found.strict),
                value(&self.strict)
            )
        };
        if let Some(name) = hardware.first() {
            return Err(Refused::Hardware(words(name)));
        }
        match keys.first() {
            Some(name) => Err(Refused::Conditions(words(name))),
            None => Ok(()),
        }
    }
}

/// A foreign text for a message: short, on one line.
pub(super) fn shown(text: &str) -> String {
    harmless(text, 80)
}

/// A foreign text of at most so many characters, on one line.
pub(in crate::store) fn harmless(text: &str, most: usize) -> String {
    let safe = text.chars().map(|c| if is_hidden(c) { '?' } else { c });
    safe.take(most).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trust() -> Trust {
        Trust {
            repo: 7,
            branches: vec!["main".into()],
            own_run: Some(99),
            most_bytes: 1000,
        }
    }

    fn artifact() -> Artifact {
        serde_json::from_value(serde_json::json!({
            "id": 1, "name": "kitt-baseline", "size_in_bytes": 10, "expired": false,
            "expires_at": "2026-03-01T10:00:00Z", "created_at": "2026-01-01T10:00:00Z",
            "digest": null,
            "workflow_run": {"id": 5, "repository_id": 7, "head_repository_id": 7,
                "head_branch": "main", "head_sha": "AB12"},
        }))
        .unwrap()
    }

    fn a_run() -> Run {
        serde_json::from_value(serde_json::json!({
            "event": "push", "conclusion": "success", "head_sha": "ab12", "head_branch": "main",
            "path": ".github/workflows/b.yml", "repository": {"id": 7}, "head_repository": {"id": 7},
        }))
        .unwrap()
    }

    fn edited(edit: impl FnOnce(&mut Artifact, &mut RunOf)) -> Result<Offer, Refused> {
        let mut artifact = artifact();
        let mut run = artifact.workflow_run.take().unwrap();
        edit(&mut artifact, &mut run);
        artifact.workflow_run = Some(run);
        offer(&artifact, &trust())
    }

    #[test]
    fn the_listing_tells_what_is_ours() {
        assert_eq!(edited(|_, _| {}).unwrap().commit, "ab12");
        // A fork's branch may be called main, and its artifact as ours.
        let fork = edited(|_, run| run.head_repository_id = Some(8));
        assert_eq!(fork, Err(Refused::Foreign));
        assert_eq!(
            edited(|_, run| run.head_repository_id = None),
            Err(Refused::Foreign)
        );
        assert_eq!(
            edited(|_, run| run.repository_id = Some(8)),
            Err(Refused::Foreign)
        );
        let other = edited(|_, run| run.head_branch = Some("x\n::error::".into()));
        assert_eq!(other, Err(Refused::OtherBranch("x?::error::".into())));
        assert_eq!(edited(|_, run| run.id = Some(99)), Err(Refused::ThisRun));
        let expired = edited(|artifact, _| artifact.expired = true).unwrap_err();
        assert!(expired.to_string().contains("expired on 2026-03-01"));
        assert_eq!(
            edited(|artifact, _| artifact.size_in_bytes = 1001),
            Err(Refused::TooLarge(1001))
        );
        assert_eq!(edited(|_, run| run.head_sha = None), Err(Refused::Unknown));
        let mut none = artifact();
        none.workflow_run = None;
        assert_eq!(offer(&none, &trust()), Err(Refused::Unknown));
    }

    #[test]
    fn the_run_must_be_one_that_only_writers_can_start() {
        let good = edited(|_, _| {}).unwrap();
        let ask = |edit: fn(&mut Run)| {
            let mut one = a_run();
            edit(&mut one);
            run(&one, &good, &trust())
        };
        assert_eq!(ask(|_| {}), Ok(()));
        assert_eq!(ask(|run| run.path = None), Ok(()));
        for event in [
            "pull_request",
            "pull_request_target",
            "merge_group",
            "workflow_run",
            "",
        ] {
            let mut one = a_run();
            one.event = Some(event.into());
            assert_eq!(
                run(&one, &good, &trust()),
                Err(Refused::Event(event.into())),
                "{event}"
            );
        }
        assert_eq!(
            ask(|run| run.conclusion = Some("failure".into())),
            Err(Refused::Conclusion("failure".into()))
        );
        assert_eq!(ask(|run| run.conclusion = None), Err(Refused::Unfinished));
        assert_eq!(ask(|run| run.head_repository = None), Err(Refused::Foreign));
        assert_eq!(
            ask(|run| run.head_repository = Some(Id { id: 8 })),
            Err(Refused::Foreign)
        );
        assert_eq!(
            ask(|run| run.head_sha = Some("cd34".into())),
            Err(Refused::Unknown)
        );
        assert!(ask(|run| run.path = Some("dynamic/x".into())).is_err());
    }

    #[test]
    fn what_differs_is_named() {
        let print = |pairs: &[(&str, &str)]| Fingerprint {
            strict: pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Fingerprint::default()
        };
        let there = print(&[("gpu.name", "A100"), ("model", "m"), ("workload", "1")]);
        let before = Conditions {
            strict: print(&[("gpu.name", "H100"), ("model", "m")]).strict,
            whole: false,
        };
        let why = before.fits(Some(&there)).unwrap_err();
        assert_eq!(
            why,
            Refused::Hardware("gpu.name: A100 there, H100 here".into())
        );
        let same = print(&[("gpu.name", "A100"), ("model", "m")]);
        let part = Conditions {
            whole: false,
            ..Conditions::of(&same)
        };
        assert_eq!(part.fits(Some(&there)), Ok(()));
        // All conditions: the workload is one.
        assert!(matches!(
            Conditions::of(&same).fits(Some(&there)),
            Err(Refused::Conditions(_))
        ));
        assert_eq!(Conditions::of(&there).fits(Some(&there)), Ok(()));
        assert!(part.fits(None).is_err());
    }

    proptest! {
        /// No listing whose code is not ours is ever offered.
        #[test]
        fn nothing_foreign_is_offered(
            repo in prop::option::of(5_u64..9),
            head in prop::option::of(5_u64..9),
            name in prop::option::of("main|x"),
            expired: bool,
        ) {
            let ours = edited(|artifact, run| {
                run.repository_id = repo;
                run.head_repository_id = head;
                run.head_branch = name.clone();
                artifact.expired = expired;
            });
            let good = repo == Some(7) && head == Some(7) && name.as_deref() == Some("main") && !expired;
            prop_assert_eq!(ours.is_ok(), good);
        }
    }
}
