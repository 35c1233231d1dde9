//! Whether a run's results become the new baseline, under which name, and which of its files.
//!
//! Only a green run of the base branch does: what a pull request measured says nothing about the
//! branch, and a regressed one would hide itself.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::ask::Asked;
use crate::{
    context::{Inputs, Measured, Trigger},
    error::Error,
    ids::Section,
    results::{self, Limits, ResultSet},
    store::{
        StoreError,
        archive::FILES,
        branch::{self, Entry, MOST_BYTES, Pushed},
    },
    verdict::{Decision, Gate, Verdict},
};

/// Name of the artifact, and of the folder on a branch.
const NAME: &str = "kitt-baseline";
/// Characters of a section or key in it.
const LONGEST: usize = 60;
/// Baselines of each key that stay on a branch.
pub(super) const KEEP: usize = 20;
/// Digits of the conditions' digest in a path.
const KEY_DIGITS: usize = 16;

/// A baseline that is offered for upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::app) struct Kept {
    /// Name of the artifact.
    pub(in crate::app) artifact: String,
    /// Its files, a path on each line.
    pub(in crate::app) files: String,
}

/// The artifact's name: as given, else with what tells several reports of one commit apart.
pub(super) fn artifact_name(inputs: &Inputs) -> String {
    if let Some(given) = &inputs.against.artifact {
        return given.clone();
    }
    let key = Some(inputs.publish.key.as_str()).filter(|key| *key != "default");
    let section = inputs.publish.section.as_ref().map(Section::as_str);
    let parts = [Some(NAME.to_owned()), key.map(plain), section.map(plain)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("-")
}

/// A text as part of an artifact's name, which must not hold `"`, `:`, `<`, `>`, `|`, `*`, `?`,
/// slashes or line breaks. What had to be changed gets a digest behind it, so that two texts never
/// meet.
fn plain(text: &str) -> String {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut out = String::new();
    for c in text.chars() {
        if ok(c) {
            out.push(c);
        } else if !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_matches(['-', '.']);
    if out == text && out.len() <= LONGEST {
        return out.to_owned();
    }
    let digest = Sha256::digest(text.as_bytes());
    let digits: String = format!("{digest:x}").chars().take(8).collect();
    let short: String = out.chars().take(LONGEST).collect();
    format!("{short}-{digits}")
}

/// The branch of baselines, without what git puts before it.
pub(super) fn branch_name(inputs: &Inputs) -> Option<String> {
    let name = inputs.against.branch.as_deref()?;
    Some(name.strip_prefix("refs/heads/").unwrap_or(name).to_owned())
}

/// Whether the artifacts of this server can be uploaded by the action's step: those of GitHub
/// Enterprise Server cannot, and its API lies below `/api/v3`.
fn uploads(inputs: &Inputs) -> bool {
    !inputs
        .publish
        .api_url
        .trim_end_matches('/')
        .ends_with("/api/v3")
}

/// Whether the results are the new baseline. `invalid`: the measurement cannot be trusted.
///
/// # Errors
/// In a sentence, why they are not.
fn green(inputs: &Inputs, decision: &Decision, invalid: bool) -> Result<(), &'static str> {
    if !inputs.publish.store_baseline {
        return Err("`store-baseline` is false");
    }
    of_base(&inputs.trigger)?;
    if invalid {
        return Err("the measurement cannot be trusted");
    }
    if decision.gate.reason().is_some() {
        return Err("the gate is closed");
    }
    let accepted = decision.accepted.is_some() && decision.gate == Gate::Passed;
    if decision.verdict == Verdict::Regressed && !accepted {
        return Err("it regressed, and a baseline must not hide that");
    }
    Ok(())
}

/// Whether a run measures what is on a base branch.
///
/// # Errors
/// In a sentence, why it does not.
pub(super) fn of_base(trigger: &Trigger) -> Result<(), &'static str> {
    if trigger.fork {
        return Err("the code is of another repository");
    }
    if trigger.pr.is_some() {
        return Err("the run is about a pull request");
    }
    // By hand, or with a `ref`, anything can be checked out.
    if !matches!(trigger.measured(), Measured::Head | Measured::Unknown) {
        return Err("the workspace holds another commit than the run is of");
    }
    let Some(branch) = &trigger.base_branch else {
        return Err("the run is not of a branch");
    };
    match trigger.event.as_deref() {
        Some("push") if branch.starts_with("gh-readonly-queue/") => {
            Err("the run is of the merge queue")
        }
        Some("push") => Ok(()),
        // By hand any branch can be measured; a push is one of those that the workflow names.
        Some("schedule" | "workflow_dispatch") => match &trigger.default_branch {
            Some(default) if default != branch => Err("the run is not of the default branch"),
            Some(_) | None => Ok(()),
        },
        _ => Err("only push, schedule and workflow_dispatch measure what is on the base branch"),
    }
}

