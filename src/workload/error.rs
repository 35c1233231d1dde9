//! Why a workload cannot be made: what is wrong, where, and what to do.

use std::{io, path::PathBuf, sync::Arc};

use crate::plan::ReplayError;

/// Why a workload cannot be made.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WorkloadError {
    /// A file cannot be read.
    #[error("the {what} {} cannot be read: check the path and its permissions", path.display())]
    Read {
        /// What the file is, such as `dataset`.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// A file is larger than what is taken.
    #[error("the {what} {} is larger than {limit_mib} MiB: use a smaller part of it", path.display())]
    TooLarge {
        /// What the file is.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The limit, MiB.
        limit_mib: u64,
    },
    /// A file has changed since the plan was made from it.
    #[error(
        "the {what} {} has changed since the run was planned (SHA-256 {found}, planned with \
         {planned}): start the run again",
        path.display()
    )]
    Changed {
        /// What the file is.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// SHA-256 of what was read.
        found: String,
        /// SHA-256 in the plan.
        planned: String,
    },
    /// A `tokenizer.json` that cannot be used.
    #[error(
        "the tokenizer {} cannot be used: {why}; give the tokenizer.json of the served model, in \
         the format of Hugging Face's tokenizers library",
        path.display()
    )]
    Tokenizer {
        /// Where it is.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No text has the wanted length.
    #[error(
        "no text of exactly {wanted} tokens can be written with {tokenizer}; the closest that was \
         found has {closest}: ask for that length, or for a longer prompt"
    )]
    NoExactText {
        /// Tokens asked for.
        wanted: u32,
        /// Tokens of the closest text that was found.
        closest: u32,
        /// What counts.
        tokenizer: String,
    },
    /// A recorded trace is wrong.
    #[error("the trace {}: {source}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        source: ReplayError,
    },
    /// A record of a dataset is wrong.
    #[error("{}, line {line}{}: {why}", path.display(), key.as_deref().map(|key| format!(", key {key}")).unwrap_or_default())]
    Dataset {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key at fault, where it is one.
        key: Option<String>,
        /// What is wrong and what is expected.
        why: String,
    },
    /// A dataset has nothing to ask.
    #[error(
        "the dataset {} has no prompt in it ({skipped} conversations without a user's message \
         were skipped)",
        path.display()
    )]
    EmptyDataset {
        /// The file.
        path: PathBuf,
        /// Conversations that hold no user's message.
        skipped: usize,
    },
    /// The server does not tell how it counts tokens.
    #[error(
        "the server at {url} has no endpoint that counts tokens ({tried}): give a tokenizer.json \
         instead, or leave the tokenizer out and prompts are of estimated length"
    )]
    NoTokenizeEndpoint {
        /// The server.
        url: String,
        /// What was tried, and what came back.
        tried: String,
    },
    /// The server stopped counting tokens.
    #[error("counting tokens with {url} failed: {why}")]
    Tokenize {
        /// The endpoint.
        url: String,
        /// Why.
        why: String,
    },
    /// The server counts a prompt otherwise than it was written.
    #[error(
        "the server at {url} counts {counted} tokens in a prompt that was written with {wanted}: \
         its tokens reach over words; give its tokenizer.json instead"
    )]
    ServerDisagrees {
        /// The endpoint.
        url: String,
        /// Tokens of the prompt as it was put together.
        wanted: u32,
        /// Tokens that the server counts.
        counted: u32,
    },
    /// Something inside stopped.
    #[error("{0}")]
    Stopped(String),
}
