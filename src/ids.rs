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
    /// The name or id of a container, network or volume (`RestrictedNamePattern` in moby's
    /// `daemon/names`). The Docker client puts names into paths unescaped: none reaches it that
    /// is not one of these.
    ObjectName, check_object
);
name!(
    /// The id of an image on a daemon: `sha256:` and 64 hexadecimal digits.
    ImageId, check_image_id
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
name!(
    /// One job's section in a comment that several jobs share, such as `h100 · fp8`: at most 120
    /// characters, none hidden, not empty.
    Section, check_section
);

impl Default for ReportKey {
    /// The key of a report that was not given one.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

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

/// A reference taken apart; nothing is checked.
struct ImageParts<'a> {
    host: Option<&'a str>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

fn image_parts(text: &str) -> ImageParts<'_> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    // A colon after the last slash starts the tag; one before it belongs to host:port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        Some(_) | None => (rest, None),
    };
    let (host, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => {
            (Some(first), path)
        }
        Some(_) | None => (None, name),
    };
    ImageParts {
        host,
        path,
        tag,
        digest,
    }
}

/// The grammar of distribution/reference (`reference.go`) without what no engine needs: digests
/// other than SHA-256 and numeric IPv6 hosts.
fn check_image(text: &str) -> Result<(), NameError> {
    let wrong = |why| Err(NameError::new(text, "an image reference", why));
    let parts = image_parts(text);
    let name = parts.host.map_or(0, |host| host.len() + 1) + parts.path.len();
    if name > 255 {
        wrong("its name is longer than 255 bytes")
    } else if parts.digest.is_some_and(|digest| !is_digest(digest)) {
        wrong("its digest is not sha256: and 64 lower-case hexadecimal digits")
    } else if parts.tag.is_some_and(|tag| !is_tag(tag)) {
        wrong(
            "its tag is not 1 to 128 letters, digits, `_`, `.` and `-`, the first one a letter, digit or `_`",
        )
    } else if parts.host.is_some_and(|host| !is_host(host)) {
        wrong("its host is not a name or IPv4 address with or without a port")
    } else if !parts.path.split('/').all(is_path_component) {
        wrong(
            "each part of its path must be lower-case letters and digits joined by `.`, `_`, `__` or dashes",
        )
    } else if parts.path.len() == 64 && parts.path.bytes().all(|b| b.is_ascii_hexdigit()) {
        wrong("it reads like an image's id")
    } else {
        Ok(())
    }
}

fn is_digest(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(lower))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(word)
}

fn is_host(text: &str) -> bool {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let label = |part: &str| {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(ok)
    };
    let number = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    name.split('.').all(label) && port.is_none_or(number)
}

fn is_path_component(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |b: Option<u8>| b.is_some_and(word);
    ends(part.bytes().next())
        && ends(part.bytes().last())
        && part.bytes().all(|b| word(b) || b"._-".contains(&b))
        && part
            .split(|c: char| c.is_ascii_alphanumeric())
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

/// Where Docker looks for images whose reference names no host.
const HUB: &str = "docker.io";

impl ImageRef {
    /// The registry's host, with its port where one is given; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        match image_parts(&self.0).host {
            None | Some("index.docker.io") => HUB,
            Some(host) => host,
        }
    }

    /// Host and path without tag and digest, written out: `docker.io/library/busybox`.
    pub fn repository(&self) -> String {
        let (host, path) = (self.registry(), image_parts(&self.0).path);
        // Docker Hub's own images live in a folder that nobody types.
        let folder = if host == HUB && !path.contains('/') {
            "library/"
        } else {
            ""
        };
        format!("{host}/{folder}{path}")
    }

    /// `sha256:…`, where the reference is fixed by a digest.
    pub fn digest(&self) -> Option<&str> {
        image_parts(&self.0).digest
    }

    /// The reference of one image and not of a repository full of them: with the tag `latest`
    /// where it has neither tag nor digest.
    #[must_use]
    pub fn completed(&self) -> Self {
        let parts = image_parts(&self.0);
        if parts.tag.is_some() || parts.digest.is_some() {
            self.clone()
        } else {
            Self(format!("{}:latest", self.0))
        }
    }
}

fn check_object(text: &str) -> Result<(), NameError> {
    let ok = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let start = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if start && (2..=128).contains(&text.len()) && text.bytes().all(ok) {
        return Ok(());
    }
    let why =
        "it must be 2 to 128 letters, digits, `_`, `.` or `-`, the first one a letter or digit";
    Err(NameError::new(text, "a name on the Docker daemon", why))
}

