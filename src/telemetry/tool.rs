//! Vendors' programs that tell about GPUs: asked once, or kept running.
//!
//! A program that is kept running is a group of its own, is killed when its owner lets go, and
//! ends by itself (its pipe breaks) should this process be killed.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
    thread,
    time::Duration,
};

use super::{NoGpu, TelemetryError};

/// With a broken driver these programs hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// An answer about 16 GPUs takes about 100 KB.
const LONGEST_ANSWER: u64 = 8 << 20;
/// Values that nobody has fetched; older ones are of no use.
const MOST_WAITING: usize = 1024;
/// As much of its last words as a message should hold.
const LAST_WORDS: usize = 300;

/// Runs a program to its end and gives what it wrote. Words on the error stream count only when
/// it failed.
///
/// # Errors
/// It is not installed, fails or hangs.
pub(super) fn answer(
    program: &OsStr,
    name: &'static str,
    arguments: &[String],
) -> Result<String, NoGpu> {
    let broken = |detail: String| NoGpu::BrokenTool(format!("{name} {detail}"));
    let mut child = command(program, arguments).spawn().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            NoGpu::NoTool(name.to_owned())
        } else {
            broken(format!("does not start: {error}"))
        }
    })?;
    let pipe = child.stdout.take();
    let words = child.stderr.take();
    let (done, ended) = channel();
    let reading = thread::Builder::new().name(name.to_owned());
    let started = reading.spawn(move || {
        let text = (whole(pipe), whole(words));
        // Whoever asked may have given up.
        let _sent = done.send(text);
    });
    let answered = started
        .ok()
        .and_then(|_thread| ended.recv_timeout(PATIENCE).ok());
    let Some((text, words)) = answered else {
        end(&mut child);
        return Err(broken(format!(
            "does not answer within {} s",
            PATIENCE.as_secs()
        )));
    };
    let status = child
        .wait()
        .map_err(|error| broken(format!("is lost: {error}")))?;
    if status.success() {
        return Ok(text);
    }
    // Some complain on standard output.
    let complaint = if words.trim().is_empty() { text } else { words };
    Err(broken(format!("failed ({status}): {}", short(&complaint))))
}

fn command(program: &OsStr, arguments: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        // Programs in Python keep lines back when they write to a pipe.
        .env("PYTHONUNBUFFERED", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn whole(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What came before an error is all there is.
        let _read = pipe.take(LONGEST_ANSWER).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn short(text: &str) -> String {
    let text = text.trim();
    text.chars().take(LAST_WORDS).collect()
}

fn end(child: &mut Child) {
    use nix::{
        sys::signal::{Signal, killpg},
        unistd::Pid,
    };
    if let Ok(group) = i32::try_from(child.id()) {
        // It may have ended by itself.
        let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _gone = child.kill();
    let _status = child.wait();
}

/// Values a running program writes, one after the other.
#[derive(Debug)]
struct Written<T> {
    values: VecDeque<T>,
    /// Why no more will come.
    ended: Option<String>,
}

/// Gives each value of an output to a function until the output ends, and says why it ended if
/// that was not by itself.
type Reader<T> = fn(BufReader<ChildStdout>, &mut dyn FnMut(T)) -> Option<String>;

/// A program that is kept running.
pub(super) struct Running<T> {
    name: &'static str,
    child: Child,
    written: Arc<Mutex<Written<T>>>,
}

impl<T: Send + 'static> Running<T> {
    /// Starts it and reads what it writes.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(
        program: &OsStr,
        name: &'static str,
        arguments: &[String],
        read: Reader<T>,
    ) -> Result<Self, NoGpu> {
        let broken =
            |error: std::io::Error| NoGpu::BrokenTool(format!("{name} does not start: {error}"));
        let mut command = command(program, arguments);
        let mut child = command.stderr(Stdio::null()).spawn().map_err(broken)?;
        let written = Arc::new(Mutex::new(Written {
            values: VecDeque::new(),
            ended: None,
        }));
        let Some(pipe) = child.stdout.take() else {
            end(&mut child);
            return Err(NoGpu::BrokenTool(format!("{name} has no output")));
        };
        let into = Arc::clone(&written);
        let thread = thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || {
            let mut keep = |value| {
                let mut written = into.lock().unwrap_or_else(PoisonError::into_inner);
                if written.values.len() == MOST_WAITING {
                    written.values.pop_front();
                }
                written.values.push_back(value);
            };
            let why = read(BufReader::new(pipe), &mut keep);
            let mut written = into.lock().unwrap_or_else(PoisonError::into_inner);
            written.ended = Some(why.unwrap_or_else(|| "it ended".to_owned()));
        });
        if let Err(error) = started {
            end(&mut child);
            return Err(broken(error));
        }
        Ok(Self {
            name,
            child,
            written,
        })
    }

    /// What came since the last question.
    ///
    /// # Errors
    /// The program has ended and everything it wrote was fetched.
    pub(super) fn fetch(&mut self) -> Result<Vec<T>, TelemetryError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.values.is_empty()
            && let Some(why) = &written.ended
        {
            return Err(TelemetryError::Tool {
                tool: self.name,
                detail: why.clone(),
            });
        }
        Ok(written.values.drain(..).collect())
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
