//! One HTTP exchange's answer: the bytes of the socket's reads in, one trace's content out. Pure.
//!
//! Puts [`http1`](super::http1) and [`stream`](super::stream) together and decides what an answer
//! is from its head: a stream of events, or a text that says why there is none.

use std::{mem, time::Duration};

use http::StatusCode;

use super::{
    event,
    head::Head,
    http1::{Message, Part},
    stream::{Answer, End, Read, Stream},
};

/// How much of a text is kept, of an error's body for example.
const MAX_TEXT: usize = 64 * 1024;

/// Whether the answer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Feed {
    /// There is more to come.
    More,
    /// It is over.
    Over {
        /// Whether the connection can take another request.
        reusable: bool,
    },
}

/// An answer as far as it has arrived.
#[derive(Debug, Default)]
pub(super) struct Reply {
    message: Message,
    stream: Stream,
    head: Option<Head>,
    content: Content,
    /// The body, where it is text.
    text: Vec<u8>,
    first_byte: Option<Duration>,
    /// How many reads there were; numbers the latest one.
    reads: u64,
    /// How the answer ended, where its own bytes tell.
    end: Option<End>,
}

/// What the body is taken for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Content {
    /// By its head a stream of events. A body that begins like a JSON object is none.
    #[default]
    Unseen,
    Events,
    /// It is kept, to be shown.
    Text,
    /// It is encoded although we asked for it not to be, and cannot be shown.
    Encoded,
}

impl Reply {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Makes ready for the next answer; the allocations stay.
    pub(super) fn reset(&mut self) {
        self.message.reset();
        self.stream.reset();
        self.head = None;
        self.content = Content::Unseen;
        self.text.clear();
        self.first_byte = None;
        self.reads = 0;
        self.end = None;
    }

    /// Takes what one read of the socket brought. A connection that brings more than the answer
    /// is not reusable: a server that talks out of turn is not understood.
    pub(super) fn feed(&mut self, bytes: &[u8], read: Read) -> Feed {
        if self.end.is_some() {
            return Feed::Over { reusable: false };
        }
        self.reads += 1;
        let mut rest = bytes;
        loop {
            if self.message.is_fresh() && !rest.is_empty() {
                self.first_byte = Some(read.at);
            }
            match self.message.next(&mut rest) {
                Ok(Part::More) => return Feed::More,
                Ok(Part::Interim) => {}
                Ok(Part::Head(head)) => self.begin(head),
                Ok(Part::Body(piece)) => self.body(piece, read),
                Ok(Part::End) => return self.complete(rest.is_empty()),
                Err(error) => return self.broken(&error.to_string()),
            }
            if self.is_hopeless() {
                self.end = Some(End::Stopped);
                return Feed::Over { reusable: false };
            }
        }
    }

    /// The server has closed its side. That is the regular end of a body that says nothing else
    /// about its end.
    pub(super) fn eof(&mut self) -> Feed {
        if self.end.is_some() {
            return Feed::Over { reusable: false };
        }
        if self.message.ends_with_close() {
            return self.complete(false);
        }
        let inside = self.head.is_none() && !self.message.is_fresh();
        let place = if inside { " inside the head" } else { "" };
        self.broken(&format!("the server closed the connection{place}"))
    }

    /// When the answer's first byte arrived. An interim answer's is forgotten once the final
    /// one begins.
    pub(super) const fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// The answer's status, once its head has arrived.
    pub(super) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    /// Whether `[DONE]` was seen: the answer is complete, only the end of the message is not
    /// here yet.
    pub(super) const fn done(&self) -> bool {
        self.stream.done()
    }

    /// Judges the answer. `end` is how the exchange stopped as seen from outside; what the
    /// answer's own bytes say about its end goes first.
    pub(super) fn conclude(&mut self, end: End) -> Answer {
        let end = match (self.end.take(), end) {
            (Some(own), _) => own,
            (None, End::Complete) => End::Stopped,
            (None, End::Broken(why)) if self.head.is_none() => End::Refused(why),
            (None, end) => end,
        };
        let refusing = self.head.as_ref().filter(|head| head.status != 200);
        let end = if let Some(head) = refusing {
            End::Refused(self.refusal(head))
        } else {
            self.reject_text();
            end
        };
        let mut answer = self.stream.conclude(end);
        if let Some(head) = self.head.take() {
            answer.status = Some(head.status);
            answer.retry_after = head.retry_after;
        }
        answer
    }

