//! Everybody is told, in the order of [`publish::PUBLISHERS`].

use std::io::Write;

use super::check;
use crate::{
    context::{Inputs, Publish, StepFiles},
    error::Error,
    github::GitHubError,
    publish::{self, Annotation, Audience, Message, PUBLISHERS, PublishError, Told, command},
    secret::Secret,
};

/// What became of the pull request's comment.
pub(super) type Commented = Result<Told, PublishError>;

/// Tells everybody. Everything is tried; what fails is logged and annotated, since a report that
/// cannot be delivered in one place must not be lost in the others.
pub(super) async fn tell(audience: Audience<'_>, message: Message<'_>) -> Commented {
    let mut commented = Ok(Told::Nothing);
    for publisher in PUBLISHERS {
        let outcome = publisher.tell(audience, message).await;
        match &outcome {
            Ok(Told::At { output, url }) => keep(audience, output, url),
            Ok(Told::Nothing | Told::Done) => {}
            Err(PublishError::Closed(_)) => say_closed(),
            Err(error @ PublishError::File { .. }) => log(error),
            Err(error) => not_posted(audience, publisher.name(), error),
        }
        if publisher.name() == publish::CHECK
            && matches!(outcome, Ok(Told::Done | Told::At { .. }))
            && let Some(remote) = audience.remote
        {
            check::forget(remote.publish);
        }
        if publisher.name() == publish::COMMENT {
            commented = outcome;
        }
    }
    commented
}

/// Whether the comment stands, or could not be expected to: for `kitt ci report`, whose purpose it
/// is. False when there was nowhere to post to.
///
/// # Errors
/// It was not posted; that a token may only read is no error.
pub(super) fn required(commented: Commented) -> Result<bool, Error> {
    match commented {
        Ok(told) => Ok(told != Told::Nothing),
        Err(PublishError::GitHub(GitHubError::Forbidden { .. })) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// An address that is known only after the outputs are out.
fn keep(audience: Audience<'_>, output: &str, url: &str) {
    tracing::info!("{output}: {url}");
    if let Some(path) = &audience.files.output
        && let Err(error) = publish::write_output(path, output, url)
    {
        log(&error);
    }
}

/// Says in log and annotation that a publisher failed.
pub(super) fn not_posted(audience: Audience<'_>, what: &str, error: &PublishError) {
    let fork = audience.remote.is_some_and(|remote| remote.trigger.fork);
    let why = if let PublishError::GitHub(error) = error {
        error.told(fork)
    } else {
        error.to_string()
    };
    let text = format!("{what} was not posted; the job summary has the report: {why}");
    tracing::warn!("{text}");
    annotate(audience.files, &publish::title(audience), text);
    let block = match (error, audience.remote) {
        (PublishError::GitHub(error), Some(remote)) if !fork => error.permissions(remote.publish),
        _ => None,
    };
    if let Some(block) = block {
        tracing::warn!("what the job needs for all it is asked to do:\n{block}");
    }
}

/// A warning that is no part of the verdict.
pub(super) fn warn(publish: &Publish, text: String) {
    let title = publish::report_name(&publish.key, publish.section.as_ref());
    annotate(&publish.files, &title, text);
}

fn annotate(files: &StepFiles, title: &str, text: String) {
    if Annotation::Warning(text).write(files, title).is_err() {
        say_closed();
    }
}

/// Asks the runner to hide the tokens wherever they might still turn up.
pub(super) fn hide(inputs: &Inputs) {
    if inputs.publish.files.commands {
        let measure = &inputs.measure;
        let all = inputs.publish.token.iter();
        let all = all.chain(&measure.hf_token).chain(&measure.load.api_key);
        all.for_each(hide_one);
    }
}

/// Asks the runner to hide one text.
pub(super) fn hide_one(secret: &Secret) {
    let mut out = std::io::stdout().lock();
    if command::mask(&mut out, secret)
        .and_then(|()| out.flush())
        .is_err()
    {
        say_closed();
    }
}

fn say_closed() {
    tracing::warn!("standard output is closed: no workflow command was written");
}

fn log(error: &PublishError) {
    use std::error::Error as _;
    let source = error.source().map(|source| format!(": {source}"));
    tracing::error!("{error}{}", source.unwrap_or_default());
}
