//! The pull request's comment as a publisher.

use super::{Audience, Message, Publisher, Telling, Told, upsert};

/// Comments on the pull request.
pub(super) struct PullRequestComment;

impl Publisher for PullRequestComment {
    fn name(&self) -> &'static str {
        super::COMMENT
    }

    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a> {
        Box::pin(async move {
            let Some(remote) = audience.remote else {
                return Ok(Told::Nothing);
            };
            let publish = remote.publish;
            if !publish.post_comment {
                return Ok(Told::Nothing);
            }
            let (Some((github, repo)), Some(pr)) = (remote.connect()?, publish.pr) else {
                tracing::info!(
                    "no comment is posted: no pull request, repository or token is known"
                );
                return Ok(Told::Nothing);
            };
            let posted = &message.documents.posted;
            let outcome = upsert(&github, repo, pr, posted, publish.comment).await?;
            tracing::info!("comment {outcome}");
            Ok(outcome.url().map_or(Told::Done, |url| Told::At {
                output: "comment-url",
                url: url.to_owned(),
            }))
        })
    }
}
