//! The two streams of a container's output, each with the time stamps the daemon puts before
//! its messages, so that a second reading continues where the first one ended. Pure.

use bollard::container::LogOutput;

use super::redact::{Assembler, Line};

/// A second reading starts so many seconds before the newest message: the other stream may be
/// a little behind.
const OVERLAP: i64 = 2;

/// Standard output and standard error. Their lines must not be glued together.
#[derive(Debug, Default)]
pub(super) struct Sources {
    out: Source,
    err: Source,
}

impl Sources {
    /// Adds a message; gives the lines it completes.
    pub(super) fn push(&mut self, message: &LogOutput) -> Vec<Line> {
        match message {
            LogOutput::StdErr { message } => self.err.push(message),
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => self.out.push(message),
        }
    }

    /// From now on messages that were seen before are skipped.
    pub(super) fn rewind(&mut self) {
        self.out.rewind();
        self.err.rewind();
    }

    /// Where a second reading has to start, in seconds of Unix time; 0 for the beginning.
    pub(super) fn since(&self) -> i32 {
        let newest = self.out.newest.as_str().max(self.err.newest.as_str());
        newest
            .parse::<jiff::Timestamp>()
            .map(|time| time.as_second().saturating_sub(OVERLAP))
            .ok()
            .and_then(|seconds| i32::try_from(seconds).ok())
            .unwrap_or(0)
    }

    /// The unfinished last lines.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = Line> {
        [self.out.open.finish(), self.err.open.finish()]
            .into_iter()
            .flatten()
    }
}

#[derive(Debug, Default)]
struct Source {
    open: Assembler,
    /// Time stamp of the newest message. All have the same length: text order is time order.
    newest: String,
    /// Messages with that stamp: the parts of a long line share one.
    at_newest: usize,
    /// What a second reading skips: everything before a stamp, and so many messages at it.
    skip: Option<(String, usize)>,
}

impl Source {
    fn push(&mut self, message: &[u8]) -> Vec<Line> {
        let (stamp, text) = split(message);
        if let Some((until, count)) = &mut self.skip {
            if stamp < until.as_str() {
                return Vec::new();
            }
            if stamp == until && *count > 0 {
                *count -= 1;
                return Vec::new();
            }
        }
        if stamp == self.newest {
            self.at_newest += 1;
        } else {
            stamp.clone_into(&mut self.newest);
            self.at_newest = 1;
        }
        self.open.push(text)
    }

    fn rewind(&mut self) {
        self.skip = Some((self.newest.clone(), self.at_newest));
    }
}

/// The time stamp and what follows it. A message without one is all text.
fn split(message: &[u8]) -> (&str, &[u8]) {
    let at = message.iter().position(|byte| *byte == b' ');
    let parts = at.and_then(|at| message.split_at_checked(at));
    if let Some((stamp, [_, text @ ..])) = parts
        && let Ok(stamp) = std::str::from_utf8(stamp)
        && (20..=40).contains(&stamp.len())
        && stamp.parse::<jiff::Timestamp>().is_ok()
    {
        return (stamp, text);
    }
    ("", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &str = "2026-11-21T09:19:06.083074000Z";

    fn out(stamp: &str, text: &str) -> LogOutput {
        LogOutput::StdOut {
            message: format!("{stamp} {text}").into(),
        }
    }

    #[test]
    fn a_stamp_is_told_from_text() {
        let stamped = format!("{STAMP} a b\n");
        assert_eq!(split(stamped.as_bytes()), (STAMP, &b"a b\n"[..]));
        assert_eq!(split(format!("{STAMP} ").as_bytes()), (STAMP, &b""[..]));
        for text in [
            "",
            " ",
            "plain text",
            "2026-11-21T09:19:06",
            "\u{fe}\u{ff} x",
        ] {
            assert_eq!(split(text.as_bytes()), ("", text.as_bytes()));
        }
    }

    #[test]
    fn a_second_reading_starts_a_little_earlier() {
        let mut sources = Sources::default();
        assert_eq!(sources.since(), 0);
        sources.push(&out(STAMP, "x"));
        // date -u -d 2026-11-21T09:19:06 +%s
        assert_eq!(sources.since(), 1_795_252_746 - 2);
    }

    #[test]
    fn parts_with_one_stamp_are_counted() {
        let mut sources = Sources::default();
        sources.push(&out(STAMP, "long "));
        sources.push(&out(STAMP, "line "));
        sources.rewind();
        for part in ["long ", "line ", "ends"] {
            assert!(sources.push(&out(STAMP, part)).is_empty());
        }
        let mut whole = Assembler::default();
        whole.push(b"long line ends");
        assert!(sources.finish().eq(whole.finish()));
    }
}
