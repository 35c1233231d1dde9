//! Room on disks, asked before a run begins.

use std::path::Path;

use crate::{error::Error, units::Bytes};

/// Less than this is not enough for the results of a small run: a run does not begin.
pub(super) const LEAST: Bytes = Bytes(8 << 20);
/// More than this is enough for the results of long ones.
pub(super) const COMFORTABLE: Bytes = Bytes(1 << 30);

/// Free bytes for this user on the disk of a folder, or of the nearest folder above it that is
/// there. `None` where the system does not tell.
pub(super) fn free(folder: &Path) -> Option<Bytes> {
    stat(folder).map(|(free, _)| free)
}

/// That a run may begin to write its results.
///
/// # Errors
/// [`Error::NoSpace`] with what is free.
pub(super) fn enough(folder: &Path) -> Result<(), Error> {
    match free(folder) {
        Some(free) if free < LEAST => Err(Error::NoSpace {
            path: folder.to_owned(),
            free: free.0,
            least: LEAST.0,
        }),
        Some(_) | None => Ok(()),
    }
}

/// Size of the disk of a folder, in the same way.
pub(super) fn size(folder: &Path) -> Option<Bytes> {
    stat(folder).map(|(_, size)| size)
}

#[cfg(unix)]
fn stat(folder: &Path) -> Option<(Bytes, Bytes)> {
    let stat = nix::sys::statvfs::statvfs(existing(folder)?).ok()?;
    // Both types differ between systems.
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.fragment_size() as u64));
    Some((
        bytes(stat.blocks_available() as u64),
        bytes(stat.blocks() as u64),
    ))
}

#[cfg(not(unix))]
fn stat(_folder: &Path) -> Option<(Bytes, Bytes)> {
    None
}

/// The folder, or the nearest above it that is there.
pub(super) fn existing(folder: &Path) -> Option<&Path> {
    folder.ancestors().find_map(|above| {
        // A relative path ends in an empty one, which is the current folder.
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        above.is_dir().then_some(above)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_its_parents_room() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        assert_eq!(existing(&below), Some(folder.path()));
        assert_eq!(existing(Path::new("no-such-folder")), Some(Path::new(".")));
        assert!(size(&below).unwrap() >= free(&below).unwrap());
    }
}
