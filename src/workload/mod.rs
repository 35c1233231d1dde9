//! A scenario to the jobs that are sent: prompts of exact length, conversations of a dataset.
//!
//! In: a scenario, a seed, what counts tokens, and slots ([`Slot`]: when, and how long where a
//! trace says it). Out: [`Job`]s, written one by one as the load driver asks for them. The same
//! seed gives the same prompts in every run but for their nonces; nothing is downloaded.
//!
//! ```text
//! tokenizer.json → scan → local ┐                       slots
//! server         → learn → server ├→ vocabulary → compose → write → jobs
//! words                           ┘                        dataset ┘
//! ```

mod compose;
mod counter;
mod dataset;
mod error;
mod files;
mod jobs;
mod learn;
mod local;
mod scan;
mod server;
mod trace;
mod vocabulary;
mod words;
mod write;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;

use crate::plan::{ApiPath, Job, Prompt, PromptSource, Scenario, Slot, Slots};
use jobs::Jobs;
use write::Book;

pub use counter::TokenCounter;
pub use dataset::{Dataset, DatasetFacts};
pub use error::WorkloadError;
pub use local::LocalTokenizer;
pub use server::ServerVocabulary;
pub use trace::Trace;

/// Prompts that are looked at to find some of different lengths, and how many of those are
/// counted by the server.
const SPECIMENS: usize = 64;
const MOST_LENGTHS: usize = 8;

/// What a workload is made of.
#[derive(Debug, Clone)]
pub struct WorkloadSpec<'a> {
    /// What is measured.
    pub scenario: &'a Scenario,
    /// Seed of texts, lengths and order.
    pub seed: u64,
    /// The interface: one without messages gets a conversation as one text.
    pub api: ApiPath,
    /// What counts tokens.
    pub tokens: TokenCounter,
    /// The scenario's dataset, where another scenario has read it already.
    pub dataset: Option<Arc<Dataset>>,
}

/// The prompts of one scenario. Cheap to clone.
#[derive(Clone)]
pub struct Workload {
    inner: Arc<Inner>,
}

struct Inner {
    scenario: Scenario,
    seed: u64,
    api: ApiPath,
    tokens: TokenCounter,
    dataset: Option<Arc<Dataset>>,
    book: Arc<Book>,
    /// Why jobs ended before the slots did.
    failure: OnceLock<WorkloadError>,
    /// The server has counted specimens.
    agreed: AtomicBool,
}

/// How far the lengths of the prompts that were written can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// Every prompt has the length that was asked for; a dataset's prompts are counted.
    Exact,
    /// A word was taken for a token.
    Estimated,
    /// Since the last check, prompts were written with words that a quick look into the
    /// tokenizer took for one token each and that are not. Jobs made from now on are exact. For
    /// a warm-up this does not matter; a measurement is to be repeated.
    Guessed,
    /// Of the prompts that were counted as a sample, some had another length. Those were put
    /// right, others may be wrong.
    Miscounted {
        /// Prompts that had another length.
        wrong: u32,
        /// Prompts that were counted.
        counted: u32,
    },
}

/// What a result says about its prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadFacts {
    /// What counted tokens: `tokenizer.json sha256:…`, `server tokenize endpoint …` or `words
    /// (estimated)`.
    pub tokens: String,
    /// Synthetic texts that were counted as a sample, besides the words themselves.
    pub counted: u32,
    /// Texts of that sample which had another length.
    pub wrong: u32,
    /// The dataset.
    pub dataset: Option<DatasetFacts>,
}

impl fmt::Debug for Workload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.inner;
        write!(out, "Workload({}, {:?})", inner.scenario.id, inner.tokens)
    }
}

impl Workload {
    /// Reads what the scenario needs and writes one job to see that it can. A dataset is read
    /// here: call it where blocking is allowed.
    ///
    /// # Errors
    /// The dataset cannot be read or is not the planned one, or no text has the wanted length.
    pub fn prepare(spec: WorkloadSpec<'_>) -> Result<Self, WorkloadError> {
        let dataset = match &spec.scenario.prompts {
            PromptSource::Synthetic { .. } => None,
            PromptSource::Dataset { path, digest } => {
                let known = spec.dataset.filter(|known| known.path() == path);
                let dataset = match known {
                    Some(known) => known,
                    None => Dataset::read(path)?,
                };
                files::unchanged("dataset", path, dataset.digest(), digest)?;
                Some(dataset)
            }
        };
        let inner = Arc::new(Inner {
            scenario: spec.scenario.clone(),
            seed: spec.seed,
            api: spec.api,
            tokens: spec.tokens,
            dataset,
            book: Arc::default(),
            failure: OnceLock::new(),
            agreed: AtomicBool::new(false),
        });
        // A dataset's prompts have whatever length they have; counting them takes the tokenizer.
        if inner.dataset.is_none() {
            Jobs::new(
                &inner,
                "prepare",
                Box::new(std::iter::once(Slot::default())),
            )
            .job()?;
        }
        Ok(Self { inner })
    }

