//! The guard, seen from the process it watches over: a second process of this program that
//! removes what a run made when that run is killed.
//!
//! It hears by a socket what to look after. When the socket closes without a word it cleans up;
//! told that all is done, it just ends. It gets copies of the locked files, so that a GPU stays
//! locked until its memory is free again, and nothing else of this process: no standard streams
//! (a runner waits for everybody who has those), no environment (a runner kills everybody with
//! its `RUNNER_TRACKING_ID`), no session.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, IoSlice},
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    task::JoinHandle,
};

use super::{lock::Reservation, processes::Family};

/// How long a guard may take until it stands. A busy host may take its time; without one the
/// engine is started all the same.
const STANDING: Duration = Duration::from_secs(5);
/// How long a guard that is not needed any more may take to end.
const LEAVING: Duration = Duration::from_secs(1);
/// The first byte, which the locked files travel with.
pub(super) const FILES: u8 = b'F';
/// What the guard says once a signal to this process's group does not reach it any more.
pub(super) const STANDS: u8 = b'S';
/// More files than this are not handed over.
pub(super) const MOST_FILES: usize = 128;

/// What a guard is told, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Who is watched over, and where reports go.
    Watch(Watched),
    /// Everything on this daemon with these labels.
    Docker {
        /// The daemon's address.
        address: String,
        /// Every one of them.
        labels: HashMap<String, String>,
    },
    /// Processes of this host, and the record that tells the reaper of them.
    Processes {
        /// Which.
        family: Family,
        /// To be removed with them.
        record: Option<PathBuf>,
    },
    /// Nothing is left.
    Done,
}

/// Who a guard watches over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Watched {
    pub(super) pid: u32,
    pub(super) run: String,
    /// Where the report goes.
    pub(super) reports: Vec<PathBuf>,
}

/// This program, to be run as the guard: as the file it was started from, even if that has been
/// replaced since.
pub fn this_program() -> Option<PathBuf> {
    let itself = Path::new("/proc/self/exe");
    if itself.exists() {
        return Some(itself.to_owned());
    }
    std::env::current_exe().ok()
}

/// A guard, from the decision to have one on.
#[derive(Debug)]
pub(super) enum Guard {
    /// On its way.
    Coming(JoinHandle<io::Result<Standing>>),
    /// There.
    Standing(Box<Standing>),
    /// None was asked for, or it did not come.
    Absent,
}

/// A guard that stands.
#[derive(Debug)]
pub(super) struct Standing {
    socket: tokio::net::UnixStream,
    child: Child,
}

impl Guard {
    /// Starts one beside whatever else is being prepared.
    pub(super) fn start(
        program: PathBuf,
        watched: Watched,
        locked: Option<Arc<Reservation>>,
    ) -> Self {
        let begin = Instant::now();
        Self::Coming(tokio::spawn(async move {
            let spawned = tokio::task::spawn_blocking(move || {
                let files = locked.as_ref().map_or(&[][..], |locked| locked.files());
                spawn(&program, files)
            });
            let mut guard = spawned.await.map_err(io::Error::other)??;
            guard.tell(&Order::Watch(watched)).await?;
            let mut answer = [0];
            let standing = guard.socket.read_exact(&mut answer);
            tokio::time::timeout(STANDING, standing).await??;
            if answer == [STANDS] {
                tracing::debug!(took = ?begin.elapsed(), "the guard stands");
                Ok(guard)
            } else {
                Err(io::Error::other("the guard speaks another language"))
            }
        }))
    }

    /// Tells it what to look after; before that is made. Waits for it to stand.
    pub(super) async fn tell(&mut self, order: &Order) {
        if let Self::Coming(coming) = self {
            *self = match coming.await.map_err(io::Error::other).flatten() {
                Ok(standing) => Self::Standing(Box::new(standing)),
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "no guard: what a killed run leaves behind stays until the next run or \
                         `kitt cleanup`"
                    );
                    Self::Absent
                }
            };
        }
        if let Self::Standing(standing) = self
            && let Err(error) = standing.tell(order).await
        {
            tracing::warn!(%error, "the guard is gone");
            *self = Self::Absent;
        }
    }

    /// Lets it go: nothing is left to look after. Whoever drops a guard instead leaves the rest
    /// to it.
    pub(super) async fn done(mut self) {
        self.tell(&Order::Done).await;
        if let Self::Standing(mut standing) = self
            && tokio::time::timeout(LEAVING, standing.child.wait())
                .await
                .is_err()
        {
            tracing::debug!("the guard takes its time");
        }
    }
}

impl Standing {
    async fn tell(&mut self, order: &Order) -> io::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.socket.write_all(&line).await
    }
}

/// Starts the process and hands it the files. They are on their way when this returns: even if
/// this process died now, they stayed locked until the guard has read or refused them.
fn spawn(program: &Path, files: &[File]) -> io::Result<Standing> {
    let (ours, its) = UnixStream::pair()?;
    let mut command = Command::new(program);
    command
        .arg("guard")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(its)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.arg0("kitt");
    let child = command.spawn()?;
    let files: Vec<RawFd> = files
        .iter()
        .take(MOST_FILES)
        .map(AsRawFd::as_raw_fd)
        .collect();
    let handed = [ControlMessage::ScmRights(&files)];
    let handed = if files.is_empty() { &[] } else { &handed[..] };
    let sent = [IoSlice::new(&[FILES])];
    sendmsg::<()>(ours.as_raw_fd(), &sent, handed, MsgFlags::empty(), None)?;
    ours.set_nonblocking(true)?;
    let socket = tokio::net::UnixStream::from_std(ours)?;
    Ok(Standing { socket, child })
}
