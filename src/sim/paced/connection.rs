//! One connection: bytes in, requests, bytes out.

use std::io::{self, IoSlice, Write};

use mio::net::TcpStream;

use super::{
    super::clock::Clock,
    receive::{Received, Receiver},
    request::Prompted,
    truth::PacedRequest,
};

/// A connection and the answer it is sending.
#[derive(Debug)]
pub(super) struct Connection {
    pub stream: TcpStream,
    /// Told apart from an earlier connection in the same place.
    pub generation: u32,
    /// What has come in and is not dealt with.
    pub inbox: Vec<u8>,
    /// The last read.
    pub last: Option<Received>,
    pub answer: Option<Answer>,
    /// What the socket did not take.
    backlog: Vec<u8>,
    /// A write is due and waits for the backlog to leave.
    pub waiting: bool,
    /// To be closed when the backlog has left.
    pub closing: bool,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    pub prompted: Prompted,
    pub total: u32,
    pub writes: u32,
    /// Whether the head has left.
    pub begun: bool,
    pub truth: PacedRequest,
}

impl Answer {
    /// Tokens still to be sent.
    pub(super) const fn left(&self) -> u32 {
        self.total.saturating_sub(self.truth.tokens)
    }
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The client has gone, or the socket failed.
    Gone,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, generation: u32) -> Self {
        Self {
            stream,
            generation,
            inbox: Vec::new(),
            last: None,
            answer: None,
            backlog: Vec::new(),
            waiting: false,
            closing: false,
        }
    }

    /// Reads everything there is into the inbox.
    pub(super) fn read(&mut self, receiver: &mut Receiver, clock: Clock) -> State {
        loop {
            match receiver.read(&mut self.stream, clock) {
                Ok(read) if read.bytes == 0 => return State::Gone,
                Ok(read) => {
                    self.inbox.extend_from_slice(receiver.bytes(read));
                    self.last = Some(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return State::Open,
                Err(_) => return State::Gone,
            }
        }
    }

    /// Whether everything written so far has left.
    pub(super) fn clear(&self) -> bool {
        self.backlog.is_empty()
    }

    /// Hands up to four pieces to the socket in one call, or keeps what it does not take. `true` when
    /// it took all.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn write(&mut self, pieces: &[&[u8]]) -> io::Result<bool> {
        let mut taken = 0;
        if self.backlog.is_empty() {
            taken = self.hand_over(pieces)?;
        }
        for piece in pieces {
            let skipped = taken.min(piece.len());
            taken -= skipped;
            self.backlog.extend(piece.iter().skip(skipped));
        }
        Ok(self.backlog.is_empty())
    }

    fn hand_over(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
        match (filled.next(), filled.next()) {
            // A plain send is a tenth cheaper than one of several pieces, and the usual case.
            (Some(only), None) => retried(|| self.stream.write(only)),
            (Some(_), Some(_)) => {
                let slices = [0, 1, 2, 3]
                    .map(|at| IoSlice::new(pieces.get(at).copied().unwrap_or_default()));
                retried(|| self.stream.write_vectored(&slices))
            }
            (None, _) => Ok(0),
        }
    }

    /// Sends what the socket did not take before. `true` when nothing is left.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        while !self.backlog.is_empty() {
            let taken = retried(|| self.stream.write(&self.backlog))?;
            if taken == 0 {
                return Ok(false);
            }
            self.backlog.drain(..taken);
        }
        Ok(true)
    }
}

/// Bytes taken; 0 when the socket takes none now.
fn retried(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
