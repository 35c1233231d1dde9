//! llama.cpp's `llama-server` in a container.

use std::{path::Path, time::Duration};

use super::{
    ApiTraits, ContainerSpec, Engine, ImageSource, LaunchError, LaunchRequest, LaunchSpec, Mode,
    Mount, Target,
};
use crate::ids::ImageRef;

/// Descriptor of llama.cpp.
pub(super) struct LlamaCpp;

const PORT: u16 = 8080;
/// Large models on slow disks take minutes.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(5);
/// Upstream's image with the server alone, for processors without a GPU; `-cuda` beside it.
const IMAGE_CPU: &str = "ghcr.io/ggml-org/llama.cpp:server";
const IMAGE_CUDA: &str = "ghcr.io/ggml-org/llama.cpp:server-cuda";

impl Engine for LlamaCpp {
    fn name(&self) -> &'static str {
        "llama_cpp"
    }

    fn summary(&self) -> &'static str {
        "llama.cpp's llama-server in a container; the model is a .gguf file on the host"
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        if request.mode == Some(Mode::Native) {
            return Err(LaunchError::Unsupported {
                engine: "llama_cpp",
                what: "run natively",
                remedy: "start llama-server yourself and use engine `openai`, or leave --mode away",
            });
        }
        let (directory, file) = model_file(request)?;
        let default = if request.gpus.is_empty() {
            IMAGE_CPU
        } else {
            IMAGE_CUDA
        };
        let image = match &request.image {
            Some(image) => image.clone(),
            None => parse_default(default)?,
        };
        Ok(LaunchSpec {
            target: Target::Container(Box::new(ContainerSpec {
                image: ImageSource::Reference(image),
                // The image's own entry point differs between builds; the binary's path does not
                // matter when PATH finds it.
                entrypoint: Vec::new(),
                args: argv(request, &file),
                env: request.env.clone(),
                port: PORT,
                mounts: vec![Mount {
                    host: directory.into(),
                    container: "/models".into(),
                    writable: false,
                }],
                gpus: request.gpus.clone(),
                memory: request.memory,
                cpuset: request.cpuset.clone(),
                shm: None,
            })),
            api: api(request),
            startup_timeout: request.startup_timeout.unwrap_or(STARTUP_TIMEOUT),
        })
    }
}

fn parse_default(image: &str) -> Result<ImageRef, LaunchError> {
    image.parse().map_err(LaunchError::Image)
}

/// The model's directory and file name. Only absolute paths of GGUF files: the directory is
/// mounted read-only.
fn model_file(request: &LaunchRequest) -> Result<(String, String), LaunchError> {
    let path = Path::new(request.model.as_str());
    let wrong = |why: &str| LaunchError::Model {
        model: request.model.clone(),
        why: why.to_owned(),
    };
    let file = path.file_name().and_then(|name| name.to_str());
    let directory = path.parent().and_then(Path::to_str);
    match (directory, file) {
        (Some(directory), Some(file))
            if path.is_absolute() && path.extension().is_some_and(|kind| kind == "gguf") =>
        {
            Ok((directory.to_owned(), file.to_owned()))
        }
        _ if !path.is_absolute() => Err(wrong("llama_cpp needs the absolute path of a .gguf file")),
        _ => Err(wrong("llama_cpp needs a .gguf file")),
    }
}

fn argv(request: &LaunchRequest, file: &str) -> Vec<String> {
    let slots = request.max_concurrency.max(1);
    // llama-server divides its context among its slots.
    let context = slots.saturating_mul(request.max_tokens_per_request.saturating_add(64));
    let layers = if request.gpus.is_empty() { "0" } else { "999" };
    let own = [
        "-m".to_owned(),
        format!("/models/{file}"),
        "--host".to_owned(),
        "0.0.0.0".to_owned(),
        "--port".to_owned(),
        PORT.to_string(),
        "-c".to_owned(),
        context.to_string(),
        "-np".to_owned(),
        slots.to_string(),
        "-ngl".to_owned(),
        layers.to_owned(),
        "--seed".to_owned(),
        // The server keeps seeds in 32 bits.
        (request.seed & u64::from(u32::MAX)).to_string(),
        "--metrics".to_owned(),
    ];
    own.into_iter()
        .chain(request.args.iter().cloned())
        .collect()
}

fn api(request: &LaunchRequest) -> ApiTraits {
    let mut request_extras = serde_json::Map::new();
    request_extras.insert("ignore_eos".into(), true.into());
    request_extras.insert("cache_prompt".into(), false.into());
    ApiTraits {
        health_path: "/health",
        request_extras,
        exact_length: true,
        metrics_path: Some("/metrics"),
        served_model: request.model.to_string(),
        // The server lists the file it was given under its own path.
        check_model: false,
    }
}
