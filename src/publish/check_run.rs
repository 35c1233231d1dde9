//! The check run: `in_progress` while it is measured, and then the verdict beside the commit.
//!
//! In: the name of the report, the commit, and how it went. Out: a check run of our own, created
//! once for a run of the workflow and brought up to date by its further attempts. Other apps'
//! check runs of the same name are never touched. It has no annotations: a benchmark has no line
//! of code to point at.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Audience, Message, PublishError, Publisher, Telling, Told,
    once::{self, Made},
    publisher::{CheckState, Conclusion, Remote, report_name},
    text,
};
use crate::{
    github::{
        GitHub, GitHubError, author,
        operations::{CREATE_CHECK, LIST_CHECKS, UPDATE_CHECK},
    },
    ids::{CommitSha, RepoSlug},
};

/// Characters that GitHub takes for a summary.
const SUMMARY: usize = 65_535;
/// Longest title, in characters: it stands in one line of a list.
const TITLE: usize = 200;
/// Check runs of one name on one commit that are looked at, the newest first.
const LISTED: &str = "100";

/// A check run, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Check {
    /// Its id.
    pub id: u64,
    /// Its page.
    pub html_url: Option<String>,
    external_id: Option<String>,
    app: Option<App>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct App {
    slug: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Checks {
    check_runs: Vec<Check>,
}

/// Where a check run belongs.
struct Place<'a> {
    github: GitHub,
    repo: &'a RepoSlug,
    head: &'a CommitSha,
    name: String,
    external_id: String,
    details_url: Option<&'a str>,
}

/// What a check run shows.
struct Shown<'a> {
    /// `None` while it is measured.
    conclusion: Option<Conclusion>,
    title: &'a str,
    summary: &'a str,
}

/// Says that a measurement has begun; `None` where that was not asked for, or token, repository or
/// commit is not known.
///
/// # Errors
/// GitHub does not take it.
pub async fn begin_check(remote: Remote<'_>) -> Result<Option<Check>, PublishError> {
    let Some(place) = Place::of(&remote)? else {
        return Ok(None);
    };
    let shown = Shown {
        conclusion: None,
        title: "Measuring",
        summary: "The benchmark runs. The verdict follows here.",
    };
    place.set(None, &shown).await.map(Some)
}

/// Ends the check run of a run that can no longer do it: it was killed or cancelled.
///
/// # Errors
/// GitHub does not take it.
pub async fn end_check(github: &GitHub, repo: &RepoSlug, id: u64) -> Result<(), PublishError> {
    let body = json!({
        "status": "completed",
        "conclusion": Conclusion::Cancelled.name(),
        "output": {
            "title": "No verdict: the run was cancelled or killed",
            "summary": "It ended before there was a verdict. Re-run the job to measure again.",
        },
    });
    let request = UPDATE_CHECK.request(&[repo.owner(), repo.name(), &id.to_string()]);
    github.ask::<Value>(&request.json(body)).await?;
    Ok(())
}

/// Completes the check run.
pub(super) struct CheckRun;

impl Publisher for CheckRun {
    fn name(&self) -> &'static str {
        super::CHECK
    }

    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a> {
        Box::pin(async move {
            let Some(remote) = audience.remote else {
                return Ok(Told::Nothing);
            };
            let begun = match remote.check {
                CheckState::Refused => return Ok(Told::Nothing),
                CheckState::Begun(id) => Some(id),
                CheckState::None => None,
            };
            let Some(place) = Place::of(&remote)? else {
                return Ok(Told::Nothing);
            };
            let shown = Shown {
                conclusion: Some(message.conclusion),
                title: &message.documents.title,
                summary: &message.documents.check_summary,
            };
            let check = place.set(begun, &shown).await?;
            Ok(check.html_url.map_or(Told::Done, |url| Told::At {
                output: "check-url",
                url,
            }))
        })
    }
}

impl<'a> Place<'a> {
    fn of(remote: &Remote<'a>) -> Result<Option<Self>, PublishError> {
        let publish = remote.publish;
        if !publish.check_run {
            return Ok(None);
        }
        let (Some((github, repo)), Some(head)) = (remote.connect()?, &remote.trigger.head) else {
            tracing::info!("no check run is written: no commit, repository or token is known");
            return Ok(None);
        };
        let name = report_name(&publish.key, publish.section.as_ref());
        let trigger = remote.trigger;
        Ok(Some(Self {
            github,
            repo,
            head,
            external_id: external_id(trigger.workflow_run, trigger.job.as_deref(), &name),
            name,
            details_url: trigger.run_url.as_deref(),
        }))
    }