/// What the step after this one uploads, if the run is green.
pub(in crate::app) fn kept(
    inputs: &Inputs,
    decision: &Decision,
    dir: &Path,
    invalid: bool,
) -> Option<Kept> {
    if !inputs.publish.files.commands {
        return None;
    }
    if let Err(why) = green(inputs, decision, invalid) {
        tracing::info!("not stored as a baseline: {why}");
        return None;
    }
    if branch_name(inputs).is_some() && inputs.against.artifact.is_none() {
        return None;
    }
    if !uploads(inputs) {
        tracing::info!(
            "not stored as an artifact: this server does not take those of current actions; `baseline-branch` keeps baselines on a branch"
        );
        return None;
    }
    let there = FILES.iter().map(|file| dir.join(file));
    let there = there.filter(|path| path.is_file());
    let paths: Vec<String> = there.map(|path| path.display().to_string()).collect();
    Some(Kept {
        artifact: artifact_name(inputs),
        files: paths.join("\n"),
    })
}

/// Puts a green run's results onto the branch of baselines, where one is named. What fails is a
/// warning: the verdict stands.
pub(in crate::app) async fn store(inputs: &Inputs, decision: &Decision, dir: &Path, invalid: bool) {
    if branch_name(inputs).is_none()
        || !inputs.publish.files.commands
        || green(inputs, decision, invalid).is_err()
    {
        return;
    }
    match push(inputs, dir, KEEP).await {
        Ok((branch, pushed)) => tracing::info!(
            "stored as a baseline on {branch}: {} ({} older ones removed)",
            pushed.commit,
            pushed.removed
        ),
        Err(error) => tracing::warn!("not stored as a baseline: {}", error.chain()),
    }
}

/// Puts results onto the branch of baselines.
///
/// # Errors
/// They cannot be read, say no commit, or cannot be written.
pub(super) async fn push(
    inputs: &Inputs,
    dir: &Path,
    keep: usize,
) -> Result<(String, Pushed), Error> {
    let refuse = |why: &str| Error::Baseline(why.to_owned());
    let branch = branch_name(inputs).ok_or_else(|| refuse("give --baseline-branch"))?;
    let trigger = &inputs.trigger;
    if trigger.default_branch.as_ref() == Some(&branch)
        || trigger.base_branch.as_ref() == Some(&branch)
    {
        return Err(refuse(
            "baselines need a branch of their own, such as kitt-baselines",
        ));
    }
    let set = results::read_numbers(&dir.join("metrics.json"), &Limits::default())?;
    let (key, when, commit) = place_of(&set)?;
    let asked = Asked::of(inputs).await.map_err(Error::Baseline)?;
    let entry = Entry {
        folder: &artifact_name(inputs),
        key: &key,
        when,
        commit: &commit,
        files: files(dir)?,
    };
    let pushed = branch::push(&asked.github, &asked.repo, &branch, &entry, keep).await?;
    Ok((branch, pushed))
}

/// Where results belong: first digits of their conditions, when they were measured, their commit.
///
/// # Errors
/// They do not say.
pub(super) fn place_of(
    set: &ResultSet,
) -> Result<(String, jiff::Timestamp, crate::ids::CommitSha), Error> {
    let refuse = |why: &str| Error::Baseline(format!("{}: {why}", set.path.display()));
    let fingerprint = set.fingerprint.as_ref();
    let digest = fingerprint
        .map(results::Fingerprint::digest)
        .ok_or_else(|| refuse("it does not say what it was measured on"))?;
    let when = set.timestamp.as_deref().and_then(|text| text.parse().ok());
    let when = when.ok_or_else(|| refuse("it does not say when it was measured"))?;
    let commit = set.provenance.commit.as_deref();
    let commit = commit
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| refuse("it does not say which commit it measured"))?;
    Ok((digest.chars().take(KEY_DIGITS).collect(), when, commit))
}

