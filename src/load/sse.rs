//! Server-sent events: bytes in, events out. Pure and incremental.
//!
//! Follows the event stream format of the WHATWG HTML standard (§9.2.6): lines end in LF, CR or
//! CRLF, a leading byte order mark and comments are skipped, several `data` lines are joined by
//! LF, an event that the end of the stream cuts off is dropped. However the bytes are cut into
//! pieces, the events are the same. Names and data are bytes: whoever reads them decides what
//! bytes that are no UTF-8 mean.
//!
//! Engines send one `data` line per event and one event per write, so that an event mostly lies
//! whole in what a read brought: it is handed out as a slice of that. Only what reads cut is
//! copied.

use memchr::memchr2;

/// Longest event that is kept, in bytes: 4 MiB.
pub(super) const MAX_EVENT_BYTES: usize = 4 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// The `event` field; empty when there was none.
    pub(super) name: &'a [u8],
    /// The `data` fields, joined by LF.
    pub(super) data: &'a [u8],
}

/// A stream that is no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SseError {
    /// A line, or an event's lines together, are longer than the limit.
    #[error("an event of the stream is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

/// An incremental decoder. Holds at most one event's bytes.
#[derive(Debug)]
pub(super) struct Decoder {
    /// The line so far, when a piece ended inside it.
    held: Vec<u8>,
    /// Whether the last byte was a CR, so that an LF now belongs to it.
    after_cr: bool,
    /// Whether no line has ended yet: only there a byte order mark is skipped.
    at_start: bool,
    /// The event's name so far.
    name: Vec<u8>,
    /// The event's data so far.
    data: Vec<u8>,
    progress: Progress,
    limit: usize,
    failed: bool,
}

/// How far the event is whose lines were put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// There was no `data` line yet: an event without one is none.
    Empty,
    /// There was a `data` line.
    Data,
    /// Name and data were handed out and are to be forgotten.
    Spent,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_EVENT_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses lines and events longer than `limit` bytes.
    pub(super) const fn with_limit(limit: usize) -> Self {
        Self {
            held: Vec::new(),
            after_cr: false,
            at_start: true,
            name: Vec::new(),
            data: Vec::new(),
            progress: Progress::Empty,
            limit,
            failed: false,
        }
    }

    /// Makes ready for another stream; the allocations stay.
    pub(super) fn reset(&mut self) {
        self.held.clear();
        self.after_cr = false;
        self.at_start = true;
        self.forget();
        self.failed = false;
    }

    /// Takes bytes off the front of `rest` up to the end of the next event, or all when they
    /// complete none.
    ///
    /// # Errors
    /// [`SseError::TooLong`]; so does every later call.
    pub(super) fn next<'s, 'a: 's>(
        &'s mut self,
        rest: &mut &'a [u8],
    ) -> Result<Option<Event<'s>>, SseError> {
        if self.progress == Progress::Spent {
            self.forget();
        }
        if self.after_cr && !rest.is_empty() {
            *rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            self.after_cr = false;
        }
        if self.held.is_empty()
            && self.progress == Progress::Empty
            && self.name.is_empty()
            && !self.failed
            && let Some((data, after)) = whole_event(rest, self.limit)
        {
            self.at_start = false;
            *rest = after;
            return Ok(Some(Event { name: b"", data }));
        }
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (line, tail) = rest.split_at(end);
            self.check(line.len())?;
            *rest = match tail {
                [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                [] => &[],
            };
            self.after_cr = tail == b"\r";
            if self.end_line(line) {
                self.progress = Progress::Spent;
                return Ok(Some(Event {
                    name: &self.name,
                    data: &self.data,
                }));
            }
        }
        self.check(rest.len())?;
        self.held.extend_from_slice(rest);
        *rest = &[];
        Ok(None)
    }

    fn forget(&mut self) {
        self.name.clear();
        self.data.clear();
        self.progress = Progress::Empty;
    }

    /// Whether `more` bytes of a line still fit.
    fn check(&mut self, more: usize) -> Result<(), SseError> {
        self.failed |= self.held.len() + more + self.data.len() > self.limit;
        if self.failed {
            return Err(SseError::TooLong { limit: self.limit });
        }
        Ok(())
    }

    /// Ends the line whose last bytes are `line`; whether it completes an event.
    fn end_line(&mut self, line: &[u8]) -> bool {
        if self.held.is_empty() {
            return self.whole_line(line);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(line);
        let completes = self.whole_line(&held);
        // The allocation serves the next line.
        held.clear();
        self.held = held;
        completes
    }

    fn whole_line(&mut self, mut line: &[u8]) -> bool {
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            let completes = self.progress == Progress::Data;
            if !completes {
                self.name.clear();
            }
            return completes;
        }
        self.field(line);
        false
    }

    /// A line that starts with a colon has an empty field name: a comment, ignored like every
    /// unknown field.
    fn field(&mut self, line: &[u8]) {
        let end = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(end);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.progress == Progress::Data {
                    self.data.push(b'\n');
                }
                self.progress = Progress::Data;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            _ => {}
        }
    }
}

