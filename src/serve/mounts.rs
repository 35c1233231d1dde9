//! Host paths are checked before a container is made: Docker's own errors name neither the
//! setting nor the remedy, and an engine that cannot read its model says so after a minute.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::ServeError;
use crate::engine::{ContainerSpec, Mount};

/// First bytes of every GGUF file.
const GGUF: &[u8; 4] = b"GGUF";

/// Every mount exists, and every argument that is a path below one names a file there; a
/// `.gguf` file is one. Reads a few bytes.
pub(super) fn check(spec: &ContainerSpec) -> Result<(), ServeError> {
    for mount in &spec.mounts {
        if !mount.host.is_absolute() {
            return Err(wrong(&mount.host, "its path is not absolute"));
        }
        if !mount.host.exists() {
            return Err(wrong(&mount.host, "it does not exist on this host"));
        }
    }
    let named = |mount| {
        let below = |argument: &String| below(argument, mount);
        spec.args.iter().filter_map(below).collect::<Vec<_>>()
    };
    for (mount, file) in spec
        .mounts
        .iter()
        .flat_map(|m| named(m).into_iter().map(move |f| (m, f)))
    {
        check_file(mount, &file)?;
    }
    Ok(())
}

/// What an engine that runs as root needs beyond no capabilities at all, for mounts whose files
/// are somebody else's: without these even root is bound to a file's mode (capabilities(7)).
pub(super) fn capabilities(spec: &ContainerSpec) -> Vec<&'static str> {
    let needs = |mount: &Mount| {
        let named = spec.args.iter().filter_map(|text| below(text, mount));
        let all = std::iter::once(mount.host.clone()).chain(named);
        let mut found = all.filter_map(|path| fs::metadata(path).ok());
        let needed = if mount.writable {
            found.any(|one| one.uid() != 0 && one.mode() & 0o002 == 0)
        } else {
            found.any(|one| one.uid() != 0 && one.mode() & 0o004 == 0)
        };
        needed.then_some(if mount.writable {
            "DAC_OVERRIDE"
        } else {
            "DAC_READ_SEARCH"
        })
    };
    let mut all: Vec<&str> = spec.mounts.iter().filter_map(needs).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The host path an argument means, when it lies below the mount.
fn below(argument: &str, mount: &Mount) -> Option<PathBuf> {
    let rest = Path::new(argument).strip_prefix(&mount.container).ok()?;
    (rest.components().next().is_some()).then(|| mount.host.join(rest))
}

fn check_file(mount: &Mount, file: &Path) -> Result<(), ServeError> {
    let Ok(real) = fs::canonicalize(file) else {
        return Err(wrong(file, "it does not exist on this host"));
    };
    let inside = fs::canonicalize(&mount.host).is_ok_and(|folder| real.starts_with(folder));
    if !inside {
        return Err(wrong(
            file,
            "it is a link to a file outside its folder, which the container cannot see: give the real path",
        ));
    }
    if file.extension().is_some_and(|kind| kind == "gguf") {
        let mut magic = [0; 4];
        let opened = File::open(&real).and_then(|mut file| file.read_exact(&mut magic));
        if opened.is_err() {
            return Err(wrong(file, "it cannot be read or is empty"));
        }
        if &magic != GGUF {
            return Err(wrong(
                file,
                "it is not a GGUF file (a Git LFS pointer or a broken download?)",
            ));
        }
    }
    Ok(())
}

fn wrong(path: &Path, why: &'static str) -> ServeError {
    ServeError::Mount {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ImageSource;

    fn spec(host: &Path, file: &str) -> ContainerSpec {
        ContainerSpec {
            args: vec!["-m".into(), format!("/models/{file}"), "/models".into()],
            mounts: vec![Mount {
                host: host.to_owned(),
                container: "/models".into(),
                writable: false,
            }],
            ..ContainerSpec::new(ImageSource::RunningBinary, 1)
        }
    }

    fn refusal(spec: &ContainerSpec) -> String {
        check(spec)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_model_must_be_there_and_be_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("good.gguf"), b"GGUF\x03\0\0\0").unwrap();
        fs::write(path("lfs.gguf"), b"version https://git-lfs").unwrap();
        fs::write(path("empty.gguf"), b"").unwrap();
        let refusal = |name| refusal(&spec(folder.path(), name));
        assert_eq!(refusal("good.gguf"), "");
        assert!(refusal("lfs.gguf").contains("not a GGUF file"));
        assert!(refusal("empty.gguf").contains("empty"));
        assert!(refusal("absent.gguf").contains("does not exist"));
    }

    #[test]
    fn a_link_out_of_the_mount_is_refused() {
        let (folder, blobs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let blob = blobs.path().join("sha256");
        fs::write(&blob, b"GGUF").unwrap();
        std::os::unix::fs::symlink(&blob, folder.path().join("a.gguf")).unwrap();
        assert!(refusal(&spec(folder.path(), "a.gguf")).contains("give the real path"));
    }

    #[test]
    fn files_of_others_need_a_capability() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let folder = tempfile::tempdir().unwrap();
        let mut spec = spec(folder.path(), "a.gguf");
        let mut needs = |writable: bool, mode: u32| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            for mount in &mut spec.mounts {
                mount.writable = writable;
            }
            capabilities(&spec)
        };
        // Without root's rights the folder is another's already, as the container sees it.
        let _root = chown(folder.path(), Some(65534), None);
        assert_eq!(needs(true, 0o755), ["DAC_OVERRIDE"]);
        assert_eq!(needs(true, 0o777), [""; 0]);
        assert_eq!(needs(false, 0o755), [""; 0]);
        assert_eq!(needs(false, 0o700), ["DAC_READ_SEARCH"]);
    }

    #[test]
    fn a_missing_or_relative_folder_is_refused() {
        assert!(refusal(&spec(Path::new("/nonexistent/x"), "a")).contains("does not exist"));
        assert!(refusal(&spec(Path::new("x"), "a")).contains("not absolute"));
    }
}
