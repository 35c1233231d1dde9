//! An engine as processes of this host, from its first to the proof that none is left.
//!
//! It gets a group of its own, an environment of its own with a mark in it, no standard input and
//! the redacted log of every engine. A record in the folder of locks lets a later run end it.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use bollard::container::LogOutput;
use bytes::Bytes;
use futures_util::{Stream, stream};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    Endpoint, EngineFacts, LastWords, Runs, ServeError, ServeOptions, budget,
    container::Exit,
    custody::Custody,
    lock,
    logs::{Frame, LAST_WORDS, Log},
    owner::Owner,
    processes::{self, Family, Leader, MARK},
    ready::Probe,
    records::{self, Native},
    scope::{identified, settled, supervised},
    sink::Sink,
    spawn::{environment, free_port, spawn, with_port},
    startup::{self, NotReady},
};
use crate::engine::{LaunchSpec, ProcessSpec};

/// How long a process that ends may look alive.
const ENDING: Duration = Duration::from_millis(50);
/// How long killed processes may take to be gone. Freeing a GPU's memory takes the kernel seconds.
const GONE: Duration = Duration::from_mins(1);
/// A message of the log at most, in bytes.
const PIECE: usize = 16 << 10;
/// Engines of this process so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// See [`super::with_engine`].
pub(super) async fn run<T>(
    process: &ProcessSpec,
    spec: &LaunchSpec,
    options: &ServeOptions,
    custody: &mut Custody,
    cancel: &CancellationToken,
    body: impl AsyncFnOnce(Endpoint) -> T,
) -> Result<T, ServeError> {
    let sink = Sink::open(options, process.secrets.values()).await?;
    let mut entry = Entry::new(options);
    // Before the first process: it may be killed at any moment.
    entry.tell(custody).await;
    let started = Engine::start(
        process,
        options,
        &entry.record.family,
        sink,
        spec.api.health_path,
    );
    let mut engine = match started {
        Ok(engine) => engine,
        Err(error) => {
            entry.forget(custody);
            return Err(error);
        }
    };
    entry.record.family = engine.family.clone();
    entry.tell(custody).await;
    let outcome = match engine.ready(spec, cancel).await {
        Ok(endpoint) => engine.serve(Box::pin(body(endpoint)), cancel).await,
        Err(error) => Err(error),
    };
    if outcome.is_ok() {
        engine.stop(options.stop_timeout, cancel).await;
    }
    let ended = budget::removing(cancel, engine.end()).await;
    if ended.is_ok() {
        entry.forget(custody);
    }
    settled(outcome, ended)
}

/// The record of an engine, for a later run.
struct Entry {
    record: Native,
    path: Option<PathBuf>,
}

impl Entry {
    fn new(options: &ServeOptions) -> Self {
        let folder = lock::folder(options);
        if folder.is_none() {
            tracing::warn!("no folder of locks: a later run will not know of this engine");
        }
        let owner = Owner::this_process();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{}-{}-{count}", options.run_id, owner.pid, owner.start);
        let record = Native {
            run: options.run_id.clone(),
            owner,
            family: Family { mark, leader: None },
        };
        Self {
            path: folder.map(|dir| record.path(&dir)),
            record,
        }
    }

    async fn tell(&self, custody: &mut Custody) {
        if let Some(path) = &self.path
            && let Err(error) = records::write(path, &self.record)
        {
            tracing::warn!(%error, "no record: a later run will not know of this engine");
        }
        let path = self.path.as_deref();
        custody.processes(&self.record.family, path).await;
    }

    fn forget(&self, custody: &mut Custody) {
        if let Some(path) = &self.path {
            records::forget(path);
        }
        custody.cleared();
    }
}

/// A running engine. Dropped, its processes are killed.
struct Engine {
    child: Child,
    family: Family,
    url: Url,
    /// As in the specification: the port, which differs from run to run, says nothing.
    args: Vec<String>,
    log: Log,
    begin: Instant,
}

impl Engine {
    fn start(
        process: &ProcessSpec,
        options: &ServeOptions,
        family: &Family,
        sink: Sink,
        noise: &'static str,
    ) -> Result<Self, ServeError> {
        let refused = |source| ServeError::Program {
            program: process.program.clone(),
            source,
        };
        let port = free_port().map_err(refused)?;
        let url = format!("http://127.0.0.1:{port}/");
        let url = Url::parse(&url).map_err(|error| refused(io::Error::other(error)))?;
        let mut command = Command::new(&process.program);
        command
            .args(process.args.iter().map(|arg| with_port(arg, port)))
            .env_clear()
            .envs(environment(process, options, port))
            .env(MARK, &family.mark)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let begin = Instant::now();
        let mut child = spawn(command, process.cpuset.as_deref()).map_err(refused)?;
        let mut family = family.clone();
        family.leader = child.id().and_then(leader);
        let output = stream::select(
            pieces(child.stdout.take(), |message| LogOutput::StdOut { message }),
            pieces(child.stderr.take(), |message| LogOutput::StdErr { message }),
        );
        Ok(Self {
            child,
            family,
            url,
            args: process.args.clone(),
            // Nothing is missed on a pipe: there is nothing to read again.
            log: Log::once(output, sink, noise),
            begin,
        })
    }

