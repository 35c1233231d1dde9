//! The step's outputs, in the file named by `GITHUB_OUTPUT`.
//!
//! In: values of any content. Out: one appended block in the runner's heredoc form, so that no
//! value can end early or define another output. Grammar: actions/runner `FileCommandManager`.

use std::path::Path;

use super::{Audience, Message, PublishError, Publisher, Telling, Told, append::StepFile};

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
    /// The check run, when there is one.
    pub check_url: Option<String>,
    /// What was compared against, when something was.
    pub baseline_ref: Option<String>,
    /// Name of the rule that found it, where it was looked for.
    pub baseline_rule: Option<&'static str>,
    /// Whether these results become the new baseline.
    pub store_baseline: bool,
    /// What they are to be called.
    pub baseline_artifact: Option<String>,
    /// Their files, a path on each line.
    pub baseline_files: Option<String>,
    /// The file of all metrics.
    pub metrics_json: String,
    /// What was found of each metric, as JSON: see [`super::metrics::of`].
    pub metrics: Option<String>,
    /// Names of the gating metrics that regressed, as a JSON array.
    pub regressed_metrics: Option<String>,
    /// The exit code of the program.
    pub exit_code: Option<u8>,
    /// kitt's version.
    pub version: String,
}

/// One output: its name, what it means, and its value where it is known.
pub struct Output {
    /// Name in `steps.<id>.outputs`.
    pub name: &'static str,
    /// What it means, one sentence. The action's description is the same text.
    pub help: &'static str,
    value: fn(&Outputs) -> Option<String>,
}

/// Every output, in the order of the documentation.
pub static OUTPUTS: &[Output] = &[
    Output {
        name: "verdict",
        help: "regressed, improved, unchanged, inconclusive, incomparable, new, missing, error, or skipped when there was nothing to publish.",
        value: |all| Some(all.verdict.clone()),
    },
    Output {
        name: "passed",
        help: "true when it was measured and no regression was proven, no limit broken and the gate is open; false otherwise.",
        value: |all| Some(all.passed.to_string()),
    },
    Output {
        name: "gate",
        help: "What the gate decided: off, passed, failed, or error.",
        value: |all| Some(all.gate.clone()),
    },
    Output {
        name: "exit-code",
        help: "The exit code that the step ends with.",
        value: |all| Some(all.exit_code?.to_string()),
    },
    Output {
        name: "regressions",
        help: "How many metrics regressed.",
        value: |all| Some(all.regressions.to_string()),
    },
    Output {
        name: "improvements",
        help: "How many metrics improved.",
        value: |all| Some(all.improvements.to_string()),
    },
    Output {
        name: "inconclusive",
        help: "How many metrics could not be decided.",
        value: |all| Some(all.inconclusive.to_string()),
    },
    Output {
        name: "regressed-metrics",
        help: "Names of the gating metrics that regressed, a JSON array.",
        value: |all| all.regressed_metrics.clone(),
    },
    Output {
        name: "metrics",
        help: "Baseline, current, delta, interval, verdict and unit by scenario and metric, a JSON object of at most 60 KB.",
        value: |all| all.metrics.clone(),
    },
    Output {
        name: "results-path",
        help: "The directory of the result files.",
        value: |all| Some(all.results_path.clone()),
    },
    Output {
        name: "report-path",
        help: "The HTML report.",
        value: |all| Some(all.report_path.clone()),
    },
    Output {
        name: "metrics-json",
        help: "The metrics.json of the results.",
        value: |all| Some(all.metrics_json.clone()),
    },
    Output {
        name: "comment-url",
        help: "Address of the comment, empty when none was written.",
        value: |all| all.comment_url.clone(),
    },
    Output {
        name: "check-url",
        help: "Address of the check run, empty when none was written.",
        value: |all| all.check_url.clone(),
    },
    Output {
        name: "baseline-ref",
        help: "What the results were compared with.",
        value: |all| all.baseline_ref.clone(),
    },
    Output {
        name: "baseline-rule",
        help: "Which rule found that, exact-parent, nearest-ancestor, pool or other-conditions; empty when nothing was looked for or found.",
        value: |all| all.baseline_rule.map(str::to_owned),
    },
    Output {
        name: "store-baseline",
        help: "true when the results are fit to be kept as the new baseline.",
        value: |all| Some(all.store_baseline.to_string()),
    },
    Output {
        name: "baseline-artifact",
        help: "Name of the artifact that a new baseline goes to.",
        value: |all| all.baseline_artifact.clone(),
    },
    Output {
        name: "baseline-files",
        help: "The files of a new baseline, a path on each line.",
        value: |all| all.baseline_files.clone(),
    },
    Output {
        name: "version",
        help: "Version of the binary.",
        value: |all| Some(all.version.clone()),
    },
];

/// Writes the outputs.
pub(super) struct StepOutputs;

impl Publisher for StepOutputs {
    fn name(&self) -> &'static str {
        WHAT
    }

    fn tell<'a>(&'a self, audience: Audience<'a>, message: Message<'a>) -> Telling<'a> {
        Box::pin(async move {
            let Some(path) = &audience.files.output else {
                return Ok(Told::Nothing);
            };
            write_outputs(path, message.outputs)?;
            Ok(Told::Done)
        })
    }
}

/// Appends all known outputs in one write.
///
/// # Errors
///
/// [`PublishError::File`] when the file cannot be written.
pub fn write_outputs(path: &Path, outputs: &Outputs) -> Result<(), PublishError> {
    let known = OUTPUTS
        .iter()
        .filter_map(|output| Some((output.name, (output.value)(outputs)?)));
    let block: String = known
        .map(|(name, value)| entry(name, &value, rand::random))
        .collect();
    StepFile::open(WHAT, path)?.append(&block)
}

/// Appends an output that is known only after the others are out, such as `comment-url`; of two
/// lines the later one wins.
///
/// # Errors
///
/// [`PublishError::File`] when the file cannot be written.
pub fn write_output(path: &Path, name: &str, value: &str) -> Result<(), PublishError> {
    StepFile::open(WHAT, path)?.append(&entry(name, value, rand::random))
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
            let known = OUTPUTS
                .iter()
                .filter(|output| (output.value)(outputs).is_some());
            known.map(|output| output.name).collect::<Vec<_>>()
        };
        let mut outputs = Outputs::default();
        assert!(!names(&outputs).contains(&"comment-url"));
        assert!(!names(&outputs).contains(&"baseline-ref"));
        outputs.baseline_ref = Some("main".into());
        assert!(names(&outputs).contains(&"baseline-ref"));
    }

    #[test]
    fn no_output_stands_twice_and_each_is_a_sentence() {
        let mut seen = std::collections::BTreeSet::new();
        for output in OUTPUTS {
            assert!(seen.insert(output.name), "{}", output.name);
            assert!(output.help.ends_with('.'), "{}", output.help);
        }
    }
}
