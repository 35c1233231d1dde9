//! Where finished requests are written down: memory, the record file and the metrics.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    SimError,
    clock::Clock,
    metrics::{Live, Summary},
    scheduler::Admission,
    truth::{Outcome, RecordLine, RequestTruth, ServerTruth, Truth},
};

/// Requests kept in memory, so that a server that runs for weeks does not grow without end.
const KEPT: usize = 65_536;

/// The books of one server, shared by its threads.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) clock: Clock,
    pub(super) live: Live,
    server: ServerTruth,
    stopping: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: VecDeque<RequestTruth>,
    forgotten: u64,
    summary: Summary,
    record: Option<Record>,
}

#[derive(Debug)]
struct Record {
    path: PathBuf,
    file: File,
    failure: Option<io::Error>,
}

impl Ledger {
    /// Opens the books; a record file that exists is replaced.
    ///
    /// # Errors
    /// [`SimError::Record`] when the file cannot be made.
    pub(super) fn open(
        clock: Clock,
        server: ServerTruth,
        record: Option<&Path>,
    ) -> Result<Self, SimError> {
        let record = record
            .map(|path| Record::create(path, &server))
            .transpose()?;
        Ok(Self {
            clock,
            live: Live::default(),
            server,
            stopping: AtomicBool::new(false),
            state: Mutex::new(State {
                record,
                ..State::default()
            }),
        })
    }

    /// From now on a request that ends early was stopped by us, not by its client.
    pub(super) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn server(&self) -> &ServerTruth {
        &self.server
    }

    /// The state at this moment.
    pub(super) fn truth(&self) -> Truth {
        let state = self.state();
        let mut requests: Vec<RequestTruth> = state.requests.iter().cloned().collect();
        let forgotten = state.forgotten;
        drop(state);
        requests.sort_by_key(|request| request.id);
        Truth {
            server: self.server.clone(),
            requests,
            forgotten,
        }
    }

    /// Counts and histograms in Prometheus' text format.
    pub(super) fn metrics(&self) -> String {
        let state = self.state();
        state.summary.render(&self.live, &self.server.spec.model)
    }

    /// # Errors
    /// The first failure to write the record, once.
    pub(super) fn close(&self) -> Result<(), SimError> {
        match self.state().record.take() {
            Some(Record {
                path,
                failure: Some(source),
                ..
            }) => Err(SimError::Record { path, source }),
            Some(_) | None => Ok(()),
        }
    }

    fn file(&self, request: RequestTruth) {
        let mut state = self.state();
        state.summary.add(&request);
        if let Some(record) = &mut state.record {
            record.append(&RecordLine::Request(request.clone()));
        }
        state.requests.push_back(request);
        if state.requests.len() > KEPT {
            state.requests.pop_front();
            state.forgotten += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked in here left at worst one request uncounted.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn create(path: &Path, server: &ServerTruth) -> Result<Self, SimError> {
        let failed = |source| SimError::Record {
            path: path.to_owned(),
            source,
        };
        let mut record = Self {
            path: path.to_owned(),
            file: File::create(path).map_err(failed)?,
            failure: None,
        };
        record.append(&RecordLine::Server(server.clone()));
        match record.failure.take() {
            Some(source) => Err(failed(source)),
            None => Ok(record),
        }
    }

    /// One write per line, unbuffered: a kill at any moment leaves whole lines. After a failure
    /// nothing more is written; the failure is reported at the end.
    fn append(&mut self, line: &RecordLine) {
        if self.failure.is_some() {
            return;
        }
        let written = serde_json::to_vec(line)
            .map_err(io::Error::from)
            .and_then(|mut text| {
                text.push(b'\n');
                self.file.write_all(&text)
            });
        self.failure = written.err();
    }
}

/// The record of a request under way. Dropped unfinished, it is filed as ended early.
#[derive(Debug)]
pub(super) struct OpenRequest {
    ledger: std::sync::Arc<Ledger>,
    truth: Option<RequestTruth>,
}

impl OpenRequest {
    pub(super) fn new(ledger: std::sync::Arc<Ledger>, truth: RequestTruth) -> Self {
        Self {
            ledger,
            truth: Some(truth),
        }
    }

    /// A token came from the scheduler.
    pub(super) fn due(&mut self, due_ns: u64, admission: Admission) {
        if let Some(truth) = &mut self.truth {
            if truth.due_ns.is_empty() {
                truth.admitted_ns = Some(admission.admitted_ns);
                truth.prefill_start_ns = Some(admission.prefill_start_ns);
                truth.prefill_end_ns = Some(admission.prefill_end_ns);
                self.ledger.live.prompt(truth.prompt_tokens);
            }
            truth.due_ns.push(due_ns);
            truth.output_tokens = truth.output_tokens.saturating_add(1);
            self.ledger.live.token();
        }
    }

    /// A token, or a whole answer, goes to the socket now.
    pub(super) fn sent(&mut self) {
        let now_ns = self.ledger.clock.now_ns();
        if let Some(truth) = &mut self.truth {
            truth.sent_ns.push(now_ns);
        }
    }

    /// The end.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        if let Some(mut truth) = self.truth.take() {
            truth.finished_ns = self.ledger.clock.now_ns();
            truth.outcome = outcome;
            self.ledger.file(truth);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let outcome = if self.ledger.stopping.load(Ordering::Relaxed) {
            Outcome::Stopped
        } else {
            Outcome::ClientGone
        };
        self.finish(outcome);
    }
}
