//! A container's output, followed from its first byte to its last: reconnected, cut into lines,
//! freed of secrets, written to a file and kept in mind.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bollard::{container::LogOutput, errors::Error, query_parameters::LogsOptionsBuilder};
use futures_util::{Stream, StreamExt, stream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    LastWords,
    docker::{Daemon, chain},
    heard::Heard,
    redact::Line,
    sink::Sink,
    streams::Sources,
};

/// What the daemon hands out.
pub(super) type Frame = Result<LogOutput, Error>;

/// How long the last words of a dead engine are waited for.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(2);
/// Written at least so often; in between lines are gathered, since every write costs a thread.
const WRITE_EVERY: Duration = Duration::from_millis(500);
const WRITE_AT: usize = 64 * 1024;
/// What is read of the end of a log that was not read in time, in the daemon's messages.
const END: &str = "300";
/// How long that may take.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Pause before a log whose connection broke is read on.
const AGAIN: Duration = Duration::from_millis(500);

/// Which part of a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// From that second on, and what is yet to come.
    Follow(i32),
    /// From that second on.
    Rest(i32),
    /// The last messages.
    End,
}

/// A log that is being followed.
#[derive(Debug)]
pub(super) struct Log {
    heard: Arc<Heard>,
    stop: CancellationToken,
    /// Whether the end is read even where the middle could not be.
    end: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Log {
    /// Follows the container's output from its first byte, and goes on where it was when the
    /// connection breaks. When the daemon ends it, the end of the log is read once more: a
    /// follower may miss a last line without a newline, which is where an engine says why it
    /// dies. Lines that hold `noise` are no progress.
    pub(super) fn follow(
        daemon: &Daemon,
        container: &str,
        sink: Sink,
        noise: &'static str,
    ) -> Self {
        let (docker, container) = (daemon.docker.clone(), container.to_owned());
        let read = move |part: Part| {
            let options = LogsOptionsBuilder::new()
                .timestamps(true)
                .stdout(true)
                .stderr(true);
            let options = match part {
                Part::Follow(since) => options.follow(true).since(since),
                Part::Rest(since) => options.since(since),
                Part::End => options.tail(END),
            };
            docker.logs(&container, Some(options.build()))
        };
        Self::of(read, sink, noise)
    }

    /// Follows a stream that is heard only once, such as a pipe.
    pub(super) fn once(
        output: impl Stream<Item = Frame> + Send + 'static,
        sink: Sink,
        noise: &'static str,
    ) -> Self {
        let output = Mutex::new(Some(output.boxed()));
        let read = move |_| {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.take().unwrap_or_else(|| stream::empty().boxed())
        };
        Self::of(read, sink, noise)
    }

    /// `read` opens the log.
    fn of<S>(
        read: impl Fn(Part) -> S + Send + Sync + 'static,
        sink: Sink,
        noise: &'static str,
    ) -> Self
    where
        S: Stream<Item = Frame> + Send + 'static,
    {
        let heard = Heard::new(noise);
        let stop = CancellationToken::new();
        let end = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            sink,
            heard: Arc::clone(&heard),
            pending: Vec::new(),
        };
        let (stopped, wanted) = (stop.clone(), Arc::clone(&end));
        let task = tokio::spawn(async move {
            let mut sources = Sources::default();
            let whole = read_all(&read, &mut sources, &mut writer, &stopped).await;
            for line in sources.finish() {
                writer.take(&line);
            }
            if !whole && wanted.load(Ordering::Relaxed) {
                writer.note("[kitt: lines are missing here]");
                // What was seen already is skipped: only the gap is lost.
                let never = CancellationToken::new();
                let last = copy(read(Part::End), &mut sources, &mut writer, &never);
                let in_time = tokio::time::timeout(END_LIMIT, last).await;
                tracing::debug!(
                    in_time = in_time.is_ok(),
                    "only the end of the log was read"
                );
                for line in sources.finish() {
                    writer.take(&line);
                }
            }
            writer.write().await;
        });
        Self {
            heard,
            stop,
            end,
            task,
        }
    }

    /// What was heard so far.
    pub(super) fn heard(&self) -> &Heard {
        &self.heard
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

    /// The same for an engine that died: its last lines are read even where all before could
    /// not be.
    pub(super) async fn finish_with_end(&mut self, limit: Duration) {
        self.end.store(true, Ordering::Relaxed);
        self.finish(limit).await;
    }

    /// What it said last and what that means, for an error.
    pub(super) fn last_words(&self) -> LastWords {
        self.heard.last_words()
    }
}

struct Writer {
    sink: Sink,
    heard: Arc<Heard>,
    pending: Vec<u8>,
}

impl Writer {
    fn take(&mut self, line: &Line) {
        let text = self.sink.clean(line);
        self.note(&text);
    }

    fn note(&mut self, text: &str) {
        if self.sink.is_open() {
            self.pending.extend_from_slice(text.as_bytes());
            self.pending.push(b'\n');
        }
        self.heard.take(text);
    }

