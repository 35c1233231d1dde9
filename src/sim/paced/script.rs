//! The bytes of answers, rendered once. Pure.
//!
//! The events are those of the simulated engine, in vLLM's form; each is a chunk of its own in
//! the chunked encoding, as uvicorn writes it.

use bytes::Bytes;

use super::{
    super::{
        answer::{Counts, DONE, Finish, Writer},
        request::Api,
    },
    spec::PacedSpec,
};

/// Creation time in every event, in seconds: bytes rendered once cannot tell the time.
const CREATED: u64 = 1_700_000_000;
/// Number in every event's id.
const NUMBER: u64 = 0;
/// Ends a chunked body.
const TERMINATOR: &[u8] = b"0\r\n\r\n";
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/event-stream; charset=utf-8\r\n\
    transfer-encoding: chunked\r\n\r\n";

/// What an answer of one of the two APIs consists of.
#[derive(Debug)]
pub(super) struct Script {
    writer: Writer,
    /// Empty for completions.
    role: Vec<u8>,
    /// `burst` times the same token.
    tokens: Vec<u8>,
    /// Bytes of one.
    token: usize,
    /// The answer's last token, with its finish reason.
    last: Vec<u8>,
}

impl Script {
    pub(super) fn new(api: Api, spec: &PacedSpec) -> Self {
        let writer = Writer::new(api, NUMBER, CREATED, &spec.model);
        let token = chunked(&writer.token(1, None));
        let burst = usize::try_from(spec.burst.get()).unwrap_or(usize::MAX);
        Self {
            role: writer.role().map(|role| chunked(&role)).unwrap_or_default(),
            tokens: token.repeat(burst),
            token: token.len(),
            last: chunked(&writer.token(1, Some(Finish::Length))),
            writer,
        }
    }

    /// The answer's head.
    pub(super) const fn head() -> &'static [u8] {
        HEAD
    }

    /// The role chunk; empty for completions.
    pub(super) fn role(&self) -> &[u8] {
        &self.role
    }

    /// `count` tokens, the last of them with its finish reason if `ends`: in two pieces.
    pub(super) fn tokens(&self, count: u32, ends: bool) -> [&[u8]; 2] {
        let plain = count.saturating_sub(u32::from(ends));
        let bytes = usize::try_from(plain)
            .unwrap_or(usize::MAX)
            .saturating_mul(self.token);
        let plain = self.tokens.get(..bytes).unwrap_or(&self.tokens);
        [plain, if ends { &self.last } else { &[] }]
    }

    /// What follows the last token: the counts, where asked for, and the end.
    pub(super) fn tail(&self, usage: Option<Counts>) -> Vec<u8> {
        let mut tail = usage
            .map(|counts| chunked(&self.writer.usage(counts)))
            .unwrap_or_default();
        tail.extend(chunked(&DONE));
        tail.extend(TERMINATOR);
        tail
    }
}

/// One chunk of the chunked encoding.
fn chunked(event: &Bytes) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
    chunk.extend_from_slice(event);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn script(api: Api) -> Script {
        let spec = PacedSpec {
            burst: NonZeroU32::new(4).unwrap(),
            ..PacedSpec::default()
        };
        Script::new(api, &spec)
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn chunks_say_their_length() {
        assert_eq!(
            chunked(&Bytes::from_static(b"data: 1\n\n")),
            b"9\r\ndata: 1\n\n\r\n"
        );
    }

    #[test]
    fn a_write_has_as_many_events_as_asked_and_only_the_last_ends() {
        let script = script(Api::Chat);
        for (count, ends) in [(4, false), (4, true), (1, true), (3, false)] {
            let whole = script.tokens(count, ends).concat();
            let events = text(&whole).matches("data: ").count();
            assert_eq!(events, count as usize, "{count} {ends}");
            assert_eq!(
                text(&whole).matches("\"length\"").count(),
                usize::from(ends)
            );
        }
        // As long as what vLLM sends for a short model name.
        assert!((150..250).contains(&script.token), "{}", script.token);
    }

    #[test]
    fn only_a_chat_has_a_role() {
        assert!(text(script(Api::Chat).role()).contains(r#""role":"assistant""#));
        assert!(script(Api::Text).role().is_empty());
    }

    #[test]
    fn the_tail_has_the_counts_and_the_end() {
        let script = script(Api::Text);
        let counts = Counts {
            prompt: 3,
            completion: 7,
        };
        let tail = script.tail(Some(counts));
        assert!(text(&tail).contains(r#""completion_tokens":7"#));
        assert!(text(&tail).ends_with("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"));
        assert!(!text(&script.tail(None)).contains("usage"));
    }
}
