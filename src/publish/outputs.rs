//! The step's outputs, in the file named by `GITHUB_OUTPUT`.
//!
//! In: values of any content. Out: one appended block in the runner's heredoc form, so that no
//! value can end early or define another output. Grammar: actions/runner `FileCommandManager`.

use std::path::Path;

use super::{PublishError, append::StepFile};

const WHAT: &str = "step outputs";

/// What later steps of the workflow can read. An absent value is not written, and an output
/// never written is the empty text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// The overall verdict, or `error`.
    pub verdict: String,
    /// KITT's output: whether every benchmark ran well.
    pub passed: bool,
    /// What the gate decided.
    pub gate: String,
    /// Metrics that got worse.
    pub regressions: usize,
    /// Metrics that got better.
    pub improvements: usize,
    /// Metrics about which nothing could be said.
    pub inconclusive: usize,
    /// Folder of the results; KITT's output.
    pub results_path: String,
    /// The HTML report.
    pub report_path: String,
    /// The pull request's comment, when it is known.
    pub comment_url: Option<String>,
    /// What was compared against, when something was.
    pub baseline_ref: Option<String>,
    /// All metrics as one line of JSON.
    pub metrics_json: String,
    /// kitt's version.
    pub version: String,
}

impl Outputs {
    fn entries(&self) -> Vec<(&'static str, String)> {
        let fixed = [
            ("verdict", self.verdict.clone()),
            ("passed", self.passed.to_string()),
            ("gate", self.gate.clone()),
            ("regressions", self.regressions.to_string()),
            ("improvements", self.improvements.to_string()),
            ("inconclusive", self.inconclusive.to_string()),
            ("results-path", self.results_path.clone()),
            ("report-path", self.report_path.clone()),
            ("metrics-json", self.metrics_json.clone()),
            ("version", self.version.clone()),
        ];
        let optional = [
            ("comment-url", &self.comment_url),
            ("baseline-ref", &self.baseline_ref),
        ];
        let known = optional
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name, value)));
        fixed.into_iter().chain(known).collect()
    }
}

/// Appends all known outputs in one write.
///
/// # Errors
///
/// [`PublishError::File`] when the file cannot be written.
pub fn write_outputs(path: &Path, outputs: &Outputs) -> Result<(), PublishError> {
    let block: String = outputs
        .entries()
        .iter()
        .map(|(name, value)| entry(name, value, rand::random))
        .collect();
    StepFile::open(WHAT, path)?.append(&block)
}

/// Appends `comment-url`, known only after the outputs are out; the later line wins.
///
/// # Errors
///
/// [`PublishError::File`] when the file cannot be written.
pub fn write_comment_url(path: &Path, url: &str) -> Result<(), PublishError> {
    StepFile::open(WHAT, path)?.append(&entry("comment-url", url, rand::random))
}

/// One output. The delimiter is drawn until the value does not hold it: with a fair source the
/// first draw does.
fn entry(name: &str, value: &str, mut draw: impl FnMut() -> u128) -> String {
    let delimiter = loop {
        let candidate = format!("kitt_{:032x}", draw());
        if !value.contains(&candidate) {
            break candidate;
        }
    };
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_inside_the_value_is_drawn_again() {
        let mut draws = [1_u128, 2].into_iter();
        let value = format!("x\nkitt_{:032x}\nadmin=true", 1);
        let text = entry("verdict", &value, || draws.next().unwrap());
        let end = format!("kitt_{:032x}", 2);
        assert_eq!(text, format!("verdict<<{end}\n{value}\n{end}\n"));
    }

    #[test]
    fn absent_values_are_not_written() {
        let names = |outputs: &Outputs| {
            let entries = outputs.entries();
            entries.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let mut outputs = Outputs::default();
        assert!(!names(&outputs).contains(&"comment-url"));
        assert!(!names(&outputs).contains(&"baseline-ref"));
        outputs.baseline_ref = Some("main".into());
        assert!(names(&outputs).contains(&"baseline-ref"));
    }
}
