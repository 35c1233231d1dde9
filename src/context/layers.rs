//! One value out of many places: flag, input, file, operator's environment, default.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{ContextError, EnvSnapshot, file::ConfigFile};
use crate::cli::{Kind, SETTINGS, Setting, Typed};

/// Where a value came from, the most specific first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag(String),
    /// An input of the action.
    Input(String),
    /// The config file.
    File(PathBuf),
    /// The operator's variable.
    Operator(String),
    /// Built in.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(out, "flag --{name}"),
            Self::Input(name) => write!(out, "input {name}"),
            Self::File(path) => write!(out, "{}", path.display()),
            Self::Operator(name) => write!(out, "environment {name}"),
            Self::Default => out.write_str("default"),
        }
    }
}

/// A setting's text and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The text.
    pub text: String,
    /// Where it came from.
    pub source: Source,
}

/// Every setting that has a value.
#[derive(Debug, Clone, Default)]
pub struct Layers(BTreeMap<&'static str, Found>);

impl Layers {
    /// Takes, for each setting, the value from the most specific place that has one.
    pub fn new(
        typed: &Typed,
        env: &EnvSnapshot,
        path: Option<&PathBuf>,
        file: &ConfigFile,
    ) -> Self {
        let find = |setting: &Setting| {
            let from = |text: &str, source| {
                Some(Found {
                    text: text.to_owned(),
                    source,
                })
            };
            let name = setting.name;
            let (input, operator) = (setting.input_variable(), setting.operator_variable());
            if let Some(text) = typed.get(name) {
                return from(text, Source::Flag(name.to_owned()));
            }
            if let Some(text) = env.get(&input) {
                return from(text, Source::Input(name.to_owned()));
            }
            if let (Some(path), Some(text)) = (path, file.value(name)) {
                return from(&text, Source::File(path.clone()));
            }
            if let Some(text) = env.get(&operator) {
                return from(text, Source::Operator(operator.clone()));
            }
            from(setting.default?, Source::Default)
        };
        Self(
            SETTINGS
                .iter()
                .filter_map(|setting| Some((setting.name, find(setting)?)))
                .collect(),
        )
    }

    /// A setting's text, if it has one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|found| found.text.as_str())
    }

    /// Whether somebody gave this setting: its value is not the built-in one.
    pub fn given(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|found| found.source != Source::Default)
    }

    /// Whether a setting was given for this very run, above what the file says.
    pub fn above_file(&self, name: &str) -> bool {
        let found = self.0.get(name).map(|found| &found.source);
        matches!(found, Some(Source::Flag(_) | Source::Input(_)))
    }

    /// A setting, parsed.
    ///
    /// # Errors
    /// The text does not parse; the error names the setting and where the text came from.
    pub fn parse<T>(&self, name: &'static str) -> Result<Option<T>, ContextError>
    where
        T: std::str::FromStr<Err: fmt::Display>,
    {
        self.parse_with(name, |text| {
            text.trim()
                .parse()
                .map_err(|error: T::Err| error.to_string())
        })
    }

    /// A setting, parsed by a function whose error is a sentence fragment.
    ///
    /// # Errors
    /// As [`Layers::parse`].
    pub fn parse_with<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ContextError> {
        let Some(found) = self.0.get(name) else {
            return Ok(None);
        };
        let value = parse(&found.text).map_err(|why| self.refuse(name, &found.text, why))?;
        Ok(Some(value))
    }

    /// The error of a setting whose value cannot be used; `why` is a sentence fragment.
    pub fn refuse(&self, name: &'static str, text: &str, why: String) -> ContextError {
        let text = text.chars().take(80).collect();
        ContextError::Setting {
            name,
            source_name: self.source(name),
            text,
            why,
        }
    }

    /// A switch; false when it has no value.
    ///
    /// # Errors
    /// The text is neither yes nor no.
    pub fn switch(&self, name: &'static str) -> Result<bool, ContextError> {
        let yes = |text: &str| match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "on" => Ok(true),
            "false" | "no" | "0" | "off" => Ok(false),
            _ => Err("write true or false".to_owned()),
        };
        Ok(self.parse_with(name, yes)?.unwrap_or(false))
    }

    /// Every setting with its value and source, for `--print-config`. Secrets are stars.
    pub fn explain(&self) -> Vec<(&'static str, String, String)> {
        let line = |setting: &Setting| match self.0.get(setting.name) {
            Some(_) if setting.kind == Kind::Secret => {
                (setting.name, "***".to_owned(), self.source(setting.name))
            }
            Some(found) => (setting.name, found.text.clone(), found.source.to_string()),
            None => (setting.name, String::new(), "not set".to_owned()),
        };
        SETTINGS.iter().map(line).collect()
    }

    fn source(&self, name: &str) -> String {
        self.0
            .get(name)
            .map(|found| found.source.to_string())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> EnvSnapshot {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn layers(typed: &[(&'static str, &str)], variables: &[(&str, &str)], file: &str) -> Layers {
        let path = PathBuf::from("kitt.yml");
        let file = super::super::file::parse(&path, file).unwrap();
        let typed = typed.iter().map(|(k, v)| (*k, (*v).to_owned())).collect();
        Layers::new(&typed, &env(variables), Some(&path), &file)
    }

    #[test]
    fn flag_input_file_operator_default_in_that_order() {
        let all = [("KITT_INPUT_RUNS", "2"), ("KITT_RUNS", "4")];
        assert_eq!(
            layers(&[("runs", "1")], &all, "runs: 3").text("runs"),
            Some("1")
        );
        assert_eq!(layers(&[], &all, "runs: 3").text("runs"), Some("2"));
        assert_eq!(layers(&[], &all[1..], "runs: 3").text("runs"), Some("3"));
        assert_eq!(layers(&[], &all[1..], "").text("runs"), Some("4"));
        assert_eq!(
            layers(&[], &[("KITT_INPUT_RUNS", "")], "").text("runs"),
            Some("1")
        );
    }

    #[test]
    fn an_error_says_where_the_text_came_from() {
        let layers = layers(&[], &[("KITT_INPUT_RUNS", "many")], "");
        let message = layers.parse::<u32>("runs").unwrap_err().to_string();
        assert!(message.contains("runs") && message.contains("input") && message.contains("many"));
    }

    #[test]
    fn the_token_is_never_explained() {
        let layers = layers(&[], &[("KITT_INPUT_GITHUB_TOKEN", "ghs_x")], "");
        assert!(
            layers
                .explain()
                .iter()
                .all(|(_, value, _)| !value.contains("ghs_x"))
        );
    }

    #[test]
    fn a_switch_is_yes_or_no() {
        assert!(
            layers(&[], &[("KITT_INPUT_GATE", "Yes")], "")
                .switch("gate")
                .unwrap()
        );
        assert!(
            layers(&[("gate", "maybe")], &[], "")
                .switch("gate")
                .is_err()
        );
    }
}
