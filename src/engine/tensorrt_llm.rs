//! NVIDIA's TensorRT-LLM, by `trtllm-serve`.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat, Ulimit,
    argv::{Argv, same},
    recipe::{Parts, Site, extras, gib, words},
};

/// Descriptor of TensorRT-LLM.
pub(super) struct TensorRtLlm;

static ABOUT: About = About {
    name: "tensorrt_llm",
    aliases: &["trtllm", "tensorrt-llm"],
    summary: "NVIDIA's TensorRT-LLM, by trtllm-serve",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Safetensors],
    quantisations: &[],
    hub: Hub::HuggingFace,
    images: Images {
        cuda: Some("nvcr.io/nvidia/tensorrt-llm/release:1.2.1"),
        rocm: None,
        cpu: None,
    },
    port: 8000,
    command: &["trtllm-serve", "serve"],
    version: &[
        "python3",
        "-c",
        "import importlib.metadata as m; print(m.version('tensorrt_llm'))",
    ],
};

/// It may build the engine first.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(30);

/// Settings that have no flag, as the file they are read from.
const SETTINGS: &str = "kv_cache_config:\n  enable_block_reuse: false\n";
/// Names of the file with settings; releases before 1.2 know the first alone.
const FILE: [&str; 2] = ["--extra_llm_api_options", "--config"];
/// Writes the settings where the server finds them and becomes the server, which gets all
/// signals. Nothing is spliced in: words and settings stay what they are.
const WRITE: &str = "printf '%s' \"$KITT_SETTINGS\" > /tmp/kitt-settings.yml && exec \"$@\"";

impl Engine for TensorRtLlm {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        let site = Site::of(&ABOUT, request)?;
        let own_file = |word: &String| FILE.iter().any(|flag| same(word, flag));
        // On this host nothing is written into anybody's folders; the nonce at the start of each
        // prompt keeps its prefix cache empty all the same.
        let settings = !site.native && !request.args.iter().any(own_file);
        let file = settings.then_some("/tmp/kitt-settings.yml");
        let mut args = Argv::new(&site)
            .word(&site.model)
            .fixed(&["--host"], site.host)
            .fixed(&["--port"], &site.port)
            .tuned_if(&["--revision"], request.revision.as_deref())
            .tuned_if(
                &["--tp_size", "--tensor_parallel_size"],
                site.parallel().as_deref(),
            )
            .tuned_if(&FILE, file)
            .finish()?;
        let mut env = vec![("TRTLLM_NO_USAGE_STATS", "1".to_owned())];
        let mut entrypoint = words(ABOUT.command);
        if settings {
            args.splice(0..0, entrypoint);
            entrypoint = words(&["/bin/sh", "-c", WRITE, "kitt"]);
            env.push(("KITT_SETTINGS", SETTINGS.to_owned()));
        }
        let parts = Parts {
            entrypoint,
            args,
            env,
            shm: Some(gib(16)),
            // NVIDIA's own advice for its containers.
            ulimits: vec![
                Ulimit {
                    name: "memlock",
                    value: -1,
                },
                Ulimit {
                    name: "stack",
                    value: 67_108_864,
                },
            ],
            ..Parts::default()
        };
        let api = ApiTraits {
            request_extras: extras(&[("ignore_eos", true)]),
            exact_length: true,
            // Its `/metrics` is a queue that reading empties.
            metrics_path: Some("/prometheus/metrics"),
            // The folder's name, or the hub id: there is no flag for it.
            ..ApiTraits::openai(served(&site))
        };
        Ok(site.launch(parts, api, STARTUP_TIMEOUT))
    }
}

fn served(site: &Site<'_>) -> String {
    if site.local {
        site.parent().1
    } else {
        site.name.clone()
    }
}
