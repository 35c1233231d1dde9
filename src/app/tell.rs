//! Documents to everybody: outputs, summary, annotation, comment, in that order.

use std::io::Write;

use crate::{
    context::{Inputs, Publish, StepFiles},
    error::Error,
    publish::{self, GitHub, Outputs, PublishError, command},
    render::Documents,
    secret::Secret,
    verdict::{self, Decision, Stage, Verdict},
};

/// Tells everybody: outputs, summary, annotations, comment. Everything is tried; what fails is
/// logged, since a report that cannot be delivered in one place must not be lost in the others.
pub(super) async fn tell(
    publish: &Publish,
    outputs: &Outputs,
    documents: &Documents,
    annotation: &Annotation,
) {
    step(&publish.files, outputs, documents, annotation);
    let Some(url) = comment(publish, &documents.comment).await else {
        return;
    };
    if let Some(path) = &publish.files.output {
        note(publish::write_comment_url(path, &url));
    }
}

/// Tells the runner alone: outputs, summary, annotation.
pub(super) fn step(
    files: &StepFiles,
    outputs: &Outputs,
    documents: &Documents,
    annotation: &Annotation,
) {
    if let Some(path) = &files.output {
        note(publish::write_outputs(path, outputs));
    }
    if let Some(path) = &files.summary {
        note(publish::append_summary(path, &documents.summary));
    }
    annotate(files, annotation);
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
    warn_if_closed(&command::mask(&mut out, secret).and_then(|()| out.flush()));
}

/// The one annotation of a run.
pub(super) enum Annotation {
    /// Red.
    Error(String),
    /// Yellow.
    Warning(String),
    /// Blue.
    Notice(String),
    /// None: the policy only observes.
    Silent,
}

impl Annotation {
    /// The annotation of a decision.
    pub(super) fn of(decision: &Decision) -> Self {
        if let Some(why) = decision.gate.reason() {
            return Self::Error(why.to_owned());
        }
        if decision.stage == Stage::Observe {
            return Self::Silent;
        }
        // Nobody asked for a gate, so that nothing closed it.
        let regressed = |judged: &&verdict::Judged| {
            judged.stands == Stage::Block && judged.verdict == Verdict::Regressed
        };
        let worst = decision.metrics.iter().find(regressed);
        let worst = worst.map(|judged| judged.reason.clone());
        let said: Vec<String> = worst.into_iter().chain(decision.warnings.clone()).collect();
        match &decision.accepted {
            _ if !said.is_empty() => Self::Warning(said.join(" ")),
            Some(accepted) => Self::Notice(accepted.sentence()),
            None => Self::Notice(format!("verdict: {}", decision.verdict.name())),
        }
    }
}

/// Title of every annotation.
const TITLE: &str = "KITT";

fn annotate(files: &StepFiles, annotation: &Annotation) {
    if !files.commands {
        return;
    }
    let mut out = std::io::stdout().lock();
    let written = match annotation {
        Annotation::Error(text) => command::error(&mut out, TITLE, text),
        Annotation::Warning(text) => command::warning(&mut out, TITLE, text),
        Annotation::Notice(text) => command::notice(&mut out, TITLE, text),
        Annotation::Silent => Ok(()),
    };
    warn_if_closed(&written.and_then(|()| out.flush()));
}

fn warn_if_closed(written: &std::io::Result<()>) {
    if written.is_err() {
        tracing::warn!("standard output is closed: no workflow command was written");
    }
}

/// Posts the comment where that was asked for; its address when it stands.
async fn comment(publish: &Publish, body: &str) -> Option<String> {
    if !publish.post_comment {
        return None;
    }
    match post(publish, body).await {
        Ok(url) => url,
        Err(error) => {
            not_posted(publish, &error);
            None
        }
    }
}

/// Posts the comment, failing when it cannot be: for `kitt ci report`, whose purpose it is.
/// False when there is nowhere to post to.
///
/// # Errors
/// As [`publish::upsert`], but a read-only token is only warned about.
pub(super) async fn post_required(publish: &Publish, body: &str) -> Result<bool, Error> {
    match post(publish, body).await {
        Ok(url) => Ok(url.is_some()),
        Err(error @ PublishError::Forbidden { .. }) => {
            not_posted(publish, &error);
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// The comment's address; `None` where pull request, repository or token is not known.
async fn post(publish: &Publish, body: &str) -> Result<Option<String>, PublishError> {
    let (Some(token), Some(repo), Some(pr)) = (&publish.token, &publish.repo, publish.pr) else {
        tracing::info!("no comment is posted: no pull request, repository or token is known");
        return Ok(None);
    };
    let github = GitHub::new(&publish.api_url, token.clone())?;
    let outcome = publish::upsert(&github, repo, pr, &publish.key, body).await?;
    tracing::info!("comment {outcome}");
    Ok(Some(outcome.url().to_owned()))
}

fn not_posted(publish: &Publish, error: &PublishError) {
    let text = format!("the comment was not posted; the job summary has the report: {error}");
    tracing::warn!("{text}");
    annotate(&publish.files, &Annotation::Warning(text));
}

fn note(outcome: Result<(), PublishError>) {
    if let Err(error) = outcome {
        let error = Error::from(error);
        tracing::error!("{}", error.chain());
    }
}
