//! A finding: what was seen, why it matters, what to do. Values only.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Runs work, numbers or cleanliness suffer.
    Warning,
    /// A run would stop.
    Problem,
}

impl Severity {
    /// The word in front of a line.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// One finding. `id` is stable: its first word is the area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Such as `docker.reachable`.
    pub(super) id: &'static str,
    pub(super) severity: Severity,
    /// What was seen.
    pub(super) what: String,
    /// Why it matters; `None` when all is well.
    pub(super) why: Option<&'static str>,
    /// What to do; `None` when all is well.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            id,
            severity: Severity::Ok,
            what: what.into(),
            why: None,
            remedy: None,
        }
    }

    pub(super) fn note(
        id: &'static str,
        what: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self::bad(Severity::Note, id, what, why, remedy)
    }

    pub(super) fn warning(
        id: &'static str,
        what: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self::bad(Severity::Warning, id, what, why, remedy)
    }

    pub(super) fn problem(
        id: &'static str,
        what: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self::bad(Severity::Problem, id, what, why, remedy)
    }

    pub(super) fn bad(
        severity: Severity,
        id: &'static str,
        what: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            id,
            severity,
            what: what.into(),
            why: Some(why),
            remedy: Some(remedy.into()),
        }
    }
}
