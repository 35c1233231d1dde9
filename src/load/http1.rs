//! Where an HTTP/1.1 answer's head, body and end are. Pure and incremental.
//!
//! Follows RFC 9112: interim answers are skipped, a body is chunked (§7.1), counted, or goes on
//! until the connection closes (§6.3). Bare line feeds end lines too (§2.2). Body bytes are handed out as slices of the input;
//! only lines that reads cut in two are kept. However the bytes are cut, the parts together are
//! the same.

use memchr::memchr;

use super::head::{self, Framing, Head, HeadError};

/// Longest head, and longest trailer section, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// Longest chunk-size line in bytes: extensions are ignored, but not without end.
const MAX_SIZE_LINE: usize = 4 * 1024;
/// What every answer starts with.
const MAGIC: &[u8] = b"HTTP/1.";

/// Bytes that are no HTTP/1.1 answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HttpError {
    #[error("the answer is not HTTP/1.x")]
    NotHttp,
    #[error("the answer's head is longer than {} KiB", MAX_HEAD / 1024)]
    LongHead,
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("a chunk's size is malformed: {0:?}")]
    Size(String),
    #[error("a chunk is longer than its size says")]
    ChunkEnd,
    #[error("the answer's trailers are longer than {} KiB", MAX_HEAD / 1024)]
    LongTrailers,
}

/// The next thing in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// An interim answer was passed over; another head follows.
    Interim,
    Head(Head),
    /// Bytes of the body; never empty.
    Body(&'a [u8]),
    /// The message is over; what is left of the input is not part of it.
    End,
    /// All of the input is used up.
    More,
}

/// One answer on its way in.
#[derive(Debug, Default)]
pub(super) struct Message {
    state: State,
    /// The head or line so far, when a read ended inside it.
    held: Vec<u8>,
    /// Bytes of blank lines before the head, or of trailers.
    passed: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// At a chunk's size line.
    Size,
    /// Inside a chunk, with so many bytes to come; at 0 its line end.
    Chunk(u64),
    Trailers,
    /// Inside a body of known length.
    Counted(u64),
    UntilClose,
    End,
}

impl Message {
    /// Makes ready for the next answer.
    pub(super) fn reset(&mut self) {
        self.state = State::Head;
        self.held.clear();
        self.passed = 0;
    }

