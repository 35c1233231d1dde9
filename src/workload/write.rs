//! Writes texts of an asked-for length and keeps book of how sure that length is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use super::{
    TokenCounter, WorkloadError,
    compose::{Part, Repaired, draft, repair},
    vocabulary::Vocabulary,
};
use crate::plan::stream;

/// These many texts are counted before the others are trusted, and then one of as many.
///
/// The proof that texts are as long as their words together stands in [`super::scan`], and every
/// word was counted. This sample would find what the proof has overlooked.
const SAMPLE: u32 = 64;
const FIRST: u32 = 8;
/// Room for any nonce.
const MOST_NONCE_TOKENS: u32 = 4096;

/// What is known about the texts that were written.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Texts were written with guessed words.
    pub(super) guessed: AtomicBool,
    /// Texts that were counted.
    pub(super) counted: AtomicU32,
    /// Texts of them that had another length than they were written with.
    pub(super) wrong: AtomicU32,
}

/// Writes with one vocabulary.
#[derive(Debug)]
pub(super) struct Writer {
    counter: TokenCounter,
    vocabulary: Arc<Vocabulary>,
    book: Arc<Book>,
    written: u32,
}

/// A text and its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    /// `None` where nobody counts.
    pub(super) tokens: Option<u32>,
}

impl Writer {
    pub(super) fn new(counter: &TokenCounter, book: &Arc<Book>) -> Result<Self, WorkloadError> {
        let (vocabulary, guessed) = counter.vocabulary()?;
        book.guessed.fetch_or(guessed, Ordering::Relaxed);
        Ok(Self {
            counter: counter.clone(),
            vocabulary,
            book: Arc::clone(book),
            written: 0,
        })
    }

    /// Writes exactly `tokens` tokens. `name` seeds corrections, where some are needed.
    pub(super) fn write(
        &mut self,
        parts: Vec<Part>,
        tokens: u32,
        at_start: bool,
        name: &[&[u8]],
    ) -> Result<Written, WorkloadError> {
        let draft = draft(&self.vocabulary, parts, tokens, at_start);
        let counts = self.counts();
        let exact = |text| Written {
            text,
            tokens: counts.then_some(tokens),
        };
        let sampled = self.written < FIRST || self.written.is_multiple_of(SAMPLE);
        self.written = self.written.wrapping_add(1);
        let loaded = match &self.counter {
            TokenCounter::Local(local) if sampled || !self.vocabulary.additive => local.ready(),
            TokenCounter::Local(_) | TokenCounter::Words | TokenCounter::Server(_) => None,
        };
        if draft.tokens != tokens && (self.vocabulary.additive || loaded.is_none()) {
            return Err(self.no_text(tokens, self.vocabulary.closest(tokens, at_start)));
        }
        let Some(loaded) = loaded else {
            return Ok(exact(draft.text()));
        };
        if self.vocabulary.additive {
            let text = draft.text();
            self.book.counted.fetch_add(1, Ordering::Relaxed);
            if loaded.count_at(&text, at_start)? == tokens {
                return Ok(exact(text));
            }
            self.book.wrong.fetch_add(1, Ordering::Relaxed);
        }
        let random = stream(&[&[b"repair".as_slice()], name].concat());
        let count = |text: &str| loaded.count_at(text, at_start);
        match repair(&self.vocabulary, draft, tokens, random, count)? {
            Repaired::Exact(text) => Ok(exact(text)),
            Repaired::Closest(closest) => Err(self.no_text(tokens, closest)),
        }
    }

    /// Whether texts that follow one another are as long as each of them together.
    pub(super) fn adds_up(&self) -> bool {
        self.vocabulary.additive
    }

    /// A nonce alone.
    pub(super) fn nonce(&self, name: &[&[u8]]) -> String {
        let parts = vec![Part::Nonce(stream(name))];
        draft(&self.vocabulary, parts, MOST_NONCE_TOKENS, true).text()
    }

    /// Tokens of a text somebody else wrote. Waits for a local tokenizer; `None` where counting
    /// would take a question to the server for each text.
    pub(super) fn count(&self, text: &str) -> Result<Option<u32>, WorkloadError> {
        match &self.counter {
            TokenCounter::Local(local) => local.loaded()?.count(text).map(Some),
            TokenCounter::Words | TokenCounter::Server(_) => Ok(None),
        }
    }

    /// Whether lengths are tokens.
    const fn counts(&self) -> bool {
        match self.counter {
            TokenCounter::Words => false,
            TokenCounter::Local(_) | TokenCounter::Server(_) => true,
        }
    }

    fn no_text(&self, wanted: u32, closest: u32) -> WorkloadError {
        WorkloadError::NoExactText {
            wanted,
            closest,
            tokenizer: self.counter.describe(),
        }
    }
}
