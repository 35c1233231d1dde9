//! The annotation: one line beside the run.
//!
//! GitHub keeps ten annotations of a kind for the whole action, first come first kept, and adds
//! one of its own for a failed step (`research/ci-actions.md` §4.1). So there is one for the
//! verdict, however many metrics regressed, and a warning for each publisher that failed.

use std::io::Write;

use super::{Audience, Message, PublishError, Publisher, Telling, Told, command, report_name};
use crate::{
    context::StepFiles,
    verdict::{Decision, Judged, Stage, Verdict},
};

/// The one annotation of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Annotation {
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
    pub fn of(decision: &Decision) -> Self {
        if let Some(why) = decision.gate.reason() {
            return Self::Error(why.to_owned());
        }
        if decision.stage == Stage::Observe {
            return Self::Silent;
        }
        // Nobody asked for a gate, so that nothing closed it.
        let regressed = |judged: &&Judged| {
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

    /// Writes it to standard output, where the runner reads commands there.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn write(&self, files: &StepFiles, title: &str) -> Result<(), PublishError> {
        if !files.commands {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        let written = match self {
            Self::Error(text) => command::error(&mut out, title, text),
            Self::Warning(text) => command::warning(&mut out, title, text),
            Self::Notice(text) => command::notice(&mut out, title, text),
            Self::Silent => Ok(()),
        };
        written
            .and_then(|()| out.flush())
            .map_err(PublishError::Closed)
    }
}

/// The title of every annotation of this report.
pub fn title(audience: Audience<'_>) -> String {
    audience.remote.map_or_else(
        || "KITT".to_owned(),
        |remote| report_name(&remote.publish.key, remote.publish.section.as_ref()),
    )
}

/// Writes the annotation.
pub(super) struct Annotations;

impl Publisher for Annotations {
    fn name(&self) -> &'static str {
        "the annotation"
    }

    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a> {
        Box::pin(async move {
            message.annotation.write(audience.files, &title(audience))?;
            Ok(Told::Done)
        })
    }
}
