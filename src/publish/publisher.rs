//! Who can be told. To add one: a file with a [`Publisher`], a `mod` line, and an entry in
//! [`super::PUBLISHERS`].
//!
//! In: one [`Message`]. Out: what became of it. Publishers know nothing of each other and fail
//! alone: a report that cannot be delivered in one place must not be lost in the others.

use std::pin::Pin;

use super::{Annotation, Outputs, PublishError};
use crate::{
    context::{Publish, StepFiles, Trigger},
    github::GitHub,
    ids::{RepoSlug, ReportKey, Section},
    render::{DEFAULT_KEY, Documents},
    verdict::{Decision, Gate, Verdict},
};

/// Everything there is to tell.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// For later steps.
    pub outputs: &'a Outputs,
    /// For people.
    pub documents: &'a Documents,
    /// The line beside the run.
    pub annotation: &'a Annotation,
    /// The colour of the check run.
    pub conclusion: Conclusion,
    /// What was decided; `None` when there is no verdict.
    pub decision: Option<&'a Decision>,
}

/// Where it is told.
#[derive(Debug, Clone, Copy)]
pub struct Audience<'a> {
    /// What the runner gives this step.
    pub files: &'a StepFiles,
    /// GitHub; `None` where nothing may go over the network.
    pub remote: Option<Remote<'a>>,
}

/// Where on GitHub.
#[derive(Debug, Clone, Copy)]
pub struct Remote<'a> {
    /// What was asked for, with token and repository.
    pub publish: &'a Publish,
    /// What the run is about.
    pub trigger: &'a Trigger,
    /// The check run that was begun.
    pub check: CheckState,
}

/// How far the check run has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckState {
    /// Nothing is known of one.
    #[default]
    None,
    /// It was begun and has this id.
    Begun(u64),
    /// It was refused for good, which has been said.
    Refused,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Nothing was written: it was not asked for, or there is nowhere to write.
    Nothing,
    /// It is there.
    Done,
    /// It has an address, which goes to this step output.
    At {
        /// Name of the output.
        output: &'static str,
        /// The `https://…` address.
        url: String,
    },
}

/// What a publisher does with a message.
pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<Told, PublishError>> + 'a>>;

/// One way to tell.
pub trait Publisher: Sync {
    /// What it writes, for messages: `the comment`.
    fn name(&self) -> &'static str;

    /// Writes it.
    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a>;
}

impl<'a> Remote<'a> {
    /// A client and the repository; `None` where token or repository is not known.
    ///
    /// # Errors
    /// The client cannot be set up.
    pub fn connect(&self) -> Result<Option<(GitHub, &'a RepoSlug)>, PublishError> {
        let (Some(token), Some(repo)) = (&self.publish.token, &self.publish.repo) else {
            return Ok(None);
        };
        let github = GitHub::new(&self.publish.api_url, token.clone())?;
        Ok(Some((github, repo)))
    }
}

/// How a check run ends (`research/ci-actions.md` §3.6). A neutral one satisfies a required check,
/// so that only what the gate lets through may be neutral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// The gate is open and something is proven, or accepted.
    Success,
    /// Nothing is proven, or a regression that nobody asked to be stopped by.
    Neutral,
    /// The gate is closed.
    Failure,
    /// There is no verdict: a person has to look.
    ActionRequired,
    /// The run was cancelled.
    Cancelled,
}

impl Conclusion {
    /// The conclusion of a decision. `void`: the measurement cannot be trusted, and the gate that
    /// would have opened says so with an exit code of its own.
    pub fn of(decision: &Decision, void: bool) -> Self {
        if decision.gate.reason().is_some() {
            return Self::Failure;
        }
        if void {
            return if decision.gate == Gate::Passed {
                Self::ActionRequired
            } else {
                Self::Neutral
            };
        }
        let broken = decision
            .limits
            .iter()
            .any(|check| !check.holds && !check.accepted);
        match decision.verdict {
            _ if broken => Self::Neutral,
            Verdict::Improved | Verdict::Unchanged => Self::Success,
            Verdict::Regressed if decision.accepted.is_some() => Self::Success,
            Verdict::Regressed
            | Verdict::Missing
            | Verdict::Incomparable
            | Verdict::Inconclusive
            | Verdict::New => Self::Neutral,
        }
    }

