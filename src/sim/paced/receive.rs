//! Reading with the time of arrival.
//!
//! On Linux the kernel stamps received bytes (`SO_TIMESTAMPING`, see the kernel's
//! `Documentation/networking/timestamping.rst`); the stamp is on the wall clock and is carried
//! over to the monotonic one by its distance from now. Elsewhere the time of the read is taken.
//! The load driver does this its own way: the two are held against each other, and a mistake
//! they shared would not be seen.

use std::io;

use mio::net::{TcpListener, TcpStream};

use super::super::clock::Clock;

/// Older stamps are not believed: the wall clock was set.
#[cfg(target_os = "linux")]
const OLDEST_NS: u64 = 10_000_000_000;
/// Readings of two clocks this close together count as one moment.
#[cfg(target_os = "linux")]
const CLOSE_NS: u64 = 1_000;
/// Tries to get two readings that close.
#[cfg(target_os = "linux")]
const TRIES: u32 = 4;

/// What a read brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    /// 0 at the end of the stream.
    pub bytes: usize,
    /// When the last of them arrived, in nanoseconds since the server's start.
    pub at: u64,
    /// Whether the kernel said so.
    pub by_kernel: bool,
}

/// A buffer for reads of all connections.
#[derive(Debug)]
pub(super) struct Receiver {
    buffer: Vec<u8>,
    #[cfg(target_os = "linux")]
    control: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; 64 << 10],
            #[cfg(target_os = "linux")]
            control: nix::cmsg_space!(nix::sys::socket::Timestamps),
        }
    }

    /// The bytes of the last read.
    pub(super) fn bytes(&self, received: Received) -> &[u8] {
        self.buffer.get(..received.bytes).unwrap_or_default()
    }

    /// Reads once.
    ///
    /// # Errors
    /// As a read of the socket, `WouldBlock` among them.
    #[cfg(target_os = "linux")]
    pub(super) fn read(&mut self, stream: &mut TcpStream, clock: Clock) -> io::Result<Received> {
        use std::{io::IoSliceMut, os::fd::AsRawFd};

        use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

        let mut slices = [IoSliceMut::new(&mut self.buffer)];
        let message = recvmsg::<()>(
            stream.as_raw_fd(),
            &mut slices,
            Some(&mut self.control),
            MsgFlags::empty(),
        )?;
        let stamp = message.cmsgs()?.find_map(|one| {
            if let ControlMessageOwned::ScmTimestampsns(stamps) = one {
                Some(stamps.system)
            } else {
                None
            }
        });
        let (now, age) = now_and_age(stamp, clock);
        Ok(Received {
            bytes: message.bytes,
            at: now.saturating_sub(age.unwrap_or(0)),
            by_kernel: age.is_some(),
        })
    }

    /// Reads once.
    ///
    /// # Errors
    /// As a read of the socket, `WouldBlock` among them.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read(&mut self, stream: &mut TcpStream, clock: Clock) -> io::Result<Received> {
        let bytes = io::Read::read(stream, &mut self.buffer)?;
        Ok(Received {
            bytes,
            at: clock.now_ns(),
            by_kernel: false,
        })
    }
}

/// The time now and how long ago a stamp on the wall clock was, `None` when that makes no sense.
/// A pause between the two clocks' readings would be taken for age, so the readings are repeated
/// until they are close together.
#[cfg(target_os = "linux")]
fn now_and_age(stamp: Option<nix::sys::time::TimeSpec>, clock: Clock) -> (u64, Option<u64>) {
    let mut best = (u64::MAX, clock.now_ns(), None);
    for _ in 0..TRIES {
        let before = clock.now_ns();
        let age = stamp.and_then(age_ns);
        let took = clock.now_ns().saturating_sub(before);
        if took < best.0 {
            best = (took, before, age);
        }
        if took <= CLOSE_NS {
            break;
        }
    }
    (best.1, best.2)
}

/// How long ago a stamp was on the wall clock.
#[cfg(target_os = "linux")]
fn age_ns(stamp: nix::sys::time::TimeSpec) -> Option<u64> {
    use nix::time::{ClockId, clock_gettime};

    let now = clock_gettime(ClockId::CLOCK_REALTIME).ok()?;
    let seconds = now.tv_sec().checked_sub(stamp.tv_sec())?;
    let age = seconds.checked_mul(1_000_000_000)? + (now.tv_nsec() - stamp.tv_nsec());
    u64::try_from(age).ok().filter(|age| *age <= OLDEST_NS)
}

/// Asks the kernel to stamp what the connections of this listener receive: they inherit it.
///
/// # Errors
/// The system refuses. The reads' own times are taken then.
#[cfg(target_os = "linux")]
pub(super) fn ask_for_stamps(listener: &TcpListener) -> io::Result<()> {
    use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt::Timestamping};

    let wanted = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    Ok(setsockopt(listener, Timestamping, &wanted)?)
}

/// There are no stamps on this system.
///
/// # Errors
/// Never.
#[cfg(not(target_os = "linux"))]
pub(super) fn ask_for_stamps(_: &TcpListener) -> io::Result<()> {
    Ok(())
}
