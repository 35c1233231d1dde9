//! The comment on the commit of a push, for branches without pull requests.
//!
//! In: the rendered comment. Out: one comment on the commit, found by marker and author. With the
//! workflow's own token GitHub refuses to change such a comment (`commit_id has been locked`):
//! then the new text goes into a comment of its own, because a verdict that no longer holds
//! misleads more than two comments on a commit whose job was run twice.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Audience, Message, PublishError, Publisher, Telling, Told,
    once::{self, Made},
    publisher::report_name,
    text,
};
use crate::{
    github::{
        GitHub, GitHubError, Request, author,
        operations::{CREATE_COMMIT_COMMENT, LIST_COMMIT_COMMENTS, UPDATE_COMMIT_COMMENT},
    },
    ids::{CommitSha, RepoSlug},
};

/// GitHub takes 65,536 characters.
const BODY: usize = 65_000;
/// Comments of a commit that are read.
const MOST: usize = 1_000;

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    html_url: String,
    body: Option<String>,
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

/// Comments on the commit of a push.
pub(super) struct CommitComment;

impl Publisher for CommitComment {
    fn name(&self) -> &'static str {
        "the commit's comment"
    }

    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a> {
        Box::pin(async move {
            let Some(remote) = audience.remote else {
                return Ok(Told::Nothing);
            };
            let push = remote.trigger.event.as_deref() == Some("push");
            if !remote.publish.commit_comment || !push {
                return Ok(Told::Nothing);
            }
            let (Some((github, repo)), Some(commit)) = (remote.connect()?, &remote.trigger.head)
            else {
                tracing::info!(
                    "no commit is commented on: no commit, repository or token is known"
                );
                return Ok(Told::Nothing);
            };
            let place = Place {
                author: author(&github).await?,
                github: &github,
                repo,
                commit,
                marker: marker(&report_name(
                    &remote.publish.key,
                    remote.publish.section.as_ref(),
                )),
            };
            let text = text::fitted(&message.documents.check_summary, BODY);
            let url = place.upsert(&format!("{}\n{text}", place.marker)).await?;
            Ok(Told::At {
                output: "comment-url",
                url,
            })
        })
    }
}

/// Where the comment belongs.
struct Place<'a> {
    github: &'a GitHub,
    repo: &'a RepoSlug,
    commit: &'a CommitSha,
    /// The comment's first line.
    marker: String,
    author: String,
}

impl Place<'_> {
    /// The comment's address once it says this.
    async fn upsert(&self, body: &str) -> Result<String, PublishError> {
        let Some(found) = self.find().await? else {
            return self.create(body).await;
        };
        if says(&found, body) {
            return Ok(found.html_url);
        }
        match self.update(found.id, body).await {
            Ok(()) => Ok(found.html_url),
            Err(error) if is_locked(&error) => {
                tracing::info!(
                    "GitHub does not let this token change the commit's comment ({error}): a new one is added"
                );
                self.create(body).await
            }
            Err(error) => Err(error.into()),
        }
    }

    fn request(&self, operation: &'static crate::github::Operation) -> Request {
        operation.request(&[self.repo.owner(), self.repo.name(), self.commit.as_str()])
    }

    /// Our newest comment of this key: an older one may be locked.
    async fn find(&self) -> Result<Option<Comment>, PublishError> {
        let request = self.request(&LIST_COMMIT_COMMENTS);
        let all: Vec<Comment> = self.github.pages(request, MOST, |all| all).await?;
        let own = all.into_iter().filter(|comment| self.is_own(comment));
        Ok(own.max_by_key(|comment| comment.id))
    }

    fn is_own(&self, comment: &Comment) -> bool {
        let user = comment.user.as_ref();
        user.is_some_and(|user| user.login.eq_ignore_ascii_case(&self.author))
            && comment.body.as_deref().and_then(|body| body.lines().next()) == Some(&self.marker)
    }

    async fn create(&self, body: &str) -> Result<String, PublishError> {
        let request = self.request(&CREATE_COMMIT_COMMENT);
        let request = request.json(json!({ "body": body }));
        let same = async || {
            let found = self.find().await?;
            Ok(found.filter(|found| says(found, body)))
        };
        match once::create(self.github, &request, same).await? {
            Made::New(comment) | Made::Found(comment) => Ok(comment.html_url),
        }
    }

    async fn update(&self, id: u64, body: &str) -> Result<(), GitHubError> {
        let id = id.to_string();
        let request = UPDATE_COMMIT_COMMENT.request(&[self.repo.owner(), self.repo.name(), &id]);
        let request = request.json(json!({ "body": body }));
        self.github.ask::<Value>(&request).await.map(drop)
    }
}

/// What the comments of one report begin with; its name may hold anything, so it is digested.
fn marker(report: &str) -> String {
    format!("<!-- kitt-commit {} -->", text::digest(report))
}

/// Whether a comment has this text as GitHub gives it back: line ends may come as CRLF, white
/// space at the end is gone.
fn says(comment: &Comment, body: &str) -> bool {
    let normal = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    comment.body.as_deref().map(normal) == Some(normal(body))
}

/// Whether a change was refused in a way that does not forbid a new comment.
const fn is_locked(error: &GitHubError) -> bool {
    matches!(
        error,
        GitHubError::Forbidden { .. }
            | GitHubError::Status {
                status: 403 | 404 | 422,
                ..
            }
    )
}
