//! The noise profile as a file that several jobs of one runner share.
//!
//! Every write is: lock, read again, add, write beside and rename. So no two jobs lose each
//! other's lessons, and a reader never sees half a file. The lock is flock(2) on a file beside the
//! profile; the system lets go of it when its holder dies.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    path::{Path, PathBuf},
};

use super::StoreError;
use crate::results::{self, Fingerprint, NoiseFile, NoiseSource, ResultsError};

/// Reads the profile of a class of runners; `None` when there is no such file.
///
/// # Errors
/// The file is there and is no profile.
pub fn noise(path: &Path) -> Result<Option<NoiseFile>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(results::read_noise(path)?))
}

/// Adds to the profile in a file, which others may be adding to as well: `learn` gets what it
/// holds now. One that says nothing about these conditions, or that cannot be read, is begun anew.
/// Waits for whoever is writing; that takes milliseconds.
///
/// # Errors
/// The file cannot be locked or written.
pub fn update_noise(
    path: &Path,
    conditions: &Fingerprint,
    source: NoiseSource,
    now: jiff::Timestamp,
    learn: impl FnOnce(&mut NoiseFile),
) -> Result<NoiseFile, StoreError> {
    let (dir, name) = place(path)?;
    let _lock = lock(&dir, &name)?;
    let mut file = match noise(path) {
        Ok(Some(file)) => match file.unfit(conditions, now) {
            None => file,
            Some(why) => {
                tracing::warn!("{}: begun anew, since {why}", path.display());
                NoiseFile::new(conditions, source, now)
            }
        },
        Ok(None) => NoiseFile::new(conditions, source, now),
        Err(error) => {
            tracing::warn!("{error}: begun anew");
            NoiseFile::new(conditions, source, now)
        }
    };
    file.learned(now, learn);
    results::write_noise(&dir, &name.to_string_lossy(), &file)?;
    Ok(file)
}

/// Puts a profile in the place of whatever is there.
///
/// # Errors
/// The file cannot be locked or written.
pub fn replace_noise(path: &Path, file: &NoiseFile) -> Result<(), StoreError> {
    let (dir, name) = place(path)?;
    let _lock = lock(&dir, &name)?;
    results::write_noise(&dir, &name.to_string_lossy(), file)?;
    Ok(())
}

/// The directory, which is made where there is none, and the name in it.
fn place(path: &Path) -> Result<(PathBuf, OsString), StoreError> {
    let (dir, name) = parts(path)?;
    std::fs::create_dir_all(&dir).map_err(failed("create", &dir))?;
    Ok((dir, name))
}

/// The directory and the name; a bare name lies in the current directory.
fn parts(path: &Path) -> Result<(PathBuf, OsString), StoreError> {
    let Some(name) = path.file_name() else {
        let error = std::io::Error::other("it names a directory, not a file");
        return Err(failed("write", path)(error));
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    Ok((dir.unwrap_or(Path::new(".")).to_owned(), name.to_owned()))
}

/// Held until the file is closed.
fn lock(dir: &Path, name: &OsString) -> Result<std::fs::File, StoreError> {
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".lock");
    let path = dir.join(hidden);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed("open", &path))?;
    file.lock().map_err(failed("lock", &path))?;
    Ok(file)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| {
        StoreError::Results(ResultsError::Io {
            action,
            path,
            source,
        })
    }
}
