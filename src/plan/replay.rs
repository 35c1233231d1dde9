//! Recorded traces: the conventions of Mooncake, Azure and `BurstGPT`, told by their keys.
//!
//! - Mooncake (Qin et al., FAST 2025; `github.com/kvcache-ai/Mooncake`): JSON lines with
//!   `timestamp` in milliseconds, `input_length`, `output_length` and `hash_ids`, one for each
//!   block of 512 prompt tokens.
//! - Azure LLM inference traces of 2023 and 2024 (`github.com/Azure/AzurePublicDataset`): CSV
//!   with `TIMESTAMP` as date and time, `ContextTokens` and `GeneratedTokens`.
//! - `BurstGPT` (Wang et al., 2024; `github.com/HPMLL/BurstGPT`): CSV with `Timestamp` in
//!   seconds, `Request tokens` and `Response tokens`, newer versions with `Session ID`.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

/// Tokens of a prompt that one of Mooncake's `hash_ids` stands for.
pub const BLOCK_TOKENS: u32 = 512;

/// More rows than this are refused: all are kept in memory.
const MAX_ROWS: usize = 2_000_000;

/// No trace is further from its clock's zero: half of what a number of 64 bits can hold.
const MAX_SECONDS: f64 = 4e9;

/// No prompt or answer is longer.
const MAX_TOKENS: f64 = 1e8;

/// A recorded request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRow {
    /// When it arrived, from the first of the trace.
    pub at: Duration,
    /// Tokens of the prompt. A recorded 0 becomes 1: an empty prompt cannot be sent.
    pub input_tokens: NonZeroU32,
    /// Tokens of the answer. A recorded 0, a request that failed, becomes 1.
    pub output_tokens: NonZeroU32,
    /// The conversation it belongs to.
    pub session: Option<u64>,
    /// Names of the prompt's blocks of [`BLOCK_TOKENS`]; the last may be shorter.
    pub blocks: Option<Arc<[u64]>>,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The beginning tells no convention.
    #[error(
        "line {line}: no known trace: found {found}; known are JSON lines with timestamp, \
         input_length and output_length (Mooncake), and CSV with the columns \
         TIMESTAMP,ContextTokens,GeneratedTokens (Azure) or Timestamp,Request tokens,Response \
         tokens (BurstGPT)"
    )]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// What stands there, shortened.
        found: String,
    },
    /// A row is wrong.
    #[error("line {line}: {key}: {why}")]
    Row {
        /// The line, from 1.
        line: usize,
        /// The key or column.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
    /// There is nothing to replay.
    #[error("the trace has no rows")]
    Empty,
    /// There is too much to replay.
    #[error("the trace has more than {MAX_ROWS} rows: cut it to the part that is to be replayed")]
    TooLong,
}

/// A row before times are made relative; nanoseconds on the trace's own clock.
struct RawRow {
    nanos: i64,
    row: ReplayRow,
}

/// Reads a trace. Rows come out in order of their times, the first at 0.
///
/// # Errors
/// The convention is unknown, a row is wrong (with line and key), or there are no rows or more
/// than two million.
pub fn parse_replay(text: &str) -> Result<Vec<ReplayRow>, ReplayError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .peekable();
    let &(line, first) = lines.peek().ok_or(ReplayError::Empty)?;
    let mut rows = if first.starts_with('{') {
        collect(lines, mooncake)?
    } else {
        let header = Header::new(line, first)?;
        lines.next();
        collect(lines, |line, text| header.row(line, text))?
    };
    // Stable: rows of the same time stay in their order.
    rows.sort_by_key(|row| row.nanos);
    let begin = rows.first().ok_or(ReplayError::Empty)?.nanos;
    Ok(rows
        .into_iter()
        .map(|raw| ReplayRow {
            at: Duration::from_nanos(raw.nanos.abs_diff(begin)),
            ..raw.row
        })
        .collect())
}

