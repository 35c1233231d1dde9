//! The state of one answer: bytes with their arrival in, one trace's content out. Pure.
//!
//! In: body bytes, each piece with the time and number of the read it came in. Out: the chunks
//! and exactly one [`Outcome`] (design §5.9).

use std::time::Duration;

use super::{
    ChunkArrival, Outcome, Usage,
    event::{self, Payload},
    shape::Shape,
    sse::{Decoder, Event},
};

/// Longest error text that is kept, in characters.
pub(super) const MAX_ERROR_CHARS: usize = 300;

/// How the exchange with the server stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The HTTP message came to its regular end.
    Complete,
    /// The connection broke inside the answer's body.
    Broken(String),
    /// The stream said something that makes the rest worthless; we stopped reading.
    Stopped,
    /// Nothing usable came back: no connection, no answer, another status than 200.
    Refused(String),
    /// The request's time was up.
    TimedOut(Duration),
    /// We were told to stop.
    Cancelled,
}

/// One read of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    /// When its last byte arrived.
    pub(super) at: Duration,
    /// The socket was last seen empty this long before `at`.
    pub(super) slack: Duration,
}

/// An answer's event stream as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Stream {
    decoder: Decoder,
    shape: Shape,
    record: Record,
}

/// What the events said.
#[derive(Debug, Default)]
struct Record {
    chunks: Vec<ChunkArrival>,
    usage: Option<Usage>,
    finish_reason: Option<String>,
    /// Whether `[DONE]` was seen.
    done: bool,
    error: Option<String>,
    /// Number of the read that brought the latest chunk.
    last_read: Option<u64>,
}

/// An answer, judged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) chunks: Vec<ChunkArrival>,
    pub(super) outcome: Outcome,
    pub(super) usage: Option<Usage>,
    pub(super) finish_reason: Option<String>,
    pub(super) error: Option<String>,
    /// The answer's HTTP status; `None` when there was no answer.
    pub(super) status: Option<u16>,
    /// What the server said about when to come again: seconds, or a date.
    pub(super) retry_after: Option<String>,
}

impl Stream {
    /// Makes ready for another answer; the decoder's allocations stay.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        self.shape.reset();
        self.record = Record::default();
    }

    /// Takes a piece of the body that came in `read`, the connection's read of that `number`.
    ///
    /// An event has the time of the read that completed it. When more of the stream followed it
    /// in the same read, it can have arrived any time since the socket was last empty.
    pub(super) fn feed(&mut self, bytes: &[u8], read: Read, number: u64) {
        let mut rest = bytes;
        while !self.is_settled() {
            if self.record.last_read == Some(number) && !rest.trim_ascii_start().is_empty() {
                self.record.loosen(read.slack);
            }
            match self.decoder.next(&mut rest) {
                Ok(Some(event)) => self.record.take(&event, &mut self.shape, read.at, number),
                Ok(None) => return,
                Err(error) => self.record.reject(&error.to_string()),
            }
        }
    }

    /// Notes an error: the answer is worthless.
    pub(super) fn reject(&mut self, why: &str) {
        self.record.reject(why);
    }

    /// Whether an error was met: what follows does not matter.
    pub(super) const fn failed(&self) -> bool {
        self.record.error.is_some()
    }

    /// Whether the server said that nothing follows.
    pub(super) const fn done(&self) -> bool {
        self.record.done
    }

    const fn is_settled(&self) -> bool {
        self.done() || self.failed()
    }

    /// Judges the answer.
    ///
    /// It is complete when `[DONE]` was seen, or a finish reason and then the regular end of the
    /// HTTP message. `[DONE]` is a habit that not every server has; the end of the
    /// message alone proves nothing, because a proxy in front of a crashed engine sends it too.
    pub(super) fn conclude(&mut self, end: End) -> Answer {
        let record = std::mem::take(&mut self.record);
        let has_output = record.chunks.iter().any(|chunk| chunk.kind.is_output());
        let finished = record.done || (record.finish_reason.is_some() && end == End::Complete);
        let (outcome, error) = match end {
            _ if record.error.is_some() => (Outcome::StreamError, record.error),
            End::Complete | End::Broken(_) | End::Stopped | End::TimedOut(_) | End::Cancelled
                if finished =>
            {
                if has_output {
                    (Outcome::Ok, None)
                } else {
                    let why = "the answer is complete and holds no output";
                    (Outcome::Empty, Some(why.to_owned()))
                }
            }
            End::Complete | End::Stopped => {
                let why = "the stream ended without a finish reason or [DONE]";
                (Outcome::Truncated, Some(why.to_owned()))
            }
            End::Broken(why) => (Outcome::Truncated, Some(clip(&why))),
            End::Refused(why) => (Outcome::HttpError, Some(clip(&why))),
            End::TimedOut(limit) => {
                let why = format!("no complete answer within {limit:?}");
                (Outcome::Timeout, Some(why))
            }
            End::Cancelled => (Outcome::Cancelled, None),
        };
        Answer {
            chunks: record.chunks,
            outcome,
            usage: record.usage,
            finish_reason: record.finish_reason,
            error,
            status: None,
            retry_after: None,
        }
    }
}

