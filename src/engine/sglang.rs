//! SGLang.

use std::time::Duration;

use super::{
    About, ApiTraits, Engine, Hub, Images, LaunchError, LaunchRequest, LaunchSpec, Mode,
    ModelFormat,
    argv::Argv,
    recipe::{Parts, Site, extras, gib, words},
};

/// Descriptor of SGLang.
pub(super) struct SgLang;

static ABOUT: About = About {
    name: "sglang",
    aliases: &[],
    summary: "SGLang",
    modes: &[Mode::Docker, Mode::Native],
    formats: &[ModelFormat::Safetensors, ModelFormat::Pytorch],
    quantisations: &[],
    hub: Hub::HuggingFace,
    images: Images {
        // The last one for CUDA 12, which drivers from 525 on run; newer ones need CUDA 13.
        cuda: Some("lmsysorg/sglang:v0.5.19-cu129"),
        rocm: Some("lmsysorg/sglang:v0.5.18-rocm720-mi30x"),
        cpu: None,
    },
    port: 30000,
    // The image has no server as its entry point.
    command: &["python3", "-m", "sglang.launch_server"],
    version: &[
        "python3",
        "-c",
        "import importlib.metadata as m; print(m.version('sglang'))",
    ],
};

/// As vLLM: weights, compilation, graph capture.
const STARTUP_TIMEOUT: Duration = Duration::from_mins(20);

impl Engine for SgLang {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn launch(&self, request: &LaunchRequest) -> Result<LaunchSpec, LaunchError> {
        let site = Site::of(&ABOUT, request)?;
        let args = Argv::new(&site)
            .refused(&["--api-key"])
            .fixed(&["--model-path", "--model"], &site.model)
            .fixed(&["--host"], site.host)
            .fixed(&["--port"], &site.port)
            .fixed(&["--served-model-name"], &site.name)
            .tuned(
                &["--random-seed"],
                &[&(request.seed & 0x7fff_ffff).to_string()],
            )
            .tuned(&["--enable-metrics"], &[])
            .tuned(&["--disable-radix-cache"], &[])
            // What was found in the cache is then in `usage`, where the check looks for it.
            .tuned(&["--enable-cache-report"], &[])
            .tuned_if(&["--revision"], request.revision.as_deref())
            .tuned_if(
                &["--tp-size", "--tensor-parallel-size", "--tp"],
                site.parallel().as_deref(),
            )
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
