//! The job summary, in the file named by `GITHUB_STEP_SUMMARY`.
//!
//! In: markdown. Out: the markdown appended to what other steps of the action wrote. The runner
//! drops a summary above 1 MiB whole (actions/runner `CreateStepSummaryCommand`), so a longer
//! one is cut here, at a line's edge.

use std::path::Path;

use super::{Audience, Message, PublishError, Publisher, Telling, Told, append::StepFile};

/// Bytes the runner takes for one step.
const LIMIT: usize = 1024 * 1024;
const NOTE: &str = "\n\n_Cut here: GitHub shows at most 1 MiB of summary for a step. The whole report is among the results._\n";

/// Writes the job summary.
pub(super) struct Summary;

impl Publisher for Summary {
    fn name(&self) -> &'static str {
        "job summary"
    }

    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a> {
        Box::pin(async move {
            let Some(path) = &audience.files.summary else {
                return Ok(Told::Nothing);
            };
            append_summary(path, &message.documents.summary)?;
            Ok(Told::Done)
        })
    }
}

/// Appends markdown to the job summary.
///
/// # Errors
///
/// [`PublishError::File`] when the file cannot be written.
pub fn append_summary(path: &Path, text: &str) -> Result<(), PublishError> {
    let file = StepFile::open("job summary", path)?;
    let used = usize::try_from(file.length).unwrap_or(usize::MAX);
    // One byte may be needed to close an earlier writer's line.
    let room = LIMIT
        .saturating_sub(used)
        .saturating_sub(usize::from(file.open_line));
    if let Some(text) = fitted(text, room) {
        return file.append(&text);
    }
    tracing::warn!("the job summary is full: nothing was added to it");
    Ok(())
}

/// The text with a closing newline in at most `room` bytes; `None` when not even the note fits.
fn fitted(text: &str, room: usize) -> Option<String> {
    let mut whole = text.to_owned();
    if !whole.ends_with('\n') {
        whole.push('\n');
    }
    if whole.len() <= room {
        return Some(whole);
    }
    let limit = room.checked_sub(NOTE.len())?;
    let mut cut = String::new();
    for line in whole.split_inclusive('\n') {
        if cut.len() + line.len() > limit {
            break;
        }
        cut.push_str(line);
    }
    cut.push_str(NOTE);
    Some(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_line() {
        let text = "é\n".repeat(100); // 3 bytes a line
        let room = NOTE.len() + 10;
        let cut = fitted(&text, room).unwrap();
        assert_eq!(cut, format!("é\né\né\n{NOTE}"));
        assert_eq!(fitted(&text, 300).unwrap(), text);
        assert!(fitted(&text, 299).unwrap().ends_with(NOTE));
    }

    #[test]
    fn a_full_file_gets_nothing() {
        assert_eq!(fitted(&"a\n".repeat(100), NOTE.len() - 1), None);
        assert_eq!(fitted("a", 2).unwrap(), "a\n");
    }
}
