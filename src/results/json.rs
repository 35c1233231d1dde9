//! Untrusted JSON to typed values, under limits.
//!
//! In: bytes of a file that a pull request may have written. Out: a value, or an error with
//! file, line, column and key. Nesting, text length and size are counted by a flat scan before
//! the parser sees a byte, so that a hostile file costs neither stack nor memory.

use std::{fs, io::Read, path::Path};

use serde::de::DeserializeOwned;

use super::ResultsError;
use crate::ids::is_hidden;

/// What is read at most. Larger is an error, never a part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a `metrics.json`.
    pub file_bytes: u64,
    /// Objects and arrays inside each other.
    pub depth: usize,
    /// Bytes of one text or key, as written.
    pub string_bytes: usize,
    /// Values in a file; requests over all scenarios.
    pub entries: usize,
    /// Bytes that a `requests.jsonl.zst` may unpack to: it is read as a stream, so they cost
    /// time and no memory.
    pub unpacked_bytes: u64,
}

impl Default for Limits {
    /// 32 MiB, 32 levels, 256 KiB a text, 1,000,000 values, 8 GiB unpacked: two hours at
    /// 100,000 stream events a second.
    fn default() -> Self {
        Self {
            file_bytes: 32 << 20,
            depth: 32,
            string_bytes: 256 << 10,
            entries: 1_000_000,
            unpacked_bytes: 8 << 30,
        }
    }
}

/// Reads a regular file of at most `limit` bytes.
pub(super) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, ResultsError> {
    let failed = |source| ResultsError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(failed)?;
    let too_large = |size| ResultsError::TooLarge {
        path: path.to_owned(),
        size,
        limit,
    };
    // A named pipe would block, a device might never end.
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    if metadata.len() > limit {
        return Err(too_large(metadata.len()));
    }
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let ceiling = limit.saturating_add(1);
    file.take(ceiling).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(too_large(ceiling));
    }
    Ok(bytes)
}

/// Where in a file something is, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

/// Refuses a document that nests too deep, holds too long a text or too many values.
pub(super) fn check(path: &Path, bytes: &[u8], limits: &Limits) -> Result<(), ResultsError> {
    check_at(path, bytes, 1, limits)
}

/// As [`check`], for a document that starts in line `line` of its file, from 1.
pub(super) fn check_at(
    path: &Path,
    bytes: &[u8],
    line: usize,
    limits: &Limits,
) -> Result<(), ResultsError> {
    let mut place = Place { line, column: 0 };
    let (mut depth, mut entries) = (0_usize, 1_usize);
    // Bytes of the text being read; `None` between texts.
    let mut text: Option<usize> = None;
    let mut escaped = false;
    for byte in bytes {
        place.column += 1;
        if *byte == b'\n' {
            place = Place {
                line: place.line + 1,
                column: 0,
            };
        }
        if let Some(length) = &mut text {
            *length += 1;
            let over = *length > limits.string_bytes;
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => text = None,
                _ => {}
            }
            if over {
                let detail = format!("a text longer than {} bytes", limits.string_bytes);
                return Err(at(path, place, detail));
            }
            continue;
        }
        match byte {
            b'"' => text = Some(0),
            b'{' | b'[' => (depth, entries) = (depth + 1, entries + 1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => entries += 1,
            _ => {}
        }
        if depth > limits.depth {
            let detail = format!("more than {} levels of nesting", limits.depth);
            return Err(at(path, place, detail));
        }
        if entries > limits.entries {
            let detail = format!("more than {} values", limits.entries);
            return Err(at(path, place, detail));
        }
    }
    Ok(())
}

fn at(path: &Path, place: Place, detail: String) -> ResultsError {
    ResultsError::Json {
        path: path.to_owned(),
        line: place.line,
        column: place.column,
        key: ".".to_owned(),
        detail,
    }
}

/// Parses a document that [`check`] has accepted. `line` is where it starts in its file, from 1.
pub(super) fn parse<T: DeserializeOwned>(
    path: &Path,
    bytes: &[u8],
    line: usize,
) -> Result<T, ResultsError> {
    // Keeping the path of each key costs more than all the rest, and only an error needs it.
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let wrong = |key: String, error: &serde_json::Error| ResultsError::Json {
        path: path.to_owned(),
        line: line.saturating_sub(1).saturating_add(error.line()),
        column: error.column(),
        key: printable(&key),
        detail: detail(error, bytes),
    };
    let value = serde_path_to_error::deserialize(&mut parser)
        .map_err(|error| wrong(error.path().to_string(), error.inner()))?;
    parser
        .end()
        .map_err(|error| wrong(".".to_owned(), &error))?;
    Ok(value)
}

