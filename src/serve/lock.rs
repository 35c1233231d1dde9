//! Locks on GPUs: two runs on one host never share one unnoticed.
//!
//! A lock is flock(2) on a file per GPU. It belongs to the open file, so the guard, which gets a
//! copy of the descriptor, keeps it until the GPU's memory is free again; the system lets go of
//! it when the last holder dies. What the file says of its holder is for people: it is never
//! trusted.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{
    ServeError, ServeOptions,
    reaper::{self, Cleanup, Sweep},
};
use crate::engine::GpuSet;

/// Between two attempts.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Between two messages about what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// More than this of a holder's text is not read.
const LONGEST: u64 = 1024;
const WAITING: &str = "waiting for a GPU";

/// GPUs that are ours until this and all its copies are gone.
#[derive(Debug)]
pub struct Reservation {
    gpus: GpuSet,
    files: Vec<File>,
}

impl Reservation {
    /// The locked files, for the guard.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }
}

/// What a lock file says about its holder.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    run: String,
    /// RFC 3339.
    since: String,
}

/// Ends what dead runs left on this host, locks the GPUs and waits until `busy` sees nobody else on them, all within
/// [`ServeOptions::wait_for_gpu`]. Held until the value is dropped; a session that starts several
/// engines puts it into [`ServeOptions::reservation`], so that nobody slips in between.
/// `busy` names who else uses the GPUs, such as `process 4711 (python3)`. `None` when there is
/// nothing to lock.
///
/// # Errors
/// [`ServeError::GpuBusy`] when somebody else keeps them, [`ServeError::Lock`] when the folder
/// cannot be used, [`ServeError::Cancelled`].
pub async fn reserve(
    gpus: &GpuSet,
    options: &ServeOptions,
    cancel: &CancellationToken,
    busy: impl AsyncFn() -> Option<String>,
) -> Result<Option<Arc<Reservation>>, ServeError> {
    let begin = Instant::now();
    let wait = Wait {
        gpus,
        limit: options.wait_for_gpu,
        begin,
        cancel,
    };
    if let Some(held) = &options.reservation
        && held.gpus == *gpus
    {
        return Ok(Some(Arc::clone(held)));
    }
    // Processes of a dead run hold memory of GPUs that nobody has locked.
    if let Some(dir) = folder(options) {
        reaper::sweep_processes(&dir, &Sweep::default(), &mut Cleanup::default()).await;
    }
    if gpus.is_none() {
        return Ok(None);
    }
    let held = match &options.lock_dir {
        Some(dir) => Some(Arc::new(lock(dir, &options.run_id, &wait).await?)),
        None => None,
    };
    wait.until(async || busy().await.map_or(Ok(()), Err))
        .await?;
    Ok(held)
}

async fn lock(dir: &Path, run: &str, wait: &Wait<'_>) -> Result<Reservation, ServeError> {
    open_folder(dir).map_err(wrong(dir))?;
    let mut files = Vec::new();
    for (name, exclusive) in names(wait.gpus) {
        let path = dir.join(name);
        let mut file = open(&path).map_err(wrong(&path))?;
        wait.until(async || match attempt(&file, exclusive) {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(holder(&path)),
            Err(TryLockError::Error(error)) => Err(error.to_string()),
        })
        .await?;
        if exclusive && let Err(error) = sign(&mut file, run) {
            tracing::debug!(%error, "the lock does not say who holds it");
        }
        files.push(file);
    }
    Ok(Reservation {
        gpus: wait.gpus.clone(),
        files,
    })
}

fn wrong(path: &Path) -> impl FnOnce(io::Error) -> ServeError {
    let path = path.to_owned();
    move |source| ServeError::Lock { path, source }
}

fn attempt(file: &File, exclusive: bool) -> Result<(), TryLockError> {
    if exclusive {
        file.try_lock()
    } else {
        file.try_lock_shared()
    }
}

