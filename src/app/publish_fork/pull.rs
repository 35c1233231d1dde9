//! Which pull request a run belongs to. GitHub's payload names none for a fork, and what the run
//! says of itself is not believed, so it is found by owner, branch and commit.

use serde::Deserialize;

use super::Place;
use crate::{
    context::CompletedRun,
    error::Error,
    github::operations::LIST_PULLS,
    ids::{CommitSha, PrNumber},
    publish::PublishError,
};

/// Pull requests from one branch that are looked at; GitHub allows one for each base branch.
const MOST: usize = 300;

/// The pull request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pull {
    /// Its number.
    pub(super) number: PrNumber,
    /// Commit that it starts from.
    pub(super) base_sha: CommitSha,
    /// Branch that it goes to.
    pub(super) base_branch: String,
}

#[derive(Debug, Deserialize)]
struct Listed {
    number: PrNumber,
    state: String,
    head: End,
    base: End,
}

#[derive(Debug, Deserialize)]
struct End {
    #[serde(rename = "ref")]
    branch: String,
    sha: String,
    repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    id: u64,
}

impl End {
    fn is_in(&self, id: u64) -> bool {
        self.repo.as_ref().is_some_and(|repo| repo.id == id)
    }
}

/// Finds the pull request, or says why there is none to report to.
///
/// # Errors
/// GitHub does not answer.
pub(super) async fn find(place: &Place, run: &CompletedRun) -> Result<Result<Pull, String>, Error> {
    let Some(head) = &run.head_repository else {
        return Ok(Err(
            "the repository that the run's commit comes from is gone".to_owned(),
        ));
    };
    let request = LIST_PULLS.request(&[place.repo.owner(), place.repo.name()]);
    let request = request.query("state", "open").query(
        "head",
        &format!("{}:{}", head.slug.owner(), run.head_branch),
    );
    let listed = place
        .github
        .pages(request, MOST, |page: Vec<Listed>| page)
        .await
        .map_err(PublishError::from)?;
    Ok(pick(&listed, run, head.id, place.id))
}

/// The one that fits in everything. The query above is only a filter: GitHub ignores one that it
/// does not understand.
fn pick(listed: &[Listed], run: &CompletedRun, head: u64, own: u64) -> Result<Pull, String> {
    let from_branch: Vec<&Listed> = listed
        .iter()
        .filter(|pull| pull.state == "open" && pull.base.is_in(own))
        .filter(|pull| pull.head.is_in(head) && pull.head.branch == run.head_branch)
        .collect();
    let of_commit: Vec<&&Listed> = from_branch
        .iter()
        .filter(|pull| pull.head.sha == run.head_sha.as_str())
        .collect();
    match (of_commit.as_slice(), from_branch.as_slice()) {
        ([pull], _) => {
            let base_sha = pull.base.sha.parse().ok();
            Ok(Pull {
                number: pull.number,
                base_sha: base_sha.ok_or("GitHub names no base commit")?,
                base_branch: pull.base.branch.clone(),
            })
        }
        ([], []) => Err("no open pull request comes from the run's branch".to_owned()),
        ([], [_, ..]) => Err(
            "the pull request's branch has moved on since; the run of its newest commit is the one \
             that counts"
                .to_owned(),
        ),
        (several, _) => Err(format!(
            "{} open pull requests come from the run's commit, and it cannot be told which one it \
             was for",
            several.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{context::HeadRepository, ids::RepoSlug};

    const OWN: u64 = 1;
    const FORK: u64 = 2;

    fn run() -> CompletedRun {
        let slug: RepoSlug = "mona/repo".parse().unwrap();
        CompletedRun {
            id: 41,
            event: "pull_request".to_owned(),
            path: String::new(),
            head_sha: "a".repeat(40).parse().unwrap(),
            head_branch: "patch".to_owned(),
            head_repository: Some(HeadRepository { id: FORK, slug }),
            attempt: 1,
            conclusion: "success".to_owned(),
        }
    }

    fn listed(change: impl Fn(&mut serde_json::Value)) -> Listed {
        let mut pull = json!({"number": 7, "state": "open",
            "head": {"ref": "patch", "sha": "a".repeat(40), "repo": {"id": FORK}},
            "base": {"ref": "main", "sha": "b".repeat(40), "repo": {"id": OWN}}});
        change(&mut pull);
        serde_json::from_value(pull).unwrap()
    }

    fn picked(pulls: &[Listed]) -> Result<String, String> {
        pick(pulls, &run(), FORK, OWN).map(|pull| pull.number.to_string())
    }

    #[test]
    fn all_of_owner_branch_commit_and_base_must_fit() {
        assert_eq!(picked(&[listed(|_| {})]), Ok("7".to_owned()));
        let moved = picked(&[listed(|pull| pull["head"]["sha"] = json!("c".repeat(40)))]);
        assert!(moved.unwrap_err().contains("moved on"));
        for (place, value) in [
            ("/state", json!("closed")),
            ("/head/ref", json!("other")),
            ("/head/repo/id", json!(3)),
            ("/head/repo", json!(null)),
            ("/base/repo/id", json!(FORK)),
            ("/base/repo", json!(null)),
        ] {
            let other = listed(|pull| *pull.pointer_mut(place).unwrap() = value.clone());
            let why = picked(&[other]).unwrap_err();
            assert!(why.contains("no open pull request"), "{place}: {why}");
        }
        assert!(picked(&[]).is_err());
    }

    #[test]
    fn two_that_fit_are_as_good_as_none() {
        let second = || listed(|pull| pull["number"] = json!(8));
        let why = picked(&[listed(|_| {}), second()]).unwrap_err();
        assert!(why.starts_with("2 open pull requests"), "{why}");
        let moved = listed(|pull| pull["head"]["sha"] = json!("c".repeat(40)));
        assert_eq!(picked(&[moved, second()]), Ok("8".to_owned()));
    }
}
