//! vLLM.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, GpuSet, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat,
    argv::Argv,
    recipe::{Parts, Site, extras, gib, words},
};

/// Descriptor of vLLM.
pub(super) struct Vllm;

static ABOUT: About = About {
    name: "vllm",
    aliases: &[],
    summary: "vLLM",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Safetensors, ModelFormat::Pytorch],
    quantisations: &[],
    hub: Hub::HuggingFace,
    images: Images {
        cuda: Some("vllm/vllm-openai:v0.28.0"),
        rocm: Some("vllm/vllm-openai-rocm:v0.28.0"),
        // The project versions this image for x86 alone.
        cpu: Some(if cfg!(target_arch = "aarch64") {
            "vllm/vllm-openai-cpu:latest-arm64"
        } else {
            "vllm/vllm-openai-cpu:v0.25.0"
        }),
    },
    port: 8000,
    // Said in full: older images have another entry point, which ignores a model given by
    // position and serves a small default one (vllm#32292, vllm#32294).
    command: &["vllm", "serve"],
    version: &["vllm", "--version"],
};

/// Weights, compilation and graph capture; a 7B model in bf16 took ten minutes where KITT
/// measured it.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(20);
/// Sequences that vLLM runs together unless told otherwise.
const USUAL_SEQUENCES: u32 = 256;

impl Engine for Vllm {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        let site = Site::of(&ABOUT, request)?;
        let args = argv(&site, request)?;
        let on_cpu = request.gpus.is_none() && !site.native;
        let parts = Parts {
            entrypoint: words(ABOUT.command),
            args,
            env: vec![
                ("VLLM_NO_USAGE_STATS", "1".to_owned()),
                ("DO_NOT_TRACK", "1".to_owned()),
            ],
            // Compiled graphs: minutes of the start.
            caches: vec![(format!("vllm/{}", site.image_key()), "VLLM_CACHE_ROOT")],
            // Workers of one model talk through shared memory; Docker's 64 MB end that.
            shm: Some(if on_cpu { gib(4) } else { gib(16) }),
            // It binds its threads to processors and its memory to their nodes.
            capabilities: if on_cpu {
                words(&["SYS_NICE"])
            } else {
                Vec::new()
            },
            unfiltered: on_cpu,
            ..Parts::default()
        };
        let api = ApiTraits {
            request_extras: extras(&[("ignore_eos", true)]),
            exact_length: true,
            metrics_path: Some("/metrics"),
            ..ApiTraits::openai(site.name.clone())
        };
        Ok(site.launch(parts, api, STARTUP_TIMEOUT))
    }
}

fn argv(site: &Site<'_>, request: &LaunchRequest) -> Result<Vec<String>, LaunchError> {
    let many = request.max_concurrency > USUAL_SEQUENCES;
    let sequences = many.then(|| request.max_concurrency.to_string());
    let revision = request.revision.as_deref();
    Argv::new(site)
        .word(&site.model)
        .refused(&["--model", "--uds", "--api-key"])
        .fixed(&["--host"], site.host)
        .fixed(&["--port"], &site.port)
        .fixed(&["--served-model-name"], &site.name)
        // Left alone, the model's own sampling settings end answers early or draw them at random.
        .tuned(&["--generation-config"], &["vllm"])
        .tuned(
            &["--seed"],
            &[&(request.seed & u64::from(u32::MAX)).to_string()],
        )
        .tuned(
            &["--no-enable-prefix-caching", "--enable-prefix-caching"],
            &[],
        )
        .tuned_if(&["--revision"], revision)
        .tuned_if(
            &["--tensor-parallel-size", "-tp"],
            site.parallel().as_deref(),
        )
        .tuned_if(&["--max-num-seqs"], sequences.as_deref())
        .tuned_if(&["--max-model-len"], context(site, request).as_deref())
        .finish()
}

/// A context that the plan fits into: a model's own may be too long for the memory beside its
/// weights. Only where the model's length is known, since a longer one is an error; otherwise
/// the image of ours chooses by the memory, which older releases cannot.
fn context(site: &Site<'_>, request: &LaunchRequest) -> Option<String> {
    let own = request
        .facts
        .as_ref()
        .and_then(|facts| facts.context_length);
    match own {
        Some(own) => Some(own.min(u64::from(site.room())).to_string()),
        None if request.image.is_none() && !site.native && request.gpus != GpuSet::None => {
            Some("auto".to_owned())
        }
        None => None,
    }
}
