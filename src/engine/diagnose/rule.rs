//! One entry of the table.

use super::FailureClass;

/// How much a line says. Earlier ones are believed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It tells what went wrong.
    Cause,
    /// It tells that something went wrong, which another line explains.
    Wrapper,
    /// Nothing broke; the engine is asked for more than it takes.
    Overload,
}

/// Texts of a line and what they mean.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) class: FailureClass,
    /// All stand in the line, in this order; lower case.
    pub(super) texts: &'static [&'static str],
    pub(super) cause: &'static str,
    pub(super) remedy: &'static str,
    pub(super) kind: Kind,
    /// The engine can never become ready after this line.
    pub(super) fatal: bool,
}

impl Rule {
    /// A line that tells a cause.
    pub(super) const fn new(
        class: FailureClass,
        texts: &'static [&'static str],
        cause: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self {
            class,
            texts,
            cause,
            remedy,
            kind: Kind::Cause,
            fatal: false,
        }
    }

    /// A line after which no engine becomes ready.
    pub(super) const fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }

    /// A line that wraps another error.
    pub(super) const fn wrapper(mut self) -> Self {
        self.kind = Kind::Wrapper;
        self
    }

    /// A line of an engine that has too much to do.
    pub(super) const fn overload(mut self) -> Self {
        self.kind = Kind::Overload;
        self
    }

    /// Whether a line in lower case holds the texts.
    pub(super) fn fits(&self, line: &str) -> bool {
        let mut rest = line;
        self.texts.iter().all(|text| match rest.split_once(text) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}
