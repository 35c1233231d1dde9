//! A GitHub that keeps state, inside the test's process. It runs on a thread and a runtime of
//! its own, so a test may wait for `kitt` without an executor.
//!
//! ```ignore
//! let gh = GitHub::start();
//! let sha = gh.state(|s| s.pull(7).head_sha.clone());
//! gh.state(|s| s.faults.push(Rule::on("POST", "/comments", What::Cut)));
//! // ... GITHUB_API_URL = gh.url
//! assert_eq!(gh.seen("POST", "/comments").len(), 2);
//! ```
#![allow(
    dead_code,
    unused_imports,
    reason = "a kit: not every test needs every tool"
)]

mod actions;
mod auth;
mod call;
mod checks;
mod comments;
mod described;
mod faults;
mod git;
mod history;
mod pulls;
mod route;
mod server;
mod shapes;
mod state;
mod tests;
mod world;

pub use auth::{App, Level, Token};
pub use described::described;
pub use faults::{Chaos, Rule, What};
pub use server::GitHub;
pub use state::{
    Activity, Artifact, Check, Comment, Commit, CommitComment, IssueEvent, Pull, Repository, Run,
    Seen, State, Tree,
};
pub use world::zip;
