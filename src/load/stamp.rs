//! A socket that notes when bytes went out and came in.
//!
//! The time of a read is taken right after the system call returns, in user space, before any
//! byte is looked at. [`super::link`] polls the connection and the body in one task and takes a
//! frame before the connection may read again, so that a frame's last byte always belongs to the
//! latest read noted here.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// No write since [`Stamps::arm`].
const NONE: u64 = u64::MAX;

/// Times of a connection's traffic, as offsets from an epoch. One task writes and reads them, so
/// the atomics need no ordering among each other.
#[derive(Debug)]
pub(super) struct Stamps {
    epoch: Instant,
    first_write: AtomicU64,
    last_read: AtomicU64,
    last_return: AtomicU64,
    reads: AtomicU64,
}

impl Stamps {
    /// Stamps relative to `epoch`.
    pub(super) fn new(epoch: Instant) -> Arc<Self> {
        Arc::new(Self {
            epoch,
            first_write: AtomicU64::new(NONE),
            last_read: AtomicU64::new(0),
            last_return: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        })
    }

    /// Forgets the last request: the next write is the first of a new one.
    pub(super) fn arm(&self) {
        self.first_write.store(NONE, Ordering::Relaxed);
    }

    /// Just before the first byte since [`Stamps::arm`] was handed to the kernel.
    pub(super) fn first_write(&self) -> Option<Duration> {
        let nanos = self.first_write.load(Ordering::Relaxed);
        (nanos != NONE).then(|| Duration::from_nanos(nanos))
    }

    /// When the latest read that brought bytes returned.
    pub(super) fn last_read(&self) -> Duration {
        Duration::from_nanos(self.last_read.load(Ordering::Relaxed))
    }

    /// When the latest read returned, also one that brought the end or an error.
    pub(super) fn last_return(&self) -> Duration {
        Duration::from_nanos(self.last_return.load(Ordering::Relaxed))
    }

    /// How many reads have brought bytes; numbers the latest one.
    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Time since the epoch, in whole nanoseconds: 584 years fit.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(NONE - 1)
    }

    fn note_write(&self) {
        if self.first_write.load(Ordering::Relaxed) == NONE {
            self.first_write.store(self.now(), Ordering::Relaxed);
        }
    }

    fn note_return(&self, brought_bytes: bool) {
        let now = self.now();
        self.last_return.store(now, Ordering::Relaxed);
        if brought_bytes {
            self.last_read.store(now, Ordering::Relaxed);
            self.reads.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A socket whose traffic is noted in [`Stamps`].
#[derive(Debug)]
pub(super) struct Stamped<T> {
    inner: T,
    stamps: Arc<Stamps>,
}

impl<T> Stamped<T> {
    /// Watches `inner`.
    pub(super) const fn new(inner: T, stamps: Arc<Stamps>) -> Self {
        Self { inner, stamps }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stamped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if polled.is_ready() {
            self.stamps.note_return(buffer.filled().len() > before);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stamped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stamps.note_write();
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stamps.note_write();
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn reads_are_numbered_and_only_the_first_write_counts() {
        let (near, mut far) = tokio::io::duplex(64);
        let stamps = Stamps::new(Instant::now());
        let mut near = Stamped::new(near, Arc::clone(&stamps));
        assert_eq!(stamps.first_write(), None);
        near.write_all(b"one").await.unwrap();
        let first = stamps.first_write().unwrap();
        near.write_all(b"two").await.unwrap();
        assert_eq!(stamps.first_write(), Some(first));
        stamps.arm();
        assert_eq!(stamps.first_write(), None);

        far.write_all(b"answer").await.unwrap();
        let mut buffer = [0; 16];
        assert_eq!(near.read(&mut buffer).await.unwrap(), 6);
        let read = stamps.last_read();
        assert_eq!((stamps.reads(), stamps.last_return()), (1, read));
        assert!(read >= first);
        drop(far);
        assert_eq!(near.read(&mut buffer).await.unwrap(), 0);
        assert_eq!((stamps.reads(), stamps.last_read()), (1, read));
        assert!(stamps.last_return() >= read);
    }
}
