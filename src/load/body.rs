//! Request bodies. Pure.
//!
//! Strict servers refuse keys they do not know, so that a request may have to be sent again with
//! fewer. A body is therefore rendered in pieces, from which each [`Level`] takes its own:
//! what all levels have, the standard values that the extras replace, and an end that is the same
//! for every request to a target.

use serde_json::{Map, Value, json};

use crate::plan::{ApiPath, Message, PlannedRequest, Prompt};

/// How much a request asks beyond the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// With the target's extras, and with usage at the end of the stream.
    Full,
    /// Without the extras.
    Plain,
    /// Without the extras and without `stream_options`.
    Bare,
}

/// What every request to a target has beyond the standard, rendered.
#[derive(Debug, Clone)]
pub(super) struct Extras {
    keys: Vec<String>,
    full: String,
    plain: String,
    bare: String,
}

/// The JSON body of one request, for all levels.
#[derive(Debug, Clone)]
pub(super) struct Body {
    /// From the opening brace on.
    core: String,
    /// Members whose place the extras take at [`Level::Full`].
    replaced: String,
}

impl Extras {
    /// Renders the keys a target adds. They may replace every standard key but `stream`: what
    /// does not stream cannot be measured.
    pub(super) fn new(extras: &Map<String, Value>) -> Self {
        let added = || extras.iter().filter(|(key, _)| *key != "stream");
        let mut own = String::new();
        for (key, value) in added() {
            member(&mut own, key, value);
        }
        let mut usage = String::new();
        member(
            &mut usage,
            "stream_options",
            &json!({ "include_usage": true }),
        );
        let asks_itself = extras.contains_key("stream_options");
        Self {
            keys: added().map(|(key, _)| key.clone()).collect(),
            full: format!("{}{own}}}", if asks_itself { "" } else { &usage }),
            plain: format!("{usage}}}"),
            bare: "}".to_owned(),
        }
    }

    /// The next level to try when a server refuses `level`.
    pub(super) fn below(&self, level: Level) -> Option<Level> {
        match level {
            Level::Full if self.full != self.plain => Some(Level::Plain),
            Level::Full | Level::Plain => Some(Level::Bare),
            Level::Bare => None,
        }
    }

    fn suffix(&self, level: Level) -> &str {
        match level {
            Level::Full => &self.full,
            Level::Plain => &self.plain,
            Level::Bare => &self.bare,
        }
    }
}

impl Body {
    /// Its bytes at a level, to be sent one after the other.
    pub(super) fn pieces<'b>(&'b self, extras: &'b Extras, level: Level) -> [&'b [u8]; 3] {
        let replaced = match level {
            Level::Full => "",
            Level::Plain | Level::Bare => &self.replaced,
        };
        [&self.core, replaced, extras.suffix(level)].map(str::as_bytes)
    }

    /// Its length in bytes at a level.
    pub(super) fn len(&self, extras: &Extras, level: Level) -> usize {
        let pieces = self.pieces(extras, level);
        pieces.iter().map(|piece| piece.len()).sum()
    }
}

/// Renders a request: streaming, temperature 0, the asked-for length, and the target's extras.
pub(super) fn render(
    path: ApiPath,
    model: &str,
    request: &PlannedRequest,
    extras: &Extras,
) -> Body {
    let mut body = Body {
        core: "{\"stream\":true".to_owned(),
        replaced: String::new(),
    };
    let mut add = |key: &str, value: &Value| {
        let replaced = extras.keys.iter().any(|extra| extra == key);
        let place = if replaced {
            &mut body.replaced
        } else {
            &mut body.core
        };
        member(place, key, value);
    };
    add("model", &model.into());
    match (path, &request.prompt) {
        (ApiPath::Chat, Prompt::Text(text)) => {
            add("messages", &json!([{ "role": "user", "content": text }]));
        }
        (ApiPath::Chat, Prompt::Messages(messages)) => add("messages", &json!(messages)),
        (ApiPath::Completions, Prompt::Text(text)) => add("prompt", &text.as_str().into()),
        (ApiPath::Completions, Prompt::Messages(messages)) => {
            add("prompt", &joined(messages).into());
        }
    }
    if let Some(tokens) = request.output_tokens {
        add("max_tokens", &tokens.get().into());
    }
    add("temperature", &0.into());
    body
}

/// Adds a member behind others.
fn member(out: &mut String, key: &str, value: &Value) {
    out.push(',');
    out.push_str(&Value::from(key).to_string());
    out.push(':');
    out.push_str(&value.to_string());
}

