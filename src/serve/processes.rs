//! Processes of this host as `/proc` shows them (proc(5)), and ending all that belong to an
//! engine: its process group, whatever carries its mark in the environment, and what those
//! started.
//!
//! A process that left the session, cleaned its environment and lost its parent is not found.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// Environment variable that every process of an engine inherits.
pub(super) const MARK: &str = "KITT_RUN";
/// Between two looks at processes that are about to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A living process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    parent: i32,
    group: i32,
    /// Clock ticks since boot: with the number, a process that cannot be mistaken.
    pub(super) start: String,
}

impl Process {
    /// A `/proc/PID/stat` line; `None` for garbage and for a process that has ended. The command
    /// in field 2 may hold spaces and parentheses, so counting starts after the last one.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        // Field 20. A first thread that has ended shows as a zombie while others still hold the
        // memory, the ports and the GPU.
        let threads: u64 = fields.nth(14)?.parse().ok()?;
        if state == "X" || (state == "Z" && threads <= 1) {
            return None;
        }
        Some(Self {
            pid: head.split_whitespace().next()?.parse().ok()?,
            parent,
            group,
            // Field 22.
            start: fields.nth(1)?.to_owned(),
        })
    }

    /// Whether its environment has that entry. Of a zombie whose threads live on, theirs.
    fn has(&self, entry: &[u8]) -> bool {
        let path = Path::new("/proc").join(self.pid.to_string());
        let holds = |path: &Path| {
            let environ = fs::read(path.join("environ")).unwrap_or_default();
            let found = environ.split(|byte| *byte == 0).any(|one| one == entry);
            (!environ.is_empty()).then_some(found)
        };
        holds(&path).unwrap_or_else(|| {
            let threads = fs::read_dir(path.join("task")).into_iter().flatten();
            threads
                .flatten()
                .any(|thread| holds(&thread.path()) == Some(true))
        })
    }
}

/// The process of that number, while it lives.
pub(super) fn find(pid: u32) -> Option<Process> {
    Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// All living processes; none where the system has no `/proc`.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| find(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// The processes of one engine on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Family {
    /// The value of [`MARK`]: no other engine has it.
    pub(super) mark: String,
    /// The process that was started, leader of its group; `None` until it is known.
    pub(super) leader: Option<Leader>,
}

/// The first process of a family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Leader {
    pub(super) pid: i32,
    /// As [`Process::start`]; empty where the system does not tell.
    pub(super) start: String,
}

impl Family {
    /// Those that live. Never this process, whatever its environment says.
    pub(super) fn members(&self) -> Vec<Process> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut all = all();
        all.retain(|process| process.pid != own && process.pid > 1);
        let entry = format!("{MARK}={}", self.mark);
        belonging(&all, self.leader.as_ref(), |process| {
            process.has(entry.as_bytes())
        })
    }

    /// Whether the leader has ended, or is about to.
    pub(super) fn is_beheaded(&self) -> bool {
        let leader = self.leader.as_ref();
        let stat = leader.map(|leader| fs::read_to_string(format!("/proc/{}/stat", leader.pid)));
        let state = |stat: &str| {
            stat.rsplit_once(')')
                .map(|(_, rest)| rest.trim_start().to_owned())
        };
        match stat {
            Some(Ok(stat)) => state(&stat).is_none_or(|rest| rest.starts_with(['Z', 'X'])),
            Some(Err(_)) => has_proc(),
            None => false,
        }
    }

    /// Sends the signal to all of them; tells how many there were.
    pub(super) fn signal(&self, signal: Signal) -> usize {
        let members = self.members();
        let Some(leader) = &self.leader else {
            send(&members, signal);
            return members.len();
        };
        let group = Pid::from_raw(leader.pid);
        if !has_proc() {
            // One call tells and kills: nothing more is known here.
            return usize::from(killpg(group, signal).is_ok());
        }
        if members.iter().any(|process| process.group == leader.pid) {
            // In one step: a process cannot fork its way out.
            tried(killpg(group, signal));
        }
        let elsewhere = |process: &&Process| process.group != leader.pid;
        send(members.iter().filter(elsewhere), signal);
        members.len()
    }

    /// Kills until none is left; `false` when some still are after `limit`.
    pub(super) async fn end(&self, limit: Duration) -> bool {
        let begin = Instant::now();
        while self.signal(Signal::SIGKILL) > 0 {
            if begin.elapsed() >= limit {
                return false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        true
    }

    /// Waits until none is left.
    pub(super) async fn gone(&self) {
        while !self.members().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Whether processes can be looked at.
fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn send<'a>(processes: impl IntoIterator<Item = &'a Process>, signal: Signal) {
    for process in processes {
        // The number may have been given away since the look.
        let same = u32::try_from(process.pid).ok().and_then(find);
        if same.is_some_and(|now| now.start == process.start) {
            tried(kill(Pid::from_raw(process.pid), signal));
        }
    }
}

/// Whoever has ended meanwhile hears nothing.
fn tried(sent: nix::Result<()>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "a signal did not arrive");
    }
}

