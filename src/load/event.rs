//! One stream event's JSON to what it carried. Pure.
//!
//! Reads only what decides the outcome and the times; whatever else engines put into their
//! events is checked to be JSON and skipped without being kept. The usual event costs no
//! allocation.

use std::{fmt, marker::PhantomData, num::NonZeroU32};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{ChunkKind, Usage};

/// What one event carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) kind: ChunkKind,
    pub(super) usage: Option<Usage>,
    /// Output tokens so far, when the usage came with a piece of the answer.
    pub(super) tokens: Option<NonZeroU32>,
    pub(super) finish_reason: Option<String>,
    /// The server's error, when the event is one.
    pub(super) error: Option<String>,
}

/// Parses an event's data.
///
/// # Errors
/// It is no JSON object of the shape all engines share, or no UTF-8.
pub(super) fn parse(data: &[u8]) -> Result<Payload, serde_json::Error> {
    let text = simdutf8::basic::from_utf8(data).map_err(Error::custom)?;
    let event: Chunk = serde_json::from_str(text)?;
    let choices = event.choices.unwrap_or_default();
    let error = if event.error.0 || event.object.is_error {
        Some(error_text(data))
    } else {
        choices.failure()
    };
    let usage = event.usage.whole();
    let tokens = usage
        .filter(|_| choices.any)
        .and_then(|usage| NonZeroU32::new(u32::try_from(usage.completion_tokens).ok()?));
    Ok(Payload {
        kind: choices.kind(),
        usage,
        tokens,
        finish_reason: choices.finish_reason,
        error,
    })
}

/// What the data of an error event says. The usual shape is `{"error": …}`; vLLM's older one is
/// `{"object": "error", "message": …}`.
pub(super) fn error_text(data: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        let text = String::from_utf8_lossy(data).into_owned();
        return if text.is_empty() { no_words() } else { text };
    };
    let error = value.get("error").filter(|error| !error.is_null());
    let error = error.unwrap_or(&value);
    let message = error.get("message").and_then(Value::as_str);
    match message.filter(|text| !text.is_empty()).or(error.as_str()) {
        Some("") => no_words(),
        Some(text) => text.to_owned(),
        None => error.to_string(),
    }
}

fn no_words() -> String {
    "the server reported an error without a message".to_owned()
}

/// Implements [`Deserialize`] for a type that is read from a JSON object only, key by key.
/// serde's own structs also accept arrays.
macro_rules! read_from_object {
    ($type:ident, $key:ident { $($name:ident => $field:ident),+ $(,)? }) => {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "snake_case")]
        enum $key {
            $($name,)+
            #[serde(other)]
            Unknown,
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Keys;

                impl<'de> Visitor<'de> for Keys {
                    type Value = $type;

                    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                        out.write_str("an object")
                    }

                    fn visit_map<A: MapAccess<'de>>(
                        self,
                        mut entries: A,
                    ) -> Result<$type, A::Error> {
                        let mut read = $type::default();
                        while let Some(key) = entries.next_key()? {
                            match key {
                                $($key::$name => read.$field = entries.next_value()?,)+
                                $key::Unknown => {
                                    entries.next_value::<IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(read)
                    }
                }

                from.deserialize_map(Keys)
            }
        }
    };
}

/// An event's object.
#[derive(Default)]
struct Chunk {
    choices: Option<Choices>,
    usage: Tally,
    error: Filled,
    object: Kind,
}

read_from_object!(Chunk, ChunkKey {
    Choices => choices,
    Usage => usage,
    Error => error,
    Object => object,
});

/// All choices of an event together.
#[derive(Default)]
struct Choices {
    any: bool,
    content: bool,
    reasoning: bool,
    finish_reason: Option<String>,
}

impl Choices {
    const fn kind(&self) -> ChunkKind {
        if self.content {
            ChunkKind::Content
        } else if self.reasoning {
            ChunkKind::Reasoning
        } else {
            ChunkKind::Other
        }
    }

    /// Some engines say only in the finish reason that they gave up.
    fn failure(&self) -> Option<String> {
        let reason = self.finish_reason.as_deref()?;
        matches!(reason, "error" | "abort")
            .then(|| format!("the server ended the answer with the finish reason {reason:?}"))
    }
}

