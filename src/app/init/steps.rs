//! What `kitt init` says at the end: what was written, and what is left to do.

use super::{answers::Answers, files::File, pin::Pin};
use crate::cli::InitKind;

/// The whole text.
pub(super) fn told(answers: &Answers, pin: &Pin, files: &[File], written: &[&File]) -> String {
    let mut lines: Vec<String> = files
        .iter()
        .map(|file| {
            let word = if written.contains(&file) {
                "wrote"
            } else {
                "kept "
            };
            format!("{word} {}", file.path)
        })
        .collect();
    lines.push(String::new());
    lines.push("Next:".to_owned());
    let steps = steps(answers, pin);
    let numbered = steps.iter().enumerate();
    lines.extend(numbered.map(|(at, step)| format!("  {}. {step}", at + 1)));
    lines.join("\n")
}

fn steps(answers: &Answers, pin: &Pin) -> Vec<String> {
    let has = |kind| answers.kinds.contains(&kind);
    let branch = &answers.branch;
    let mut steps = vec![format!(
        "On each runner with the labels {}: `kitt doctor --engine {}` says what is missing there.",
        answers.labels.join(", "),
        answers.engine.name
    )];
    if let Some(why) = &pin.unpinned {
        steps.push(format!(
            "Pin the action: {why}, so the workflows name `{}`, which can move. Take the release's \
             commit from its page: `kitt init --force --ref <40 digits>`.",
            pin.shown()
        ));
    }
    steps.push(
        "Commit and push. The permissions each job needs stand in its workflow; an organisation \
         may allow less (Settings, Actions, General)."
            .to_owned(),
    );
    if has(InitKind::PrGate) || has(InitKind::Matrix) {
        steps.push(format!(
            "The first push to {branch} that passes is the first baseline. Until then a pull \
             request has nothing to be compared with, says so, and passes."
        ));
    }
    if has(InitKind::Nightly) {
        steps.push(
            "Start the nightly workflow once by hand; from the eighth night on, nights are judged \
             by those before."
                .to_owned(),
        );
    }
    if has(InitKind::Labelled) || has(InitKind::ForkSafe) {
        let settings = match (has(InitKind::Labelled), has(InitKind::ForkSafe)) {
            (true, true) => {
                "a label `benchmark`, and an environment `gpu-forks` with required reviewers"
            }
            (true, false) => "a label `benchmark`",
            (false, _) => "an environment `gpu-forks` with required reviewers",
        };
        steps.push(format!("In the repository's settings make {settings}."));
    }
    if answers.gate {
        steps.push(
            "Make the check required when you trust it; how much your runners vary tells `kitt \
             calibrate runner`."
                .to_owned(),
        );
    }
    steps
}
