//! Appending to the runner's per-step files.
//!
//! In: a path and text. Out: the text at the file's end, in one write, starting on a line of its
//! own. Other steps' tools write to the same files, so nothing is ever overwritten.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::PublishError;

/// An open step file: how long it is and whether its last line is complete.
pub(super) struct StepFile<'a> {
    file: File,
    what: &'static str,
    path: &'a Path,
    /// Bytes already in the file.
    pub(super) length: u64,
    /// An earlier writer left its last line open.
    pub(super) open_line: bool,
}

impl<'a> StepFile<'a> {
    /// Opens the file for appending; creates it when absent.
    pub(super) fn open(what: &'static str, path: &'a Path) -> Result<Self, PublishError> {
        let failed = |source| PublishError::File {
            what,
            path: path.to_owned(),
            source,
        };
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(failed)?;
        let (length, open_line) = state(&mut file).map_err(failed)?;
        Ok(Self {
            file,
            what,
            path,
            length,
            open_line,
        })
    }

    /// Appends the text, after the newline that an earlier writer may have left out.
    pub(super) fn append(mut self, text: &str) -> Result<(), PublishError> {
        let gap = if self.open_line { "\n" } else { "" };
        self.file
            .write_all(format!("{gap}{text}").as_bytes())
            .map_err(|source| PublishError::File {
                what: self.what,
                path: self.path.to_owned(),
                source,
            })
    }
}

fn state(file: &mut File) -> io::Result<(u64, bool)> {
    let length = file.seek(SeekFrom::End(0))?;
    if length == 0 {
        return Ok((0, false));
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8];
    file.read_exact(&mut last)?;
    Ok((length, last != *b"\n"))
}
