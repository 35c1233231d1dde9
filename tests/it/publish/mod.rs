//! Publishing against a stateful fake GitHub, and the runner's own grammars read back.

mod comment;
mod fake;
mod step_files;
