//! Publishing against a stateful fake GitHub, and the runner's own grammars read back.

pub mod comment;
mod fake;
pub mod step_files;
