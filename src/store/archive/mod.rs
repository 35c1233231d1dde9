//! An artifact's bytes to files in a directory, or to a reason why not.
//!
//! Hostile by assumption: an archive may come from a fork, a cache or a mirror. Only files that
//! kitt reads are unpacked, by expected name; anything that leads elsewhere, is no plain file,
//! is there twice or grows beyond its caps refuses the whole archive. All is unpacked beside its
//! place and renamed, so that no half of it is ever seen.

mod error;
mod names;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zip::{ZipArchive, read::ZipFile};

pub use error::ArchiveError;
pub use names::FILES;

use names::{Place, place, shown};

/// The file without which there are no results.
const METRICS: &str = "metrics.json";
/// Signature of an entry of the central directory, and the bytes before its name.
const CENTRAL: &[u8; 4] = b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;

/// What an archive may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Packed, in bytes.
    pub packed: u64,
    /// Entries, skipped ones included.
    pub entries: usize,
    /// One JSON document, in bytes.
    pub json: u64,
    /// Any other file, in bytes.
    pub file: u64,
    /// All unpacked files, in bytes.
    pub total: u64,
    /// Unpacked bytes for each packed one, beyond the first mebibyte of a file.
    pub ratio: u64,
}

impl Default for Caps {
    /// 256 MiB packed and 512 MiB unpacked: the request log of an hour at a thousand stream events
    /// a second has 15 MB, and is packed already. 512 entries: the files of both sides of twenty
    /// legs of a matrix. 32 MiB of JSON: what the reader of results takes. 200 to 1: documents
    /// full of digits reach 40, deflate can reach 1032.
    fn default() -> Self {
        Self {
            packed: 256 << 20,
            entries: 512,
            json: crate::results::Limits::default().file_bytes,
            file: 256 << 20,
            total: 512 << 20,
            ratio: 200,
        }
    }
}

/// Bytes of a file that may be packed however tight: a page of zeros is no attack.
const FREE_OF_RATIO: u64 = 1 << 20;

/// Unpacks a zip archive into `into`, which must not exist yet; a bare JSON document, as
/// `actions/upload-artifact` leaves it with `archive: false`, becomes its `metrics.json`, or the
/// file of [`FILES`] that `name` says. `digest` is `sha256:…` as GitHub states it. Files that are
/// not in [`FILES`] are skipped.
///
/// # Errors
/// The reason why the archive is refused. Nothing is left behind.
pub fn unpack(
    bytes: &[u8],
    name: Option<&str>,
    digest: Option<&str>,
    into: &Path,
    caps: &Caps,
) -> Result<(), ArchiveError> {
    let size = bytes.len() as u64;
    if size > caps.packed {
        return Err(ArchiveError::TooLarge {
            size,
            limit: caps.packed,
        });
    }
    if let Some(stated) = digest {
        verify(bytes, stated)?;
    }
    let beside = into
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ArchiveError::Io { path, source }
    };
    std::fs::create_dir_all(beside).map_err(failed(beside))?;
    // Removed when it is dropped, whatever happens.
    let temporary = tempfile::Builder::new()
        .prefix(".kitt-unpack-")
        .tempdir_in(beside)
        .map_err(failed(beside))?;
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        Unpacking::new(temporary.path(), caps).archive(bytes)?;
    } else {
        bare(bytes, name, temporary.path(), caps)?;
    }
    std::fs::rename(temporary.path(), into).map_err(failed(into))
}

/// Compares with a digest as GitHub states it.
fn verify(bytes: &[u8], stated: &str) -> Result<(), ArchiveError> {
    let hex = stated.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ArchiveError::UnknownDigest(shown(stated.as_bytes())));
    }
    let found = format!("{:x}", Sha256::digest(bytes));
    if found.eq_ignore_ascii_case(hex) {
        return Ok(());
    }
    Err(ArchiveError::Digest {
        found: format!("sha256:{found}"),
        stated: stated.to_ascii_lowercase(),
    })
}

/// A single document.
fn bare(bytes: &[u8], name: Option<&str>, dir: &Path, caps: &Caps) -> Result<(), ArchiveError> {
    let known = FILES.iter().find(|file| name == Some(**file));
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let file = match (known, first) {
        (Some(file), _) => *file,
        (None, Some(b'{')) => METRICS,
        (None, _) => return Err(ArchiveError::Unknown),
    };
    let size = bytes.len() as u64;
    let limit = cap(file, caps);
    if size > limit {
        return Err(ArchiveError::FileTooLarge {
            name: file.to_owned(),
            size,
            limit,
        });
    }
    let path = dir.join(file);
    std::fs::write(&path, bytes).map_err(|source| ArchiveError::Io { path, source })
}

/// Bytes that a file may have.
fn cap(file: &str, caps: &Caps) -> u64 {
    if Path::new(file)
        .extension()
        .is_some_and(|kind| kind == "json")
    {
        caps.json
    } else {
        caps.file
    }
}

/// An archive on its way into a directory.
struct Unpacking<'a> {
    dir: &'a Path,
    caps: &'a Caps,
    written: u64,
}

impl<'a> Unpacking<'a> {
    const fn new(dir: &'a Path, caps: &'a Caps) -> Self {
        Self {
            dir,
            caps,
            written: 0,
        }
    }

