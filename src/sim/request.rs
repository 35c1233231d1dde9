//! Request bodies. Pure: bytes in, an [`Ask`] or an error object out.
//!
//! As in vLLM, unknown keys are ignored and `max_completion_tokens` wins over `max_tokens`.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

/// Prompt and answer together may have this many tokens, as `max_model_len` in vLLM.
pub(super) const MAX_MODEL_LEN: u32 = 131_072;
/// Answer length of `/v1/completions` without `max_tokens`, as in `OpenAI`'s API.
const DEFAULT_COMPLETION_TOKENS: u32 = 16;

/// Which of the two APIs was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

/// A valid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub api: Api,
    /// At least 1.
    pub prompt_tokens: u32,
    /// At least 1.
    pub max_tokens: u32,
    /// At most `max_tokens`.
    pub min_tokens: u32,
    pub ignore_eos: bool,
    pub stream: bool,
    pub include_usage: bool,
    pub seed: Option<i64>,
}

/// A refusal, as `OpenAI`'s clients expect it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub status: StatusCode,
    /// vLLM's names, such as `BadRequestError`.
    pub kind: &'static str,
    /// The key at fault.
    pub param: Option<&'static str>,
    pub message: String,
}

impl ApiError {
    pub(super) fn bad_request(param: Option<&'static str>, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "BadRequestError",
            param,
            message: message.into(),
        }
    }

    /// The error object.
    pub(super) fn body(&self) -> Bytes {
        let object = json!({"error": {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.status.as_u16(),
        }});
        object.to_string().into()
    }
}

#[derive(Deserialize)]
struct Wire {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    prompt: Option<Prompt>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    ignore_eos: Option<bool>,
    seed: Option<i64>,
    n: Option<i64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
}

/// Reads the body of a completion request.
///
/// # Errors
/// 400 for what is no JSON, lacks its prompt or is out of range; 404 for another model.
pub(super) fn parse(api: Api, body: &[u8], served_model: &str) -> Result<Ask, ApiError> {
    let wire = read(body)?;
    check_model(wire.model.as_deref(), served_model)?;
    if wire.n.is_some_and(|n| n != 1) {
        return Err(ApiError::bad_request(Some("n"), "n must be 1"));
    }
    let stream = wire.stream.unwrap_or(false);
    if wire.stream_options.is_some() && !stream {
        return Err(ApiError::bad_request(
            Some("stream_options"),
            "Stream options can only be defined when `stream=True`.",
        ));
    }
    let prompt_tokens = match api {
        Api::Chat => words_of_messages(wire.messages.as_deref())?,
        Api::Text => words_of_prompt(wire.prompt.as_ref())?,
    };
    let (max_tokens, min_tokens) = lengths(api, &wire, prompt_tokens)?;
    Ok(Ask {
        api,
        prompt_tokens,
        max_tokens,
        min_tokens,
        ignore_eos: wire.ignore_eos.unwrap_or(false),
        stream,
        include_usage: wire
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
        seed: wire.seed,
    })
}

/// The words of a `/tokenize` body: of its `prompt` or of its `messages`.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_tokenize(body: &[u8], served_model: &str) -> Result<u32, ApiError> {
    let wire = read(body)?;
    check_model(wire.model.as_deref(), served_model)?;
    match wire.prompt {
        Some(prompt) => words_of_prompt(Some(&prompt)),
        None => words_of_messages(wire.messages.as_deref()),
    }
}

fn read(body: &[u8]) -> Result<Wire, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        ApiError::bad_request(None, format!("the body is not a valid request: {error}"))
    })
}

