//! The traces of a results directory, one at a time.

use std::path::{Path, PathBuf};

use super::{
    NAME,
    lines::{Lines, Piece},
    parse::ReadLine,
};
use crate::{
    ids::ScenarioId,
    load::RequestTrace,
    results::{Limits, ResultsError},
};

/// A request, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedRequest {
    /// Run, from 1.
    pub run: u32,
    /// Scenario it belongs to.
    pub scenario: ScenarioId,
    /// What is known about it.
    pub trace: RequestTrace,
}

/// Reads the traces in `path`: a results directory, its `requests.jsonl.zst`, or the same
/// unpacked, with a name ending in `.jsonl`. They come in the order in which they ended, one at a
/// time, so memory does not grow with the file. A log that was cut off by a kill gives what lies
/// before the cut.
///
/// # Errors
/// There is no such file, or it cannot be opened.
pub fn traces(path: &Path, limits: &Limits) -> Result<Traces, ResultsError> {
    let file = if path.is_dir() {
        path.join(NAME)
    } else {
        PathBuf::from(path)
    };
    if !file.exists() {
        return Err(ResultsError::Io {
            action: "find the request traces",
            path: file,
            source: std::io::ErrorKind::NotFound.into(),
        });
    }
    Ok(Traces {
        lines: Lines::open(&file, limits)?,
        requests: limits.entries,
        done: false,
    })
}

/// What [`traces`] gives. After an error nothing more comes.
pub struct Traces {
    lines: Lines,
    /// The most requests that are read.
    requests: usize,
    done: bool,
}

impl Traces {
    fn trace(&self) -> Result<Option<LoggedRequest>, ResultsError> {
        let line: ReadLine = self.lines.parse()?;
        if let Some(events) = line.left_out() {
            let path = self.lines.path().display();
            tracing::warn!(%path, "a request with {events} stream events is not in the log");
            return Ok(None);
        }
        if line.run == 0 {
            let detail = "runs are counted from 1".to_owned();
            return Err(self.lines.wrong_line("run", detail));
        }
        let run = line.run;
        let scenario: ScenarioId = match line.scenario.parse() {
            Ok(scenario) => scenario,
            Err(error) => {
                let error: crate::ids::NameError = error;
                return Err(self.lines.wrong_line("scenario", error.to_string()));
            }
        };
        let trace = line
            .into_trace()
            .map_err(|(key, detail)| self.lines.wrong_line(key, detail))?;
        Ok(Some(LoggedRequest {
            run,
            scenario,
            trace,
        }))
    }
}

impl Iterator for Traces {
    type Item = Result<LoggedRequest, ResultsError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            let found = match self.lines.advance(self.requests) {
                Ok(Piece::Line) => self.trace(),
                Ok(Piece::FrameEnd) => continue,
                Ok(Piece::End) => {
                    self.done = true;
                    return None;
                }
                Err(error) => Err(error),
            };
            self.done = found.is_err();
            match found {
                Ok(None) => {}
                Ok(Some(request)) => return Some(Ok(request)),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Traces")
            .field("path", &self.lines.path())
            .finish_non_exhaustive()
    }
}
