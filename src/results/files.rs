//! Files that are whole at every moment, whatever kills the process.
//!
//! A small file is written beside its place, synced and renamed over it. A growing one takes one
//! complete zstd frame at a time, so that everything but the open frame can always be read.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::ResultsError;

/// Nine parts in ten of a request log are digits of nanoseconds, which no level can guess: the
/// first one packs them into 3.7 bytes a stream event at 46 ns, the third into 4.0 at 73 ns.
const LEVEL: i32 = 1;

pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> ResultsError {
    move |source| ResultsError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// Replaces `dir/name` by these bytes, or leaves it as it was.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), ResultsError> {
    let path = dir.join(name);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kitt-");
    // The default is for the owner alone; results are read by whoever may read the directory.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let write = || -> std::io::Result<()> {
        let mut file = builder.tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(failed("write", &path))
}

/// Replaces `dir/name` by this value as indented JSON with a final line break.
pub(super) fn replace_json(
    dir: &Path,
    name: &str,
    value: &impl Serialize,
) -> Result<(), ResultsError> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(std::io::Error::from)
        .map_err(failed("write", &dir.join(name)))?;
    bytes.push(b'\n');
    replace(dir, name, &bytes)
}

/// A frame is closed after this many lines …
const FRAME_LINES: u64 = 1024;

/// … or after this many bytes before packing: what a kill can lose, and what a writer keeps in
/// memory.
const FRAME_BYTES: u64 = 4 << 20;

/// A `.jsonl.zst` that grows by whole frames. Created with the first [`Frames`].
#[derive(Debug)]
pub(super) struct FrameLog {
    path: PathBuf,
    file: Option<File>,
}

impl FrameLog {
    /// Removes what an earlier run left at this path.
    pub(super) fn new(path: PathBuf) -> Result<Self, ResultsError> {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove", &path)(error)),
        }
        Ok(Self { path, file: None })
    }

    /// Appends one JSON line per value and syncs them.
    pub(super) fn append<T: Serialize>(
        &mut self,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<(), ResultsError> {
        let mut frames = self.frames()?;
        for line in lines {
            frames.line(&line)?;
        }
        frames.close()
    }

    /// A writer of further lines. It owns all it needs, so that another thread may have it.
    pub(super) fn frames(&mut self) -> Result<Frames, ResultsError> {
        let file = match &mut self.file {
            Some(file) => file,
            // `create_new` does not follow a link that somebody put there meanwhile.
            none => none.insert(
                OpenOptions::new()
                    .append(true)
                    .create_new(true)
                    .open(&self.path)
                    .map_err(failed("create", &self.path))?,
            ),
        };
        Ok(Frames {
            file: file.try_clone().map_err(failed("open", &self.path))?,
            path: self.path.clone(),
            line: Vec::new(),
            frame: None,
            lines: 0,
            bytes: 0,
        })
    }
}

/// Lines on their way into a [`FrameLog`]. Frames are closed as they fill and when this is
/// dropped; memory stays flat however many lines there are.
pub(super) struct Frames {
    path: PathBuf,
    file: File,
    /// The line being formatted: handed over whole, because each call of the packer costs as
    /// much as packing 50 bytes.
    line: Vec<u8>,
    /// The open frame.
    frame: Option<zstd::Encoder<'static, Vec<u8>>>,
    /// Lines in it.
    lines: u64,
    /// Bytes in it, before packing.
    bytes: u64,
}

impl Frames {
    /// Adds one JSON line.
    pub(super) fn line(&mut self, value: &impl Serialize) -> Result<(), ResultsError> {
        self.format(value)?;
        self.put()
    }

    /// As [`Frames::line`], but a line longer than `most` bytes is replaced by what `shorter`
    /// makes.
    pub(super) fn bounded<T: Serialize>(
        &mut self,
        value: &impl Serialize,
        most: u64,
        shorter: impl FnOnce() -> T,
    ) -> Result<(), ResultsError> {
        self.format(value)?;
        if self.line.len() as u64 > most {
            self.format(&shorter())?;
        }
        self.put()
    }

    fn format(&mut self, value: &impl Serialize) -> Result<(), ResultsError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)
            .map_err(std::io::Error::from)
            .map_err(failed("write", &self.path))?;
        self.line.push(b'\n');
        Ok(())
    }

    fn put(&mut self) -> Result<(), ResultsError> {
        let frame = match &mut self.frame {
            Some(frame) => frame,
            none => none.insert(new_frame().map_err(failed("write", &self.path))?),
        };
        frame
            .write_all(&self.line)
            .map_err(failed("write", &self.path))?;
        self.lines += 1;
        self.bytes += self.line.len() as u64;
        if self.lines >= FRAME_LINES || self.bytes >= FRAME_BYTES {
            self.close_frame()?;
        }
        Ok(())
    }

    /// Writes what is left and syncs it.
    pub(super) fn close(mut self) -> Result<(), ResultsError> {
        self.close_frame()
    }

    fn close_frame(&mut self) -> Result<(), ResultsError> {
        (self.lines, self.bytes) = (0, 0);
        let Some(frame) = self.frame.take() else {
            return Ok(());
        };
        let write = || {
            let packed = frame.finish()?;
            // One call, so that another writer's frame never lands inside this one.
            (&self.file).write_all(&packed)?;
            self.file.sync_data()
        };
        write().map_err(failed("write", &self.path))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        if let Err(error) = self.close_frame() {
            tracing::warn!(path = %self.path.display(), %error, "the last lines are lost");
        }
    }
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Frames")
            .field("path", &self.path)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

fn new_frame() -> std::io::Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}
