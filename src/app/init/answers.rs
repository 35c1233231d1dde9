//! What `kitt init` is to write, checked: nothing here can become more than a YAML value, or an
//! expression of a workflow.

use crate::{
    cli::InitKind,
    engine::{self, About},
    ids::{self, ModelRef},
    plan::SUITES,
};

/// More labels than this are a typing error.
const MOST_LABELS: usize = 20;
/// GitHub allows 256 letters.
const LONGEST_LABEL: usize = 256;
/// Git itself allows more; nobody types more.
const LONGEST_REF: usize = 200;

/// Everything that is written.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// Workflows, each once.
    pub(super) kinds: Vec<InitKind>,
    /// The engine.
    pub(super) engine: &'static About,
    /// Models; the first is the one of the configuration file. Never empty.
    pub(super) models: Vec<ModelRef>,
    /// Address of the running server.
    pub(super) endpoint: Option<String>,
    /// Image instead of the engine's default.
    pub(super) image: Option<String>,
    /// Suite of tests.
    pub(super) suite: &'static str,
    /// Labels of the runners.
    pub(super) labels: Vec<String>,
    /// Labels of the runners for forks.
    pub(super) fork_labels: Vec<String>,
    /// Whether a regression fails the check.
    pub(super) gate: bool,
    /// The branch that pull requests are compared with.
    pub(super) branch: String,
}

/// Workflows, `both` taken apart.
pub(super) fn kinds(asked: &[InitKind]) -> Vec<InitKind> {
    let mut kinds = Vec::new();
    for kind in asked {
        let parts: &[InitKind] = match kind {
            InitKind::Both => &[InitKind::PrGate, InitKind::Nightly],
            InitKind::PrGate
            | InitKind::Nightly
            | InitKind::Dispatch
            | InitKind::ForkSafe
            | InitKind::Matrix
            | InitKind::Labelled => std::slice::from_ref(kind),
        };
        for part in parts {
            if !kinds.contains(part) {
                kinds.push(*part);
            }
        }
    }
    kinds
}

/// An engine's facts, by name or alias.
pub(super) fn engine(text: &str) -> Result<&'static About, String> {
    let found = engine::find(text).map_err(|error| error.to_string())?;
    Ok(found.about())
}

/// A model. Hidden characters are nobody's intention, and GitHub would evaluate an expression.
pub(super) fn model(text: &str) -> Result<ModelRef, String> {
    visible(text)?;
    let model: ModelRef = text
        .parse()
        .map_err(|error: ids::NameError| error.to_string())?;
    no_expression(text)?;
    Ok(model)
}

/// A suite's name.
pub(super) fn suite(text: &str) -> Result<&'static str, String> {
    let names = || SUITES.iter().map(|suite| suite.name);
    names().find(|name| *name == text).ok_or_else(|| {
        let known: Vec<&str> = names().collect();
        let closest = ids::closest(text, names());
        let hint = closest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        format!("known suites: {}{hint}", known.join(", "))
    })
}

/// An address of a server.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| format!("it is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("write an address that starts with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("write no password into a file; the input `api-key` takes a secret".to_owned());
    }
    visible(text)?;
    Ok(text.to_owned())
}

/// An image.
pub(super) fn image(text: &str) -> Result<String, String> {
    let image: ids::ImageRef = text
        .parse()
        .map_err(|error: ids::NameError| error.to_string())?;
    Ok(image.into())
}

/// Labels of runners, separated by commas. Two that differ in case alone are one to GitHub.
pub(super) fn labels(text: &str) -> Result<Vec<String>, String> {
    let mut labels: Vec<String> = Vec::new();
    for label in text.split(',').map(str::trim) {
        let plain = |c: char| c.is_alphanumeric() || "-_.:/+= ".contains(c);
        if label.is_empty() || !label.chars().all(plain) || label.chars().count() > LONGEST_LABEL {
            return Err(format!(
                "write labels of letters, digits, spaces and - _ . : / + =, at most \
                 {LONGEST_LABEL} each, separated by commas"
            ));
        }
        if !labels
            .iter()
            .any(|known| known.to_lowercase() == label.to_lowercase())
        {
            labels.push(label.to_owned());
        }
    }
    if labels.len() > MOST_LABELS {
        return Err(format!("write at most {MOST_LABELS} labels"));
    }
    Ok(labels)
}

/// A branch. In a workflow's filter `* ? + [ ] !` are patterns, so a name holds none.
pub(super) fn branch(text: &str) -> Result<String, String> {
    git_name(text)?;
    Ok(text.to_owned())
}

/// A commit or a tag of the action.
pub(super) fn reference(text: &str) -> Result<String, String> {
    git_name(text)?;
    Ok(text.to_owned())
}

fn git_name(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || "-_./#@".contains(c);
    // Git forbids these ends in exactly this spelling.
    let parts = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none()
    };
    let good = !text.starts_with('-')
        && text.chars().count() <= LONGEST_REF
        && text.chars().all(plain)
        && text.split('/').all(parts)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && text != "@";
    if good {
        Ok(())
    } else {
        Err("write a name of letters, digits and - _ . / # @, as git has it".to_owned())
    }
}

fn visible(text: &str) -> Result<(), String> {
    if text.chars().any(ids::is_hidden) {
        Err("it holds a character that cannot be seen".to_owned())
    } else {
        Ok(())
    }
}

fn no_expression(text: &str) -> Result<(), String> {
    if text.contains("${{") {
        Err("it holds `${{`, which GitHub would evaluate".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_is_two_workflows_and_each_is_written_once() {
        let asked = [InitKind::Nightly, InitKind::Both, InitKind::Nightly];
        assert_eq!(kinds(&asked), [InitKind::Nightly, InitKind::PrGate]);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_known() {
        assert!(engine("vlm").unwrap_err().contains("did you mean `vllm`?"));
        assert!(suite("qick").unwrap_err().contains("did you mean `quick`?"));
        assert!(model("${{ secrets.X }}").unwrap_err().contains("evaluate"));
        assert!(model("a\u{202e}b").unwrap_err().contains("cannot be seen"));
        assert!(
            endpoint("http://u:p@host/")
                .unwrap_err()
                .contains("api-key")
        );
        assert!(endpoint("file:///etc").unwrap_err().contains("http"));
    }

    #[test]
    fn labels_are_split_trimmed_and_each_once() {
        let found = labels("self-hosted, Linux ,linux,nvidia h100").unwrap();
        assert_eq!(found, ["self-hosted", "Linux", "nvidia h100"]);
        for wrong in [
            "", "a,,b", "a]", "${{ x }}", "a\nb", "\"", "a#b", "[a", "a'b",
        ] {
            assert!(labels(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_branch_is_no_pattern() {
        for good in ["main", "release/1.2", "über", "a#1"] {
            assert_eq!(branch(good).unwrap(), good);
        }
        for wrong in [
            "", "-x", "a*", "a+", "!a", "a b", "a..b", "a/", "/a", ".a", "a.lock", "a@{1}", "@",
        ] {
            assert!(branch(wrong).is_err(), "{wrong}");
        }
    }
}
