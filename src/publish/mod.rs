//! Documents to people: step outputs, job summary, annotations, the pull request's comment.
//!
//! Order, always: files → outputs → summary → annotations → comment → exit code. [`command`] is
//! the only writer of workflow commands and of standard output.

mod append;
mod client;
pub mod command;
mod comment;
mod identity;
mod outputs;
mod retry;
mod summary;
mod token;

use std::path::PathBuf;

pub use client::GitHub;
pub use comment::{CommentOutcome, upsert};
pub use outputs::{Outputs, write_comment_url, write_outputs};
pub use summary::append_summary;
pub use token::{TokenFacts, token_facts};

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
    /// The token may not do this: expected for pull requests from forks.
    #[error(
        "the token may not {action} ({message}): add `permissions: pull-requests: write` to the job; a pull request from a fork gets a read-only token whatever the workflow says"
    )]
    Forbidden {
        /// What was attempted.
        action: &'static str,
        /// GitHub's words.
        message: String,
    },
    /// GitHub answered with an error that does not go away.
    #[error("GitHub answered {status} to {action}: {message}")]
    Status {
        /// What was attempted.
        action: &'static str,
        /// HTTP status.
        status: u16,
        /// GitHub's words.
        message: String,
    },
    /// GitHub cannot be reached, or answers with server errors, after all retries.
    #[error("GitHub could not be reached to {action} after {attempts} attempts: {detail}")]
    Unreachable {
        /// What was attempted.
        action: &'static str,
        /// How often.
        attempts: u32,
        /// The last error.
        detail: String,
    },
    /// The API's address is no URL.
    #[error("`{url}` is no GitHub API address: {detail}")]
    Address {
        /// What was given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The client cannot be set up.
    #[error("the connection to GitHub cannot be set up: {detail}")]
    Client {
        /// What is wrong.
        detail: String,
    },
    /// The comment's text cannot be posted; nothing was sent.
    #[error("the comment cannot be posted: {detail}")]
    Body {
        /// What is wrong with it.
        detail: String,
    },
    /// A success with an answer that makes no sense.
    #[error("GitHub's answer cannot be understood, while trying to {action}: {detail}")]
    Answer {
        /// What was attempted.
        action: &'static str,
        /// What is wrong with it.
        detail: String,
    },
}
