//! A paced simulator in a process of its own, so that it has its own processor.
//!
//! The child writes one line of JSON when it listens, a [`Hello`], and one when its input ends,
//! its [`PacedTruth`]. The parent dying ends its input, so that no child outlives it.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{PacedSpec, PacedTruth, start};

/// The first line of a child.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Base URL, without a path.
    pub url: String,
    /// Whether it runs on the processor asked for.
    pub pinned: bool,
}

/// The child: runs a simulator until `input` ends. `processor` is the one to run on.
///
/// # Errors
/// The simulator cannot run, or the parent does not read.
pub fn serve_child(
    spec: PacedSpec,
    processor: Option<usize>,
    input: &mut dyn Read,
    output: &mut dyn Write,
) -> io::Result<()> {
    crate::limits::open_files();
    let pinned = processor.is_some_and(|one| pin_to(&[one]));
    let server = start(spec)?;
    let hello = Hello {
        url: server.url(),
        pinned,
    };
    line(output, &hello)?;
    io::copy(input, &mut io::sink())?;
    line(output, &server.stop()?)
}

fn line(output: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// The parent's end. Dropping it ends the child.
#[derive(Debug)]
pub struct PacedChild {
    hello: Hello,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl PacedChild {
    /// Starts a command that calls [`serve_child`] with its standard input and output, and waits
    /// until it listens.
    ///
    /// # Errors
    /// It cannot be started, or does not say hello.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or_else(no_pipe)?;
        // From here on an early return ends the child.
        let mut started = Self {
            hello: Hello::default(),
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
        };
        let mut first = String::new();
        started.output.read_line(&mut first)?;
        started.hello = serde_json::from_str(&first)?;
        Ok(started)
    }

    /// What it said first.
    pub const fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it and takes what it knows.
    ///
    /// # Errors
    /// It died, or said something else.
    pub fn stop(mut self) -> io::Result<PacedTruth> {
        self.input = None;
        let mut rest = String::new();
        self.output.read_to_string(&mut rest)?;
        self.child.wait()?;
        Ok(serde_json::from_str(&rest)?)
    }
}

impl Drop for PacedChild {
    fn drop(&mut self) {
        self.input = None;
        // It ends by itself when its input ends; the wait takes away its entry.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("the child has no standard output")
}

/// The processors this process may run on; empty where the system does not say.
#[cfg(target_os = "linux")]
pub fn allowed_cpus() -> Vec<usize> {
    use nix::{sched, unistd::Pid};

    let Ok(set) = sched::sched_getaffinity(Pid::from_raw(0)) else {
        return Vec::new();
    };
    (0..sched::CpuSet::count())
        .filter(|one| set.is_set(*one).unwrap_or(false))
        .collect()
}

/// The processors this process may run on; empty where the system does not say.
#[cfg(not(target_os = "linux"))]
pub fn allowed_cpus() -> Vec<usize> {
    Vec::new()
}

/// Lets this thread, and those it starts from now on, run on these processors only. `false` when
/// the system refuses or knows no such thing.
#[cfg(target_os = "linux")]
pub fn pin_to(processors: &[usize]) -> bool {
    use nix::{sched, unistd::Pid};

    let mut set = sched::CpuSet::new();
    let known = processors.iter().all(|one| set.set(*one).is_ok());
    known && sched::sched_setaffinity(Pid::from_raw(0), &set).is_ok()
}

/// Lets this thread run on these processors only: this system knows no such thing.
#[cfg(not(target_os = "linux"))]
pub fn pin_to(_: &[usize]) -> bool {
    false
}
