//! What an engine has said so far: its last lines, when it last said something, and whether it
//! said that it failed. Any kind of engine's output can be put in.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use super::LastWords;
use crate::engine;

/// Lines and bytes kept for errors: the first words of a failure may stand several long
/// tracebacks before the last.
const KEPT_LINES: usize = 2000;
const KEPT_BYTES: usize = 512 * 1024;
/// Length of the text in an error, in characters.
const TAIL_CHARS: usize = 2000;

/// What was heard so far.
#[derive(Debug)]
pub(super) struct Heard {
    kept: Mutex<Kept>,
    /// Lines with this text tell of our own questions, not of progress.
    noise: &'static str,
    /// Whether lines are still looked at for fatal words.
    starting: AtomicBool,
    fatal: CancellationToken,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// When the last line of progress came.
    newest: Option<Instant>,
}

impl Heard {
    /// Nothing yet. Lines that hold `noise` are no progress.
    pub(super) fn new(noise: &'static str) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::new(Kept::default()),
            noise,
            starting: AtomicBool::new(true),
            fatal: CancellationToken::new(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line, without secrets already.
    pub(super) fn take(&self, text: &str) {
        let printable = |c: &char| !c.is_control() || *c == '\t';
        let line: String = text.chars().filter(printable).take(TAIL_CHARS).collect();
        let starting = self.starting.load(Ordering::Relaxed);
        if starting && engine::is_fatal(&line) {
            self.fatal.cancel();
        }
        let mut kept = self.kept();
        if starting && !line.contains(self.noise) {
            kept.newest = Some(Instant::now());
        }
        kept.bytes = kept.bytes.saturating_add(line.len());
        kept.lines.push_back(line);
        while kept.lines.len() > KEPT_LINES || kept.bytes > KEPT_BYTES {
            let gone = kept.lines.pop_front().map_or(0, |line| line.len());
            kept.bytes = kept.bytes.saturating_sub(gone);
        }
    }

    /// Returns once a line says that the engine failed.
    pub(super) async fn fatal(&self) {
        self.fatal.cancelled().await;
    }

    /// The engine is ready: what it writes from now on is no longer looked at.
    pub(super) fn ready(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// When it last wrote a line of progress.
    pub(super) fn newest(&self) -> Option<Instant> {
        self.kept().newest
    }

    /// What it said last and what that means, for an error.
    pub(super) fn last_words(&self) -> LastWords {
        let kept = self.kept();
        LastWords {
            log: tail(&kept.lines),
            diagnosis: engine::diagnose(kept.lines.iter().map(String::as_str)).map(Box::new),
        }
    }
}

/// The last lines, for an error, at most [`TAIL_CHARS`].
fn tail(lines: &VecDeque<String>) -> String {
    let mut room = TAIL_CHARS;
    let mut kept: Vec<&str> = Vec::new();
    for line in lines.iter().rev() {
        let length = line.chars().count().saturating_add(1);
        if length > room && !kept.is_empty() {
            break;
        }
        room = room.saturating_sub(length);
        kept.push(line);
    }
    kept.reverse();
    if kept.is_empty() {
        "(it wrote nothing)".to_owned()
    } else {
        kept.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_questions_are_no_progress() {
        let heard = Heard::new("/health");
        heard.take("GET /health 503");
        assert_eq!(heard.newest(), None);
        heard.take("loading");
        let newest = heard.newest();
        assert!(newest.is_some());
        heard.ready();
        heard.take("a request");
        assert_eq!(heard.newest(), newest);
    }

    #[test]
    fn only_the_end_of_a_long_log_is_kept() {
        let heard = Heard::new("/health");
        assert_eq!(heard.last_words().log, "(it wrote nothing)");
        for i in 0..5000 {
            heard.take(&format!("line {i} {}", "x".repeat(600)));
        }
        let kept = heard.kept();
        assert!(kept.bytes <= KEPT_BYTES && kept.lines.len() > 250);
        let bytes: usize = kept.lines.iter().map(String::len).sum();
        assert_eq!(kept.bytes, bytes);
        drop(kept);
        let tail = heard.last_words().log;
        assert!(tail.chars().count() <= TAIL_CHARS && tail.contains("line 4999"));
        assert!(tail.starts_with("line 49"), "whole lines: {tail}");
    }
}