fn check_model(asked: Option<&str>, served: &str) -> Result<(), ApiError> {
    match asked {
        Some(asked) if asked != served => Err(ApiError {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            param: Some("model"),
            message: format!("The model `{asked}` does not exist."),
        }),
        // vLLM takes a request without a model as one for its own.
        Some(_) | None => Ok(()),
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// A prompt has at least one token, the beginning of the sequence.
fn tokens(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

fn words_of_messages(messages: Option<&[Message]>) -> Result<u32, ApiError> {
    let messages = messages.filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| {
        ApiError::bad_request(Some("messages"), "messages must have at least one message")
    })?;
    let count = messages.iter().map(|message| match &message.content {
        None => 0,
        Some(Content::Text(text)) => words(text),
        Some(Content::Parts(parts)) => parts
            .iter()
            .filter_map(|part| part.text.as_deref())
            .map(words)
            .sum(),
    });
    Ok(tokens(count.sum()))
}

fn words_of_prompt(prompt: Option<&Prompt>) -> Result<u32, ApiError> {
    match prompt {
        Some(Prompt::Text(text)) => Ok(tokens(words(text))),
        Some(Prompt::Tokens(ids)) if !ids.is_empty() => Ok(tokens(ids.len())),
        Some(Prompt::Texts(texts)) if texts.len() == 1 => {
            Ok(tokens(texts.iter().map(|text| words(text)).sum()))
        }
        None => Err(ApiError::bad_request(Some("prompt"), "prompt is missing")),
        Some(Prompt::Tokens(_) | Prompt::Texts(_)) => Err(ApiError::bad_request(
            Some("prompt"),
            "prompt must be one text or the token ids of one",
        )),
    }
}

/// `max_tokens` and `min_tokens`, defaults filled in.
fn lengths(api: Api, wire: &Wire, prompt_tokens: u32) -> Result<(u32, u32), ApiError> {
    let room = MAX_MODEL_LEN
        .checked_sub(prompt_tokens)
        .filter(|room| *room > 0);
    let room = room.ok_or_else(|| {
        let param = match api {
            Api::Chat => "messages",
            Api::Text => "prompt",
        };
        let message = format!(
            "This model's maximum context length is {MAX_MODEL_LEN} tokens. However, your prompt \
             has {prompt_tokens}."
        );
        ApiError::bad_request(Some(param), message)
    })?;
    let asked = wire.max_completion_tokens.or(wire.max_tokens);
    let max_tokens = match (asked, api) {
        (Some(asked), Api::Chat | Api::Text) => u32::try_from(asked)
            .ok()
            .filter(|max| (1..=room).contains(max))
            .ok_or_else(|| {
                let message = format!("max_tokens must be from 1 to {room}, got {asked}.");
                ApiError::bad_request(Some("max_tokens"), message)
            })?,
        (None, Api::Chat) => room,
        (None, Api::Text) => DEFAULT_COMPLETION_TOKENS.min(room),
    };
    let asked = wire.min_tokens.unwrap_or(0);
    let min_tokens = u32::try_from(asked)
        .ok()
        .filter(|min| *min <= max_tokens)
        .ok_or_else(|| {
            let message =
                format!("min_tokens must be from 0 to max_tokens ({max_tokens}), got {asked}.");
            ApiError::bad_request(Some("min_tokens"), message)
        })?;
    Ok((max_tokens, min_tokens))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chat(body: &str) -> Result<Ask, ApiError> {
        parse(Api::Chat, body.as_bytes(), "sim")
    }

    fn text(body: &str) -> Result<Ask, ApiError> {
        parse(Api::Text, body.as_bytes(), "sim")
    }

    #[test]
    fn a_full_chat_request() {
        let ask = chat(
            r#"{"model":"sim","messages":[{"role":"system","content":"be brief"},
                {"role":"user","content":[{"type":"text","text":"one  two\nthree"},
                {"type":"image_url","image_url":{"url":"x"}}]}],
                "stream":true,"stream_options":{"include_usage":true,"later":1},
                "max_completion_tokens":7,"max_tokens":9,"min_tokens":3,"ignore_eos":true,
                "seed":-4,"n":1,"temperature":0,"cache_prompt":false,"nonsense":[[[]]]}"#,
        );
        let expected = Ask {
            api: Api::Chat,
            prompt_tokens: 5,
            max_tokens: 7,
            min_tokens: 3,
            ignore_eos: true,
            stream: true,
            include_usage: true,
            seed: Some(-4),
        };
        assert_eq!(ask, Ok(expected));
    }

    #[test]
    fn defaults_follow_vllm() {
        let ask = chat(r#"{"messages":[{"role":"user","content":"a b"}]}"#).unwrap();
        assert_eq!(ask.max_tokens, MAX_MODEL_LEN - 2);
        assert!(!ask.stream && !ask.include_usage && !ask.ignore_eos);
        let ask = text(r#"{"prompt":"a b"}"#).unwrap();
        assert_eq!((ask.max_tokens, ask.min_tokens), (16, 0));
        // null is as good as absent.
        assert!(text(r#"{"prompt":"a","max_tokens":null,"stream_options":null}"#).is_ok());
    }

    #[test]
    fn prompts_of_all_forms_are_counted() {
        for (prompt, tokens) in [
            (r#""one two three""#, 3),
            (r#"["one two"]"#, 2),
            ("[11,12,13,14]", 4),
            (r#""""#, 1),
            (r#""\u00fcber  \u2003 alles""#, 2),
        ] {
            let ask = text(&format!(r#"{{"prompt":{prompt}}}"#)).unwrap();
            assert_eq!(ask.prompt_tokens, tokens, "{prompt}");
        }
    }

    #[test]
    fn refusals_name_the_key() {
        let user = r#""messages":[{"role":"user","content":"a"}]"#;
        for (body, status, param) in [
            ("{", 400, None),
            ("[]", 400, None),
            (r#"{"messages":"a"}"#, 400, None),
            (r#"{"model":"sim"}"#, 400, Some("messages")),
            (r#"{"messages":[]}"#, 400, Some("messages")),
            (r#"{"model":"gpt-5","messages":[]}"#, 404, Some("model")),
            (&format!(r#"{{{user},"n":2}}"#), 400, Some("n")),
            (
                &format!(r#"{{{user},"max_tokens":0}}"#),
                400,
                Some("max_tokens"),
            ),
            (
                &format!(r#"{{{user},"max_tokens":131072}}"#),
                400,
                Some("max_tokens"),
            ),
            (
                &format!(r#"{{{user},"max_tokens":2,"min_tokens":3}}"#),
                400,
                Some("min_tokens"),
            ),
            (
                &format!(r#"{{{user},"min_tokens":-1}}"#),
                400,
                Some("min_tokens"),
            ),
            (
                &format!(r#"{{{user},"stream_options":{{"include_usage":true}}}}"#),
                400,
                Some("stream_options"),
            ),
        ] {
            let error = chat(body).unwrap_err();
            assert_eq!(
                (error.status.as_u16(), error.param),
                (status, param),
                "{body}"
            );
        }
        for body in [r"{}", r#"{"prompt":[]}"#, r#"{"prompt":["a","b"]}"#] {
            assert_eq!(text(body).unwrap_err().param, Some("prompt"), "{body}");
        }
        let long = format!(r#"{{"prompt":"{}"}}"#, "a ".repeat(131_072));
        assert_eq!(text(&long).unwrap_err().param, Some("prompt"));
    }

    #[test]
    fn an_error_object_has_openais_form() {
        let error = ApiError::bad_request(Some("n"), "a \"quoted\" reason");
        let value: serde_json::Value = serde_json::from_slice(&error.body()).unwrap();
        let expected = json!({"error": {"message": "a \"quoted\" reason",
            "type": "BadRequestError", "param": "n", "code": 400}});
        assert_eq!(value, expected);
    }

    #[test]
    fn tokenize_counts_either_form() {
        let count = |body: &str| parse_tokenize(body.as_bytes(), "sim");
        assert_eq!(count(r#"{"prompt":"a b c"}"#), Ok(3));
        assert_eq!(count(r#"{"messages":[{"content":"a b"}]}"#), Ok(2));
        assert!(count("{}").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_not_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let asked = parse(Api::Chat, &body, "sim");
            prop_assert!(asked.is_err());
        }

        #[test]
        fn accepted_lengths_are_in_range(max in any::<i64>(), min in any::<i64>()) {
            let body = format!(r#"{{"prompt":"a","max_tokens":{max},"min_tokens":{min}}}"#);
            match text(&body) {
                Ok(ask) => prop_assert!(
                    i64::from(ask.max_tokens) == max && i64::from(ask.min_tokens) == min
                        && max >= 1 && min >= 0 && min <= max
                ),
                Err(error) => prop_assert_eq!(error.status, StatusCode::BAD_REQUEST),
            }
        }

        #[test]
        fn n_words_are_n_tokens(words in prop::collection::vec("[a-zA-Z0-9]{1,8}", 1..60)) {
            let body = json!({"prompt": words.join(" ")}).to_string();
            prop_assert_eq!(text(&body).unwrap().prompt_tokens as usize, words.len());
        }
    }
}
