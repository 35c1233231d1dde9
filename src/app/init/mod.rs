//! `kitt init`: asks, or takes flags, and writes a repository's workflows and `.github/kitt.yml`.
//!
//! Everything is checked before anything is written, and nothing of somebody else is overwritten
//! unasked.

mod answers;
mod ask;
mod files;
mod pin;
mod questions;
mod repository;
mod steps;
mod yaml;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use self::{ask::Ask, files::File};
use super::{files as atomic, out};
use crate::{
    cli::InitArgs,
    context::{self, ConfigFile, EnvSnapshot},
    error::Error,
    exit::Exit,
};

/// Runs it.
///
/// # Errors
/// An answer is missing or wrong, a file stands in the way, or nothing can be written.
pub(super) async fn run(args: &InitArgs, env: &EnvSnapshot) -> Result<Exit, Error> {
    let root = root(&args.path)?;
    let existing = existing(args, &root)?;
    let (mut input, mut out) = (std::io::stdin().lock(), std::io::stderr().lock());
    let mut ask = Ask {
        input: &mut input,
        out: &mut out,
        asking: std::io::stdin().is_terminal() && !args.yes,
        missing: Vec::new(),
    };
    let asked = questions::Asked {
        args,
        existing: existing.as_ref(),
        branch: repository::default_branch(&root),
    };
    let answers = questions::answers(&mut ask, &asked)?;
    let pin = pin::find(questions::reference(args)?.as_deref(), args.offline, env).await;
    let mut files = files::workflows(&answers, &pin);
    if existing.is_none() {
        files.push(files::config(&answers));
    }
    if args.dry_run {
        show(&files);
        return Ok(Exit::Success);
    }
    let changed = changed(&root, &files);
    refuse_others(&root, &changed, args.force)?;
    if ask.asking && !changed.is_empty() {
        let names: Vec<&str> = changed.iter().map(|file| file.path.as_str()).collect();
        let text = format!("Write {} below {}", names.join(", "), root.display());
        if !ask.confirmed(&text)? {
            out::text("nothing was written");
            return Ok(Exit::Success);
        }
    }
    for file in &changed {
        write(&root, file)?;
    }
    out::text(&steps::told(&answers, &pin, &files, &changed));
    Ok(Exit::Success)
}

/// The top of the repository that holds the folder, else the folder itself, with a warning.
fn root(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Err(Error::Answer {
            flag: "path",
            text: path.display().to_string().chars().take(80).collect(),
            why: "it is no folder".to_owned(),
        });
    }
    if let Some(root) = repository::root(path) {
        return Ok(root);
    }
    tracing::warn!(
        "{} is in no git repository: the files go there, and GitHub reads them from the top of one",
        path.display()
    );
    Ok(path.to_owned())
}

/// The configuration that is there and stays: another workflow is added to it. Whoever names an
/// engine or a model wants a new one.
fn existing(args: &InitArgs, root: &Path) -> Result<Option<ConfigFile>, Error> {
    let path = root.join(files::CONFIG_PATH);
    let new = args.engine.is_some() || !args.model.is_empty() || args.force;
    if new || !path.is_file() {
        return Ok(None);
    }
    let (_, config) = context::read_config(Some(&path.to_string_lossy()))?;
    Ok(Some(config))
}

fn show(files: &[File]) {
    for file in files {
        out::text(&format!("# ==> {} <==\n{}", file.path, file.text));
    }
}

/// The files that are not there as they are to be.
fn changed<'a>(root: &Path, files: &'a [File]) -> Vec<&'a File> {
    let same = |file: &File| {
        let there = std::fs::read_to_string(root.join(&file.path));
        there.is_ok_and(|text| text == file.text)
    };
    files.iter().filter(|file| !same(file)).collect()
}

/// Refuses to overwrite what is there, all of it before anything is written.
fn refuse_others(root: &Path, changed: &[&File], force: bool) -> Result<(), Error> {
    let there = |file: &&&File| root.join(&file.path).symlink_metadata().is_ok();
    let others: Vec<&str> = changed
        .iter()
        .filter(there)
        .map(|file| file.path.as_str())
        .collect();
    if others.is_empty() || force {
        return Ok(());
    }
    let files = others.join(", ");
    Err(Error::Exists { files })
}

fn write(root: &Path, file: &File) -> Result<(), Error> {
    let path = root.join(&file.path);
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|source| Error::Write {
            path: dir.to_owned(),
            source,
        })?;
    }
    atomic::write(&path, &file.text)
}
