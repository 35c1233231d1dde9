//! The usual event of a stream, recognised. Pure.
//!
//! The events of one answer are mostly the same bytes around another piece of text. An event
//! that was parsed whole is remembered as what stands before and behind its text. A later one
//! that begins and ends with these very bytes, and whose text between them is plain, has been
//! parsed before but for the text: JSON's structure cannot change inside a string. Everything
//! else is parsed whole.

use super::{
    ChunkKind,
    event::{self, Payload},
};

/// What stands before the text of the usual event.
const KEY: &[u8] = b"\"content\":\"";
/// An answer whose events differ elsewhere too (a count, a time) has no usual event; more than
/// this many are not learnt from it.
const TRIES: u8 = 2;

/// The usual event of an answer.
#[derive(Debug, Default)]
pub(super) struct Shape {
    before: Vec<u8>,
    behind: Vec<u8>,
    tried: u8,
}

impl Shape {
    /// Another answer begins.
    pub(super) fn reset(&mut self) {
        self.before.clear();
        self.behind.clear();
        self.tried = 0;
    }

    /// As [`event::parse`], and never another result.
    ///
    /// # Errors
    /// As there.
    pub(super) fn parse(&mut self, data: &[u8]) -> Result<Payload, serde_json::Error> {
        if self.fits(data) {
            return Ok(piece());
        }
        let payload = event::parse(data)?;
        if self.tried < TRIES && payload == piece() {
            self.tried += 1;
            self.learn(data);
        }
        Ok(payload)
    }

    fn fits(&self, data: &[u8]) -> bool {
        if self.before.is_empty() {
            return false;
        }
        let rest = data.strip_prefix(self.before.as_slice());
        let text = rest.and_then(|rest| rest.strip_suffix(self.behind.as_slice()));
        text.is_some_and(is_plain)
    }

    /// Remembers the event if its kind hangs on the one text that is looked at: without it the
    /// event is no output, with another one it is.
    fn learn(&mut self, data: &[u8]) {
        let Some((before, text, behind)) = around(data) else {
            return;
        };
        let with = |text: &[u8]| event::parse(&[before, text, behind].concat()).ok();
        let hangs = with(b"").is_some_and(|empty| empty.kind == ChunkKind::Other)
            && with(b"x") == Some(piece());
        if hangs && is_plain(text) {
            self.before = before.to_vec();
            self.behind = behind.to_vec();
        }
    }
}

/// What the usual event carries: a piece of the answer and nothing else.
const fn piece() -> Payload {
    Payload {
        kind: ChunkKind::Content,
        usage: None,
        tokens: None,
        finish_reason: None,
        error: None,
    }
}

/// The event's text, what stands before it and what behind.
fn around(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let begin = memchr::memmem::find(data, KEY)? + KEY.len();
    let (before, rest) = data.split_at_checked(begin)?;
    let (text, behind) = rest.split_at_checked(memchr::memchr(b'"', rest)?)?;
    Some((before, text, behind))
}

/// Text that stands in a JSON string as it is: ASCII without quotes, backslashes and control
/// characters; at least one letter.
fn is_plain(text: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    !text.is_empty() && text.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(text: &str) -> String {
        format!(
            r#"{{"id":"c-1","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":null}}"#
        )
    }

    #[test]
    fn the_second_event_is_recognised() {
        let mut shape = Shape::default();
        assert_eq!(shape.parse(event("a").as_bytes()).unwrap(), piece());
        assert!(shape.fits(event(" longer text, plain").as_bytes()));
        for not in ["", "\\n", "é", "a\"b", "a\u{1}b"] {
            assert!(!shape.fits(event(not).as_bytes()), "{not:?}");
        }
        assert!(!shape.fits(event("a").replace("null}]", "\"stop\"}]").as_bytes()));
        shape.reset();
        assert!(!shape.fits(event("a").as_bytes()));
    }

    #[test]
    fn a_text_that_is_not_the_answer_is_not_learnt() {
        // The first `content` is a log's, the answer is in `text`.
        let data = br#"{"note":{"content":"a"},"choices":[{"text":"b"}]}"#;
        let mut shape = Shape::default();
        assert_eq!(shape.parse(data).unwrap(), piece());
        assert!(shape.before.is_empty());
        assert!(shape.parse(br#"{"note":{"content":"a"}"#).is_err());
    }

    #[test]
    fn what_follows_the_usual_event_is_looked_at() {
        let mut shape = Shape::default();
        shape.parse(event("a").as_bytes()).unwrap();
        assert!(shape.parse(format!("{}x", event("b")).as_bytes()).is_err());
        let error = event("b").replace("\"usage\":null", "\"error\":\"oom\"");
        assert!(shape.parse(error.as_bytes()).unwrap().error.is_some());
    }

    proptest! {
        #[test]
        fn it_never_says_anything_else_than_a_whole_parse(
            events in prop::collection::vec(
                prop_oneof![
                    "[ -~é\\\\\"]{0,12}".prop_map(|text| event(&text)),
                    "[a-z ]{0,8}".prop_map(|text| event(&text)),
                    "[a-z]{0,3}".prop_map(|id| event("b").replace("c-1", &id)),
                    "[a-z]{0,3}".prop_map(|tail| event("b") + &tail),
                    Just(r#"{"choices":[{"delta":{"content":""},"finish_reason":"stop"}]}"#.to_owned()),
                    Just(r#"{"choices":[{"delta":{"content":"a","content":""}}]}"#.to_owned()),
                    Just(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#.to_owned()),
                ],
                0..20,
            ),
        ) {
            let mut shape = Shape::default();
            for event in &events {
                let (fast, whole) = (shape.parse(event.as_bytes()), event::parse(event.as_bytes()));
                prop_assert_eq!(fast.is_ok(), whole.is_ok(), "{}", event);
                if let (Ok(fast), Ok(whole)) = (fast, whole) {
                    prop_assert_eq!(fast, whole, "{}", event);
                }
            }
        }
    }
}
