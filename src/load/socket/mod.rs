//! One non-blocking connection: bytes in with the time they arrived, bytes out.
//!
//! A read says when its last bytes arrived and since when the socket was known to be empty. TCP
//! merges segments that wait to be read, and the kernel then keeps the time of the last one: all
//! that is known of the earlier bytes of a read is that they arrived between these two moments.

mod kernel;
mod tls;

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use super::{StampSource, clock::Clock};
pub(super) use kernel::{Stamper, Timer, keep_stamping, thread_cpu};
pub(super) use tls::{Secured, TlsSetup};

/// A connection, not yet or already open.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// `None` in plain text.
    tls: Option<Box<Secured>>,
    /// Whether the kernel stamps what it receives here.
    stamped: bool,
    /// When the latest bytes arrived.
    last: Duration,
    /// The latest moment at which nothing was waiting to be read.
    empty: Duration,
}

/// What one read brought.
#[derive(Debug)]
pub(super) enum Got {
    /// So many bytes; more may be waiting when `full`.
    Bytes {
        /// Bytes, at the beginning of the buffer.
        count: usize,
        /// Whether they filled it.
        full: bool,
        /// When.
        arrival: Arrival,
    },
    /// Nothing is waiting.
    Nothing,
    /// The server has closed its side.
    End,
}

/// When the bytes of a read arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The last of them.
    pub(super) at: Duration,
    /// How much earlier the first of them can have arrived.
    pub(super) slack: Duration,
    /// By whose clock.
    pub(super) source: StampSource,
    /// When the read returned.
    pub(super) read: Duration,
}

impl Socket {
    /// Begins to connect; the poll says when there is news.
    ///
    /// # Errors
    /// The system refuses at once.
    pub(super) fn connect(
        address: SocketAddr,
        tls: Option<Secured>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        // Over TLS the time of a read is taken: what arrives is not yet what is read.
        let stamped = tls.is_none() && kernel::enable(&stream);
        Ok(Self {
            stream,
            tls: tls.map(Box::new),
            stamped,
            last: Duration::ZERO,
            empty: Duration::ZERO,
        })
    }

