//! What a binary needs to run in an otherwise empty image: its loader and its shared libraries.
//!
//! In: the path of an ELF file. Out: files with the names they must have. The names come from
//! the file itself (`PT_INTERP`, `DT_NEEDED`, `DT_RUNPATH`, `DT_RPATH`; System V gABI, chapter 5)
//! and are looked up where the loader looks (ld.so(8)): the file's own search path, the folders
//! of `/etc/ld.so.conf`, then the standard ones. Reading `/proc/self/maps` instead would work
//! for this process alone and would drag in whatever it has loaded by then, such as a GPU
//! driver's library.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use object::{
    Endianness, elf,
    read::elf::{FileHeader, ProgramHeader},
};

/// Files that make a binary run.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// The loader: the path the binary names and the file found there. `None` for a static
    /// binary.
    pub(super) loader: Option<(PathBuf, Vec<u8>)>,
    /// Shared libraries by the name they are asked for.
    pub(super) libraries: BTreeMap<String, Vec<u8>>,
}

/// Folders every loader knows, after those of its configuration.
const STANDARD: [&str; 8] = [
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib",
    "/usr/lib",
];
/// More libraries than any build of this program has; a guard against a crafted chain.
const LIMIT: usize = 200;

/// Finds everything `binary` (its bytes, found at `path`) needs.
///
/// # Errors
/// A sentence: the file is no 64-bit ELF, or a library cannot be found.
pub(super) fn closure(path: &Path, binary: &[u8]) -> Result<Closure, String> {
    let configured = configured_folders(Path::new("/etc/ld.so.conf"));
    let first = needs(binary).map_err(|why| format!("{}: {why}", path.display()))?;
    let mut found = Closure::default();
    if let Some(loader) = &first.loader {
        let bytes = fs::read(loader).map_err(|error| format!("{}: {error}", loader.display()))?;
        found.loader = Some((loader.clone(), bytes));
    }
    let machine = first.machine;
    let mut open: VecDeque<(PathBuf, Needs)> = VecDeque::from([(path.to_owned(), first)]);
    while let Some((owner, needs)) = open.pop_front() {
        let own = own_folders(&owner, &needs.search);
        for name in needs.libraries {
            if found.libraries.contains_key(&name) {
                continue;
            }
            if found.libraries.len() >= LIMIT {
                return Err(format!("{} needs too many libraries", path.display()));
            }
            let standard = STANDARD.iter().map(PathBuf::from);
            let folders = own
                .iter()
                .cloned()
                .chain(configured.clone())
                .chain(standard);
            let (place, bytes, inner) = locate(&name, folders, machine)
                .ok_or_else(|| format!("{} needs {name}, which was not found", owner.display()))?;
            found.libraries.insert(name, bytes);
            open.push_back((place, inner));
        }
    }
    Ok(found)
}

/// What one ELF file asks for.
#[derive(Debug)]
struct Needs {
    machine: u16,
    loader: Option<PathBuf>,
    libraries: Vec<String>,
    /// `DT_RUNPATH` and `DT_RPATH`, not yet split.
    search: Vec<String>,
}

fn needs(bytes: &[u8]) -> Result<Needs, String> {
    let wrong = |error: object::read::Error| format!("not a 64-bit ELF file ({error})");
    let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(wrong)?;
    let endian = header.endian().map_err(wrong)?;
    let mut needs = Needs {
        machine: header.e_machine(endian),
        loader: None,
        libraries: Vec::new(),
        search: Vec::new(),
    };
    for segment in header.program_headers(endian, bytes).map_err(wrong)? {
        if let Some(loader) = segment.interpreter(endian, bytes).map_err(wrong)? {
            needs.loader = Some(PathBuf::from(text(loader)));
        }
    }
    let sections = header.sections(endian, bytes).map_err(wrong)?;
    let table = sections.dynamic_table(endian, bytes).map_err(wrong)?;
    for entry in &table {
        let list = match entry.tag {
            elf::DT_NEEDED => &mut needs.libraries,
            elf::DT_RUNPATH | elf::DT_RPATH => &mut needs.search,
            _ => continue,
        };
        list.push(text(table.string(entry).map_err(wrong)?));
    }
    // A name with a slash is a path, not a name; nothing we build has one.
    needs
        .libraries
        .retain(|name| !name.is_empty() && !name.contains('/'));
    Ok(needs)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches('\0')
        .to_owned()
}