    /// Brings the check run to this state; makes it where there is none.
    async fn set(&self, known: Option<u64>, shown: &Shown<'_>) -> Result<Check, PublishError> {
        if let Some(id) = known {
            return self.update(id, shown).await;
        }
        if let Some(found) = self.find().await? {
            match self.update(found.id, shown).await {
                // Another GitHub may not open a completed one again: a new one takes its place.
                Err(PublishError::GitHub(GitHubError::Status { status: 422, .. })) => {}
                done => return done,
            }
        }
        let mut body = self.body(shown);
        body.extend([
            ("head_sha".to_owned(), json!(self.head.as_str())),
            ("external_id".to_owned(), json!(self.external_id)),
            ("name".to_owned(), json!(self.name)),
        ]);
        let request = CREATE_CHECK.request(&[self.repo.owner(), self.repo.name()]);
        let request = request.json(Value::Object(body));
        match once::create(&self.github, &request, async || self.find().await).await? {
            Made::New(made) => Ok(made),
            Made::Found(found) => self.update(found.id, shown).await,
        }
    }

    /// The newest check run of this name and run that is our own.
    async fn find(&self) -> Result<Option<Check>, PublishError> {
        let request =
            LIST_CHECKS.request(&[self.repo.owner(), self.repo.name(), self.head.as_str()]);
        let request = request
            .query("check_name", &self.name)
            .query("filter", "all")
            .query("per_page", LISTED);
        let all = self.github.ask::<Checks>(&request).await?.value.check_runs;
        let same = |check: &Check| check.external_id.as_deref() == Some(&self.external_id);
        let mut same: Vec<Check> = all.into_iter().filter(same).collect();
        if same.is_empty() {
            return Ok(None);
        }
        // Anybody's app can write our name and id.
        let author = author(&self.github).await?;
        let own = author.strip_suffix("[bot]").unwrap_or(&author);
        same.retain(|check| {
            let slug = check.app.as_ref().and_then(|app| app.slug.as_deref());
            slug.is_some_and(|slug| slug.eq_ignore_ascii_case(own))
        });
        Ok(same.into_iter().max_by_key(|check| check.id))
    }

    async fn update(&self, id: u64, shown: &Shown<'_>) -> Result<Check, PublishError> {
        let id = id.to_string();
        let request = UPDATE_CHECK.request(&[self.repo.owner(), self.repo.name(), &id]);
        let request = request.json(Value::Object(self.body(shown)));
        Ok(self.github.ask::<Check>(&request).await?.value)
    }

    fn body(&self, shown: &Shown<'_>) -> Map<String, Value> {
        let status = if shown.conclusion.is_some() {
            "completed"
        } else {
            "in_progress"
        };
        let output = json!({
            "title": text::shorten(shown.title, TITLE),
            "summary": text::fitted(shown.summary, SUMMARY),
        });
        let conclusion = shown
            .conclusion
            .map(|end| ("conclusion", json!(end.name())));
        let details = self.details_url.map(|url| ("details_url", json!(url)));
        [("status", json!(status)), ("output", output)]
            .into_iter()
            .chain(conclusion)
            .chain(details)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

/// The same for every attempt of one job of one run, and for nothing else.
fn external_id(run: Option<u64>, job: Option<&str>, name: &str) -> String {
    let short = text::digest(&format!("{}\n{name}", job.unwrap_or_default()));
    match run {
        Some(run) => format!("kitt-{run}-{short}"),
        None => format!("kitt-{short}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_external_id_is_that_of_a_job_of_a_run() {
        let id = external_id(Some(7), Some("bench"), "KITT");
        assert_eq!(id, external_id(Some(7), Some("bench"), "KITT"));
        assert!(id.starts_with("kitt-7-"), "{id}");
        for other in [
            external_id(Some(8), Some("bench"), "KITT"),
            external_id(Some(7), Some("other"), "KITT"),
            external_id(Some(7), Some("bench"), "KITT (h100)"),
            external_id(None, Some("bench"), "KITT"),
        ] {
            assert_ne!(id, other);
        }
    }
}
