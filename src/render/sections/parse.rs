//! A comment's text to the sections in it. Whatever is not as kitt writes it is left out.

use super::{BODY, CUT, END, Leg, SECTION, SECTION_END, SHORTENED};
use crate::render::{KITT_MARKER, state::State};

/// Sections that are read; a matrix has at most 256 jobs.
const MOST: usize = 300;

/// The sections in a comment, each name once; of two the newer. The caller knows who wrote it.
pub fn legs(body: &str) -> Vec<Leg> {
    let mut lines = body.lines().map(str::trim_end);
    if lines.next() != Some(KITT_MARKER) {
        return Vec::new();
    }
    let lines: Vec<&str> = lines.collect();
    let mut rest = lines.as_slice();
    let mut found: Vec<Leg> = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let Some((id, state)) = opening(first) else {
            continue;
        };
        let closing = format!("{SECTION_END}{id}{END}");
        let Some(end) = after.iter().position(|line| **line == closing) else {
            continue;
        };
        let (inside, beyond) = after.split_at(end);
        rest = beyond;
        let Some(leg) = Leg::new(state, vec![text(inside)]).filter(|leg| leg.id() == id) else {
            continue;
        };
        let room = found.len() < MOST;
        match found.iter_mut().find(|known| known.name == leg.name) {
            Some(known) if known.state.is_older_than(&leg.state) => *known = leg,
            None if room => found.push(leg),
            Some(_) | None => {}
        }
    }
    found
}

/// Id and state in a section's first line.
fn opening(line: &str) -> Option<(&str, State)> {
    let inside = line.strip_prefix(SECTION)?.strip_suffix(END)?;
    let (id, data) = inside.split_once(' ')?;
    Some((id, State::decode(data)?))
}

/// The text of a section.
fn text(inside: &[&str]) -> String {
    let mut parts = inside.splitn(2, |line| *line == BODY);
    let text = parts.nth(1).unwrap_or_default().join("\n");
    text.trim_matches('\n').to_owned()
}

/// A text, and what is left of it when its last parts go one by one.
pub(super) fn sizes(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let parts: Vec<String> = lines
        .split(|line| *line == CUT)
        .map(|part| part.join("\n").trim_matches('\n').to_owned())
        .collect();
    let between = format!("\n\n{CUT}\n\n");
    let size = |kept: usize| {
        let mut text = parts.get(..kept).unwrap_or_default().join(&between);
        if kept < parts.len() && !text.contains(SHORTENED) {
            text.push_str("\n\n");
            text.push_str(SHORTENED);
        }
        text
    };
    let all = (1..=parts.len()).rev().map(size);
    all.filter(|text| !text.is_empty()).collect()
}