impl Record {
    fn take(&mut self, event: &Event<'_>, shape: &mut Shape, at: Duration, read: u64) {
        let data = event.data.trim_ascii();
        if event.name == b"error" {
            self.reject(&event::error_text(data));
        } else if data == b"[DONE]" {
            self.done = true;
        } else if !data.is_empty() {
            match shape.parse(data) {
                Ok(payload) => self.note(payload, at, read),
                Err(error) => {
                    let shown = String::from_utf8_lossy(data);
                    self.reject(&format!("an event is no valid JSON ({error}): {shown}"));
                }
            }
        }
    }

    fn note(&mut self, payload: Payload, at: Duration, read: u64) {
        if let Some(error) = payload.error {
            self.reject(&error);
            return;
        }
        self.chunks.push(ChunkArrival {
            coalesced: self.last_read == Some(read),
            tokens: payload.tokens,
            ..ChunkArrival::new(at, payload.kind)
        });
        self.last_read = Some(read);
        self.usage = payload.usage.or(self.usage);
        if payload.finish_reason.is_some() {
            self.finish_reason = payload.finish_reason;
        }
    }

    /// The latest chunk was not the last thing its read brought.
    fn loosen(&mut self, slack: Duration) {
        if let Some(chunk) = self.chunks.last_mut() {
            let micros = slack.as_nanos().div_ceil(1000);
            chunk.slack_us = u32::try_from(micros).unwrap_or(u32::MAX);
        }
    }

    fn reject(&mut self, why: &str) {
        self.error = Some(clip(why));
    }
}

