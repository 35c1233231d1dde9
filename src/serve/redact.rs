//! From raw bytes of a container's output to lines without secrets. Pure.

use crate::secret::Secret;

/// A line longer than this is cut: an engine that prints a tensor must not fill the memory.
const LONGEST_LINE: usize = 64 * 1024;
/// Parts of a secret with several lines are looked for one by one, from this length on.
const SHORTEST_PART: usize = 8;

/// Takes secrets out of lines.
#[derive(Debug, Clone)]
pub(super) struct Redactor {
    needles: Vec<Secret>,
    longest: usize,
}

impl Redactor {
    /// Longest first, so that a secret inside a longer one does not leave the rest behind.
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let parts = secrets.iter().flat_map(|secret| secret.expose().lines());
        let mut needles: Vec<Secret> = parts
            .filter(|part| part.len() >= SHORTEST_PART)
            .filter_map(Secret::new)
            .chain(secrets.iter().cloned())
            .collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.expose().len()));
        let longest = needles.first().map_or(0, |needle| needle.expose().len());
        Self { needles, longest }
    }

    /// The line without secrets. Of a cut line the end goes too: it may hold the first half of
    /// a secret.
    pub(super) fn clean(&self, line: &Line) -> String {
        let text = String::from_utf8_lossy(&line.bytes);
        let mut text = self
            .needles
            .iter()
            .fold(text.into_owned(), |text, needle| needle.redact(&text));
        if line.cut {
            let mut end = text.len().saturating_sub(self.longest);
            while !text.is_char_boundary(end) {
                end = end.saturating_sub(1);
            }
            text.truncate(end);
            text.push_str(" [cut]");
        }
        text
    }
}

/// One line of output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    bytes: Vec<u8>,
    /// Whether its end is missing.
    cut: bool,
}

/// Puts lines together again: the daemon hands them out in frames of at most 16 KiB.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    open: Line,
}

impl Assembler {
    /// Adds a frame; gives the lines it completes.
    pub(super) fn push(&mut self, frame: &[u8]) -> Vec<Line> {
        let mut done = Vec::new();
        let mut parts = frame.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = LONGEST_LINE.saturating_sub(self.open.bytes.len());
            self.open.cut |= part.len() > room;
            self.open.bytes.extend(part.iter().take(room));
            // What follows the last newline is the start of a line.
            if parts.peek().is_some() {
                done.push(std::mem::take(&mut self.open));
            }
        }
        done
    }

    /// The unfinished last line, if there is one.
    pub(super) fn finish(&mut self) -> Option<Line> {
        (!self.open.bytes.is_empty()).then(|| std::mem::take(&mut self.open))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let secrets: Vec<Secret> = secrets.iter().filter_map(|s| Secret::new(*s)).collect();
        Redactor::new(&secrets)
    }

    fn all(frames: &[&[u8]]) -> Vec<Line> {
        let mut assembler = Assembler::default();
        let mut lines: Vec<Line> = frames.iter().flat_map(|f| assembler.push(f)).collect();
        lines.extend(assembler.finish());
        lines
    }

    #[test]
    fn a_secret_split_over_frames_is_found() {
        let redactor = redactor(&["hf_secret_token"]);
        let lines = all(&[b"key=hf_sec", b"ret_token!\nnext", b"\n"]);
        let text: Vec<String> = lines.iter().map(|line| redactor.clean(line)).collect();
        assert_eq!(text, ["key=***!", "next"]);
    }

    #[test]
    fn the_longer_of_two_nested_secrets_goes_first() {
        let redactor = redactor(&["abcd", "abcdefgh"]);
        assert_eq!(redactor.clean(&all(&[b"x abcdefgh abcd"])[0]), "x *** ***");
    }

    #[test]
    fn lines_of_a_longer_secret_are_secrets() {
        let redactor = redactor(&["-----BEGIN KEY\nMIIEvQIBADAN\nab\n"]);
        assert_eq!(redactor.clean(&all(&[b"read MIIEvQIBADAN"])[0]), "read ***");
        assert_eq!(redactor.clean(&all(&[b"absent"])[0]), "absent");
    }

    #[test]
    fn a_cut_line_does_not_end_in_half_a_secret() {
        let redactor = redactor(&["hf_secret_token"]);
        let mut long = vec![b'x'; LONGEST_LINE - 4];
        long.extend_from_slice(b"hf_secret_token\n");
        let lines = all(&[&long]);
        let text = redactor.clean(&lines[0]);
        assert!(!text.contains("hf_"));
        assert!(text.ends_with(" [cut]"));
    }

    proptest! {
        #[test]
        fn framing_does_not_change_the_lines(
            text in "[a-c\n]{0,60}",
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let frames: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(all(&frames), all(&[bytes]));
        }
    }
}
