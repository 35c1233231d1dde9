//! The engine's output: into a file without secrets, and its last lines kept for errors.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use futures_util::{Stream, StreamExt};
use tokio::{fs::File, io::AsyncWriteExt, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    ServeError, ServeOptions,
    docker::{Daemon, chain},
    redact::{Line, Redactor},
    streams::Sources,
};

/// What the daemon hands out.
type Frame = Result<LogOutput, bollard::errors::Error>;

/// Lines kept for errors.
const KEPT_LINES: usize = 60;
/// Length of the text in an error, in characters.
const TAIL_CHARS: usize = 2000;
/// Written at least so often; in between lines are gathered, since every write costs a thread.
const WRITE_EVERY: Duration = Duration::from_millis(500);
const WRITE_AT: usize = 64 * 1024;

/// Where a log goes, opened before anything is started.
#[derive(Debug)]
pub(super) struct Sink {
    file: Option<File>,
    redactor: Redactor,
}

impl Sink {
    /// Creates the log file, empty.
    pub(super) async fn open(options: &ServeOptions) -> Result<Self, ServeError> {
        let file = match &options.log_file {
            Some(path) => Some(create(path).await?),
            None => None,
        };
        Ok(Self {
            file,
            redactor: Redactor::new(&options.secrets),
        })
    }
}

async fn create(path: &Path) -> Result<File, ServeError> {
    let opened = File::create(path).await;
    opened.map_err(|source| ServeError::Log {
        path: path.to_owned(),
        source,
    })
}

/// A log that is being followed.
#[derive(Debug)]
pub(super) struct Log {
    tail: Arc<Mutex<VecDeque<String>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Log {
    /// Follows the container's output from its first byte. When the daemon ends that, the end of
    /// the log is read once more: a follower may miss a last line without a newline, which is
    /// where an engine says why it dies.
    pub(super) fn follow(daemon: &Daemon, container: &str, sink: Sink) -> Self {
        let (docker, container) = (daemon.docker.clone(), container.to_owned());
        let read = move |follow: bool, since: i32| {
            let options = LogsOptionsBuilder::new()
                .follow(follow)
                .since(since)
                .timestamps(true)
                .stdout(true)
                .stderr(true)
                .build();
            docker.logs(&container, Some(options))
        };
        Self::of(read(true, 0), move |since| read(false, since), sink)
    }

    fn of<S>(
        output: impl Stream<Item = Frame> + Send + 'static,
        again: impl FnOnce(i32) -> S + Send + 'static,
        sink: Sink,
    ) -> Self
    where
        S: Stream<Item = Frame> + Send + 'static,
    {
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        let stop = CancellationToken::new();
        let mut writer = Writer {
            sink,
            tail: Arc::clone(&tail),
            pending: Vec::new(),
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut sources = Sources::default();
            copy(output, &mut sources, &mut writer, &stopped).await;
            if !stopped.is_cancelled() {
                sources.rewind();
                copy(again(sources.since()), &mut sources, &mut writer, &stopped).await;
            }
            for line in sources.finish() {
                writer.take(&line);
            }
            writer.write().await;
        });
        Self { tail, stop, task }
    }

    /// Waits until the output has ended, at most so long, and writes what is left.
    pub(super) async fn finish(&mut self, limit: Duration) {
        if self.task.is_finished() {
            return;
        }
        if tokio::time::timeout(limit, &mut self.task).await.is_err() {
            self.stop.cancel();
            if let Err(error) = (&mut self.task).await {
                tracing::warn!(%error, "the engine's log ended badly");
            }
        }
    }

    /// The last lines, for an error: no control characters, at most [`TAIL_CHARS`].
    pub(super) fn tail(&self) -> String {
        let lines = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let text: Vec<&str> = lines.iter().map(String::as_str).collect();
        let text = text.join("\n");
        let surplus = text.chars().count().saturating_sub(TAIL_CHARS);
        let kept: String = text.chars().skip(surplus).collect();
        if kept.is_empty() {
            "(it wrote nothing)".to_owned()
        } else {
            kept
        }
    }
}

struct Writer {
    sink: Sink,
    tail: Arc<Mutex<VecDeque<String>>>,
    pending: Vec<u8>,
}

