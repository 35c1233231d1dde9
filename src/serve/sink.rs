//! Where an engine's log goes: a file without secrets, bounded in size.

use std::path::{Path, PathBuf};

use tokio::{fs::File, io::AsyncWriteExt};

use super::{
    ServeError, ServeOptions,
    redact::{Line, Redactor},
};
use crate::secret::Secret;

/// A file that has grown so far becomes `….1`, and a new one is begun: an engine that writes
/// without end must not fill the disk.
const ROTATE_AT: u64 = 100 << 20;

/// Where a log goes, opened before anything is started.
#[derive(Debug)]
pub(super) struct Sink {
    file: Option<LogFile>,
    redactor: Redactor,
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
}

impl LogFile {
    async fn create(path: &Path) -> Result<Self, ServeError> {
        match File::create(path).await {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
                written: 0,
            }),
            Err(source) => Err(ServeError::Log {
                path: path.to_owned(),
                source,
            }),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.written >= ROTATE_AT {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            tokio::fs::rename(&self.path, old).await?;
            self.file = File::create(&self.path).await?;
            self.written = 0;
        }
        self.file.write_all(bytes).await?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        self.file.flush().await
    }
}

impl Sink {
    /// Creates the log file, empty. What the engine is told in secret may come out of it again:
    /// `told` is hidden too.
    pub(super) async fn open<'a>(
        options: &'a ServeOptions,
        told: impl Iterator<Item = &'a Secret>,
    ) -> Result<Self, ServeError> {
        let file = match &options.log_file {
            Some(path) => Some(LogFile::create(path).await?),
            None => None,
        };
        let hidden = options.secrets.iter().chain(told);
        let secrets: Vec<Secret> = hidden.cloned().collect();
        Ok(Self {
            file,
            redactor: Redactor::new(&secrets),
        })
    }

    /// The line without secrets.
    pub(super) fn clean(&self, line: &Line) -> String {
        self.redactor.clean(line)
    }

    /// Whether what is written goes anywhere.
    pub(super) const fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Writes. A full disk ends the file, not the benchmark.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.file else {
            return;
        };
        if let Err(error) = file.write(bytes).await {
            tracing::warn!(%error, "the engine's log is written no further");
            self.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_has_grown_long_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.log");
        let mut file = LogFile::create(&path).await.unwrap();
        file.write(b"old\n").await.unwrap();
        file.written = ROTATE_AT;
        file.write(b"new\n").await.unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("engine.log.1"), "old\n");
        assert_eq!(read("engine.log"), "new\n");
    }
}
