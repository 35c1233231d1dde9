//! Request bodies. Pure.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::ApiPath;
use crate::plan::PlannedRequest;

/// The JSON body of one request: streaming, with usage, temperature 0, then `extras` (which may
/// replace any of these).
pub fn request_body(
    path: ApiPath,
    model: &str,
    request: &PlannedRequest,
    extras: &Map<String, Value>,
) -> Bytes {
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    match path {
        ApiPath::Chat => {
            let message = json!([{ "role": "user", "content": request.prompt }]);
            body.insert("messages".to_owned(), message);
        }
        ApiPath::Completions => {
            body.insert("prompt".to_owned(), request.prompt.as_str().into());
        }
    }
    body.insert("max_tokens".to_owned(), request.output_tokens.get().into());
    body.insert("temperature".to_owned(), 0.into());
    body.insert("stream".to_owned(), true.into());
    let options = json!({ "include_usage": true });
    body.insert("stream_options".to_owned(), options);
    for (key, value) in extras {
        body.insert(key.clone(), value.clone());
    }
    Bytes::from(Value::Object(body).to_string())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn parsed(path: ApiPath, extras: &Value) -> Value {
        let request = PlannedRequest {
            index: 0,
            prompt: "say \"é\"\n".to_owned(),
            output_tokens: NonZeroU32::new(17).unwrap(),
        };
        let body = request_body(path, "org/model", &request, extras.as_object().unwrap());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_chat_request_streams_and_asks_for_usage() {
        let body = parsed(ApiPath::Chat, &json!({}));
        let expected = json!({
            "model": "org/model",
            "messages": [{ "role": "user", "content": "say \"é\"\n" }],
            "max_tokens": 17,
            "temperature": 0,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_completion_has_a_prompt_and_extras_win() {
        let body = parsed(
            ApiPath::Completions,
            &json!({ "ignore_eos": true, "temperature": 1 }),
        );
        assert_eq!(body["prompt"], "say \"é\"\n");
        assert_eq!(body["messages"], Value::Null);
        assert_eq!(
            (&body["ignore_eos"], &body["temperature"]),
            (&json!(true), &json!(1))
        );
    }
}
