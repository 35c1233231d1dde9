//! What a person chose of the engine: with the workload all that another run needs to be the same.
//!
//! Out: a part of `config.json`. In, one day: the same part of a stored one, which may come from an
//! artifact that anybody wrote. Every value is checked as if it were typed, and nothing that reaches
//! into the host (paths, commands, environment, endpoints) is written down in the first place.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NotRebuildable;
use crate::{
    context::revision,
    engine::{LaunchSpec, Mode, Target},
    ids::{ImageRef, ModelRef},
};

/// More arguments than any command line has.
const MOST_ARGS: usize = 500;
/// The longest argument, in bytes.
const LONGEST_ARG: usize = 8 << 10;

/// What was asked for of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The engine's name.
    pub engine: String,
    /// Container or host; `None` for a server that somebody else runs.
    pub mode: Option<Mode>,
    /// The model as typed.
    pub model: ModelRef,
    /// Branch, tag or commit of a hub model.
    pub revision: Option<String>,
    /// The arguments that were typed, without those that kitt adds.
    pub args: Vec<String>,
}

/// What stored results say about the engine they were measured on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What was asked for.
    pub asked: Asked,
    /// The image that ran, as it was named.
    pub image: Option<ImageRef>,
    /// Its digest, or its id where it came from no registry: `sha256:…`.
    pub digest: Option<String>,
}

/// The parts of a `config.json` that say how the engine was started.
#[derive(Debug, Deserialize)]
struct Config {
    image: Option<ImageRef>,
    image_digest: Option<String>,
    effective: Option<Effective>,
}

#[derive(Debug, Deserialize)]
struct Effective {
    asked: Option<Asked>,
}

impl Asked {
    /// What was asked for in a launch. `model` is the model as typed.
    pub(super) fn of(
        engine: &str,
        launch: &LaunchSpec,
        (model, revision): (&ModelRef, Option<&str>),
        args: &[String],
    ) -> Self {
        Self {
            engine: engine.to_owned(),
            mode: match &launch.target {
                Target::Container(_) => Some(Mode::Docker),
                Target::InProcess(_) | Target::Process(_) => Some(Mode::Native),
                Target::Endpoint(_) => None,
            },
            model: model.clone(),
            revision: revision.map(str::to_owned),
            args: args.to_vec(),
        }
    }

    fn check(&self) -> Result<(), String> {
        if let Some(text) = &self.revision {
            revision(text).map_err(|why| format!("its revision: {why}"))?;
        }
        if self.args.len() > MOST_ARGS {
            return Err(format!("it has more than {MOST_ARGS} engine arguments"));
        }
        let plain = |arg: &String| arg.len() <= LONGEST_ARG && !arg.contains(char::is_control);
        if self.args.iter().all(plain) {
            Ok(())
        } else {
            Err("an engine argument is too long or holds control characters".to_owned())
        }
    }
}

impl Stored {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// It was written before kitt wrote this down, or a value is none that could have been typed.
    pub fn parse(config: &Value) -> Result<Self, NotRebuildable> {
        let known = config.pointer("/effective/asked");
        if known.is_none_or(Value::is_null) {
            return Err(NotRebuildable::Silent);
        }
        let wrong = |why: String| NotRebuildable::Config { why };
        let config = Config::deserialize(config).map_err(|error| wrong(error.to_string()))?;
        let asked = config.effective.and_then(|effective| effective.asked);
        let asked = asked.ok_or(NotRebuildable::Silent)?;
        asked.check().map_err(wrong)?;
        if let Some(digest) = &config.image_digest
            && digest.parse::<crate::ids::ImageId>().is_err()
        {
            return Err(wrong("its image digest is none".to_owned()));
        }
        Ok(Self {
            asked,
            image: config.image,
            digest: config.image_digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn config(change: impl FnOnce(&mut Value)) -> Value {
        let mut config = json!({
            "image": "vllm/vllm-openai:v0.10.0",
            "image_digest": format!("sha256:{}", "a".repeat(64)),
            "effective": {
                "seed": 42,
                "asked": {
                    "engine": "vllm", "mode": "docker", "model": "org/name", "revision": "main",
                    "args": ["--max-num-seqs", "64"], "of a later kitt": true,
                },
            },
        });
        change(&mut config);
        config
    }

    #[test]
    fn what_was_written_is_read() {
        let stored = Stored::parse(&config(|_| {})).unwrap();
        assert_eq!(stored.asked.args, ["--max-num-seqs", "64"]);
        assert_eq!(stored.asked.mode, Some(Mode::Docker));
        assert_eq!(stored.image.unwrap().as_str(), "vllm/vllm-openai:v0.10.0");
        let back = serde_json::to_value(&stored.asked).unwrap();
        assert_eq!(back["model"], "org/name");
    }

    #[test]
    fn what_could_not_have_been_typed_is_refused() {
        let asked = |key: &'static str, value: Value| {
            move |config: &mut Value| config["effective"]["asked"][key] = value
        };
        let refused = |config: Value| Stored::parse(&config).unwrap_err().to_string();
        let long = "x".repeat(LONGEST_ARG + 1);
        for hostile in [
            config(asked("model", json!("--help"))),
            config(asked("model", json!("a\nb"))),
            config(asked("revision", json!("../../etc"))),
            config(asked("args", json!(["\u{0}"]))),
            config(asked("args", json!([long]))),
            config(asked("args", json!(vec!["x"; MOST_ARGS + 1]))),
            config(asked("args", json!("not a list"))),
            config(asked("mode", json!("host"))),
            config(|config| config["image"] = json!("../x")),
            config(|config| config["image_digest"] = json!("sha256:x; rm")),
        ] {
            let said = refused(hostile);
            assert!(said.contains("config.json"), "{said}");
        }
        for old in [json!({}), json!([]), json!({"effective": {"seed": 1}})] {
            assert_eq!(Stored::parse(&old), Err(NotRebuildable::Silent));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_config_or_a_reason(
            model in "\\PC{0,40}", args in prop::collection::vec("\\PC{0,9}", 0..4), image in "\\PC{0,40}",
        ) {
            let hostile = config(|config| {
                config["effective"]["asked"]["model"] = json!(model);
                config["effective"]["asked"]["args"] = json!(args);
                config["image"] = json!(image);
            });
            if let Ok(stored) = Stored::parse(&hostile) {
                prop_assert!(!stored.asked.model.as_str().starts_with('-'));
            }
        }
    }
}
