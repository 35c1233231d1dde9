//! One stream event's JSON to what it carried. Pure.
//!
//! Reads only what decides the outcome and the times; whatever else engines put into their
//! events is skipped without being kept.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{ChunkKind, Usage};

/// What one event carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) kind: ChunkKind,
    pub(super) usage: Option<Usage>,
    pub(super) finish_reason: Option<String>,
    /// The server's error, when the event is one.
    pub(super) error: Option<String>,
}

/// Parses an event's data.
///
/// # Errors
/// It is no JSON object of the shape all engines share.
pub(super) fn parse(data: &str) -> Result<Payload, serde_json::Error> {
    let event: Event<'_> = serde_json::from_str(data)?;
    let mut kind = ChunkKind::Other;
    let mut finish_reason = None;
    for choice in event.choices.iter().flatten() {
        let delta = &choice.delta;
        if choice.text.0 || delta.is_some_and(Delta::has_content) {
            kind = ChunkKind::Content;
        } else if kind == ChunkKind::Other && delta.is_some_and(Delta::has_reasoning) {
            kind = ChunkKind::Reasoning;
        }
        if let Some(reason) = &choice.finish_reason {
            finish_reason = Some(reason.clone().into_owned());
        }
    }
    Ok(Payload {
        kind,
        usage: event.usage.as_ref().and_then(usage),
        finish_reason,
        error: event.error(),
    })
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(borrow, default)]
    object: Option<Cow<'a, str>>,
    #[serde(default)]
    message: Option<Value>,
}

impl Event<'_> {
    /// The usual shape is `{"error": …}`; vLLM's older one is `{"object": "error", …}`.
    fn error(&self) -> Option<String> {
        if let Some(error) = &self.error {
            let text = error.get("message").unwrap_or(error);
            return Some(plain(text));
        }
        if self.object.as_deref() == Some("error") {
            let text = self.message.as_ref().map(plain);
            return Some(text.unwrap_or_else(|| "no message".to_owned()));
        }
        None
    }
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    text: Filled,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Clone, Copy, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Filled,
    #[serde(default)]
    refusal: Filled,
    #[serde(default)]
    tool_calls: Filled,
    #[serde(default)]
    reasoning: Filled,
    #[serde(default)]
    reasoning_content: Filled,
}

impl Delta {
    const fn has_content(self) -> bool {
        self.content.0 || self.refusal.0 || self.tool_calls.0
    }

    const fn has_reasoning(self) -> bool {
        self.reasoning.0 || self.reasoning_content.0
    }
}

fn usage(value: &Value) -> Option<Usage> {
    let count = |key: &str| value.get(key).and_then(Value::as_u64);
    Some(Usage {
        prompt_tokens: count("prompt_tokens")?,
        completion_tokens: count("completion_tokens")?,
    })
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value holds anything, whatever its type: engines write absent output as `null`,
/// `""` and `[]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Filled(bool);

impl<'de> Deserialize<'de> for Filled {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FilledVisitor)
    }
}

struct FilledVisitor;

impl<'de> Visitor<'de> for FilledVisitor {
    type Value = Filled;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Filled, E> {
        Ok(Filled(false))
    }

    fn visit_str<E>(self, text: &str) -> Result<Filled, E> {
        Ok(Filled(!text.is_empty()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Filled, E> {
        Ok(Filled(true))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Filled, E> {
        Ok(Filled(true))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Filled, E> {
        Ok(Filled(true))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Filled, E> {
        Ok(Filled(true))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Filled, A::Error> {
        let mut filled = false;
        while items.next_element::<IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(Filled(filled))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Filled, A::Error> {
        let mut filled = false;
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(Filled(filled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(delta: &str) -> ChunkKind {
        parse(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#))
            .unwrap()
            .kind
    }

    #[test]
    fn output_is_content_text_tool_calls_or_reasoning() {
        assert_eq!(kind(r#"{"content":"a"}"#), ChunkKind::Content);
        assert_eq!(kind(r#"{"content":[{"type":"text"}]}"#), ChunkKind::Content);
        assert_eq!(kind(r#"{"tool_calls":[{"index":0}]}"#), ChunkKind::Content);
        assert_eq!(kind(r#"{"reasoning":"a"}"#), ChunkKind::Reasoning);
        assert_eq!(
            kind(r#"{"reasoning_content":"a","content":null}"#),
            ChunkKind::Reasoning
        );
        assert_eq!(
            kind(r#"{"reasoning":"a","content":"b"}"#),
            ChunkKind::Content
        );
        let text = r#"{"choices":[{"text":" a","finish_reason":null}]}"#;
        assert_eq!(parse(text).unwrap().kind, ChunkKind::Content);
    }

    #[test]
    fn roles_empty_deltas_and_usage_are_no_output() {
        for delta in [
            r#"{"role":"assistant"}"#,
            r#"{"role":"assistant","content":""}"#,
            r#"{"content":null,"tool_calls":[],"reasoning_content":""}"#,
            "{}",
            "null",
        ] {
            assert_eq!(kind(delta), ChunkKind::Other, "{delta}");
        }
        let usage =
            r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
        let payload = parse(usage).unwrap();
        assert_eq!(payload.kind, ChunkKind::Other);
        let counted = payload.usage.unwrap();
        assert_eq!((counted.prompt_tokens, counted.completion_tokens), (5, 7));
    }

    #[test]
    fn half_a_usage_is_none() {
        let half = parse(r#"{"usage":{"completion_tokens":7}}"#).unwrap();
        assert_eq!(half.usage, None);
        assert_eq!(parse(r#"{"choices":[],"usage":null}"#).unwrap().usage, None);
    }

    #[test]
    fn errors_are_seen_in_every_shape() {
        let message = |data: &str| parse(data).unwrap().error;
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(
            message(r#"{"error":{"message":"out of memory","code":500}}"#),
            said("out of memory")
        );
        assert_eq!(message(r#"{"error":"boom"}"#), said("boom"));
        assert_eq!(message(r#"{"error":{"code":1}}"#), said(r#"{"code":1}"#));
        assert_eq!(
            message(r#"{"object":"error","message":"bad"}"#),
            said("bad")
        );
        assert_eq!(message(r#"{"error":null,"choices":[]}"#), None);
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bad in [
            "",
            "{",
            "3",
            "\"x\"",
            "{\"choices\":{}}",
            "{\"choices\":[3]}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"[\[\]{}",:a-z0-9\\ ]{0,60}"#) {
            if let Ok(payload) = parse(&text) {
                prop_assert!(text.contains(['{', '[']), "{payload:?}");
            }
        }
    }
}