/// The data of an event that is one `data` line at the front of `bytes`, and what follows it.
fn whole_event(bytes: &[u8], limit: usize) -> Option<(&[u8], &[u8])> {
    let field = bytes.strip_prefix(b"data:")?;
    let end = memchr2(b'\n', b'\r', field)?;
    if b"data:".len() + end > limit {
        return None;
    }
    let (value, tail) = field.split_at(end);
    let ([b'\n', b'\n', after @ ..] | [b'\r', b'\n', b'\r', b'\n', after @ ..]) = tail else {
        return None;
    };
    Some((value.strip_prefix(b" ").unwrap_or(value), after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name and data.
    type Owned = (String, String);

    fn owned(event: Event<'_>) -> Owned {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(event.name), text(event.data))
    }

    fn decode(pieces: &[&[u8]], limit: usize) -> (Vec<Owned>, Result<(), SseError>) {
        let mut decoder = Decoder::with_limit(limit);
        let mut events = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                match decoder.next(&mut rest) {
                    Ok(Some(event)) => events.push(owned(event)),
                    Ok(None) => break,
                    Err(error) => return (events, Err(error)),
                }
            }
            assert!(rest.is_empty());
        }
        (events, Ok(()))
    }

    fn data(bytes: &[u8]) -> Vec<String> {
        let (events, end) = decode(&[bytes], MAX_EVENT_BYTES);
        assert_eq!(end, Ok(()));
        events.into_iter().map(|(_, data)| data).collect()
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for stream in [
            "data: a\n\ndata: b\n\n",
            "data: a\r\n\r\ndata: b\r\n\r\n",
            "data: a\r\rdata: b\r\r",
            "data: a\r\n\ndata: b\n\r\n",
        ] {
            assert_eq!(data(stream.as_bytes()), ["a", "b"], "{stream:?}");
        }
    }

    #[test]
    fn an_event_does_not_wait_for_the_second_half_of_a_line_end() {
        let (events, _) = decode(&[b"data: a\r\n\r"], 100);
        assert_eq!(events.len(), 1);
        let (events, _) = decode(&[b"data: a\r\n\r", b"\ndata: b\n\n"], 100);
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn the_standards_own_examples() {
        // WHATWG HTML §9.2.6, the three examples behind the parsing rules.
        assert_eq!(
            data(b"data: YHOO\ndata: +2\ndata: 10\n\n"),
            ["YHOO\n+2\n10"]
        );
        assert_eq!(
            data(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
            ["first event", "second event", " third event"]
        );
        assert_eq!(data(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
    }

    #[test]
    fn marks_comments_names_and_cut_off_events() {
        assert_eq!(data(b"\xef\xbb\xbfdata: a\n\n"), ["a"]);
        assert_eq!(data(b": ping\n\n: ping\ndata: a\n\n"), ["a"]);
        assert_eq!(data(b"data: a\n\ndata: cut"), ["a"]);
        assert_eq!(data(b"data: a\n\ndata: cut\n"), ["a"]);
        let (events, _) = decode(&[b"event: error\ndata: {}\n\ndata: x\n\n"], 100);
        assert_eq!((events[0].0.as_str(), events[1].0.as_str()), ("error", ""));
    }

    #[test]
    fn a_letter_cut_in_two_is_whole_again() {
        let (events, _) = decode(&[b"data: caf\xc3", b"\xa9\n\n"], 100);
        assert_eq!(events[0].1, "café");
    }

    #[test]
    fn long_lines_and_long_events_are_refused_and_earlier_events_kept() {
        let long = format!("data: a\n\ndata: {}\n\n", "x".repeat(40));
        let (events, end) = decode(&[long.as_bytes()], 32);
        assert_eq!(
            (events.len(), end),
            (1, Err(SseError::TooLong { limit: 32 }))
        );
        let many = "data: 12345678\n".repeat(5);
        let (events, end) = decode(&[many.as_bytes(), b"\n"], 32);
        assert_eq!(
            (events.len(), end),
            (0, Err(SseError::TooLong { limit: 32 }))
        );
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            stream in "(data: ?[a-zé\u{1f600}]{0,6}|event: x|: c|id: 1|[a-z]{0,4}|\u{feff}|\n|\r|\r\n){0,40}",
            cuts in prop::collection::vec(0_usize..400, 0..12),
            limit in prop_oneof![Just(24_usize), Just(MAX_EVENT_BYTES)],
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&pieces, limit), decode(&[bytes], limit));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let (events, end) = decode(&[&bytes], 64);
            prop_assert!(end.is_err() || events.iter().all(|(_, data)| data.len() <= 64 * 3));
        }
    }
}
