//! Recorded traces from files.

use std::{io, path::Path, sync::Arc};

use super::{WorkloadError, files};
use crate::plan::{ReplayRow, parse_replay};

/// Two million rows, more than are replayed, have less.
const MOST_MIB: u64 = 1024;

/// A recorded trace, for [`crate::plan::schedule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Its rows, in order of time.
    pub rows: Arc<[ReplayRow]>,
    /// SHA-256 of the file, hexadecimal.
    pub digest: String,
}

impl Trace {
    /// Reads a trace of at most 1 GiB. `planned` is the digest that the plan knows, or empty.
    ///
    /// # Errors
    /// It cannot be read, is too large or no UTF-8, is not the planned one, or no known trace.
    pub fn read(path: &Path, planned: &str) -> Result<Self, WorkloadError> {
        let bytes = files::read("trace", path, MOST_MIB)?;
        let digest = files::digest(&bytes);
        files::unchanged("trace", path, &digest, planned)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let error = io::Error::new(io::ErrorKind::InvalidData, error.utf8_error());
            files::unreadable("trace", path, error)
        })?;
        let rows = parse_replay(&text).map_err(|source| WorkloadError::Trace {
            path: path.to_owned(),
            source,
        })?;
        let rows = rows.into();
        Ok(Self { rows, digest })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_trace_is_rows_and_a_digest() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"Timestamp,Request tokens,Response tokens\n5,472,18\n")
            .unwrap();
        let trace = Trace::read(file.path(), "").unwrap();
        assert_eq!(trace.rows.len(), 1);
        assert_eq!(Trace::read(file.path(), &trace.digest).unwrap(), trace);
        let changed = Trace::read(file.path(), "00").unwrap_err();
        assert!(changed.to_string().contains("has changed"), "{changed}");
        file.write_all(b"x,1,1\n").unwrap();
        let wrong = Trace::read(file.path(), "").unwrap_err().to_string();
        assert!(wrong.contains("line 3: Timestamp"), "{wrong}");
        file.write_all(b"\xff").unwrap();
        let binary = Trace::read(file.path(), "").unwrap_err();
        assert!(matches!(binary, WorkloadError::Read { what: "trace", .. }));
    }
}
