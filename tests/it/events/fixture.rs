//! The fixtures: an event's environment and payload, and what they look like to the binary.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use super::super::harness::fixture;

/// One event.
#[derive(Clone)]
pub struct Fixture {
    pub name: String,
    /// One sentence.
    pub about: String,
    pub env: BTreeMap<String, String>,
    /// Nothing for the fixtures that are no JSON.
    pub payload: Value,
    raw: Option<String>,
    /// Bytes of a payload that is only large.
    filler: Option<u64>,
}

impl Fixture {
    /// The fixture with other commits in the place of its own: a real repository's.
    pub fn with_commits(name: &str, commits: &[(&str, &str)]) -> Self {
        let path = fixture(&format!("events/{name}.json"));
        let mut text = fs::read_to_string(path).unwrap();
        for (old, new) in commits {
            text = text.replace(old, new);
        }
        let mut value: Value = serde_json::from_str(&text).unwrap();
        let env = value["env"].as_object().unwrap().iter();
        let env = env.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        Self {
            name: name.to_owned(),
            about: value["about"].as_str().unwrap().to_owned(),
            env: env.collect(),
            raw: value["raw"].as_str().map(str::to_owned),
            filler: value["filler"].as_u64(),
            payload: value["payload"].take(),
        }
    }

    /// Names of all, sorted.
    pub fn names() -> Vec<String> {
        let entries = fs::read_dir(fixture("events")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// Gives a command the event; the payload is written into `dir`.
    pub fn give(&self, command: &mut Command, dir: &Path) {
        let path = dir.join("event.json");
        match (&self.raw, self.filler) {
            (Some(raw), _) => fs::write(&path, raw).unwrap(),
            (None, Some(bytes)) => fs::File::create(&path).unwrap().set_len(bytes).unwrap(),
            (None, None) => fs::write(&path, self.payload.to_string()).unwrap(),
        }
        command.envs(&self.env).env("GITHUB_EVENT_PATH", path);
    }
}
