//! llama.cpp's `llama-server`.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat,
    argv::Argv,
    recipe::{Parts, Site, extras},
};

/// Descriptor of llama.cpp.
pub(super) struct LlamaCpp;

static ABOUT: About = About {
    name: "llama_cpp",
    aliases: &["llama.cpp", "llamacpp", "llama-cpp"],
    summary: "llama.cpp's llama-server; the model is a .gguf file on the host or a hub id with GGUF files",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Gguf],
    quantisations: &[],
    hub: Hub::HuggingFace,
    images: Images {
        cuda: Some("ghcr.io/ggml-org/llama.cpp:server-cuda-b10731"),
        rocm: Some("ghcr.io/ggml-org/llama.cpp:server-rocm-b10731"),
        cpu: Some("ghcr.io/ggml-org/llama.cpp:server-b10731"),
    },
    // Said in full: upstream's default has changed.
    port: 8080,
    command: &["llama-server"],
    version: &["llama-server", "--version"],
};

/// Large models on slow disks take minutes, and hub ids are downloaded.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(10);

impl Engine for LlamaCpp {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        if request.revision.is_some() {
            return Err(LaunchError::Unsupported {
                engine: "llama_cpp",
                what: "choose a revision",
                remedy: "llama-server always takes a hub model's newest files: download the revision and give the file's path",
            });
        }
        let site = Site::of(&ABOUT, request)?;
        let alias = alias(&site.name);
        let parts = Parts {
            // The image's own entry point: where the binary lies differs between builds.
            args: argv(&site, request, &alias)?,
            caches: vec![("llama.cpp".to_owned(), "LLAMA_CACHE")],
            ..Parts::default()
        };
        let api = ApiTraits {
            request_extras: extras(&[("ignore_eos", true), ("cache_prompt", false)]),
            exact_length: true,
            metrics_path: Some("/metrics"),
            ..ApiTraits::openai(alias)
        };
        Ok(site.launch(parts, api, STARTUP_TIMEOUT))
    }
}

/// All spellings of what is kitt's to say.
const OURS: [&str; 8] = [
    "-m",
    "--model",
    "-hf",
    "--hf-repo",
    "-mu",
    "--model-url",
    "--api-key",
    "--api-key-file",
];

fn argv(site: &Site<'_>, request: &LaunchRequest, alias: &str) -> Result<Vec<String>, LaunchError> {
    let slots = request.max_concurrency.max(1);
    // llama-server divides its context among its slots and ends an answer early, as if it were
    // complete, where a share is full.
    let context = slots.saturating_mul(site.room());
    let argv = Argv::new(site).refused(&OURS);
    let argv = if site.local {
        argv.fixed(&["-m"], &site.model)
    } else {
        argv.fixed(&["-hf"], &site.model)
    };
    let argv = argv
        .fixed(&["--host"], site.host)
        .fixed(&["--port"], &site.port)
        .tuned(&["-c", "--ctx-size"], &[&context.to_string()])
        .tuned(&["-np", "--parallel"], &[&slots.to_string()])
        // The server keeps seeds in 32 bits.
        .tuned(
            &["--seed", "-s"],
            &[&(request.seed & u64::from(u32::MAX)).to_string()],
        )
        .tuned(&["--metrics"], &[])
        // What requests and the model check call it; the server would make up a name.
        .fixed(&["--alias", "-a"], alias)
        // Left on, the server shrinks the context or moves layers without a word.
        .tuned(&["--fit", "-fit"], &["off"])
        // Left on, it copies every finished prompt into host memory, beside the measurement.
        .tuned(&["--cache-ram", "-cram"], &["0"]);
    // Without GPUs nothing is said of layers: a build without GPU support answers any number of
    // them, 0 too, with the warning that a run which lost its GPU ends on.
    let argv = if request.gpus.is_none() {
        argv.tuned(&["--device", "-dev"], &["none"])
    } else {
        argv.tuned(&["-ngl", "--gpu-layers", "--n-gpu-layers"], &["999"])
    };
    let argv = if request.offline && !site.local {
        argv.tuned(&["--offline"], &[])
    } else {
        argv
    };
    argv.finish()
}

/// The model's name; a comma would separate two aliases.
fn alias(name: &str) -> String {
    name.replace(',', "-")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::{ContainerSpec, GpuSet, ImageSource, Target};

    fn request(model: &str) -> LaunchRequest {
        LaunchRequest {
            args: vec!["-t".into(), "1".into()],
            seed: (7 << 32) + 5,
            max_concurrency: 4,
            max_tokens_per_request: 960,
            ..LaunchRequest::new(model.parse().unwrap())
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
        assert_eq!(value(&spec.args, "--device"), "none");
        assert!(!spec.args.contains(&"-ngl".to_owned()));
        assert_eq!(spec.args[spec.args.len() - 2..], ["-t", "1"]);
    }

    #[test]
    fn gpus_change_image_and_layers() {
        let mut request = request("/m/a.gguf");
        request.gpus = GpuSet::Nvidia(vec!["GPU-1".into()]);
        let (spec, _) = container(&request);
        assert_eq!(value(&spec.args, "-ngl"), "999");
        assert_eq!(
            spec.image,
            ImageSource::Reference(ABOUT.images.cuda.unwrap().parse().unwrap())
        );
    }

    #[test]
    fn only_absolute_paths_and_files_it_can_load() {
        for bad in ["a.gguf", "./a", "/srv/model.safetensors", "/"] {
            assert!(LlamaCpp.launch(&request(bad)).is_err(), "{bad}");
        }
        let mut revised = request("org/model");
        revised.revision = Some("main".into());
        assert!(LlamaCpp.launch(&revised).is_err());
    }
}
