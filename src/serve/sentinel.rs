//! The guard process itself, `kitt guard`: waits until the run it watches over is done or dead,
//! and in the second case removes what that run made.

use std::{
    collections::HashMap,
    fs,
    io::{self, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::socket::{MsgFlags, recvmsg};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    DockerPlace, GuardReport, ServeError,
    docker::connect,
    guard::{FILES, MOST_FILES, Order, STANDS, Watched},
    processes::Family,
    reaper, records,
};

/// Between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_millis(300);
/// A container that was being made when the run died appears within a second and a half.
const AT_LEAST: Duration = Duration::from_secs(5);
/// Nothing may have been found for so long.
const QUIET: Duration = Duration::from_secs(1);
/// Then it is left to the next run's reaper.
const AT_MOST: Duration = Duration::from_mins(1);
/// Of one sweep, which a daemon that hangs would hold up.
const ONE_SWEEP: Duration = Duration::from_secs(20);

/// Serves as the guard of the process at the other end of standard input.
///
/// # Errors
/// Standard input is no socket of kitt's, or the system refuses what a guard needs.
pub fn guard() -> io::Result<()> {
    close_inherited();
    // First of all: a signal to the group of the watched process must not reach this one.
    if let Err(error) = nix::unistd::setsid() {
        // Already a leader: it was started by hand, and will be told so.
        tracing::debug!(%error, "no session of its own");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let _deaf = deaf()?;
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        receive_files(&socket)?;
        socket.set_nonblocking(true)?;
        watch(tokio::net::UnixStream::from_std(socket)?).await;
        Ok(())
    })
}

/// Descriptors that a careless parent of the watched process left open would keep a pipe of the
/// runner open. Done before anything of our own is opened.
fn close_inherited() {
    let entries = fs::read_dir("/dev/fd").into_iter().flatten().flatten();
    let numbers: Vec<RawFd> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        if let Err(error) = nix::unistd::close(number) {
            tracing::debug!(%error, "that of the folder just read, closed already");
        }
    }
}

/// Signals that end others are heard and not heeded.
fn deaf() -> io::Result<Vec<Signal>> {
    [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
        SignalKind::quit(),
    ]
    .into_iter()
    .map(signal)
    .collect()
}

/// Takes the locked files. They stay open, and with that locked, until this process ends.
fn receive_files(socket: &UnixStream) -> io::Result<()> {
    let mut first = [0];
    let mut space = nix::cmsg_space!([RawFd; MOST_FILES]);
    let mut into = [IoSliceMut::new(&mut first)];
    let flags = MsgFlags::empty();
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut into, Some(&mut space), flags);
    match received.map(|message| message.bytes) {
        Ok(1) if first == [FILES] => Ok(()),
        Ok(_) | Err(_) => Err(io::Error::other("`kitt guard` is started by kitt itself")),
    }
}

/// What there is to clean up.
#[derive(Debug, Default)]
struct Duty {
    watched: Watched,
    docker: Vec<(String, HashMap<String, String>)>,
    processes: Vec<(Family, Option<PathBuf>)>,
}

async fn watch(mut socket: tokio::net::UnixStream) {
    // Nobody to read it: then there is nobody to watch over either, which the next read shows.
    drop(socket.write_all(&[STANDS]).await);
    let mut duty = Duty::default();
    let mut lines = BufReader::new(socket).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Order::Watch(watched)) => duty.watched = watched,
            Ok(Order::Docker { address, labels }) => duty.docker.push((address, labels)),
            Ok(Order::Processes { family, record }) => duty.replace(family, record),
            Ok(Order::Done) => return,
            // Cut off half-way by the death of its writer.
            Err(_) => break,
        }
    }
    duty.clean_up().await;
}

impl Duty {
    /// More may be known about the same processes than before.
    fn replace(&mut self, family: Family, record: Option<PathBuf>) {
        self.processes
            .retain(|(known, _)| known.mark != family.mark);
        self.processes.push((family, record));
    }

    async fn clean_up(self) {
        if self.docker.is_empty() && self.processes.is_empty() {
            return;
        }
        let at = jiff::Timestamp::now();
        let begin = Instant::now();
        let mut removed = Vec::new();
        let mut last_trouble = begin;
        let unfinished = loop {
            let (found, failed) = self.sweep().await;
            if !found.is_empty() || failed.is_some() {
                last_trouble = Instant::now();
            }
            removed.extend(found);
            let least = if self.docker.is_empty() {
                QUIET
            } else {
                AT_LEAST
            };
            if begin.elapsed() >= least && last_trouble.elapsed() >= QUIET {
                break None;
            }
            if begin.elapsed() >= AT_MOST {
                break failed.or_else(|| Some("something appears again and again".to_owned()));
            }
            tokio::time::sleep(SWEEP_EVERY).await;
        };
        if unfinished.is_none() {
            for record in self
                .processes
                .iter()
                .filter_map(|(_, record)| record.as_ref())
            {
                records::forget(record);
            }
        }
        let took = last_trouble.duration_since(begin).as_millis();
        let report = GuardReport {
            run: self.watched.run,
            watched_pid: self.watched.pid,
            at: format!("{at:.3}"),
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
            removed,
            unfinished,
        };
        for path in &self.watched.reports {
            // Nobody is left to tell.
            drop(records::write(path, &report));
        }
    }

    /// One sweep: what was found and removed, and what went wrong.
    async fn sweep(&self) -> (Vec<String>, Option<String>) {
        let mut removed = Vec::new();
        let mut failed = None;
        for (family, _) in &self.processes {
            let found = family.signal(nix::sys::signal::Signal::SIGKILL);
            if found > 0 {
                removed.push(format!("{found} processes"));
            }
        }
        for (address, labels) in &self.docker {
            let swept = tokio::time::timeout(ONE_SWEEP, remove(address, labels)).await;
            let trouble = match swept {
                Ok((names, trouble)) => {
                    removed.extend(names);
                    trouble.map(|error| error.to_string())
                }
                Err(_) => Some(format!("Docker takes longer than {ONE_SWEEP:?}")),
            };
            failed = failed.or(trouble);
        }
        (removed, failed)
    }
}

async fn remove(
    address: &str,
    labels: &HashMap<String, String>,
) -> (Vec<String>, Option<ServeError>) {
    match connect(&DockerPlace::at(address)).await {
        Ok(daemon) => reaper::remove_labelled(&daemon, labels).await,
        Err(error) => (Vec::new(), Some(error)),
    }
}