fn collect<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    read: impl Fn(usize, &str) -> Result<RawRow, ReplayError>,
) -> Result<Vec<RawRow>, ReplayError> {
    let mut rows = Vec::new();
    for (line, text) in lines {
        if rows.len() == MAX_ROWS {
            return Err(ReplayError::TooLong);
        }
        rows.push(read(line, text)?);
    }
    Ok(rows)
}

fn wrong(line: usize, key: &'static str, why: impl Into<String>) -> ReplayError {
    let why = why.into();
    ReplayError::Row { line, key, why }
}

fn shortened(text: &str) -> String {
    format!("`{}`", text.chars().take(60).collect::<String>())
}

/// A time in seconds as nanoseconds; two centuries to either side of the clock's zero.
fn nanos(line: usize, key: &'static str, seconds: f64) -> Result<i64, ReplayError> {
    if seconds.is_nan() || seconds.abs() > MAX_SECONDS {
        return Err(wrong(line, key, "the time is out of range"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be within range"
    )]
    let nanos = (seconds * 1e9).round() as i64;
    Ok(nanos)
}

fn tokens(line: usize, key: &'static str, number: f64) -> Result<NonZeroU32, ReplayError> {
    if !(0.0..=MAX_TOKENS).contains(&number) || number.fract() != 0.0 {
        let why = format!("`{number}` is no whole number of tokens from 0 to {MAX_TOKENS}");
        return Err(wrong(line, key, why));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and within range"
    )]
    let number = number as u32;
    Ok(NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN))
}

fn mooncake(line: usize, text: &str) -> Result<RawRow, ReplayError> {
    let row: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| wrong(line, "JSON", error.to_string()))?;
    let number = |key: &'static str| {
        let value = row
            .get(key)
            .ok_or_else(|| wrong(line, key, "the key is missing"))?;
        value.as_f64().ok_or_else(|| {
            wrong(
                line,
                key,
                format!("{} is no number", shortened(&value.to_string())),
            )
        })
    };
    let blocks = match row.get("hash_ids") {
        None | Some(Value::Null) => None,
        Some(Value::Array(ids)) => Some(
            ids.iter()
                .map(Value::as_u64)
                .collect::<Option<Arc<[u64]>>>()
                .ok_or_else(|| wrong(line, "hash_ids", "a name is no whole number from 0"))?,
        ),
        Some(_) => return Err(wrong(line, "hash_ids", "this is no list")),
    };
    Ok(RawRow {
        nanos: nanos(line, "timestamp", number("timestamp")? / 1e3)?,
        row: ReplayRow {
            at: Duration::ZERO,
            input_tokens: tokens(line, "input_length", number("input_length")?)?,
            output_tokens: tokens(line, "output_length", number("output_length")?)?,
            session: row.get("session_id").and_then(session),
            blocks,
        },
    })
}

