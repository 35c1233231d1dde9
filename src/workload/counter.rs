//! What counts tokens.

use std::{path::Path, sync::Arc};

use url::Url;

use super::{
    WorkloadError, local::LocalTokenizer, server::ServerVocabulary, vocabulary::Vocabulary,
};
use crate::secret::Secret;

/// What counts the tokens of prompts.
#[derive(Debug, Clone)]
pub enum TokenCounter {
    /// Nothing: a word is taken for a token, and lengths are estimates.
    Words,
    /// A `tokenizer.json` on this host.
    Local(Arc<LocalTokenizer>),
    /// The server that is measured.
    Server(ServerVocabulary),
}

impl TokenCounter {
    /// Reads a `tokenizer.json`. Returns long before the tokenizer is ready; prompts can be
    /// written at once.
    ///
    /// # Errors
    /// See [`LocalTokenizer::open`].
    pub fn local(path: &Path) -> Result<Self, WorkloadError> {
        LocalTokenizer::open(path).map(Self::Local)
    }

    /// Learns how the server counts. `base`, `bearer` and `model` are those of the load.
    ///
    /// # Errors
    /// See [`ServerVocabulary::learn`].
    pub async fn server(
        base: &Url,
        bearer: Option<&Secret>,
        model: &str,
    ) -> Result<Self, WorkloadError> {
        ServerVocabulary::learn(base, bearer, model)
            .await
            .map(Self::Server)
    }

    /// Where lengths come from, for the result. Waits for a local tokenizer: ask after the load.
    pub fn describe(&self) -> String {
        match self {
            Self::Words => "words (estimated)".to_owned(),
            Self::Local(local) => local.describe(),
            Self::Server(server) => server.describe(),
        }
    }

    /// The words to write with now, and whether they are only guessed. Waits for a local
    /// tokenizer that cannot be guessed.
    pub(super) fn vocabulary(&self) -> Result<(Arc<Vocabulary>, bool), WorkloadError> {
        match self {
            Self::Words => {
                let words = Vocabulary::words();
                let none = || WorkloadError::Stopped("there are no words to write with".to_owned());
                words.map(|words| (Arc::new(words), false)).ok_or_else(none)
            }
            Self::Server(server) => Ok((Arc::clone(&server.vocabulary), false)),
            Self::Local(local) => match (local.ready(), &local.guess) {
                (Some(ready), _) => Ok((Arc::clone(&ready.vocabulary), false)),
                (None, Some(guess)) => Ok((Arc::clone(guess), true)),
                (None, None) => Ok((Arc::clone(&local.loaded()?.vocabulary), false)),
            },
        }
    }
}
