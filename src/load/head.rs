//! What the head of an HTTP/1.1 answer says. Pure.
//!
//! The syntax is httparse's business; here stands what the fields mean (RFC 9112 §6, RFC 9110
//! §8 and §10.2.3). Two readers of a head must not be able to disagree about where its body
//! ends: such a head is refused.

use httparse::{EMPTY_HEADER, Header, ParserConfig};

/// A head that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the answer's head is malformed: {0}")]
    Syntax(httparse::Error),
    #[error("the answer's Content-Length {0:?} is no length")]
    Length(String),
    #[error("the answer has two different lengths")]
    Lengths,
    #[error("the answer has both a Content-Length and a Transfer-Encoding")]
    Conflict,
    #[error("the answer's Transfer-Encoding {0:?} is not supported; chunked is")]
    Coding(String),
    #[error("the server switched to another protocol")]
    Switched,
}

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// It has so many bytes.
    Counted(u64),
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// What an answer's head says, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The server's words for it.
    pub(super) reason: String,
    /// Whether the server keeps the connection open for another request.
    pub(super) keep_alive: bool,
    /// The media type in lower case, without parameters.
    pub(super) media_type: Option<String>,
    /// The content codings other than `identity`.
    pub(super) encoding: Option<String>,
    pub(super) retry_after: Option<String>,
}

/// Reads a whole head, its empty line included.
///
/// # Errors
/// It is malformed, or it is not clear where its body ends.
pub(super) fn parse(bytes: &[u8]) -> Result<(Head, Framing), HeadError> {
    // One header is at least one line.
    let lines = memchr::memchr_iter(b'\n', bytes).count();
    let mut headers = vec![EMPTY_HEADER; lines];
    let mut response = httparse::Response::new(&mut headers);
    let mut config = ParserConfig::default();
    config
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_multiple_spaces_in_response_status_delimiters(true);
    let parsed = config.parse_response(&mut response, bytes);
    let complete = parsed.map_err(HeadError::Syntax)?.is_complete();
    let (Some(status), true) = (response.code, complete) else {
        return Err(HeadError::Syntax(httparse::Error::NewLine));
    };
    if status == 101 {
        return Err(HeadError::Switched);
    }
    let headers: &[Header<'_>] = response.headers;
    let closes = words(headers, "connection").any(|word| word.eq_ignore_ascii_case("close"));
    let encoding: Vec<String> = words(headers, "content-encoding")
        .filter(|word| !word.eq_ignore_ascii_case("identity"))
        .collect();
    let media_type = first(headers, "content-type").map(|text| {
        let kind = text.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    });
    let head = Head {
        status,
        reason: response.reason.unwrap_or_default().to_owned(),
        keep_alive: response.version == Some(1) && !closes,
        media_type: media_type.filter(|kind| !kind.is_empty()),
        encoding: (!encoding.is_empty()).then(|| encoding.join(", ")),
        retry_after: first(headers, "retry-after"),
    };
    Ok((head, framing(status, headers)?))
}

/// How the body is delimited (RFC 9112 §6.3).
fn framing(status: u16, headers: &[Header<'_>]) -> Result<Framing, HeadError> {
    let mut length = None;
    for word in words(headers, "content-length") {
        let digits = word.bytes().all(|byte| byte.is_ascii_digit());
        let Some(value) = word.parse::<u64>().ok().filter(|_| digits) else {
            return Err(HeadError::Length(word));
        };
        if length.is_some_and(|known| known != value) {
            return Err(HeadError::Lengths);
        }
        length = Some(value);
    }
    let codings: Vec<String> = words(headers, "transfer-encoding")
        .filter(|word| !word.eq_ignore_ascii_case("identity"))
        .collect();
    if status < 200 || status == 204 || status == 304 {
        return Ok(Framing::Counted(0));
    }
    match (codings.as_slice(), length) {
        ([], Some(length)) => Ok(Framing::Counted(length)),
        ([], None) => Ok(Framing::UntilClose),
        ([_, ..], Some(_)) => Err(HeadError::Conflict),
        ([one], None) if one.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([_, ..], None) => Err(HeadError::Coding(codings.join(", "))),
    }
}

/// The values of all headers of this name.
fn values<'h>(headers: &'h [Header<'_>], name: &'h str) -> impl Iterator<Item = String> + 'h {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
}

fn first(headers: &[Header<'_>], name: &str) -> Option<String> {
    values(headers, name).find(|value| !value.is_empty())
}

/// The comma-separated words of all headers of this name.
fn words<'h>(headers: &'h [Header<'_>], name: &'h str) -> impl Iterator<Item = String> + 'h {
    values(headers, name).flat_map(|value| {
        let words: Vec<String> = value
            .split(',')
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect();
        words
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(fields: &str) -> (Head, Framing) {
        parse(format!("HTTP/1.1 200 Fine\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn the_fields_that_matter_are_read() {
        let (head, framing) = parsed(
            "Content-Type: Text/Event-Stream;charset=utf-8\r\nRetry-After: 5 \r\n\
             CONTENT-ENCODING: identity, br\r\ncontent-encoding: gzip\r\nContent-Length: 12\r\n",
        );
        let expected = Head {
            status: 200,
            reason: "Fine".to_owned(),
            keep_alive: true,
            media_type: Some("text/event-stream".to_owned()),
            encoding: Some("br, gzip".to_owned()),
            retry_after: Some("5".to_owned()),
        };
        assert_eq!((head, framing), (expected, Framing::Counted(12)));
    }

    #[test]
    fn fields_that_say_nothing_are_absent() {
        let (head, framing) = parsed("content-type:\r\ncontent-encoding: identity\r\n");
        assert_eq!((head.media_type, head.encoding), (None, None));
        assert_eq!(framing, Framing::UntilClose);
        assert_eq!(parsed("transfer-encoding: Chunked\r\n").1, Framing::Chunked);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let refused = |fields: &str| {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            parse(head.as_bytes()).unwrap_err()
        };
        assert_eq!(
            refused("content-length: 3\r\ncontent-length: 4\r\n"),
            HeadError::Lengths
        );
        assert_eq!(
            refused("content-length: 3\r\ntransfer-encoding: chunked\r\n"),
            HeadError::Conflict
        );
        for length in ["+3", "0x3", "3 4", "18446744073709551616"] {
            assert_eq!(
                refused(&format!("content-length: {length}\r\n")),
                HeadError::Length(length.to_owned())
            );
        }
        let coding = refused("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n");
        assert_eq!(coding, HeadError::Coding("chunked, chunked".to_owned()));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(HTTP/1.1 [0-9]{3} ?)?([a-z\u{e9}]{0,5}: ?[0-9a-z,]{0,5}\r?\n){0,9}\r\n") {
            if let Ok((head, _)) = parse(text.as_bytes()) {
                prop_assert!(text.contains(&head.status.to_string()));
            }
        }
    }
}