fn check_image_id(text: &str) -> Result<(), NameError> {
    if is_digest(text) {
        return Ok(());
    }
    let why = "it must be sha256: and 64 lower-case hexadecimal digits";
    Err(NameError::new(text, "an image id", why))
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

fn check_section(text: &str) -> Result<(), NameError> {
    let wrong = |why| Err(NameError::new(text, "a section's name", why));
    if text.trim().is_empty() {
        wrong("it is empty")
    } else if text.chars().count() > 120 {
        wrong("it is longer than 120 characters")
    } else if text.chars().any(is_hidden) {
        wrong("it holds a control character")
    } else {
        Ok(())
    }
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

/// Control characters, and those that reorder or hide what stands around them: no text from
/// outside keeps them on its way to a reader.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
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
        let digest = format!("@sha256:{}", "a".repeat(64));
        for good in [
            "vllm/vllm-openai:v0.9.1",
            "kitt-sim:local",
            "localhost/x",
            "127.0.0.1:5000/a/b:1",
            "a__b/c-----d/e.f_g",
            "Registry.Example.com/x",
            "a:_x",
            &format!("ghcr.io/ggml-org/llama.cpp{digest}"),
            &format!("x.io:5000/a:tag{digest}"),
            &format!("{}:{}", "a".repeat(255), "t".repeat(128)),
        ] {
            assert!(good.parse::<ImageRef>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "../containers/x",
            "a/../b",
            "a..b",
            "a___b",
            "a._b",
            "a-",
            "A/b",
            "a b",
            "a:b c",
            "a@sha256:12",
            "a@",
            &format!("a{}", digest.to_uppercase()),
            &format!("a{digest}{digest}"),
            "a:",
            "a:.x",
            "a:b:c",
            "-a",
            "a\n",
            "a\0",
            "ä/b",
            "a?force=1",
            "a%2fb",
            "a#b",
            "host.:1/x",
            "-h.io/x",
            "h.io:0/x",
            "h.io:65536/x",
            "h.io:+5/x",
            "h.io:/x",
            "h:1:2/x",
            "[::1]:5000/x",
            &"a".repeat(256),
            &"a1".repeat(32),
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reference_knows_its_registry_and_repository() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, registry, repository) in [
            ("busybox", "docker.io", "docker.io/library/busybox"),
            ("docker.io/a/b:1", "docker.io", "docker.io/a/b"),
            ("index.docker.io/x", "docker.io", "docker.io/library/x"),
            ("localhost/x", "localhost", "localhost/x"),
            (
                "127.0.0.1:5000/a/b:1",
                "127.0.0.1:5000",
                "127.0.0.1:5000/a/b",
            ),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", "127.0.0.1:5000/a"),
            (&format!("r.io/a@{digest}"), "r.io", "r.io/a"),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(
                (image.registry(), image.repository().as_str()),
                (registry, repository)
            );
        }
        let fixed: ImageRef = format!("a@{digest}").parse().unwrap();
        assert_eq!(fixed.digest(), Some(digest.as_str()));
        for (typed, asked) in [
            ("busybox", "busybox:latest"),
            ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1"),
            (fixed.as_str(), fixed.as_str()),
        ] {
            assert_eq!(
                typed.parse::<ImageRef>().unwrap().completed().as_str(),
                asked
            );
        }
    }

    #[test]
    fn names_and_ids_on_the_daemon_are_no_paths() {
        for good in ["kitt-run-1-0", "ab", "0123456789abcdef", "a_b.c"] {
            assert!(good.parse::<ObjectName>().is_ok(), "{good}");
        }
        for bad in [
            "", "a", "..", "-a", ".a", "a/b", "a?v=1", "a b", "a\n", "a%2f",
        ] {
            assert!(bad.parse::<ObjectName>().is_err(), "{bad:?}");
        }
        assert!(
            format!("sha256:{}", "0".repeat(64))
                .parse::<ImageId>()
                .is_ok()
        );
        assert!("sha256:../x".parse::<ImageId>().is_err());
    }

    proptest::proptest! {
        // Whatever is accepted stays one piece of a path and of a query.
        #[test]
        fn no_accepted_reference_leaves_its_place(text in "[a-z0-9A-Z:/@._?#% \\-]{0,40}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                let text = image.as_str();
                proptest::prop_assert!(!text.contains("..") && !text.contains("//"));
                proptest::prop_assert!(!text.contains(['?', '#', '%', ' ', '\\']));
                proptest::prop_assert!(image.repository().ends_with(image_parts(text).path));
            }
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