    /// Whether no byte of a head has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.state == State::Head && self.held.is_empty()
    }

    /// Whether the close of the connection is the regular end.
    pub(super) fn ends_with_close(&self) -> bool {
        matches!(self.state, State::UntilClose | State::End)
    }

    /// Whether the message tells where it ends, so that another can follow.
    pub(super) fn is_delimited(&self) -> bool {
        self.state != State::UntilClose
    }

    /// Takes the next part off the front of `rest`.
    ///
    /// # Errors
    /// The bytes are no answer; nothing that follows can be understood.
    pub(super) fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Part<'a>, HttpError> {
        loop {
            if self.state == State::Counted(0) {
                self.state = State::End;
            }
            if self.state == State::End {
                return Ok(Part::End);
            }
            if rest.is_empty() {
                return Ok(Part::More);
            }
            match self.state {
                State::Head => return self.head(rest),
                State::Size => self.size(rest)?,
                State::Chunk(0) => self.chunk_end(rest)?,
                State::Chunk(left) => {
                    let (piece, left) = take(rest, left);
                    self.state = State::Chunk(left);
                    return Ok(Part::Body(piece));
                }
                State::Trailers => self.trailer(rest)?,
                State::Counted(left) => {
                    let (piece, left) = take(rest, left);
                    self.state = State::Counted(left);
                    return Ok(Part::Body(piece));
                }
                State::UntilClose => return Ok(Part::Body(std::mem::take(rest))),
                State::End => return Ok(Part::End),
            }
        }
    }

    fn head<'a>(&mut self, rest: &mut &'a [u8]) -> Result<Part<'a>, HttpError> {
        if self.held.is_empty() {
            // RFC 9112 §2.2: blank lines before a head are passed over.
            let blank = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
            let blank = blank.count();
            self.passed += blank;
            *rest = rest.get(blank..).unwrap_or_default();
            if self.passed > MAX_HEAD {
                return Err(HttpError::LongHead);
            }
        }
        let known = self.held.len();
        let end = if known == 0 {
            check_start(rest)?;
            head_end(rest, 0)
        } else {
            let room = (MAX_HEAD + 1).saturating_sub(known).min(rest.len());
            self.held
                .extend_from_slice(rest.get(..room).unwrap_or_default());
            check_start(&self.held)?;
            head_end(&self.held, known)
        };
        let Some(end) = end.filter(|end| *end <= MAX_HEAD) else {
            if known == 0 && rest.len() <= MAX_HEAD {
                self.held.extend_from_slice(rest);
            }
            if known + rest.len() > MAX_HEAD {
                return Err(HttpError::LongHead);
            }
            *rest = &[];
            return Ok(Part::More);
        };
        let (head, after) = rest.split_at(end.saturating_sub(known).min(rest.len()));
        let head = if known == 0 {
            head
        } else {
            self.held.get(..end).unwrap_or_default()
        };
        let (head, framing) = head::parse(head)?;
        *rest = after;
        self.held.clear();
        self.passed = 0;
        if head.status < 200 {
            return Ok(Part::Interim);
        }
        self.state = match framing {
            Framing::Counted(length) => State::Counted(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Ok(Part::Head(head))
    }

    fn size(&mut self, rest: &mut &[u8]) -> Result<(), HttpError> {
        let wrong = |line: &[u8]| {
            let shown = line.get(..line.len().min(32)).unwrap_or_default();
            HttpError::Size(String::from_utf8_lossy(shown).into_owned())
        };
        let Some(size) = self.line(rest, MAX_SIZE_LINE, |line| {
            chunk_size(line).ok_or_else(|| wrong(line))
        }) else {
            return if self.held.len() > MAX_SIZE_LINE {
                Err(wrong(&self.held))
            } else {
                Ok(())
            };
        };
        self.state = match size? {
            0 => State::Trailers,
            size => State::Chunk(size),
        };
        Ok(())
    }

    fn chunk_end(&mut self, rest: &mut &[u8]) -> Result<(), HttpError> {
        let after = if self.held.is_empty() {
            match *rest {
                [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.held.push(b'\r');
                    *rest = &[];
                    return Ok(());
                }
                _ => return Err(HttpError::ChunkEnd),
            }
        } else {
            rest.strip_prefix(b"\n").ok_or(HttpError::ChunkEnd)?
        };
        self.held.clear();
        self.state = State::Size;
        *rest = after;
        Ok(())
    }

    fn trailer(&mut self, rest: &mut &[u8]) -> Result<(), HttpError> {
        let line = self.line(rest, MAX_HEAD, <[u8]>::len);
        self.passed += line.map_or(0, |length| length + 2);
        if self.held.len() + self.passed > MAX_HEAD {
            return Err(HttpError::LongTrailers);
        }
        if line == Some(0) {
            self.state = State::End;
        }
        Ok(())
    }

    /// Takes a line off `rest`, or keeps what there is of it. A line longer than `limit` is
    /// kept only in part, and never ends.
    fn line<T>(
        &mut self,
        rest: &mut &[u8],
        limit: usize,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let end = memchr(b'\n', rest).filter(|end| self.held.len() + end <= limit);
        let Some(end) = end else {
            let room = (limit + 1).saturating_sub(self.held.len()).min(rest.len());
            self.held
                .extend_from_slice(rest.get(..room).unwrap_or_default());
            *rest = &[];
            return None;
        };
        let (line, after) = rest.split_at(end);
        *rest = after.get(1..).unwrap_or_default();
        if self.held.is_empty() {
            return Some(read(without_cr(line)));
        }
        self.held.extend_from_slice(line);
        let value = read(without_cr(&self.held));
        self.held.clear();
        Some(value)
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Takes up to `left` bytes off `rest`; also returns how many are still to come.
fn take<'a>(rest: &mut &'a [u8], left: u64) -> (&'a [u8], u64) {
    let whole: &'a [u8] = rest;
    let length = usize::try_from(left).map_or(whole.len(), |left| left.min(whole.len()));
    let (piece, after) = whole.split_at(length);
    *rest = after;
    (piece, left.saturating_sub(length as u64))
}

/// Another protocol is seen in its first bytes, before its end is waited for in vain.
fn check_start(head: &[u8]) -> Result<(), HttpError> {
    let same = head.iter().zip(MAGIC).all(|(byte, magic)| byte == magic);
    if same {
        Ok(())
    } else {
        Err(HttpError::NotHttp)
    }
}

/// Where the head in `bytes` ends, behind its empty line; the first `known` bytes hold none.
fn head_end(bytes: &[u8], known: usize) -> Option<usize> {
    let mut from = known;
    loop {
        let at = from + memchr(b'\n', bytes.get(from..)?)?;
        let line = without_cr(bytes.get(..at)?);
        if line.is_empty() || line.ends_with(b"\n") {
            return Some(at + 1);
        }
        from = at + 1;
    }
}

/// The digits of a size line; extensions behind `;` are passed over.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = match memchr(b';', line) {
        Some(end) => line.get(..end)?,
        None => line,
    };
    let digits = digits.trim_ascii();
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |size, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        size.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

    /// Status, body, whether the end was seen, and what stood behind it.
    type Read = (Option<u16>, Vec<u8>, bool, Vec<u8>);

    fn read(pieces: &[&[u8]]) -> Result<Read, HttpError> {
        let mut message = Message::default();
        let (mut status, mut body, mut ended, mut behind) = (None, Vec::new(), false, Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match message.next(&mut rest)? {
                    Part::More => break,
                    Part::Interim => {}
                    Part::Head(head) => status = Some(head.status),
                    Part::Body(bytes) => {
                        assert!(!bytes.is_empty());
                        body.extend_from_slice(bytes);
                    }
                    Part::End => {
                        ended = true;
                        behind.extend_from_slice(rest);
                        break;
                    }
                }
            }
        }
        Ok((status, body, ended, behind))
    }

    #[test]
    fn sizes_are_hexadecimal_and_bounded() {
        for (line, size) in [
            ("0", Some(0)),
            ("1f", Some(31)),
            ("1F ;x", Some(31)),
            ("0000000000000000000000a", Some(10)),
            ("ffffffffffffffff", Some(u64::MAX)),
            ("10000000000000000", None),
            ("", None),
            (";x", None),
            ("0x1", None),
            ("+1", None),
            ("1 2", None),
        ] {
            assert_eq!(chunk_size(line.as_bytes()), size, "{line:?}");
        }
    }

    #[test]
    fn a_body_ends_where_its_head_says_and_the_rest_is_not_part_of_it() {
        let chunked = format!("{CHUNKED}3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\nmore");
        let expected = (Some(200), b"abcde".to_vec(), true, b"more".to_vec());
        assert_eq!(read(&[chunked.as_bytes()]), Ok(expected.clone()));
        let counted = "\r\nHTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nabcdemore";
        assert_eq!(read(&[counted.as_bytes()]), Ok(expected));
        let none = "HTTP/1.1 204 x\r\n\r\nmore";
        assert_eq!(
            read(&[none.as_bytes()]),
            Ok((Some(204), Vec::new(), true, b"more".to_vec()))
        );
        let open = "HTTP/1.1 200 OK\r\n\r\nmore";
        assert_eq!(
            read(&[open.as_bytes()]),
            Ok((Some(200), b"more".to_vec(), false, Vec::new()))
        );
    }

    #[test]
    fn the_limits_are_exact_however_the_bytes_are_cut() {
        let frame = "HTTP/1.1 200 OK\r\nx: \r\n\r\n".len();
        for (length, fits) in [(MAX_HEAD, true), (MAX_HEAD + 1, false)] {
            let head = format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
                "y".repeat(length - frame)
            );
            assert_eq!(head.len(), length);
            for size in [head.len(), 1_000, 7] {
                let pieces: Vec<&[u8]> = head.as_bytes().chunks(size).collect();
                assert_eq!(read(&pieces).is_ok(), fits, "{length} by {size}");
            }
        }
        let blank = "\r\n".repeat(MAX_HEAD);
        assert_eq!(read(&[blank.as_bytes()]), Err(HttpError::LongHead));
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere_are_read_the_same(
            head in prop_oneof![Just(CHUNKED), Just(""), Just("HTTP/1.1 200 OK\ncontent-length: 9\n\n")],
            tail in r"([0-9a-f]{0,2}(;x)?|[a-z]{1,9}|\r\n|\n|\r|HTTP/1.1 |200|: ){0,24}",
            cuts in prop::collection::vec(0_usize..200, 0..8),
        ) {
            let text = format!("{head}{tail}");
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[bytes]));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(read(&single), read(&[bytes]));
        }
    }
}
