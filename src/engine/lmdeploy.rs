//! LMDeploy.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat,
    argv::Argv,
    recipe::{Parts, Site, extras, gib, words},
};

/// Descriptor of LMDeploy.
pub(super) struct LmDeploy;

static ABOUT: About = About {
    name: "lmdeploy",
    aliases: &[],
    summary: "LMDeploy",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Safetensors, ModelFormat::Pytorch],
    quantisations: &[],
    hub: Hub::HuggingFace,
    images: Images {
        cuda: Some("openmmlab/lmdeploy:v0.12.2-cu12.8"),
        rocm: None,
        cpu: None,
    },
    port: 23333,
    command: &["lmdeploy", "serve", "api_server"],
    version: &["lmdeploy", "--version"],
};

const STARTUP_TIMEOUT: Duration = Duration::from_mins(15);
/// The smallest batch that LMDeploy chooses by itself.
const USUAL_BATCH: u32 = 128;

impl Engine for LmDeploy {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        let site = Site::of(&ABOUT, request)?;
        let many = request.max_concurrency > USUAL_BATCH;
        let batch = many.then(|| request.max_concurrency.to_string());
        // Its prefix cache is off unless asked for, and it has no seed of its own: each request
        // carries one.
        let args = Argv::new(&site)
            .word(&site.model)
            .refused(&["--api-keys"])
            .fixed(&["--server-name"], site.host)
            .fixed(&["--server-port"], &site.port)
            .fixed(&["--model-name"], &site.name)
            .tuned_if(&["--revision"], request.revision.as_deref())
            .tuned_if(&["--tp"], site.parallel().as_deref())
            .tuned_if(&["--max-batch-size"], batch.as_deref())
            .finish()?;
        let parts = Parts {
            entrypoint: words(ABOUT.command),
            args,
            shm: Some(gib(16)),
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
