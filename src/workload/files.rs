//! Files that a workload is made of, with limits and digests.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::WorkloadError;

const MIB: u64 = 1 << 20;
/// Opens a file of at most `limit_mib` MiB. What is read from it never is more.
fn open(what: &'static str, path: &Path, limit_mib: u64) -> Result<Limited, WorkloadError> {
    let file = File::open(path).map_err(|error| unreadable(what, path, error))?;
    let facts = file.metadata();
    let facts = facts.map_err(|error| unreadable(what, path, error))?;
    if facts.len() > limit_mib * MIB {
        return Err(WorkloadError::TooLarge {
            what,
            path: path.to_owned(),
            limit_mib,
        });
    }
    let left = limit_mib * MIB;
    let length = facts.len();
    Ok(Limited { file, left, length })
}

/// Reads a whole file of at most `limit_mib` MiB.
pub(super) fn read(
    what: &'static str,
    path: &Path,
    limit_mib: u64,
) -> Result<Vec<u8>, WorkloadError> {
    let mut file = open(what, path, limit_mib)?;
    // One more byte tells the end without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(file.length + 1).unwrap_or_default());
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(unreadable(what, path, error)),
    }
}

/// SHA-256, hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// A file that grew, or a device, which has no length, must not fill the memory.
struct Limited {
    file: File,
    /// Bytes that may still come.
    left: u64,
    /// Length of the file when it was opened.
    length: u64,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::other("there is more of it than its limit"))?;
        Ok(count)
    }
}

/// A file that is read once, piece by piece: what passes goes into a digest.
pub(super) struct Source {
    file: Limited,
    hash: Sha256,
}

impl Source {
    /// Opens a file of at most `limit_mib` MiB.
    pub(super) fn open(
        what: &'static str,
        path: &Path,
        limit_mib: u64,
    ) -> Result<Self, WorkloadError> {
        Ok(Self {
            file: open(what, path, limit_mib)?,
            hash: Sha256::new(),
        })
    }

    /// SHA-256 of what was read, hexadecimal.
    pub(super) fn digest(self) -> String {
        format!("{:x}", self.hash.finalize())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// The error of a file that cannot be read.
pub(super) fn unreadable(what: &'static str, path: &Path, error: io::Error) -> WorkloadError {
    WorkloadError::Read {
        what,
        path: path.to_owned(),
        source: Arc::new(error),
    }
}

/// Checks that a file is still the one the plan was made from. An empty digest in the plan: not
/// known then.
pub(super) fn unchanged(
    what: &'static str,
    path: &Path,
    found: &str,
    planned: &str,
) -> Result<(), WorkloadError> {
    if planned.is_empty() || planned == found {
        return Ok(());
    }
    Err(WorkloadError::Changed {
        what,
        path: path.to_owned(),
        found: found.to_owned(),
        planned: planned.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_digest_is_of_what_passed() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"abc").unwrap();
        // SHA-256 of "abc", FIPS 180-2 appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let mut source = Source::open("dataset", file.path(), 1).unwrap();
        io::copy(&mut source, &mut io::sink()).unwrap();
        assert_eq!(source.digest(), expected);
        assert_eq!(digest(b"abc"), expected);
        assert!(unchanged("dataset", file.path(), expected, "").is_ok());
        assert!(unchanged("dataset", file.path(), expected, expected).is_ok());
        let error = unchanged("dataset", file.path(), expected, "00").unwrap_err();
        assert!(error.to_string().contains("has changed"), "{error}");
    }

    #[test]
    fn what_is_missing_or_too_large_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read("dataset", &folder.path().join("x.json"), 1).unwrap_err();
        assert!(missing.to_string().contains("x.json"), "{missing}");
        let large = folder.path().join("large");
        File::create(&large).unwrap().set_len(MIB + 1).unwrap();
        let error = read("dataset", &large, 1).unwrap_err().to_string();
        assert!(error.contains("larger than 1 MiB"), "{error}");
        assert_eq!(read("dataset", &large, 2).unwrap().len(), 1_048_577);
        assert!(read("dataset", folder.path(), 1).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_without_a_length_ends_at_the_limit() {
        let error = read("dataset", Path::new("/dev/zero"), 1).unwrap_err();
        assert!(matches!(error, WorkloadError::Read { .. }));
    }
}
