//! Counting with a `tokenizer.json` on this host.
//!
//! The library needs up to a second to build a large tokenizer; requests shall not wait for
//! that. So a quick look into the file ([`super::scan`]) guesses the words that prompts are
//! written with, and a thread builds the tokenizer and has it count every one of them. When the
//! guess holds, and it does for tokenizers in use, it simply stays. When it does not, words are
//! learned from the tokenizer itself, and what was written before is known to be inexact.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use rand::RngExt;
use tokenizers::Tokenizer;

use super::{
    WorkloadError,
    compose::{Part, draft},
    files,
    scan::{self, Scan},
    vocabulary::{Candidate, Vocabulary},
    words,
};
use crate::plan::stream;

/// The largest in use (multilingual, 262 000 entries, merges as pairs) have 35 MB.
const MOST_MIB: u64 = 256;
/// What words are counted behind.
const ANCHOR: &str = "the";
/// Texts that are counted to see whether words touch each other, and their length.
const PROBES: u32 = 16;
const PROBE_TOKENS: u32 = 256;

/// A `tokenizer.json`, at once usable for writing prompts, soon for counting.
#[derive(Debug)]
pub struct LocalTokenizer {
    path: PathBuf,
    /// The file, until the tokenizer is built from it.
    bytes: Mutex<Vec<u8>>,
    /// Words that are probably one token each.
    pub(super) guess: Option<Arc<Vocabulary>>,
    separable: bool,
    loaded: OnceLock<Result<Loaded, WorkloadError>>,
}

/// A tokenizer that is ready.
#[derive(Debug)]
pub(super) struct Loaded {
    tokenizer: Tokenizer,
    path: PathBuf,
    /// SHA-256 of the file, hexadecimal.
    digest: String,
    /// Words as the tokenizer counts them; the guess where it holds.
    pub(super) vocabulary: Arc<Vocabulary>,
    /// There was a guess, and it was wrong.
    pub(super) guess_failed: bool,
}

impl LocalTokenizer {
    /// Reads the file, looks into it and starts building the tokenizer.
    ///
    /// # Errors
    /// The file cannot be read, is larger than 256 MiB, is no JSON or has no vocabulary. What
    /// else is wrong with it is found later.
    pub fn open(path: &Path) -> Result<Arc<Self>, WorkloadError> {
        let bytes = files::read("tokenizer", path, MOST_MIB)?;
        let Scan { guess, separable } =
            scan::scan(&bytes).map_err(|error| unusable(path, &error))?;
        let opened = Arc::new(Self {
            path: path.to_owned(),
            bytes: Mutex::new(bytes),
            guess: guess.map(Arc::new),
            separable,
            loaded: OnceLock::new(),
        });
        let building = Arc::clone(&opened);
        // Without a thread, whoever needs the tokenizer first builds it.
        drop(
            thread::Builder::new()
                .name("tokenizer".to_owned())
                .spawn(move || drop(building.loaded().map(|_| ()))),
        );
        Ok(opened)
    }

    /// The tokenizer, if it is ready.
    pub(super) fn ready(&self) -> Option<&Loaded> {
        self.loaded.get()?.as_ref().ok()
    }

