//! The table of settings: one row is a flag, an input of the action, a key of the config file
//! and an operator's variable at once.

use serde::Serialize;

/// What a setting is about; commands take the groups they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// What to start and measure.
    Measure,
    /// Where settings come from.
    Config,
    /// Where results are.
    Results,
    /// What to compare with and how to judge.
    Judge,
    /// Whom to tell.
    Publish,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `--name VALUE`.
    Text,
    /// `--name`, `--name=true` or `--name=false`.
    Switch,
    /// Text that is never printed.
    Secret,
}

/// One setting.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Setting {
    /// Kebab-case name: the flag, the input and the file's key. `KITT_INPUT_<NAME>` and
    /// `KITT_<NAME>` are its variables.
    pub name: &'static str,
    /// One-letter flag.
    pub short: Option<char>,
    /// What it is about.
    pub group: Group,
    /// How it is written.
    pub kind: Kind,
    /// The default, as text; `None` when there is none.
    pub default: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
}

impl Setting {
    /// The variable that carries the action's input.
    pub fn input_variable(&self) -> String {
        format!("KITT_INPUT_{}", variable(self.name))
    }

    /// The variable with which an operator sets a default for a whole runner.
    pub fn operator_variable(&self) -> String {
        format!("KITT_{}", variable(self.name))
    }
}

fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

const fn text(
    name: &'static str,
    group: Group,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        name,
        short: None,
        group,
        kind: Kind::Text,
        default,
        help,
    }
}

const fn short(
    name: &'static str,
    short: char,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        short: Some(short),
        ..text(name, Group::Measure, default, help)
    }
}

const fn switch(
    name: &'static str,
    group: Group,
    default: &'static str,
    help: &'static str,
) -> Setting {
    Setting {
        kind: Kind::Switch,
        ..text(name, group, Some(default), help)
    }
}

/// Every setting, in the order help and documents show them.
pub const SETTINGS: &[Setting] = &[
    short(
        "model",
        'm',
        None,
        "Model to serve: a path on the runner or a hub id",
    ),
    short(
        "engine",
        'e',
        None,
        "Inference engine; `kitt engines list` shows them",
    ),
    short(
        "suite",
        's',
        Some("quick"),
        "Suite of tests: quick, standard or performance",
    ),
    text(
        "tests",
        Group::Measure,
        None,
        "Tests to run instead of the suite's, comma-separated",
    ),
    text(
        "config",
        Group::Config,
        None,
        "Config file [default: .github/kitt.yml when it exists]",
    ),
    text(
        "mode",
        Group::Measure,
        None,
        "Where the engine runs: docker or native",
    ),
    text(
        "image",
        Group::Measure,
        None,
        "Container image instead of the engine's default",
    ),
    text(
        "endpoint",
        Group::Measure,
        None,
        "Base URL of a running server (engine openai)",
    ),
    text(
        "engine-args",
        Group::Measure,
        None,
        "Extra arguments for the engine, quoted as in a shell",
    ),
    text(
        "runs",
        Group::Measure,
        Some("1"),
        "Fresh server processes, each measured once",
    ),
    text(
        "seed",
        Group::Measure,
        Some("42"),
        "Seed of prompts and of the engine's sampling",
    ),
    text(
        "requests",
        Group::Measure,
        None,
        "Measured requests per scenario instead of the suite's",
    ),
    text(
        "input-tokens",
        Group::Measure,
        None,
        "Tokens of each prompt instead of the suite's",
    ),
    text(
        "output-tokens",
        Group::Measure,
        None,
        "Tokens of each answer instead of the suite's",
    ),
    switch(
        "skip-warmup",
        Group::Measure,
        "false",
        "Send no discarded requests before the measured ones",
    ),
    switch(
        "auto-pull",
        Group::Measure,
        "false",
        "Pull the image when it is not on the host",
    ),
    text(
        "gpus",
        Group::Measure,
        Some("auto"),
        "GPUs for the container: auto (all), none, or UUIDs",
    ),
    text(
        "memory",
        Group::Measure,
        None,
        "Memory limit of the container in MiB",
    ),
    text(
        "cpuset",
        Group::Measure,
        None,
        "Processors of the container, such as 0-3",
    ),
    text(
        "startup-timeout",
        Group::Measure,
        None,
        "Seconds until the engine must answer",
    ),
    text(
        "request-timeout",
        Group::Measure,
        Some("120"),
        "Seconds until a request counts as timed out",
    ),
    text(
        "docker-host",
        Group::Measure,
        None,
        "Docker socket, such as unix:///run/docker.sock",
    ),
    text(
        "results-dir",
        Group::Results,
        Some("kitt-results"),
        "Directory of the results",
    ),
    text(
        "baseline-dir",
        Group::Judge,
        None,
        "Directory of the baseline's results; missing means no baseline",
    ),
    switch(
        "gate",
        Group::Judge,
        "false",
        "Fail the job on a proven regression or a broken limit",
    ),
    switch(
        "fail-on-regression",
        Group::Judge,
        "false",
        "KITT's name for `gate`",
    ),
    switch(
        "strict",
        Group::Judge,
        "false",
        "With gate: also fail when nothing is proven",
    ),
    text(
        "run-cv",
        Group::Judge,
        None,
        "Declared run-to-run variation for one run against one: 0.02 is 2 %",
    ),
    text(
        "metrics",
        Group::Judge,
        None,
        "Metrics that gate instead of the default ones, comma-separated",
    ),
    text(
        "key",
        Group::Publish,
        Some("default"),
        "Name of this report when several belong to one pull request",
    ),
    switch(
        "post-comment",
        Group::Publish,
        "true",
        "Post the comment on the pull request",
    ),
    Setting {
        kind: Kind::Secret,
        ..text(
            "github-token",
            Group::Publish,
            None,
            "Token for the comment; better given by environment than here",
        )
    },
    text(
        "repo",
        Group::Publish,
        None,
        "Repository as owner/name [default: GITHUB_REPOSITORY]",
    ),
    text(
        "pr",
        Group::Publish,
        None,
        "Pull request to comment on [default: the event's]",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let names: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
        let word = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        assert!(names.iter().all(|name| word(name)));
    }

    #[test]
    fn variables_are_upper_case_with_underscores() {
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.name == "results-dir")
            .unwrap();
        assert_eq!(setting.input_variable(), "KITT_INPUT_RESULTS_DIR");
        assert_eq!(setting.operator_variable(), "KITT_RESULTS_DIR");
    }
}