/// The parser's words without the position, which the error carries already. Python writes `NaN`
/// and `Infinity`, which JSON does not have: that gets a clearer sentence.
fn detail(error: &serde_json::Error, bytes: &[u8]) -> String {
    if error.is_syntax()
        && let Some(word) = word_at(bytes, error.line(), error.column())
        && ["NaN", "Infinity", "-Infinity"].contains(&word.as_str())
    {
        return format!("{word} is not a number JSON has; a value that was not measured is null");
    }
    let position = format!(" at line {} column {}", error.line(), error.column());
    let words = error.to_string();
    printable(words.strip_suffix(&position).unwrap_or(&words))
}

/// The run of letters and dashes around a position.
fn word_at(bytes: &[u8], line: usize, column: usize) -> Option<String> {
    let line = bytes
        .split(|byte| *byte == b'\n')
        .nth(line.checked_sub(1)?)?;
    let part = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'-';
    let before = line.get(..column.min(line.len()))?;
    let start = before.iter().rev().take_while(|byte| part(byte)).count();
    let from = before.len().checked_sub(start)?;
    let word: Vec<u8> = line
        .get(from..)?
        .iter()
        .copied()
        .take_while(part)
        .take(20)
        .collect();
    String::from_utf8(word).ok()
}

/// Text from a file, fit for one line of a log: no control or direction-changing characters, at
/// most 300 characters.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .take(300)
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, limits: &Limits) -> String {
        check(Path::new("m.json"), text.as_bytes(), limits)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn depth_is_counted_outside_texts_only() {
        let limits = Limits {
            depth: 2,
            ..Limits::default()
        };
        let path = Path::new("m.json");
        assert!(check(path, br#"{"a":["]]{{\"[[["]}"#, &limits).is_ok());
        assert_eq!(
            refused("{\"a\":\n[[1]]}", &limits),
            "m.json:2:2: .: more than 2 levels of nesting"
        );
    }

    #[test]
    fn long_texts_and_many_values_are_refused() {
        let limits = Limits {
            string_bytes: 4,
            entries: 3,
            ..Limits::default()
        };
        assert!(refused(r#"["abcde"]"#, &limits).contains("a text longer than 4 bytes"));
        assert!(refused("[1,2,3,4]", &limits).contains("more than 3 values"));
        assert!(
            check(
                Path::new("m"),
                br#"["abcd"]"#,
                &Limits {
                    string_bytes: 5,
                    ..limits
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn a_million_brackets_do_not_reach_the_parser() {
        let deep = "[".repeat(1_000_000);
        assert!(refused(&deep, &Limits::default()).contains("32 levels"));
    }

    #[test]
    fn an_error_names_line_column_and_key() {
        #[derive(Debug, serde::Deserialize)]
        struct Outer {
            #[expect(dead_code, reason = "only parsed")]
            inner: Vec<u32>,
        }
        let text = b"{\n \"inner\": [1, \"2\"]\n}";
        let error = parse::<Outer>(Path::new("m.json"), text, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "m.json:2:17: inner[1]: invalid type: string \"2\", expected u32"
        );
    }

    #[test]
    fn pythons_nan_is_named() {
        for word in ["NaN", "Infinity", "-Infinity"] {
            let text = format!("{{\"a\": 1,\n\"b\": {word}}}");
            let error = parse::<serde_json::Value>(Path::new("m"), text.as_bytes(), 1).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains(&format!("{word} is not a number")),
                "{message}"
            );
            assert!(message.starts_with("m:2:"), "{message}");
        }
    }

    #[test]
    fn an_error_holds_no_line_break_of_the_file() {
        #[derive(Debug, serde::Deserialize)]
        enum One {
            A,
        }
        let error = parse::<One>(Path::new("m"), br#""x\n::error::owned""#, 1).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(matches!(
            parse::<One>(Path::new("m"), br#""A""#, 1),
            Ok(One::A)
        ));
    }
}
