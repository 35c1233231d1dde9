//! Workflow commands and standard output: the only writer of both.
//!
//! In: text from anywhere, trusted or not. Out: bytes on the given writer that the runner reads
//! exactly as meant. Grammar: GitHub Docs, "Workflow commands for GitHub Actions", and
//! actions/runner `ActionCommand`: a line that starts with `::` after white space is a command,
//! and so is `##[` anywhere in a line; a line ends at CR or LF.

use std::io::{self, Write};

use super::text::shorten;
use crate::{ids::is_hidden, secret::Secret};

/// The runner cuts an annotation at 4,096 characters; this leaves room for its own additions.
const MESSAGE_CHARS: usize = 4_000;
/// A title is one line in the list of annotations.
const TITLE_CHARS: usize = 200;
/// A shorter line of a secret (a lone brace, say) would blank out half of the log.
const MASKED_LINE_CHARS: usize = 4;

/// Writes plain text and a newline: what a program or a person reads. Whatever the runner would
/// take for a command is broken by one space, because the text may come from an engine or a
/// pull request.
///
/// # Errors
///
/// What the writer reports.
pub fn text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut safe = inert(text);
    safe.push('\n');
    out.write_all(safe.as_bytes())
}

/// Writes an error annotation; an empty title is left out.
///
/// # Errors
///
/// What the writer reports.
pub fn error(out: &mut dyn Write, title: &str, text: &str) -> io::Result<()> {
    annotation(out, "error", title, text)
}

/// Writes a warning annotation; an empty title is left out.
///
/// # Errors
///
/// What the writer reports.
pub fn warning(out: &mut dyn Write, title: &str, text: &str) -> io::Result<()> {
    annotation(out, "warning", title, text)
}

/// Writes a notice annotation; an empty title is left out.
///
/// # Errors
///
/// What the writer reports.
pub fn notice(out: &mut dyn Write, title: &str, text: &str) -> io::Result<()> {
    annotation(out, "notice", title, text)
}

/// Tells the runner to hide a secret in all later output: the whole text, and each of its lines,
/// because logs are masked line by line.
///
/// # Errors
///
/// What the writer reports.
pub fn mask(out: &mut dyn Write, secret: &Secret) -> io::Result<()> {
    let whole = secret.expose();
    let mut line = format!("::add-mask::{}\n", escape_data(whole));
    if whole.contains(['\r', '\n']) {
        let parts = whole.split(['\r', '\n']).map(str::trim);
        for part in parts.filter(|part| part.chars().count() >= MASKED_LINE_CHARS) {
            line.push_str("::add-mask::");
            line.push_str(&escape_data(part));
            line.push('\n');
        }
    }
    out.write_all(line.as_bytes())
}

fn annotation(out: &mut dyn Write, level: &str, title: &str, text: &str) -> io::Result<()> {
    let property = if title.is_empty() {
        String::new()
    } else {
        format!(
            " title={}",
            escape_property(&shorten(&visible(title), TITLE_CHARS))
        )
    };
    let data = escape_data(&shorten(&visible(text), MESSAGE_CHARS));
    // One write: another thread's line cannot land inside the command.
    out.write_all(format!("::{level}{property}::{data}\n").as_bytes())
}

/// Nothing that moves on a terminal or hides: an annotation stands in the log too. Line breaks stay,
/// as they are escaped.
fn visible(text: &str) -> String {
    let shown = |c: char| {
        if is_hidden(c) && !matches!(c, '\n' | '\r' | '\t') {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

/// `%` goes first, or the other escapes would be escaped again.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// The same text with `::` at the start of a line as `: :` and `##[` as `## [`.
fn inert(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for line in text.split_inclusive(['\r', '\n']) {
        let content = line.trim_start();
        let indent = line.strip_suffix(content).unwrap_or_default();
        safe.push_str(indent);
        match content.strip_prefix("::") {
            Some(rest) => {
                safe.push_str(": :");
                safe.push_str(rest);
            }
            None => safe.push_str(content),
        }
    }
    safe.replace("##[", "## [")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn data_and_properties_are_escaped_as_the_runner_unescapes_them() {
        assert_eq!(
            written(|out| error(out, "a:b,c%", "50 %\r\n::set-output name=x::y")),
            "::error title=a%3Ab%2Cc%25::50 %25%0D%0A::set-output name=x::y\n"
        );
        assert_eq!(written(|out| notice(out, "", "t")), "::notice::t\n");
    }

    #[test]
    fn nothing_in_an_annotation_moves_a_terminal() {
        assert_eq!(
            written(|out| error(out, "\u{202e}t", "\u{1b}[2Jred\u{7}\tx")),
            "::error title=\u{fffd}t::\u{fffd}[2Jred\u{fffd}\tx\n"
        );
    }

    #[test]
    fn a_message_is_cut_at_4000_characters_not_bytes() {
        let line = written(|out| warning(out, "", &"é".repeat(5_000)));
        let data = line.trim_end().strip_prefix("::warning::").unwrap();
        assert_eq!(data.chars().count(), 4_000);
        assert!(data.ends_with('…'));
        let whole = "é".repeat(4_000);
        assert_eq!(
            written(|out| warning(out, "", &whole)),
            format!("::warning::{whole}\n")
        );
    }

    #[test]
    fn plain_text_is_never_a_command() {
        let hostile = "a\n  ::error::x\r::add-mask::e\n\u{b}::stop-commands::t\nsee ##[error]y";
        assert_eq!(
            written(|out| text(out, hostile)),
            "a\n  : :error::x\r: :add-mask::e\n\u{b}: :stop-commands::t\nsee ## [error]y\n"
        );
        assert_eq!(written(|out| text(out, "std::vec")), "std::vec\n");
    }

    #[test]
    fn every_line_of_a_secret_is_masked() {
        let secret = Secret::new("line one\n}\nline%two").unwrap();
        assert_eq!(
            written(|out| mask(out, &secret)),
            "::add-mask::line one%0A}%0Aline%25two\n::add-mask::line one\n::add-mask::line%25two\n"
        );
    }
}
