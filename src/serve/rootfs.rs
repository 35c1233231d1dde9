//! The simulator's image as a tar in memory: one binary and what it needs to run.
//!
//! In: the path of an executable. Out: the tar, byte for byte the same for the same files, and
//! a tag made of its content, so that the image is made once and found again.

use std::{fs, io, path::Path};

use sha2::{Digest, Sha256};

use super::libraries::{self, Closure};

/// Repository of the images made here.
pub(super) const REPOSITORY: &str = "kitt-sim";
/// Where the libraries lie in the image. One folder of its own: the image has no loader cache,
/// and which folders a loader searches unasked differs between distributions.
const LIBRARIES: &str = "lib/kitt";

/// A packed image.
#[derive(Debug)]
pub(super) struct Rootfs {
    /// Twelve hexadecimal digits of the content's SHA-256.
    pub(super) tag: String,
    /// The tar.
    pub(super) tar: Vec<u8>,
    /// Changes to the image's configuration, in Dockerfile words.
    pub(super) changes: Vec<String>,
}

fn changes(label: &str) -> Vec<String> {
    vec![
        format!("LABEL {label}=1"),
        format!("ENV LD_LIBRARY_PATH=/{LIBRARIES}"),
        // Nothing in there needs root.
        "USER 65534:65534".to_owned(),
        "ENTRYPOINT [\"/kitt\"]".to_owned(),
    ]
}

/// Packs the executable at `path`; `label` is our label's key. Reads files and hashes them: some 100 ms for a release build.
///
/// # Errors
/// A sentence: a file cannot be read, or a library is missing.
pub(super) fn pack(path: &Path, label: &str) -> Result<Rootfs, String> {
    let binary = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // Links are followed, so that `$ORIGIN` means the folder of the file itself.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let closure = libraries::closure(&place, &binary)?;
    let tar = write_tar(&binary, &closure).map_err(|error| format!("tar: {error}"))?;
    let changes = changes(label);
    let mut hash = Sha256::new_with_prefix(&tar);
    for change in &changes {
        hash.update(change);
    }
    // Twelve of the 64 digits tell the images on one host apart.
    let tag = format!("{:x}", hash.finalize()).chars().take(12).collect();
    Ok(Rootfs { tag, tar, changes })
}

fn write_tar(binary: &[u8], closure: &Closure) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::with_capacity(binary.len().saturating_add(8 << 20)));
    folder(&mut tar, "tmp/", 0o1777)?;
    file(&mut tar, "etc/passwd", 0o644, PASSWD.as_bytes())?;
    file(&mut tar, "etc/group", 0o644, GROUP.as_bytes())?;
    file(&mut tar, "kitt", 0o755, binary)?;
    if let Some((place, bytes)) = &closure.loader {
        file(
            &mut tar,
            place.strip_prefix("/").unwrap_or(place),
            0o755,
            bytes,
        )?;
    }
    for (name, bytes) in &closure.libraries {
        file(&mut tar, format!("{LIBRARIES}/{name}"), 0o755, bytes)?;
    }
    tar.into_inner()
}

const PASSWD: &str =
    "root:x:0:0:root:/:/nonexistent\nnobody:x:65534:65534:nobody:/nonexistent:/nonexistent\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

fn file(
    tar: &mut tar::Builder<Vec<u8>>,
    path: impl AsRef<Path>,
    mode: u32,
    bytes: &[u8],
) -> io::Result<()> {
    let mut header = header(tar::EntryType::Regular, mode);
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
}

fn folder(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32) -> io::Result<()> {
    let mut header = header(tar::EntryType::Directory, mode);
    header.set_size(0);
    tar.append_data(&mut header, path, io::empty())
}

/// Owner root, time 0: the same files give the same bytes.
fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn entries(tar: &[u8]) -> BTreeMap<String, (u32, u64)> {
        tar::Archive::new(tar)
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let header = entry.header();
                (path, (header.mode().unwrap(), header.size().unwrap()))
            })
            .collect()
    }

    #[test]
    fn the_image_holds_binary_loader_and_libraries() {
        let closure = Closure {
            loader: Some(("/lib64/ld-linux-x86-64.so.2".into(), vec![1, 2])),
            libraries: BTreeMap::from([("libc.so.6".to_owned(), vec![3])]),
        };
        let tar = write_tar(b"binary", &closure).unwrap();
        let entries = entries(&tar);
        assert_eq!(entries["kitt"], (0o755, 6));
        assert_eq!(entries["lib64/ld-linux-x86-64.so.2"], (0o755, 2));
        assert_eq!(entries["lib/kitt/libc.so.6"], (0o755, 1));
        assert_eq!(entries["tmp/"], (0o1777, 0));
        assert!(entries.contains_key("etc/passwd"));
        assert_eq!(tar, write_tar(b"binary", &closure).unwrap());
    }

    #[test]
    fn the_tag_follows_the_content() {
        let own = std::env::current_exe().unwrap();
        let packed = pack(&own, "l").unwrap();
        assert_eq!(packed.tag.len(), 12);
        assert_eq!(packed.tag, pack(&own, "l").unwrap().tag);
        let error = pack(Path::new("/nonexistent/kitt"), "l").unwrap_err();
        assert!(error.starts_with("/nonexistent/kitt: "), "{error}");
    }
}
