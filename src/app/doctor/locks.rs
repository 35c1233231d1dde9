//! Who holds GPU locks, learnt without taking one: the kernel lists all locks in `/proc/locks`
//! (proc(5)), and a lock's file says who took it.

use std::{collections::BTreeSet, fs, io::Read, os::unix::fs::MetadataExt, path::Path};

use serde::Deserialize;

/// More of a holder's text is not read.
const LONGEST: u64 = 1024;

/// What a lock file says. It is text of somebody else's.
#[derive(Debug, Deserialize)]
struct Holder {
    pid: u32,
    run: String,
}

/// The holders of the locks in a folder, in words, sorted.
pub(super) fn holders(folder: &Path, proc_locks: &Path) -> Vec<String> {
    let held = held(&fs::read_to_string(proc_locks).unwrap_or_default());
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> = files
        .filter(|file| {
            let inode = file.metadata().map(|meta| meta.ino());
            inode.is_ok_and(|inode| held.contains(&inode))
        })
        .map(|file| holder(&file.path()))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Inodes that are locked whole: `1: FLOCK  ADVISORY  WRITE 713 fd:01:262411 0 EOF`. The device
/// is left out: layered file systems show another one to those who look.
fn held(locks: &str) -> BTreeSet<u64> {
    locks
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            // A waiting one has `->` in front.
            let kind = words.next()?;
            let place = (kind == "FLOCK").then(|| words.nth(3))??;
            place.rsplit_once(':')?.1.parse().ok()
        })
        .collect()
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = fs::File::open(path) {
        // Garbage reads as nobody.
        drop(file.take(LONGEST).read_to_string(&mut text));
    }
    match serde_json::from_str::<Holder>(&text) {
        Ok(Holder { pid, run }) => {
            let run: String = run.chars().filter(|c| !c.is_control()).take(80).collect();
            format!("run {run} (process {pid})")
        }
        Err(_) => "another run".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn locks_are_read_from_the_kernels_list() {
        let list = "1: POSIX  ADVISORY  READ 900 fd:01:5 128 128\n\
                    2: FLOCK  ADVISORY  WRITE 713 fd:01:262411 0 EOF\n\
                    2: -> FLOCK  ADVISORY  WRITE 714 fd:01:7 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 0 00:2d:99 0 EOF\n";
        assert_eq!(held(list).into_iter().collect::<Vec<_>>(), [99, 262_411]);
    }

    #[test]
    fn a_lock_that_is_held_tells_its_holder_and_a_free_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gpu-1.lock");
        fs::write(&path, r#"{"pid":7,"run":"r\u001b1","since":"x"}"#).unwrap();
        let locks = Path::new("/proc/locks");
        assert!(holders(folder.path(), locks).is_empty());
        let file = fs::File::open(&path).unwrap();
        file.lock().unwrap();
        assert_eq!(holders(folder.path(), locks), ["run r1 (process 7)"]);
        drop(file);
        assert!(holders(&folder.path().join("none"), locks).is_empty());
    }

    proptest! {
        #[test]
        fn any_list_is_read_without_a_panic(text in "(FLOCK|WRITE|[0-9a-f:]{0,20}|->| |\n){0,60}") {
            prop_assert!(held(&text).len() <= text.lines().count());
        }
    }
}
