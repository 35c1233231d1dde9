//! Documents to people: step outputs, job summary, annotation, check run, comments.
//!
//! Order, always: files → outputs → summary → annotation → check → comments → exit code, which is
//! the order of [`PUBLISHERS`]. [`command`] is the only writer of workflow commands and of standard
//! output.

mod annotate;
mod append;
mod check_run;
pub mod command;
mod comment;
mod commit_comment;
pub mod metrics;
mod once;
mod outputs;
mod publisher;
mod pull_request;
mod summary;
mod text;

use std::path::PathBuf;

use crate::{github::GitHubError, render::RenderError};

pub use annotate::{Annotation, title};
pub use check_run::{Check, begin_check, end_check};
pub use comment::{CommentOutcome, remembered, upsert};
pub use outputs::{OUTPUTS, Output, Outputs, write_output, write_outputs};
pub use publisher::{
    Audience, CheckState, Conclusion, Message, Publisher, Remote, Telling, Told, report_name,
};
pub use summary::append_summary;

/// Everybody who is told, in order.
pub static PUBLISHERS: &[&dyn Publisher] = &[
    &outputs::StepOutputs,
    &summary::Summary,
    &annotate::Annotations,
    &check_run::CheckRun,
    &pull_request::PullRequestComment,
    &commit_comment::CommitComment,
];

/// The name of the check run among the publishers.
pub const CHECK: &str = "the check run";

/// The name of the pull request's comment among the publishers.
pub const COMMENT: &str = "the comment";

/// Why something could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A step file cannot be written.
    #[error("cannot write {what} to {path}")]
    File {
        /// `step outputs` or `job summary`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Nobody reads standard output any more.
    #[error("standard output is closed: no workflow command was written")]
    Closed(#[source] std::io::Error),
    /// GitHub did not take it.
    #[error(transparent)]
    GitHub(#[from] GitHubError),
    /// The sections of a comment cannot be put together.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Other jobs wrote over this job's section again and again.
    #[error(
        "the comment did not come to rest: after {looks} looks at it this job's section was still missing; a job that reports for all (`kitt ci report` on a folder of results) has no rivals"
    )]
    Unsettled {
        /// How often it was looked at.
        looks: u32,
    },
    /// The comment's text cannot be posted; nothing was sent.
    #[error("the comment cannot be posted: {detail}")]
    Body {
        /// What is wrong with it.
        detail: String,
    },
}
