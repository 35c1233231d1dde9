//! Files that are whole at every moment, whatever kills the process.
//!
//! A small file is written beside its place, synced and renamed over it. A growing one takes one
//! complete zstd frame at a time, so that everything but the last append can always be read.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::ResultsError;

/// zstd's default: half the time of the next useful level, for a few per cent in size.
const LEVEL: i32 = 3;

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

/// A `.jsonl.zst` that grows by whole frames. Created with the first append.
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

    /// Appends one frame with one JSON line per value, and syncs it.
    pub(super) fn append<T: Serialize>(
        &mut self,
        lines: impl IntoIterator<Item = T>,
    ) -> Result<(), ResultsError> {
        let frame = frame(lines).map_err(failed("write", &self.path))?;
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
        file.write_all(&frame)
            .and_then(|()| file.sync_data())
            .map_err(failed("write", &self.path))
    }
}

fn frame<T: Serialize>(lines: impl IntoIterator<Item = T>) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    for line in lines {
        serde_json::to_writer(&mut encoder, &line)?;
        encoder.write_all(b"\n")?;
    }
    encoder.finish()
}
