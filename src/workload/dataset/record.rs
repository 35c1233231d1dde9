//! One record of a dataset as a conversation. Pure.
//!
//! Known shapes, the first key that is there decides:
//! - `conversations`: `ShareGPT`'s list of `from` (`human`, `gpt`) and `value`;
//! - `messages`: `OpenAI`'s list of `role` and `content`;
//! - `prompt`, `question` or `text`: one user's message.
//!
//! `output_tokens` or `max_tokens` is the length of each answer.

use std::num::NonZeroU32;

use serde::Deserialize;

/// A user's message and the answer the dataset has for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workload) struct Turn {
    pub(in crate::workload) user: Box<str>,
    /// `None` at the end of a conversation that ends with the user.
    pub(in crate::workload) answer: Option<Box<str>>,
}

/// A conversation with at least one turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workload) struct Conversation {
    pub(in crate::workload) system: Option<Box<str>>,
    pub(in crate::workload) turns: Vec<Turn>,
    /// Tokens of each answer, where the dataset says it.
    pub(in crate::workload) output_tokens: Option<NonZeroU32>,
}

/// A record: a conversation, or `None` where nobody asks anything. `ShareGPT`'s own file has many
/// of those.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub(super) struct Record(pub(super) Option<Conversation>);

#[derive(Deserialize)]
struct Raw {
    conversations: Option<Vec<Said>>,
    messages: Option<Vec<Said>>,
    prompt: Option<String>,
    question: Option<String>,
    text: Option<String>,
    output_tokens: Option<u32>,
    max_tokens: Option<u32>,
}

/// One message in either spelling.
#[derive(Deserialize)]
struct Said {
    #[serde(alias = "from")]
    role: String,
    #[serde(alias = "value")]
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<TextPart>),
}

/// A part of a message; only text can be sent.
#[derive(Deserialize)]
struct TextPart {
    text: String,
}

impl Content {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => {
                let texts: Vec<String> = parts.into_iter().map(|part| part.text).collect();
                texts.join("\n")
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    User,
    Assistant,
}

impl Speaker {
    fn of(name: &str) -> Option<Self> {
        match name {
            "system" | "developer" => Some(Self::System),
            "user" | "human" => Some(Self::User),
            // The last three are what ShareGPT calls the assistants of other makers.
            "assistant" | "gpt" | "chatgpt" | "bard" | "bing" => Some(Self::Assistant),
            _ => None,
        }
    }
}

impl TryFrom<Raw> for Record {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let output_tokens = match (raw.output_tokens, raw.max_tokens) {
            (Some(0), _) => return Err("output_tokens is 0; an answer has at least 1".to_owned()),
            (None, Some(0)) => return Err("max_tokens is 0; an answer has at least 1".to_owned()),
            (tokens, most) => tokens.or(most).and_then(NonZeroU32::new),
        };
        let single = [
            ("prompt", raw.prompt),
            ("question", raw.question),
            ("text", raw.text),
        ];
        let (system, turns) = if let Some(said) = raw.conversations {
            let (system, turns) = conversation(said, true)?;
            if turns.is_empty() {
                return Ok(Self(None));
            }
            (system, turns)
        } else if let Some(said) = raw.messages {
            let (system, turns) = conversation(said, false)?;
            if turns.is_empty() {
                return Err("messages holds no message of a user".to_owned());
            }
            (system, turns)
        } else {
            let found = single
                .into_iter()
                .find_map(|(key, text)| Some((key, text?)));
            let (key, text) = found.ok_or(
                "there is nothing to ask: none of the keys conversations, messages, prompt, \
                 question and text is there",
            )?;
            if text.trim().is_empty() {
                return Err(format!("{key} is empty"));
            }
            let turn = Turn {
                user: text.into(),
                answer: None,
            };
            (None, vec![turn])
        };
        Ok(Self(Some(Conversation {
            system,
            turns,
            output_tokens,
        })))
    }
}

/// Messages as turns. What an assistant says before anybody asked is left out, and messages of
/// the same speaker in a row are joined: models' templates want users and assistants in turn.
/// `lenient` ends the conversation where it makes no sense instead of refusing it.
fn conversation(said: Vec<Said>, lenient: bool) -> Result<(Option<Box<str>>, Vec<Turn>), String> {
    let mut system: Option<String> = None;
    let mut turns: Vec<(String, Option<String>)> = Vec::new();
    for (index, one) in said.into_iter().enumerate() {
        let text = one.content.into_text();
        let speaker = Speaker::of(&one.role)
            .filter(|speaker| *speaker != Speaker::System || turns.is_empty());
        let problem = match speaker {
            None => Some(format!(
                "message {} is of the role `{}`, which is not expected there",
                index + 1,
                one.role.chars().take(40).collect::<String>()
            )),
            Some(_) if text.trim().is_empty() => Some(format!("message {} is empty", index + 1)),
            Some(_) => None,
        };
        match (problem, speaker) {
            (Some(_), _) if lenient => break,
            (Some(problem), _) => return Err(problem),
            (None, Some(Speaker::System)) => append(&mut system, text),
            (None, Some(Speaker::Assistant)) => {
                if let Some((_, answer)) = turns.last_mut() {
                    append(answer, text);
                }
            }
            (None, Some(Speaker::User) | None) => match turns.last_mut() {
                Some((user, None)) => {
                    user.push_str(BREAK);
                    user.push_str(&text);
                }
                Some((_, Some(_))) | None => turns.push((text, None)),
            },
        }
    }
    let turns = turns.into_iter().map(|(user, answer)| Turn {
        user: user.into(),
        answer: answer.map(Into::into),
    });
    Ok((system.map(Into::into), turns.collect()))
}

