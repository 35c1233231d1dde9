//! A comment that the jobs of a matrix share: one section for each, below one headline.
//!
//! A section stands between markers with its job's state, so that any job can renew its own and
//! keep the others'. It is known by its name: a later report of a job takes the place of the
//! earlier one, and of two the newer stays, whoever writes last.

mod compose;
mod parse;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{posted::END, state::State};
use crate::ids::Section;

pub use compose::{Composed, compose};
pub(super) use compose::{bare, index};
pub use parse::legs;

/// How a section's first line begins.
pub(super) const SECTION: &str = "<!-- kitt-section id=";
/// How its last marker begins.
const SECTION_END: &str = "<!-- kitt-section-end id=";
/// What stands before its text.
const BODY: &str = "<!-- kitt-body -->";
/// Between parts of its text, the most important first: what follows may be left out.
const CUT: &str = "<!-- kitt-cut -->";
/// Said where something is left out.
const SHORTENED: &str =
    "Shortened to fit: the complete tables are in the job summary and in `report.html`.";

/// One job's section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    name: Section,
    state: State,
    /// Its text in several sizes, the largest first. Nothing at all is a size too and not listed.
    texts: Arc<[String]>,
}

impl Leg {
    /// A section with its text in several sizes, the largest first; `None` when the state names
    /// no section.
    pub(super) fn new(state: State, mut texts: Vec<String>) -> Option<Self> {
        let smallest = texts.pop().unwrap_or_default();
        texts.extend(parse::sizes(&smallest));
        Some(Self {
            name: state.section.clone()?,
            state,
            texts: texts.into(),
        })
    }

    /// The job's name.
    pub const fn name(&self) -> &Section {
        &self.name
    }

    /// What the report came to.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The largest text there is.
    pub fn text(&self) -> &str {
        self.texts.first().map_or("", String::as_str)
    }

    /// The name as digits: names may hold anything.
    fn id(&self) -> String {
        let digest = Sha256::digest(self.name.as_str());
        let digits: Vec<String> = digest
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        digits.concat()
    }
}

/// Puts a job's own sections beside those that stand. Of two with one name the newer stays. With
/// `all` the own ones are all jobs there are: others go, unless they are of a later run.
pub fn merge(standing: Vec<Leg>, own: &[Leg], all: bool) -> Vec<Leg> {
    let newer_than_all = |leg: &Leg| own.iter().all(|one| one.state.is_older_than(&leg.state));
    let mut legs: Vec<Leg> = standing;
    if all {
        let named = |leg: &Leg| own.iter().any(|one| one.name == leg.name);
        legs.retain(|leg| named(leg) || newer_than_all(leg));
    }
    for one in own {
        match legs.iter_mut().find(|leg| leg.name == one.name) {
            Some(known) if one.state.is_older_than(&known.state) => {}
            Some(known) => *known = one.clone(),
            None => legs.push(one.clone()),
        }
    }
    legs
}

#[cfg(test)]
mod tests;
