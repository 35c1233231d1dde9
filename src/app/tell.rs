//! Documents to everybody: outputs, summary, annotation, comment, in that order.

use std::io::Write;

use crate::{
    context::Publish,
    error::Error,
    ids::{PrNumber, RepoSlug},
    publish::{self, CommentOutcome, GitHub, Outputs, PublishError, command},
    render::Documents,
    secret::Secret,
    verdict::{self, Decision, Gate, Verdict},
};

/// Tells everybody: outputs, summary, annotations, comment. Everything is tried; what fails is
/// logged, since a report that cannot be delivered in one place must not be lost in the others.
pub(super) async fn tell(
    publish: &Publish,
    outputs: Outputs,
    documents: &Documents,
    annotation: Annotation,
) {
    if let Some(path) = &publish.files.output {
        note(publish::write_outputs(path, &outputs));
    }
    if let Some(path) = &publish.files.summary {
        note(publish::append_summary(path, &documents.summary));
    }
    annotate(publish, &annotation);
    let Some(url) = comment(publish, &documents.comment).await else {
        return;
    };
    if let Some(path) = &publish.files.output {
        note(publish::write_comment_url(path, &url));
    }
}

/// The one annotation of a run.
pub(super) enum Annotation {
    /// Red.
    Error(String),
    /// Yellow.
    Warning(String),
    /// Blue.
    Notice(String),
}

impl Annotation {
    /// The annotation of a decision.
    pub(super) fn of(decision: &Decision) -> Self {
        match &decision.gate {
            Gate::Regression(why) | Gate::NotProven(why) | Gate::LimitBroken(why) => {
                Self::Error(why.clone())
            }
            Gate::Off | Gate::Passed => {
                let regressed = |judged: &&verdict::Judged| {
                    judged.gating && judged.verdict == Verdict::Regressed
                };
                match decision.metrics.iter().find(regressed) {
                    Some(judged) => Self::Warning(judged.reason.clone()),
                    None => Self::Notice(format!("verdict: {}", decision.verdict.name())),
                }
            }
        }
    }
}

/// Title of every annotation.
const TITLE: &str = "KITT";

fn annotate(publish: &Publish, annotation: &Annotation) {
    if !publish.actions {
        return;
    }
    let mut out = std::io::stdout().lock();
    let written = match annotation {
        Annotation::Error(text) => command::error(&mut out, TITLE, text),
        Annotation::Warning(text) => command::warning(&mut out, TITLE, text),
        Annotation::Notice(text) => command::notice(&mut out, TITLE, text),
    };
    if written.and_then(|()| out.flush()).is_err() {
        tracing::warn!("standard output is closed: no annotation was written");
    }
}

/// Posts the comment where everything for it is there; its address when it stands.
async fn comment(publish: &Publish, body: &str) -> Option<String> {
    if !publish.post_comment {
        return None;
    }
    let (Some(token), Some(repo), Some(pr)) = (&publish.token, &publish.repo, publish.pr) else {
        tracing::info!("no comment is posted: no pull request, repository or token is known");
        return None;
    };
    match post(publish, token.clone(), repo, pr, body).await {
        Ok(outcome) => {
            tracing::info!("comment {outcome}");
            Some(outcome.url().to_owned())
        }
        Err(error) => {
            let text =
                format!("the comment was not posted; the job summary has the report: {error}");
            annotate(publish, &Annotation::Warning(text.clone()));
            tracing::warn!("{text}");
            None
        }
    }
}

async fn post(
    publish: &Publish,
    token: Secret,
    repo: &RepoSlug,
    pr: PrNumber,
    body: &str,
) -> Result<CommentOutcome, PublishError> {
    let github = GitHub::new(&publish.api_url, token)?;
    publish::upsert(&github, repo, pr, &publish.key, body).await
}

/// Posts the comment, failing when it cannot be: for `kitt ci report`, whose purpose it is.
///
/// # Errors
/// As [`publish::upsert`], but a read-only token is only warned about.
pub(super) async fn post_required(publish: &Publish, body: &str) -> Result<bool, Error> {
    let (Some(token), Some(repo), Some(pr)) = (&publish.token, &publish.repo, publish.pr) else {
        return Ok(false);
    };
    match post(publish, token.clone(), repo, pr, body).await {
        Ok(outcome) => {
            tracing::info!("comment {outcome}");
            Ok(true)
        }
        Err(error @ PublishError::Forbidden { .. }) => {
            tracing::warn!("{error}");
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

fn note(outcome: Result<(), PublishError>) {
    if let Err(error) = outcome {
        let error = Error::from(error);
        tracing::error!("{}", error.chain());
    }
}