/// The files of a baseline that are there and small enough for a branch.
pub(super) fn files(dir: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    for name in FILES {
        let path = dir.join(name);
        let Ok(file) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        if !file.is_file() {
            continue;
        }
        if file.len() > MOST_BYTES {
            tracing::warn!(
                "{} is left out: {} bytes are too many for a branch",
                path.display(),
                file.len()
            );
            continue;
        }
        let bytes = std::fs::read(&path).map_err(|source| {
            StoreError::Results(results::ResultsError::Io {
                action: "read",
                path: path.clone(),
                source,
            })
        })?;
        found.push((name.to_owned(), bytes));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{self, Checkout, EnvSnapshot};

    fn inputs(settings: &[(&'static str, &str)], env: &[(&str, &str)]) -> Inputs {
        let typed = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let env: EnvSnapshot = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        context::resolve(&typed.collect(), &env).unwrap()
    }

    #[test]
    fn names_tell_legs_apart_and_are_plain() {
        let name = |settings: &[(&'static str, &str)]| artifact_name(&inputs(settings, &[]));
        assert_eq!(name(&[]), "kitt-baseline");
        assert_eq!(name(&[("key", "h100")]), "kitt-baseline-h100");
        assert_eq!(name(&[("baseline-artifact", "mine")]), "mine");
        let one = name(&[("section", "vllm · llama/8b")]);
        assert!(one.starts_with("kitt-baseline-vllm-llama-8b-"), "{one}");
        let other = name(&[("section", "vllm : llama/8b")]);
        assert_ne!(one, other);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        assert!(one.chars().all(plain));
        let long = name(&[("section", &"x".repeat(120))]);
        assert!(long.len() < 100, "{long}");
        let matrix = inputs(&[], &[("KITT_MATRIX", r#"{"engine":"vllm","tp":2}"#)]);
        assert!(artifact_name(&matrix).starts_with("kitt-baseline-vllm-2"));
    }

    #[test]
    fn the_workspace_holds_what_the_run_is_of() {
        let sha = |digit: &str| digit.repeat(40).parse().unwrap();
        let run = |checkout: Option<&str>, pr: Option<&str>| {
            of_base(&Trigger {
                event: Some("workflow_dispatch".into()),
                base_branch: Some("main".into()),
                default_branch: Some("main".into()),
                head: Some(sha("a")),
                sha: Some(sha("a")),
                pr: pr.map(|number| number.parse().unwrap()),
                checkout: checkout.map(|digit| Checkout {
                    commit: sha(digit),
                    parents: Vec::new(),
                }),
                ..Trigger::default()
            })
        };
        assert_eq!(run(Some("a"), None), Ok(()));
        assert_eq!(run(None, None), Ok(()), "an image is measured");
        assert!(run(Some("b"), None).is_err(), "another branch, by hand");
        assert!(run(Some("a"), Some("7")).is_err());
    }

    #[test]
    fn only_runs_of_a_base_branch_count() {
        let run = |event: &str, branch: Option<&str>, fork: bool| {
            of_base(&Trigger {
                event: Some(event.into()),
                base_branch: branch.map(str::to_owned),
                default_branch: Some("main".into()),
                fork,
                ..Trigger::default()
            })
        };
        for (event, branch) in [
            ("push", "main"),
            ("push", "release/1"),
            ("schedule", "main"),
            ("workflow_dispatch", "main"),
        ] {
            assert_eq!(run(event, Some(branch), false), Ok(()), "{event}");
            assert!(run(event, Some(branch), true).is_err());
        }
        for (event, branch) in [
            ("push", None),
            ("push", Some("gh-readonly-queue/main/pr-1-a")),
            ("workflow_dispatch", Some("feature")),
            ("pull_request", Some("main")),
            ("pull_request_target", Some("main")),
            ("merge_group", Some("main")),
            ("workflow_run", Some("main")),
            ("issue_comment", Some("main")),
        ] {
            assert!(run(event, branch, false).is_err(), "{event} {branch:?}");
        }
        assert!(of_base(&Trigger::default()).is_err());
    }
}