    /// Healthy, dead, late or cancelled, whichever comes first; then its identity.
    async fn ready(
        &mut self,
        spec: &LaunchSpec,
        cancel: &CancellationToken,
    ) -> Result<Endpoint, ServeError> {
        let probe = Probe::new(&self.url, None)?;
        let candidates = [self.url.clone()];
        let ended = async { Ok(exit(self.child.wait().await)) };
        let heard = self.log.heard();
        let ready = startup::ready(&probe, &candidates, spec, heard, ended, cancel).await;
        if let Err(why) = ready {
            return Err(self.not_ready(why).await);
        }
        let startup = self.begin.elapsed();
        let identity = identified(&probe, &self.url, &spec.api, false, cancel);
        budget::starting(cancel, identity).await?;
        let version = probe.version(&self.url);
        let version = budget::starting(cancel, async { Ok(version.await) }).await?;
        Ok(Endpoint {
            url: self.url.clone(),
            facts: EngineFacts {
                version,
                args: self.args.clone(),
                ..EngineFacts::default()
            },
            startup,
            runs: self.runs(),
        })
    }

    fn runs(&self) -> Runs {
        let leader = self.family.leader.as_ref();
        let group = leader.and_then(|leader| u32::try_from(leader.pid).ok());
        group.map_or(Runs::Elsewhere, Runs::Group)
    }

    async fn not_ready(&mut self, why: NotReady) -> ServeError {
        match why {
            NotReady::Other(error) => error,
            NotReady::Ended(Exit { code, oom }) => {
                let last = self.last_words().await;
                ServeError::Died { code, oom, last }
            }
            NotReady::Fatal => ServeError::Stuck {
                last: self.log.last_words(),
            },
            NotReady::Late { waited, answer } => ServeError::NotReady {
                limit: waited,
                answer: answer.unwrap_or_default(),
                last: self.log.last_words(),
            },
        }
    }

    async fn last_words(&mut self) -> LastWords {
        self.log.finish(LAST_WORDS).await;
        self.log.last_words()
    }

    /// Runs the body beside the living engine.
    async fn serve<T>(
        &mut self,
        body: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Result<T, ServeError> {
        let died = async { exit(self.child.wait().await) };
        let outcome = supervised(body, cancel, died).await;
        let Exit { code, oom } = match outcome {
            Err(ServeError::Lost { code, oom, .. }) => Exit { code, oom },
            // The body may have ended because the engine did, a moment earlier.
            Ok(value) if !cancel.is_cancelled() => match self.ended().await {
                Some(exit) => exit,
                None => return Ok(value),
            },
            other => return other,
        };
        let last = self.last_words().await;
        Err(ServeError::Lost { code, oom, last })
    }

    /// How it ended, if it has. Its connections close a moment before it is gone.
    async fn ended(&mut self) -> Option<Exit> {
        let limit = if self.family.is_beheaded() {
            LAST_WORDS
        } else {
            ENDING
        };
        let status = tokio::time::timeout(limit, self.child.wait()).await;
        status.ok().map(exit)
    }

    /// Asks all its processes to end; not for long once we are told to stop ourselves.
    async fn stop(&mut self, limit: Duration, cancel: &CancellationToken) {
        self.family.signal(Signal::SIGTERM);
        let gone = async {
            drop(self.child.wait().await);
            self.family.gone().await;
        };
        tokio::select! {
            () = gone => {}
            () = tokio::time::sleep(limit) => {
                tracing::warn!("the engine does not end within {limit:?}: it is killed");
            }
            () = cancel.cancelled() => {}
        }
    }

    /// Kills what is left of it, and proves that nothing is.
    async fn end(&mut self) -> Result<(), ServeError> {
        // Until it is waited for, even a dead process has its place in the group.
        let (ended, _status) = tokio::join!(self.family.end(GONE), self.child.wait());
        if !ended {
            return Err(ServeError::Undead);
        }
        self.log.finish(LAST_WORDS).await;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.family.signal(Signal::SIGKILL);
    }
}

fn leader(pid: u32) -> Option<Leader> {
    Some(Leader {
        pid: pid.try_into().ok()?,
        // One that has ended already is known by its mark.
        start: processes::find(pid).map_or_else(String::new, |process| process.start),
    })
}

/// The code a shell would tell: 128 and the signal's number for one that was killed.
fn exit(status: io::Result<ExitStatus>) -> Exit {
    let code = status.ok().and_then(|status| {
        let killed = || status.signal().map(|signal| 128 + signal);
        status.code().or_else(killed)
    });
    Exit {
        code: code.map_or(-1, i64::from),
        // A process of this host shares its memory limit with others: who is to blame is unknown.
        oom: false,
    }
}

/// A pipe as the daemon would hand it out: pieces with the time before them.
fn pieces(
    pipe: Option<impl AsyncRead + Unpin>,
    message: impl Fn(Bytes) -> LogOutput,
) -> impl Stream<Item = Frame> {
    let buffer = vec![0; PIECE];
    stream::unfold(
        (pipe, buffer, message),
        async |(pipe, mut buffer, message)| {
            let mut pipe = pipe?;
            let read = pipe.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            let mut piece = format!("{:.9} ", jiff::Timestamp::now()).into_bytes();
            piece.extend(buffer.iter().take(read));
            let frame = message(piece.into());
            Some((Ok(frame), (Some(pipe), buffer, message)))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_told_as_a_shell_tells_them() {
        let code = |raw| exit(Ok(ExitStatus::from_raw(raw))).code;
        // wait(2): the low seven bits are the signal, the next byte the code.
        assert_eq!((code(3 << 8), code(9)), (3, 137));
        assert_eq!(exit(Err(io::Error::other("x"))).code, -1);
    }
}
