//! What a setting is: a flag, an input of the action, a key of the config file and an operator's
//! variable at once. `table` lists them.

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
    /// What another run measured.
    Foreign,
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

pub(super) const fn text(
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

pub(super) const fn short(
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

pub(super) const fn switch(
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

/// Text that is never printed.
pub(super) const fn secret(name: &'static str, group: Group, help: &'static str) -> Setting {
    Setting {
        kind: Kind::Secret,
        ..text(name, group, None, help)
    }
}