    /// Whether TCP's handshake is over.
    ///
    /// # Errors
    /// It failed.
    pub(super) fn connected(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_address) => self.stream.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes on with TLS's handshake; whether it is over. Always so in plain text.
    ///
    /// # Errors
    /// It failed: the certificate is not trusted, or the server does not speak TLS.
    pub(super) fn secured(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(tls) => tls.shake(&mut self.stream),
            None => Ok(true),
        }
    }

    /// Notes that a look at the sockets at `time` did not find anything here.
    pub(super) fn seen_empty(&mut self, time: Duration) {
        self.empty = self.empty.max(time);
    }

    /// Reads what has arrived. `since` is when this read began.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        stamper: &mut Stamper,
        clock: Clock,
        since: Duration,
    ) -> io::Result<Got> {
        let (count, wall, read) = loop {
            let got = match &mut self.tls {
                Some(tls) => tls
                    .read(&mut self.stream, buffer)
                    .map(|(count, read)| (count, None, Some(read))),
                None if self.stamped => stamper
                    .receive(&self.stream, buffer)
                    .map(|(count, wall)| (count, wall, None)),
                None => self.stream.read(buffer).map(|count| (count, None, None)),
            };
            match got {
                Ok((count, wall, read)) => {
                    break (count, wall, read.unwrap_or_else(|| clock.now()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.seen_empty(since);
                    return Ok(Got::Nothing);
                }
                Err(error) => return Err(error),
            }
        };
        if count == 0 {
            return Ok(Got::End);
        }
        let stamp = wall.and_then(|wall| stamper.wall.arrival(wall, self.last, read));
        let at = stamp.unwrap_or(read);
        // What follows the bytes of one read arrives after them.
        let empty = self.empty.max(self.last);
        let arrival = Arrival {
            at,
            slack: at.saturating_sub(empty),
            source: stamp.map_or(StampSource::User, |_| StampSource::Kernel),
            read,
        };
        self.last = at;
        let full = count == buffer.len() || self.tls.is_some();
        if !full {
            self.seen_empty(since);
        }
        Ok(Got::Bytes {
            count,
            full,
            arrival,
        })
    }

    /// Hands bytes to the kernel; how many it took.
    ///
    /// # Errors
    /// `WouldBlock`: it takes none now. Others: the connection broke.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let written = match &mut self.tls {
                Some(tls) => tls.write(&mut self.stream, bytes),
                None => self.stream.write(bytes),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Hands over what TLS still holds back; whether nothing is left.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(tls) => tls.flush(&mut self.stream),
            None => Ok(true),
        }
    }

    /// The poll shall not tell about it any more. Dropping closes it.
    pub(super) fn forget(&mut self, registry: &Registry) {
        // A socket that is closed next: nothing depends on how this went.
        drop(registry.deregister(&mut self.stream));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as StdStream};

    use mio::{Events, Poll};

    use super::*;

    struct Pair {
        poll: Poll,
        near: Socket,
        far: StdStream,
        stamper: Stamper,
        clock: Clock,
        buffer: Vec<u8>,
    }

    impl Pair {
        fn new() -> Self {
            let clock = Clock::start();
            let mut poll = Poll::new().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let near = Socket::connect(address, None, poll.registry(), Token(0)).unwrap();
            let far = listener.accept().unwrap().0;
            far.set_nodelay(true).unwrap();
            let mut events = Events::with_capacity(4);
            while !near.connected().unwrap() {
                poll.poll(&mut events, None).unwrap();
            }
            Self {
                poll,
                near,
                far,
                stamper: Stamper::new(clock),
                clock,
                buffer: vec![0; 64],
            }
        }

        /// Waits until bytes are there, as a loop would, and reads once.
        fn read(&mut self) -> Got {
            let mut events = Events::with_capacity(4);
            while !events.iter().any(mio::event::Event::is_readable) {
                self.poll.poll(&mut events, None).unwrap();
            }
            self.read_now()
        }

        fn read_now(&mut self) -> Got {
            let since = self.stamper.look(self.clock);
            let read = self
                .near
                .read(&mut self.buffer, &mut self.stamper, self.clock, since);
            read.unwrap()
        }

        fn arrival(got: &Got) -> Arrival {
            match got {
                Got::Bytes { arrival, .. } => *arrival,
                Got::Nothing | Got::End => panic!("{got:?}"),
            }
        }
    }

    #[test]
    fn a_read_says_when_its_bytes_can_have_arrived() {
        let mut pair = Pair::new();
        pair.far.write_all(b"one").unwrap();
        let first = pair.read();
        let first = Pair::arrival(&first);
        // Nothing was known before the first bytes: they can have come since the epoch.
        assert_eq!(first.slack, first.at);
        assert!(first.at <= first.read);

        let seen = pair.clock.now();
        assert!(matches!(pair.read_now(), Got::Nothing));
        pair.far.write_all(b"two").unwrap();
        let between = pair.clock.now();
        pair.far.write_all(b"three").unwrap();
        let mut count = 0;
        let mut second = None;
        while count < 8 {
            if let Got::Bytes {
                count: brought,
                arrival,
                ..
            } = pair.read()
            {
                count += brought;
                second.get_or_insert(arrival);
                if brought == 8 {
                    // Both in one read: the time is that of the later one, the earlier one can
                    // have come any time since the socket was seen empty.
                    assert!(arrival.at >= between);
                    assert!(arrival.at.checked_sub(arrival.slack).unwrap() >= seen);
                }
            }
        }
        assert!(second.unwrap().at >= seen);
    }

    #[test]
    fn a_full_buffer_means_that_more_may_wait_and_the_end_is_seen() {
        let mut pair = Pair::new();
        pair.far.write_all(&[b'x'; 100]).unwrap();
        pair.far.shutdown(std::net::Shutdown::Write).unwrap();
        let got = pair.read();
        assert!(
            matches!(
                got,
                Got::Bytes {
                    count: 64,
                    full: true,
                    ..
                }
            ),
            "{got:?}"
        );
        let first = Pair::arrival(&got);
        let got = pair.read_now();
        assert!(
            matches!(
                got,
                Got::Bytes {
                    count: 36,
                    full: false,
                    ..
                }
            ),
            "{got:?}"
        );
        assert!(Pair::arrival(&got).at >= first.at);
        assert!(matches!(pair.read_now(), Got::End));
    }

    #[test]
    fn seeing_it_empty_narrows_what_is_not_known() {
        let mut pair = Pair::new();
        pair.far.write_all(b"one").unwrap();
        let _first = pair.read();
        let seen = pair.clock.now();
        pair.near.seen_empty(seen);
        pair.near.seen_empty(Duration::ZERO);
        pair.far.write_all(b"two").unwrap();
        let arrival = Pair::arrival(&pair.read());
        assert!(arrival.at >= seen);
        assert_eq!(arrival.at.checked_sub(arrival.slack), Some(seen));
    }
}
