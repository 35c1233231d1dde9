//! Texts made to fit a receiver.

use sha2::{Digest, Sha256};

/// Said where lines are missing.
const NOTE: &str =
    "\n\n_Cut here to fit. The whole report is in the job summary and in `report.html`._\n";

/// At most `limit` characters; what is longer ends in `…`.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Sixteen characters that stand for a text of any content.
pub(super) fn digest(text: &str) -> String {
    let mut out = String::new();
    for byte in Sha256::digest(text).iter().take(8) {
        for half in [byte >> 4, byte & 15] {
            out.extend(char::from_digit(u32::from(half), 16));
        }
    }
    out
}

/// At most `limit` UTF-16 units and bytes, cut at a line's end with a note; not every reader counts
/// characters alike.
pub(super) fn fitted(text: &str, limit: usize) -> String {
    // A text has no more UTF-16 units than bytes.
    if text.len() <= limit {
        return text.to_owned();
    }
    let room = limit.saturating_sub(NOTE.len());
    let mut cut = String::new();
    for line in text.split_inclusive('\n') {
        if cut.len() + line.len() > room {
            break;
        }
        cut.push_str(line);
    }
    cut.push_str(NOTE);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_line() {
        let text = "é\n".repeat(100);
        let cut = fitted(&text, NOTE.len() + 10);
        assert_eq!(cut, format!("é\né\né\n{NOTE}"));
        assert_eq!(fitted(&text, 300), text);
    }

    #[test]
    fn a_title_is_cut_at_a_character() {
        assert_eq!(shorten("éé", 2), "éé");
        assert_eq!(shorten("ééé", 2), "é…");
    }
}