/// A conversation as one text: completions know no roles.
fn joined(messages: &[Message]) -> String {
    let texts: Vec<&str> = messages.iter().map(|one| one.content.as_str()).collect();
    texts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn request() -> PlannedRequest {
        PlannedRequest::text(0, "say \"é\"\n".to_owned(), NonZeroU32::new(17).unwrap())
    }

    /// The documents of all levels, parsed.
    fn parsed(path: ApiPath, request: &PlannedRequest, extras: &Value) -> [Value; 3] {
        let extras = Extras::new(extras.as_object().unwrap());
        let body = render(path, "org/model", request, &extras);
        [Level::Full, Level::Plain, Level::Bare].map(|level| {
            let bytes = body.pieces(&extras, level).concat();
            assert_eq!(bytes.len(), body.len(&extras, level));
            let text = String::from_utf8(bytes).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            // Parsing keeps the last of two equal keys: there must be none.
            assert_eq!(value.to_string().len(), text.len(), "{text}");
            value
        })
    }

    fn without(value: &Value, keys: &[&str]) -> Value {
        let mut map = value.as_object().unwrap().clone();
        map.retain(|key, _| !keys.contains(&key.as_str()));
        Value::Object(map)
    }

    #[test]
    fn a_chat_request_streams_and_asks_for_usage_until_that_is_refused() {
        let plain = json!({
            "model": "org/model",
            "messages": [{ "role": "user", "content": "say \"é\"\n" }],
            "max_tokens": 17,
            "temperature": 0,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        let bare = without(&plain, &["stream_options"]);
        let expected = [plain.clone(), plain, bare];
        assert_eq!(parsed(ApiPath::Chat, &request(), &json!({})), expected);
    }

    #[test]
    fn extras_are_added_and_left_out_again() {
        let extras = json!({ "ignore_eos": true, "min_tokens": 3 });
        let [full, plain, bare] = parsed(ApiPath::Completions, &request(), &extras);
        assert_eq!(
            full,
            json!({
                "model": "org/model",
                "prompt": "say \"é\"\n",
                "max_tokens": 17,
                "temperature": 0,
                "stream": true,
                "stream_options": { "include_usage": true },
                "ignore_eos": true,
                "min_tokens": 3,
            })
        );
        assert_eq!(plain, without(&full, &["ignore_eos", "min_tokens"]));
        assert_eq!(bare, without(&plain, &["stream_options"]));
    }

    #[test]
    fn extras_replace_standard_values_at_the_full_level_only() {
        let extras = json!({
            "temperature": 1,
            "max_tokens": 5,
            "model": "other",
            "messages": [],
            "stream_options": { "continuous_usage_stats": true },
            "stream": false,
        });
        let [full, plain, bare] = parsed(ApiPath::Chat, &request(), &extras);
        assert_eq!(
            full,
            json!({
                "temperature": 1,
                "max_tokens": 5,
                "model": "other",
                "messages": [],
                "stream_options": { "continuous_usage_stats": true },
                "stream": true,
            })
        );
        let [_, expected, _] = parsed(ApiPath::Chat, &request(), &json!({}));
        assert_eq!(plain, expected);
        assert_eq!(bare, without(&expected, &["stream_options"]));
    }

    #[test]
    fn conversations_keep_their_roles_where_there_are_roles() {
        let message = |role: &str, content: &str| Message {
            role: role.to_owned(),
            content: content.to_owned(),
        };
        let conversation = PlannedRequest {
            prompt: Prompt::Messages(vec![message("system", "a"), message("user", "b")]),
            output_tokens: None,
            ..request()
        };
        let [chat, _, _] = parsed(ApiPath::Chat, &conversation, &json!({}));
        assert_eq!(
            chat["messages"],
            json!([{ "role": "system", "content": "a" }, { "role": "user", "content": "b" }])
        );
        assert_eq!(chat.get("max_tokens"), None);
        let [text, _, _] = parsed(ApiPath::Completions, &conversation, &json!({}));
        assert_eq!(text["prompt"], "a\n\nb");
        assert_eq!(text.get("messages"), None);
    }

    #[test]
    fn levels_that_would_send_the_same_are_skipped() {
        let none = Extras::new(&Map::new());
        assert_eq!(none.below(Level::Full), Some(Level::Bare));
        assert_eq!(none.below(Level::Bare), None);
        let one = Extras::new(json!({ "ignore_eos": true }).as_object().unwrap());
        assert_eq!(one.below(Level::Full), Some(Level::Plain));
        assert_eq!(one.below(Level::Plain), Some(Level::Bare));
    }
}
