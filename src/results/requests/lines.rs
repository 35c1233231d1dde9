//! The lines of a log, one after the other, under limits.
//!
//! In: a file that a pull request may have written. Memory stays flat: one line and what zstd
//! keeps. A log that was cut off gives what lies before the cut.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use super::LINE_BYTES;
use crate::results::{Limits, ResultsError, files::failed, json};

/// A frame wants at most this much memory of its reader: 2^23 bytes. Ours want 2^21.
const WINDOW_LOG_MAX: u32 = 23;

type Packed = BufReader<File>;

/// Where the next line comes from.
enum Source {
    /// A file that is not packed.
    Plain(BufReader<File>),
    /// A packed file, between two frames.
    Between(Packed),
    /// Inside a frame.
    Frame(BufReader<zstd::Decoder<'static, Packed>>),
    /// There is nothing more.
    End,
}

/// What was found next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A line; [`Lines::parse`] reads it.
    Line,
    /// The end of a whole frame.
    FrameEnd,
    /// The end, or a cut.
    End,
}

/// A log being read.
pub(super) struct Lines {
    path: PathBuf,
    limits: Limits,
    source: Source,
    line: Vec<u8>,
    number: usize,
    unpacked: u64,
}

impl Lines {
    /// Opens a log: packed, or plain when its name ends in `.jsonl`. One that is absent, or no
    /// regular file, is empty.
    ///
    /// # Errors
    /// The file is there and cannot be opened.
    pub(super) fn open(path: &Path, limits: &Limits) -> Result<Self, ResultsError> {
        // A link could lead out of a downloaded artifact, a pipe would block.
        let source = if fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
            let file = BufReader::new(File::open(path).map_err(failed("read", path))?);
            if path.extension().is_some_and(|end| end == "jsonl") {
                Source::Plain(file)
            } else {
                Source::Between(file)
            }
        } else {
            Source::End
        };
        Ok(Self {
            path: path.to_owned(),
            limits: Limits {
                // A line is short enough for all that it may hold.
                string_bytes: usize::try_from(LINE_BYTES).unwrap_or(usize::MAX),
                entries: usize::try_from(LINE_BYTES).unwrap_or(usize::MAX),
                ..*limits
            },
            source,
            line: Vec::new(),
            number: 0,
            unpacked: 0,
        })
    }

    /// Goes on to the next line.
    ///
    /// # Errors
    /// The file cannot be read, or holds more than the limits allow.
    pub(super) fn advance(&mut self, requests: usize) -> Result<Piece, ResultsError> {
        loop {
            match std::mem::replace(&mut self.source, Source::End) {
                Source::End => return Ok(Piece::End),
                Source::Between(mut file) => {
                    let left = file.fill_buf().map_err(failed("read", &self.path))?;
                    if left.is_empty() {
                        return Ok(Piece::End);
                    }
                    match frame(file) {
                        Ok(frame) => self.source = Source::Frame(BufReader::new(frame)),
                        Err(error) => return Ok(self.cut(&error)),
                    }
                }
                Source::Frame(mut frame) => match next(&mut frame, &mut self.line) {
                    Ok(0) => {
                        self.source = Source::Between(frame.into_inner().finish());
                        return Ok(Piece::FrameEnd);
                    }
                    Ok(_) => {
                        self.source = Source::Frame(frame);
                        return self.count(requests);
                    }
                    Err(error) => return Ok(self.cut(&error)),
                },
                Source::Plain(mut file) => {
                    let length = next(&mut file, &mut self.line);
                    if length.map_err(failed("read", &self.path))? == 0 {
                        return Ok(Piece::FrameEnd);
                    }
                    self.source = Source::Plain(file);
                    return self.count(requests);
                }
            }
        }
    }

    /// The line as a value.
    ///
    /// # Errors
    /// It is not the JSON it should be.
    pub(super) fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, ResultsError> {
        json::check(&self.path, &self.line, &self.limits)?;
        json::parse(&self.path, &self.line, self.number)
    }

    fn cut(&self, error: &std::io::Error) -> Piece {
        tracing::warn!(path = %self.path.display(), %error, "request traces end early");
        Piece::End
    }

    fn count(&mut self, requests: usize) -> Result<Piece, ResultsError> {
        self.number += 1;
        self.unpacked = self.unpacked.saturating_add(self.line.len() as u64);
        if self.unpacked > self.limits.unpacked_bytes {
            let limit = self.limits.unpacked_bytes;
            return Err(self.wrong(".", format!("it unpacks to more than {limit} bytes")));
        }
        if self.number > requests {
            return Err(self.too_many(requests));
        }
        if self.line.len() as u64 >= LINE_BYTES && self.line.last() != Some(&b'\n') {
            return Err(ResultsError::Json {
                path: self.path.clone(),
                line: self.number,
                column: self.line.len(),
                key: ".".to_owned(),
                detail: format!("a line longer than {LINE_BYTES} bytes"),
            });
        }
        Ok(Piece::Line)
    }

    pub(super) fn too_many(&self, limit: usize) -> ResultsError {
        self.wrong(".", format!("it speaks of more than {limit} requests"))
    }

    /// An error about a key of the line just read.
    pub(super) fn wrong_line(&self, key: &str, detail: String) -> ResultsError {
        self.wrong(&format!("line {}, {key}", self.number), detail)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn wrong(&self, key: &str, detail: String) -> ResultsError {
        ResultsError::Value {
            path: self.path.clone(),
            key: key.to_owned(),
            detail,
        }
    }
}

fn frame(file: Packed) -> std::io::Result<zstd::Decoder<'static, Packed>> {
    let mut decoder = zstd::Decoder::with_buffer(file)?;
    decoder.window_log_max(WINDOW_LOG_MAX)?;
    Ok(decoder.single_frame())
}

fn next(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<usize> {
    line.clear();
    from.take(LINE_BYTES).read_until(b'\n', line)
}