    /// The jobs of one phase, one for each slot, with indices from 0. `phase_nonce` is unique to
    /// run and phase: it makes the nonces.
    ///
    /// Jobs are written when they are asked for. Should one be impossible, they end early and
    /// [`Self::check`] tells why.
    pub fn jobs(&self, phase_nonce: &str, slots: Slots) -> Box<dyn Iterator<Item = Job> + Send> {
        Box::new(Jobs::new(&self.inner, phase_nonce, slots))
    }

    /// Whether the prompts that were written have the length that was asked for. Call it between
    /// warm-up and measurement, and after the measurement: the first call waits for a local
    /// tokenizer (up to a second from its opening), or has the server count a few prompts.
    ///
    /// # Errors
    /// Jobs ended early, the tokenizer cannot be used, or the server counts otherwise.
    pub async fn check(&self) -> Result<Lengths, WorkloadError> {
        if let Some(failure) = self.inner.failure.get() {
            return Err(failure.clone());
        }
        match &self.inner.tokens {
            TokenCounter::Words => Ok(Lengths::Estimated),
            TokenCounter::Local(local) => {
                let (local, workload) = (Arc::clone(local), self.clone());
                let task = tokio::task::spawn_blocking(move || workload.check_local(&local));
                let stopped = |error: tokio::task::JoinError| {
                    WorkloadError::Stopped(format!("checking the prompts stopped: {error}"))
                };
                task.await.map_err(stopped)?
            }
            TokenCounter::Server(server) => {
                if !self.inner.agreed.load(Ordering::Relaxed) {
                    for (tokens, text) in self.specimens()? {
                        server.agrees(&text, tokens).await?;
                    }
                    self.inner.agreed.store(true, Ordering::Relaxed);
                }
                Ok(Lengths::Exact)
            }
        }
    }

    fn check_local(&self, local: &LocalTokenizer) -> Result<Lengths, WorkloadError> {
        let guess_failed = local.loaded()?.guess_failed;
        let book = &self.inner.book;
        if book.guessed.swap(false, Ordering::Relaxed) && guess_failed {
            return Ok(Lengths::Guessed);
        }
        // Writing them has them counted.
        self.specimens()?;
        let counted = book.counted.load(Ordering::Relaxed);
        match book.wrong.load(Ordering::Relaxed) {
            0 => Ok(Lengths::Exact),
            wrong => Ok(Lengths::Miscounted { wrong, counted }),
        }
    }

    /// First prompts of different lengths.
    fn specimens(&self) -> Result<BTreeMap<u32, String>, WorkloadError> {
        let mut found = BTreeMap::new();
        if self.inner.dataset.is_some() {
            return Ok(found);
        }
        let slots = std::iter::repeat_with(Slot::default).take(SPECIMENS);
        let mut jobs = Jobs::new(&self.inner, "check", Box::new(slots));
        while let Some(job) = jobs.job()? {
            if let Some(first) = job.turns.into_iter().next()
                && let (Prompt::Text(text), Some(tokens)) = (first.prompt, first.input_tokens)
            {
                found.insert(tokens, text);
            }
            if found.len() >= MOST_LENGTHS {
                break;
            }
        }
        Ok(found)
    }

    /// SHA-256 of the dataset's content, hexadecimal.
    pub fn digest(&self) -> Option<&str> {
        self.inner.dataset.as_ref().map(|dataset| dataset.digest())
    }

    /// The dataset, for the next scenario that uses it.
    pub fn dataset(&self) -> Option<Arc<Dataset>> {
        self.inner.dataset.clone()
    }

    /// What a result says about its prompts. Waits for a local tokenizer: ask after the load.
    pub fn facts(&self) -> WorkloadFacts {
        let book = &self.inner.book;
        WorkloadFacts {
            tokens: self.inner.tokens.describe(),
            counted: book.counted.load(Ordering::Relaxed),
            wrong: book.wrong.load(Ordering::Relaxed),
            dataset: self.inner.dataset.as_ref().map(|dataset| dataset.facts()),
        }
    }
}
