//! Ollama.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, LoadModel, Mode,
    ModelFormat,
    recipe::{Parts, Site, words},
};

/// Descriptor of Ollama.
pub(super) struct Ollama;

static ABOUT: About = About {
    name: "ollama",
    aliases: &[],
    summary: "Ollama; the model is a name of its library or a .gguf file on the host",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Gguf],
    quantisations: &[],
    hub: Hub::Ollama,
    images: Images {
        cuda: Some("ollama/ollama:0.18.2"),
        rocm: Some("ollama/ollama:0.18.2-rocm"),
        cpu: Some("ollama/ollama:0.18.2"),
    },
    port: 11434,
    command: &["ollama", "serve"],
    version: &["ollama", "--version"],
};

/// The download is part of it.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(15);

/// Gets the model ready by a server that nobody else sees, then becomes the real one: when that
/// answers, the model is there. `$1` is the model's name, `$2` its file or nothing. Nothing is
/// spliced in: both stay one word.
const PREPARE: &str = r#"set -eu
export OLLAMA_HOST=127.0.0.1:11435
ollama serve & server=$!
until ollama list >/dev/null 2>&1; do kill -0 "$server"; sleep 0.2; done
if [ -n "$2" ]; then
  file=${TMPDIR:-/tmp}/kitt-Modelfile
  printf 'FROM %s\n' "$2" >"$file"
  ollama create "$1" -f "$file"
elif ! ollama show "$1" >/dev/null 2>&1; then
  ollama pull "$1"
fi
kill "$server"
wait "$server" || true
export OLLAMA_HOST="$KITT_LISTEN"
exec ollama serve"#;

impl Engine for Ollama {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        if !request.args.is_empty() {
            return Err(LaunchError::Unsupported {
                engine: "ollama",
                what: "take --engine-args",
                remedy: "its server has no arguments: set OLLAMA_… variables under `env` of the config file",
            });
        }
        if request.revision.is_some() {
            return Err(LaunchError::Unsupported {
                engine: "ollama",
                what: "choose a revision",
                remedy: "put the tag into the model's name, as llama3.2:1b",
            });
        }
        let site = Site::of(&ABOUT, request)?;
        let name = served(&site)?;
        let listen = format!("{}:{}", site.host, site.port);
        let mut env = settings(&site, request);
        let mut parts = Parts {
            caches: vec![("ollama".to_owned(), "OLLAMA_MODELS")],
            ..Parts::default()
        };
        if site.native {
            env.push(("OLLAMA_HOST", listen));
        } else {
            env.push(("KITT_LISTEN", listen));
            parts.entrypoint = words(&["/bin/sh", "-c", PREPARE, "kitt"]);
            let file = if site.local {
                site.model.clone()
            } else {
                String::new()
            };
            parts.args = vec![name.clone(), file];
        }
        parts.env = env;
        let api = ApiTraits {
            health_path: "/api/version",
            load_model: LoadModel::OllamaGenerate,
            // Nothing makes answers of an exact length (ollama#12065), and there are no metrics.
            ..ApiTraits::openai(name)
        };
        Ok(site.launch(parts, api, STARTUP_TIMEOUT))
    }
}

fn settings(site: &Site<'_>, request: &LaunchRequest) -> Vec<(&'static str, String)> {
    vec![
        // Left alone it follows the GPU's memory, so that two hosts serve two engines.
        ("OLLAMA_CONTEXT_LENGTH", site.room().to_string()),
        // Left alone it is 1, and every further request waits.
        (
            "OLLAMA_NUM_PARALLEL",
            request.max_concurrency.max(1).to_string(),
        ),
        // Left alone the model is unloaded after five idle minutes.
        ("OLLAMA_KEEP_ALIVE", "-1".to_owned()),
        ("OLLAMA_NO_CLOUD", "1".to_owned()),
        ("OLLAMA_NOPRUNE", "1".to_owned()),
    ]
}

/// The name that its model list shows: with a tag always.
fn served(site: &Site<'_>) -> Result<String, LaunchError> {
    if site.local {
        if site.native {
            return Err(LaunchError::Model {
                model: site.request.model.clone(),
                why: "on this host Ollama serves what it has: run `ollama create NAME -f Modelfile` once, with the line `FROM` and this path in the Modelfile, and give NAME".to_owned(),
            });
        }
        let word = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let stem = site.name.trim_end_matches(".gguf");
        let name: String = stem.chars().take(60).map(word).collect();
        return Ok(format!("kitt-{}:latest", name.trim_matches('-')));
    }
    let last = site.name.rsplit('/').next().unwrap_or_default();
    let tag = if last.contains(':') { "" } else { ":latest" };
    Ok(format!("{}{tag}", site.name))
}
