//! The event's payload: foreign JSON of which nothing is certain.

use std::{io::Read, path::Path};

use serde_json::Value;

use crate::ids::{CommitSha, PrNumber};

/// Largest payload that is read, in bytes: GitHub's own are below 25 MB.
const MAX_BYTES: u64 = 32 << 20;

/// A payload whose fields are read one by one; what is absent or of another type is `None`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'a>(pub(super) &'a Value);

impl<'a> Payload<'a> {
    pub(super) fn at(self, pointer: &str) -> Option<&'a Value> {
        self.0.pointer(pointer)
    }

    /// A text that is not empty.
    pub(super) fn text(self, pointer: &str) -> Option<&'a str> {
        self.at(pointer)?.as_str().filter(|text| !text.is_empty())
    }

    /// An id.
    pub(super) fn id(self, pointer: &str) -> Option<u64> {
        self.at(pointer)?.as_u64()
    }

    pub(super) fn flag(self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool) == Some(true)
    }

    pub(super) fn is_object(self, pointer: &str) -> bool {
        self.at(pointer).is_some_and(Value::is_object)
    }

    /// A commit. Zeros stand for none: a new branch had no commit before.
    pub(super) fn sha(self, pointer: &str) -> Option<CommitSha> {
        let text = self.text(pointer)?;
        let none = text.bytes().all(|digit| digit == b'0');
        if none { None } else { text.parse().ok() }
    }

    /// The number of a pull request, as a number or, like every input of a workflow, as a text.
    pub(super) fn pr(self, pointer: &str) -> Option<PrNumber> {
        let value = self.at(pointer)?;
        match value.as_str() {
            Some(text) => text.trim().parse().ok(),
            None => value.as_u64()?.to_string().parse().ok(),
        }
    }
}

/// Reads a payload. One that cannot be read is told and left away.
pub(in crate::context) fn read(path: &Path) -> Option<Value> {
    let value = parse(path);
    value
        .inspect_err(|why| {
            tracing::warn!(
                path = %path.display(),
                "the event payload cannot be read ({why}); going on without it"
            );
        })
        .ok()
}

fn parse(path: &Path) -> Result<Value, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    let size = read.map_err(|error| error.to_string())?;
    if size as u64 > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
