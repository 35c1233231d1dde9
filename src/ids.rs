//! Names that must not be mixed up, each checked once where it enters.
//!
//! Two adjacent `&str` parameters are a bug waiting: a repository is a [`RepoSlug`], a commit a
//! [`CommitSha`], an image an [`ImageRef`].

use std::{fmt, num::NonZeroU64, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {why}")]
pub struct NameError {
    /// The refused text, shortened to 80 characters.
    pub text: String,
    /// What was wanted, with its article.
    pub what: &'static str,
    /// The rule it breaks.
    pub why: &'static str,
}

impl NameError {
    fn new(text: &str, what: &'static str, why: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            what,
            why,
        }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A model: a path on the host or a hub id such as `org/model`. At most 512 characters, no
    /// control characters, not starting with `-` (it becomes an argument of the engine).
    ModelRef, check_model
);
name!(
    /// A commit: 40 or 64 lower-case hexadecimal digits.
    CommitSha, check_sha
);
name!(
    /// An image reference `[host[:port]/]path[:tag][@sha256:hex]`, lower-case path. Checked
    /// before it reaches the Docker client, which does not escape it.
    ImageRef, check_image
);
name!(
    /// One workload point inside a suite, such as `throughput` or `batch_inference/c8`:
    /// letters, digits, `_`, `-`, `.`, `/`, at most 100 characters.
    ScenarioId, check_scenario
);
name!(
    /// What one comment or check belongs to when several jobs report on one pull request:
    /// letters, digits, `_`, `-`, `.`, at most 100 characters.
    ReportKey, check_key
);

fn check_model(text: &str) -> Result<(), NameError> {
    let wrong = |why| Err(NameError::new(text, "a model", why));
    if text.is_empty() {
        wrong("it is empty")
    } else if text.len() > 512 {
        wrong("it is longer than 512 bytes")
    } else if text.starts_with('-') {
        wrong("it starts with a dash and would be read as an option")
    } else if text.chars().any(char::is_control) {
        wrong("it holds a control character")
    } else {
        Ok(())
    }
}

fn check_sha(text: &str) -> Result<(), NameError> {
    let hex = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if hex && matches!(text.len(), 40 | 64) {
        Ok(())
    } else {
        Err(NameError::new(
            text,
            "a commit",
            "it must be 40 or 64 lower-case hexadecimal digits",
        ))
    }
}

fn check_image(text: &str) -> Result<(), NameError> {
    let wrong = |why| Err(NameError::new(text, "an image reference", why));
    if text.len() > 255 {
        return wrong("it is longer than 255 bytes");
    }
    let (rest, digest) = text
        .split_once('@')
        .map_or((text, None), |(r, d)| (r, Some(d)));
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return wrong("its digest is not sha256: and 64 hexadecimal digits");
        }
    }
    // A colon after the last slash starts the tag; one before it belongs to host:port.
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let bad_start = tag.starts_with(['.', '-']);
        if tag.is_empty() || tag.len() > 128 || bad_start || !tag.bytes().all(word) {
            return wrong("its tag has other characters than letters, digits, `_`, `.` and `-`");
        }
    }
    let (host, path) = match path.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), path)
        }
        _ => (None, path),
    };
    if let Some(host) = host {
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
        let ends = host.starts_with(|c: char| c.is_ascii_alphanumeric())
            && host.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !ends || !host.bytes().all(ok) {
            return wrong("its host has other characters than letters, digits, `.`, `-` and `:`");
        }
    }
    let component = |part: &str| {
        let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let bytes = part.as_bytes();
        part.bytes().all(ok) && ends(bytes.first()) && ends(bytes.last())
    };
    if path.split('/').all(component) {
        Ok(())
    } else {
        wrong("each part of its path must be lower-case letters and digits joined by `.`, `_`, `-`")
    }
}

fn check_word(text: &str, what: &'static str, extra: &[u8]) -> Result<(), NameError> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b) || extra.contains(&b);
    if text.is_empty() || text.len() > 100 || !text.bytes().all(ok) {
        let why = "it must be 1 to 100 letters, digits, `_`, `-` or `.`";
        return Err(NameError::new(text, what, why));
    }
    Ok(())
}

fn check_scenario(text: &str) -> Result<(), NameError> {
    check_word(text, "a scenario name", b"/")
}

fn check_key(text: &str) -> Result<(), NameError> {
    check_word(text, "a report key", b"")
}

/// A pull request's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PrNumber(pub NonZeroU64);

impl FromStr for PrNumber {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse() {
            Ok(number) => Ok(Self(number)),
            Err(_) => Err(NameError::new(
                text,
                "a pull request number",
                "it must be a whole number above 0",
            )),
        }
    }
}

impl fmt::Display for PrNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A repository, `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RepoSlug {
    owner: String,
    name: String,
}

impl RepoSlug {
    /// The account or organisation.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's own name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepoSlug {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |part: &str| {
            let ok = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !part.is_empty()
                && part.len() <= 100
                && part.bytes().all(ok)
                && part != ".."
                && part != "."
        };
        match text.split_once('/') {
            Some((owner, name)) if word(owner) && word(name) => Ok(Self {
                owner: owner.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(NameError::new(
                text,
                "a repository",
                "it must be owner/name",
            )),
        }
    }
}

impl fmt::Display for RepoSlug {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.owner, self.name)
    }
}

/// The known name closest to what was typed, for an error that helps: at most a third of the
/// letters may differ.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = typed.chars().count().div_ceil(3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references_follow_the_grammar() {
        for good in [
            "vllm/vllm-openai:v0.9.1",
            "kitt-sim:local",
            "localhost/x",
            "127.0.0.1:5000/a/b:1",
            &format!("ghcr.io/ggml-org/llama.cpp@sha256:{}", "a".repeat(64)),
        ] {
            assert!(good.parse::<ImageRef>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "../containers/x",
            "a/../b",
            "A/b",
            "a b",
            "a:b c",
            "a@sha256:12",
            "a:",
            "-a",
            "a\n",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_model_is_never_an_option() {
        assert!("--privileged".parse::<ModelRef>().is_err());
        assert!("org/model".parse::<ModelRef>().is_ok());
        assert!("a\nb".parse::<ModelRef>().is_err());
    }

    #[test]
    fn a_repository_has_exactly_one_slash() {
        let repo: RepoSlug = "org/kitt-action".parse().unwrap();
        assert_eq!((repo.owner(), repo.name()), ("org", "kitt-action"));
        for bad in ["org", "a/b/c", "/b", "a/", "a/..", "a b/c"] {
            assert!(bad.parse::<RepoSlug>().is_err(), "{bad}");
        }
    }

    #[test]
    fn zero_is_no_pull_request() {
        assert!("0".parse::<PrNumber>().is_err());
        assert_eq!("17".parse::<PrNumber>().unwrap().to_string(), "17");
    }

    #[test]
    fn the_closest_name_is_offered_only_when_close() {
        assert_eq!(closest("qick", ["quick", "standard"]), Some("quick"));
        assert_eq!(closest("zzz", ["quick", "standard"]), None);
    }
}
