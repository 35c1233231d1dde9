//! What a standing comment is brought up to date with, and whether that makes a difference.

use super::{
    sections::{Leg, SECTION},
    state::{GateWord, Outcome, State},
};
use crate::{ids::ReportKey, verdict::Verdict};

/// How the last line of a comment begins.
const STATE: &str = "<!-- kitt-state:";
/// How a marker ends.
pub(super) const END: &str = " -->";

/// A report on its way to its comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posted {
    /// Which of several reports on one pull request this is.
    pub key: ReportKey,
    /// How much there is to say.
    pub weight: Weight,
    /// The text.
    pub form: Form,
}

/// Whether a comment belongs to one report or to the jobs of a matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// The whole comment.
    Whole {
        /// Markdown with its markers.
        body: String,
        /// What its last line says.
        state: Box<State>,
    },
    /// Sections of one.
    Legs {
        /// Those of this job.
        own: Vec<Leg>,
        /// Whether these are all there are, so that older ones go.
        all: bool,
    },
}

impl Default for Form {
    /// A comment without a text.
    fn default() -> Self {
        Self::Whole {
            body: String::new(),
            state: Box::default(),
        }
    }
}

impl Form {
    /// The states of the reports in it.
    pub fn states(&self) -> Vec<&State> {
        match self {
            Self::Whole { state, .. } => vec![state.as_ref()],
            Self::Legs { own, .. } => own.iter().map(Leg::state).collect(),
        }
    }
}

/// How much there is to say; decides whether a comment is begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Nothing changed.
    #[default]
    Quiet,
    /// Something is not unchanged.
    Changed,
    /// Something regressed, or the gate is closed.
    Regressed,
}

impl Weight {
    /// The weight of a report.
    pub fn of(state: &State) -> Self {
        if state.gate == GateWord::Failed || state.outcome == Outcome::Of(Verdict::Regressed) {
            Self::Regressed
        } else if state.outcome == Outcome::Of(Verdict::Unchanged) {
            Self::Quiet
        } else {
            Self::Changed
        }
    }
}

/// What the last line of a comment says about the report in it; `None` when it is no such line.
/// The caller knows who wrote the comment.
pub fn standing_state(body: &str) -> Option<State> {
    let (_, data) = data_of(body.trim_end().lines().next_back()?)?;
    State::decode(data)
}

/// The marker's beginning and the state in a line that has one.
fn data_of(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    let marked = line.starts_with(STATE) || line.starts_with(SECTION);
    let (head, data) = line.strip_suffix(END)?.rsplit_once(' ')?;
    marked.then_some((head, data))
}

/// A comment without the time it was made at: what two comments differ in that say the same of
/// the same run. Line ends and white space at the end make no difference either, since GitHub
/// may store them in its own way.
pub fn timeless(body: &str) -> String {
    let line = |line: &str| match data_of(line) {
        Some((head, data)) => match State::decode(data) {
            Some(mut state) => {
                state.updated = String::new();
                format!("{head} {}{END}", state.encode())
            }
            None => line.to_owned(),
        },
        None => without_moment(line),
    };
    let lines: Vec<String> = body.trim_end().lines().map(line).collect();
    lines.join("\n")
}

/// Takes `updated 2026-01-31 17:05 UTC` out of the small print.
fn without_moment(line: &str) -> String {
    const WORD: &str = "updated ";
    const FORM: &[u8] = b"0000-00-00 00:00 UTC";
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(WORD) {
        out.push_str(before);
        out.push_str(WORD);
        let fits = |(form, byte): (&u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            other => *other == byte,
        };
        let timed = after.len() >= FORM.len() && FORM.iter().zip(after.bytes()).all(fits);
        rest = if timed {
            after.get(FORM.len()..).unwrap_or_default()
        } else {
            after
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_is_taken_out() {
        let line = "<sub>kitt 0.1.0 · updated 2026-01-31 17:05 UTC · attempt 1</sub>";
        assert_eq!(
            without_moment(line),
            "<sub>kitt 0.1.0 · updated  · attempt 1</sub>"
        );
        for other in [
            "updated yesterday",
            "updated 2026-01-31 17:0x UTC",
            "updated ",
        ] {
            assert_eq!(without_moment(other), other);
        }
        assert_eq!(timeless("a\r\nb  \r\n"), timeless("a\nb  \n\n"));
        assert_ne!(timeless("a\nb"), timeless("a\nc"));
    }

    #[test]
    fn a_line_that_only_looks_like_a_state_stays() {
        let line = "<!-- kitt-state:2 %%% -->";
        assert_eq!(timeless(line), line);
        assert_eq!(standing_state(line), None);
        assert_eq!(standing_state(""), None);
        assert_eq!(standing_state("<!-- kitt-state:2 -->"), None);
    }
}