    async fn write(&mut self) {
        self.sink.write(&self.pending).await;
        self.pending.clear();
    }
}

/// Reads to the end or until we are told to stop; whether it was the end.
async fn read_all<S: Stream<Item = Frame>>(
    read: &impl Fn(Part) -> S,
    sources: &mut Sources,
    writer: &mut Writer,
    stop: &CancellationToken,
) -> bool {
    let mut follow = true;
    loop {
        let since = sources.since();
        let part = if follow {
            Part::Follow(since)
        } else {
            Part::Rest(since)
        };
        let end = copy(read(part), sources, writer, stop).await;
        sources.rewind();
        match end {
            End::Stopped => return false,
            // Read once more, to its end; after that there is nothing more to come.
            End::Over if follow => follow = false,
            End::Over => return true,
            End::Broken => tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stop.cancelled() => return false,
            },
        }
    }
}

/// How a reading ended.
enum End {
    /// We are told to stop.
    Stopped,
    /// The daemon has no more, or no such container.
    Over,
    /// The connection broke.
    Broken,
}

async fn copy(
    output: impl Stream<Item = Frame>,
    sources: &mut Sources,
    writer: &mut Writer,
    stop: &CancellationToken,
) -> End {
    let mut output = std::pin::pin!(output);
    let mut tick = tokio::time::interval(WRITE_EVERY);
    loop {
        let frame = tokio::select! {
            frame = output.next() => frame,
            () = stop.cancelled() => return End::Stopped,
            _ = tick.tick() => {
                writer.write().await;
                continue;
            }
        };
        let lines = match frame {
            Some(Ok(frame)) => sources.push(&frame),
            Some(Err(error)) => {
                tracing::debug!(error = chain(&error), "the engine's log ends early");
                let answered = matches!(error, Error::DockerResponseServerError { .. });
                return if answered { End::Over } else { End::Broken };
            }
            None => return End::Over,
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
    use std::{collections::VecDeque, path::Path};

    use super::*;
    use crate::{secret::Secret, serve::ServeOptions};

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

    async fn sink(file: Option<&Path>) -> Sink {
        let mut options = ServeOptions::new("r");
        options.log_file = file.map(Path::to_owned);
        let told = Secret::new("hf_secret");
        Sink::open(&options, told.iter()).await.unwrap()
    }

    type Reading = stream::BoxStream<'static, Frame>;

    /// A log whose readings are these, one after the other; the last one has no more.
    fn log(readings: Vec<Reading>, sink: Sink) -> Log {
        let readings = Mutex::new(VecDeque::from(readings));
        let next = move |_| {
            let mut readings = readings.lock().unwrap();
            readings
                .pop_front()
                .unwrap_or_else(|| stream::empty().boxed())
        };
        Log::of(next, sink, "/health")
    }

    fn of(frames: Vec<Frame>) -> Reading {
        stream::iter(frames).boxed()
    }

    async fn said(mut log: Log) -> String {
        log.finish(Duration::from_secs(5)).await;
        log.last_words().log
    }

    #[tokio::test]
    async fn file_and_tail_hold_the_lines_without_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.log");
        let sink = sink(Some(&path)).await;
        let texts = ["one hf_se", "cret\n", "\u{1b}[31mtwo\n", "three"];
        let again = of(frames(0, &texts));
        let tail = said(log(vec![of(frames(0, &texts)), again], sink)).await;
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, "one ***\n\u{1b}[31mtwo\nthree\n");
        assert_eq!(tail, "one ***\n[31mtwo\nthree");
    }

    #[tokio::test]
    async fn what_the_follower_missed_is_read_afterwards() {
        let (seen, all) = (["one\n", "two\n"], ["two\n", "three\n", "dying words"]);
        let readings = vec![of(frames(0, &seen)), of(frames(1, &all))];
        assert_eq!(
            said(log(readings, sink(None).await)).await,
            "one\ntwo\nthree\ndying words"
        );
    }

    #[tokio::test]
    async fn a_broken_connection_is_read_on_where_it_was() {
        let broken = || Err(std::io::Error::other("cut").into());
        let mut first = frames(0, &["one\n", "half of "]);
        first.push(broken());
        let mut second = frames(1, &["half of ", "a line\n"]);
        second.push(broken());
        let third = frames(1, &["half of ", "a line\n", "three\n"]);
        let last = frames(2, &["a line\n", "three\n"]);
        let readings = vec![of(first), of(second), of(third), of(last)];
        assert_eq!(
            said(log(readings, sink(None).await)).await,
            "one\nhalf of a line\nthree"
        );
    }

    #[tokio::test]
    async fn an_endless_log_is_cut_off_and_kept() {
        let endless = of(frames(0, &["a\n"])).chain(stream::pending()).boxed();
        let mut log = log(vec![endless], sink(None).await);
        log.finish(Duration::from_millis(500)).await;
        assert_eq!(log.last_words().log, "a");
    }

    #[tokio::test]
    async fn a_pipe_is_heard_once() {
        let pipe = stream::iter(frames(0, &["one\n", "two"]));
        let log = Log::once(pipe, sink(None).await, "/health");
        assert_eq!(said(log).await, "one\ntwo");
    }

    #[tokio::test]
    async fn of_a_log_that_cannot_be_read_in_time_the_end_is_read() {
        let behind = of(frames(0, &["one\n", "two\n"])).chain(stream::pending());
        let end = frames(1, &["two\n", "dying words"]);
        let mut log = log(vec![behind.boxed(), of(end)], sink(None).await);
        log.finish_with_end(Duration::from_millis(300)).await;
        let text = log.last_words().log;
        assert_eq!(
            text,
            "one\ntwo\n[kitt: lines are missing here]\ndying words"
        );
    }
}
