//! Requests on the wire. Pure: bytes in, what to do out.

use memchr::memmem;

use super::super::{
    answer::Counts,
    request::{self, Api, ApiError, Ask},
};
use http::StatusCode;

/// Longest request head and body together: more is no benchmark's prompt.
const LONGEST: usize = 16 << 20;
/// Most header lines of a request.
const HEADERS: usize = 64;
/// What stands before a prompt's number, in chats and in completions.
const MARKS: [&[u8]; 2] = [br##""content":"#"##, br##""prompt":"#"##];

/// What a connection asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A stream.
    Stream(Prompted),
    /// The list of models.
    Models,
    /// Whether it is well.
    Health,
    /// Something that is refused; the connection goes on.
    Refused(ApiError),
}

/// A request for tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prompted {
    pub ask: Ask,
    /// The number its prompt begins with.
    pub marker: Option<u64>,
}

impl Prompted {
    /// The counts of an answer with this many tokens, where they were asked for.
    pub(super) fn usage(&self, completion: u32) -> Option<Counts> {
        self.ask.include_usage.then_some(Counts {
            prompt: self.ask.prompt_tokens,
            completion,
        })
    }
}

/// The bytes are no request; the connection cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken(pub(super) ApiError);

/// The first request in `bytes` and its length in bytes; `None` until it is there whole.
///
/// # Errors
/// What is there is no HTTP/1.1, or has no length.
pub(super) fn take(bytes: &[u8], model: &str) -> Result<Option<(Wanted, usize)>, Broken> {
    let broken = |message: &str| Broken(ApiError::bad_request(None, message));
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let begin = match head.parse(bytes) {
        Ok(httparse::Status::Complete(begin)) => begin,
        Ok(httparse::Status::Partial) if bytes.len() <= LONGEST => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(broken("the request's head is too long")),
        Err(error) => return Err(broken(&format!("the request's head is wrong: {error}"))),
    };
    let length = length(head.headers).ok_or_else(|| broken("a body needs a content-length"))?;
    let end = begin
        .checked_add(length)
        .filter(|end| *end <= LONGEST)
        .ok_or_else(|| broken("the request is too long"))?;
    let Some(body) = bytes.get(begin..end) else {
        return Ok(None);
    };
    let wanted = wanted(head.method, head.path, body, model);
    Ok(Some((wanted, end)))
}

/// The length of the body; `None` for one that does not say it.
fn length(headers: &[httparse::Header]) -> Option<usize> {
    let value = |name: &str| {
        let header = headers
            .iter()
            .find(|one| one.name.eq_ignore_ascii_case(name));
        header.map(|header| header.value)
    };
    match value("content-length") {
        Some(length) => std::str::from_utf8(length).ok()?.trim().parse().ok(),
        None if value("transfer-encoding").is_some() => None,
        None => Some(0),
    }
}

fn wanted(method: Option<&str>, path: Option<&str>, body: &[u8], model: &str) -> Wanted {
    let stream = |api| match request::parse(api, body, model) {
        Ok(ask) if ask.stream => Wanted::Stream(Prompted {
            ask,
            marker: marker(body),
        }),
        Ok(_) => Wanted::Refused(ApiError::bad_request(
            Some("stream"),
            "the paced simulator only streams: set \"stream\": true",
        )),
        Err(error) => Wanted::Refused(error),
    };
    match (method, path) {
        (Some("POST"), Some("/v1/chat/completions")) => stream(Api::Chat),
        (Some("POST"), Some("/v1/completions")) => stream(Api::Text),
        (Some("GET"), Some("/v1/models")) => Wanted::Models,
        (Some("GET"), Some("/health")) => Wanted::Health,
        (Some(_) | None, Some(_) | None) => Wanted::Refused(ApiError {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            param: None,
            message: "Not Found".to_owned(),
        }),
    }
}

/// The number that the first prompt begins with, as in `#17 `.
fn marker(body: &[u8]) -> Option<u64> {
    let after = MARKS
        .iter()
        .find_map(|mark| Some(memmem::find(body, mark)? + mark.len()))?;
    let digits = body
        .get(after..)?
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        let value = u64::from(digit - b'0');
        number = Some(
            number
                .unwrap_or(0_u64)
                .checked_mul(10)?
                .checked_add(value)?,
        );
    }
    number
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn post(path: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}").into()
    }

    const CHAT: &str = r##"{"model":"m","max_tokens":7,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"#42 a b"}]}"##;

    #[test]
    fn a_chat_is_read_with_its_number_and_the_next_request_stays() {
        let mut bytes = post("/v1/chat/completions", CHAT);
        let whole = bytes.len();
        bytes.extend(b"GET /health HTTP/1.1\r\n\r\n");
        let (wanted, taken) = take(&bytes, "m").unwrap().unwrap();
        assert_eq!(taken, whole);
        let Wanted::Stream(prompted) = wanted else {
            panic!("{wanted:?}")
        };
        assert_eq!((prompted.marker, prompted.ask.max_tokens), (Some(42), 7));
        let usage = prompted.usage(7).unwrap();
        assert_eq!((usage.prompt, usage.completion), (3, 7));
        let next = take(&bytes[taken..], "m").unwrap().unwrap();
        assert_eq!(next.0, Wanted::Health);
    }

    #[test]
    fn a_completion_may_have_no_number() {
        let body = r#"{"prompt":"a b c","stream":true}"#;
        let (wanted, _) = take(&post("/v1/completions", body), "m").unwrap().unwrap();
        let Wanted::Stream(prompted) = wanted else {
            panic!("{wanted:?}")
        };
        assert_eq!((prompted.marker, prompted.usage(16)), (None, None));
        assert_eq!(marker(br##"{"prompt":"#9999999999999999999999 "}"##), None);
    }

    #[test]
    fn what_cannot_be_streamed_is_refused_with_a_reason() {
        for (bytes, status, part) in [
            (
                post("/v1/completions", r#"{"prompt":"a"}"#),
                400,
                "only streams",
            ),
            (post("/v1/completions", "{"), 400, "not a valid request"),
            (post("/nothing", "{}"), 404, "Not Found"),
        ] {
            let (wanted, _) = take(&bytes, "m").unwrap().unwrap();
            let Wanted::Refused(error) = wanted else {
                panic!("{wanted:?}")
            };
            assert_eq!(error.status.as_u16(), status);
            assert!(error.message.contains(part), "{}", error.message);
        }
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(take(chunked, "m").is_err());
        assert!(take(b"no such thing\r\n\r\n", "m").is_err());
    }

    proptest! {
        #[test]
        fn a_request_is_not_there_before_its_last_byte(cut in 0_usize..1000) {
            let bytes = post("/v1/chat/completions", CHAT);
            let cut = cut % bytes.len();
            prop_assert_eq!(take(&bytes[..cut], "m"), Ok(None));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            drop(take(&bytes, "m"));
            marker(&bytes);
        }
    }
}