    fn begin(&mut self, head: Head) {
        self.content = if head.encoding.is_some() {
            Content::Encoded
        } else if head.status != 200 || !may_be_stream(head.media_type.as_deref()) {
            Content::Text
        } else {
            Content::Unseen
        };
        self.head = Some(head);
    }

    fn body(&mut self, piece: &[u8], read: Read) {
        if self.content == Content::Unseen {
            self.content = if piece.starts_with(b"{") {
                Content::Text
            } else {
                Content::Events
            };
        }
        match self.content {
            Content::Events => self.stream.feed(piece, read, self.reads),
            Content::Text => {
                let room = (MAX_TEXT + 1).saturating_sub(self.text.len());
                let kept = piece.get(..room.min(piece.len())).unwrap_or_default();
                self.text.extend_from_slice(kept);
            }
            Content::Unseen | Content::Encoded => {}
        }
    }

    /// Whether what follows cannot change the judgement, so that it is not waited for.
    fn is_hopeless(&self) -> bool {
        self.stream.failed()
            || self.text.len() > MAX_TEXT
            || (self.content == Content::Encoded && self.status() == Some(200))
    }

    fn complete(&mut self, alone: bool) -> Feed {
        self.end = Some(End::Complete);
        let keep_alive = self.head.as_ref().is_some_and(|head| head.keep_alive);
        Feed::Over {
            reusable: alone && keep_alive && self.message.is_delimited(),
        }
    }

    fn broken(&mut self, why: &str) -> Feed {
        self.end = Some(match self.head {
            Some(_) => End::Broken(format!("the connection broke off: {why}")),
            None => End::Refused(format!("no answer: {why}")),
        });
        Feed::Over { reusable: false }
    }

    /// What to say about a status other than 200.
    fn refusal(&self, head: &Head) -> String {
        let known = StatusCode::from_u16(head.status).ok();
        let reason = known.and_then(|status| status.canonical_reason());
        let reason = reason.unwrap_or(&head.reason);
        let mut text = format!("HTTP {} {reason}", head.status);
        if let Some(when) = &head.retry_after {
            text = format!("{text} (Retry-After: {when})");
        }
        match &head.encoding {
            Some(encoding) => format!("{text}: its body is encoded as {encoding}"),
            None if self.text.trim_ascii().is_empty() => text,
            None => format!("{text}: {}", String::from_utf8_lossy(&self.text)),
        }
    }

    /// An answer that is no stream of events says why in its text.
    fn reject_text(&mut self) {
        let Some(head) = &self.head else { return };
        match (self.content, &head.encoding) {
            (Content::Encoded, Some(encoding)) => self.stream.reject(&format!(
                "the answer has Content-Encoding {encoding} although identity was asked for"
            )),
            (Content::Text, _) => {
                let text = mem::take(&mut self.text);
                let said = event::error_text(text.trim_ascii());
                self.stream
                    .reject(&format!("the answer is no event stream: {said}"));
                self.text = text;
            }
            (Content::Unseen | Content::Events | Content::Encoded, _) => {}
        }
    }
}

/// Servers that forget the media type of their stream, or give one that says nothing, are
/// believed; one that says it is something else is too.
fn may_be_stream(media_type: Option<&str>) -> bool {
    matches!(
        media_type,
        None | Some("text/event-stream" | "text/plain" | "application/octet-stream")
    )
}

/// Plays an answer, cut into reads, `times` times and returns how many events with JSON it had
/// in all. For benchmarks: what a driver does with an answer, without sockets.
#[doc(hidden)]
pub fn replay(times: u32, reads: &[Vec<u8>]) -> u64 {
    let mut reply = Reply::new();
    let read = Read {
        at: Duration::ZERO,
        slack: Duration::ZERO,
    };
    let mut events = 0;
    for _ in 0..times {
        reply.reset();
        for bytes in reads {
            reply.feed(bytes, read);
        }
        events += reply.conclude(End::Stopped).chunks.len() as u64;
    }
    events
}
