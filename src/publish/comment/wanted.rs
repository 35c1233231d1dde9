//! What the comment should say, seen what stands there. Pure but for what it has seen.

use super::thread::Comment;
use crate::{
    context::CommentWhen,
    publish::PublishError,
    render::{Form, Leg, Posted, Weight, compose, legs, merge, standing_state},
};

/// A report, and the sections of others that were seen on the way.
pub(super) struct Wanted<'a> {
    posted: &'a Posted,
    /// Sections that must not get lost: those of this job and all that were ever seen.
    seen: Vec<Leg>,
    /// Those of them that the last text holds.
    expected: Vec<Leg>,
}

impl<'a> Wanted<'a> {
    pub(super) const fn new(posted: &'a Posted) -> Self {
        Self {
            posted,
            seen: Vec::new(),
            expected: Vec::new(),
        }
    }

    /// Whether other jobs have sections in the comment.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(&self.posted.form, Form::Legs { all: false, .. })
    }

    /// The text that should stand, when these comments of ours do.
    ///
    /// # Errors
    ///
    /// A fault in kitt's own templates.
    pub(super) fn body(&mut self, standing: &[Comment]) -> Result<String, PublishError> {
        let (own, all) = match &self.posted.form {
            Form::Whole { body, .. } => return Ok(body.clone()),
            Form::Legs { own, all } => (own, *all),
        };
        // Where one job reports for all, what it does not know of goes.
        let known = if all { Vec::new() } else { self.seen.clone() };
        let seen = standing.iter().fold(known, |known, comment| {
            merge(known, &legs(comment.body()), false)
        });
        self.seen = merge(seen, own, all);
        let composed = compose(&self.posted.key, self.seen.clone())?;
        self.expected = composed.legs;
        Ok(composed.body)
    }

    /// Takes note of the sections in a comment, and says whether none is missing that should be
    /// there.
    pub(super) fn is_whole(&mut self, comment: &Comment) -> bool {
        let Form::Legs { all, .. } = &self.posted.form else {
            return false;
        };
        let standing = legs(comment.body());
        let whole = has(&standing, &self.expected);
        if !all {
            self.expected = merge(std::mem::take(&mut self.expected), &standing, false);
            self.seen = merge(std::mem::take(&mut self.seen), &standing, false);
        }
        whole
    }

    /// Whether a newer run has reported in the meantime. A section is never outdated as a whole:
    /// of each job the newer stays.
    pub(super) fn is_outdated(&self, standing: &[Comment]) -> bool {
        let Form::Whole { state, .. } = &self.posted.form else {
            return false;
        };
        let states = standing
            .iter()
            .filter_map(|comment| standing_state(comment.body()));
        states.into_iter().any(|other| state.is_older_than(&other))
    }
}

/// Whether a comment lacks nothing that its duplicate has.
pub(super) fn holds(comment: &Comment, duplicate: &Comment) -> bool {
    let newer = match (
        standing_state(comment.body()),
        standing_state(duplicate.body()),
    ) {
        (Some(here), Some(there)) => here.is_older_than(&there),
        (None | Some(_), None) | (None, Some(_)) => false,
    };
    !newer && has(&legs(comment.body()), &legs(duplicate.body()))
}

/// Whether all sections are there, or newer ones of the same jobs.
fn has(standing: &[Leg], expected: &[Leg]) -> bool {
    expected.iter().all(|wanted| {
        standing
            .iter()
            .any(|leg| leg.name() == wanted.name() && !leg.state().is_older_than(wanted.state()))
    })
}

/// Whether a report of this weight begins a comment.
pub(super) const fn begins(when: CommentWhen, weight: Weight) -> bool {
    match when {
        CommentWhen::Always => true,
        CommentWhen::OnChange => matches!(weight, Weight::Changed | Weight::Regressed),
        CommentWhen::OnRegression => matches!(weight, Weight::Regressed),
        CommentWhen::Never => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_decide_what_begins_a_comment() {
        use CommentWhen::{Always, Never, OnChange, OnRegression};
        let table = [
            (Always, [true, true, true]),
            (OnChange, [false, true, true]),
            (OnRegression, [false, false, true]),
            (Never, [false, false, false]),
        ];
        for (when, expected) in table {
            let weights = [Weight::Quiet, Weight::Changed, Weight::Regressed];
            assert_eq!(weights.map(|weight| begins(when, weight)), expected);
        }
    }
}
