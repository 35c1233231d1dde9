//! Answers and stream events as bytes, in vLLM's form. Pure.

use bytes::Bytes;
use serde_json::{Value, json};

use super::request::Api;

/// What the simulated model says. Two words are not ASCII, so that a client that cuts text at a
/// byte is found out.
const WORDS: [&str; 16] = [
    "time", "flows", "while", "every", "token", "waits", "for", "its", "own", "turn", "naïve",
    "clients", "count", "chunks", "über", "again",
];

/// Ends a stream.
pub(super) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// It reached `max_tokens`.
    Length,
    /// The model ended it.
    Stop,
}

impl Finish {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Stop => "stop",
        }
    }
}

/// Token counts of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub prompt: u32,
    pub completion: u32,
}

impl Counts {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt.saturating_add(self.completion),
            "completion_tokens": self.completion,
        })
    }
}

/// Writes everything one answer consists of.
#[derive(Debug)]
pub(super) struct Writer {
    api: Api,
    /// Number of the request; also chooses where in the word list the answer begins.
    number: u64,
    created: u64,
    model: String,
    /// Every event's beginning, up to its choices.
    head: String,
}

impl Writer {
    /// `created` is in seconds.
    pub(super) fn new(api: Api, number: u64, created: u64, model: &str) -> Self {
        let mut writer = Self {
            api,
            number,
            created,
            model: model.to_owned(),
            head: String::new(),
        };
        let object = match api {
            Api::Chat => "chat.completion.chunk",
            Api::Text => "text_completion",
        };
        let (id, model) = (writer.id(), Value::from(model));
        writer.head = format!(
            "data: {{\"id\":\"{id}\",\"object\":\"{object}\",\"created\":{created},\"model\":{model},\"choices\":["
        );
        writer
    }

    fn id(&self) -> String {
        let prefix = match self.api {
            Api::Chat => "chatcmpl",
            Api::Text => "cmpl",
        };
        format!("{prefix}-{:016x}", self.number)
    }

    /// The first chunk of a chat: a role, no content. Completions have none.
    pub(super) fn role(&self) -> Option<Bytes> {
        let delta = r#""delta":{"role":"assistant","content":""}"#;
        match self.api {
            Api::Chat => Some(self.choice(delta, None)),
            Api::Text => None,
        }
    }

    /// The event of token number `index`, counted from 0.
    pub(super) fn token(&self, index: u32, finish: Option<Finish>) -> Bytes {
        let word = self.word(index);
        let text = match self.api {
            Api::Chat => format!("\"delta\":{{\"content\":\"{word}\"}}"),
            Api::Text => format!("\"text\":\"{word}\""),
        };
        self.choice(&text, finish)
    }

    /// The event with the counts: no choices.
    pub(super) fn usage(&self, counts: Counts) -> Bytes {
        format!("{}],\"usage\":{}}}\n\n", self.head, counts.json()).into()
    }

    /// The whole answer, not streamed.
    pub(super) fn whole(&self, counts: Counts, finish: Finish) -> Bytes {
        let text: String = (0..counts.completion)
            .map(|index| self.word(index))
            .collect();
        let finish = finish.name();
        let (object, choice) = match self.api {
            Api::Chat => (
                "chat.completion",
                json!({"index": 0, "message": {"role": "assistant", "content": text},
                    "logprobs": null, "finish_reason": finish}),
            ),
            Api::Text => (
                "text_completion",
                json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish}),
            ),
        };
        let answer = json!({
            "id": self.id(),
            "object": object,
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "usage": counts.json(),
        });
        answer.to_string().into()
    }

    fn choice(&self, content: &str, finish: Option<Finish>) -> Bytes {
        let head = &self.head;
        let finish = finish.map_or_else(
            || "null".to_owned(),
            |finish| format!("\"{}\"", finish.name()),
        );
        format!(
            "{head}{{\"index\":0,{content},\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        )
        .into()
    }

    /// Words are separated by the space before each but the first.
    fn word(&self, index: u32) -> String {
        let size = WORDS.len() as u64;
        let place = (self.number % size + u64::from(index)) % size;
        let word = usize::try_from(place)
            .ok()
            .and_then(|place| WORDS.get(place))
            .unwrap_or(&"word");
        let space = if index == 0 { "" } else { " " };
        format!("{space}{word}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(event: &Bytes) -> Value {
        let text = std::str::from_utf8(event).unwrap();
        let data = text.strip_prefix("data: ").unwrap();
        let data = data.strip_suffix("\n\n").unwrap();
        assert!(!data.contains('\n'));
        serde_json::from_str(data).unwrap()
    }

    #[test]
    fn chat_events_have_vllms_form() {
        let writer = Writer::new(Api::Chat, 3, 12, "a \"model\"");
        let role = parsed(&writer.role().unwrap());
        let expected = json!({"id": "chatcmpl-0000000000000003",
            "object": "chat.completion.chunk", "created": 12, "model": "a \"model\"",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""},
                "logprobs": null, "finish_reason": null}]});
        assert_eq!(role, expected);
        let token = parsed(&writer.token(0, None));
        assert_eq!(token["choices"][0]["delta"], json!({"content": "every"}));
        let last = parsed(&writer.token(1, Some(Finish::Length)));
        assert_eq!(last["choices"][0]["delta"], json!({"content": " token"}));
        assert_eq!(last["choices"][0]["finish_reason"], "length");
    }

    #[test]
    fn usage_comes_with_empty_choices() {
        let writer = Writer::new(Api::Chat, 0, 0, "sim");
        let usage = parsed(&writer.usage(Counts {
            prompt: 7,
            completion: 5,
        }));
        assert_eq!(usage["choices"], json!([]));
        assert_eq!(
            usage["usage"],
            json!({"prompt_tokens": 7, "total_tokens": 12, "completion_tokens": 5})
        );
    }

    #[test]
    fn completions_have_text_and_no_role() {
        let writer = Writer::new(Api::Text, 0, 0, "sim");
        assert_eq!(writer.role(), None);
        let token = parsed(&writer.token(0, Some(Finish::Stop)));
        assert_eq!(token["object"], "text_completion");
        assert_eq!(token["choices"][0]["text"], "time");
        assert_eq!(token["choices"][0]["finish_reason"], "stop");
    }

    #[test]
    fn a_whole_answer_is_the_sum_of_its_tokens() {
        let counts = Counts {
            prompt: 2,
            completion: 40,
        };
        for api in [Api::Chat, Api::Text] {
            let writer = Writer::new(api, u64::MAX, 0, "sim");
            let streamed: String = (0..40)
                .map(|index| parsed(&writer.token(index, None)))
                .map(|event| {
                    let choice = &event["choices"][0];
                    let text = choice["delta"]["content"].as_str();
                    text.or(choice["text"].as_str()).unwrap().to_owned()
                })
                .collect();
            let whole: Value =
                serde_json::from_slice(&writer.whole(counts, Finish::Length)).unwrap();
            let choice = &whole["choices"][0];
            let text = choice["message"]["content"].as_str();
            assert_eq!(text.or(choice["text"].as_str()), Some(streamed.as_str()));
            assert_eq!(streamed.split_whitespace().count(), 40);
        }
    }
}
