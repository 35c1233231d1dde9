//! Baselines in a folder that several machines share: `<key>/<when>-<commit>/` below it, each whole
//! from the moment it can be seen.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{branch, directory};

/// Puts files into `root/name` and removes the oldest entries beyond `keep`; how many those were.
/// An entry of the same name stays as it is: it is the same measurement.
///
/// # Errors
/// The folder cannot be written.
pub fn put(root: &Path, name: &str, files: &[(String, Vec<u8>)], keep: usize) -> io::Result<usize> {
    let place = root.join(name);
    if !place.exists() {
        match directory::place(&place, files) {
            Ok(()) => {}
            // Another job stored the same measurement meanwhile.
            Err(_) if place.exists() => {}
            Err(error) => return Err(error),
        }
    }
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let ours = branch::is_entry(&entry.file_name().to_string_lossy());
        // A link is not followed, and not removed.
        if ours && entry.file_type()?.is_dir() {
            entries.push(entry.path());
        }
    }
    // Names begin with the time, so their order is its order.
    entries.sort();
    let surplus = entries.len().saturating_sub(keep.max(1));
    let mut removed = 0;
    for old in entries.iter().take(surplus) {
        match fs::remove_dir_all(old) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_whole_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("kitt-baseline/k");
        let commit = "a".repeat(40);
        let name = |second: u32| format!("20260101T00000{second}Z-{commit}");
        let files = [("metrics.json".to_owned(), b"{}".to_vec())];
        for second in 0..3 {
            assert_eq!(put(&root, &name(second), &files, 3).unwrap(), 0);
        }
        fs::write(root.join("mine.txt"), "x").unwrap();
        assert_eq!(put(&root, &name(3), &files, 2).unwrap(), 2);
        // The same again changes nothing.
        assert_eq!(put(&root, &name(3), &[], 2).unwrap(), 0);
        let mut left: Vec<String> = fs::read_dir(&root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [name(2), name(3), "mine.txt".to_owned()]);
        assert!(root.join(name(3)).join("metrics.json").exists());
    }
}
