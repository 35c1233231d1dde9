//! What the driver asks of the operating system beyond sockets: receive stamps, a precise timer,
//! processor time, open files. Linux has all of it; elsewhere the portable halves stand in.

use std::time::Duration;

pub(in crate::load) use system::{Stamper, Timer, enable, keep_stamping};

/// Processor time of this thread; zero where the system does not tell.
pub(in crate::load) fn thread_cpu() -> Duration {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use nix::time::{ClockId, clock_gettime};
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    Duration::ZERO
}

#[cfg(target_os = "linux")]
mod system {
    use std::{
        io::{self, IoSliceMut},
        net::{Ipv4Addr, UdpSocket},
        os::fd::{AsFd, AsRawFd},
        time::Duration,
    };

    use mio::{Interest, Registry, Token, net::TcpStream, unix::SourceFd};
    use nix::{
        cmsg_space,
        sys::{
            socket::{
                ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt,
                sockopt,
            },
            time::TimeSpec,
            timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
        },
        time::{ClockId, clock_gettime},
    };

    use crate::load::clock::{Clock, WallClock};

    /// Tries until stamping works; each takes some microseconds.
    const TRIES: usize = 200;

    /// Switches stamping on and keeps it on as long as the socket lives. The kernel stamps nothing
    /// while no socket asks for it, and begins some time after the first one did: without this
    /// the first answers would come without stamps. `None` when it cannot be switched on.
    pub(in crate::load) fn keep_stamping() -> Option<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.connect(socket.local_addr().ok()?).ok()?;
        let patience = Duration::from_millis(10);
        socket.set_read_timeout(Some(patience)).ok()?;
        if !enable(&socket) {
            return None;
        }
        let mut control = cmsg_space!(Timestamps);
        for _ in 0..TRIES {
            socket.send(&[0]).ok()?;
            let (_count, stamp) = receive(&socket, &mut [0], &mut control).ok()?;
            if stamp.is_some() {
                return Some(socket);
            }
            std::thread::yield_now();
        }
        Some(socket)
    }

    /// Asks the kernel to stamp what arrives; whether it will.
    pub(in crate::load) fn enable(stream: &impl AsFd) -> bool {
        let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        setsockopt(stream, sockopt::Timestamping, &flags).is_ok()
    }

    fn nanos(time: TimeSpec) -> i128 {
        i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
    }

    /// Reads bytes with the kernel's stamp of their arrival.
    #[derive(Debug)]
    pub(in crate::load) struct Stamper {
        control: Vec<u8>,
        /// What the stamps mean.
        pub(in crate::load) wall: WallClock,
    }

    impl Stamper {
        pub(in crate::load) fn new(clock: Clock) -> Self {
            let mut stamper = Self {
                control: cmsg_space!(Timestamps),
                wall: WallClock::default(),
            };
            for _ in 0..8 {
                stamper.look(clock);
            }
            stamper
        }

        /// Looks at both clocks; the time on ours, before.
        pub(in crate::load) fn look(&mut self, clock: Clock) -> Duration {
            let before = clock.now();
            if let Ok(wall) = clock_gettime(ClockId::CLOCK_REALTIME) {
                self.wall.look(before, nanos(wall), clock.now());
            }
            before
        }

        /// Reads; how many bytes, and when the last of them arrived, on the wall clock in
        /// nanoseconds.
        pub(in crate::load) fn receive(
            &mut self,
            stream: &TcpStream,
            buffer: &mut [u8],
        ) -> io::Result<(usize, Option<i128>)> {
            receive(stream, buffer, &mut self.control)
        }
    }

    fn receive(
        socket: &impl AsRawFd,
        buffer: &mut [u8],
        control: &mut [u8],
    ) -> io::Result<(usize, Option<i128>)> {
        let mut slices = [IoSliceMut::new(buffer)];
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut slices, Some(control), MsgFlags::empty())?;
        let stamp = message.cmsgs().ok().and_then(|mut all| {
            all.find_map(|one| {
                if let ControlMessageOwned::ScmTimestampsns(stamps) = one {
                    Some(nanos(stamps.system))
                } else {
                    None
                }
            })
        });
        // A stamp of 0 is none.
        Ok((message.bytes, stamp.filter(|wall| *wall > 0)))
    }

    /// Wakes the poll at absolute times, to the nanosecond: the poll's own timeout counts
    /// milliseconds.
    #[derive(Debug)]
    pub(in crate::load) struct Timer {
        fd: TimerFd,
        /// The epoch on the timer's clock.
        epoch: Duration,
        armed: Option<Duration>,
    }

    impl Timer {
        /// A timer that shows as `token`.
        ///
        /// # Errors
        /// The system has none to give.
        pub(in crate::load) fn new(
            clock: Clock,
            registry: &Registry,
            token: Token,
        ) -> io::Result<Self> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, flags)?;
            let fd = timer.as_fd().as_raw_fd();
            registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
            Ok(Self {
                fd: timer,
                epoch: epoch(clock)?,
                armed: None,
            })
        }

        /// How long the poll may sleep so that it is back at `due` exactly and at `latest` about;
        /// `None` is without end.
        ///
        /// # Errors
        /// The system refuses the time.
        pub(in crate::load) fn wait(
            &mut self,
            now: Duration,
            due: Option<Duration>,
            latest: Option<Duration>,
        ) -> io::Result<Option<Duration>> {
            if due.is_some_and(|due| due <= now) {
                return Ok(Some(Duration::ZERO));
            }
            // A time that has passed has shown already; setting another one takes it back.
            if let Some(due) = due
                && self.armed != Some(due)
            {
                let at = Expiration::OneShot(TimeSpec::from_duration(self.epoch + due));
                self.fd.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
                self.armed = Some(due);
            }
            Ok(latest.map(|latest| latest.saturating_sub(now)))
        }
    }

    /// A clock's epoch on the system's monotonic clock: the tightest of a few looks at both.
    fn epoch(clock: Clock) -> nix::Result<Duration> {
        let mut best: Option<(Duration, Duration)> = None;
        for _ in 0..8 {
            let before = clock.now();
            let system = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?);
            let width = clock.now().saturating_sub(before);
            if best.is_none_or(|(tightest, _epoch)| width < tightest) {
                best = Some((width, system.saturating_sub(before + width / 2)));
            }
        }
        Ok(best.map_or(Duration::ZERO, |(_width, epoch)| epoch))
    }

    #[cfg(test)]
    mod tests {
        use mio::{Events, Poll};

        use super::*;

        #[test]
        fn the_timer_wakes_the_poll_and_never_early() {
            let clock = Clock::start();
            let mut poll = Poll::new().unwrap();
            let mut events = Events::with_capacity(4);
            let mut timer = Timer::new(clock, poll.registry(), Token(7)).unwrap();
            for wait in [300, 700, 500] {
                let due = clock.now() + Duration::from_micros(wait);
                let timeout = timer.wait(clock.now(), Some(due), None).unwrap();
                // Whoever was interrupted for long enough need not wait at all.
                poll.poll(&mut events, timeout).unwrap();
                assert!(clock.now() >= due || timeout == Some(Duration::ZERO));
            }
            let past = timer.wait(clock.now(), Some(Duration::ZERO), None).unwrap();
            assert_eq!(past, Some(Duration::ZERO));
        }

        #[test]
        fn the_stamper_knows_both_clocks() {
            let clock = Clock::start();
            let stamper = Stamper::new(clock);
            let before = clock.now();
            let wall = nanos(clock_gettime(ClockId::CLOCK_REALTIME).unwrap());
            let read = clock.now();
            let found = stamper.wall.arrival(wall, before, read);
            assert!(found.is_some_and(|at| before <= at && at <= read));
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{
        io::{self, Read as _},
        net::UdpSocket,
        time::Duration,
    };

    use mio::{Registry, Token, net::TcpStream};

    use crate::load::clock::{Clock, WallClock};

    /// The poll counts milliseconds and may be one late: the rest is waited for awake.
    const AWAKE: Duration = Duration::from_millis(2);

    /// There is nothing to switch on.
    pub(in crate::load) const fn keep_stamping() -> Option<UdpSocket> {
        None
    }

    /// No stamps here.
    pub(in crate::load) const fn enable(_stream: &TcpStream) -> bool {
        false
    }

    /// Reads bytes; the kernel's stamps are not available.
    #[derive(Debug)]
    pub(in crate::load) struct Stamper {
        /// Never looked at.
        pub(in crate::load) wall: WallClock,
    }

    impl Stamper {
        pub(in crate::load) fn new(_clock: Clock) -> Self {
            Self {
                wall: WallClock::default(),
            }
        }

        pub(in crate::load) fn look(&mut self, clock: Clock) -> Duration {
            clock.now()
        }

        pub(in crate::load) fn receive(
            &mut self,
            mut stream: &TcpStream,
            buffer: &mut [u8],
        ) -> io::Result<(usize, Option<i128>)> {
            stream.read(buffer).map(|count| (count, None))
        }
    }

    /// Lets the poll sleep until shortly before a due time.
    #[derive(Debug)]
    pub(in crate::load) struct Timer;

    impl Timer {
        pub(in crate::load) fn new(
            _clock: Clock,
            _registry: &Registry,
            _token: Token,
        ) -> io::Result<Self> {
            Ok(Self)
        }

        pub(in crate::load) fn wait(
            &mut self,
            now: Duration,
            due: Option<Duration>,
            latest: Option<Duration>,
        ) -> io::Result<Option<Duration>> {
            let asleep = due.map(|due| due.saturating_sub(now + AWAKE));
            let latest = latest.map(|latest| latest.saturating_sub(now));
            Ok(asleep.into_iter().chain(latest).min())
        }
    }
}