impl<'de> Deserialize<'de> for Choices {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Choices;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an array of choices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Choices, A::Error> {
                let mut all = Choices::default();
                while let Some(choice) = items.next_element::<Choice>()? {
                    let delta = choice.delta.unwrap_or_default();
                    all.any = true;
                    all.content |= choice.text.0 || delta.has_content();
                    all.reasoning |= delta.has_reasoning();
                    if choice.finish_reason.0.is_some() {
                        all.finish_reason = choice.finish_reason.0;
                    }
                }
                Ok(all)
            }
        }

        from.deserialize_seq(Items)
    }
}

#[derive(Default)]
struct Choice {
    delta: Option<Delta>,
    text: Filled,
    finish_reason: Reason,
}

read_from_object!(Choice, ChoiceKey {
    Delta => delta,
    Text => text,
    FinishReason => finish_reason,
});

#[derive(Clone, Copy, Default)]
struct Delta {
    content: Filled,
    refusal: Filled,
    tool_calls: Filled,
    reasoning: Filled,
    reasoning_content: Filled,
}

read_from_object!(Delta, DeltaKey {
    Content => content,
    Refusal => refusal,
    ToolCalls => tool_calls,
    Reasoning => reasoning,
    ReasoningContent => reasoning_content,
});

impl Delta {
    const fn has_content(self) -> bool {
        self.content.0 || self.refusal.0 || self.tool_calls.0
    }

    const fn has_reasoning(self) -> bool {
        self.reasoning.0 || self.reasoning_content.0
    }
}

/// A type that can be made of any value: engines write absent output as `null`, `""` and `[]`,
/// and an odd type in an extra is no error of the answer.
trait Loose: Default {
    fn text(_: &str) -> Self {
        Self::default()
    }

    fn flag(_: bool) -> Self {
        Self::default()
    }

    fn count(_: u64) -> Self {
        Self::other()
    }

    /// Other numbers.
    fn other() -> Self {
        Self::default()
    }

    fn list(_filled: bool) -> Self {
        Self::default()
    }

    fn object<'de, A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        skip(entries).map(|_filled| Self::default())
    }
}

/// Reads an object to its end; whether there was anything in it.
fn skip<'de, A: MapAccess<'de>>(mut entries: A) -> Result<bool, A::Error> {
    let mut filled = false;
    while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
        filled = true;
    }
    Ok(filled)
}

struct AnyValue<T>(PhantomData<T>);

impl<'de, T: Loose> Visitor<'de> for AnyValue<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<T, E> {
        Ok(T::flag(flag))
    }

    fn visit_u64<E>(self, count: u64) -> Result<T, E> {
        Ok(T::count(count))
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        let mut filled = false;
        while items.next_element::<IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(T::list(filled))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        T::object(entries)
    }
}

macro_rules! read_from_anything {
    ($($type:ident),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(AnyValue(PhantomData))
            }
        }
    )+};
}

read_from_anything!(Filled, Kind, Reason, Count, Tally);

/// Whether a value holds anything, whatever its type.
#[derive(Clone, Copy, Default)]
struct Filled(bool);

impl Loose for Filled {
    fn text(text: &str) -> Self {
        Self(!text.is_empty())
    }

    fn flag(flag: bool) -> Self {
        Self(flag)
    }

    fn other() -> Self {
        Self(true)
    }

    fn list(filled: bool) -> Self {
        Self(filled)
    }

    fn object<'de, A: MapAccess<'de>>(entries: A) -> Result<Self, A::Error> {
        skip(entries).map(Self)
    }
}

/// What an `object` key says.
#[derive(Clone, Copy, Default)]
struct Kind {
    is_error: bool,
}

impl Loose for Kind {
    fn text(text: &str) -> Self {
        Self {
            is_error: text == "error",
        }
    }
}

/// A finish reason. An empty one is none: some servers send it with every piece.
#[derive(Default)]
struct Reason(Option<String>);

impl Loose for Reason {
    fn text(text: &str) -> Self {
        Self((!text.is_empty()).then(|| text.to_owned()))
    }
}

#[derive(Clone, Copy, Default)]
struct Count(Option<u64>);

impl Loose for Count {
    fn count(count: u64) -> Self {
        Self(Some(count))
    }
}

/// A `usage`, as far as it is there.
#[derive(Clone, Copy, Default)]
struct Tally {
    prompt: Count,
    completion: Count,
}