    fn archive(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let limit = self.caps.entries;
        // Before anything is parsed: each entry costs the parser memory. A packed file holds this
        // signature by chance once in 4 GiB.
        if memchr::memmem::find_iter(bytes, CENTRAL)
            .nth(limit)
            .is_some()
        {
            return Err(ArchiveError::Entries { limit });
        }
        let broken = |error: zip::result::ZipError| ArchiveError::Broken(shown_text(&error));
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        distinct(bytes, archive.central_directory_start(), archive.len())?;
        let mut found = false;
        for index in 0..archive.len() {
            // Its own check comes first: an encrypted entry cannot even be opened.
            let raw = archive.by_index_raw(index).map_err(broken)?;
            plain(&raw)?;
            let Place::At(path) = place(raw.name_raw(), raw.is_dir())? else {
                continue;
            };
            let packed = raw.compressed_size();
            let stated = raw.size();
            drop(raw);
            found |= path.ends_with(METRICS) && !names::is_other_side(&path);
            let mut entry = archive.by_index(index).map_err(broken)?;
            self.file(&mut entry, &path, stated, packed)?;
        }
        if found {
            Ok(())
        } else {
            Err(ArchiveError::NoResults)
        }
    }

    fn file(
        &mut self,
        entry: &mut impl Read,
        path: &Path,
        stated: u64,
        packed: u64,
    ) -> Result<(), ArchiveError> {
        let name = shown(path.to_string_lossy().as_bytes());
        let limit = path
            .file_name()
            .map_or(0, |file| cap(&file.to_string_lossy(), self.caps));
        let too_large = |size| ArchiveError::FileTooLarge {
            name: name.clone(),
            size,
            limit,
        };
        if stated > limit {
            return Err(too_large(stated));
        }
        let target = self.dir.join(path);
        let io = |source| ArchiveError::Io {
            path: target.clone(),
            source,
        };
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(io)?;
        }
        let mut file = File::create_new(&target).map_err(io)?;
        // What an entry says of its size is not believed: what comes out is counted.
        let mut size = 0_u64;
        let mut chunk = vec![0_u8; 64 << 10];
        loop {
            let read = entry
                .read(&mut chunk)
                .map_err(|error| ArchiveError::Broken(format!("{name}: {}", shown_text(&error))))?;
            if read == 0 {
                return Ok(());
            }
            size += read as u64;
            self.written += read as u64;
            if size > limit {
                return Err(too_large(size));
            }
            if self.written > self.caps.total {
                let limit = self.caps.total;
                return Err(ArchiveError::Total { limit });
            }
            if size > FREE_OF_RATIO && size / packed.max(1) >= self.caps.ratio {
                let limit = self.caps.ratio;
                return Err(ArchiveError::Ratio { name, limit });
            }
            file.write_all(chunk.get(..read).unwrap_or_default())
                .map_err(io)?;
        }
    }
}

/// Refuses what is no plain file or folder.
fn plain<R: Read>(entry: &ZipFile<'_, R>) -> Result<(), ArchiveError> {
    const KIND: u32 = 0o170_000;
    let refuse = |what| {
        Err(ArchiveError::Kind {
            name: shown(entry.name_raw()),
            what,
        })
    };
    if entry.encrypted() {
        return refuse("encrypted");
    }
    // The upper half of the attributes is a Unix mode, whatever system the entry says it is of.
    match entry.unix_mode().unwrap_or(0) & KIND {
        0 | 0o100_000 => Ok(()),
        0o040_000 if entry.is_dir() => Ok(()),
        0o120_000 => refuse("a symbolic link"),
        _ => refuse("a device, a pipe or a folder that is named like a file"),
    }
}

/// Refuses an archive whose directory names a place twice: the reader would show one of the two.
/// Upper and lower case are the same place on some systems.
fn distinct(bytes: &[u8], start: u64, known: usize) -> Result<(), ArchiveError> {
    let cut = || ArchiveError::Broken("its directory is cut".to_owned());
    let mut rest = usize::try_from(start)
        .ok()
        .and_then(|start| bytes.get(start..))
        .ok_or_else(cut)?;
    let mut seen = BTreeSet::new();
    while rest.starts_with(CENTRAL) {
        let length = |at: usize| -> Option<usize> {
            let pair = rest.get(at..at + 2)?.try_into().ok()?;
            Some(usize::from(u16::from_le_bytes(pair)))
        };
        let (Some(name), Some(extra), Some(comment)) = (length(28), length(30), length(32)) else {
            return Err(cut());
        };
        let raw = rest
            .get(CENTRAL_BYTES..CENTRAL_BYTES + name)
            .ok_or_else(cut)?;
        if !seen.insert(String::from_utf8_lossy(raw).to_lowercase()) {
            return Err(ArchiveError::Twice(shown(raw)));
        }
        rest = rest
            .get(CENTRAL_BYTES + name + extra + comment..)
            .ok_or_else(cut)?;
    }
    if seen.len() == known {
        Ok(())
    } else {
        let detail = "its directory lists other entries than its end says";
        Err(ArchiveError::Broken(detail.to_owned()))
    }
}

/// An error of a parser that quotes the archive.
fn shown_text(error: &dyn std::error::Error) -> String {
    shown(error.to_string().as_bytes())
}

/// The results in a file that somebody named: a zip archive is unpacked into `into`.
///
/// # Errors
/// The file cannot be read, or is refused.
pub fn unpack_file(path: &Path, into: &Path, caps: &Caps) -> Result<(), ArchiveError> {
    let io = |source| ArchiveError::Io {
        path: PathBuf::from(path),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(caps.packed + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let name = path.file_name().map(|name| name.to_string_lossy());
    unpack(&bytes, name.as_deref(), None, into, caps)
}

#[cfg(test)]
mod tests;