/// A text from outside, cut to [`MAX_ERROR_CHARS`] and without control characters.
pub(super) fn clip(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(MAX_ERROR_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::ChunkKind;

    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    const WORD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n";
    const USAGE: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}\n\n";
    const DONE: &str = "data: [DONE]\n\n";

    fn fed(pieces: &[&str]) -> Stream {
        let mut stream = Stream::default();
        for (read, piece) in (1_u64..).zip(pieces) {
            let of = Read {
                at: Duration::from_millis(read),
                slack: Duration::from_micros(700),
            };
            stream.feed(piece.as_bytes(), of, read);
        }
        stream
    }

    fn outcome(pieces: &[&str], end: End) -> Outcome {
        fed(pieces).conclude(end).outcome
    }

    fn broken() -> End {
        End::Broken("reset".to_owned())
    }

    #[test]
    fn a_full_stream_is_ok_with_its_times() {
        let answer = fed(&[ROLE, WORD, WORD, STOP, USAGE, DONE]).conclude(End::Complete);
        assert_eq!(answer.outcome, Outcome::Ok);
        assert_eq!(answer.usage.unwrap().completion_tokens, 9);
        assert_eq!(answer.finish_reason.as_deref(), Some("length"));
        let kinds: Vec<ChunkKind> = answer.chunks.iter().map(|chunk| chunk.kind).collect();
        let names: Vec<bool> = kinds.iter().map(|kind| kind.is_output()).collect();
        assert_eq!(names, [false, true, true, false, false]);
        assert_eq!(answer.chunks[1].at, Duration::from_millis(2));
        assert!(answer.chunks.iter().all(|chunk| !chunk.coalesced));
    }

    #[test]
    fn done_or_a_finish_reason_with_a_regular_end_completes() {
        assert_eq!(outcome(&[WORD, DONE], End::Complete), Outcome::Ok);
        assert_eq!(outcome(&[WORD, DONE], broken()), Outcome::Ok);
        assert_eq!(outcome(&[WORD, STOP], End::Complete), Outcome::Ok);
        assert_eq!(outcome(&[WORD, STOP], broken()), Outcome::Truncated);
        assert_eq!(outcome(&[WORD], End::Complete), Outcome::Truncated);
        assert_eq!(outcome(&[WORD], broken()), Outcome::Truncated);
        assert_eq!(outcome(&[], End::Complete), Outcome::Truncated);
    }

    #[test]
    fn no_output_is_empty_and_a_role_is_no_output() {
        assert_eq!(outcome(&[ROLE, STOP, DONE], End::Complete), Outcome::Empty);
        assert_eq!(outcome(&[DONE], End::Complete), Outcome::Empty);
        assert_eq!(outcome(&[ROLE], broken()), Outcome::Truncated);
    }

    #[test]
    fn an_error_in_the_stream_beats_everything_after_it() {
        let error = "data: {\"error\":{\"message\":\"out of\\nmemory\"}}\n\n";
        let answer = fed(&[WORD, error, WORD, DONE]).conclude(End::Complete);
        assert_eq!(answer.outcome, Outcome::StreamError);
        assert_eq!(answer.error.as_deref(), Some("out of memory"));
        assert_eq!(answer.chunks.len(), 1);
        let named = "event: error\ndata: {\"code\":3}\n\n";
        assert_eq!(outcome(&[WORD, named], End::Stopped), Outcome::StreamError);
        assert_eq!(
            outcome(&["data: {oops\n\n"], End::Stopped),
            Outcome::StreamError
        );
    }

    #[test]
    fn an_error_text_is_short_and_plain() {
        let answer =
            fed(&[&format!("data: {{{}\n\n", "\u{1b}x".repeat(500))]).conclude(End::Stopped);
        let error = answer.error.unwrap();
        assert_eq!(error.chars().count(), MAX_ERROR_CHARS);
        assert!(!error.contains('\u{1b}'));
    }

    #[test]
    fn pings_and_blank_data_are_nothing() {
        let answer = fed(&[": ping\n\n", "data:\n\n", WORD, DONE]).conclude(End::Complete);
        assert_eq!((answer.outcome, answer.chunks.len()), (Outcome::Ok, 1));
        assert!(!answer.chunks[0].coalesced);
    }

    #[test]
    fn events_of_one_read_are_flagged_from_the_second_on() {
        let answer = fed(&[&[WORD, WORD, WORD].concat(), WORD, DONE]).conclude(End::Complete);
        let flags: Vec<bool> = answer.chunks.iter().map(|chunk| chunk.coalesced).collect();
        assert_eq!(flags, [false, true, true, false]);
    }

    #[test]
    fn an_event_cut_in_two_has_the_time_of_its_end() {
        let (first, second) = WORD.split_at(20);
        let answer = fed(&[first, &[second, DONE].concat()]).conclude(End::Complete);
        assert_eq!(answer.chunks[0].at, Duration::from_millis(2));
        assert!(!answer.chunks[0].coalesced);
    }

    #[test]
    fn ends_of_our_making_keep_their_name_unless_the_answer_was_complete() {
        let limit = End::TimedOut(Duration::from_secs(1));
        assert_eq!(outcome(&[WORD], limit.clone()), Outcome::Timeout);
        assert_eq!(outcome(&[WORD], End::Cancelled), Outcome::Cancelled);
        assert_eq!(outcome(&[WORD, DONE], limit), Outcome::Ok);
        let refused = End::Refused("HTTP 503".to_owned());
        assert_eq!(outcome(&[], refused), Outcome::HttpError);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_answer(
            order in prop::collection::vec(0_usize..7, 0..12),
            cuts in prop::collection::vec(0_usize..900, 0..10),
        ) {
            let parts = [ROLE, WORD, STOP, USAGE, ": ping\r\n\r\n", "data: {bad\n\n", DONE];
            let text: String = order.iter().map(|part| parts[*part]).collect();
            let whole = fed(&[&text]).conclude(End::Complete);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).filter_map(|pair| text.get(pair[0]..pair[1])).collect();
            let pieced = fed(&pieces).conclude(End::Complete);
            prop_assert_eq!(pieced.outcome, whole.outcome);
            prop_assert_eq!(pieced.usage, whole.usage);
            let kinds = |answer: &Answer| answer.chunks.iter().map(|chunk| chunk.kind).collect::<Vec<_>>();
            prop_assert_eq!(kinds(&pieced), kinds(&whole));
        }
    }
}