impl Writer {
    fn take(&mut self, line: &Line) {
        let text = self.sink.redactor.clean(line);
        if self.sink.file.is_some() {
            self.pending.extend_from_slice(text.as_bytes());
            self.pending.push(b'\n');
        }
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() >= KEPT_LINES {
            tail.pop_front();
        }
        let printable = |c: &char| !c.is_control() || *c == '\t';
        tail.push_back(text.chars().filter(printable).take(TAIL_CHARS).collect());
    }

    /// A full disk ends the file, not the benchmark.
    async fn write(&mut self) {
        let Some(file) = &mut self.sink.file else {
            return;
        };
        let written = match file.write_all(&self.pending).await {
            Ok(()) => file.flush().await,
            Err(error) => Err(error),
        };
        self.pending.clear();
        if let Err(error) = written {
            tracing::warn!(%error, "the engine's log is written no further");
            self.sink.file = None;
        }
    }
}

async fn copy(
    output: impl Stream<Item = Frame>,
    sources: &mut Sources,
    writer: &mut Writer,
    stop: &CancellationToken,
) {
    let mut output = std::pin::pin!(output);
    let mut tick = tokio::time::interval(WRITE_EVERY);
    loop {
        let frame = tokio::select! {
            frame = output.next() => frame,
            () = stop.cancelled() => return,
            _ = tick.tick() => {
                writer.write().await;
                continue;
            }
        };
        let lines = match frame {
            Some(Ok(frame)) => sources.push(&frame),
            Some(Err(error)) => {
                tracing::debug!(error = chain(&error), "the engine's log ends early");
                return;
            }
            None => return,
        };
        for line in &lines {
            writer.take(line);
        }
        if writer.pending.len() >= WRITE_AT {
            writer.write().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;
    use crate::secret::Secret;

    /// Frames as the daemon hands them out, one every second.
    fn frames(from: usize, texts: &[&'static str]) -> Vec<Frame> {
        let out = |(index, text): (usize, &&'static str)| {
            let second = from + index;
            Ok(LogOutput::StdOut {
                message: format!("2026-01-01T00:00:{second:02}.000000000Z {text}").into(),
            })
        };
        texts.iter().enumerate().map(out).collect()
    }

    fn sink(file: Option<File>) -> Sink {
        Sink {
            file,
            redactor: Redactor::new(&Vec::from_iter(Secret::new("hf_secret"))),
        }
    }

    fn log(first: Vec<Frame>, again: Vec<Frame>, sink: Sink) -> Log {
        Log::of(stream::iter(first), |_| stream::iter(again), sink)
    }

    #[tokio::test]
    async fn file_and_tail_hold_the_lines_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.log");
        let sink = sink(Some(create(&path).await.unwrap()));
        let texts = ["one hf_se", "cret\n", "\u{1b}[31mtwo\n", "three"];
        let mut log = log(frames(0, &texts), frames(0, &texts), sink);
        log.finish(Duration::from_secs(5)).await;
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, "one ***\n\u{1b}[31mtwo\nthree\n");
        assert_eq!(log.tail(), "one ***\n[31mtwo\nthree");
    }

    #[tokio::test]
    async fn what_the_follower_missed_is_read_afterwards() {
        let (seen, all) = (["one\n", "two\n"], ["two\n", "three\n", "dying words"]);
        let mut log = log(frames(0, &seen), frames(1, &all), sink(None));
        log.finish(Duration::from_secs(5)).await;
        assert_eq!(log.tail(), "one\ntwo\nthree\ndying words");
    }

    #[tokio::test]
    async fn an_endless_log_is_cut_off_and_kept() {
        let output = stream::iter(frames(0, &["a\n"])).chain(stream::pending());
        let mut log = Log::of(output, |_| stream::pending(), sink(None));
        log.finish(Duration::from_millis(500)).await;
        assert_eq!(log.tail(), "a");
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_log_is_kept() {
        let many = (0..500).map(|i| {
            Ok(LogOutput::StdErr {
                message: format!("2026-01-01T00:00:00.{i:09}Z line {i} {}\n", "x".repeat(60))
                    .into(),
            })
        });
        let mut log = log(many.collect(), Vec::new(), sink(None));
        log.finish(Duration::from_secs(5)).await;
        let tail = log.tail();
        assert!(tail.chars().count() <= TAIL_CHARS && tail.contains("line 499"));
        assert!(!tail.contains("line 400 "));
    }
}
