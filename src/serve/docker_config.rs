//! Docker's own `config.json`, as far as kitt heeds it: the current context and where
//! credentials of registries are kept (docs.docker.com, "docker CLI configuration files").
//!
//! Read by hand and not by derived types: an error of those quotes what it found, which may be
//! a password, and one wrong entry would spoil the others.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// Larger files are something else.
const LARGEST: u64 = 1 << 20;

/// The file's content.
#[derive(Debug, Clone, Default)]
pub(super) struct DockerConfig {
    /// Where it was read.
    pub(super) path: PathBuf,
    content: Value,
}

impl DockerConfig {
    /// Reads a file; one that is not there is `None`.
    ///
    /// # Errors
    /// A sentence with the path: the file cannot be read or is no JSON object.
    pub(super) fn read(path: PathBuf) -> Result<Option<Self>, String> {
        let text = match read_small(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        match serde_json::from_str::<Value>(&text) {
            Ok(content @ Value::Object(_)) => Ok(Some(Self { path, content })),
            Ok(_) => Err(format!("{} holds no JSON object", path.display())),
            // Only the place: the text may be a secret.
            Err(error) => Err(format!(
                "{} is not valid JSON (line {}, column {})",
                path.display(),
                error.line(),
                error.column()
            )),
        }
    }

    /// The context that `docker context use` chose.
    pub(super) fn current_context(&self) -> Option<&str> {
        self.text("currentContext")
    }

    /// The credential helper of one registry.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        let helper = self.content.get("credHelpers")?.get(registry)?.as_str()?;
        Some(helper).filter(|name| !name.is_empty())
    }

    /// The credential helper of all other registries.
    pub(super) fn store(&self) -> Option<&str> {
        self.text("credsStore")
    }

    /// What is kept in the file itself, by registry as somebody wrote it.
    pub(super) fn auths(&self) -> impl Iterator<Item = (&str, &Value)> {
        let auths = self.content.get("auths").and_then(Value::as_object);
        auths
            .into_iter()
            .flatten()
            .map(|(registry, entry)| (registry.as_str(), entry))
    }

    fn text(&self, key: &str) -> Option<&str> {
        let text = self.content.get(key)?.as_str()?;
        Some(text).filter(|text| !text.is_empty())
    }
}

/// The text of a file that is not suspiciously large.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > LARGEST {
        return Err(io::Error::other(format!("it has {size} bytes")));
    }
    fs::read_to_string(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<DockerConfig>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        DockerConfig::read(path)
    }

    #[test]
    fn what_is_there_is_found_and_the_rest_is_none() {
        let text = r#"{"currentContext":"lab","credsStore":"","credHelpers":{"r.io":"ecr"},
            "auths":{"a.io":{"auth":"x"},"b.io":7},"future":[1]}"#;
        let config = read(text).unwrap().unwrap();
        assert_eq!(config.current_context(), Some("lab"));
        assert_eq!((config.store(), config.helper("r.io")), (None, Some("ecr")));
        assert_eq!(config.helper("a.io"), None);
        let auths: Vec<&str> = config.auths().map(|(registry, _)| registry).collect();
        assert_eq!(auths, ["a.io", "b.io"]);
        assert_eq!(read("{}").unwrap().unwrap().auths().count(), 0);
        let absent = DockerConfig::read("/nonexistent/config.json".into());
        assert!(absent.unwrap().is_none());
    }

    #[test]
    fn a_broken_file_is_told_by_its_place_and_never_quoted() {
        let error = read("{\"auths\":\n \"s3cret").unwrap_err();
        assert!(
            error.contains("line 2") && !error.contains("s3cret"),
            "{error}"
        );
        assert!(read("[]").unwrap_err().contains("no JSON object"));
        assert!(read("").unwrap_err().contains("not valid JSON"));
        let folder = tempfile::tempdir().unwrap();
        let error = DockerConfig::read(folder.path().to_owned()).unwrap_err();
        assert!(error.contains("cannot be read"), "{error}");
    }
}