/// Whoever is marked, the leader's group, and all they started. The group counts when its leader
/// is the one that was started, or when one of its members is marked: a bare number may belong
/// to somebody else by now.
fn belonging(
    all: &[Process],
    leader: Option<&Leader>,
    marked: impl Fn(&Process) -> bool,
) -> Vec<Process> {
    let mut ours: HashSet<i32> = all
        .iter()
        .filter(|one| marked(one))
        .map(|p| p.pid)
        .collect();
    if let Some(leader) = leader {
        let group = || all.iter().filter(|process| process.group == leader.pid);
        let itself = |process: &Process| process.pid == leader.pid && process.start == leader.start;
        if group().any(|process| itself(process) || ours.contains(&process.pid)) {
            ours.extend(group().map(|process| process.pid));
        }
    }
    loop {
        let before = ours.len();
        let children = all.iter().filter(|process| ours.contains(&process.parent));
        let children: Vec<i32> = children.map(|process| process.pid).collect();
        ours.extend(children);
        if ours.len() == before {
            break;
        }
    }
    let mut found = all.to_vec();
    found.retain(|process| ours.contains(&process.pid));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    // proc(5): pid (comm) state ppid pgrp session tty tpgid flags … starttime is field 22.
    const STAT: &str =
        "42 (a) S 1 ) b) S 7 41 40 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 3 0 98765 1 2";

    #[test]
    fn a_hostile_command_name_does_not_shift_the_fields() {
        let found = Process::parse(STAT).unwrap();
        assert_eq!((found.pid, found.parent, found.group), (42, 7, 41));
        assert_eq!(found.start, "98765");
        // A zombie, first with two threads that live on.
        let zombie = STAT.replace("b) S", "b) Z");
        assert!(Process::parse(&zombie).is_some());
        assert_eq!(
            Process::parse(&zombie.replace(" 0 3 0 98765", " 0 1 0 98765")),
            None
        );
        assert_eq!(Process::parse(""), None);
        assert_eq!(Process::parse("1 (x) S 1"), None);
    }

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        Process {
            pid,
            parent,
            group,
            start: format!("s{pid}"),
        }
    }

    fn pids(leader: Option<&Leader>, marked: &[i32]) -> Vec<i32> {
        let all = [
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 1, 12),
            process(13, 12, 13),
            process(99, 1, 99),
        ];
        let found = belonging(&all, leader, |process| marked.contains(&process.pid));
        found.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn group_mark_and_descent_make_a_family() {
        let leader = |start: &str| {
            Some(Leader {
                pid: 10,
                start: start.into(),
            })
        };
        assert_eq!(pids(leader("s10").as_ref(), &[]), [10, 11]);
        // The number was given to somebody else.
        assert_eq!(pids(leader("s9").as_ref(), &[]), [0; 0]);
        // A marked member makes the group ours although the leader is not known any more.
        assert_eq!(pids(leader("s9").as_ref(), &[11]), [10, 11]);
        // One that left the group, and its child.
        assert_eq!(pids(leader("s10").as_ref(), &[12]), [10, 11, 12, 13]);
        assert_eq!(pids(None, &[12]), [12, 13]);
    }

    #[test]
    fn this_process_is_found_but_never_in_a_family() {
        let own = std::process::id();
        assert!(find(own).is_some_and(|found| !found.start.is_empty()));
        let family = Family {
            mark: "nobody has this".into(),
            leader: Some(Leader {
                pid: i32::try_from(own).unwrap(),
                start: find(own).unwrap().start,
            }),
        };
        let own = i32::try_from(own).unwrap();
        assert!(family.members().iter().all(|process| process.pid != own));
    }
}