/// Files to lock and whether alone, always in the same order: two runs never wait for each other.
/// Who wants some of AMD's GPUs shares the lock of who wants all.
fn names(gpus: &GpuSet) -> Vec<(String, bool)> {
    let name = |gpu: &str| {
        let hex = format!("{:x}", Sha256::digest(gpu.as_bytes()));
        format!("gpu-{hex:.24}.lock")
    };
    let mut names: Vec<(String, bool)> = match gpus {
        GpuSet::None => Vec::new(),
        GpuSet::Nvidia(uuids) => uuids.iter().map(|uuid| (name(uuid), true)).collect(),
        GpuSet::Amd(numbers) => numbers
            .iter()
            .map(|number| (name(&format!("amd {number}")), true))
            .chain([(name("amd"), numbers.is_empty())])
            .collect(),
    };
    names.sort();
    names.dedup();
    names
}

/// A folder that every user of this host may put locks into, and nobody may take away another's.
pub(super) fn open_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    // Afterwards: the process's mask would take bits away.
    fs::set_permissions(dir, Permissions::from_mode(0o1777))
}

/// Opens without following a link that somebody put there, and creates only where nothing is:
/// Linux refuses to "create" another user's file in such a folder (`fs.protected_regular`).
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        opened => return opened,
    }
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(0o666))?;
            Ok(file)
        }
        // Somebody was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => options.open(path),
        Err(error) => Err(error),
    }
}

fn sign(file: &mut File, run: &str) -> io::Result<()> {
    let holder = Holder {
        pid: std::process::id(),
        run: run.to_owned(),
        since: format!("{:.0}", jiff::Timestamp::now()),
    };
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(serde_json::to_string(&holder)?.as_bytes())
}

fn holder(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(file) = open(path) {
        // Garbage reads as nobody.
        drop(file.take(LONGEST).read_to_string(&mut text));
    }
    match serde_json::from_str::<Holder>(&text) {
        Ok(Holder { pid, run, since }) => {
            let shown = |text: String| -> String {
                text.chars().filter(|c| !c.is_control()).take(80).collect()
            };
            format!("run {} (process {pid}), since {}", shown(run), shown(since))
        }
        Err(_) => "another run".to_owned(),
    }
}

/// Waiting for GPUs, with a limit.
struct Wait<'a> {
    gpus: &'a GpuSet,
    limit: Duration,
    begin: Instant,
    cancel: &'a CancellationToken,
}

impl Wait<'_> {
    /// Asks until nobody is in the way. `free` names who is.
    async fn until(&self, free: impl AsyncFn() -> Result<(), String>) -> Result<(), ServeError> {
        let mut told: Option<Instant> = None;
        while let Err(holder) = free().await {
            let waited = self.begin.elapsed();
            if waited >= self.limit {
                return Err(ServeError::GpuBusy {
                    gpus: described(self.gpus),
                    holder,
                    waited: Duration::from_secs(waited.as_secs()),
                });
            }
            if told.is_none_or(|then| then.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                let (gpus, limit) = (described(self.gpus), self.limit);
                tracing::info!("{WAITING}: {gpus} is in use by {holder}; at most {limit:?}");
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY.min(self.limit.saturating_sub(waited))) => {}
                () = self.cancel.cancelled() => {
                    return Err(ServeError::Cancelled { phase: WAITING });
                }
            }
        }
        Ok(())
    }
}

/// The GPUs for a message or a label.
pub(super) fn described(gpus: &GpuSet) -> String {
    match gpus {
        GpuSet::None => "none".to_owned(),
        GpuSet::Nvidia(uuids) => uuids.join(","),
        GpuSet::Amd(numbers) if numbers.is_empty() => "amd".to_owned(),
        GpuSet::Amd(numbers) => {
            let all: Vec<String> = numbers.iter().map(|one| format!("amd-{one}")).collect();
            all.join(",")
        }
    }
}