/// `DT_RUNPATH` split, with `$ORIGIN` put in.
fn own_folders(owner: &Path, search: &[String]) -> Vec<PathBuf> {
    let origin = fs::canonicalize(owner)
        .ok()
        .and_then(|path| path.parent().map(Path::to_owned))
        .unwrap_or_default();
    let origin = origin.to_string_lossy();
    search
        .iter()
        .flat_map(|list| list.split(':'))
        .filter(|folder| !folder.is_empty())
        .map(|folder| {
            let folder = folder.replace("${ORIGIN}", &origin);
            PathBuf::from(folder.replace("$ORIGIN", &origin))
        })
        .collect()
}

/// The first file of that name for that machine.
fn locate(
    name: &str,
    folders: impl Iterator<Item = PathBuf>,
    machine: u16,
) -> Option<(PathBuf, Vec<u8>, Needs)> {
    folders
        .map(|folder| folder.join(name))
        .filter_map(|place| {
            let bytes = fs::read(&place).ok()?;
            let inner = needs(&bytes).ok()?;
            Some((place, bytes, inner))
        })
        .find(|(_, _, inner)| inner.machine == machine)
}

/// The folders of the loader's configuration, `include` lines followed one level deep (all
/// distributions use exactly one). A file that cannot be read holds none.
fn configured_folders(file: &Path) -> Vec<PathBuf> {
    let base = file.parent().unwrap_or(Path::new("/"));
    let mut folders = Vec::new();
    for line in lines(file) {
        match line.strip_prefix("include ").map(str::trim) {
            Some(pattern) => {
                let included = included_files(&base.join(pattern));
                folders.extend(
                    included
                        .iter()
                        .flat_map(|file| lines(file))
                        .map(PathBuf::from),
                );
            }
            None => folders.push(PathBuf::from(line)),
        }
    }
    folders.retain(|folder| folder.is_absolute());
    folders
}

/// Files that match `folder/*.ext`, or the one file of that name, sorted as the loader does.
fn included_files(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().and_then(|name| name.to_str());
    let (Some(folder), Some(suffix)) = (pattern.parent(), name.and_then(|n| n.strip_prefix('*')))
    else {
        return vec![pattern.to_owned()];
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .collect();
    files.sort();
    files
}

/// Lines without comments and blanks.
fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_binary_needs_a_loader_and_the_c_library() {
        let own = std::env::current_exe().unwrap();
        let found = closure(&own, &fs::read(&own).unwrap()).unwrap();
        let (loader, bytes) = found.loader.unwrap();
        assert!(loader.is_absolute(), "{loader:?}");
        assert_eq!(&bytes[..4], b"\x7fELF");
        assert!(
            found
                .libraries
                .keys()
                .any(|name| name.starts_with("libc.so")),
            "{:?}",
            found.libraries.keys()
        );
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        for bytes in [
            &b""[..],
            b"#!/bin/sh\n",
            b"\x7fELF\x02\x01\x01",
            &[0x7f; 80],
        ] {
            let error = closure(Path::new("/x"), bytes).unwrap_err();
            assert!(error.contains("/x: not a 64-bit ELF file"), "{error}");
        }
    }

    #[test]
    fn the_origin_is_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kitt");
        fs::write(&file, "").unwrap();
        let real = fs::canonicalize(folder.path()).unwrap();
        assert_eq!(
            own_folders(&file, &["$ORIGIN/../lib:/opt/x".to_owned(), String::new()]),
            [real.join("../lib"), PathBuf::from("/opt/x")]
        );
    }

    #[test]
    fn included_configuration_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("d")).unwrap();
        fs::write(path("d/b.conf"), "/second # why\n\n").unwrap();
        fs::write(path("d/a.conf"), "/first\nrelative\n").unwrap();
        fs::write(path("d/a.bak"), "/never\n").unwrap();
        fs::write(path("main"), "# comment\ninclude d/*.conf\n/last\n").unwrap();
        assert_eq!(
            configured_folders(&path("main")),
            ["/first", "/second", "/last"].map(PathBuf::from)
        );
        assert!(configured_folders(&path("absent")).is_empty());
    }

    #[test]
    fn a_library_nobody_has_is_named() {
        assert!(locate("libnone-such.so.9", STANDARD.iter().map(PathBuf::from), 62).is_none());
    }
}
