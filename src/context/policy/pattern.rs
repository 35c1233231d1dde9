//! Names as people point at them: plain, or with `*`, `?`, `{a,b}` and `[a-z]`.

use std::{borrow::Cow, fmt, str::FromStr};

use globset::{GlobBuilder, GlobMatcher};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Longest pattern in bytes; a longer one is a mistake.
const MAX_BYTES: usize = 200;

/// A pattern for names of metrics and scenarios, events and labels: `*` matches anything.
pub type Pattern = Glob<false>;

/// A pattern for branches and paths, as GitHub's filters: `*` and `?` do not match `/`, `**`
/// does.
pub type PathPattern = Glob<true>;

/// A text that is matched against names. `SLASH`: whether `/` is special.
#[derive(Clone)]
pub struct Glob<const SLASH: bool> {
    text: String,
    how: How,
}

#[derive(Clone)]
enum How {
    /// The name itself.
    Plain,
    /// By the wildcards.
    Wild(Box<GlobMatcher>),
    /// As the name stands in a variable: in capitals, everything else but digits an underscore.
    Variable,
}

impl<const SLASH: bool> Glob<SLASH> {
    /// A pattern that matches this name alone, whatever letters it holds.
    pub fn plain(name: &str) -> Self {
        Self {
            text: name.to_owned(),
            how: How::Plain,
        }
    }

    /// A pattern that matches every name which is written so in a variable.
    pub fn variable(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            how: How::Variable,
        }
    }

    /// Whether a name matches.
    pub fn matches(&self, name: &str) -> bool {
        match &self.how {
            How::Plain => self.text == name,
            How::Wild(matcher) => matcher.is_match(name),
            How::Variable => self.text == variable(name),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name, where the pattern is nothing but one.
    pub fn name(&self) -> Option<&str> {
        matches!(self.how, How::Plain).then_some(self.text.as_str())
    }
}

/// A name as it stands in a variable: `ttft_ms.p50` is `TTFT_MS_P50`.
pub(super) fn variable(name: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.chars().map(letter).collect()
}

/// Words separated by commas or new lines; a comma inside braces belongs to its word.
pub(super) fn list(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let separates = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '\n' || (c == ',' && depth == 0)
    };
    let words = text.split(separates).map(str::trim);
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Why a text is no pattern; a sentence fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl<const SLASH: bool> FromStr for Glob<SLASH> {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_BYTES {
            let why = format!("write a name or a pattern of 1 to {MAX_BYTES} bytes");
            return Err(PatternError(why));
        }
        if !text.contains(['*', '?', '[', '{', '\\']) {
            return Ok(Self::plain(text));
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(SLASH)
            .backslash_escape(true)
            .build();
        match glob {
            Ok(glob) => Ok(Self {
                text: text.to_owned(),
                how: How::Wild(Box::new(glob.compile_matcher())),
            }),
            Err(error) => {
                let why = format!("`{text}` is no pattern: {}", error.kind());
                Err(PatternError(why))
            }
        }
    }
}

impl<const SLASH: bool> fmt::Display for Glob<SLASH> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl<const SLASH: bool> fmt::Debug for Glob<SLASH> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Glob({})", self.text)
    }
}

/// Two patterns are one when they are written alike and read alike.
impl<const SLASH: bool> PartialEq for Glob<SLASH> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
            && std::mem::discriminant(&self.how) == std::mem::discriminant(&other.how)
    }
}

impl<const SLASH: bool> Serialize for Glob<SLASH> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de, const SLASH: bool> Deserialize<'de> for Glob<SLASH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl<const SLASH: bool> JsonSchema for Glob<SLASH> {
    fn schema_name() -> Cow<'static, str> {
        if SLASH { "PathPattern" } else { "Pattern" }.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = String::json_schema(generator);
        schema.insert("minLength".to_owned(), 1.into());
        schema.insert("maxLength".to_owned(), MAX_BYTES.into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(name)
    }

    #[test]
    fn names_match_by_wildcards_and_else_exactly() {
        for (pattern, name, expected) in [
            ("ttft_ms.p50", "ttft_ms.p50", true),
            ("ttft_ms.p50", "ttft_msxp50", false),
            ("ttft_ms.*", "ttft_ms.p99", true),
            ("ttft_ms.p?0", "ttft_ms.p90", true),
            ("{ttft,tpot}_ms.p50", "tpot_ms.p50", true),
            ("{ttft,tpot}_ms.p50", "itl_ms.p50", false),
            ("*", "batch_inference/c32", true),
            ("latency*", "Latency", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(
            matches("x", "x"),
            "x".parse::<Pattern>().unwrap().name().is_some()
        );
    }

    #[test]
    fn a_star_in_a_path_stays_in_its_folder() {
        let path =
            |pattern: &str, name: &str| pattern.parse::<PathPattern>().unwrap().matches(name);
        assert!(path("docs/**", "docs/a/b.md") && path("*.md", "README.md"));
        assert!(!path("*.md", "docs/a.md") && !path("release/*", "release/1/2"));
        assert!(path("**/*.rs", "src/a/b.rs") && path("**/*.rs", "main.rs"));
    }

    #[test]
    fn a_variable_stands_for_every_name_written_so() {
        assert_eq!(variable("ttft_ms.p50"), "TTFT_MS_P50");
        let pattern = Pattern::variable("BATCH_C32");
        assert!(pattern.matches("batch/c32") && !pattern.matches("batch/c3"));
        assert_eq!(pattern.name(), None);
    }

    #[test]
    fn a_comma_in_braces_separates_nothing() {
        let found = list("{ttft,tpot}_ms.p50, output_tps,\nitl_ms.mean,");
        assert_eq!(found, ["{ttft,tpot}_ms.p50", "output_tps", "itl_ms.mean"]);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (text, says) in [
            ("", "1 to 200"),
            ("[z-a]", "no pattern"),
            ("a{b", "no pattern"),
            ("[", "no pattern"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!("x".repeat(201).parse::<Pattern>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_an_error(
            text in "[a-z*?{},\\[\\]!\\\\/.]{0,40}|\\PC{0,60}", name in "\\PC{0,30}",
        ) {
            if let Ok(pattern) = text.parse::<Pattern>() {
                pattern.matches(&name);
                prop_assert_eq!(pattern.as_str(), text.trim());
            }
            drop(text.parse::<PathPattern>());
        }

        #[test]
        fn a_plain_name_matches_itself_alone(name in "[a-z_.0-9/]{1,30}", other in "[a-z_.0-9/]{1,30}") {
            let pattern: Pattern = name.parse().unwrap();
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
        }
    }
}