    /// The tokenizer. Waits for it, or builds it.
    pub(super) fn loaded(&self) -> Result<&Loaded, WorkloadError> {
        let build = || {
            // The library panics on some files that are no tokenizers.
            catch_unwind(AssertUnwindSafe(|| self.build())).unwrap_or_else(|_| {
                Err(unusable(&self.path, &"the tokenizers library failed on it"))
            })
        };
        self.loaded
            .get_or_init(build)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Where lengths come from. Waits for the tokenizer.
    pub(super) fn describe(&self) -> String {
        self.loaded().map_or_else(
            |error| format!("none: {error}"),
            |loaded| format!("tokenizer.json sha256:{}", loaded.digest),
        )
    }

    fn build(&self) -> Result<Loaded, WorkloadError> {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut tokenizer =
            Tokenizer::from_bytes(&bytes).map_err(|error| unusable(&self.path, &error))?;
        // Settings for training and batches; they would make every text the same length.
        tokenizer
            .with_truncation(None)
            .map_err(|error| unusable(&self.path, &error))?;
        tokenizer.with_padding(None);
        let learned = learn(&tokenizer).map_err(|error| unusable(&self.path, &error))?;
        let held = self
            .guess
            .as_ref()
            .filter(|guess| holds(guess, &learned) && adds_up(guess, &tokenizer));
        let vocabulary = match held {
            Some(guess) => Arc::clone(guess),
            None => Arc::new(self.learned(&tokenizer, &learned)?),
        };
        Ok(Loaded {
            guess_failed: self.guess.is_some() && held.is_none(),
            path: self.path.clone(),
            digest: files::digest(&bytes),
            tokenizer,
            vocabulary,
        })
    }

    fn learned(
        &self,
        tokenizer: &Tokenizer,
        learned: &[Candidate],
    ) -> Result<Vocabulary, WorkloadError> {
        let vocabulary = Vocabulary::new(learned, false)
            .ok_or_else(|| unusable(&self.path, &"it finds no tokens in English words"))?;
        let additive = self.separable && adds_up(&vocabulary, tokenizer);
        Ok(Vocabulary {
            additive,
            ..vocabulary
        })
    }
}

impl Loaded {
    /// Tokens of a text, without those that a template or the beginning of a sequence adds.
    pub(super) fn count(&self, text: &str) -> Result<u32, WorkloadError> {
        count(&self.tokenizer, text).map_err(|error| unusable(&self.path, &error))
    }

    /// Tokens of a text at the beginning, or behind others.
    pub(super) fn count_at(&self, text: &str, at_start: bool) -> Result<u32, WorkloadError> {
        if at_start {
            return self.count(text);
        }
        let behind = self.count(&format!("{ANCHOR} {text}"))?;
        Ok(behind.saturating_sub(self.count(ANCHOR)?))
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> WorkloadError {
    WorkloadError::Tokenizer {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

fn count(tokenizer: &Tokenizer, text: &str) -> tokenizers::Result<u32> {
    let encoding = tokenizer.encode_fast(text, false)?;
    Ok(u32::try_from(encoding.len()).unwrap_or(u32::MAX))
}

/// Has every word counted, at the beginning of a text and behind another word.
fn learn(tokenizer: &Tokenizer) -> tokenizers::Result<Vec<Candidate>> {
    let anchor = tokenizer.encode_fast(ANCHOR, false)?.len();
    let mut seen: HashMap<Vec<u32>, &str> = HashMap::new();
    words::all()
        .map(|(role, word)| {
            let first = count(tokenizer, word)?;
            let behind = tokenizer.encode_fast(format!("{ANCHOR} {word}"), false)?;
            let ids = behind.get_ids().get(anchor..).unwrap_or_default();
            // Two words that are the same to the model, such as two unknown ones, would make
            // two nonces that are the same to a prefix cache.
            let same = *seen.entry(ids.to_vec()).or_insert(word);
            Ok(Candidate {
                role,
                word,
                first: Some(first),
                inner: (same == word).then(|| u32::try_from(ids.len()).unwrap_or(u32::MAX)),
            })
        })
        .collect()
}

/// Whether the tokenizer counts every word of the guess as guessed.
fn holds(guess: &Vocabulary, learned: &[Candidate]) -> bool {
    let facts: HashMap<&str, &Candidate> = learned.iter().map(|one| (one.word, one)).collect();
    let entries = guess.nonce.iter().chain(&guess.text).chain(&guess.starters);
    entries.into_iter().all(|entry| {
        facts.get(entry.word).is_some_and(|fact| {
            fact.inner == Some(entry.inner)
                && entry.first.is_none_or(|first| fact.first == Some(first))
        })
    })
}

/// Whether texts are as long as their words together.
fn adds_up(vocabulary: &Vocabulary, tokenizer: &Tokenizer) -> bool {
    (0..PROBES).all(|probe| {
        let mut random = stream(&[b"probe", &probe.to_le_bytes()]);
        let tokens = PROBE_TOKENS + random.random_range(0..PROBE_TOKENS);
        let nonces = (0..PROBES).map(|nonce| {
            Part::Nonce(stream(&[
                b"probe",
                &probe.to_le_bytes(),
                &nonce.to_le_bytes(),
            ]))
        });
        let text = Part::Text {
            random,
            until: tokens,
        };
        let draft = draft(vocabulary, nonces.chain([text]).collect(), tokens, true);
        count(tokenizer, &draft.text()).is_ok_and(|counted| counted == draft.tokens)
    })
}
