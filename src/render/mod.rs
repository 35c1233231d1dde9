//! A decision to documents: the comment, the job summary, the HTML report. Pure.
//!
//! `view` turns every number into text; the templates hold layout only; `budget` makes the
//! result fit. Text from outside (model names, errors, arguments) is escaped for the kind of
//! document it goes into.

mod budget;
mod documents;
mod escape;
mod gate;
mod merged;
mod number;
mod posted;
mod sections;
mod state;
mod templates;
mod view;

use crate::{
    compare::Comparison,
    ids::{ReportKey, Section},
    results::{Pairs, ResultSet},
    verdict::Decision,
};

pub use documents::{Rung, failure, render, rungs};
pub use escape::{html, markdown};
pub use gate::gate_table;
pub use merged::merged;
pub use posted::{Form, Posted, Weight, standing_state, timeless};
pub use sections::{Composed, Leg, compose, legs, merge};
pub use state::{GateWord, MOST_EARLIER, Outcome, Push, State};
pub use view::{Colour, terminal};

/// KITT's marker, the comment's very first line.
pub const KITT_MARKER: &str = "<!-- kitt-benchmark -->";

/// The second line: which of several reports on one pull request this is.
pub fn key_marker(key: &ReportKey) -> String {
    marker_of(key.as_str())
}

/// The key of a report that was not given one.
pub const DEFAULT_KEY: &str = "default";

fn marker_of(key: &str) -> String {
    format!("<!-- kitt-action key={key} -->")
}

/// What is written for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// Markdown for the pull request: markers first, at most 60,000 characters.
    pub comment: String,
    /// Markdown for the job summary: no markers, at most 1,000,000 bytes.
    pub summary: String,
    /// One HTML file that needs nothing beside itself.
    pub report_html: String,
    /// Markdown for a check run: no markers, at most 65,000 characters and bytes.
    pub check_summary: String,
    /// What the standing comment is brought up to date with.
    pub posted: Posted,
    /// The heading of all three as one line of plain text, not escaped for anything.
    pub title: String,
    /// JSON for a badge, as shields.io reads it from an endpoint.
    pub badge: String,
}

/// Why there is no measurement, in words for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Problem<'a> {
    /// A few words: `the engine did not start`.
    pub title: &'a str,
    /// What happened.
    pub reason: &'a str,
    /// What to do about it, when known.
    pub remedy: Option<&'a str>,
    /// Engine, when known.
    pub engine: Option<&'a str>,
    /// Model, when known.
    pub model: Option<&'a str>,
    /// Suite, when known.
    pub suite: Option<&'a str>,
}

/// Everything a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// The verdicts and the gate.
    pub decision: &'a Decision,
    /// What differs.
    pub comparison: &'a Comparison,
    /// What was measured.
    pub current: &'a ResultSet,
    /// What it was held against.
    pub baseline: Result<&'a ResultSet, NoBaseline<'a>>,
    /// Which runs were pairs, when the sides were measured in turn.
    pub pairs: Option<&'a Pairs>,
    /// Where and when.
    pub context: &'a ReportContext,
}

/// Why there is nothing to compare with, as a sentence fragment for people.
#[derive(Debug, Clone, Copy)]
pub struct NoBaseline<'a>(pub &'a str);

/// Where and when a report was made. Every field may be unknown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportContext {
    /// Key of this report among several on one pull request; `default` when not given.
    pub key: Option<ReportKey>,
    /// Commit that was measured.
    pub head: Option<String>,
    /// Commit of the baseline, or what is known about where it came from.
    pub base: Option<String>,
    /// `https://…` link to the run.
    pub run_url: Option<String>,
    /// Where the raw results are, in words or as a link.
    pub results: Option<String>,
    /// Time of the report, RFC 3339, UTC. An argument, so that the same input gives the same
    /// bytes.
    pub updated: String,
    /// Attempt of the CI run, from 1.
    pub attempt: Option<u32>,
    /// Id of the CI run.
    pub run: Option<u64>,
    /// This job's section of a comment that several jobs share; `None`: it has one for itself.
    pub section: Option<Section>,
    /// What the pushes before came to, newest first, as the standing comment remembers them.
    pub earlier: Vec<Push>,
    /// One command that reproduces the run, shown under "next steps".
    pub reproduce: Option<String>,
    /// Why the numbers prove nothing by themselves, when code of a stranger measured them: a
    /// sentence that goes on after "Measured on fork code:".
    pub origin: Option<String>,
    /// Unified difference of the two effective configurations; empty when equal.
    pub config_diff: String,
}

/// Why a document cannot be rendered: always a fault in kitt's own templates.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template does not parse.
    #[error("template `{id}` does not parse")]
    Template {
        /// The template.
        id: &'static str,
        /// What handlebars said.
        #[source]
        source: Box<handlebars::TemplateError>,
    },
    /// A template asks for something the view does not have.
    #[error("template `{id}` does not render")]
    Render {
        /// The template.
        id: &'static str,
        /// What handlebars said.
        #[source]
        source: Box<handlebars::RenderError>,
    },
}