/// Where locks and records of this host lie; `None` where there can be none.
pub(super) fn folder(options: &ServeOptions) -> Option<PathBuf> {
    let dir = options.lock_dir.clone()?;
    match open_folder(&dir) {
        Ok(()) => Some(dir),
        Err(error) => {
            tracing::debug!(%error, dir = %dir.display(), "the folder of locks cannot be made");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nvidia(uuids: &[&str]) -> GpuSet {
        GpuSet::Nvidia(uuids.iter().map(|uuid| (*uuid).to_owned()).collect())
    }

    fn options(dir: &Path, wait: Duration) -> ServeOptions {
        ServeOptions {
            lock_dir: Some(dir.to_owned()),
            wait_for_gpu: wait,
            ..ServeOptions::new("run-7")
        }
    }

    async fn take(gpus: &GpuSet, options: &ServeOptions) -> Result<Arc<Reservation>, ServeError> {
        let held = reserve(gpus, options, &CancellationToken::new(), async || None).await;
        held.map(Option::unwrap)
    }

    #[test]
    fn order_and_sharing_do_not_depend_on_how_it_was_asked() {
        assert_eq!(
            names(&nvidia(&["a", "b"])),
            names(&nvidia(&["b", "a", "b"]))
        );
        assert_eq!(names(&GpuSet::None), []);
        let shared = |gpus| names(&gpus).iter().filter(|(_, alone)| !alone).count();
        assert_eq!(shared(GpuSet::Amd(vec![])), 0);
        assert_eq!(shared(GpuSet::Amd(vec![0, 1])), 1);
        let (name, _) = names(&nvidia(&["../../etc/passwd"])).remove(0);
        assert!(!name.contains('/') && name.len() < 40, "{name}");
    }

    #[tokio::test]
    async fn a_taken_gpu_names_its_holder_and_comes_free() {
        let dir = tempfile::tempdir().unwrap();
        let now = options(dir.path(), Duration::ZERO);
        let held = take(&nvidia(&["a", "b"]), &now).await.unwrap();
        let error = take(&nvidia(&["b"]), &now).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ServeError::GpuBusy { .. }), "{text}");
        assert!(
            text.contains("run run-7") && text.contains("wait-for-gpu"),
            "{text}"
        );
        take(&nvidia(&["c"]), &now).await.unwrap();
        let later = options(dir.path(), Duration::from_secs(20));
        let wanted = nvidia(&["b"]);
        let (taken, ()) = tokio::join!(take(&wanted, &later), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        taken.unwrap();
    }

    #[tokio::test]
    async fn all_of_amds_gpus_exclude_each_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let now = options(dir.path(), Duration::ZERO);
        let (one, other, all) = (
            GpuSet::Amd(vec![0]),
            GpuSet::Amd(vec![1]),
            GpuSet::Amd(vec![]),
        );
        let first = take(&one, &now).await.unwrap();
        let second = take(&other, &now).await.unwrap();
        assert!(take(&all, &now).await.is_err());
        drop((first, second));
        let _all = take(&all, &now).await.unwrap();
        assert!(take(&one, &now).await.is_err());
    }

    #[tokio::test]
    async fn foreign_processes_are_waited_for_within_the_same_limit() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), Duration::from_millis(50));
        let cancel = CancellationToken::new();
        let busy = async || Some("process 4711 (python3)".to_owned());
        let error = reserve(&nvidia(&["a"]), &options, &cancel, busy).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("process 4711 (python3)"), "{error}");
        let asked = std::cell::Cell::new(0);
        let leaves = async || {
            asked.set(asked.get() + 1);
            (asked.get() < 2).then(|| "process 4711".to_owned())
        };
        reserve(&nvidia(&["a"]), &options, &cancel, leaves)
            .await
            .unwrap();
        assert_eq!(asked.get(), 2);
    }

    #[tokio::test]
    async fn waiting_ends_with_the_cancellation() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), Duration::from_mins(10));
        let _held = take(&nvidia(&["a"]), &options).await.unwrap();
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = reserve(&nvidia(&["a"]), &options, &cancel, async || None).await;
        assert!(
            matches!(error, Err(ServeError::Cancelled { .. })),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_link_in_place_of_a_lock_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let (name, _) = names(&nvidia(&["a"])).remove(0);
        std::os::unix::fs::symlink(&victim, dir.path().join(name)).unwrap();
        let now = options(dir.path(), Duration::ZERO);
        let error = take(&nvidia(&["a"]), &now).await.unwrap_err();
        assert!(matches!(error, ServeError::Lock { .. }), "{error}");
        assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
    }

    #[test]
    fn the_folder_is_for_everybody() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/locks");
        open_folder(&folder).unwrap();
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1777);
    }
}
