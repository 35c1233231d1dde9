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
                // The image's own: where the binary lies differs between builds.
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
            api: api(alias(&file)),
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
    // llama-server divides its context among its slots and ends an answer early, as if it were
    // complete, where a share is full. The plan counts words: a tokenizer may make two tokens of
    // one, and the chat template adds its own.
    let share = request
        .max_tokens_per_request
        .saturating_mul(2)
        .saturating_add(256);
    let context = slots.saturating_mul(share);
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
        // What requests and the model check call it; the server would make up a name.
        "--alias".to_owned(),
        alias(file),
        // Left on, the server shrinks the context or moves layers without a word.
        "--fit".to_owned(),
        "off".to_owned(),
        // Left on, it copies every finished prompt into host memory, beside the measurement.
        "--cache-ram".to_owned(),
        "0".to_owned(),
    ];
    own.into_iter()
        .chain(request.args.iter().cloned())
        .collect()
}

/// The file's name; a comma would separate two aliases.
fn alias(file: &str) -> String {
    file.replace(',', "-")
}

fn api(served_model: String) -> ApiTraits {
    let mut request_extras = serde_json::Map::new();
    request_extras.insert("ignore_eos".into(), true.into());
    request_extras.insert("cache_prompt".into(), false.into());
    ApiTraits {
        health_path: "/health",
        request_extras,
        exact_length: true,
        metrics_path: Some("/metrics"),
        served_model,
        check_model: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::SimSpec;

    fn request(model: &str) -> LaunchRequest {
        LaunchRequest {
            model: model.parse().unwrap(),
            mode: None,
            image: None,
            endpoint: None,
            args: vec!["-t".into(), "1".into()],
            env: std::collections::BTreeMap::new(),
            seed: (7 << 32) + 5,
            max_concurrency: 4,
            max_tokens_per_request: 960,
            startup_timeout: None,
            gpus: Vec::new(),
            memory: None,
            cpuset: None,
            sim: SimSpec::default(),
        }
    }

    fn container(request: &LaunchRequest) -> (ContainerSpec, ApiTraits) {
        let spec = LlamaCpp.launch(request).unwrap();
        let Target::Container(container) = spec.target else {
            panic!("{:?}", spec.target)
        };
        (*container, spec.api)
    }

    fn value<'a>(args: &'a [String], flag: &str) -> &'a str {
        let at = args.iter().position(|arg| arg == flag).unwrap();
        &args[at + 1]
    }

    #[test]
    fn the_model_is_mounted_named_and_checked() {
        let (spec, api) = container(&request("/srv/models/a,b.gguf"));
        assert_eq!(value(&spec.args, "-m"), "/models/a,b.gguf");
        assert_eq!(value(&spec.args, "--alias"), "a-b.gguf");
        assert_eq!(
            (api.served_model.as_str(), api.check_model),
            ("a-b.gguf", true)
        );
        assert_eq!(spec.mounts[0].host, Path::new("/srv/models"));
        assert!(!spec.mounts[0].writable);
    }

    #[test]
    fn every_slot_gets_the_longest_request_and_users_come_last() {
        let (spec, _) = container(&request("/m/a.gguf"));
        assert_eq!(value(&spec.args, "-np"), "4");
        // 4 slots of 2 * 960 + 256 tokens.
        assert_eq!(value(&spec.args, "-c"), "8704");
        assert_eq!(value(&spec.args, "--seed"), "5");
        assert_eq!(value(&spec.args, "-ngl"), "0");
        assert_eq!(spec.args[spec.args.len() - 2..], ["-t", "1"]);
    }

    #[test]
    fn gpus_change_image_and_layers() {
        let mut request = request("/m/a.gguf");
        request.gpus = vec!["GPU-1".into()];
        let (spec, _) = container(&request);
        assert_eq!(value(&spec.args, "-ngl"), "999");
        assert_eq!(
            spec.image,
            ImageSource::Reference(IMAGE_CUDA.parse().unwrap())
        );
    }

    #[test]
    fn only_absolute_gguf_files_and_only_containers() {
        for bad in ["a.gguf", "org/model", "/srv/model.safetensors", "/"] {
            assert!(LlamaCpp.launch(&request(bad)).is_err(), "{bad}");
        }
        let mut native = request("/m/a.gguf");
        native.mode = Some(Mode::Native);
        assert!(LlamaCpp.launch(&native).is_err());
    }
}