/// Between messages that become one.
const BREAK: &str = "\n\n";

fn append(to: &mut Option<String>, text: String) {
    match to {
        Some(known) => {
            known.push_str(BREAK);
            known.push_str(&text);
        }
        None => *to = Some(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn record(value: Value) -> Result<Option<Conversation>, String> {
        serde_json::from_value::<Record>(value)
            .map(|record| record.0)
            .map_err(|error| error.to_string())
    }

    fn turns(value: Value) -> Vec<(String, Option<String>)> {
        let turns = record(value).unwrap().unwrap().turns;
        let plain = |turn: Turn| (turn.user.into(), turn.answer.map(Into::into));
        turns.into_iter().map(plain).collect()
    }

    fn turn(user: &str, answer: Option<&str>) -> (String, Option<String>) {
        (user.to_owned(), answer.map(str::to_owned))
    }

    #[test]
    fn sharegpt_is_turns_of_human_and_gpt() {
        let value = json!({ "id": "x", "conversations": [
            { "from": "gpt", "value": "nobody asked" },
            { "from": "human", "value": "a" },
            { "from": "gpt", "value": "b" },
            { "from": "human", "value": "c" },
            { "from": "human", "value": "d" },
            { "from": "bard", "value": "e" },
            { "from": "human", "value": "f" },
        ]});
        let expected = [
            turn("a", Some("b")),
            turn("c\n\nd", Some("e")),
            turn("f", None),
        ];
        assert_eq!(turns(value), expected);
    }

    #[test]
    fn sharegpt_ends_where_it_makes_no_sense() {
        let value = json!({ "conversations": [
            { "from": "human", "value": "a" },
            { "from": "gpt", "value": "" },
            { "from": "human", "value": "c" },
        ]});
        assert_eq!(turns(value), [turn("a", None)]);
        for nobody in [
            json!([]),
            json!([{ "from": "gpt", "value": "a" }]),
            json!([{ "from": "human", "value": " " }]),
            json!([{ "from": "tool", "value": "x" }]),
        ] {
            assert_eq!(record(json!({ "conversations": nobody })), Ok(None));
        }
    }

    #[test]
    fn messages_have_a_system_and_parts() {
        let value = json!({ "max_tokens": 7, "messages": [
            { "role": "system", "content": "be brief" },
            { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
            { "role": "assistant", "content": "c" },
        ]});
        let conversation = record(value).unwrap().unwrap();
        assert_eq!(conversation.system.as_deref(), Some("be brief"));
        assert_eq!(conversation.turns.len(), 1);
        assert_eq!(&*conversation.turns[0].user, "a\nb");
        assert_eq!(conversation.output_tokens, NonZeroU32::new(7));
    }

    #[test]
    fn one_key_is_one_question() {
        for key in ["prompt", "question", "text"] {
            let mut value = json!({ "output_tokens": 3, "max_tokens": 9, "other": [1] });
            value[key] = json!("why?");
            let conversation = record(value).unwrap().unwrap();
            assert_eq!(&*conversation.turns[0].user, "why?");
            assert_eq!(conversation.output_tokens, NonZeroU32::new(3));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (value, says) in [
            (json!({}), "none of the keys"),
            (json!({ "prompt": null }), "none of the keys"),
            (json!({ "prompt": "  " }), "prompt is empty"),
            (json!({ "prompt": 3 }), "invalid type"),
            (
                json!({ "prompt": "a", "output_tokens": 0 }),
                "output_tokens is 0",
            ),
            (json!({ "prompt": "a", "max_tokens": -1 }), "invalid value"),
            (json!({ "messages": [] }), "no message of a user"),
            (
                json!({ "messages": [{ "role": "tool", "content": "x" }] }),
                "message 1 is of the role `tool`",
            ),
            (
                json!({ "messages": [{ "role": "user", "content": "" }] }),
                "message 1 is empty",
            ),
            (
                json!({ "messages": [{ "role": "user" }] }),
                "missing field `content`",
            ),
            (
                json!({ "messages": [
                    { "role": "user", "content": "a" }, { "role": "system", "content": "b" }
                ]}),
                "message 2 is of the role `system`",
            ),
        ] {
            let error = record(value.clone()).unwrap_err();
            assert!(error.contains(says), "{value}: {error}");
        }
    }
}
