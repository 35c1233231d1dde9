//! Hugging Face's Text Generation Inference, in maintenance upstream.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat,
    argv::Argv,
    recipe::{Parts, Site, gib},
};

/// Descriptor of TGI.
pub(super) struct Tgi;

static ABOUT: About = About {
    name: "tgi",
    aliases: &["text-generation-inference"],
    summary: "Hugging Face's Text Generation Inference",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Safetensors, ModelFormat::Pytorch],
    quantisations: &[],
    hub: Hub::HuggingFace,
    images: Images {
        cuda: Some("ghcr.io/huggingface/text-generation-inference:3.3.5"),
        rocm: Some("ghcr.io/huggingface/text-generation-inference:3.3.5-rocm"),
        cpu: None,
    },
    // Not the image's own 80: without capabilities not every daemon lets it be bound.
    port: 8080,
    command: &["text-generation-launcher"],
    version: &["text-generation-launcher", "--version"],
};

const STARTUP_TIMEOUT: Duration = Duration::from_mins(15);
/// Requests that TGI takes at once unless told otherwise; it refuses more.
const USUAL_REQUESTS: u32 = 128;

impl Engine for Tgi {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        let site = Site::of(&ABOUT, request)?;
        let requests = request.max_concurrency.max(USUAL_REQUESTS).to_string();
        let args = Argv::new(&site)
            .refused(&["--api-key"])
            .fixed(&["--model-id"], &site.model)
            .fixed(&["--hostname"], site.host)
            .fixed(&["--port", "-p"], &site.port)
            .tuned(&["--max-concurrent-requests"], &[&requests])
            .tuned_if(&["--revision"], request.revision.as_deref())
            .tuned_if(&["--num-shard"], site.parallel().as_deref())
            .finish()?;
        let parts = Parts {
            // The image's own entry point sets the library path before it starts the launcher.
            entrypoint: Vec::new(),
            args,
            env: vec![
                ("USAGE_STATS", "off".to_owned()),
                ("PREFIX_CACHING", "0".to_owned()),
            ],
            shm: Some(gib(1)),
            ..Parts::default()
        };
        let api = ApiTraits {
            // Nothing on its HTTP interface makes answers of an exact length (TGI#1944).
            metrics_path: Some("/metrics"),
            // It lists what it was given as its model, a path included.
            ..ApiTraits::openai(site.model.clone())
        };
        Ok(site.launch(parts, api, STARTUP_TIMEOUT))
    }
}