impl Tally {
    /// Half a usage is none.
    fn whole(self) -> Option<Usage> {
        Some(Usage {
            prompt_tokens: self.prompt.0?,
            completion_tokens: self.completion.0?,
        })
    }
}

impl Loose for Tally {
    fn object<'de, A: MapAccess<'de>>(mut entries: A) -> Result<Self, A::Error> {
        let mut read = Self::default();
        while let Some(key) = entries.next_key()? {
            match key {
                TallyKey::PromptTokens => read.prompt = entries.next_value()?,
                TallyKey::CompletionTokens => read.completion = entries.next_value()?,
                TallyKey::Unknown => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(read)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum TallyKey {
    PromptTokens,
    CompletionTokens,
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(delta: &str) -> ChunkKind {
        parse(format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#).as_bytes())
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
        assert_eq!(parse(text.as_bytes()).unwrap().kind, ChunkKind::Content);
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
        let payload = parse(usage.as_bytes()).unwrap();
        assert_eq!(payload.kind, ChunkKind::Other);
        let counted = payload.usage.unwrap();
        assert_eq!((counted.prompt_tokens, counted.completion_tokens), (5, 7));
    }

    #[test]
    fn odd_usage_is_none_and_no_error() {
        for usage in [
            "null",
            "3",
            "-3",
            "0.5",
            "true",
            "\"9\"",
            "[1]",
            "{}",
            r#"{"prompt_tokens":null,"completion_tokens":7}"#,
            r#"{"prompt_tokens":1,"completion_tokens":-7}"#,
            r#"{"prompt_tokens":{"a":[1]},"completion_tokens":"7"}"#,
        ] {
            let event = format!(r#"{{"choices":[{{"text":"a"}}],"usage":{usage}}}"#);
            let payload = parse(event.as_bytes()).unwrap();
            assert_eq!((payload.usage, payload.tokens), (None, None), "{usage}");
            assert_eq!(payload.kind, ChunkKind::Content);
        }
    }

    #[test]
    fn usage_beside_a_piece_counts_the_tokens_so_far() {
        let tokens = |event: &str| parse(event.as_bytes()).unwrap().tokens;
        let usage = r#""usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}"#;
        let with = format!(r#"{{"choices":[{{"text":"a"}}],{usage}}}"#);
        assert_eq!(tokens(&with), NonZeroU32::new(7));
        assert_eq!(tokens(&format!(r#"{{"choices":[],{usage}}}"#)), None);
        assert_eq!(tokens(&with.replace(":7", ":0")), None);
        assert_eq!(tokens(&with.replace(":7", ":4294967296")), None);
    }

    #[test]
    fn finish_reasons_are_words() {
        let reason = |value: &str| {
            let event = format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":{value}}}]}}"#);
            parse(event.as_bytes()).unwrap().finish_reason
        };
        assert_eq!(reason("\"stop\"").as_deref(), Some("stop"));
        for none in ["null", "\"\"", "0", "{}"] {
            assert_eq!(reason(none), None, "{none}");
        }
    }

    #[test]
    fn half_a_usage_is_none() {
        let half = parse(br#"{"usage":{"completion_tokens":7}}"#).unwrap();
        assert_eq!(half.usage, None);
        assert_eq!(
            parse(br#"{"choices":[],"usage":null}"#).unwrap().usage,
            None
        );
    }

    #[test]
    fn errors_are_seen_in_every_shape() {
        let message = |data: &str| parse(data.as_bytes()).unwrap().error;
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
        assert_eq!(
            message(r#"{"error":{"message":null}}"#),
            said(r#"{"message":null}"#)
        );
        for none in ["null", "false", "\"\"", "{}", "[]"] {
            let event = format!(r#"{{"error":{none},"choices":[]}}"#);
            assert_eq!(message(&event), None, "{none}");
        }
        assert_eq!(error_text(b" "), " ");
        assert_eq!(error_text(b""), no_words());
        assert_eq!(error_text(br#"{"error":""}"#), no_words());
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for bad in [
            "",
            "{",
            "3",
            "[]",
            "[[],null,null,null]",
            "{} {}",
            "\"x\"",
            "{\"choices\":{}}",
            "{\"choices\":[3]}",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"[\[\]{}",:a-z0-9\\ ]{0,60}"#) {
            if let Ok(payload) = parse(text.as_bytes()) {
                prop_assert!(text.contains('{'), "{payload:?}");
            }
        }
    }
}
