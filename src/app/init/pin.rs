//! By which name a workflow takes the action: a commit where it can be known.
//!
//! The binary cannot know it by itself: the action's commit holds the checksum of the binary, so it
//! is made after it. A tag is looked up with `git ls-remote`, which has the user's own proxy and
//! certificates.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use crate::{context::EnvSnapshot, ids::CommitSha};

/// The action's repository.
pub(super) const SELF: &str = "org/kitt-action";
/// The name that moves with every release.
const MOVING: &str = "v1";
/// How long a look-up may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the action is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pin {
    /// A commit, or a tag that can move.
    reference: String,
    /// The tag of the commit.
    tag: Option<String>,
    /// Why it is no commit.
    pub(super) unpinned: Option<String>,
}

impl Pin {
    /// A commit that was given.
    pub(super) fn commit(reference: String, tag: Option<String>) -> Self {
        Self {
            reference,
            tag,
            unpinned: None,
        }
    }

    fn moving(reference: &str, why: &str) -> Self {
        Self {
            reference: reference.to_owned(),
            tag: None,
            unpinned: Some(why.to_owned()),
        }
    }

    /// What stands behind the `@`.
    pub(super) fn shown(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{} # {tag}", self.reference),
            None => self.reference.clone(),
        }
    }
}

/// Finds the commit of what was asked for, by default of this version's release. What cannot be
/// looked up stays a tag, and says why.
pub(super) async fn find(asked: Option<&str>, offline: bool, env: &EnvSnapshot) -> Pin {
    if let Some(commit) = asked.and_then(commit) {
        return Pin::commit(commit, None);
    }
    let release = concat!("v", env!("CARGO_PKG_VERSION"));
    let tag = asked.unwrap_or(release);
    let otherwise = asked.unwrap_or(MOVING);
    if offline {
        return Pin::moving(otherwise, "it was not looked up (--offline)");
    }
    match look_up(tag, env).await {
        Ok(commit) => Pin::commit(commit, Some(tag.to_owned())),
        Err(why) => Pin::moving(otherwise, &why),
    }
}

/// GitHub takes a full SHA-1 only.
fn commit(text: &str) -> Option<String> {
    let sha: CommitSha = text.parse().ok()?;
    (sha.as_str().len() == 40).then(|| sha.into())
}

async fn look_up(tag: &str, env: &EnvSnapshot) -> Result<String, String> {
    let server = env.get("GITHUB_SERVER_URL").unwrap_or("https://github.com");
    let repository = format!("{}/{SELF}", server.trim_end_matches('/'));
    let asked = Command::new("git")
        .args(["ls-remote", "--quiet", "--", &repository])
        .args([format!("refs/tags/{tag}"), format!("refs/tags/{tag}^{{}}")])
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => {
            return Err(format!(
                "{repository} did not answer within {} s",
                PATIENCE.as_secs()
            ));
        }
        Ok(Err(_)) => return Err("git cannot be started to look it up".to_owned()),
        Ok(Ok(output)) => output,
    };
    if !output.status.success() {
        return Err(format!("git cannot read {repository}"));
    }
    peeled(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("{repository} has no tag {tag}"))
}

/// The commit in what `git ls-remote` prints of one tag: an annotated tag has a line more, which
/// names the commit behind it.
fn peeled(text: &str) -> Option<String> {
    let lines = text.lines().filter_map(|line| line.split_once('\t'));
    let (behind, plain): (Vec<_>, Vec<_>) = lines.partition(|(_, name)| name.ends_with("^{}"));
    let (sha, _) = behind.first().or(plain.first())?;
    commit(sha)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_annotated_tag_is_the_commit_behind_it() {
        let (tag, behind) = ("a".repeat(40), "b".repeat(40));
        let light = format!("{tag}\trefs/tags/v1\n");
        assert_eq!(peeled(&light), Some(tag));
        assert_eq!(
            peeled(&format!("{light}{behind}\trefs/tags/v1^{{}}\n")),
            Some(behind)
        );
        assert_eq!(peeled("gone\trefs/tags/v1\n"), None);
        assert_eq!(peeled(""), None);
    }

    #[tokio::test]
    async fn a_commit_is_taken_as_it_is_and_a_tag_stays_one_offline() {
        let env = EnvSnapshot::default();
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let pin = find(Some(sha), true, &env).await;
        assert_eq!((pin.shown(), pin.unpinned), (sha.to_owned(), None));
        let pin = find(Some("v1.2.3"), true, &env).await;
        assert_eq!(pin.shown(), "v1.2.3");
        assert!(pin.unpinned.is_some());
        assert_eq!(find(None, true, &env).await.shown(), "v1");
    }

    proptest! {
        #[test]
        fn whatever_is_printed_gives_a_commit_or_nothing(text in "(\\PC|\t|\n|\\^\\{\\}){0,120}") {
            prop_assert!(peeled(&text).is_none_or(|sha| sha.len() == 40));
        }
    }
}
