//! What a failed attempt becomes: a refusal with all it says, and the error for the caller.

use serde_json::Value;

use super::{
    GitHubError,
    operations::{DOWNLOAD_ARTIFACT, Operation},
    refusal::{Kind, Refusal},
    retry::Failure,
    transport::Reply,
};

/// The error for the caller when no further attempt is made. `attempts` counts this one.
pub fn give_up(operation: &'static Operation, attempts: u32, failure: Failure) -> GitHubError {
    let action = operation.action;
    match failure {
        Failure::Cut(detail) => GitHubError::Unreachable {
            action,
            attempts,
            detail,
        },
        Failure::Unreadable(detail) => GitHubError::Answer { action, detail },
        Failure::Large(most) => GitHubError::TooLarge { action, most },
        Failure::Redirected(detail) => GitHubError::Redirected { action, detail },
        Failure::Untrusted(detail) => GitHubError::Untrusted { action, detail },
        // This one was not sent.
        Failure::Held {
            limited: true,
            detail,
        } => GitHubError::Limited {
            action,
            attempts: attempts.saturating_sub(1),
            message: detail,
        },
        Failure::Held {
            limited: false,
            detail,
        } => GitHubError::Unreachable {
            action,
            attempts: attempts.saturating_sub(1),
            detail,
        },
        Failure::Refused(refusal) => refused_for_good(operation, attempts, refusal),
    }
}

fn refused_for_good(operation: &'static Operation, attempts: u32, refusal: Refusal) -> GitHubError {
    let action = operation.action;
    let access = operation.access;
    let denial = refusal.denial();
    let kind = refusal.kind();
    let Refusal {
        status, message, ..
    } = refusal;
    match kind {
        Kind::Forbidden => GitHubError::Forbidden {
            action,
            access,
            denial,
            message,
        },
        Kind::Limited => GitHubError::Limited {
            action,
            attempts,
            message,
        },
        Kind::Passing => GitHubError::Unreachable {
            action,
            attempts,
            detail: format!("status {status}: {message}"),
        },
        Kind::Final if status == 410 && *operation == DOWNLOAD_ARTIFACT => {
            GitHubError::Expired { action, message }
        }
        Kind::Final if status == 404 && refusal.no_route => {
            GitHubError::NotOnServer { action, operation }
        }
        Kind::Final => GitHubError::Status {
            action,
            access,
            status,
            message,
        },
    }
}

/// A failure in a few words.
pub(super) fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => format!("status {}: {}", refusal.status, refusal.message),
        Failure::Cut(detail)
        | Failure::Unreadable(detail)
        | Failure::Redirected(detail)
        | Failure::Untrusted(detail)
        | Failure::Held { detail, .. } => detail.clone(),
        Failure::Large(most) => format!("more than {most} bytes"),
    }
}

/// A refusal with all it says. Its message is foreign text, as long as it came.
pub(super) fn refused(reply: &Reply) -> Refusal {
    let text = |name: &str| {
        let value = reply.headers.get(name)?;
        value.to_str().ok()
    };
    let number = |name: &str| text(name).and_then(|value| value.trim().parse().ok());
    let date = text("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let message = message(&json);
    let docs = json.get("documentation_url").and_then(Value::as_str);
    Refusal {
        status: reply.status,
        foreign: message.is_none(),
        // A proxy's page.
        message: message.unwrap_or_else(|| String::from_utf8_lossy(&reply.body).into_owned()),
        retry_after_s: number("retry-after"),
        remaining: number("x-ratelimit-remaining"),
        reset_s: number("x-ratelimit-reset"),
        date_s: date.and_then(|date| u64::try_from(date.timestamp().as_second()).ok()),
        sso: text("x-github-sso").is_some_and(|sso| sso.starts_with("required")),
        no_route: docs.is_some_and(whole_documentation),
    }
}

/// Whether this is the documentation's front page and not that of one route.
fn whole_documentation(url: &str) -> bool {
    url.contains("enterprise-server@") && url.trim_end_matches('/').ends_with("/rest")
}

/// `message` of GitHub's error body with the first detail.
fn message(json: &Value) -> Option<String> {
    let message = json.get("message").and_then(Value::as_str)?;
    let detail = json.pointer("/errors/0/message").and_then(Value::as_str);
    Some(detail.map_or_else(
        || message.to_owned(),
        |detail| format!("{message}: {detail}"),
    ))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn the_headers_of_a_refusal_are_read() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("7"));
        headers.insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
        headers.insert("x-ratelimit-reset", HeaderValue::from_static("784111807"));
        // The example of RFC 9110, section 5.6.7.
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert("date", date);
        let reply = |status, headers| Reply {
            status,
            headers,
            body: Bytes::new(),
        };
        let read = refused(&reply(403, headers));
        assert_eq!(read.retry_after_s, Some(7));
        assert_eq!(read.remaining, Some(0));
        assert_eq!(read.reset_s, Some(784_111_807));
        assert_eq!(read.date_s, Some(784_111_777));
        let bare = refused(&reply(500, HeaderMap::new()));
        assert_eq!((bare.retry_after_s, bare.date_s), (None, None));
    }

    #[test]
    fn error_bodies_become_one_sentence() {
        let long = br#"{"message":"Validation Failed","errors":[{"message":"body is too long"}]}"#;
        let read = |body: &[u8]| message(&serde_json::from_slice(body).unwrap_or_default());
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(read(long), text("Validation Failed: body is too long"));
        assert_eq!(read(br#"{"message":"Not Found"}"#), text("Not Found"));
        assert_eq!(read(b"<html>"), None);
    }
}