/// A conversation's name as a number: itself, or a hash of a text.
fn session(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => session_text(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// FNV-1a (Fowler, Noll and Vo), for names that are no numbers.
fn session_text(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = || text.bytes().fold(0xcbf2_9ce4_8422_2325, mix);
    Some(text.parse().unwrap_or_else(|_| hash()))
}

/// Which columns of a CSV file hold what.
struct Header {
    kind: Kind,
    time: usize,
    input: usize,
    output: usize,
    session: Option<usize>,
}

#[derive(Clone, Copy)]
enum Kind {
    Azure,
    BurstGpt,
}

impl Kind {
    /// Names of the columns of time, prompt tokens and answer tokens.
    const fn columns(self) -> [&'static str; 3] {
        match self {
            Self::Azure => ["TIMESTAMP", "ContextTokens", "GeneratedTokens"],
            Self::BurstGpt => ["Timestamp", "Request tokens", "Response tokens"],
        }
    }
}

/// Fields of a line; these traces hold no commas inside fields, so quotes are only taken off.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(|field| field.trim().trim_matches('"').trim())
}

impl Header {
    fn new(line: usize, text: &str) -> Result<Self, ReplayError> {
        let place = |name: &str| fields(text).position(|field| field.eq_ignore_ascii_case(name));
        let found = |kind: Kind| {
            let [time, input, output] = kind.columns();
            Some(Self {
                kind,
                time: place(time)?,
                input: place(input)?,
                output: place(output)?,
                session: place("Session ID"),
            })
        };
        found(Kind::Azure)
            .or_else(|| found(Kind::BurstGpt))
            .ok_or_else(|| ReplayError::Unknown {
                line,
                found: shortened(text),
            })
    }

    fn row(&self, line: usize, text: &str) -> Result<RawRow, ReplayError> {
        let [time, input, output] = self.kind.columns();
        let field = |key, place| {
            fields(text)
                .nth(place)
                .ok_or_else(|| wrong(line, key, "the row is too short"))
        };
        let number = |key, place| -> Result<f64, ReplayError> {
            let text = field(key, place)?;
            text.parse().map_err(|error| {
                let found = shortened(text);
                wrong(line, key, format!("{found} is no number: {error}"))
            })
        };
        let at = match self.kind {
            Kind::BurstGpt => nanos(line, time, number(time, self.time)?)?,
            Kind::Azure => {
                let text = field(time, self.time)?;
                date(text).ok_or_else(|| {
                    let found = shortened(text);
                    wrong(line, time, format!("{found} is no date and time"))
                })?
            }
        };
        Ok(RawRow {
            nanos: at,
            row: ReplayRow {
                at: Duration::ZERO,
                input_tokens: tokens(line, input, number(input, self.input)?)?,
                output_tokens: tokens(line, output, number(output, self.output)?)?,
                session: self
                    .session
                    .and_then(|place| fields(text).nth(place))
                    .and_then(session_text),
                blocks: None,
            },
        })
    }
}

/// Nanoseconds of a date and time, with or without an offset; without one it is taken as UTC,
/// which changes nothing: only differences count.
fn date(text: &str) -> Option<i64> {
    let stamp = text.parse::<Timestamp>().ok().or_else(|| {
        let civil: DateTime = text.parse().ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })?;
    i64::try_from(stamp.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn summary(text: &str) -> Vec<(u128, u32, u32)> {
        let row = |row: &ReplayRow| {
            let tokens = (row.input_tokens.get(), row.output_tokens.get());
            (row.at.as_micros(), tokens.0, tokens.1)
        };
        parse_replay(text).unwrap().iter().map(row).collect()
    }

    fn error(text: &str) -> String {
        parse_replay(text).unwrap_err().to_string()
    }

    #[test]
    fn mooncake_counts_in_milliseconds_and_names_blocks() {
        let text = "{\"timestamp\": 27482, \"input_length\": 6955, \"output_length\": 52, \"hash_ids\": [46, 47]}\n\n\
                    {\"timestamp\": 30535, \"input_length\": 600, \"output_length\": 26, \"hash_ids\": [46, 2353], \"session_id\": \"a\"}\n";
        assert_eq!(summary(text), [(0, 6955, 52), (3_053_000, 600, 26)]);
        let rows = parse_replay(text).unwrap();
        assert_eq!(rows[1].blocks.as_deref(), Some(&[46, 2353][..]));
        assert_eq!(rows[0].session, None);
        // FNV-1a of "a", from the algorithm's published test vectors.
        assert_eq!(rows[1].session, Some(0xaf63_dc4c_8601_ec8c));
    }

    #[test]
    fn azure_counts_in_dates_with_seven_digits_or_offsets() {
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n\
                    2023-11-16 18:17:03.9799600,4808,10\r\n\
                    2023-11-16 18:17:04.0319600,3180,8\r\n";
        assert_eq!(summary(text), [(0, 4808, 10), (52_000, 3180, 8)]);
        let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                    2024-05-10 00:00:00.009930+00:00,2162,5\n\
                    2024-05-10 00:00:01+00:00,2399,6\n";
        assert_eq!(summary(text), [(0, 2162, 5), (990_070, 2399, 6)]);
    }

    #[test]
    fn burstgpt_counts_in_seconds_and_keeps_failures_and_sessions() {
        let text = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                    5,ChatGPT,472,18,490,Conversation log\n\
                    45.5,ChatGPT,1087,0,1087,Conversation log\n";
        assert_eq!(summary(text), [(0, 472, 18), (40_500_000, 1087, 1)]);
        let text = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                    1,12,0.5,GPT-4,10,20,30,API log\n2,,0.5,GPT-4,11,21,32,API log\n";
        let rows = parse_replay(text).unwrap();
        assert_eq!((rows[0].session, rows[1].session), (Some(12), None));
    }

    #[test]
    fn rows_are_put_in_order() {
        let text = "Timestamp,Request tokens,Response tokens\n9,3,1\n5,1,1\n5,2,1\n";
        assert_eq!(summary(text), [(0, 1, 1), (0, 2, 1), (4_000_000, 3, 1)]);
    }

    #[test]
    fn errors_name_line_and_key() {
        let azure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
        for (text, says) in [
            (String::new(), "no rows"),
            (azure.to_owned(), "no rows"),
            (
                "\n\na,b\n1,2\n".to_owned(),
                "line 3: no known trace: found `a,b`",
            ),
            ("[{\"timestamp\": 1}]".to_owned(), "line 1: no known trace"),
            (
                format!("{azure}yesterday,1,1"),
                "line 2: TIMESTAMP: `yesterday`",
            ),
            (
                format!("{azure}2023-11-16 18:17:03,1"),
                "line 2: GeneratedTokens: the row is too short",
            ),
            (
                format!("{azure}2023-11-16 18:17:03,x,1"),
                "line 2: ContextTokens: `x` is no number",
            ),
            (
                format!("{azure}2023-11-16 18:17:03,-1,1"),
                "line 2: ContextTokens: `-1`",
            ),
            (
                format!("{azure}2023-11-16 18:17:03,1.5,1"),
                "line 2: ContextTokens: `1.5`",
            ),
            (
                format!("{azure}2023-11-16 18:17:03,NaN,1"),
                "line 2: ContextTokens: `NaN`",
            ),
            (
                "{\"timestamp\": 1}".to_owned(),
                "line 1: input_length: the key is missing",
            ),
            ("{\"timestamp\": \"x\"}".to_owned(), "line 1: timestamp"),
            ("{\n".to_owned(), "line 1: JSON"),
            (
                "{\"timestamp\":1,\"input_length\":1,\"output_length\":1,\"hash_ids\":[-1]}"
                    .to_owned(),
                "line 1: hash_ids",
            ),
            (
                "{\"timestamp\":1e300,\"input_length\":1,\"output_length\":1}".to_owned(),
                "line 1: timestamp: the time is out of range",
            ),
        ] {
            let message = error(&text);
            assert!(
                message.starts_with(says) || message.contains(says),
                "{text}: {message}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_trace_or_an_error(text in "\\PC{0,200}") {
            drop(parse_replay(&text));
        }

        #[test]
        fn any_rows_are_a_trace_or_an_error(
            head in "(TIMESTAMP,ContextTokens,GeneratedTokens|Timestamp,Request tokens,Response tokens)",
            rows in "([0-9eE.,: \"+\\-]{0,30}\n){0,5}"
        ) {
            if let Ok(rows) = parse_replay(&format!("{head}\n{rows}")) {
                prop_assert!(rows.is_sorted_by_key(|row| row.at));
                prop_assert_eq!(rows[0].at, Duration::ZERO);
            }
        }

        #[test]
        fn any_json_lines_are_a_trace_or_an_error(
            rows in "(\\{\"timestamp\":[0-9e.\\-]{1,6},\"input_length\":[0-9.\\-]{1,5},\"output_length\":[0-9]{1,9}(,\"hash_ids\":\\[[0-9,]{0,9}\\])?\\}\n){1,4}"
        ) {
            drop(parse_replay(&rows));
        }
    }
}
