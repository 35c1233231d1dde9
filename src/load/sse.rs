//! Server-sent events: bytes in, events out. Pure and incremental.
//!
//! Follows the event stream format of the WHATWG HTML standard (§9.2.6): lines end in LF, CR or
//! CRLF, a leading byte order mark and comments are skipped, several `data` lines are joined by
//! LF, an event that the end of the stream cuts off is dropped. However the bytes are cut into
//! pieces, the events are the same.

/// Longest event that is kept, in bytes: 1 MiB.
pub const MAX_EVENT_BYTES: usize = 1 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The `event` field; empty when there was none.
    pub event: String,
    /// The `data` fields, joined by LF.
    pub data: String,
}

/// A stream that is no event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line, or an event's lines together, are longer than the limit.
    #[error("an event of the stream is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
}

/// An incremental decoder. Holds at most one event's bytes.
#[derive(Debug)]
pub struct Decoder {
    /// The line so far, without its end.
    line: Vec<u8>,
    /// Whether the last byte was a CR, so that an LF now belongs to it.
    after_cr: bool,
    /// Whether no line has ended yet: only there a byte order mark is skipped.
    at_start: bool,
    /// The event's name so far.
    name: String,
    /// The event's data so far; `None` before its first `data` line.
    data: Option<String>,
    limit: usize,
    failed: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_EVENT_BYTES)
    }
}

impl Decoder {
    /// A decoder that refuses lines and events longer than `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            name: String::new(),
            data: None,
            limit,
            failed: false,
        }
    }

    /// Takes the next bytes and appends the events they complete to `events`.
    ///
    /// # Errors
    /// [`SseError::TooLong`]; events before the long one are appended all the same, and every
    /// later call fails too.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        if self.failed {
            return Err(self.too_long());
        }
        let mut rest = bytes;
        if self.after_cr && !rest.is_empty() {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            self.after_cr = false;
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at(end);
            self.keep(line)?;
            self.end_line(events);
            rest = match tail {
                [b'\r', b'\n', after @ ..] | [_, after @ ..] => after,
                [] => &[],
            };
            self.after_cr = tail == b"\r";
        }
        self.keep(rest)
    }

    fn too_long(&self) -> SseError {
        SseError::TooLong { limit: self.limit }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        let data = self.data.as_ref().map_or(0, String::len);
        if self.line.len() + bytes.len() + data > self.limit {
            self.failed = true;
            return Err(self.too_long());
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) {
        let line = std::mem::take(&mut self.line);
        let mut bytes = line.as_slice();
        if std::mem::take(&mut self.at_start) {
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        }
        if bytes.is_empty() {
            self.dispatch(events);
        } else {
            self.field(&String::from_utf8_lossy(bytes));
        }
        // The allocation serves the next line.
        self.line = line;
        self.line.clear();
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let event = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            events.push(SseEvent { event, data });
        }
    }

    /// A line that starts with a colon has an empty field name: a comment, ignored like every
    /// unknown field.
    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => value.clone_into(&mut self.name),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]], limit: usize) -> (Vec<SseEvent>, Result<(), SseError>) {
        let mut decoder = Decoder::with_limit(limit);
        let mut events = Vec::new();
        let mut end = Ok(());
        for piece in pieces {
            end = decoder.push(piece, &mut events);
        }
        (events, end)
    }

    fn data(bytes: &[u8]) -> Vec<String> {
        let (events, end) = decode(&[bytes], MAX_EVENT_BYTES);
        assert_eq!(end, Ok(()));
        events.into_iter().map(|event| event.data).collect()
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
        assert_eq!(
            (events[0].event.as_str(), events[1].event.as_str()),
            ("error", "")
        );
    }

    #[test]
    fn a_letter_cut_in_two_is_whole_again() {
        let (events, _) = decode(&[b"data: caf\xc3", b"\xa9\n\n"], 100);
        assert_eq!(events[0].data, "café");
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
            prop_assert!(end.is_err() || events.iter().all(|event| event.data.len() <= 64 * 3));
        }
    }
}