    /// GitHub's word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Neutral => "neutral",
            Self::Failure => "failure",
            Self::ActionRequired => "action_required",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The name of a report among several: `KITT`, `KITT (chat)`, `KITT (chat · h100)`. Always the same
/// for the same job, since required checks are chosen by it.
pub fn report_name(key: &ReportKey, section: Option<&Section>) -> String {
    let key = Some(key.as_str()).filter(|key| *key != DEFAULT_KEY);
    let parts: Vec<&str> = key
        .into_iter()
        .chain(section.map(Section::as_str))
        .collect();
    if parts.is_empty() {
        return "KITT".to_owned();
    }
    format!("KITT ({})", parts.join(" · "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Acceptance;

    fn decision(verdict: Verdict, gate: Gate) -> Decision {
        Decision {
            gate,
            ..Decision::new(verdict, Vec::new())
        }
    }

    #[test]
    fn the_conclusion_follows_the_gate_and_then_the_verdict() {
        use Conclusion::{ActionRequired, Failure, Neutral, Success};
        let why = || "why".to_owned();
        let rows = [
            (Verdict::Regressed, Gate::Regression(why()), Failure),
            (Verdict::Unchanged, Gate::LimitBroken(why()), Failure),
            // `strict` closes the gate, and a neutral check would satisfy a required one.
            (Verdict::Inconclusive, Gate::NotProven(why()), Failure),
            (Verdict::New, Gate::NotProven(why()), Failure),
            (Verdict::Inconclusive, Gate::Passed, Neutral),
            (Verdict::Incomparable, Gate::Passed, Neutral),
            (Verdict::New, Gate::Passed, Neutral),
            (Verdict::Missing, Gate::Passed, Neutral),
            // At the stage `warn`, and with the gate off.
            (Verdict::Regressed, Gate::Passed, Neutral),
            (Verdict::Regressed, Gate::Off, Neutral),
            (Verdict::Unchanged, Gate::Passed, Success),
            (Verdict::Improved, Gate::Off, Success),
        ];
        for (verdict, gate, wanted) in rows {
            let decision = decision(verdict, gate);
            assert_eq!(Conclusion::of(&decision, false), wanted, "{decision:?}");
        }
        let open = decision(Verdict::Unchanged, Gate::Passed);
        assert_eq!(Conclusion::of(&open, true), ActionRequired);
        let off = decision(Verdict::Unchanged, Gate::Off);
        assert_eq!(Conclusion::of(&off, true), Neutral);
        let closed = decision(Verdict::Regressed, Gate::Regression(why()));
        assert_eq!(Conclusion::of(&closed, true), Failure);
    }

    #[test]
    fn an_accepted_regression_is_a_success() {
        let accepted = Decision {
            accepted: Some(Acceptance::default()),
            ..decision(Verdict::Regressed, Gate::Passed)
        };
        assert_eq!(Conclusion::of(&accepted, false), Conclusion::Success);
    }

    #[test]
    fn names_tell_reports_apart_and_never_change() {
        let name = |key: &str, section: Option<&str>| {
            let section = section.map(|text| text.parse::<Section>().unwrap());
            report_name(&key.parse().unwrap(), section.as_ref())
        };
        assert_eq!(name("default", None), "KITT");
        assert_eq!(name("chat", None), "KITT (chat)");
        assert_eq!(name("default", Some("h100 · fp8")), "KITT (h100 · fp8)");
        assert_eq!(name("chat", Some("h100")), "KITT (chat · h100)");
    }
}
