//! What the pushes before this one came to, as the standing comment remembers it.

use crate::{
    context::Inputs,
    github::GitHub,
    ids::Section,
    publish::{self, PublishError},
    render::{Push, State},
};

/// The pushes before this one, newest first; none where there is no comment, or it cannot be
/// read: a report does not rest on it.
pub(super) async fn earlier(inputs: &Inputs) -> Vec<Push> {
    let section = inputs.publish.section.as_ref();
    let head = inputs.trigger.head.as_ref().map(ToString::to_string);
    match standing(inputs, section).await {
        Ok(state) => state.map_or_else(Vec::new, |state| state.before(head.as_deref())),
        Err(error) => {
            tracing::info!("the pushes before this one are not known: {error}");
            Vec::new()
        }
    }
}

async fn standing(
    inputs: &Inputs,
    section: Option<&Section>,
) -> Result<Option<State>, PublishError> {
    let publish = &inputs.publish;
    let known = (&publish.token, &publish.repo, publish.pr);
    let (Some(token), Some(repo), Some(pr)) = known else {
        return Ok(None);
    };
    if !publish.post_comment {
        return Ok(None);
    }
    let github = GitHub::new(&publish.api_url, token.clone())?;
    publish::remembered(&github, repo, pr, &publish.key, section).await
}
